"""A device that is not there: torch's rules about devices, kept on a machine that has but its processor.

Within `PretendedDevice("cuda")` tensors that are made on or moved to that device are ordinary ones that are remembered
to be there. What an operation makes of them is there too, one that is given tensors of both places fails as it would,
and so does reading them with NumPy. Gradients and whatever else torch makes without asking Python are neither here nor
there until they are seen beside their tensor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.weak import WeakIdKeyDictionary

_READ = {torch.Tensor.numpy, torch.Tensor.__array__}
_ACROSS = {torch.Tensor.copy_, torch._has_compatible_shallow_copy_type}
_PRODUCTS = {torch.matmul, torch.mm, torch.bmm, torch.mv, torch.Tensor.matmul, torch.Tensor.__matmul__}
_INDEXED = {torch.Tensor.__getitem__, torch.Tensor.__setitem__}


class WrongPlaceError(RuntimeError):
    """What torch says of tensors on different devices."""


class PretendedDevice(TorchFunctionMode):
    refusal = (WrongPlaceError, TypeError, NotImplementedError)
    """What it answers who asks for what it does not do."""

    def __init__(self, name: str = "cuda") -> None:
        super().__init__()
        self.name, self.device = name, torch.device(name)
        self._there: Any = WeakIdKeyDictionary()
        """Tensors to whether they are there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        attribute = getattr(func, "__self__", None)
        if attribute is torch.Tensor.device:
            return self.device if self._there.get(args[0]) else func(*args)
        tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
        if func in _READ and self._there.get(args[0]):
            raise WrongPlaceError(f"can't convert {self.device} device type tensor to numpy")
        if getattr(func, "__name__", "") == "__set__":
            found = func(*args, **kwargs)
            if tensors[1:] and attribute is torch.Tensor.data:
                self._mark(tensors[0], self._there.get(tensors[1]))
            return found
        if func in (torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.type_as):
            return self._moved(func, args, kwargs)
        asked = kwargs.get("device")
        if func in _PRODUCTS and self._there.get(args[0]) and not args[0].is_floating_point():
            raise NotImplementedError(f'"addmm_impl_{self.device}" not implemented for {args[0].dtype}')
        there = self._place(func, args, tensors)
        if asked is not None:
            there = torch.device(asked).type == self.device.type
            if there and kwargs.get("generator") is not None:
                raise WrongPlaceError(f"Expected a '{self.device}' device type for generator but found 'cpu'")
            kwargs["device"] = "cpu"
        found = func(*args, **kwargs)
        for value in tree_flatten(found)[0]:
            if isinstance(value, torch.Tensor):
                self._mark(value, there)
        return found

    def same(self, tensors: list[torch.Tensor]) -> None:
        """Raise WrongPlaceError if tensors are in both places."""
        with torch._C.DisableTorchFunction():
            self._place(self.same, (), tensors)

    def at_home(self, values: Any) -> Any:
        """The same values, whose tensors are on the processor: what was loaded from a file."""
        with torch._C.DisableTorchFunction():
            return tree_map(lambda one: self._home(one) if isinstance(one, torch.Tensor) else one, values)

    def _home(self, tensor: torch.Tensor) -> torch.Tensor:
        found = tensor.detach().clone()
        self._mark(found, False)
        return found

    def _place(self, func: Any, args: Any, tensors: list[torch.Tensor]) -> bool | None:
        """Where the results of a function are.

        Raises:
            WrongPlaceError: it is given tensors of both places. Of the processor's, those of one number may be
                anywhere, and so may an index.
        """
        if not tensors:
            return False
        places = [(self._there.get(tensor), tensor.dim()) for tensor in tensors]
        if func in _INDEXED and self._there.get(args[0]):
            return True
        there = any(place for place, _ in places)
        if there and func not in _ACROSS and any(place is False and dim for place, dim in places):
            name = getattr(func, "__name__", str(func))
            raise WrongPlaceError(f"{name}: expected all tensors to be on the same device, {self.device} and cpu")
        if func in _ACROSS:
            return places[0][0]
        known = [place for place, _ in places if place is not None]
        return there if known else None

    def _moved(self, func: Any, args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
        tensor, rest = args[0], list(args[1:])
        there = self._there.get(tensor)
        if func is torch.Tensor.cpu:
            there = False
        for value in [*rest, kwargs.get("device"), kwargs.get("other")]:
            if isinstance(value, torch.Tensor):
                there = self._there.get(value)
            elif isinstance(value, (str, torch.device)):
                there = torch.device(value).type == self.device.type
        rest = ["cpu" if isinstance(value, (str, torch.device)) else value for value in rest]
        if kwargs.get("device") is not None:
            kwargs["device"] = "cpu"
        found = func(tensor, *rest, **kwargs)
        if found is tensor and there != self._there.get(tensor):
            found = tensor.view_as(tensor)  # another tensor, as it would be elsewhere
        self._mark(found, there)
        return found

    def _mark(self, tensor: torch.Tensor, there: bool | None) -> None:
        if there is None:
            self._there.pop(tensor, None)
        else:
            self._there[tensor] = there

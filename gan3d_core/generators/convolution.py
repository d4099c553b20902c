"""Convolutions whose gradients are cheap to differentiate, as gradient penalties do.

A convolution's gradient with respect to its input is linear in its weights. PyTorch differentiates that by a
convolution whose kernel is as large as the volume, which is half of an implicit GAN's step on a GPU (H200, 64³, batch
16: 35 ms for each of ten). It is the gradient of a convolution's weights, once more, and that has kernels of its own:
0.4 ms each. The whole step takes 0.39 s in place of 0.76.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from .precision import cast


class Steps(NamedTuple):
    """How a kernel walks over the cells: for each axis."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]


def convolve(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, steps: Steps) -> torch.Tensor:
    """A convolution, which can be differentiated as often as wanted.

    Args:
        inputs: (N, C, …) with two or three axes of cells or pixels; cast as autocast asks.
        weight: (K, C, …).
        bias: (K,).
        steps: see `Steps`.

    Returns:
        (N, K, …).
    """
    inputs, weight, bias = cast(inputs), cast(weight), None if bias is None else cast(bias)
    with torch.autocast(inputs.device.type, enabled=False):
        out = _OfInputs.apply(inputs, weight.detach(), None if bias is None else bias.detach(), steps, (weight,))
        if not torch.is_grad_enabled() or not (weight.requires_grad or (bias is not None and bias.requires_grad)):
            return out
        return _Joined.apply(out, _OfWeights.apply(weight, bias, inputs.detach(), steps, (inputs,), out.shape))


# Autograd passes by a function only as a whole. Where a penalty asks for the gradient of the inputs alone, that of the
# weights must not be made: hence a function for each, and `_Joined`, which costs nothing, behind them. What the other
# one differentiates is handed over in a tuple, where autograd does not see it, and once more without its history, so
# that its being changed in place is noticed.


class _OfInputs(torch.autograd.Function):
    """The convolution, as a function of its inputs."""

    @staticmethod
    def forward(ctx: Any, inputs: Any, weight: Any, bias: Any, steps: Steps, tracked: tuple[torch.Tensor]) -> Any:
        ctx.save_for_backward(inputs.detach(), weight)
        ctx.steps, ctx.tracked = steps, tracked
        return _convolution(inputs, weight, bias, steps)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        inputs, _ = ctx.saved_tensors
        return _InputGradient.apply(gradient, ctx.tracked[0], inputs, ctx.steps), None, None, None, None


class _OfWeights(torch.autograd.Function):
    """The same convolution as a function of its weights: what it gives is never read."""

    @staticmethod
    def forward(
        ctx: Any, weight: Any, bias: Any, inputs: Any, steps: Steps, tracked: tuple[torch.Tensor], shape: torch.Size
    ) -> Any:
        ctx.save_for_backward(weight.detach(), inputs)
        ctx.steps, ctx.tracked = steps, tracked
        return weight.new_zeros(()).expand(shape)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        weight, _ = ctx.saved_tensors
        of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_weight = _WeightGradient.apply(gradient, ctx.tracked[0], weight, ctx.steps)
        if ctx.needs_input_grad[1]:
            of_bias = gradient.sum((0, *range(2, gradient.dim())))
        return of_weight, of_bias, None, None, None, None


class _Joined(torch.autograd.Function):
    """The first, as what both are."""

    @staticmethod
    def forward(ctx: Any, out: torch.Tensor, unread: torch.Tensor) -> Any:
        return out.view_as(out)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        return gradient, gradient


class _InputGradient(torch.autograd.Function):
    """The gradient of the inputs: linear in that of the outputs, and in the weights."""

    @staticmethod
    def forward(ctx: Any, gradient: Any, weight: Any, inputs: Any, steps: Steps) -> Any:
        ctx.save_for_backward(gradient, weight)
        ctx.steps = steps
        return _gradients(gradient, inputs, weight, steps, of_inputs=True)

    @staticmethod
    def backward(ctx: Any, along: torch.Tensor) -> Any:  # type: ignore[override]
        gradient, weight = ctx.saved_tensors
        of_gradient = convolve(along, weight, None, ctx.steps) if ctx.needs_input_grad[0] else None
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = _WeightGradient.apply(gradient, along, weight.detach(), ctx.steps)
        return of_gradient, of_weight, None, None


class _WeightGradient(torch.autograd.Function):
    """The gradient of the weights: linear in that of the outputs, and in the inputs."""

    @staticmethod
    def forward(ctx: Any, gradient: Any, inputs: Any, weight: Any, steps: Steps) -> Any:
        ctx.save_for_backward(gradient, inputs)
        ctx.steps = steps
        return _gradients(gradient, inputs, weight, steps, of_inputs=False)

    @staticmethod
    def backward(ctx: Any, along: torch.Tensor) -> Any:  # type: ignore[override]
        gradient, inputs = ctx.saved_tensors
        of_gradient = convolve(inputs, along, None, ctx.steps) if ctx.needs_input_grad[0] else None
        of_inputs = None
        if ctx.needs_input_grad[1]:
            of_inputs = _InputGradient.apply(gradient, along, inputs.detach(), ctx.steps)
        return of_gradient, of_inputs, None, None


def _convolution(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, steps: Steps) -> torch.Tensor:
    axes = len(steps.stride)
    return torch.ops.aten.convolution(
        inputs, weight, bias, steps.stride, steps.padding, [1] * axes, False, [0] * axes, 1
    )


def _gradients(
    gradient: torch.Tensor, inputs: torch.Tensor, weight: torch.Tensor, steps: Steps, of_inputs: bool
) -> torch.Tensor:
    axes = len(steps.stride)
    mask = [of_inputs, not of_inputs, False]
    return torch.ops.aten.convolution_backward(
        gradient, inputs, weight, None, steps.stride, steps.padding, [1] * axes, False, [0] * axes, 1, mask
    )[0 if of_inputs else 1]


class _ByConvolve:
    """A layer of one group and no dilation by `convolve` but on a processor, where both ways take equally long."""

    def forward(self: Any, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.device.type == "cpu":
            return super().forward(inputs)  # type: ignore[misc]
        return convolve(inputs, self.weight, self.bias, Steps(self.stride, self.padding))


class Convolution2d(_ByConvolve, nn.Conv2d):
    """`Conv2d` whose gradient is cheap to differentiate."""


class Convolution3d(_ByConvolve, nn.Conv3d):
    """`Conv3d`, likewise."""

"""Reading a foreign PyTorch file as if it were hostile: nothing in it is run, and it cannot fill the memory."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import torch

from ..errors import CheckpointError

MOST_BYTES = 512 << 20
"""Of a file, and of what it says to unpack to: far more than any generator here has."""

HINT = "Check that it is the file of weights itself, whole, and of the project that the importer is for."


def read_state(source: Path) -> dict[str, torch.Tensor]:
    """A file of `torch.save(network.state_dict())`, on the CPU.

    Raises:
        CheckpointError: no file, too large, something else than named tensors of finite numbers, or a pickle that
            wants to run something.
    """
    try:
        size = source.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{source} cannot be read ({error.strerror}).", "Name a file of weights.") from None
    if not source.is_file():
        raise CheckpointError(f"{source} is no file.", "Name the file of weights in it.")
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            size = max(size, sum(entry.file_size for entry in archive.infolist()))
    if size > MOST_BYTES:
        raise CheckpointError(f"{source.name} holds {size / 1e6:,.0f} MB; weights of a generator are smaller.", HINT)
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{source.name} holds more than weights: it wants to run code, or is no file of PyTorch.",
            "It was not run. Ask its authors for a plain state dict.",
        ) from None
    except Exception as error:  # a damaged file makes torch raise whatever it likes
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise CheckpointError(f"{source.name} cannot be read as weights ({reason}).", HINT) from None
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f"{source.name} is no state dict but a {type(state).__name__}.", HINT)
    elements = 0
    for key, tensor in state.items():
        if not isinstance(key, str) or not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            raise CheckpointError(f"{source.name} is no state dict: {str(key)[:60]!r} is no tensor.", HINT)
        # A tensor can claim more elements than its file has bytes, by strides of 0.
        elements += tensor.numel()
        if 4 * elements > MOST_BYTES:
            raise CheckpointError(f"{source.name} unpacks to more than {MOST_BYTES / 1e6:,.0f} MB.", HINT)
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise CheckpointError(f"In {source.name}, {key!r} holds what is no finite number.", HINT)
    return dict(state)


def expect(state: dict[str, torch.Tensor], shapes: dict[str, tuple[int, ...]]) -> None:
    """See that a state dict has exactly these tensors.

    Raises:
        CheckpointError: some are missing, too many, or of another shape.
    """
    missing, more = sorted(set(shapes) - set(state)), sorted(set(state) - set(shapes))
    if missing or more:
        said = [f"lack {', '.join(missing)}"] if missing else []
        said += [f"have {', '.join(key[:40] for key in more[:8])} beside them"] if more else []
        raise CheckpointError(f"The weights {' and '.join(said)}.", HINT)
    for key, shape in shapes.items():
        if tuple(state[key].shape) != shape:
            raise CheckpointError(f"The weights' {key} is {tuple(state[key].shape)}, not {shape}.", HINT)

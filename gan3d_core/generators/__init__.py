"""The generators, by name, and strict loading of a checkpoint into one.

To add one: write a module here whose class satisfies `Generator`, and add a line to `CATALOGUE`.
Importing this package does not import torch; `build` and `load` do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..checkpoints import Checkpoint
from ..errors import CheckpointError
from ..field import Field

if TYPE_CHECKING:
    import torch

# architecture → "module:class" in this package
CATALOGUE: dict[str, str] = {
    "threedgan": "volumetric:VolumetricGenerator",
    "implicit": "implicit:ImplicitGenerator",
    "patch": "patch:PatchGenerator",
    "mesh": "mesh:MeshGenerator",
    "multiview": "multiview:MultiViewGenerator",
    "textured": "textured:TexturedGenerator",
    "latent_volume": "latent_volume:LatentVolumeGenerator",
    "conditional": "conditional:ConditionalGenerator",
}


class Generator(Protocol):
    """A network that turns latent codes into fields. Each is a `torch.nn.Module` as well."""

    latent_size: int

    def fields(self, codes: np.ndarray, size_m: float) -> list[Field]:
        """Decode (N, latent_size) float32 codes into N fields, on the network's own device, without gradients.

        `size_m` is the checkpoint's longest side in metres, for generators that do not yield one themselves.
        """
        ...


def build(architecture: str, options: dict[str, Any]) -> Any:
    """Make a generator with fresh weights: a `torch.nn.Module` that satisfies `Generator`.

    Raises:
        CheckpointError: an unknown architecture, or options it does not take.
    """
    if architecture not in CATALOGUE:
        raise CheckpointError(
            f"The architecture {architecture!r} is not known.",
            f"This GAN3D knows {', '.join(sorted(CATALOGUE))}; update GAN3D if the checkpoint is newer.",
        )
    module, name = CATALOGUE[architecture].split(":")
    cls = getattr(importlib.import_module(f".{module}", __name__), name)
    try:
        return cls(**options)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"The options of architecture {architecture!r} are not valid: {error}.") from None


def load(checkpoint: Checkpoint, device: str = "cpu") -> torch.nn.Module:
    """Build a checkpoint's generator, load its weights strictly, and put it on `device` in evaluation mode.

    Raises:
        CheckpointError: weights of another hash, or of other names or shapes than the architecture's.
    """
    import safetensors.torch

    checkpoint.verify()
    generator = build(checkpoint.config.architecture, checkpoint.config.options)
    if generator.latent_size != checkpoint.config.latent_size:
        raise CheckpointError(f"Checkpoint {checkpoint.id!r} states a latent size that its architecture does not have.")
    try:
        weights = safetensors.torch.load_file(checkpoint.weights)
        generator.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=True)
    except (RuntimeError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"The weights of checkpoint {checkpoint.id!r} do not fit its architecture "
            f"{checkpoint.config.architecture!r} ({str(error).splitlines()[0]})."
        ) from None
    return generator.to(device).eval()

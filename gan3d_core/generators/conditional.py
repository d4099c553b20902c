"""Any generator with classes: the class's learned vector is put behind z.

M. Mirza, S. Osindero: Conditional Generative Adversarial Nets, 2014, section 3.2; one embedding for the whole network
as in A. Brock et al.: Large Scale GAN Training for High Fidelity Natural Image Synthesis, ICLR 2019, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ..field import Field
from . import build


class ConditionalGenerator(nn.Module):
    """A generator whose code is z with the vector of a class.

    Args:
        architecture: of the generator inside, from the catalogue.
        options: of the generator inside, without its `latent_size`.
        latent_size: of z.
        classes: how many there are.
        label: the class that `fields` draws; a checkpoint is of one class.
        class_size: length of a class's vector.
    """

    def __init__(
        self,
        architecture: str,
        options: dict[str, Any],
        latent_size: int,
        classes: int,
        label: int = 0,
        class_size: int = 16,
    ) -> None:
        super().__init__()
        if classes < 1 or not 0 <= label < classes or class_size < 1:
            raise ValueError("label must be one of the classes, and class_size positive")
        if architecture == "conditional":
            raise ValueError("a conditional generator cannot hold another one")
        self.latent_size, self.classes, self.label = latent_size, classes, label
        self.generator = build(architecture, {**options, "latent_size": latent_size + class_size})
        if not hasattr(self.generator, "yields"):
            raise ValueError(f"{architecture} has classes of its own, or none")
        self.embedding = nn.Embedding(classes, class_size)
        self.yields = self.generator.yields
        # What training asks of some generators, to bring recorded shapes into the same terms.
        for name in ("resolution", "views", "size"):
            if hasattr(self.generator, name):
                setattr(self, name, getattr(self.generator, name))

    def codes(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """(N, latent_size) and classes (N,) int64 to (N, latent_size + class_size)."""
        if labels is None:
            labels = torch.full((len(z),), self.label, device=z.device)
        return torch.cat([z, self.embedding(labels)], 1)

    def represent(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        """What the generator inside yields for (N, latent_size) and classes (N,); none are `label`."""
        return self.generator.represent(self.codes(z, labels))

    def set_reference(self, draw: Callable[[int], torch.Tensor]) -> None:
        """For a generator inside that has a reference batch: its codes, with the classes in turn."""
        if hasattr(self.generator, "set_reference"):
            self.generator.set_reference(
                lambda count: self.codes(z := draw(count), torch.arange(count, device=z.device) % self.classes)
            )

    def fields(self, codes: np.ndarray, size_m: float, labels: Sequence[int] | None = None) -> list[Field]:
        device = self.embedding.weight.device
        with torch.inference_mode():
            chosen = None if labels is None else torch.as_tensor(labels, device=device)
            inner = self.codes(torch.as_tensor(codes, device=device), chosen).cpu().numpy()
        return self.generator.fields(inner, size_m)

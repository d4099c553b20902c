"""Shapes whose colours are not known teach shape only."""

from __future__ import annotations

import dataclasses

import torch
from small import TEXTURED

from gan3d_core.generators.textured import TexturedGenerator
from training.autoencoder import ShapeEncoder, reconstruction_losses
from training.autoencoder_data import Batch


def batch(colored: list[float]) -> Batch:
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand((2, *shape), generator=random) * 2 - 1

    materials = torch.rand((2, 16, 5), generator=random)
    return Batch(
        draw(1, 64, 64, 64),
        draw(6, 32, 32, 32),
        draw(24, 4),
        draw(8, 4),
        draw(16, 6),
        materials,
        draw(),
        torch.tensor(colored)[:, None].expand(-1, 16),
        draw(16).abs() / 10,
    )


def losses(given: Batch) -> dict[str, float]:
    torch.manual_seed(0)
    generator = TexturedGenerator(**TEXTURED)
    encoder = ShapeEncoder(generator, 8)
    found = reconstruction_losses(encoder, generator, given, torch.Generator().manual_seed(1))
    return {field.name: float(getattr(found, field.name).detach()) for field in dataclasses.fields(found)}


def test_the_colours_of_an_untrusted_shape_have_no_weight():
    first = batch([1.0, 0.0])
    other = dataclasses.replace(first, surface_material=first.surface_material.clone())
    other.surface_material[1] = 1 - other.surface_material[1]
    assert losses(first) == losses(other)
    # … and those of the trusted one have all of it.
    trusted = dataclasses.replace(first, surface_material=first.surface_material.clone())
    trusted.surface_material[0] = 1 - trusted.surface_material[0]
    assert losses(first)["material"] != losses(trusted)["material"]
    both = losses(batch([1.0, 1.0]))["material"]
    alone = [losses(batch(weights))["material"] for weights in ([1.0, 0.0], [0.0, 1.0])]
    assert abs(both - sum(alone) / 2) < 1e-6, "a mean over the shapes that count"


def test_a_batch_without_colours_has_no_material_loss():
    found = losses(batch([0.0, 0.0]))
    assert found["material"] == 0
    assert found["distance"] > 0

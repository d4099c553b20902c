"""The textured generator of planes: mixing of styles, and its options."""

from __future__ import annotations

import pytest
import torch
from small import TEXTURED

from gan3d_core.generators.textured import TexturedGenerator


def make(**changes) -> TexturedGenerator:
    torch.manual_seed(0)
    return TexturedGenerator(**{**TEXTURED, **changes}).eval()


def draw(count: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn((count, 12), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_style_mixing_takes_late_layers_from_the_other_code():
    """At every crossover the result differs from both; beyond the last one nothing is taken."""
    generator = make()
    first, second = generator.map(draw()), generator.map(draw(seed=1))
    whole = generator.synthesise(first)
    mixed = [generator.synthesise(first, second, at).geometry for at in range(generator.levels + 1)]
    assert torch.equal(mixed[-1], whole.geometry)
    assert torch.equal(mixed[0], generator.synthesise(second).geometry)
    for at, planes in enumerate(mixed[1:-1], 1):
        assert not torch.allclose(planes, whole.geometry, atol=1e-6), at
        assert not torch.allclose(planes, mixed[0], atol=1e-6), at


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"latent_size": 4}, "both parts of z"),
        ({"channels": [8]}, "two or more"),
        ({"channels": [8, 12]}, "multiples of 8"),
        ({"head_width": 0}, "positive"),
    ],
)
def test_wrong_options_are_named(changes, said):
    with pytest.raises(ValueError, match=said):
        make(**changes)

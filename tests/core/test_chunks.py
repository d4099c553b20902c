"""A network asked in pieces: the same values and gradients, and nothing kept but what it was asked."""

from __future__ import annotations

import math

import pytest
import torch

from gan3d_core import generators
from gan3d_core.generators import implicit
from gan3d_core.generators.chunks import piecewise


def product(points: torch.Tensor, codes: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(N, P): sin of each point's product with its shape's own row."""
    return torch.sin(points @ weight * codes[:, None]).sum(-1)


@pytest.fixture
def asked() -> list[torch.Tensor]:
    torch.manual_seed(0)
    shapes = ((2, 11, 3), (2, 5), (3, 5))
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("chunk", [1, 4, 11, 50])
def test_pieces_make_the_whole(asked, chunk):
    found, expected = piecewise(product, chunk, *asked), product(*asked)
    assert torch.allclose(found, expected, rtol=0, atol=1e-14)
    slope = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(each, asked, slope) for each in (found, expected))
    assert all(torch.allclose(a, b, rtol=0, atol=1e-13) for a, b in zip(ours, theirs, strict=True))


def test_points_that_all_shapes_share(asked):
    _, codes, weight = asked
    points = torch.randn(1, 11, 3, dtype=torch.float64)
    ours, theirs = (
        torch.autograd.grad(each.square().sum(), [codes, weight])
        for each in (piecewise(product, 3, points, codes, weight), product(points, codes, weight))
    )
    assert all(torch.allclose(a, b, rtol=0, atol=1e-13) for a, b in zip(ours, theirs, strict=True))


def test_nothing_is_kept_but_what_is_asked(asked):
    kept: list[int] = []

    def keep(value: torch.Tensor) -> torch.Tensor:
        kept.append(math.prod(value.shape))
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        piecewise(product, 2, *asked)
    assert sum(kept) == sum(value.numel() for value in asked)


@pytest.mark.parametrize("shared", [True, False])
def test_an_implicit_generator_is_the_same_in_pieces(monkeypatch, shared):
    torch.manual_seed(0)
    generator = generators.build("implicit", {"latent_size": 5, "width": 12, "start_radius": 0.5}).double()
    codes = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    points = torch.rand(1 if shared else 3, 40, 3, dtype=torch.float64).expand(3, -1, -1)
    wanted = [codes, *generator.parameters()]
    whole = generator(codes, points)
    of_whole = torch.autograd.grad(whole.square().sum(), wanted)
    monkeypatch.setattr(implicit, "ROWS", 21)
    monkeypatch.setattr(implicit, "WHOLE", 1)
    parts = generator(codes, points)
    assert torch.allclose(parts, whole, rtol=0, atol=1e-12)
    of_parts = torch.autograd.grad(parts.square().sum(), wanted)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-11) for a, b in zip(of_parts, of_whole, strict=True))
    with torch.no_grad():
        assert torch.allclose(generator(codes, points), whole, rtol=0, atol=1e-12)

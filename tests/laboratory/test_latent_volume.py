"""The generator whose code is a grid of cells: what a cell reaches, and the networks that draw and judge cells."""

from __future__ import annotations

import pytest
import torch
from small import LATENT_VOLUME

from gan3d_core.generators.coded import Codes
from gan3d_core.generators.judge import CellTrunk
from gan3d_core.generators.latent_volume import LatentVolumeGenerator, read
from gan3d_core.generators.volume_encoder import cells_to_channels, channels_to_cells, space_to_depth
from training.discriminators.codes import CellCritic


def make(**changes) -> LatentVolumeGenerator:
    torch.manual_seed(0)
    return LatentVolumeGenerator(**{**LATENT_VOLUME, **changes}).eval()


@torch.no_grad()
def test_a_volume_is_read_as_it_was_written():
    """A function that is linear in the place comes back exactly, x first, between the outermost centres of texels."""
    sizes = (4, 8, 6)
    axes = [(torch.arange(n) + 0.5) / n * 2 - 1 for n in sizes]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    volume = torch.stack([1 + 2 * x, 3 * y - z])[None]
    where = torch.rand((1, 200, 3), generator=torch.Generator().manual_seed(0)) * 1.4 - 0.7
    found = read(volume, where)
    expected = torch.stack([1 + 2 * where[..., 0], 3 * where[..., 1] - where[..., 2]], -1)
    assert torch.allclose(found, expected, atol=1e-5)


def test_cells_become_channels_and_come_back():
    grid = torch.arange(2 * 3 * 4 * 6 * 8.0).reshape(2, 3, 4, 6, 8)
    split = cells_to_channels(grid)
    assert split.shape == (2, 24, 2, 3, 4)
    assert torch.equal(split[0, 8 + 4 + 1, 1, 2, 0], grid[0, 1, 3, 4, 1]), "x is the slowest within a channel"
    assert torch.equal(channels_to_cells(split), grid)
    assert torch.equal(split[:, :8], space_to_depth(grid[:, 0]))


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_cell_is_about_the_place_where_it_lies(symmetric):
    """Changing a cell changes features there or next to it most: normalisation tells of it elsewhere, but far less."""
    generator = make(symmetric=symmetric)
    code = torch.randn((1, generator.geometry_code), generator=torch.Generator().manual_seed(0))
    changed = code.unflatten(1, (2, *generator.cells)).clone()
    at = (1, 6, 2)
    changed[0, :, *at] += 1
    with torch.no_grad():
        first = generator.geometry_synthesis(code)[1]
        moved = (generator.geometry_synthesis(changed.flatten(1))[1] - first).abs().mean(1)[0]
    finer = [n // c for n, c in zip(moved.shape, generator.cells, strict=True)]
    assert finer == [4, 4, 4]
    cells = moved.unfold(0, 4, 4).unfold(1, 4, 4).unfold(2, 4, 4).mean((-1, -2, -3))
    most = torch.stack(torch.unravel_index(cells.argmax(), cells.shape))
    assert int((most - torch.tensor(at)).abs().max()) <= 1
    far = cells[:, :2, 6:]
    assert float(far.max()) < 0.1 * float(cells.max())


@torch.no_grad()
@pytest.mark.parametrize(("cells", "drawer_widths"), [(8, [16]), (16, [16, 8])])
@pytest.mark.parametrize("symmetric", [True, False])
def test_codes_are_drawn_encoded_and_judged_at_one_size(cells, drawer_widths, symmetric):
    generator = make(cells=cells, drawer_widths=drawer_widths, symmetric=symmetric, classes=2)
    size = 2 * cells**3 // (2 if symmetric else 1)
    assert generator.geometry_code == size
    z = torch.randn((8, 12), generator=torch.Generator().manual_seed(0))
    codes = generator.map(z, torch.arange(8) % 2)
    assert codes.geometry.shape == (8, size)
    grid = torch.randn((8, 8, 16 if symmetric else 32, 32, 32), generator=torch.Generator().manual_seed(1))
    assert generator.make_encoder(8)(grid).shape == (8, 2 * size)
    critic = CellCritic(CellTrunk(2, generator.cells, [8] * len(drawer_widths)), 4, 16)
    said = critic(torch.cat([codes.geometry, codes.texture], 1))
    assert said.shape == (8,)
    assert torch.isfinite(said).all()


def test_a_critic_of_cells_sees_shape_surface_and_variety():
    torch.manual_seed(0)
    generator = make()
    critic = CellCritic(CellTrunk(2, generator.cells, [8]), 4, 16)
    codes = torch.randn(16, generator.geometry_code + 4, requires_grad=True)
    critic(codes).sum().backward()
    assert codes.grad is not None
    assert (codes.grad != 0).all(), "every entry of a code matters"
    same = codes.detach()[:1].expand(8, -1)
    mixed = torch.cat([codes.detach()[:1], codes.detach()[1:8]])
    with torch.no_grad():
        assert not torch.isclose(critic(same)[0], critic(mixed)[0], atol=1e-6), "eight alike are told from eight"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cells": 12}, "8 or 16"),
        ({"drawer_widths": [8, 8]}, "from 4 to half"),
        ({"widths": [8, 12, 8]}, "multiples of 8"),
        ({"head_width": 0}, "positive"),
        ({"latent_size": 4}, "both parts of z"),
    ],
)
def test_wrong_options_are_named(changes, said):
    with pytest.raises(ValueError, match=said):
        make(**changes)


@torch.no_grad()
def test_distances_need_the_shape_alone():
    generator = make()
    codes = generator.map(torch.randn((1, 12), generator=torch.Generator().manual_seed(0)))
    points = torch.rand((1, 100, 3), generator=torch.Generator().manual_seed(1)) * 2 - 1
    other = Codes(codes.geometry, codes.texture + 1)
    assert torch.equal(
        generator.distance(generator.shape_alone(other), points),
        generator.distance(generator.synthesise(codes), points),
    )

"""Noise that fills space."""

from __future__ import annotations

import torch

from gan3d_core.generators.solid_noise import CELLS, PERIOD, solid_noise

ANYWHERE = torch.rand((200_000, 3), generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_it_has_mean_zero_and_spread_one_and_no_memory():
    noise = solid_noise(ANYWHERE)
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02
    far = solid_noise(ANYWHERE + torch.tensor([0.21, 0.0, 0.0]))
    assert abs(float((noise * far).mean())) < 0.02
    near = solid_noise(ANYWHERE + torch.tensor([0.0, 0.0, 0.3 / max(CELLS)]))
    assert float((noise * near).mean()) > 0.9


def test_it_is_smooth_everywhere_even_between_cells():
    """A blend of values in [−1, 1] by 3t² − 2t³ is nowhere steeper than 3 in a cell along an axis."""
    step = 1e-3
    steepest = sum(3 * cells for cells in CELLS) / (2 / 3 * (26 / 35) ** 3) ** 0.5
    for axis in range(3):
        move = torch.zeros(3)
        move[axis] = step
        change = (solid_noise(ANYWHERE + move) - solid_noise(ANYWHERE)).abs()
        assert float(change.max()) <= step * steepest * 1.01


def test_it_is_of_a_point_alone_and_the_same_on_every_machine():
    found = solid_noise(ANYWHERE[:100].reshape(4, 25, 3))
    assert torch.allclose(found, solid_noise(ANYWHERE)[:100].reshape(4, 25), atol=1e-6)
    points = torch.tensor([[0.0, 0.0, 0.0], [0.1, -0.7, 0.33], [-1.0, 1.0, 0.5]])
    expected = torch.tensor([2.634205, -1.010811, -1.110180])
    assert torch.allclose(solid_noise(points), expected, atol=1e-4)


def test_a_lattice_repeats():
    cells = PERIOD / CELLS[0]
    points = ANYWHERE[:1000] * 0.1
    first, moved = solid_noise(points), solid_noise(points + cells)
    assert not torch.allclose(first, moved, atol=1e-2), "the other lattice does so elsewhere"

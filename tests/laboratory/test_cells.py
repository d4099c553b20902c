"""The cells that a critic of volumes sees: real and generated shapes alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import TEXTURED, Balls

from gan3d_core.field import lattice
from gan3d_core.generators.coded import TRUNCATION
from gan3d_core.generators.textured import TexturedGenerator
from training import cells, textured_surface
from training.autoencoder_data import AutoencoderData
from training.cells import CELLS, CHANNELS, SOFTNESS, CellData, crossed, generated, space_to_depth
from training.discriminators.cells import CellDiscriminator


def generator(symmetric: bool = True) -> TexturedGenerator:
    torch.manual_seed(0)
    made = TexturedGenerator(**{**TEXTURED, "symmetric": symmetric})
    # Distances shall reach from one end of their range to the other, half of them inside.
    with torch.no_grad():
        made.distance_head.rest[-1].weight.mul_(60)
        planes = made(codes())
        found = made.distance(planes, torch.as_tensor(lattice(8)).expand(2, -1, -1)) / TRUNCATION
        made.distance_head.rest[-1].bias.sub_(found.atanh().median())
    return made


def codes() -> torch.Tensor:
    return torch.randn(2, 12, generator=torch.Generator().manual_seed(0))


def test_a_cell_holds_its_eight_values():
    volumes = torch.arange(2 * 4 * 6 * 8).reshape(2, 4, 6, 8)
    split = space_to_depth(volumes)
    assert split.shape == (2, 8, 2, 3, 4)
    for x in (0, 1):
        for y in (0, 1):
            for z in (0, 1):
                assert torch.equal(split[:, 4 * x + 2 * y + z], volumes[:, x::2, y::2, z::2])


@pytest.mark.parametrize("symmetric", [True, False])
def test_generated_cells_are_the_field(symmetric):
    """Near the surface they are the distances of the 64³ lattice, elsewhere only their side counts."""
    made = generator(symmetric)
    planes = made(codes())
    seen = generated(made, planes)
    half = CELLS // 2 if symmetric else CELLS
    assert seen.shape == (2, CHANNELS, half, CELLS, CELLS)
    with torch.no_grad():
        points = torch.as_tensor(lattice(64)).expand(2, -1, -1)
        dense = space_to_depth(made.distance(planes, points).unflatten(1, (64, 64, 64)))
        centres = torch.as_tensor(lattice(CELLS)).expand(2, -1, -1)
        coarse = made.distance(planes, centres).unflatten(1, (CELLS,) * 3)
    dense, coarse = dense[:, :, -half:], coarse[:, None, -half:]
    near = (coarse.abs() < cells.NEAR).expand_as(dense)
    assert 0.05 < near.float().mean() < 0.95
    assert torch.allclose(seen[:, :8][near], torch.tanh(dense / SOFTNESS)[near], atol=1e-5)
    assert torch.equal(seen[:, :8][~near] < 0, coarse.expand_as(dense)[~near] < 0)
    passes = crossed(seen[:, :8])
    assert torch.equal(seen[:, 8:9] > 0, passes)
    assert (seen[:, 9:] * ~passes == 0).all()
    # Materials are read at the centres of the cells that the surface passes.
    where = torch.as_tensor(lattice(CELLS)).reshape(CELLS, CELLS, CELLS, 3)[-half:][passes[0, 0]]
    expected = 2 * made.material(planes[:1], where[None])[0] - 1
    assert torch.allclose(seen[0, 9:, passes[0, 0]].T, expected, atol=1e-5)


def test_gradients_are_those_of_finite_differences():
    made = generator().double()
    weight = made.distance_head.rest[-1].weight
    planes = made(codes()[:1].double())
    look = torch.randn(CHANNELS, generator=torch.Generator().manual_seed(2)).double()[:8, None, None, None]

    def total() -> torch.Tensor:
        # Far cells carry no gradient, and that is meant: they are flat. Here only near ones are counted.
        seen = generated(made, planes)
        return (seen[0, :8] * look * near).sum()

    with pytest.MonkeyPatch.context() as patch:
        for module in (cells, textured_surface):
            patch.setattr(module, "lattice", lambda resolution: lattice(resolution).astype(np.float64))
        near = (generated(made, planes)[0, :8].abs().amax(0) < 0.9).double().detach()
        (gradient,) = torch.autograd.grad(total(), weight)
        step = 1e-6
        with torch.no_grad():
            weight[0, 3] += step
            above = total()
            weight[0, 3] -= 2 * step
            below = total()
    assert float(gradient[0, 3]) == pytest.approx(float((above - below) / (2 * step)), rel=1e-4)


def test_real_cells_are_the_balls():
    data = AutoencoderData(Balls([0.6, 0.4]), 8, 8)  # type: ignore[arg-type]
    real = CellData(data, np.array([True, False]), symmetric=True)
    drawn = real.draw(2, np.random.default_rng(0))
    assert drawn.shape == (2, CHANNELS, CELLS // 2, CELLS, CELLS)
    assert torch.equal(drawn[0, :9], drawn[1, :9]), "a ball is its own mirror image"
    points = torch.as_tensor(lattice(64)).reshape(64, 64, 64, 3)[32:]
    exact = torch.tanh((points.norm(dim=-1) - 0.6) / SOFTNESS)
    assert torch.allclose(drawn[0, :8], space_to_depth(exact[None])[0], atol=0.02)
    passes = drawn[0, 8] > 0
    red = drawn[0, 9] > 0
    height = torch.as_tensor(lattice(CELLS)).reshape(CELLS, CELLS, CELLS, 3)[16:, ..., 2]
    clear = passes & (height.abs() > 0.1)
    assert torch.equal(red[clear], height[clear] > 0)
    assert (drawn[:, 9:] * (drawn[:, 8:9] == 0) == 0).all()


def test_unbaked_parts_are_not_learned():
    data = AutoencoderData(Balls([0.6, 0.4], half_baked=(1,)), 64, 64)  # type: ignore[arg-type]
    assert data.known[0].all()
    assert np.array_equal(data.known[1], data.surface[1, :, 2] > 0)
    assert data.known_share() == pytest.approx([1.0, data.known[1].mean()])
    assert data.material_grid[1, 5, :, :, :16].max() == 0, "the encoder is not shown them"
    assert data.material_grid[0, 5, :, :, :16].max() == 255
    batch = data.batch(np.array([0, 1]), np.random.default_rng(0))
    assert batch.known[0].all()
    assert torch.equal(batch.known[1] > 0, batch.surface[1, :, 2] > 0)


def test_a_part_is_judged_by_itself_and_the_whole_by_everything():
    torch.manual_seed(0)
    critic = CellDiscriminator(CHANNELS, channels=(8, 8, 8, 8))
    seen = torch.randn(1, CHANNELS, 16, 32, 32).requires_grad_(True)
    verdicts = critic(seen)
    assert verdicts.parts.shape == (1, 4 * 8 * 8)
    (gradient,) = torch.autograd.grad(verdicts.parts[0, 0], seen, retain_graph=True)
    reached = gradient[0].abs().sum(0).nonzero()
    assert reached.amax(0).tolist() == [7, 7, 7], "twelve cells, of which four are padding"
    (gradient,) = torch.autograd.grad(verdicts.whole[0], seen)
    assert (gradient[0].abs().sum(0) > 0).float().mean() > 0.99
    # The same thing elsewhere is another thing.
    flat = critic(torch.zeros(1, CHANNELS, 16, 32, 32)).parts[0]
    assert flat[1 * 64 + 2 * 8 + 2] != flat[2 * 64 + 5 * 8 + 5]
    with pytest.raises(ValueError, match="multiple"):
        CellDiscriminator(CHANNELS, shape=(16, 32, 30))

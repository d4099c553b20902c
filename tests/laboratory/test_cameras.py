"""Cameras: where they stand, which way they look, and one geometry told in three ways."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from gan3d_core.errors import RenderingError
from training.rendering.cameras import FIELD_OF_VIEW, MAX_ELEVATION, RADIUS, Cameras

TURN = math.pi / 2


def some(count: int = 9) -> Cameras:
    random = torch.Generator().manual_seed(3)
    spread = torch.rand(4, count, generator=random)
    return Cameras.at(
        spread[0] * 6.3, (spread[1] - 0.5) * 3, 1.5 + 2 * spread[2], 0.3 + spread[3], mesh=torch.arange(count)
    )


def test_azimuth_starts_at_the_front_and_elevation_at_the_horizon():
    cameras = Cameras.at([0.0, TURN, 2 * TURN, 0.0], [0.0, 0.0, 0.0, TURN], 2.0)
    expected = torch.tensor([[0.0, -2, 0], [2, 0, 0], [0, 2, 0], [0, 0, 2]])
    torch.testing.assert_close(cameras.positions, expected, atol=1e-5, rtol=0)
    # From the front +X is to the right and +Z up.
    torch.testing.assert_close(cameras.axes[0, :2], torch.tensor([[1.0, 0, 0], [0, 0, 1]]), atol=1e-6, rtol=0)


def test_view_is_rigid_and_puts_the_origin_ahead():
    cameras = some()
    rotation = cameras.view[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand_as(rotation), atol=1e-5, rtol=0)
    assert (torch.linalg.det(rotation) > 0.99).all()
    own = torch.cat([cameras.positions, torch.ones(len(cameras), 1)], dim=1)[..., None]
    torch.testing.assert_close((cameras.view @ own)[:, :3, 0], torch.zeros(len(cameras), 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(cameras.view[:, 2, 3], -cameras.radius)


def test_rays_projection_and_pixels_agree():
    size, depth = 6, 1.7
    cameras = some()
    origins, directions = cameras.rays(size)
    points = origins[:, None, None] + depth * directions  # (N, S, S, 3)
    ones = torch.ones_like(points[..., :1])
    clip = torch.einsum(
        "nij,njk,nrck->nrci", cameras.projection, cameras.view, torch.cat([points, ones], dim=-1)
    )  # (N, S, S, 4)
    torch.testing.assert_close(clip[..., 3], torch.full_like(clip[..., 3], depth), atol=1e-4, rtol=0)
    centre = (torch.arange(size) + 0.5) / size * 2 - 1
    torch.testing.assert_close(clip[..., 0] / clip[..., 3], centre.expand(len(cameras), size, size), atol=1e-5, rtol=0)
    down = -centre[:, None].expand(len(cameras), size, size)  # row 0 is at the top
    torch.testing.assert_close(clip[..., 1] / clip[..., 3], down, atol=1e-5, rtol=0)
    pixels = torch.einsum("nij,nrcj->nrci", cameras.to_pixels(size), points - origins[:, None, None])
    index = torch.arange(size, dtype=torch.float32)
    torch.testing.assert_close(pixels[..., 0] / depth, index.expand(len(cameras), size, size), atol=1e-4, rtol=0)
    rows = index[:, None].expand(len(cameras), size, size)
    torch.testing.assert_close(pixels[..., 1] / depth, rows, atol=1e-4, rtol=0)


def test_drawn_cameras_cover_their_ranges_and_follow_the_seed():
    cameras = Cameras.draw(4000, torch.Generator().manual_seed(1))
    same = Cameras.draw(4000, torch.Generator().manual_seed(1))
    assert all(torch.equal(getattr(cameras, f.name), getattr(same, f.name)) for f in dataclasses.fields(cameras))
    assert torch.equal(cameras.mesh, torch.arange(4000))
    for value, most in ((cameras.azimuth, 2 * math.pi), (cameras.elevation, MAX_ELEVATION)):
        shares = torch.histc(value, bins=10, min=0, max=most) / 4000
        assert shares.sum() > 0.999
        assert (shares - 0.1).abs().max() < 0.02
    assert set(cameras.radius.tolist()) == {torch.tensor(RADIUS).item()}
    assert math.isclose(math.degrees(FIELD_OF_VIEW), 49.13, abs_tol=0.01)


def test_some_of_the_cameras_are_the_same_cameras():
    cameras = some()
    assert torch.equal(cameras[2:5].positions, cameras.positions[2:5])
    assert torch.equal(cameras[[4, 0]].mesh, torch.tensor([4, 0]))
    assert torch.equal(cameras.seeing(torch.zeros(9, dtype=torch.int64)).positions, cameras.positions)


@pytest.mark.parametrize(
    "bad",
    [
        {"azimuth": [math.nan]},
        {"elevation": 90.0},
        {"elevation": math.inf},
        {"radius": 0.0},
        {"radius": math.nan},
        {"field_of_view": 49.0},
        {"field_of_view": 0.0},
    ],
)
def test_impossible_cameras_are_refused(bad):
    with pytest.raises(RenderingError):
        Cameras.at(**{"azimuth": [0.0], **bad})


def test_unequal_lengths_are_refused():
    cameras = some(3)
    with pytest.raises(RenderingError, match="radius"):
        dataclasses.replace(cameras, radius=torch.ones(2))

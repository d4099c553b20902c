"""Questions to meshes against their definitions."""

from __future__ import annotations

import numpy as np
import solids
import torch
import trimesh

from gan3d_core import winding
from training.data.orientation import turn_outward
from training.data.queries import nearest, winding_side
from training.warp_runtime import make_mesh

POINTS = np.random.default_rng(0).uniform(-0.9, 0.9, (400, 3)).astype(np.float32)


def test_sides_are_those_of_the_sum_of_solid_angles():
    """Of an open sphere and a whole torus through it; whatever is said of how far the surface is."""
    ball, ring = trimesh.creation.icosphere(3, 0.7), trimesh.creation.torus(0.6, 0.22, 48, 24)
    open_ball = ball.faces[ball.triangles_center[:, 2] < 0.4]
    vertices, faces = solids.join((ball.vertices.astype(np.float32), open_ball), (ring.vertices, ring.faces))
    mesh = make_mesh(vertices, faces, winding=True)
    triangles = torch.from_numpy(vertices[faces].astype(np.float64)).expand(len(POINTS), -1, -1, -1)
    number = winding.exactly(triangles, torch.from_numpy(POINTS).double()).numpy()
    clear = np.abs(number - 0.5) > 0.02
    assert clear.mean() > 0.9
    side = winding_side(mesh, POINTS)
    assert (side[clear] == np.where(number[clear] > 0.5, -1, 1)).all()
    away = nearest(mesh, POINTS)
    assert (winding_side(mesh, POINTS, away) == side).all()
    assert (winding_side(mesh, POINTS, 0.1 * away) == side).all(), "a distance that is too short is no answer"


def test_small_parts_are_turned_like_large_ones():
    """A patch of few faces looks from each of them; one of many from some of them. Both see the sky outside."""
    for mesh in (solids.box((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)), solids.sphere(), solids.torus()):
        vertices, faces = mesh
        turned, kept = turn_outward(vertices, faces[:, ::-1])
        assert (kept == np.arange(len(faces))).all()
        rows = [np.roll(turned, shift, axis=1) for shift in range(3)]
        assert np.any([(row == faces).all(axis=1) for row in rows], axis=0).all()

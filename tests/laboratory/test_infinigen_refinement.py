"""Triangles are split without a gap and without a change of form."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from training.infinigen.inside import refinement

SOLIDS = {
    "box": trimesh.creation.box((2.0, 0.4, 0.1)),
    "needle": trimesh.creation.cylinder(0.02, 1.5, sections=7),
    "torus": trimesh.creation.torus(0.8, 0.2, major_sections=9, minor_sections=5),
}


@settings(max_examples=20)
@given(st.sampled_from(sorted(SOLIDS)), st.floats(0.02, 1.0), st.integers(40, 2000))
def test_refining_changes_nothing_but_the_length_of_edges(name, spacing, most):
    solid = SOLIDS[name]
    refined = refinement.refine(solid.vertices, solid.faces, spacing, most)
    mesh = trimesh.Trimesh(refined.vertices, refined.faces, process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(solid.volume, rel=1e-9)
    assert mesh.area == pytest.approx(solid.area, rel=1e-9)
    assert mesh.euler_number == solid.euler_number
    assert len(refined.vertices) <= max(most, len(solid.vertices))
    assert (refined.vertices[: len(solid.vertices)] == solid.vertices).all()
    # The weights say where each corner lies on the old mesh.
    corners = np.einsum("fcp,fpk->fck", refined.weights, solid.vertices[solid.faces[refined.parent]])
    assert corners == pytest.approx(refined.vertices[refined.faces], abs=1e-12)
    assert refined.weights.sum(axis=-1) == pytest.approx(1.0)
    # Every old face is covered by its own pieces.
    area = np.bincount(refined.parent, mesh.area_faces, len(solid.faces))
    assert area == pytest.approx(solid.area_faces, rel=1e-9)


def test_with_room_enough_no_edge_is_longer_than_asked():
    for solid in SOLIDS.values():
        refined = refinement.refine(solid.vertices, solid.faces, 0.07, 100_000)
        mesh = trimesh.Trimesh(refined.vertices, refined.faces, process=False)
        assert mesh.edges_unique_length.max() <= 0.07

import numpy as np
import pytest
from sdf import box, grid, sphere, torus, union

from gan3d_core.surfacing.components import compact, component_labels, keep_components
from gan3d_core.surfacing.extract import extract
from gan3d_core.surfacing.measures import signed_volumes, topology

BODY = sphere(0.4, (-0.4, 0, 0))
SMALL = sphere(0.16, (0.4, 0, 0.1))  # 0.064 of the body's volume
SPECK = sphere(0.05, (0.8, 0.5, -0.5))  # 0.002 of it


@pytest.fixture(scope="module")
def three():
    return extract(union(BODY, SMALL, SPECK)(grid(64)).astype(np.float32))


def parts(faces):
    return len(np.unique(component_labels(faces.max() + 1, faces)))


@pytest.mark.parametrize(
    ("rule", "least", "kept"),
    [("all", 0.5, 3), ("largest", 0.0, 1), ("floaters", 0.02, 2), ("floaters", 0.1, 1), ("floaters", 0.0, 3)],
)
def test_rules(three, rule, least, kept):
    vertices, faces = keep_components(*three, rule, least)
    assert parts(faces) == kept
    assert topology(faces) == type(topology(faces))(closed=True, euler=2 * kept)
    assert len(np.unique(faces)) == len(vertices)  # nothing unused
    exact = sum(4 / 3 * np.pi * r**3 for r in (0.4, 0.16, 0.05)[:kept])
    assert abs(signed_volumes(vertices, faces).sum() / exact - 1) < 0.01


def test_what_stays_is_unmoved(three):
    vertices, faces = keep_components(*three, "largest", 0.0)
    alone = extract(BODY(grid(64)).astype(np.float32))
    assert len(faces) == len(alone[1])
    assert np.allclose(np.sort(vertices, axis=0), np.sort(alone[0], axis=0), atol=1e-4)


def test_size_is_volume_not_faces():
    # A thin large ring has more faces than the block, and less volume.
    ring, block = torus(0.8, 0.08), box((0.35, 0.35, 0.35))
    vertices, faces = extract(union(ring, block)(grid(64)).astype(np.float32))
    vertices, faces = keep_components(vertices, faces, "largest", 0.0)
    assert np.abs(vertices).max() < 0.4
    assert topology(faces).euler == 2


@pytest.mark.parametrize("rule", ["all", "floaters", "largest"])
def test_shells_inside_out_go(rule):
    vertices, faces = extract(sphere(0.6)(grid(32)).astype(np.float32))
    inner = 0.5 * vertices
    both = np.concatenate([vertices, inner])
    double = np.concatenate([faces, faces[:, ::-1] + len(vertices)])
    kept_vertices, kept = keep_components(both, double, rule, 0.0)
    assert np.array_equal(kept_vertices, vertices)
    assert np.array_equal(kept, faces)


def test_equal_parts_keep_the_first():
    twins = union(box((0.2, 0.2, 0.2), (-0.5, 0, 0)), box((0.2, 0.2, 0.2), (0.5, 0, 0)))
    mesh = extract(twins(grid(32)).astype(np.float32))
    results = [keep_components(*mesh, "largest", 0.0) for _ in range(3)]
    for vertices, faces in results:
        assert np.array_equal(vertices, results[0][0])
        assert np.array_equal(faces, results[0][1])
        assert parts(faces) == 1


def test_compact_keeps_order():
    vertices = np.arange(18.0).reshape(6, 3)
    kept, faces = compact(vertices, np.array([[5, 1, 3]]))
    assert np.array_equal(kept, vertices[[1, 3, 5]])
    assert np.array_equal(faces, [[2, 0, 1]])

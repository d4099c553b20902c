"""From the shipped checkpoints to a finished mesh and its file: what an artist relies on, on real shapes."""

import numpy as np
import pytest
import trimesh
from scipy import ndimage

from gan3d_core import checkpoints, generators, latent
from gan3d_core.field import EXTENT
from gan3d_core.recipe import Recipe
from gan3d_core.surfacing import surface
from gan3d_core.surfacing.atlas import flipped_share, overlap_share, signed_areas
from gan3d_core.surfacing.components import component_labels
from gan3d_core.surfacing.measures import face_vectors, topology


@pytest.fixture(scope="module", params=[0, 5])
def made(request):
    checkpoint = checkpoints.default_for("chair")
    config = checkpoint.config
    code = latent.draw(request.param, config.latent_size, config.prior, config.truncation)
    field = generators.load(checkpoint, "cpu").fields(code[None], config.size_m)[0]
    recipe = Recipe(checkpoint.id, seed=request.param, resolution=64, target_faces=5000, texture_size=512)
    return field, surface(field, recipe)


def test_watertight_outward_and_in_one_piece(made):
    _, shape = made
    assert topology(shape.faces).closed
    assert shape.volume() > 0
    assert component_labels(len(shape.vertices), shape.faces).max() == 0
    assert len(shape.faces) <= 5000
    assert np.linalg.norm(face_vectors(shape.vertices.astype(float), shape.faces), axis=1).min() > 0


def test_texture_coordinates(made):
    _, shape = made
    uvs = shape.uvs.astype(np.float64)
    assert flipped_share(uvs) < 1e-6
    assert overlap_share(uvs, 1024) < 1e-4
    world = np.linalg.norm(face_vectors(shape.vertices.astype(float), shape.faces), axis=1) / 2
    density = np.sqrt(signed_areas(uvs).clip(0) / world)
    order = np.argsort(density)
    low, high = density[order][np.searchsorted(np.cumsum(world[order]) / world.sum(), [0.05, 0.95])]
    assert high / low < 1.4


def test_colours_on_the_mesh_are_the_fields(made):
    """At random points of the surface, through the texture as a renderer reads it, against the field itself."""
    field, shape = made
    generator = np.random.default_rng(0)
    areas = np.linalg.norm(face_vectors(shape.vertices.astype(float), shape.faces), axis=1)
    face = generator.choice(len(areas), 5000, p=areas / areas.sum())
    weights = generator.dirichlet([1, 1, 1], len(face))
    corners = shape.vertices[shape.faces].astype(np.float64) * (2 * EXTENT / field.size_m)
    points = np.einsum("nk,nkd->nd", weights, corners[face])
    uv = np.einsum("nk,nkd->nd", weights, shape.uvs[face])
    # Metres → cube: undo `place`, whose move is the same for every vertex and found from the field's own surface.
    points += moved(field, shape)
    exact = field.materials(points.astype(np.float32))
    place = np.stack([uv[:, 1], uv[:, 0]]) * len(shape.base_color) - 0.5
    for image, value in ((shape.base_color, exact.base_color), (shape.roughness[..., None], exact.roughness[:, None])):
        for channel in range(image.shape[2]):
            seen = ndimage.map_coordinates(image[..., channel].astype(float), place, order=1, mode="nearest") / 255
            error = np.abs(seen - value[:, channel])
            assert error.mean() < 0.01
            assert np.quantile(error, 0.99) < 0.06


def moved(field, shape):
    """(3,) from the placed shape, scaled to the cube, to the field's frame: by the low corner of its own surface."""
    from gan3d_core.surfacing.components import keep_components
    from gan3d_core.surfacing.extract import extract
    from gan3d_core.surfacing.flatten import flatten
    from gan3d_core.surfacing.simplify import simplify
    from gan3d_core.surfacing.smooth import smooth

    vertices, faces = keep_components(*extract(field.values(64)), "largest", 0.02)
    recipe = Recipe("any")
    vertices, faces = simplify(smooth(vertices, faces, recipe.smoothing), faces, 5000)
    vertices = flatten(vertices, faces, recipe.flattening)
    return vertices.min(axis=0) - shape.vertices.min(axis=0) * (2 * EXTENT / field.size_m)


def test_round_trip_through_glb(made, tmp_path):
    _, shape = made
    shape.write_glb(tmp_path / "chair.glb")
    mesh = trimesh.load(tmp_path / "chair.glb", process=False).to_geometry()
    expected = shape.vertices[shape.faces] @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
    assert np.allclose(mesh.vertices[mesh.faces], expected, atol=1e-6)
    assert np.allclose(mesh.visual.uv[mesh.faces], shape.uvs, atol=1e-6)
    material = mesh.visual.material
    assert np.array_equal(np.asarray(material.baseColorTexture.convert("RGB"))[::-1], shape.base_color)
    packed = np.asarray(material.metallicRoughnessTexture.convert("RGB"))[::-1]
    assert np.array_equal(packed[..., 1:], np.stack([shape.roughness, shape.metallic], axis=-1))

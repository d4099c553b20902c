"""What cameras see of a mesh: against brute force, at awkward meshes, and differentiably."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import solids
import torch
import trimesh

from gan3d_core.errors import RenderingError
from training.rendering.antialias import antialias
from training.rendering.cameras import NEAR, Cameras
from training.rendering.rasterise import interpolate, pack, rasterise, sample
from training.rendering.shading import face_normals, lit, to_linear, to_srgb, vertex_normals

CHAIR = Path(__file__).parents[1] / "shapes" / "furniture" / "chair" / "000022.npz"


def chair() -> tuple[torch.Tensor, torch.Tensor]:
    data = np.load(CHAIR)
    vertices = torch.tensor(data["position"].astype(np.float32))
    middle = (vertices.amax(0) + vertices.amin(0)) / 2
    vertices = (vertices - middle) * (1.8 / (vertices.amax(0) - vertices.amin(0)).amax())
    return vertices, torch.tensor(data["face"].astype(np.int64))


def mesh(solid: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(solid[0]), torch.tensor(solid[1])


def triangle(z: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[-0.8, z, -0.7], [0.9, z, -0.5], [0.1, z, 0.8]]), torch.tensor([[0, 1, 2]])


def cast(vertices: torch.Tensor, faces: torch.Tensor, cameras: Cameras, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth (N, S, S) by testing every ray against every face in float64, and how near each ray passes to an edge of
    any face, as the least barycentric weight's distance from zero."""
    origins, directions = (value.double() for value in cameras.rays(size))
    a, b, c = vertices.double()[faces].unbind(1)
    depths, margins = [], []
    for origin, ray in zip(origins, directions.reshape(len(cameras), -1, 3), strict=True):
        normal = torch.linalg.cross(b - a, c - a)
        depth = ((a - origin) * normal).sum(-1) / (ray @ normal.T)  # (S², F)
        point = origin + depth[..., None] * ray[:, None]
        area = (normal**2).sum(-1)
        weights = torch.stack(
            [
                (torch.linalg.cross((q - p).expand_as(point), point - p) * normal).sum(-1) / area
                for p, q in ((b, c), (c, a), (a, b))
            ]
        )
        least = weights.amin(0)
        hit = (least >= 0) & (depth > NEAR)
        depths.append(torch.where(hit, depth, math.inf).amin(-1).reshape(size, size))
        margins.append(least.abs().nan_to_num(0).amin(-1).reshape(size, size))
    return torch.stack(depths), torch.stack(margins)


def test_the_nearest_surface_is_seen_as_brute_force_finds_it():
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.7)
    vertices, faces = mesh(solids.join(solids.box((-0.5, -1.0, -0.1), (0.5, 1.0, 0.1)), (ball.vertices, ball.faces)))
    vertices = vertices.float()
    faces = faces[torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))[:800]]  # with holes
    cameras = Cameras.at([0.3, 2.0, 4.0], [0.2, -0.6, 1.2], [2.5, 3.0, 1.4], [0.9, 0.5, 1.4])
    seen = rasterise(vertices, faces, cameras, 24)
    expected, margin = cast(vertices, faces, cameras, 24)
    sure = margin > 1e-5
    assert sure.float().mean() > 0.98
    assert torch.equal(seen.mask[sure], torch.isfinite(expected)[sure])
    both = seen.mask & torch.isfinite(expected) & sure
    assert both.float().mean() > 0.2
    torch.testing.assert_close(seen.depth[both].double(), expected[both], atol=2e-5, rtol=0)
    torch.testing.assert_close(seen.depth[seen.mask], seen.nearest[seen.mask], atol=2e-4, rtol=0)


def test_sampled_vertices_lie_on_the_pixels_rays():
    vertices, faces = chair()
    cameras = Cameras.ring(3)
    seen = rasterise(vertices, faces, cameras, 48)
    points = sample(seen, faces, vertices)
    pixel = torch.einsum("pij,pj->pi", cameras.to_pixels(48)[seen.camera], points - cameras.positions[seen.camera])
    row, column = seen.pixels // 48 % 48, seen.pixels % 48
    torch.testing.assert_close(pixel[:, 0] / pixel[:, 2], column.float(), atol=2e-3, rtol=0)
    torch.testing.assert_close(pixel[:, 1] / pixel[:, 2], row.float(), atol=2e-3, rtol=0)
    torch.testing.assert_close(pixel[:, 2], seen.depths, atol=1e-4, rtol=0)
    assert (seen.weights >= 0).all()
    torch.testing.assert_close(seen.weights.sum(-1), torch.ones(len(points)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [31, 64, 257])
def test_no_pixel_falls_between_faces(size):
    """A wall that fills the view, cut at pixel centres, between them and at random: every pixel sees it."""
    camera = Cameras.at([0.0], 0.0, 2.0)
    reach = 1.02 * 2.0 * math.tan(float(camera.field_of_view[0]) / 2)
    random = torch.Generator().manual_seed(size)
    inner = torch.rand(40, generator=random) * 2 - 1
    at_centres = (torch.arange(0, size, 3) + 0.5) / size * 2 - 1
    lines = torch.cat([torch.tensor([-1.02, 1.02]), inner, at_centres]).sort().values * (reach / 1.02)
    x, z = torch.meshgrid(lines, lines, indexing="ij")
    depth = 0.3 * torch.rand(x.shape, generator=random)
    depth[[0, -1]] = depth[:, [0, -1]] = 0.0
    scale = (2.0 + depth) / 2.0  # vertices move along their rays: the wall is bumpy and its picture the same
    vertices = torch.stack([x * scale, depth, z * scale], dim=-1).reshape(-1, 3)
    index = torch.arange(len(vertices)).reshape(x.shape)
    a, b, c, d = (part.reshape(-1) for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    faces = torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])
    turned = torch.rand(len(faces), generator=random) < 0.5
    faces[turned] = faces[turned].flip(1)  # both sides are seen
    assert rasterise(vertices, faces, camera, size).mask.all()


def test_packed_meshes_look_as_they_do_alone():
    meshes = [chair(), triangle(), mesh(solids.sphere(0.5)), (torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))]
    random = torch.Generator().manual_seed(5)
    cameras = Cameras.draw(7, random, mesh=torch.tensor([2, 0, 1, 3, 0, 2, 1]))
    colors = [torch.rand(len(vertices), 3, generator=random) for vertices, _ in meshes]
    packed = pack(meshes)
    seen = rasterise(packed.vertices, packed.faces, cameras, 32, packed.first_face)
    image = interpolate(seen, packed.faces, torch.cat(colors), 0.25)
    smooth = antialias(image, seen, packed.vertices, packed.faces, cameras, packed.first_face)
    for i in range(len(cameras)):
        (vertices, faces), color = meshes[cameras.mesh[i]], colors[cameras.mesh[i]]
        alone = rasterise(vertices, faces, cameras[i : i + 1], 32)
        image_alone = interpolate(alone, faces, color, 0.25)
        assert torch.equal(alone.mask[0], seen.mask[i])
        assert torch.equal(image_alone[0], image[i])
        assert torch.equal(antialias(image_alone, alone, vertices, faces, cameras[i : i + 1])[0], smooth[i])


def test_threads_change_nothing():
    vertices, faces = chair()
    cameras = Cameras.ring(5)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(rasterise(vertices, faces, cameras, 64))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0].face, found[1].face)
    assert torch.equal(found[0].nearest, found[1].nearest)


def test_faces_without_area_are_never_seen_and_spoil_no_gradient():
    vertices, faces = triangle()
    vertices = torch.cat([vertices, torch.tensor([[0.0, -0.3, 0.0], [0.3, -0.3, 0.3], [0.6, -0.3, 0.6]])])
    collapsed = torch.tensor([[3, 3, 3], [3, 4, 3], [3, 4, 5], [4, 4, 5]])
    camera = Cameras.at([0.0], 0.0)
    vertices.requires_grad_()
    seen = rasterise(vertices, torch.cat([collapsed, faces]), camera, 32)
    assert set(seen.face.unique().tolist()) == {-1, len(collapsed)}
    image = interpolate(seen, torch.cat([collapsed, faces]), vertices)
    antialias(image, seen, vertices, torch.cat([collapsed, faces]), camera).square().sum().backward()
    assert torch.isfinite(vertices.grad).all()
    assert vertices.grad[:3].abs().sum() > 0


@pytest.mark.parametrize("count", [0, 5])
def test_an_empty_mesh_gives_the_background(count):
    vertices = torch.zeros(count, 3, requires_grad=True)
    faces = torch.zeros(0, 3, dtype=torch.int64)
    cameras = Cameras.ring(2)
    seen = rasterise(vertices, faces, cameras, 16)
    image = antialias(interpolate(seen, faces, vertices, 0.5), seen, vertices, faces, cameras)
    assert (image == 0.5).all()
    assert not seen.mask.any()
    image.sum().backward()
    assert vertices.grad.abs().sum() == 0
    normals = face_normals(seen, vertices, faces, cameras)
    assert normals.shape == (0, 3)


def test_what_is_behind_the_camera_is_not_seen():
    vertices, faces = mesh(solids.sphere(0.5))
    camera = Cameras.at([0.0], 0.0, 2.0)
    behind = vertices - torch.tensor([0.0, 4.0, 0.0])
    seen = rasterise(behind, faces, camera, 32)
    assert not seen.mask.any()
    image = antialias(seen.mask[..., None].float(), seen, behind, faces, camera)
    assert (image == 0).all()


def test_from_inside_a_box_every_pixel_sees_a_wall():
    """Walls reach behind the camera on all sides; depths are those of planes."""
    vertices, faces = mesh(solids.box((-3.0, -3.0, -3.0), (3.0, 3.0, 3.0)))
    camera = Cameras.at([0.4], 0.3, 1.0, 2.2)
    seen = rasterise(vertices, faces, camera, 64)
    assert seen.mask.all()
    origins, directions = camera.rays(64)
    distance = ((torch.sign(directions[0]) * 3 - origins[0]) / directions[0]).amin(-1)
    torch.testing.assert_close(seen.depth[0], distance, atol=1e-4, rtol=1e-4)


def test_what_crosses_the_near_plane_is_cut_there():
    """A floor just below the camera runs from behind it to the horizon."""
    vertices = torch.tensor([[-50.0, -50, -0.1], [50, -50, -0.1], [50, 50, -0.1], [-50, 50, -0.1]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    camera = Cameras.at([0.0], 0.0, 2.0, 2.9)
    seen = rasterise(vertices, faces, camera, 65)
    _, directions = camera.rays(65)
    depth = -0.1 / directions[0, :, :, 2]
    expected = (depth > NEAR) & (depth < 52)
    assert torch.equal(seen.mask[0], expected)
    torch.testing.assert_close(seen.depth[0][expected], depth[expected], rtol=1e-3, atol=0)


def test_gradients_of_color_and_position_match_finite_differences():
    """Inside faces and through the blended outlines, in float64: colours, positions, depths and barycentrics."""
    vertices, faces = mesh(solids.box((-0.6, -0.5, -0.7), (0.5, 0.6, 0.4)))
    extra, extra_faces = triangle(-0.9)
    vertices = torch.cat([vertices, 0.6 * extra]).double()
    faces = torch.cat([faces, extra_faces + len(vertices) - 3])
    cameras = Cameras.at([0.5, 3.9], [0.3, 0.1])
    random = torch.Generator().manual_seed(2)
    colors = torch.rand(len(vertices), 3, generator=random, dtype=torch.float64)
    weights = torch.rand(2, 20, 20, 7, generator=random, dtype=torch.float64)

    def picture(at: torch.Tensor, color: torch.Tensor) -> torch.Tensor:
        seen = rasterise(at, faces, cameras, 20)
        parts = [interpolate(seen, faces, color), seen.depth[..., None], seen.barycentric]
        return (antialias(torch.cat(parts, dim=-1), seen, at, faces, cameras) * weights).sum()

    assert torch.autograd.gradcheck(
        picture, (vertices.requires_grad_(), colors.requires_grad_()), eps=1e-6, atol=1e-5, rtol=1e-4
    )


def test_light():
    vertices, faces = mesh(solids.sphere(0.7))
    cameras = Cameras.ring(2)
    seen = rasterise(vertices, faces, cameras, 48)
    normal = face_normals(seen, vertices, faces, cameras)
    points = sample(seen, faces, vertices)
    torch.testing.assert_close(normal, points / points.norm(dim=1, keepdim=True), atol=0.05, rtol=0)
    smooth = torch.nn.functional.normalize(sample(seen, faces, vertex_normals(vertices, faces)), dim=-1)
    torch.testing.assert_close(smooth, points / points.norm(dim=1, keepdim=True), atol=0.01, rtol=0)
    color = torch.full_like(points, 0.5).requires_grad_()
    light = lit(color, normal, seen, cameras)
    assert ((light >= 0) & (light <= 1)).all()
    assert light[normal[:, 2] > 0.7].mean() > light[normal[:, 2] < -0.5].mean() + 0.1
    light.sum().backward()
    assert torch.isfinite(color.grad).all()
    values = torch.linspace(0, 1, 256, requires_grad=True)
    torch.testing.assert_close(to_srgb(to_linear(values)), values, atol=1e-6, rtol=1e-5)
    to_srgb(to_linear(values)).sum().backward()
    assert torch.isfinite(values.grad).all()


def changed(**values: object) -> dict[str, object]:
    vertices, faces = triangle()
    return {"vertices": vertices, "faces": faces, "cameras": Cameras.ring(2), "size": 8, **values}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (changed(vertices=torch.tensor([[0.0, 0, 0], [1, 0, math.nan], [0, 1, 0]])), "finite"),
        (changed(vertices=torch.tensor([[0.0, 0, 0], [1, 0, -math.inf], [0, 1, 0]])), "finite"),
        (changed(vertices=torch.zeros(3, 2)), "Vertices"),
        (changed(vertices=torch.zeros(3, 3, dtype=torch.int64)), "Vertices"),
        (changed(faces=torch.tensor([[0, 1, 3]])), "none of the 3"),
        (changed(faces=torch.tensor([[0, 1, -1]])), "none of the 3"),
        (changed(faces=torch.tensor([[0.0, 1, 2]])), "int64"),
        (changed(faces=torch.tensor([[0, 1, 2, 0]])), r"\(F, 3\)"),
        (changed(size=0), "0 pixels"),
        (changed(size=100000), "100000 pixels"),
        (changed(first_face=torch.tensor([0, 2])), "first_face"),
        (changed(first_face=torch.tensor([0])), "first_face"),
        (changed(first_face=torch.tensor([0, 1, 0, 1])), "first_face"),
        (changed(first_face=torch.tensor([0, 1]), cameras=Cameras.at([0.0], mesh=1)), "camera sees a mesh"),
        (changed(vertices=torch.zeros(3, 3, device="meta")), "devices"),
    ],
)
def test_what_cannot_be_rendered_is_refused(arguments, words):
    with pytest.raises(RenderingError, match=words):
        rasterise(**arguments)


def test_nothing_to_pack_and_images_that_do_not_fit_are_refused():
    with pytest.raises(RenderingError, match="no meshes"):
        pack([])
    vertices, faces = triangle()
    cameras = Cameras.ring(2)
    seen = rasterise(vertices, faces, cameras, 8)
    with pytest.raises(RenderingError, match="does not fit"):
        antialias(torch.zeros(2, 9, 9, 3), seen, vertices, faces, cameras)

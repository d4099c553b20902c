"""Shapes from a generator in a process of its own: seeds, stops, failures; its folders; and what it bakes in Blender.

Infinigen itself is not installed here. Two stand-ins take its place: a program that speaks the protocol and misbehaves
by seed, and a module of factories inside the real generator, in the Blender that the tests have.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from gan3d_core.errors import DatasetError, OutputError, WorkerStartError
from gan3d_core.worker import environment as worker_environment
from training.data.readers import read
from training.data.source import SourceFile
from training.infinigen import catalogue, command, environment, generate, process
from training.infinigen.inside import refinement
from training.prepare import main

STAND_IN = """
import json, os, sys, time
import numpy as np
log = open(sys.argv[1], "a", buffering=1)
log.write("start\\n")
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    seed, path = request["seed"], request["path"]
    log.write(f"{seed} {request['factory']}\\n")
    what = json.loads(sys.argv[2]).get(str(seed), "make")
    if what == "fail":
        print(json.dumps({"done": False, "reason": "ValueError: no legs"}), flush=True)
        continue
    if what == "hang":
        time.sleep(600)
    if what == "die":
        sys.stderr.write("Fra:1 Mem:1M\\nSegmentation fault in the cushion\\n")
        sys.stderr.flush()
        os._exit(11)
    if what == "rubbish":
        print("Info: saved", flush=True)
        continue
    os.makedirs(os.path.dirname(path), exist_ok=True)
    face = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.uint32 if seed % 2 else np.uint16)
    position = np.array([[0, 0, 0], [65534, 0, 0], [0, 65534, 0], [0, 0, 65534]], np.uint16)
    if what == "holes":
        face[0, 0] = 9
    np.savez(path, position=position, face=face, rgb=np.full((4, 3), seed % 256, np.uint8))
    if what == "broken":
        open(path, "r+b").truncate(100)
    row = {"center": [0.0, 0.0, 0.5], "size_m": 1.0, "params": {"width": seed / 7}}
    if what == "unsized":
        del row["size_m"]
    print(json.dumps({"done": True, "row": row}), flush=True)
"""


class StandIn:
    def __init__(self, folder: Path) -> None:
        self.folder, self.program = folder / "shapes", folder / "stand_in.py"
        self.program.write_text(STAND_IN)
        self.log = folder / "log.txt"
        self.does: dict[int, str] = {}

    def start(self) -> process.GeneratorProcess:
        does = json.dumps(self.does)
        return process.GeneratorProcess([sys.executable, str(self.program), str(self.log), does], limit_s=10)

    def fill(self, count: int, first: int = 0, category: str = "chair", **more) -> int:
        return generate.generate(self.folder, category, count, first, self.start, **more)

    def rows(self, name: str = generate.METADATA) -> list[dict]:
        return generate.read_rows(self.folder / name)

    def asked(self) -> list[int]:
        return [int(line.split()[0]) for line in self.log.read_text().splitlines() if line != "start"]

    def starts(self) -> int:
        return self.log.read_text().splitlines().count("start")


@pytest.fixture
def stand_in(tmp_path) -> StandIn:
    return StandIn(tmp_path)


# ── filling a folder ──────────────────────────────────────────────────────────────────────────────────────────────


def test_as_many_as_asked_for_each_made_once_and_readable(stand_in):
    assert stand_in.fill(5, first=40) == 5
    assert [row["seed"] for row in stand_in.rows()] == [40, 41, 42, 43, 44] == stand_in.asked()
    assert stand_in.starts() == 1
    for row in stand_in.rows():
        assert row["kind"] == catalogue.kind_of("chair", row["seed"]).name
        assert row["params"] == {"width": row["seed"] / 7}
        file = SourceFile(str(stand_in.folder / row["file"]), row["file"], "chair", "", "", "+Z", "+X", 1.0, row)
        mesh = read(file)
        assert np.ptp(mesh.vertices, axis=0) == pytest.approx([1, 1, 1])
        assert mesh.vertices.min(axis=0) == pytest.approx([-0.5, -0.5, 0], abs=1e-4)
        assert len(mesh.faces) == 4  # stored with 16 or 32 bits by turns
    # The same command again makes nothing; a larger count only what is missing.
    assert stand_in.fill(5, first=40) == 0
    assert stand_in.fill(7, first=40) == 2
    assert stand_in.asked() == [40, 41, 42, 43, 44, 45, 46]


def test_what_goes_wrong_is_skipped_with_its_reason_and_never_tried_again(stand_in):
    stand_in.does = {1: "fail", 2: "die", 4: "rubbish", 5: "broken", 6: "holes", 7: "unsized"}
    assert stand_in.fill(4) == 4
    assert [row["seed"] for row in stand_in.rows()] == [0, 3, 8, 9]
    reasons = {row["seed"]: row["reason"] for row in stand_in.rows(generate.SKIPPED)}
    assert set(reasons) == {1, 2, 4, 5, 6, 7}
    assert reasons[1] == "ValueError: no legs"
    assert reasons[2] == "the generator ended (exit code 11): Segmentation fault in the cushion"
    assert "answer" in reasons[4]
    assert "cannot be read" in reasons[5]
    assert "do not exist" in reasons[6]
    assert "size_m" in reasons[7]
    assert {path.name for path in (stand_in.folder / "chair").iterdir()} == {
        f"{seed:06}.npz" for seed in (0, 3, 8, 9)
    }, "what cannot be used leaves no file"
    assert stand_in.starts() == 3, "a new process after a death and after rubbish, and for nothing else"
    stand_in.does = {}
    assert stand_in.fill(5) == 1
    assert stand_in.asked()[-1] == 10


def test_a_shape_that_takes_too_long_is_given_up(stand_in):
    stand_in.does = {0: "hang"}
    begin = time.monotonic()
    made = generate.generate(
        stand_in.folder,
        "lamp",
        1,
        0,
        lambda: process.GeneratorProcess(
            [sys.executable, str(stand_in.program), str(stand_in.log), json.dumps(stand_in.does)], limit_s=1.5
        ),
    )
    assert made == 1
    assert time.monotonic() - begin < 300, "the stand-in sleeps for ten minutes"
    assert [(row["seed"], row["reason"]) for row in stand_in.rows(generate.SKIPPED)] == [
        (0, "it took longer than 1.5 s")
    ]


def test_a_generator_that_makes_nothing_is_found_out(stand_in):
    stand_in.does = dict.fromkeys(range(1, 100), "fail")
    with pytest.raises(DatasetError, match="ValueError: no legs"):
        stand_in.fill(50)
    assert stand_in.asked() == list(range(generate.HOPELESS + 1))
    assert len(stand_in.rows()) == 1


def test_after_a_crash_it_goes_on_from_what_is_whole(stand_in):
    stand_in.fill(4)
    metadata = stand_in.folder / generate.METADATA
    metadata.write_text(metadata.read_text() + '{"file": "chair/0000')  # cut off by a power failure
    (stand_in.folder / "chair" / "000001.npz").unlink()
    assert stand_in.fill(4) == 1
    assert sorted(row["seed"] for row in stand_in.rows()) == [0, 1, 2, 3]
    # A line in the middle is nobody's crash.
    metadata.write_text("chairs\n" + metadata.read_text())
    with pytest.raises(DatasetError, match="Line 1"):
        stand_in.fill(9)


def test_categories_share_a_folder_and_several_processes_a_category(stand_in):
    stand_in.does = {3: "fail", 5: "die"}
    assert stand_in.fill(9, processes=3) == 9
    assert stand_in.fill(3, category="sofa") == 3
    chairs = [row["seed"] for row in stand_in.rows() if row["category"] == "chair"]
    assert len(chairs) == len(set(chairs)) == 9, "exactly as many as asked for"
    assert not {3, 5} & set(chairs)
    assert sorted(row["seed"] for row in stand_in.rows() if row["category"] == "sofa") == [0, 1, 2]


def test_two_programs_do_not_fill_one_folder(stand_in):
    stand_in.folder.mkdir()
    holder = (
        "import sys, time; from pathlib import Path; from training.data.locks import Locks;"
        "l = Locks(Path(sys.argv[1])); assert l.take('generate'); print('held', flush=True); sys.stdin.read()"
    )
    import subprocess

    with subprocess.Popen(
        [sys.executable, "-c", holder, str(stand_in.folder / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent.parent,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"held"
        with pytest.raises(DatasetError, match="Another program"):
            stand_in.fill(1)
        assert not stand_in.log.exists()
        other.communicate()
    assert stand_in.fill(1) == 1


def test_an_interrupt_keeps_what_is_finished_and_leaves_no_process(stand_in, monkeypatch):
    made = []
    note = generate._Run._note

    def interrupted(self, seed, future):
        made.append(note(self, seed, future))
        if len(made) == 2:
            raise KeyboardInterrupt
        return made[-1]

    started = []
    monkeypatch.setattr(generate._Run, "_note", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate.generate(
            stand_in.folder, "chair", 50, 0, lambda: started.append(stand_in.start()) or started[-1], processes=2
        )
    assert len(stand_in.rows()) == 2
    assert all(entry._process.poll() is not None for entry in started)
    monkeypatch.undo()
    stand_in.fill(3)
    assert len({row["seed"] for row in stand_in.rows()}) == 3


def test_folders_and_programs_that_cannot_be_used(stand_in, tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError):
        generate.generate(file, "chair", 1, 0, stand_in.start)
    for words in (["/nonexistent/python"], [sys.executable, "-c", "print('hello')"], [sys.executable, "-c", "pass"]):
        with pytest.raises(WorkerStartError):
            generate.generate(tmp_path / "none", "chair", 1, 0, lambda words=words: process.GeneratorProcess(words, 5))
    assert generate.read_rows(tmp_path / "none" / generate.SKIPPED) == [], "no seed is to blame for that"


# ── seeds ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(-5, 200_000), st.integers(0, 100_000), st.booleans())
def test_no_seed_of_evaluation_without_asking_and_no_other_with_it(first, count, evaluation):
    wanted = {first, first + max(count, 1) - 1}
    allowed = count >= 1 and first >= 0 and all((seed >= catalogue.EVALUATION_SEED) == evaluation for seed in wanted)
    if allowed:
        catalogue.check_seeds(first, count, evaluation)
    else:
        with pytest.raises(DatasetError):
            catalogue.check_seeds(first, count, evaluation)


def test_skipping_does_not_lead_into_the_seeds_of_evaluation(stand_in):
    stand_in.does = {99_998: "fail"}
    with pytest.raises(DatasetError, match="kept for evaluation"):
        stand_in.fill(2, first=99_998)
    assert stand_in.asked() == [99_998, 99_999]
    assert stand_in.fill(1, first=100_000, evaluation=True) == 1


def test_the_command_refuses_before_it_makes_an_environment(monkeypatch, tmp_path, capsys):
    def never(*_):
        raise AssertionError("nothing may be downloaded for a command that is refused")

    monkeypatch.setattr(command.environment, "ensure", never)
    assert main(["infinigen", "chair", "2", str(tmp_path / "out"), "--first-seed", "99999"]) == 1
    assert "kept for evaluation" in capsys.readouterr().err
    assert main(["infinigen", "chair", "2", str(tmp_path / "out"), "--first-seed", "5", "--evaluation-seeds"]) == 1
    with pytest.raises(SystemExit):
        main(["infinigen", "teapot", "2", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_kinds_are_fixed_by_the_seed_and_come_in_their_shares():
    for category, kinds in catalogue.CATALOGUE.items():
        drawn = [catalogue.kind_of(category, seed).name for seed in range(4000)]
        assert drawn == [catalogue.kind_of(category, seed).name for seed in range(4000)]
        total = sum(kind.weight for kind in kinds)
        for kind in kinds:
            assert drawn.count(kind.name) / len(drawn) == pytest.approx(kind.weight / total, abs=0.035)


# ── its environment ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_environment_is_made_once_and_not_left_half_made(monkeypatch, tmp_path):
    folder = tmp_path / "cache" / "infinigen"
    monkeypatch.setenv(environment.VARIABLE, str(folder))
    steps = [[sys.executable, "-c", "print('made')"], [sys.executable, "-c", "import sys; sys.exit('no wheel')"]]
    monkeypatch.setattr(environment, "setup_commands", lambda *_: steps)
    said: list[str] = []
    with pytest.raises(WorkerStartError, match=r"Infinigen's environment failed[^$]*no wheel"):
        environment.ensure(said.append, sys.executable)
    assert not folder.exists()
    steps.pop()
    assert environment.ensure(said.append, sys.executable) == worker_environment.environment_python(folder)
    count = len(said)
    environment.ensure(said.append, "/nonexistent")
    assert len(said) == count, "nothing to do the second time"
    # It stands for its own list of packages and not for the worker's.
    assert worker_environment.is_complete(folder, environment.REQUIREMENTS)
    assert not worker_environment.is_complete(folder)


def test_an_older_or_missing_python_is_named():
    assert environment.find_python(sys.executable) == sys.executable
    with pytest.raises(DatasetError, match="/nonexistent/python"):
        environment.find_python("/nonexistent/python")


def test_its_requirements_are_pinned_and_need_no_compiler():
    lines = [line for line in environment.REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    assert "bpy==4.2.0" in lines
    install = environment.setup_commands(Path("x"), "python3.11")[1]
    assert install[install.index("--only-binary") + 1] == ":all:"


# ── splitting triangles ───────────────────────────────────────────────────────────────────────────────────────────

SOLIDS = {
    "box": trimesh.creation.box((2.0, 0.4, 0.1)),
    "needle": trimesh.creation.cylinder(0.02, 1.5, sections=7),
    "torus": trimesh.creation.torus(0.8, 0.2, major_sections=9, minor_sections=5),
}


@settings(max_examples=20, deadline=None)
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


# ── the real generator, in Blender ────────────────────────────────────────────────────────────────────────────────

FACTORIES = """
import bpy

def spawn(factory, seed):
    print("words that belong to nobody")
    if factory == "raise":
        raise RuntimeError("a factory's own trouble")
    bpy.ops.mesh.primitive_cube_add(size=1, location=(0.25, 0, 0.5), scale=(1, 0.5, 1))
    cube = bpy.context.object
    bpy.ops.object.light_add(type="POINT", location=(0, 0, 0.5))
    bpy.context.object.parent = cube
    for name in ("metal", "mixed", "stripes", "glass"):
        cube.data.materials.append(globals()[name]())
    for polygon, index in zip(cube.data.polygons, (0, 1, 2, 3, 0, 1)):
        polygon.material_index = index
    if factory == "dense":
        for _ in range(6):
            cube.modifiers.new("s", "SUBSURF").levels = 1
            cube.modifiers[-1].subdivision_type = "SIMPLE"
    return cube, {"width": 1.0}

def tree():
    material = bpy.data.materials.new("m")
    material.use_nodes = True
    return material, material.node_tree

def metal():
    material, nodes = tree()
    shader = nodes.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (0.8, 0.1, 0.05, 1)
    shader.inputs["Metallic"].default_value = 1.0
    shader.inputs["Roughness"].default_value = 0.25
    return material

def mixed():
    # Half a rough white plastic and half a black metal, the first inside of a group.
    material, nodes = tree()
    group = bpy.data.node_groups.new("g", "ShaderNodeTree")
    group.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    out, diffuse = group.nodes.new("NodeGroupOutput"), group.nodes.new("ShaderNodeBsdfDiffuse")
    diffuse.inputs["Color"].default_value = (1, 1, 1, 1)
    diffuse.inputs["Roughness"].default_value = 1.0
    group.links.new(diffuse.outputs[0], out.inputs[0])
    call, mix = nodes.nodes.new("ShaderNodeGroup"), nodes.nodes.new("ShaderNodeMixShader")
    call.node_tree = group
    glossy = nodes.nodes.new("ShaderNodeBsdfGlossy")
    glossy.inputs["Color"].default_value = (0, 0, 0, 1)
    glossy.inputs["Roughness"].default_value = 0.5
    nodes.links.new(call.outputs[0], mix.inputs[1])
    nodes.links.new(glossy.outputs[0], mix.inputs[2])
    nodes.links.new(mix.outputs[0], nodes.nodes["Material Output"].inputs["Surface"])
    return material

def stripes():
    # Five centimetres of black, five of white, on a face of two triangles; by texture coordinates nobody has made.
    material, nodes = tree()
    attribute, split = nodes.nodes.new("ShaderNodeAttribute"), nodes.nodes.new("ShaderNodeSeparateXYZ")
    attribute.attribute_name = "UVMap"
    wave = nodes.nodes.new("ShaderNodeMath")
    wave.operation = "PINGPONG"
    wave.inputs[1].default_value = 0.05
    step = nodes.nodes.new("ShaderNodeMath")
    step.operation = "GREATER_THAN"
    step.inputs[1].default_value = 0.025
    nodes.links.new(attribute.outputs["Vector"], split.inputs[0])
    nodes.links.new(split.outputs[1], wave.inputs[0])
    nodes.links.new(wave.outputs[0], step.inputs[0])
    nodes.links.new(step.outputs[0], nodes.nodes["Principled BSDF"].inputs["Base Color"])
    return material

def glass():
    # Two lobes of one surface, added: white, and not twice white.
    material, nodes = tree()
    add = nodes.nodes.new("ShaderNodeAddShader")
    for index, kind in enumerate(("ShaderNodeBsdfRefraction", "ShaderNodeBsdfGlass")):
        lobe = nodes.nodes.new(kind)
        lobe.inputs["Color"].default_value = (0.5, 0.5, 0.5, 1)
        lobe.inputs["Roughness"].default_value = 0.0
        nodes.links.new(lobe.outputs[0], add.inputs[index])
    nodes.links.new(add.outputs[0], nodes.nodes["Material Output"].inputs["Surface"])
    return material
"""


@pytest.fixture(scope="module")
def blender(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inside")
    (folder / "factories.py").write_text(FACTORIES)
    words = [sys.executable, "-E", str(environment.GENERATOR), str(folder / "factories.py")]
    running = process.GeneratorProcess(words, limit_s=300)
    yield running, folder
    running.close()


def baked(blender, factory: str, seed: int):
    running, folder = blender
    path = folder / f"{factory}.npz"
    row = running.make({"factory": factory, "seed": seed, "path": str(path)})
    file = SourceFile(str(path), path.name, "chair", "", "", "+Z", "+X", 1.0, row)
    return row, read(file)


def test_true_colours_of_metals_mixes_and_glass(blender):
    row, mesh = baked(blender, "cube", 1)
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert solid.is_watertight
    assert solid.volume == pytest.approx(0.5, rel=1e-3)
    assert solid.bounds == pytest.approx(np.array([[-0.25, -0.25, 0.0], [0.75, 0.25, 1.0]]), abs=1e-4)
    assert row["params"] == {"width": 1.0}
    assert len(mesh.vertices) <= 60_000
    assert solid.edges_unique_length.max() <= 0.03

    def at(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        assert inside.sum() > 100
        assert mesh.vertex_color is not None
        assert mesh.vertex_roughness is not None
        assert mesh.vertex_metallic is not None
        return mesh.vertex_color[inside], mesh.vertex_roughness[inside], mesh.vertex_metallic[inside]

    x, y, z = mesh.vertices.T
    clear = (x > -0.24) & (x < 0.74)
    # Blender's cube has its faces in the order −X, +Y, +X, −Y, −Z, +Z.
    color, rough, metal = at((x < -0.2499) & (np.abs(y) < 0.24) & (z > 0.01) & (z < 0.99))
    wanted = 1.055 * np.array([0.8, 0.1, 0.05]) ** (1 / 2.4) - 0.055
    assert color == pytest.approx(np.broadcast_to(wanted, color.shape), abs=0.003), "metals keep their base colour"
    assert rough == pytest.approx(0.25, abs=0.003)
    assert metal == pytest.approx(1.0, abs=0.003)

    color, rough, metal = at(clear & (y > 0.2499) & (z > 0.01) & (z < 0.99))
    assert color == pytest.approx(1.055 * 0.5 ** (1 / 2.4) - 0.055, abs=0.003), "half white, half black, in light"
    assert rough == pytest.approx(0.75, abs=0.003)
    assert metal == pytest.approx(0.5, abs=0.003)

    color, rough, _ = at(clear & (y < -0.2499) & (z > 0.01) & (z < 0.99))
    assert color == pytest.approx(1.055 * 0.5 ** (1 / 2.4) - 0.055, abs=0.003)
    assert rough == pytest.approx(0.0, abs=0.003)

    color, _, _ = at((x > 0.7499) & (np.abs(y) < 0.24) & (z > 0.01) & (z < 0.99))
    assert ((color < 0.01) | (color > 0.99)).all()
    assert color[:, 0].mean() == pytest.approx(0.5, abs=0.1), "stripes of five centimetres, on what were two triangles"
    assert row["metal_share"] == pytest.approx((0.5 + 0.5) / 4, abs=0.26)


def test_a_dense_surface_is_thinned_without_losing_its_form(blender):
    row, mesh = baked(blender, "dense", 2)
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert row["factory_vertices"] == 24_578
    assert solid.is_watertight
    assert solid.volume == pytest.approx(0.5, rel=2e-3)


def test_a_factory_that_fails_says_why_and_the_next_shape_is_made(blender):
    running, folder = blender
    with pytest.raises(process.ShapeSkippedError, match="RuntimeError: a factory's own trouble"):
        running.make({"factory": "raise", "seed": 3, "path": str(folder / "none.npz")})
    assert not (folder / "none.npz").exists()
    first, _ = baked(blender, "cube", 4)
    again, _ = baked(blender, "cube", 4)
    first.pop("seconds")
    again.pop("seconds")
    assert first == again

"""`make demo`: four chairs, the way an artist gets them, in a Blender without a window.

The add-on is switched on, its Generate operator is called once for each seed, the real worker generates, and the scene
that results is saved, exported and rendered:

    out/chairs.blend       the scene, textures packed, with the picture's studio as a second scene
    out/chairs.png         the rendered sheet
    out/chair-0000.glb …   each chair for other programs, by Blender's own exporter
    out/chair-0000.json …  its recipe, from which the add-on makes it again
    out/timings.json       how long everything took
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SEEDS = (2, 12, 33, 41)
"""The chairs of the demo, from left to right: chosen so that the shipped checkpoint shows four kinds of chair."""

LIBRARIES_HINT = (
    "Blender is linked against X11 and OpenGL libraries that a bare Linux lacks, though it opens no window here.\n"
    "On Debian and Ubuntu: apt install libx11-6 libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libgl1"
)
ROOT = Path(__file__).resolve().parent.parent


class DemoError(Exception):
    """Why there is no demo, in words for the person who started it."""


class Stopwatch:
    """Seconds by stage, in the order in which they came."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the results (default: %(default)s)")
    parser.add_argument("--category", default="chair", help="what to generate (default: %(default)s)")
    parser.add_argument("--checkpoint", default="", help="its identity (default: the best of the category)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=list(SEEDS), help="one shape each (default: %(default)s)"
    )
    parser.add_argument(
        "--size", type=int, nargs=2, default=(1280, 480), metavar=("WIDTH", "HEIGHT"), help="of the sheet"
    )
    options = parser.parse_args(arguments)
    if len(set(options.seeds)) != len(options.seeds):
        parser.error("each seed gives one shape: name none of them twice")
    if not all(0 <= seed < 2**31 for seed in options.seeds):
        parser.error("seeds lie between 0 and 2,147,483,647")
    try:
        report = run(options)
    except DemoError as problem:
        print(f"\nThe demo failed. {problem}", file=sys.stderr)
        return 1
    print_table(report)
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Generate, save, export and render; returns what out/timings.json holds.

    Raises:
        DemoError: anything that a user can meet, explained.
    """
    watch = Stopwatch()
    out: Path = options.out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"The folder {out} cannot be made: {error.strerror}.") from None
    log = out / "blender.log"
    log.write_bytes(b"")
    # The environment that this runs in has what the worker needs; no other is to be searched for.
    os.environ["GAN3D_PYTHON"] = sys.executable
    with watch.measure("start Blender"):
        bpy = start_blender()
    with switched_on(bpy):
        shapes, generating = generate(bpy, options, watch)
        stem = options.category.replace("_", "-")
        names = [f"{stem}-{shape['seed']:04d}" for shape in generating]
        with watch.measure("recipes and .glb files"), into_log(log):
            for thing, name in zip(shapes, names, strict=True):
                write_recipe(thing, out / f"{name}.json")
                export_glb(bpy, thing, out / f"{name}.glb")
        blend, picture = out / f"{stem}s.blend", out / f"{stem}s.png"
        print("Rendering the sheet …", flush=True)
        with watch.measure("render"), into_log(log):
            from tools import contact_sheet

            contact_sheet.render(contact_sheet.build(shapes, *options.size), picture)
        with watch.measure("save .blend"), into_log(log):
            save_blend(bpy, blend)
        worker = worker_info()
    report = {
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), **worker},
        "blender": bpy.app.version_string,
        "shapes": generating,
        "stages_s": {stage: round(seconds, 3) for stage, seconds in watch.seconds.items()},
        "files": sorted([f"{name}.{kind}" for name in names for kind in ("glb", "json")] + [blend.name, picture.name]),
    }
    missing = [name for name in report["files"] if not (out / name).is_file()]
    if missing:
        raise DemoError(f"Blender did not write {', '.join(missing)}; see {log}.")
    (out / "timings.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    report["folder"] = str(out)
    return report


def into_log(log: Path) -> contextlib.AbstractContextManager[None]:
    from tools import quiet

    return quiet.into(log)


def start_blender() -> Any:
    """Import Blender as a module, with factory settings and an empty scene."""
    try:
        import bpy
    except ImportError as error:
        raise DemoError(f"Blender's module cannot be loaded: {error}.\n{LIBRARIES_HINT}") from None
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.preferences.filepaths.use_file_compression = True
    return bpy


@contextlib.contextmanager
def switched_on(bpy: Any) -> Iterator[None]:
    """The add-on and Blender's glTF exporter, as Blender itself switches add-ons on; off again, whatever happens."""
    import addon_utils

    sys.path.insert(0, str(ROOT))
    names = ("io_scene_gltf2", "addon")
    problems: list[Exception] = []
    for name in names:
        addon_utils.enable(name, default_set=True, handle_error=problems.append)
        if problems or name not in bpy.context.preferences.addons:
            raise DemoError(f"Blender could not switch on {name}: {problems[-1] if problems else 'unknown reason'}.")
    try:
        yield
    finally:
        for name in reversed(names):
            # Ends the worker and every timer: Blender's module would wait for them at exit.
            addon_utils.disable(name, default_set=True)
        sys.path.remove(str(ROOT))


def generate(bpy: Any, options: argparse.Namespace, watch: Stopwatch) -> tuple[list[Any], list[dict[str, Any]]]:
    """Start the worker and call the add-on's operator once for each seed.

    Returns:
        The objects, and for each the seconds it took, in all and by stage.
    """
    from addon import session
    from gan3d_core.errors import Gan3DError

    current = session.get()
    settings = bpy.context.scene.gan3d
    shapes, generating = [], []
    try:
        settings.category = options.category
        settings.checkpoint = options.checkpoint or "DEFAULT"
    except TypeError:
        wanted = options.checkpoint or options.category
        raise DemoError(f"No checkpoint for {wanted!r} is installed.") from None
    settings.random_seed = False
    settings.count = 1
    print("Starting the worker …", flush=True)
    try:
        with watch.measure("start worker"):
            current.start_worker()
            while current.client.state == "starting":
                current.pump()
                time.sleep(0.01)
        if current.error:
            raise current.error
        for seed in options.seeds:
            settings.seed = seed
            known = set(bpy.data.objects)
            began = time.perf_counter()
            call_generate(bpy)
            seconds = time.perf_counter() - began
            (thing,) = set(bpy.data.objects) - known
            (stages,) = current.last.timings
            print(f"{thing.name}: {len(thing.data.polygons):,} triangles in {seconds:.1f} s", flush=True)
            shapes.append(thing)
            stages = {stage: round(value, 3) for stage, value in stages.items()}
            generating.append({"seed": seed, "seconds": round(seconds, 3), "stages_s": stages})
    except Gan3DError as error:
        raise DemoError(str(error)) from None
    return shapes, generating


def call_generate(bpy: Any) -> None:
    """Press Generate, and wait until the shape stands in the scene."""
    try:
        result = bpy.ops.gan3d.generate(wait=True)
    except RuntimeError as error:  # what an operator's report becomes
        raise DemoError(str(error).strip().removeprefix("Error: ")) from None
    if "FINISHED" not in result:
        raise DemoError("Generate was cancelled.")


def write_recipe(thing: Any, path: Path) -> None:
    from addon import scene
    from gan3d_core.files import write_text

    write_text(path, json.dumps(scene.recipe_of(thing).to_dict(), indent=2) + "\n")


def export_glb(bpy: Any, thing: Any, path: Path) -> None:
    """Export one object, standing at the origin: its place in the scene is no part of the product."""
    for other in bpy.context.view_layer.objects:
        other.select_set(other == thing)
    place = thing.location.copy()
    thing.location = (0, 0, 0)
    try:
        bpy.ops.export_scene.gltf(filepath=str(path.resolve()), export_format="GLB", use_selection=True)
    finally:
        thing.location = place


def save_blend(bpy: Any, path: Path) -> None:
    """Save the scene as an artist would want to open it: everything selected, nothing unpacked."""
    for thing in bpy.context.view_layer.objects:
        thing.select_set(True)
    bpy.context.preferences.filepaths.save_version = 0
    bpy.ops.wm.save_as_mainfile(filepath=str(path.resolve()))


def worker_info() -> dict[str, str]:
    """What the worker said of itself when it started."""
    from addon import session

    info = session.get().client.info
    return {"python": info.python, "torch": info.torch, "device": info.device_name or info.device}


def print_table(report: dict[str, Any]) -> None:
    """What took how long: one row for each shape, then the rest."""
    shapes, stages, machine = report["shapes"], report["stages_s"], report["machine"]
    columns = list(shapes[0]["stages_s"])
    print(f"\n{'seconds':<24}" + "".join(f"{name:>10}" for name in [*columns, "in all"]))
    for index, shape in enumerate(shapes):
        title = f"{'first' if index == 0 else 'next'} shape (seed {shape['seed']})"
        cells = [*(shape["stages_s"][name] for name in columns), shape["seconds"]]
        print(f"{title:<24}" + "".join(f"{value:>10.2f}" for value in cells))
    print()
    for name, seconds in stages.items():
        print(f"{name:<24}{seconds:>10.2f}")
    print(f"\non {machine['device']}, {machine['cores']} cores, torch {machine['torch']}, Blender {report['blender']}")
    print(f"In {report['folder']}: {', '.join(report['files'])}, timings.json")


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is written and the worker has ended. Blender's module, taken down by Python's exit, reports memory that
    # it did not free, and 4.5's hangs if anything has left a timer behind.
    os._exit(status)

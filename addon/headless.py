"""`blender --command gan3d generate …`: the add-on's own session without a window.

The exports go through Blender's glTF exporter, so a file holds what the scene would hold. Exit codes are those of
`python -m gan3d_core`: 0 all went well, 1 something did not, 2 wrong usage, 130 cancelled.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import bpy

from gan3d_core import arguments, files
from gan3d_core.errors import Gan3DError, OutputError

from . import catalogue, preferences, scene, session
from .session import Job

_handles: list[object] = []


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="blender --command gan3d", description="Generates textured 3D shapes.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    generate_command = commands.add_parser("generate", help="make shapes and write them to files")
    where = arguments.add_generate(generate_command)
    where.add_argument("--blend", type=Path, metavar="FILE", help="save the scene with all shapes side by side, too")
    generate_command.add_argument("--python", help="the worker's Python (the preferences', or found automatically)")
    return top


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    try:
        options = parser().parse_args(list(argv))
    except SystemExit as exit_:  # argparse has said why
        return int(exit_.code or 0)
    try:
        return generate(options)
    except KeyboardInterrupt:
        session.get().stop()
        sys.stderr.write("Cancelled.\n")
        return 130
    except Gan3DError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    finally:
        session.get().stop()
        preferences.OVERRIDES.clear()


def generate(options: argparse.Namespace) -> int:
    """Make shapes in an empty scene, export each, and save the scene where that is asked for."""
    if not (options.category or options.checkpoint or options.recipe):
        options.category = catalogue.FIRST_CATEGORY
    preferences.OVERRIDES.update(device=options.device, checkpoint_dirs=[*options.checkpoints])
    if options.python:
        preferences.OVERRIDES["python"] = options.python
    options.checkpoints = preferences.checkpoint_dirs()
    catalogue.refresh()
    recipes = arguments.recipes_of(options)
    # This Blender was started for the command: nobody's work is open in it.
    bpy.ops.wm.read_homefile(use_empty=True)
    target = bpy.context.scene
    assert target is not None
    _make_folder(options.out)
    current = session.get()
    current.generate(recipes, catalogue.title_of(recipes[0]), target)
    job = current.finish(Ticker())
    shapes = [thing for collection in target.collection.children for thing in collection.objects]
    for thing in shapes:
        recipe = scene.recipe_of(thing)
        stem = recipe.file_stem
        export(target, thing, options.out / f"{stem}.glb")
        files.write_text(options.out / f"{stem}.json", json.dumps(recipe.to_dict(), indent=2) + "\n")
        sys.stdout.write(f"{options.out / stem}.glb\n")
    if options.blend:
        save(options.blend)
        sys.stdout.write(f"{options.blend}\n")
    return 1 if job is None or job.failed else 0


def export(target: bpy.types.Scene, thing: bpy.types.Object, path: Path) -> None:
    """Write one object as .glb, standing at the origin: its place in the row is no part of the product."""
    layer = target.view_layers[0]
    place = thing.location.copy()
    thing.location = (-_centre(thing, 0), -_centre(thing, 1), 0.0)
    layer.update()
    for other in layer.objects:
        other.select_set(other == thing, view_layer=layer)
    try:
        with files.atomic_path(path) as temporary, bpy.context.temp_override(scene=target, view_layer=layer):
            bpy.ops.export_scene.gltf(filepath=str(temporary), export_format="GLB", use_selection=True)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path} cannot be written ({error}).") from None
    finally:
        thing.location = place


def _centre(thing: bpy.types.Object, axis: int) -> float:
    values = [corner[axis] for corner in thing.bound_box]
    return (min(values) + max(values)) / 2


def save(path: Path) -> None:
    """Write the scene, textures packed."""
    try:
        with files.atomic_path(path) as temporary:
            bpy.ops.wm.save_as_mainfile(filepath=str(temporary), compress=True, copy=True)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path} cannot be written ({error}).") from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {folder} cannot be made ({error}).") from None


class Ticker:
    """One line of progress for every new stage of every shape, on stderr."""

    def __init__(self) -> None:
        self._shown = (-1, "")
        self._began = time.monotonic()

    def __call__(self, job: Job) -> None:
        now = (job.index, job.stage)
        if now != self._shown:
            self._shown = now
            seconds = time.monotonic() - self._began
            sys.stderr.write(f"{seconds:6.1f} s  {job.index + 1}/{job.count}  {job.stage}\n")
            sys.stderr.flush()


def register() -> None:
    _handles.append(bpy.utils.register_cli_command("gan3d", main))


def unregister() -> None:
    while _handles:
        bpy.utils.unregister_cli_command(_handles.pop())

"""`python -m addon.sources FILE.blend FOLDER`: write the shapes of a .blend file for training.

`python -m training.prepare FILE.blend DATASET` runs this by itself; on its own it keeps the folder, to look at or to
edit the manifest. Scripts in the file are not run, and the file is not changed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import bpy

from gan3d_core.errors import Gan3DError, MeshFileError

from . import assets, folder


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m addon.sources", description=__doc__)
    parser.add_argument("blend", type=Path, help="the .blend file")
    parser.add_argument("folder", type=Path, help="where the shapes and their manifest.jsonl go; made if need be")
    parser.add_argument("--licence", default="", help="of shapes whose asset data does not say")
    parser.add_argument("--author", default="", help="likewise")
    options = parser.parse_args(arguments)
    try:
        done = export(options.blend, options.folder, options.licence, options.author)
    except Gan3DError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write(f"{done.shapes} shapes of {options.blend.name} are written.\n")
    for name in done.without_color:
        sys.stderr.write(f"  without colours: {name}\n")
    if done.empty:
        sys.stderr.write(f"  without a surface, left out: {', '.join(done.empty)}\n")
    return 0


def export(blend: Path, target: Path, licence: str = "", author: str = "") -> folder.Written:
    """Open a file in this Blender, which is taken to be nobody's, and write its shapes.

    Raises:
        MeshFileError: no .blend file, one of a later version, or nothing in it.
        OutputError: the folder cannot be written.
    """
    if not blend.is_file():
        raise MeshFileError(f"There is no file {blend}.", "Name a .blend file.")
    try:
        bpy.ops.wm.open_mainfile(filepath=str(blend.resolve()), load_ui=False, use_scripts=False)
    except RuntimeError as error:
        reason = str(error).strip().removeprefix("Error: ").splitlines()[0]
        raise MeshFileError(
            f"{blend.name} cannot be opened ({reason}).", f"This is Blender {bpy.app.version_string}."
        ) from None
    scene = bpy.context.scene
    assert scene is not None
    found = assets.of_library()
    if found:
        # Assets need not be in any scene, and only what is in one is evaluated.
        scene = bpy.data.scenes.new("GAN3D sources")
        for thing in {each: None for asset in found for each in asset.objects}:
            scene.collection.objects.link(thing)
    else:
        found = assets.of_scene(scene, blend.stem)
    if not found:
        raise MeshFileError(f"{blend.name} holds no objects that show in renders.")
    layer = scene.view_layers[0]
    with bpy.context.temp_override(scene=scene, view_layer=layer):
        depsgraph = bpy.context.evaluated_depsgraph_get()
    return folder.write(found, depsgraph, target, scene.unit_settings.scale_length, licence, author)


if __name__ == "__main__":
    sys.exit(main())

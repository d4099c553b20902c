"""The generator process: shapes on request, one line of JSON in, one line out.

    python generator.py FACTORIES.py      requests on standard input, answers on standard output

A request is `{"factory": "module:Class", "seed": N, "light": false, "path": FILE}`; the answer
`{"done": true, "row": {...}}` with the file written, or `{"done": false, "reason": "..."}`. The first line out is
`{"ready": true, ...}`. Blender and Infinigen print wherever they like; their words go to standard error, so that
nothing comes between the answers.

Runs in Infinigen's own Python; it sees Blender and numpy, and nothing of GAN3D.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

LONGEST = 1.5
"""Longest edge, in steps of the lattice: the diagonal of a cell stays whole."""
MAX_VERTICES = 60_000
DARK = 0.04
"""Below this linear value in all three channels a vertex counts as near black: coal is 0.04."""


def main(arguments: list[str]) -> int:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    # Whatever the user has set up in Blender 4.2 stays out of it, and nothing is written there.
    os.environ["BLENDER_USER_RESOURCES"] = str(Path(sys.prefix) / "blender")
    sys.path.insert(0, str(Path(__file__).parent))
    begin = time.monotonic()
    factories = _load(Path(arguments[0]))
    import bpy

    _answer(answers, ready=True, blender=bpy.app.version_string, seconds=round(time.monotonic() - begin, 2))
    for line in sys.stdin:
        request = json.loads(line)
        begin = time.monotonic()
        try:
            light = request.get("light", False)
            row = make(factories, request["factory"], request["seed"], light, Path(request["path"]))
            _answer(answers, done=True, row={**row, "seconds": round(time.monotonic() - begin, 2)})
        except Exception as error:  # whatever a factory raises on one seed, the next seed may do
            _answer(answers, done=False, reason=f"{type(error).__name__}: {error}".splitlines()[0][:300])
    return 0


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("factories", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _answer(answers: TextIO, **content: Any) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()


def make(factories: ModuleType, factory: str, seed: int, light: bool, path: Path) -> dict[str, Any]:
    """Make one shape and write it.

    Args:
        factories: has `spawn(factory, seed, light) -> (object, labels)`.
        path: the `.npz` to write.

    Returns:
        what `metadata.jsonl` says of it: `center` and `size_m` to undo the quantisation, figures, `params`.
    """
    import lattice
    import materials
    import numpy as np
    import refinement
    import samples
    import surfaces

    surfaces.empty_scene()
    asset, params = factories.spawn(factory, seed, light)
    shape = surfaces.join(asset)
    surfaces.leave_only(shape)
    factory_vertices = len(shape.data.vertices)
    shape = surfaces.thin(shape)
    step = lattice.triangulate(shape.data)
    surfaces.give_texture_coordinates(shape)
    refined = refinement.refine(*surfaces.arrays(shape), LONGEST * step, MAX_VERTICES)
    vertices, faces = refined.vertices, refined.faces
    emissions = materials.Emissions(shape)
    baking = samples.Samples(shape, refined)
    surfaces.leave_only(baking.object)
    emissions.base_color()
    color = baking.bake()
    emissions.parameters()
    rough, metal, clear = baking.bake().T
    if not np.isfinite(color).all():
        raise ValueError("its base colour is not finite")

    low, high = vertices.min(axis=0), vertices.max(axis=0)
    center, size = (low + high) / 2, float((high - low).max())
    _write(
        path,
        position=np.round((vertices - center) / size * 65534 + 32767).clip(0, 65535).astype(np.uint16),
        face=faces.astype(np.uint16 if len(vertices) <= 1 << 16 else np.uint32),
        rgb=_bytes(_srgb(color)),
        metallic=_bytes(metal),
        roughness=_bytes(rough),
    )
    share = surfaces.vertex_areas(vertices, faces)
    share /= share.sum()
    return {
        "center": [round(float(value), 6) for value in center],
        "size_m": round(size, 6),
        "vertices": len(vertices),
        "faces": len(faces),
        "factory_vertices": factory_vertices,
        "metal_share": round(float(share @ (metal > 0.5)), 3),
        "glass_share": round(float(share @ (clear > 0.5)), 3),
        "dark_share": round(float(share @ (color < DARK).all(axis=1)), 3),
        "params": params,
    }


def _srgb(linear: Any) -> Any:
    import numpy as np

    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _bytes(values: Any) -> Any:
    import numpy as np

    return np.round(np.nan_to_num(np.clip(values, 0, 1)) * 255).astype(np.uint8)


def _write(path: Path, **arrays: Any) -> None:
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        np.savez_compressed(name, **arrays)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

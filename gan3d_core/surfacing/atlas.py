"""Texture coordinates: xatlas within a time limit, box projection where it fails."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .bake import rasterise
from .box_atlas import box_atlas
from .packing import pack

GUTTER = 8 / 1024
"""Empty space between charts and to the border, as a share of the texture's side: 8 texels at 1024². It grows with the
texture, so that charts are still apart on the same number of mip levels."""
MARGIN = 1.2
"""Gutters are laid out a little wider, so that the full number of texels is empty however the texels fall."""
RESOLUTION = 1024
"""Texels along a side at which overlaps are looked for."""
TIME_LIMIT = 30.0
"""Seconds for xatlas. It needs 0.3 to 1 s for 8,000 faces of a generated chair; what takes 30 never ends."""
FLIPPED_LIMIT = 0.002
OVERLAP_LIMIT = 0.002
"""Largest share of flipped triangles (by area) and of doubly covered texels with which xatlas's atlas is used."""


@dataclasses.dataclass(frozen=True)
class Atlas:
    """A triangle mesh laid out in the unit square."""

    uvs: np.ndarray
    """(F, 3, 2) corner coordinates in [0, 1]."""
    charts: np.ndarray
    """(F,) number of the connected patch that each face lies in."""


def unwrap(
    vertices: np.ndarray,
    faces: np.ndarray,
    step: Callable[[float], None] = lambda _: None,
    time_limit: float = TIME_LIMIT,
) -> Atlas:
    """Lay out a closed mesh without overlaps, with gutters of `GUTTER`.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        step: called with the fraction done several times a second; what it raises ends xatlas's process as well.
        time_limit: seconds after which xatlas is ended and box projection used.
    """
    atlas = _xatlas(vertices, faces, step, time_limit)
    if atlas is not None:
        return atlas
    return Atlas(*box_atlas(vertices, faces, MARGIN * GUTTER, RESOLUTION, lambda f: step(0.5 + 0.5 * f)))


def flipped_share(uvs: np.ndarray) -> float:
    """Share of the covered area that lies in triangles turned over."""
    area = signed_areas(uvs)
    return float(-area[area < 0].sum() / max(np.abs(area).sum(), 1e-30))


def overlap_share(uvs: np.ndarray, size: int) -> float:
    """Share of the covered texel centres that more than one triangle covers; common edges do not count."""
    times = np.zeros(size * size, np.int64)
    for _, texel, _, weights in rasterise(uvs, size):
        times += np.bincount(texel[weights.min(axis=1) > 1e-6], minlength=size * size)
    return float((times > 1).sum() / max((times > 0).sum(), 1))


def signed_areas(uvs: np.ndarray) -> np.ndarray:
    """(F,) area of each triangle in the unit square, negative where it is turned over."""
    a, b = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    return 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).astype(np.float64)


def _xatlas(vertices: np.ndarray, faces: np.ndarray, step: Callable[[float], None], time_limit: float) -> Atlas | None:
    """xatlas's layout, or None if it fails, takes too long or is not sound."""
    answer = _ask(vertices, faces, step, time.monotonic() + time_limit)
    if answer is None:
        return None
    corners, charts = answer
    if charts.min() < 0:
        return None
    charts = np.unique(charts, return_inverse=True)[1].reshape(-1)
    uvs = pack(corners, charts, MARGIN * GUTTER)
    step(0.5)
    sound = flipped_share(uvs) <= FLIPPED_LIMIT and overlap_share(uvs, RESOLUTION) <= OVERLAP_LIMIT
    return Atlas(uvs, charts) if sound else None


def _ask(
    vertices: np.ndarray, faces: np.ndarray, step: Callable[[float], None], deadline: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Run `unwrap_process` to its end, the deadline or an exception of `step`, whichever comes first."""
    start = time.monotonic()
    program = str(Path(__file__).with_name("unwrap_process.py"))
    # The request goes through a file: a pipe would have to be fed while the child starts.
    with tempfile.TemporaryFile() as request:
        np.save(request, vertices.astype(np.float32), allow_pickle=False)
        np.save(request, faces.astype(np.uint32), allow_pickle=False)
        np.save(request, np.float64(max(deadline - start, 1.0) + 5.0), allow_pickle=False)
        request.seek(0)
        try:
            process = subprocess.Popen(
                # -P: the folder of the program must not be searched for modules, ours have plain names.
                [sys.executable, "-P", program],
                stdin=request,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError:  # no memory or no right to start a process; box projection needs neither
            return None
    try:
        while True:
            now = time.monotonic()
            step(0.5 * min(1.0, (now - start) / max(deadline - start, 1e-3)))
            with contextlib.suppress(subprocess.TimeoutExpired):
                output, _ = process.communicate(timeout=min(0.2, max(0.0, deadline - now)))
                break
            if time.monotonic() >= deadline:
                return None
    finally:
        if process.poll() is None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=5.0)
    if process.returncode != 0:
        return None
    try:
        stream = io.BytesIO(output)
        corners, charts = (np.load(stream, allow_pickle=False) for _ in range(2))
    except (ValueError, EOFError):
        return None
    if corners.shape != (len(faces), 3, 2) or charts.shape != (len(faces),) or not np.isfinite(corners).all():
        return None
    return corners.astype(np.float64), charts.astype(np.int64)

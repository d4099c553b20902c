"""Field → mesh, stage by stage, on a chair whose surface is known exactly, at several resolutions."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

import numpy as np

from gan3d_core.field import Materials, cell_centres
from gan3d_core.recipe import Recipe
from gan3d_core.surfacing import surface

RESOLUTIONS = (64, 96, 128)


class BoxChair:
    """A seat, a back and four legs as the union of boxes; with materials, so that the bake has work to do."""

    size_m = 0.9
    BOXES = (
        # centre and half extent along x, y, z
        ((0.0, 0.0, 0.0), (0.5, 0.5, 0.05)),
        ((0.0, 0.45, 0.45), (0.5, 0.05, 0.45)),
        *(((x, y, -0.45), (0.05, 0.05, 0.45)) for x in (-0.45, 0.45) for y in (-0.45, 0.45)),
    )

    def values(self, resolution: int) -> np.ndarray:
        centres = cell_centres(resolution)
        points = np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), axis=-1)
        nearest = np.full(points.shape[:3], np.inf, np.float32)
        for centre, half in self.BOXES:
            q = np.abs(points - np.asarray(centre, np.float32)) - np.asarray(half, np.float32)
            distance = np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(axis=-1), 0)
            nearest = np.minimum(nearest, distance)
        return nearest

    def materials(self, points: np.ndarray) -> Materials:
        height = (points[:, 2] / 2 + 0.5).astype(np.float32)
        return Materials(np.stack([height] * 3, axis=1).clip(0, 1), height.clip(0, 1), np.zeros_like(height))


def run(options: argparse.Namespace) -> Iterator[str]:
    """median seconds by stage, 8,000 triangles and a 1024² texture."""
    times = {resolution: [stages(resolution) for _ in range(options.repeats)] for resolution in RESOLUTIONS}
    yield f"{'':<14}" + "".join(f"{f'{resolution}³':>8}" for resolution in RESOLUTIONS)
    for stage in times[RESOLUTIONS[0]][0]:
        cells = [statistics.median(run[stage] for run in times[resolution]) for resolution in RESOLUTIONS]
        yield f"{stage:<14}" + "".join(f"{seconds:8.2f}" for seconds in cells)


def stages(resolution: int) -> dict[str, float]:
    """Seconds by stage of one run, and `in all`."""
    began: dict[str, float] = {}
    seconds: dict[str, float] = {}

    def watch(stage: str, fraction: float) -> None:
        now = time.perf_counter()
        began.setdefault(stage, now)
        seconds[stage] = now - began[stage]

    start = time.perf_counter()
    surface(BoxChair(), Recipe(checkpoint="none", resolution=resolution), watch)
    seconds["in all"] = time.perf_counter() - start
    return seconds

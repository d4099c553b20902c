"""Field → mesh, stage by stage, against what one would write with trimesh alone.

The plain way: trimesh's marching cubes of the on-off voxels, its largest component, Humphrey smoothing, quadric
decimation. It has no unwrapping besides xatlas, which is timed by itself beside our unwrapping.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import trimesh
import xatlas

from gan3d_core.field import Materials, cell_centres
from gan3d_core.progress import StageClock
from gan3d_core.recipe import Recipe
from gan3d_core.shape import Shape
from gan3d_core.surfacing import surface

RESOLUTIONS = (64, 128)
FACES = 8000


class BoxChair:
    """A `Field` of a seat, a back and four legs, sampled beforehand: what a generator does is not measured here.

    It has materials, so that the bake has work to do.
    """

    size_m = 0.9
    BOXES = (
        # centre and half extent along x, y, z
        ((0.0, 0.0, 0.0), (0.5, 0.5, 0.05)),
        ((0.0, 0.45, 0.45), (0.5, 0.05, 0.45)),
        *(((x, y, -0.45), (3 / 64, 3 / 64, 0.45)) for x in (-0.44, 0.44) for y in (-0.44, 0.44)),
    )

    def __init__(self, resolution: int) -> None:
        centres = cell_centres(resolution)
        points = np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), axis=-1)
        nearest = np.full(points.shape[:3], np.inf, np.float32)
        for centre, half in self.BOXES:
            q = np.abs(points - np.asarray(centre, np.float32)) - np.asarray(half, np.float32)
            distance = np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(axis=-1), 0)
            nearest = np.minimum(nearest, distance)
        self.samples = nearest

    def values(self, resolution: int) -> np.ndarray:
        return self.samples

    def materials(self, points: np.ndarray) -> Materials:
        height = (points[:, 2] / 2 + 0.5).clip(0, 1).astype(np.float32)
        return Materials(np.stack([height] * 3, axis=1), height, np.zeros_like(height))


def run(options: argparse.Namespace) -> Iterator[str]:
    """median seconds by stage, a chair of boxes to 8,000 triangles and 1024² textures."""
    columns = [measure(BoxChair(resolution), resolution, options.repeats) for resolution in RESOLUTIONS]
    yield f"{'':<34}" + "".join(f"{f'{resolution}³':>8}" for resolution in RESOLUTIONS)
    for name in columns[0]:
        yield f"{name:<34}" + "".join(f"{column[name]:8.2f}" for column in columns)


def measure(field: BoxChair, resolution: int, repeats: int) -> dict[str, float]:
    """What was timed → median seconds, ours first."""
    recipe = Recipe("bench", resolution=resolution, target_faces=FACES, texture_size=1024)
    runs: list[dict[str, float]] = []
    for _ in range(repeats):
        clock = StageClock()
        shape = surface(field, recipe, clock)
        clock.stop()
        runs.append(clock.timings)
    stages = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
    return {
        **stages,
        "in all": sum(stages.values()),
        "extract + clean + decimate": sum(stages[stage] for stage in ("extract", "clean", "decimate")),
        "    the same with trimesh alone": median(lambda: plain(field.samples), repeats),
        "    xatlas in the same process": median(lambda: atlas(shape), repeats),
    }


def plain(values: np.ndarray) -> trimesh.Trimesh:
    mesh = trimesh.voxel.ops.matrix_to_marching_cubes(values < 0)
    mesh = max(mesh.split(only_watertight=False), key=lambda part: part.volume)
    trimesh.smoothing.filter_humphrey(mesh, iterations=8)
    return mesh.simplify_quadric_decimation(face_count=FACES)


def atlas(shape: Shape) -> object:
    return xatlas.parametrize(shape.vertices, shape.faces)


def median(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of several runs."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)

"""Field → mesh, stage by stage, against what one would write with trimesh alone.

The plain way: trimesh's marching cubes of the on-off voxels, its largest component, Humphrey smoothing, quadric
decimation, and one texture coordinate for all (it has no unwrapping besides xatlas, which is timed by itself).

Run: python benchmarks/bench_surfacing.py [repeats]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import trimesh
import xatlas

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests" / "core")]

from sdf import AnalyticField, chair, colour_by_place  # noqa: E402

from gan3d_core.progress import StageClock  # noqa: E402
from gan3d_core.recipe import Recipe  # noqa: E402
from gan3d_core.surfacing import surface  # noqa: E402

FACES = 8000


class Sampled(AnalyticField):
    """The chair with its values sampled beforehand: what a generator does is not measured here."""

    def __init__(self, resolution: int) -> None:
        super().__init__(chair(), 1.0, colour_by_place)
        self._values = super().values(resolution)

    def values(self, resolution: int) -> np.ndarray:
        return self._values


def plain(values: np.ndarray) -> trimesh.Trimesh:
    mesh = trimesh.voxel.ops.matrix_to_marching_cubes(values < 0)
    mesh = max(mesh.split(only_watertight=False), key=lambda part: part.volume)
    trimesh.smoothing.filter_humphrey(mesh, iterations=8)
    return mesh.simplify_quadric_decimation(face_count=FACES)


def seconds(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for resolution in (64, 128):
        field = Sampled(resolution)
        recipe = Recipe("bench", resolution=resolution, target_faces=FACES, texture_size=1024)
        runs: list[dict[str, float]] = []
        for _ in range(repeats):
            clock = StageClock()
            shape = surface(field, recipe, clock)
            clock.stop()
            runs.append(clock.timings)
        ours = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
        geometry = sum(ours[stage] for stage in ("extract", "clean", "decimate"))
        theirs = seconds(lambda field=field: plain(field.values(0)), repeats)
        direct = seconds(lambda shape=shape: xatlas.parametrize(shape.vertices, shape.faces), repeats)
        print(f"{resolution}³ to {len(shape.faces)} faces, 1024² textures, median of {repeats}:")
        print("  " + "  ".join(f"{stage} {value:.3f} s" for stage, value in ours.items()))
        print(f"  together {sum(ours.values()):.3f} s, without unwrapping {sum(ours.values()) - ours['unwrap']:.3f} s")
        ratio = theirs / geometry
        print(f"  extract + clean + decimate: {geometry:.3f} s; trimesh {theirs:.3f} s, {ratio:.1f} times as long")
        ratio = direct / ours["unwrap"]
        print(f"  unwrap: {ours['unwrap']:.3f} s; xatlas in the same process {direct:.3f} s, {ratio:.2f} times as long")


if __name__ == "__main__":
    main()

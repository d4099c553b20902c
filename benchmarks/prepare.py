"""Preparing real meshes against mesh-to-sdf (PyPI), which most people use for signed-distance grids.

It wants packages of its own and OpenGL, so it runs in an environment of its own:

    python -m venv m2s && m2s/bin/pip install mesh-to-sdf
    PYOPENGL_PLATFORM=egl python -m benchmarks prepare --meshes FOLDER --mesh-to-sdf m2s/bin/python

Seconds are those of the processor, so that other work on the computer counts for little; shapes per second by the clock
are true only where there is none.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import trimesh

from gan3d_core.errors import DatasetError

if TYPE_CHECKING:
    from training.data.source import SourceFile

RESOLUTION = 64
THEIRS = """
import json, sys, time
import numpy as np, trimesh, mesh_to_sdf
from mesh_to_sdf.surface_point_cloud import create_from_scans
rows = []
points = np.load(sys.argv[2])
for path in json.loads(sys.argv[1]):
    data = np.load(path)
    mesh = trimesh.Trimesh(data["vertices"], data["faces"], process=False)
    began = time.process_time()
    cloud = mesh_to_sdf.get_surface_point_cloud(mesh, "scan", 3**0.5, calculate_normals=False)
    values = cloud.get_sdf_in_batches(points, use_depth_buffer=True)
    rows.append(time.process_time() - began)
    np.save(path + ".out.npy", values)
print(json.dumps(rows))
"""


def run(options: argparse.Namespace) -> Iterator[str]:
    """processor seconds per 64³ grid, error against analytic solids, the full record and how it scales."""
    from training.data.distance import SignedDistance
    from training.data.layouts import discover
    from training.data.orientation import turn_outward
    from training.data.record import identity, make_record, normalised

    if not options.meshes:
        yield "(name a folder of meshes with --meshes)"
        return
    files = discover(Path(options.meshes), options.category, None, None).files
    files = [files[index] for index in np.linspace(0, len(files) - 1, min(options.repeats, len(files))).astype(int)]
    solids = _solids()
    jobs = [(name, *mesh) for name, mesh, _ in solids]
    jobs += [(file.name, *(lambda mesh: (mesh.vertices, mesh.faces))(normalised(file)[0])) for file in files]
    SignedDistance(*_turned(jobs[0], turn_outward))  # warp loads its kernels

    ours, grids = [], []
    for job in jobs:
        began = time.process_time()
        grids.append(SignedDistance(*_turned(job, turn_outward)).grid(RESOLUTION))
        ours.append(time.process_time() - began)
    theirs, others = _their_seconds(options.mesh_to_sdf, jobs) if options.mesh_to_sdf else ([], [])
    real = slice(len(solids), None)
    yield from _grid_table(jobs[real], ours[real], theirs[real])
    yield f"{'worst error within 2 voxels':<34}{'ours':>8}" + (f"{'mesh-to-sdf':>14}" if theirs else "") + "   voxels"
    for index, (name, _, exact) in enumerate(solids):
        row = f"    {name:<30}{_worst(grids[index], exact):8.3f}"
        yield row + (f"{_worst(others[index], exact):14.3f}" if others else "")
    began = time.process_time()
    sizes = [sum(array.nbytes for array in make_record(file, identity(file))[1].values()) for file in files]
    seconds = (time.process_time() - began) / len(files)
    yield f"{'full record, default settings':<34}{seconds:8.2f} s   {np.mean(sizes) / 1e6:.1f} MB before compression"
    yield from _scaling(files, options.processes)


def _grid_table(jobs: Sequence[tuple], ours: Sequence[float], theirs: Sequence[float]) -> Iterator[str]:
    """A line for each mesh, and the medians."""
    yield f"{'64³ grid, seconds':<34}{'faces':>8}{'ours':>10}" + (f"{'mesh-to-sdf':>14}{'times':>8}" if theirs else "")
    for index, (name, _, faces) in enumerate(jobs):
        row = f"    {Path(name).stem[:29]:<30}{len(faces):8}{ours[index]:10.2f}"
        yield row + (f"{theirs[index]:14.2f}{theirs[index] / ours[index]:8.1f}" if theirs else "")
    row = f"{'median of ' + str(len(jobs)):<34}{'':8}{np.median(ours):10.2f}"
    ratio = np.median(np.divide(theirs, ours)) if theirs else 0.0
    yield row + (f"{np.median(theirs):14.2f}{ratio:8.1f}" if theirs else "")


def _scaling(files: list[SourceFile], processes: Sequence[int]) -> Iterator[str]:
    """Full records by several processes at a time, as `prepare` makes them, on so many cores as there are."""
    from training.data import jobs, store
    from training.data.record import RecordSettings

    settings = RecordSettings()
    yield f"full records, {os.cpu_count()} cores           shapes a second   processor seconds a shape, starts included"
    for count in processes:
        with tempfile.TemporaryDirectory() as folder:
            store.create(Path(folder) / "data", settings.to_json())
            before, times = _children(), []
            for _ in jobs.run(files, Path(folder) / "data", settings, count):
                times.append(time.monotonic())
            spent = (_children() - before) / len(files)
        # From when every process has made one: what they take to start is left out.
        rest = times[count - 1 :]
        speed = f"{(len(rest) - 1) / (rest[-1] - rest[0]):.2f}" if len(rest) > 1 else "–"
        yield f"    {'1 process' if count == 1 else f'{count} processes':<30}{speed:>12}{spent:18.2f} s"


def _children() -> float:
    """Processor seconds of all processes that were started here and have ended (0 on Windows)."""
    spent = os.times()
    return spent.children_user + spent.children_system


def _turned(job: tuple, turn_outward) -> tuple[np.ndarray, np.ndarray]:
    _, vertices, faces = job
    return vertices, turn_outward(vertices, faces)[0]


def _points() -> np.ndarray:
    from gan3d_core.field import lattice

    return lattice(RESOLUTION)


def _solids() -> list[tuple[str, tuple[np.ndarray, np.ndarray], np.ndarray]]:
    """Name, mesh, and exact distances at the grid's points."""
    points = _points()
    sphere = trimesh.creation.icosphere(subdivisions=5, radius=0.7)
    torus = trimesh.creation.torus(0.6, 0.22, major_sections=128, minor_sections=64)
    half = np.array([0.6, 0.5, 0.4])
    box = trimesh.creation.box(2 * half)
    away = np.abs(points) - half
    exact = (
        np.linalg.norm(points, axis=1) - 0.7,
        np.hypot(np.linalg.norm(points[:, :2], axis=1) - 0.6, points[:, 2]) - 0.22,
        np.linalg.norm(np.maximum(away, 0), axis=1) + np.minimum(away.max(axis=1), 0),
    )
    meshes = [(np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces)) for mesh in (sphere, torus, box)]
    return list(zip(("sphere", "torus", "box"), meshes, exact, strict=True))


def _worst(grid: np.ndarray, exact: np.ndarray) -> float:
    near = np.abs(exact) < 2 * 2 / RESOLUTION
    return float(np.abs(grid.reshape(-1) - exact)[near].max() * RESOLUTION / 2)


def _their_seconds(python: str, jobs: list[tuple]) -> tuple[list[float], list[np.ndarray]]:
    """What mesh-to-sdf takes for each mesh, and its distances."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for index, (_, vertices, faces) in enumerate(jobs):
            paths.append(str(Path(folder) / f"{index}.npz"))
            np.savez(paths[-1], vertices=vertices, faces=faces)
        points = str(Path(folder) / "points.npy")
        np.save(points, _points())
        environment = {"PYOPENGL_PLATFORM": "egl", **os.environ}
        done = subprocess.run(
            [python, "-c", THEIRS, json.dumps(paths), points], env=environment, capture_output=True, text=True
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise DatasetError(f"mesh-to-sdf failed: {last}", "It needs OpenGL: try PYOPENGL_PLATFORM=egl or osmesa.")
        return json.loads(done.stdout.splitlines()[-1]), [np.load(path + ".out.npy") for path in paths]

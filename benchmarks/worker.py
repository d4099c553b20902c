"""The warm worker against what one would otherwise run: a script for each shape, which loads torch every time."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from gan3d_core.errors import Gan3DError
from gan3d_core.request import recipes_for
from gan3d_core.worker.client import WorkerClient
from gan3d_core.worker.events import Failed, ShapeFailed, ShapeReady

MIB = 1 << 20


def run(options: argparse.Namespace) -> Iterator[str]:
    """seconds from the request to the shape's arrays in this process, pipe included."""
    named = {"checkpoint": options.checkpoint} if options.checkpoint else {"category": "chair"}
    recipes = recipes_for(**named, count=options.repeats + 1)
    client = WorkerClient(python=sys.executable)
    try:
        yield f"{'worker start':<34}{start(client):8.2f}"
        first, *rest = [measure(client, recipe) for recipe in recipes]
    finally:
        client.stop()
    yield f"{'first shape':<34}{first[0]:8.2f}"
    yield f"{'next shape, median':<34}{statistics.median(seconds for seconds, _ in rest):8.2f}"
    for stage in rest[0][1].timings:
        yield f"    {stage:<30}{statistics.median(event.timings[stage] for _, event in rest):8.2f}"
    size = statistics.median(sum(array.nbytes for array in event.shape.arrays().values()) for _, event in rest)
    inside = statistics.median(seconds - sum(event.timings.values()) for seconds, event in rest)
    yield f"    {f'pipe and checks ({size / MIB:.1f} MiB)':<30}{inside:8.2f}"
    script = statistics.median(cold(recipes[0].checkpoint, recipe.seed) for recipe in recipes[: min(3, len(recipes))])
    yield f"{'one script for each shape':<34}{script:8.2f}"


def start(client: WorkerClient) -> float:
    """Seconds until the worker is ready."""
    began = time.perf_counter()
    client.start()
    while client.state == "starting":
        client.poll()
        time.sleep(0.005)
    if client.last_error:
        raise client.last_error
    return time.perf_counter() - began


def measure(client: WorkerClient, recipe) -> tuple[float, ShapeReady]:
    """Seconds for one shape, and the event that brought it."""
    began = time.perf_counter()
    ready = None
    for event in client.run([recipe]):
        if isinstance(event, ShapeReady):
            ready = event
        elif isinstance(event, Failed | ShapeFailed):
            raise event.error
    if ready is None:
        raise Gan3DError("The worker sent no shape.")
    return time.perf_counter() - began, ready


def cold(checkpoint: str, seed: int) -> float:
    """Seconds for a process that generates one shape and ends."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gan3d_core", "generate", "--checkpoint", checkpoint]
        command += ["--seed", str(seed), "--count", "1", "--out", folder]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Gan3DError(f"The script failed: {done.stderr[-500:]}")
        return time.perf_counter() - began

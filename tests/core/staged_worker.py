"""The real worker, whose stages do what a file says: `staged_worker.py CONTROL [worker's arguments]`.

CONTROL holds a stage and what happens in it: `slow`, `print`, `crash`, `memory`, `tensors`; or nothing.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

CONTROL = Path(sys.argv[1])
BOOTSTRAP = Path(__file__).resolve().parents[2] / "gan3d_core" / "worker" / "bootstrap.py"

bootstrap = runpy.run_path(str(BOOTSTRAP))
streams = bootstrap["take_streams"]()
bootstrap["load_package"]()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from gan3d_core import generators, pipeline, surfacing  # noqa: E402
from gan3d_core.worker import server  # noqa: E402

load, surface, release = generators.load, surfacing.surface, pipeline.Pipeline.release


def act(stage: str, progress) -> None:
    wanted, _, how = CONTROL.read_text().partition(" ")
    if stage != wanted:
        return
    if how == "slow":
        for step in range(3000):
            progress(stage, step / 3000)
            time.sleep(0.01)
    if how == "print":
        print("a library prints")
        os.write(1, b"a C library prints\n")
        subprocess.run(["echo", "a child process prints"], check=True)
        assert sys.stdin.read() == "", "the worker's input must not be the protocol's"
    if how == "crash":
        raise ZeroDivisionError("a bug")
    if how == "memory":
        np.zeros(2**55, np.uint8)
    if how == "tensors":
        torch.zeros(2**55, dtype=torch.uint8)


def slow_load(checkpoint, device):
    act("load", lambda stage, fraction: None) if CONTROL.read_text() != "load slow" else time.sleep(0.5)
    return load(checkpoint, device)


def staged_surface(field, recipe, progress):
    seen = set()

    def staged(stage: str, fraction: float) -> None:
        progress(stage, fraction)
        if stage not in seen:
            seen.add(stage)
            act(stage, progress)

    act("generate", progress)
    return surface(field, recipe, staged)


def told_release(self) -> None:
    print("models released")
    release(self)


generators.load, surfacing.surface, pipeline.Pipeline.release = slow_load, staged_surface, told_release
sys.exit(server.serve(sys.argv[2:], *streams))

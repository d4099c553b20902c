"""What this Python has and lacks for generating, and where a worker would run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable
from typing import TextIO

from . import __version__, checkpoints
from .errors import WorkerStartError
from .worker import environment
from .worker.bootstrap import MINIMUM_PYTHON, MODULES, find_problem, missing_packages


def require_packages() -> None:
    """Check that everything needed to generate is installed here.

    Raises:
        WorkerStartError: it is not; names what lacks.
    """
    missing = missing_packages()
    if missing:
        raise WorkerStartError(
            f"This Python ({sys.executable}) lacks {', '.join(missing)}.",
            f"Install them with: {sys.executable} -m pip install -r {environment.REQUIREMENTS}",
        )


def report(checkpoint_dirs: Iterable[str | os.PathLike[str]], stream: TextIO) -> int:
    """Write a report.

    Returns:
        0 where this Python can generate, 1 where it lacks something.
    """
    _line(stream, "GAN3D", __version__)
    _line(stream, "Python", f"{platform.python_version()} ({sys.executable})")
    _line(stream, "needed", f"Python {'.'.join(map(str, MINIMUM_PYTHON))} or newer, and:")
    missing = set(missing_packages())
    for package in MODULES:
        _line(stream, f"  {package}", "missing" if package in missing else _version(package))
    problem = find_problem()
    if problem is None:
        _line(stream, "devices", ", ".join(_devices()))
    else:
        _line(stream, "problem", f"{problem[0]} {problem[1]}")
    found = environment.find_worker_python()
    _line(stream, "worker", found.explain())
    folder = environment.worker_environment_dir()
    state = "complete" if environment.is_complete(folder) else "not set up"
    _line(stream, "own environment", f"{folder} ({state})")
    good, broken = checkpoints.installed(checkpoint_dirs)
    _line(stream, "checkpoints", ", ".join(each.id for each in good) or "none")
    for error in broken:
        _line(stream, "broken", str(error))
    return 0 if problem is None else 1


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "there, of unknown version"


def _devices() -> list[str]:
    import torch

    names = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return [*names, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def _line(stream: TextIO, name: str, value: str) -> None:
    stream.write(f"{name:20} {value}\n")

"""The environment that Infinigen runs in: Python 3.11, Blender 4.2 as a module and the old versions it was written for.

It lies in the user's cache folder and is made by the same careful steps as the worker's (`gan3d_core.worker.setup`): a
lock, a stamp written last, nothing removed that is not ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gan3d_core.errors import DatasetError, WorkerStartError
from gan3d_core.worker import environment as worker_environment
from gan3d_core.worker.setup import EnvironmentSetup

INSIDE = Path(__file__).parent / "inside"
GENERATOR = INSIDE / "generator.py"
FACTORIES = INSIDE / "factories.py"
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
INFINIGEN = "infinigen==1.15.5"
VARIABLE = "GAN3D_INFINIGEN"
_NAME = "Infinigen's environment"


def environment_folder() -> Path:
    """`$GAN3D_INFINIGEN`, else a folder of the user's cache named after the pinned requirements."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "GAN3D" / "Cache"
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches" / "GAN3D"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gan3d"
    return root / f"infinigen-{worker_environment.requirements_digest(REQUIREMENTS)[:8]}"


def setup_commands(folder: Path, base_python: str) -> list[list[str]]:
    """What makes the environment: create, install, and start the generator once."""
    python = str(worker_environment.environment_python(folder))
    install = [
        python,
        "-E",
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
    ]
    return [
        [base_python, "-E", "-m", "venv", str(folder)],
        [*install, "--only-binary", ":all:", "-r", str(REQUIREMENTS)],
        # Its own requirements would compile a scikit-image from 2022; requirements.txt says what it truly needs.
        [*install, "--no-deps", INFINIGEN],
        # Its input is empty: it imports everything, says that it is ready, and ends.
        [python, "-E", str(GENERATOR), str(FACTORIES)],
    ]


def ensure(say: Callable[[str], None], base_python: str | None = None) -> Path:
    """Make the environment unless it is there.

    Args:
        say: gets a line now and then while it is made.
        base_python: a Python 3.11; None looks for one.

    Returns:
        its interpreter.

    Raises:
        DatasetError: there is no Python 3.11.
        WorkerStartError: it cannot be made (network, disk, another program is making it).
    """
    folder = environment_folder()
    python = worker_environment.environment_python(folder)
    if worker_environment.is_complete(folder, REQUIREMENTS):
        return python
    base = find_python(base_python)
    say(f"Making {_NAME} in {folder}: about 1 GB to fetch, 2.2 GB on the disk, once.")
    commands = setup_commands(folder, base)
    making = EnvironmentSetup(folder, commands=commands, requirements=REQUIREMENTS, name=_NAME)
    step = -1
    try:
        while making.state == "running":
            making.poll()
            if making.step != step and making.step < len(commands):
                step = making.step
                say(f"step {step + 1} of {len(commands)}: {_STEPS[step]}")
            time.sleep(0.2)
    except KeyboardInterrupt:
        making.cancel()
        making.wait()
        raise
    if making.error is not None:
        raise WorkerStartError(making.error.message, making.error.hint)
    return python


_STEPS = ("an empty environment", "Blender 4.2 and libraries", "Infinigen", "a first start")


def find_python(named: str | None = None) -> str:
    """A Python 3.11: the named one, this very one, or one on the PATH.

    Raises:
        DatasetError: none of them is.
    """
    question = "import sys; sys.exit(sys.version_info[:2] != (3, 11))"
    tried = [named] if named else [sys.executable, shutil.which("python3.11"), shutil.which("python3")]
    for python in tried:
        try:
            if (
                python
                and subprocess.run([python, "-E", "-c", question], capture_output=True, timeout=60).returncode == 0
            ):
                return python
        except (OSError, subprocess.TimeoutExpired):
            continue
    raise DatasetError(
        f"Infinigen 1.15.5 needs Python 3.11, and {named or 'none was found'} is not one."
        if named
        else "Infinigen 1.15.5 needs Python 3.11, and none was found.",
        "Install it, or name one with --python.",
    )

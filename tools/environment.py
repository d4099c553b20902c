"""Make a virtual environment from a pinned requirement file, once per content of that file.

    python3.11 tools/environment.py .venv requirements/demo.txt

Standard library only: it runs before anything is installed. A stamp in the environment holds a hash of the requirement
file and of every file it names; while the two agree, nothing is touched.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PROMPT = "gan3d"
"""Name of the environments made here: what `venv` writes into pyvenv.cfg, and how they are told from a user's own."""


class PreparationError(Exception):
    """Why the environment cannot be made, and what to do about it."""


def requirement_files(path: Path) -> Iterator[Path]:
    """The file itself and every file it names with -r or -c, each once, depth first."""
    seen: set[Path] = set()
    pending = [path.resolve()]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        yield current
        for line in current.read_text("utf-8").splitlines():
            match = re.match(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)", line)
            if match:
                pending.append((current.parent / match[1]).resolve())


def fingerprint(path: Path, version: str) -> str:
    """Hash of the Python version and of the requirement files' contents, comments and blank lines left out."""
    digest = hashlib.sha256(version.encode())
    for file in sorted(requirement_files(path)):
        for line in file.read_text("utf-8").splitlines():
            line = line.split("#")[0].strip()
            if line:
                digest.update(f"{file.name}:{line}\n".encode())
    return digest.hexdigest()


def python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def stamp_of(environment: Path, requirements: Path) -> Path:
    return environment / f"gan3d-{requirements.stem}.sha256"


def is_current(environment: Path, requirements: Path, version: str) -> bool:
    stamp = stamp_of(environment, requirements)
    # An environment that was copied or whose base Python was removed has a stamp but no working interpreter.
    return (
        stamp.is_file()
        and python_of(environment).exists()
        and stamp.read_text("utf-8").strip() == fingerprint(requirements, version)
    )


def make(environment: Path, requirements: Path, wanted: tuple[int, int], pip_arguments: Sequence[str] = ()) -> bool:
    """Bring `environment` to the state of `requirements`; True when something was installed.

    Raises:
        PreparationError: another Python, no venv module, or an installation that failed.
    """
    version = ".".join(map(str, wanted))
    if sys.version_info[:2] != wanted:
        found = ".".join(map(str, sys.version_info[:3]))
        raise PreparationError(
            f"This needs Python {version}, and {sys.executable} is Python {found}.\n"
            f"Install Python {version} (Blender's own version), then name it: make PYTHON=/path/to/python{version} …"
        )
    if is_current(environment, requirements, version):
        return False
    _create(environment, wanted)
    names = [line.split("#")[0].strip() for line in requirements.read_text("utf-8").splitlines()]
    print(f"Installing {requirements} into {environment} ({len([n for n in names if n])} entries) …", flush=True)
    command = [str(python_of(environment)), "-m", "pip", "install", "--disable-pip-version-check"]
    # The stamp of a half-finished installation must not survive.
    stamp = stamp_of(environment, requirements)
    stamp.unlink(missing_ok=True)
    result = subprocess.run([*command, *pip_arguments, "-r", str(requirements)])
    if result.returncode:
        raise PreparationError(
            "pip could not install the packages; its own words stand above.\n"
            "Check the network, and that about 3 GB are free (7 GB on Linux, where PyPI's torch brings CUDA with it; "
            "see README.md for the smaller CPU build)."
        )
    # A requirement file that this one includes is fulfilled with it.
    for file in requirement_files(requirements):
        if file.parent == requirements.resolve().parent and file.stem != "lock":
            stamp_of(environment, file).write_text(fingerprint(file, version) + "\n", "utf-8")
    return True


def _create(environment: Path, wanted: tuple[int, int]) -> None:
    """Create the environment if it is missing; one of our own with another Python, or broken, is made again."""
    if environment.exists():
        if not (environment / "pyvenv.cfg").is_file():
            raise PreparationError(f"{environment} exists and is no virtual environment. Move it away, and try again.")
        question = f"import sys; sys.exit(sys.version_info[:2] != {wanted})"
        python = python_of(environment)
        if python.exists() and subprocess.run([str(python), "-c", question]).returncode == 0:
            return
        if PROMPT not in (environment / "pyvenv.cfg").read_text("utf-8"):
            raise PreparationError(f"{environment} belongs to another Python and was not made here. Move it away.")
        print(f"{environment} belongs to another Python or is broken: making it again.", flush=True)
        shutil.rmtree(environment)
    result = subprocess.run([sys.executable, "-m", "venv", "--prompt", PROMPT, str(environment)])
    if result.returncode:
        raise PreparationError(
            "Python could not make a virtual environment; its own words stand above.\n"
            "On Debian and Ubuntu: apt install python3-venv."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environment", type=Path)
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--python", default="3.11", help="the version it must have (default: %(default)s)")
    parser.add_argument("--pip", default="", help="further arguments of `pip install`, as one string")
    options = parser.parse_args(arguments)
    major, minor = options.python.split(".")
    try:
        make(options.environment, options.requirements, (int(major), int(minor)), options.pip.split())
    except PreparationError as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The worker's Python: where one may be, what it lacks, and how the worker is started in it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .bootstrap import MINIMUM_PYTHON, MODULES
from .process import NO_WINDOW

BOOTSTRAP = Path(__file__).parent / "bootstrap.py"
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
VARIABLE = "GAN3D_PYTHON"
STAMP = "gan3d-environment.json"
"""A file in an environment that GAN3D made; it is complete only where the stamp says so (see `setup`)."""
PROBE_LIMIT_S = 20.0

# Blender sets some of these for its own Python; in the worker's they would point to the wrong libraries.
_FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONEXECUTABLE", "PYTHONPLATLIBDIR", "__PYVENV_LAUNCHER__")

_PROBE = """
import importlib.util, json, sys
def lacks(name):
    try:
        return importlib.util.find_spec(name) is None
    except (ImportError, ValueError):
        return True
print("GAN3D" + json.dumps({"version": list(sys.version_info[:3]), "missing": [n for n in sys.argv[1:] if lacks(n)]}))
"""


def clean_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment without what belongs to the caller's own Python."""
    return {name: value for name, value in (os.environ if base is None else base).items() if name not in _FOREIGN}


def worker_command(python: str, device: str = "auto", checkpoint_dirs: Sequence[str] = ()) -> list[str]:
    """How to start the worker in a Python.

    −E ignores PYTHON… variables and −u keeps its messages whole. −I and −s are left out: a torch that was installed
    with `pip install --user` should be found.
    """
    command = [python, "-E", "-u", "-X", "utf8", str(BOOTSTRAP), "--device", device]
    for folder in checkpoint_dirs:
        command += ["--checkpoints", str(folder)]
    return command


def worker_environment_dir() -> Path:
    """Where `EnvironmentSetup` makes the worker's environment: in the user's data folder, named after the pinned
    requirements, so that a new version of them becomes a new environment and never half of an old one."""
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "GAN3D"
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Application Support" / "GAN3D"
    else:
        root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "gan3d"
    return root / f"worker-{requirements_digest()[:8]}"


def requirements_digest(requirements: Path = REQUIREMENTS) -> str:
    return hashlib.sha256(requirements.read_bytes()).hexdigest()


def environment_python(folder: str | os.PathLike[str]) -> Path:
    """The interpreter of a virtual environment."""
    return Path(folder) / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def is_complete(folder: str | os.PathLike[str], requirements: Path = REQUIREMENTS) -> bool:
    """Whether a folder is an environment that GAN3D made, finished, from today's requirements."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        stamp = json.loads((Path(folder) / STAMP).read_text("utf-8"))
        return stamp.get("complete") is True and stamp.get("requirements") == requirements_digest(requirements)
    return False


def candidates(explicit: str | None = None) -> Iterator[str]:
    """Pythons that may run the worker, best first, each once: the named one alone; else GAN3D_PYTHON, the environment
    that GAN3D made, an active virtual or conda environment, this very Python, and those on PATH."""
    if explicit:
        yield explicit
        return
    seen = set()
    for path in _places():
        # Not resolved: a virtual environment's interpreter is often a link to the base one.
        key = os.path.normcase(os.path.abspath(path))
        if key not in seen and os.path.isfile(path):
            seen.add(key)
            yield path


def _places() -> Iterator[str]:
    if named := os.environ.get(VARIABLE):
        yield shutil.which(named) or named
    if is_complete(worker_environment_dir()):
        yield str(environment_python(worker_environment_dir()))
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if folder := os.environ.get(variable):
            yield str(environment_python(folder))
            yield str(Path(folder) / "python.exe")  # conda on Windows
    if sys.executable:  # empty when Python is embedded
        yield sys.executable
    for name in ("python3", "python", *(f"python3.{minor}" for minor in range(14, MINIMUM_PYTHON[1] - 1, -1))):
        if found := shutil.which(name):
            yield found


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """What one Python has and lacks."""

    python: str
    version: tuple[int, ...] | None
    """None where it could not be run."""
    missing: tuple[str, ...]
    """Modules the worker needs that it has not."""
    problem: str = ""
    """Why it could not be asked."""

    @property
    def usable(self) -> bool:
        return self.version is not None and self.version >= MINIMUM_PYTHON and not self.missing

    def explain(self) -> str:
        """One sentence for a person."""
        if self.version is None:
            return f"{self.python} cannot be used: {self.problem}."
        label = f"{self.python} (Python {'.'.join(map(str, self.version))})"
        if self.version < MINIMUM_PYTHON:
            return f"{label} is older than Python {'.'.join(map(str, MINIMUM_PYTHON))}."
        if self.missing:
            return f"{label} lacks {', '.join(self.missing)}."
        return f"{label} has everything the worker needs."


class Probe:
    """Asks one Python what it lacks, without waiting: `poll` until it returns. It finds modules, it imports none."""

    def __init__(self, python: str, limit_s: float = PROBE_LIMIT_S) -> None:
        self.python = python
        self._deadline = time.monotonic() + limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._result: ProbeResult | None = None
        try:
            self._process = subprocess.Popen(
                [python, "-E", "-c", _PROBE, *MODULES.values()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=clean_environment(),
                creationflags=NO_WINDOW,
            )
        except OSError as error:
            self._result = ProbeResult(python, None, (), error.strerror or str(error))

    def poll(self) -> ProbeResult | None:
        """The answer, or None while it is not there yet."""
        if self._result is None and self._process is not None:
            if self._process.poll() is not None:
                assert self._process.stdout is not None
                with self._process.stdout as stream:
                    # A few hundred bytes: they fit the pipe, so the process ended without anybody reading.
                    self._result = self._understand(stream.read(1 << 16))
            elif time.monotonic() > self._deadline:
                self.cancel()
                self._result = ProbeResult(self.python, None, (), "it did not answer in time")
        return self._result

    def wait(self) -> ProbeResult:
        while (result := self.poll()) is None:
            time.sleep(0.01)
        return result

    def cancel(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()

    def _understand(self, output: bytes) -> ProbeResult:
        lines = [line for line in output.decode("utf-8", "replace").splitlines() if line.startswith("GAN3D{")]
        try:
            answer = json.loads(lines[-1][len("GAN3D") :])
            return ProbeResult(self.python, tuple(map(int, answer["version"])), tuple(map(str, answer["missing"])))
        except (IndexError, ValueError, KeyError, TypeError):
            return ProbeResult(self.python, None, (), "it is no Python, or too old to answer")


class PythonSearch:
    """Probes the candidates one after another, without waiting: `poll` until it returns."""

    def __init__(self, explicit: str | None = None) -> None:
        self._rest = candidates(explicit)
        self._probe: Probe | None = None
        self.tried: list[ProbeResult] = []
        """What was found so far, best candidate first."""

    def poll(self) -> ProbeResult | None:
        """The first usable Python; else, when all were asked, the best of the unusable; None while it goes on."""
        if self._probe is None:
            python = next(self._rest, None)
            if python is None:
                return self.tried[0] if self.tried else ProbeResult("python", None, (), "no Python was found")
            self._probe = Probe(python)
        result = self._probe.poll()
        if result is None:
            return None
        self._probe = None
        self.tried.append(result)
        return result if result.usable else None

    def cancel(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None


def find_worker_python(explicit: str | None = None) -> ProbeResult:
    """The Python to run the worker in; waits. The result says what is missing where none is usable."""
    search = PythonSearch(explicit)
    while (result := search.poll()) is None:
        time.sleep(0.01)
    return result

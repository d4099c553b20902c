"""Making the worker's environment: a virtual environment with the pinned requirements, in the user's data folder.

A virtual environment holds its own path, so it is made where it will stay. What makes it count is a stamp, written
last: a folder without a complete stamp is half-made, and is made anew by the next attempt. The same stamp, written
first and incomplete, marks the folder as ours; nothing is ever deleted from a folder without it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import CancelledError, Gan3DError, WorkerStartError
from ..files import write_text
from . import environment
from .process import NEW_GROUP, NO_WINDOW, kill_group

_OWNER = "GAN3D"
_running: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()
_CHECK = "import runpy, sys; problem = runpy.run_path(sys.argv[1])['find_problem'](); sys.exit(problem and problem[0])"


def setup_commands(
    folder: str | os.PathLike[str], base_python: str | None = None, index_url: str | None = None
) -> list[list[str]]:
    """What makes the environment, step by step: create, install, check that everything can be imported.

    Args:
        folder: where it shall be.
        base_python: makes it; None = this very Python.
        index_url: a further package index, for a torch built for other devices than the standard one.
    """
    python = str(environment.environment_python(folder))
    install = [python, "-E", "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    if index_url:
        install += ["--extra-index-url", index_url]
    return [
        [base_python or sys.executable, "-E", "-m", "venv", str(folder)],
        [*install, "--progress-bar", "off", "-r", str(environment.REQUIREMENTS)],
        [python, "-E", "-c", _CHECK, str(environment.BOOTSTRAP)],
    ]


class EnvironmentSetup:
    """Makes the worker's environment in a thread. Call `poll` from a timer until `state` is no longer `running`.

    Args:
        folder: where; None = `environment.worker_environment_dir()`.
        base_python: the Python that makes it, 3.11 or newer; None = this very Python.
        index_url: see `setup_commands`.
        commands: other steps than `setup_commands`.
        requirements: the file whose content the environment stands for; another one makes it anew.
        name: what to call it in errors.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        base_python: str | None = None,
        index_url: str | None = None,
        commands: Sequence[Sequence[str]] | None = None,
        requirements: Path = environment.REQUIREMENTS,
        name: str = "the worker's environment",
    ) -> None:
        self.folder = Path(folder) if folder is not None else environment.worker_environment_dir()
        self.commands = commands if commands is not None else setup_commands(self.folder, base_python, index_url)
        self.requirements, self.name = requirements, name
        self.state = "running"
        """`running`, `done`, `failed` or `cancelled`; changes only inside `poll`."""
        self.error: Gan3DError | None = None
        """Why it failed."""
        self.step = 0
        """How many of `commands` are finished."""
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._tail: list[str] = []
        self._cancelled = threading.Event()
        self._outcome: Gan3DError | None = None
        self._thread = threading.Thread(target=self._work, name="gan3d-setup", daemon=True)
        self._thread.start()

    @property
    def python(self) -> str:
        """The interpreter of the environment; there once `state` is `done`."""
        return str(environment.environment_python(self.folder))

    def poll(self) -> list[str]:
        """The lines printed since the last call. Never waits."""
        ended = not self._thread.is_alive()  # asked first, so that no line can follow
        lines = []
        with contextlib.suppress(queue.Empty):
            while True:
                lines.append(self._lines.get_nowait())
        if ended and self.state == "running":
            self.error = None if isinstance(self._outcome, CancelledError) else self._outcome
            self.state = "done" if self._outcome is None else "failed" if self.error is not None else "cancelled"
        return lines

    def cancel(self) -> None:
        """End it and remove what it has made so far. Returns at once; `poll` until `state` changes."""
        self._cancelled.set()

    def wait(self) -> list[str]:
        """Wait for the end; every line that `poll` has not returned."""
        self._thread.join()
        return self.poll()

    def _work(self) -> None:
        try:
            with _lock(self.folder, self.name) as lock:
                self._make(lock)
        except Gan3DError as error:
            self._outcome = error
        except OSError as error:
            self._outcome = WorkerStartError(
                f"{_capital(self.name)} cannot be made in {self.folder}: {error}.",
                "Check that the disk has room and that you may write there.",
            )

    def _make(self, lock: int) -> None:
        if environment.is_complete(self.folder, self.requirements):
            self._lines.put(f"The environment in {self.folder} is complete.")
            return
        _claim(self.folder, self.requirements, self.name)
        try:
            for command in self.commands:
                self._run(command, lock)
                self.step += 1
            self._check_cancelled()
            created = bool(_read_stamp(self.folder).get("created"))
            _stamp(self.folder, self.requirements, complete=True, created=created)
        except BaseException:
            _clear(self.folder)
            raise

    def _run(self, command: Sequence[str], lock: int) -> None:
        self._check_cancelled()
        self._lines.put("$ " + " ".join(command))
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environment.clean_environment(), "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
            creationflags=NO_WINDOW | NEW_GROUP,
            start_new_session=os.name == "posix",
            # The lock goes with it: should this process be killed, nobody else begins before the command has ended.
            pass_fds=(lock,) if os.name == "posix" else (),
        )
        _running.add(process)
        watch = threading.Thread(target=self._kill_on_cancel, args=(process,), name="gan3d-setup-watch", daemon=True)
        watch.start()
        self._tail = []
        assert process.stdout is not None
        with process.stdout:
            for raw in process.stdout:
                line = raw.decode("utf-8", "replace").rstrip()
                self._lines.put(line)
                self._tail = [*self._tail[-7:], line]
        code = process.wait()
        watch.join()
        self._check_cancelled()
        if code != 0:
            raise WorkerStartError(
                f"Setting up {self.name} failed (exit code {code}):\n" + "\n".join(self._tail),
                "Check the network connection and the free space on the disk, then try again.",
            )

    def _kill_on_cancel(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            if self._cancelled.wait(0.1):
                kill_group(process)
                return

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise CancelledError(f"Setting up {self.name} was cancelled.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _claim(folder: Path, requirements: Path = environment.REQUIREMENTS, name: str = "the worker's environment") -> None:
    """Make the folder, or take over one that an earlier attempt has left half-made."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise WorkerStartError(f"{folder} is in the way of {name}.", "Move it elsewhere.")
    if folder.is_dir() and any(folder.iterdir()):
        if not _read_stamp(folder):
            raise WorkerStartError(
                f"The folder {folder} was not made by GAN3D, so it is left alone.", "Move it elsewhere, then try again."
            )
        _clear(folder)
    created = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    _stamp(folder, requirements, complete=False, created=created)


def _stamp(folder: Path, requirements: Path, *, complete: bool, created: bool) -> None:
    content = {
        "made_by": _OWNER,
        "complete": complete,
        "created": created,
        "requirements": environment.requirements_digest(requirements),
    }
    write_text(folder / environment.STAMP, json.dumps(content, indent=2) + "\n")


def _read_stamp(folder: Path) -> dict[str, Any]:
    """The stamp of a folder of ours, or nothing."""
    try:
        stamp = json.loads((folder / environment.STAMP).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) and stamp.get("made_by") == _OWNER else {}


def _clear(folder: Path) -> None:
    """Remove an environment of ours. The stamp goes last, so an interrupted removal can still be told as ours."""
    stamp = _read_stamp(folder)
    if not stamp:
        return
    for entry in folder.iterdir():
        if entry.name == environment.STAMP:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    (folder / environment.STAMP).unlink()
    if stamp.get("created"):
        folder.rmdir()


@contextlib.contextmanager
def _lock(folder: Path, name: str) -> Iterator[int]:
    """Keep two Blenders from making one environment. The system drops the lock when all who hold it have died."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "a+b") as file:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise WorkerStartError(
                f"{_capital(name)} is being set up by another program.", "Wait until that has finished."
            ) from None
        yield file.fileno()


@atexit.register
def _kill_running() -> None:
    """Do not go on installing when Blender has been closed; the next attempt begins anew."""
    for process in list(_running):
        kill_group(process)

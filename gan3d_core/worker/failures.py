"""The sentences for everything that can go wrong with a worker."""

from __future__ import annotations

import signal

from .. import __version__
from ..errors import Gan3DError, WorkerDiedError, WorkerStartError, WorkerTimeoutError
from .events import WorkerInfo
from .process import WorkerProcess

_LAST_LINES = 6


def cannot_launch(program: str, error: Exception) -> Gan3DError:
    reason = getattr(error, "strerror", None) or str(error)
    return WorkerStartError(f"The worker's program {program!r} cannot be started: {reason}.")


def wrong_version(info: WorkerInfo) -> Gan3DError | None:
    if info.version == __version__:
        return None
    return WorkerStartError(
        f"The worker is of GAN3D {info.version}, this is GAN3D {__version__}.",
        "Install the same version of GAN3D at both ends.",
    )


def ended(process: WorkerProcess, *, starting: bool) -> Gan3DError:
    """The worker's process has ended by itself, or closed its pipes, while nobody asked it to."""
    code = process.exit_code
    how = "it closed its pipes" if code is None else f"exit code {code}"
    hint = None
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        how = f"killed by {name}"
        if name == "SIGKILL":
            hint = "Where memory is short, the system kills the largest program. " + WorkerDiedError.default_hint
    last = _last_lines(process.stderr_tail)
    if starting:
        return WorkerStartError(f"The worker ended before it was ready ({how}).{last}")
    return WorkerDiedError(f"The worker ended unexpectedly ({how}).{last}", hint)


def slow_start(limit: float, stderr_tail: str) -> Gan3DError:
    return WorkerTimeoutError(
        f"The worker was not ready within {limit:g} s.{_last_lines(stderr_tail)}",
        "It was stopped. Press Generate again; a first start can be slow. If it happens again, test the worker's "
        "Python in the preferences.",
    )


def silent(limit: float) -> Gan3DError:
    return WorkerTimeoutError(f"The worker has given no sign of life for {limit:g} s.")


def stuck(limit: float) -> Gan3DError:
    return WorkerTimeoutError(f"The worker has made no progress for {limit:g} s.")


def _last_lines(stderr_tail: str) -> str:
    lines = [line.rstrip() for line in stderr_tail.splitlines() if line.strip()][-_LAST_LINES:]
    return " Its last lines were:\n" + "\n".join(lines) if lines else ""

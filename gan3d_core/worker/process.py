"""The worker's process as the client holds it: threads do every read and write, so the caller never waits.

A reader thread turns the worker's output into messages, a writer thread feeds its input, a third keeps the last lines
of its stderr. Each ends by itself when its pipe ends.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence

from ..errors import ProtocolError
from .protocol import Message, MessageReader, write_message

INBOX_BYTES = 64 << 20
"""The reader stops reading while more than this waits to be polled; the worker then waits in its turn."""
INBOX_MESSAGES = 512
# Windows only; 0 elsewhere.
NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
NEW_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
STDERR_LINES = 40
STDERR_LINE_BYTES = 2000

_living: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that was started with `start_new_session`, with every process that it started."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()


class WorkerProcess:
    """A started worker.

    Args:
        command: what to run.
        environment: its whole environment.

    Raises:
        OSError: the program does not exist or may not be run.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=dict(environment),
            # A group of its own: Ctrl-C in the terminal is the caller's to handle. And no console window pops up.
            creationflags=NO_WINDOW | NEW_GROUP,
            start_new_session=os.name == "posix",
        )
        self._inbox = _Inbox()
        self._outbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._stderr: deque[bytes] = deque([b""], maxlen=STDERR_LINES)
        self._stderr_lock = threading.Lock()
        self._threads = [
            threading.Thread(target=target, name=f"gan3d-{target.__name__.strip('_')}", daemon=True)
            for target in (self._read_output, self._write_input, self._read_errors)
        ]
        _living.add(self)
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives; negative = killed by that signal."""
        return self._process.poll()

    @property
    def stderr_tail(self) -> str:
        """The last lines it wrote to stderr."""
        with self._stderr_lock:
            return b"".join(self._stderr).decode("utf-8", "replace").strip()

    @property
    def output_ended(self) -> bool:
        """Whether every message it ever wrote has been read, and no other can come."""
        return not self._threads[0].is_alive()

    @property
    def errors_ended(self) -> bool:
        """Whether all it ever wrote to stderr has been read."""
        return not self._threads[2].is_alive()

    @property
    def heard_at(self) -> float:
        """`time.monotonic()` when bytes last came as a message, or now while the inbox is full: no silence then."""
        return self._inbox.heard_at

    def send(self, message: Message) -> None:
        """Queue a message; never blocks."""
        self._outbox.put(message)

    def receive(self) -> list[Message | ProtocolError]:
        """Every message since the last call; a ProtocolError is the last thing ever received."""
        return self._inbox.drain()

    def end(self, grace: float) -> None:
        """Ask it to go, kill it after `grace` seconds; returns at once."""
        self._outbox.put(None)
        self._inbox.close()
        threading.Thread(target=self._reap, args=(grace,), name="gan3d-reap", daemon=True).start()

    def kill(self) -> None:
        """Kill it; returns at once, and no zombie stays."""
        kill_group(self._process)
        self.end(0.0)

    def join(self, timeout: float) -> bool:
        """Wait for its end; whether it came."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _reap(self, grace: float) -> None:
        if not self.join(grace):
            kill_group(self._process)
            self._process.wait()
        _living.discard(self)

    def _read_output(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream:
            reader = MessageReader(stream)  # type: ignore[arg-type]  # unbuffered, so a FileIO
            try:
                while (message := reader.read()) is not None and self._inbox.put(message, message.nbytes):
                    pass
            except ProtocolError as error:
                self._inbox.put(error, 0)
            except OSError as error:
                self._inbox.put(ProtocolError(f"The worker's output cannot be read ({error})."), 0)

    def _write_input(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        # A worker that is gone is noticed by its exit, so a broken pipe needs no report.
        with contextlib.suppress(OSError), stream:
            while (message := self._outbox.get()) is not None:
                write_message(stream, message)  # type: ignore[arg-type]

    def _read_errors(self) -> None:
        stream = self._process.stderr
        assert stream is not None
        with contextlib.suppress(OSError), stream:
            while data := stream.read(4096):
                with self._stderr_lock:
                    # The last entry is the line that has not ended yet, cut so that a progress bar cannot grow.
                    lines = (self._stderr.pop() + data).splitlines(keepends=True)
                    self._stderr.extend(each[-STDERR_LINE_BYTES:] for each in lines)
                    if data.endswith(b"\n"):
                        self._stderr.append(b"")


class _Inbox:
    """Messages between the reader thread and `poll`, bounded by their size."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._items: list[Message | ProtocolError] = []
        self._nbytes = 0
        self._closed = False
        self._heard_at = time.monotonic()
        self._waiting = False

    @property
    def heard_at(self) -> float:
        with self._condition:
            return time.monotonic() if self._waiting or self._items else self._heard_at

    def put(self, item: Message | ProtocolError, nbytes: int) -> bool:
        """Wait for room and add; False once nobody listens any more."""
        with self._condition:
            self._heard_at = time.monotonic()
            self._waiting = True
            self._condition.wait_for(self._has_room)
            self._waiting = False
            self._items.append(item)
            self._nbytes += nbytes
            return not self._closed

    def drain(self) -> list[Message | ProtocolError]:
        with self._condition:
            items, self._items, self._nbytes = self._items, [], 0
            self._condition.notify_all()
            return items

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _has_room(self) -> bool:
        return self._closed or (self._nbytes < INBOX_BYTES and len(self._items) < INBOX_MESSAGES)


@atexit.register
def _kill_living() -> None:
    """Leave no worker behind when the interpreter ends. (A worker ends by itself too, when its stdin does.)"""
    for process in list(_living):
        kill_group(process._process)
        process.join(1.0)

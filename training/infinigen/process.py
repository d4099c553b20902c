"""One generator process: asked for a shape, waited for within a limit, started again when it has died."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from gan3d_core.errors import WorkerStartError
from gan3d_core.worker.environment import clean_environment
from gan3d_core.worker.process import NEW_GROUP, NO_WINDOW, kill_group

START_LIMIT_S = 600.0
"""Blender and Infinigen are imported from the disk: seconds, but minutes on a cold or busy machine."""
SHAPES_PER_PROCESS = 150
"""Then a new one: Blender keeps a little of every shape."""
_KEPT_LINES = 12
_CLOSE_S = 10.0


class ShapeSkippedError(Exception):
    """Why there is no shape of a seed. Never leaves this package: it becomes a line of `skipped.jsonl`."""


class GeneratorProcess:
    """Starts `command` when it is first needed.

    Args:
        command: a program that speaks as `inside/generator.py` does.
        limit_s: seconds for one shape.
        start_limit_s: seconds until the program says that it is ready.
    """

    def __init__(self, command: Sequence[str], limit_s: float, start_limit_s: float = START_LIMIT_S) -> None:
        self._command, self._limit, self._start_limit = list(command), limit_s, start_limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._words: deque[str] = deque(maxlen=_KEPT_LINES)
        self._made = 0
        self._closed = False

    def make(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask for a shape and wait for it.

        Returns:
            the row for `metadata.jsonl`.

        Raises:
            ShapeSkippedError: the factory failed, took too long, or the process ended over it; the next call starts
                a new one.
            WorkerStartError: the program cannot be started, or ends before it is ready.
        """
        if self._process is None or self._process.poll() is not None or self._made >= SHAPES_PER_PROCESS:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._made += 1
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise ShapeSkippedError(self._ended()) from None
        answer = self._answer(self._limit, f"it took longer than {self._limit:g} s")
        if answer.get("done") is True and isinstance(answer.get("row"), dict):
            return answer["row"]
        if answer.get("done") is False:
            raise ShapeSkippedError(str(answer.get("reason", "no reason given")))
        self._stop()
        raise ShapeSkippedError("the generator gave an answer that is none")

    def close(self) -> None:
        """End the process; from another thread too, whose `make` then raises."""
        self._closed = True
        self._stop()

    def _start(self) -> None:
        self._stop()
        if self._closed:
            raise ShapeSkippedError("the generator was closed")
        self._answers, self._words, self._made = queue.SimpleQueue(), deque(maxlen=_KEPT_LINES), 0
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={"OMP_NUM_THREADS": "1", **clean_environment(), "PYTHONUTF8": "1"},
                creationflags=NO_WINDOW | NEW_GROUP,
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            raise WorkerStartError(f"{self._command[0]} cannot be started ({error.strerror}).", _HINT) from None
        self._process = process
        for target in (self._read_answers, self._read_words):
            args = (process, self._answers if target == self._read_answers else self._words)
            threading.Thread(target=target, args=args, name="gan3d-infinigen", daemon=True).start()
        try:
            ready = self._answer(self._start_limit, f"it was not ready within {self._start_limit:g} s")
        except ShapeSkippedError as error:
            raise WorkerStartError(f"The generator of shapes cannot work: {error}.", _HINT) from None
        if ready.get("ready") is not True:
            self._stop()
            raise WorkerStartError(f"{self._command[-1]} is no generator of shapes.", _HINT)

    @staticmethod
    def _read_answers(process: subprocess.Popen[bytes], answers: queue.SimpleQueue[bytes | None]) -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            for line in stream:
                answers.put(line)
        answers.put(None)

    @staticmethod
    def _read_words(process: subprocess.Popen[bytes], words: deque[str]) -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            for line in stream:
                # Cycles' progress says nothing about what went wrong.
                if not line.startswith(b"Fra:") and line.strip():
                    words.append(line.decode("utf-8", "replace").strip()[:300])

    def _answer(self, limit: float, late: str) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=limit)
        except queue.Empty:
            self._stop()
            raise ShapeSkippedError(late) from None
        if line is None:
            raise ShapeSkippedError(self._ended())
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self._stop()
            raise ShapeSkippedError("the generator gave an answer that is none")
        return answer

    def _ended(self) -> str:
        assert self._process is not None
        code = self._process.wait()
        time.sleep(0.05)  # its last words may still be on their way
        last = next((word for word in reversed(self._words)), "")
        return f"the generator ended (exit code {code})" + (f": {last}" if last else "")

    def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            try:
                process.stdin.close()
            except OSError:
                kill_group(process)
        kill_group(process)
        process.wait(_CLOSE_S)


_HINT = "Remove the environment's folder to have it made anew; its path is printed by `prepare infinigen --where`."

"""The worker's side: takes requests from a pipe, makes shapes, streams them as they finish.

The main thread makes shapes. A reader thread takes messages, so that a cancel, a ping and the end of the pipe are
noticed meanwhile: when the other end is gone, so is this process. A third thread gives a sign of life.
"""

from __future__ import annotations

import argparse
import os
import platform
import queue
import sys
import threading
import time
from collections.abc import Sequence

from .. import __version__
from ..devices import choose_device, device_name
from ..errors import CancelledError, EmptyShapeError, Gan3DError, OutOfMemoryError, ProtocolError, WorkerBusyError
from ..pipeline import Pipeline, typed
from ..progress import Estimator
from ..recipe import Recipe
from ..request import MAX_COUNT
from .events import Cancelled, Done, Event, Failed, Progress, ShapeFailed, ShapeReady, Started, WorkerInfo
from .framing import RawReader, RawWriter
from .protocol import Message, MessageReader, write_message
from .vocabulary import write_event

ALIVE_S = 2.0
"""Between two signs of life during a request."""
PROGRESS_S = 0.1
"""Least time between two progress messages of one stage."""
IDLE_RELEASE_S = 600.0
"""Models are dropped after this long without a request."""


class Server:
    """Answers one client.

    Args:
        pipeline: makes the shapes.
        stdin, stdout: unbuffered streams of messages.
        idle_release: seconds without a request after which models are dropped.
    """

    def __init__(
        self, pipeline: Pipeline, stdin: RawReader, stdout: RawWriter, idle_release: float = IDLE_RELEASE_S
    ) -> None:
        self._pipeline = pipeline
        self._reader = MessageReader(stdin)
        self._stdout = stdout
        self._idle_release = idle_release
        self._write_lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._state_lock = threading.Lock()
        self._running: int | None = None
        self._cancelled = False
        self._estimator = Estimator()

    def serve(self, info: WorkerInfo) -> None:
        """Introduce this worker and answer requests; never returns, since the process ends with its input."""
        threading.Thread(target=self._read, name="gan3d-read", daemon=True).start()
        threading.Thread(target=self._live, name="gan3d-alive", daemon=True).start()
        self._send(write_event(Started(info)))
        while True:
            try:
                job = self._jobs.get(timeout=self._idle_release if self._pipeline.loaded else None)
            except queue.Empty:
                self._pipeline.release()
                continue
            if job.kind == "generate":
                self._answer(job)
            else:
                self._pipeline.release()
                self._send(Message("released"))

    def _answer(self, job: Message) -> None:
        request = job.fields["request"]
        event: Event
        try:
            event = self._generate(request, _recipes(job))
        except CancelledError:
            event = Cancelled(request)
        except Exception as error:
            # A copy: the exception's own traceback keeps alive the arrays that may be the very trouble.
            event = Failed(request, Gan3DError.from_dict(typed(error).to_dict()))
        if isinstance(event, Failed) and isinstance(event.error, OutOfMemoryError):
            self._pipeline.release()
        with self._state_lock:
            self._running = None
        self._emit(event)

    def _generate(self, request: int, recipes: list[Recipe]) -> Event:
        """Make every shape; a seed without a surface fails alone."""
        count = len(recipes)
        self._estimator.begin([(r.checkpoint, r.resolution, r.target_faces, r.texture_size) for r in recipes])
        for index, recipe in enumerate(recipes):
            report = _Reporter(self, request, index, count)
            try:
                result = self._pipeline.generate(recipe, report)
            except EmptyShapeError as error:
                self._emit(ShapeFailed(request, index, count, recipe, error))
                continue
            self._estimator.finished(index, result.timings)
            self._emit(ShapeReady(request, index, count, result.shape, result.recipe, result.timings))
        self.check_cancelled()
        return Done(request)

    def check_cancelled(self) -> None:
        if self._cancelled:
            raise CancelledError("The request was cancelled.")

    def report(self, request: int, index: int, count: int, stage: str, fraction: float) -> None:
        whole, eta = self._estimator.at(index, stage, fraction)
        self._emit(Progress(request, index, count, stage, whole, eta))

    def _read(self) -> None:
        """Take messages until the other end is gone or talks rubbish, then end the process, busy or not."""
        try:
            while (message := self._reader.read()) is not None and message.kind != "shutdown":
                self._take(message)
        except ProtocolError as error:
            self._emit(Failed(None, error))
            os._exit(2)
        except OSError:
            os._exit(1)
        os._exit(0)

    def _take(self, message: Message) -> None:
        request = message.fields.get("request")
        if message.kind in ("generate", "cancel") and type(request) is not int:
            raise ProtocolError(f"A {message.kind!r} message lacks the number of its request.")
        if message.kind == "generate":
            with self._state_lock:
                free = self._running is None
                if free:
                    self._running, self._cancelled = request, False
            if free:
                self._jobs.put(message)
            else:
                self._emit(Failed(request, WorkerBusyError("The worker is busy with another request.")))
        elif message.kind == "cancel":
            with self._state_lock:
                if self._running == request:
                    self._cancelled = True
        elif message.kind == "release":
            self._jobs.put(message)
        elif message.kind == "ping":
            self._send(Message("pong"))
        else:
            raise ProtocolError(f"The client sent a message of unknown kind {message.kind[:40]!r}.")

    def _live(self) -> None:
        while True:
            time.sleep(ALIVE_S)
            if self._running is not None:
                self._send(Message("alive"))

    def _emit(self, event: Event) -> None:
        self._send(write_event(event))

    def _send(self, message: Message) -> None:
        try:
            with self._write_lock:
                write_message(self._stdout, message)
        except OSError:  # nobody listens any more
            os._exit(1)


class _Reporter:
    """Progress of one shape: passes on what is worth a message and is where a request can be cancelled."""

    def __init__(self, server: Server, request: int, index: int, count: int) -> None:
        self._server = server
        self._place = (request, index, count)
        self._stage = ""
        self._sent_at = 0.0

    def __call__(self, stage: str, fraction: float) -> None:
        self._server.check_cancelled()
        now = time.monotonic()
        if stage != self._stage or now - self._sent_at >= PROGRESS_S:
            self._stage, self._sent_at = stage, now
            self._server.report(*self._place, stage, fraction)


def _recipes(job: Message) -> list[Recipe]:
    data = job.fields.get("recipes")
    if not isinstance(data, list) or not 0 < len(data) <= MAX_COUNT:
        raise ProtocolError(f"A request must carry 1 … {MAX_COUNT} recipes.")
    return [Recipe.from_dict(each) for each in data]


def serve(arguments: Sequence[str], stdin: RawReader, stdout: RawWriter) -> int:
    """Run the worker on two streams until its input ends.

    Returns:
        The exit code, where it cannot start.
    """
    parser = argparse.ArgumentParser(prog="worker", description="GAN3D's worker; speaks frames over stdin and stdout.")
    add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        device = choose_device(options.device)
        info = WorkerInfo(
            pid=os.getpid(),
            python=platform.python_version(),
            executable=sys.executable,
            torch=_torch_version(),
            device=device,
            device_name=device_name(device),
            version=__version__,
        )
    except Gan3DError as error:
        write_message(stdout, write_event(Failed(None, error)))
        return 1
    Server(Pipeline(device, options.checkpoints), stdin, stdout, options.idle_release).serve(info)
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The worker's options, shared with `python -m gan3d_core worker`."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")
    parser.add_argument("--checkpoints", action="append", default=[], metavar="DIR", help="a folder of checkpoints")
    parser.add_argument(
        "--idle-release", type=float, default=IDLE_RELEASE_S, metavar="S", help="drop models when idle (%(default)s s)"
    )


def _torch_version() -> str:
    import torch

    return str(torch.__version__)

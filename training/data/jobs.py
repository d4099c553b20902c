"""Preparing many files with several processes, any of which may die.

Each process takes one file at a time and writes what it made itself. One that crashes, is killed, or stays too long on
a file costs that file alone, which is reported; another takes its place.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path

from gan3d_core.errors import DatasetError, Gan3DError

from .record import PICTURES, RecordSettings, identity, make_record
from .source import SourceFile
from .writer import Writer

TIME_LIMIT = 900.0
"""Seconds that one file may take."""
_LOOK_AGAIN = 0.5
"""Seconds until a shape that another run is at is looked for again."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one file."""

    name: str
    status: str
    """`made`, `kept` (it was there already), `skipped` (with a reason), `busy` (another run is at it), `failed`
    (the dataset cannot be written)."""
    reason: str = ""
    hint: str = ""


def run(
    files: Sequence[SourceFile], dataset: Path, settings: RecordSettings, processes: int, time_limit: float = TIME_LIMIT
) -> Generator[Result, None, None]:
    """Prepare files in the order given and yield what became of each, in the order they are done.

    Shapes that another run on the same dataset is at come last: they are kept if it finished them, and made if it
    died. Closing the iterator ends the processes; what is finished stays.

    Raises:
        DatasetError: the dataset cannot be written.
    """
    context = multiprocessing.get_context("spawn")  # warp's threads and its kernel cache do not survive a fork
    waiting = collections.deque((file, 0.0) for file in files)
    crew: list[_Worker] = []
    try:
        for _ in range(max(1, min(processes, len(files)))):
            crew.append(_Worker(context, dataset, settings))
        while waiting or any(worker.file for worker in crew):
            _hand_out(waiting, crew)
            wait([worker.pipe for worker in crew if worker.file], timeout=_LOOK_AGAIN)
            for place, worker in enumerate(crew):
                file = worker.file
                result = worker.look(time_limit) if file else None
                if result is None or file is None:
                    continue
                if not worker.process.is_alive():
                    crew[place] = _Worker(context, dataset, settings)
                if result.status == "failed":
                    raise DatasetError(result.reason, result.hint)
                if result.status == "busy":
                    waiting.append((file, time.monotonic() + _LOOK_AGAIN))
                else:
                    yield result
    finally:
        for worker in crew:
            worker.end()


def _hand_out(waiting: collections.deque[tuple[SourceFile, float]], crew: list[_Worker]) -> None:
    now = time.monotonic()
    for worker in crew:
        if worker.file is None and waiting and waiting[0][1] <= now:
            worker.give(waiting.popleft()[0])


class _Worker:
    """A process that prepares files, seen from its parent."""

    def __init__(self, context: SpawnContext, dataset: Path, settings: RecordSettings) -> None:
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_work, args=(theirs, dataset, settings), daemon=True)
        with _interrupts_ignored():
            self.process.start()
        theirs.close()  # theirs alone: so its end is the end of the pipe
        self.file: SourceFile | None = None
        self._since = 0.0

    def give(self, file: SourceFile) -> None:
        self.file, self._since = file, time.monotonic()
        with contextlib.suppress(OSError):  # it died between two files: `look` reports it
            self.pipe.send(file)

    def look(self, time_limit: float) -> Result | None:
        """What became of the file it has; None while it is at it."""
        assert self.file is not None
        name = self.file.name
        result: Result | None = None
        try:
            if self.pipe.poll():
                result = self.pipe.recv()
            elif time.monotonic() - self._since > time_limit:
                self.end()
                result = Result(name, "skipped", f"It took longer than {time_limit:.0f} seconds.")
        except (EOFError, OSError):
            self.process.join(5.0)
            result = Result(name, "skipped", _last_words(self.process.exitcode))
        if result is not None:
            self.file = None
        return result

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self.process.terminate()
        self.process.join(2.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def _last_words(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"The process that prepared it ended (exit code {exit_code})."
    name = signal.Signals(-exit_code).name
    cause = " Perhaps memory ran out: fewer --processes need less." if name == "SIGKILL" else ""
    return f"The process that prepared it was ended by {name}.{cause}"


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ctrl-C is the parent's to handle; processes started in this block ignore it from their first moment on."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread: it gets no Ctrl-C
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(pipe: Connection, dataset: Path, settings: RecordSettings) -> None:
    """A worker's life: files come in, results go out, until the pipe ends."""
    import torch

    torch.set_num_threads(1)  # there is a process for every core
    writer = Writer(dataset, PICTURES)
    while True:
        try:
            file = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(_prepare(file, writer, settings))


def _prepare(file: SourceFile, writer: Writer, settings: RecordSettings) -> Result:
    try:
        name = identity(file, settings)
        with writer.claim(name) as ours:
            if not ours:
                return Result(file.name, "busy")
            there = writer.find(name)
            if there is not None:
                same = (there.source, there.name) == (file.source, file.name)
                return Result(file.name, "kept") if same else Result(file.name, "skipped", _twin(there.name))
            entry, arrays = make_record(file, name, settings)
            writer.append(entry, arrays)
    except DatasetError as error:
        return Result(file.name, "failed", error.message, error.hint)
    except Gan3DError as error:
        return Result(file.name, "skipped", error.message)
    except FileNotFoundError:
        return Result(file.name, "skipped", "The file is not there.")
    except MemoryError:
        return Result(file.name, "skipped", "There was not enough memory.")
    except Exception as error:  # one strange file must not end a night's work; the report and the trace name it
        sys.stderr.write(f"\n{file.name}:\n{traceback.format_exc()}")
        return Result(file.name, "skipped", f"The program failed on it ({type(error).__name__}: {error}).")
    return Result(file.name, "made")


def _twin(name: str) -> str:
    return f"It is the same, byte for byte, as {name}."

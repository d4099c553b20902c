"""Shapes to files, with a line of progress: what `python -m gan3d_core generate` does once it knows the recipes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from .errors import CancelledError, EmptyShapeError, OutputError
from .files import write_text
from .pipeline import Pipeline, Result
from .progress import Estimator
from .recipe import Recipe
from .shape import Shape

FORMATS: dict[str, Callable[[Shape, Path], None]] = {"glb": Shape.write_glb, "npz": Shape.write_npz}


def export(
    recipes: Sequence[Recipe],
    folder: Path,
    formats: Sequence[str],
    device: str = "auto",
    checkpoint_dirs: Iterable[str | os.PathLike[str]] = (),
    stream: TextIO | None = None,
) -> int:
    """Make every shape and write it, its recipe beside it, as soon as it is finished.

    Args:
        recipes: what to make.
        folder: where to; made if need be. Files of the same name are replaced.
        formats: keys of `FORMATS`.
        device: see `devices.choose_device`.
        checkpoint_dirs: folders of checkpoints beyond the shipped ones.
        stream: takes the progress; None = stderr.

    Returns:
        0, or 1 where a seed had no surface; the others were written.

    Raises:
        CancelledError: Ctrl-C; the shapes finished before are there, and nothing half-written.
        Gan3DError: any other failure, `OutputError` among them; likewise.
    """
    pipeline = Pipeline(device, checkpoint_dirs)
    display = _Display(stream or sys.stderr, len(recipes))
    estimator = Estimator()
    estimator.begin([(r.checkpoint, r.resolution, r.target_faces, r.texture_size) for r in recipes])
    written = 0
    _make_folder(folder)
    with display, _interrupts() as interrupted:
        for index, recipe in enumerate(recipes):

            def report(stage: str, fraction: float, index: int = index, written: int = written) -> None:
                if interrupted.is_set():
                    raise CancelledError(f"Cancelled: {written} of {len(recipes)} shapes are in {folder.resolve()}.")
                display.status(index, stage, *estimator.at(index, stage, fraction))

            try:
                result = pipeline.generate(recipe, report)
            except EmptyShapeError as error:
                display.line(f"{recipe.file_stem}: {error}")
                continue
            estimator.finished(index, result.timings)
            report("bake", 1.0)  # the last chance to cancel before this shape counts
            names = _write(result, folder, formats)
            written += 1
            display.line(_summary(names, result))
    return 0 if written == len(recipes) else 1


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {folder} cannot be made ({error.strerror}).") from None


def _write(result: Result, folder: Path, formats: Sequence[str]) -> list[str]:
    stem = result.recipe.file_stem
    try:
        for name in formats:
            FORMATS[name](result.shape, folder / f"{stem}.{name}")
        write_text(folder / f"{stem}.recipe.json", result.recipe.to_json() + "\n")
    except OSError as error:
        raise OutputError(f"{stem} cannot be written to {folder} ({error.strerror}).") from None
    return [f"{stem}.{name}" for name in formats]


def _summary(names: Sequence[str], result: Result) -> str:
    total = sum(result.timings.values())
    stages = " · ".join(f"{stage} {seconds:.2f}" for stage, seconds in result.timings.items())
    return f"{', '.join(names)}  {len(result.shape.faces):,} faces in {total:.2f} s ({stages})"


@contextlib.contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Make the first Ctrl-C a request that is heard between two steps, so that no write is cut; the second is final."""
    requested = threading.Event()

    def handle(number: int, frame: Any) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield requested
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield requested
    finally:
        signal.signal(signal.SIGINT, before)


class _Display:
    """One line that is rewritten on a terminal; elsewhere only lines that stay."""

    def __init__(self, stream: TextIO, count: int) -> None:
        self._stream = stream
        self._count = count
        self._live = stream.isatty()
        self._width = 0
        self._shown_at = 0.0

    def __enter__(self) -> _Display:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def status(self, index: int, stage: str, fraction: float, eta_s: float | None) -> None:
        if not self._live or time.monotonic() - self._shown_at < 0.1:
            return
        self._shown_at = time.monotonic()
        left = "" if eta_s is None else f", {eta_s:.0f} s left"
        text = f"{index + 1}/{self._count} {stage} · {fraction:.0%}{left}"
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)

    def line(self, text: str) -> None:
        self._clear()
        self._stream.write(text + "\n")
        self._stream.flush()

    def _clear(self) -> None:
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0

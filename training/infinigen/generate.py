"""Filling a folder with shapes: seed after seed, each made once, with what went wrong written down."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from gan3d_core.errors import DatasetError, Gan3DError, MeshFileError, OutputError
from gan3d_core.files import write_text

from ..data.locks import Locks
from ..data.readers import read
from ..data.source import SourceFile
from ..progress import ProgressLine
from .catalogue import EVALUATION_SEED, check_seeds, kind_of
from .process import GeneratorProcess, ShapeSkippedError

METADATA = "metadata.jsonl"
SKIPPED = "skipped.jsonl"
HOPELESS = 12
"""So many seeds in a row without a shape: it is not the seeds."""
LICENCE = "made with Infinigen 1.15.5 (BSD-3-Clause)"


def generate(
    folder: Path,
    category: str,
    count: int,
    first_seed: int,
    start: Callable[[], GeneratorProcess],
    processes: int = 1,
    evaluation: bool = False,
    light: bool = False,
) -> int:
    """Bring a category of a folder to `count` shapes from `first_seed` on.

    Seeds that the folder has are kept, those that failed are passed over, and the next ones are made. The folder can be
    prepared at any moment: its `metadata.jsonl` names only files that are complete.

    Args:
        folder: `CATEGORY/SEED.npz`, `metadata.jsonl` and `skipped.jsonl` go there.
        start: a generator process, not yet started.
        processes: how many of them at a time.
        evaluation: the seeds are those kept for evaluation.
        light: without Infinigen's black materials.

    Returns:
        how many shapes were made now.

    Raises:
        DatasetError: seeds that may not be used, another program at work in the folder, shapes in it whose materials
            were drawn otherwise, or nothing that succeeds.
        OutputError: the folder cannot be written to.
        WorkerStartError: the generator does not start.
    """
    check_seeds(first_seed, count, evaluation)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            return _Run(folder, category, first_seed, evaluation, light).fill(count, start, processes)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to ({error.strerror or error}).") from None


class _Run:
    def __init__(self, folder: Path, category: str, first_seed: int, evaluation: bool, light: bool) -> None:
        self._folder, self._category, self._evaluation, self._light = folder, category, evaluation, light
        rows = read_rows(folder / METADATA)
        complete = [row for row in rows if isinstance(row.get("file"), str) and (folder / row["file"]).is_file()]
        if len(complete) < len(rows):
            _rewrite(folder / METADATA, complete)
        of_category = [row for row in complete if row.get("category") == category]
        if any(row.get("light_materials", False) != light for row in of_category):
            raise DatasetError(
                f"{folder} has {category}s made {'with' if light else 'without'} Infinigen's black materials.",
                "Choose another folder, or the same --light-materials as before: a seed is one shape in a folder.",
            )
        self._made = {row["seed"] for row in of_category if row.get("seed", -1) >= first_seed}
        failed = {row.get("seed") for row in read_rows(folder / SKIPPED) if row.get("category") == category}
        self._seeds = (s for s in _count_from(first_seed) if s not in self._made and s not in failed)
        self._in_a_row = 0

    def fill(self, count: int, start: Callable[[], GeneratorProcess], processes: int) -> int:
        had = len(self._made)
        if had >= count:
            sys.stderr.write(f"{self._folder} has {had} of {count} already.\n")
            return 0
        progress = ProgressLine(f"Generating {self._category}s", count, start=had)
        progress.update(had, "starting Infinigen", force=True)
        own = threading.local()
        started: list[GeneratorProcess] = []

        def work(seed: int) -> dict[str, Any]:
            if not hasattr(own, "process"):
                own.process = start()
                started.append(own.process)
            return self._shape(own.process, seed)

        skipped = 0
        pool = ThreadPoolExecutor(max(1, processes), "gan3d-infinigen")
        pending: dict[Future[dict[str, Any]], int] = {}
        try:
            while len(self._made) < count:
                # Never more at work than are still missing, so that there are exactly as many as asked for.
                while len(pending) < min(max(1, processes), count - len(self._made)):
                    seed = self._next_seed()
                    pending[pool.submit(work, seed)] = seed
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    skipped += not self._note(pending.pop(future), future)
                progress.update(len(self._made), f"{skipped} skipped" if skipped else "")
        finally:
            for process in started:
                process.close()
            pool.shutdown(cancel_futures=True)
            progress.close()
        return len(self._made) - had

    def _next_seed(self) -> int:
        seed = next(self._seeds)
        if seed >= EVALUATION_SEED and not self._evaluation:
            raise DatasetError(
                f"After {len(self._made)} shapes, the next seed is {seed}, and those are kept for evaluation.",
                "Choose a lower --first-seed.",
            )
        return seed

    def _note(self, seed: int, future: Future[dict[str, Any]]) -> bool:
        """Write down what became of a seed; whether it is a shape."""
        try:
            row = future.result()
        except ShapeSkippedError as error:
            kind = kind_of(self._category, seed).name
            _append(
                self._folder / SKIPPED, {"category": self._category, "kind": kind, "seed": seed, "reason": str(error)}
            )
            self._in_a_row += 1
            if self._in_a_row >= HOPELESS:
                raise DatasetError(
                    f"{HOPELESS} {self._category}s in a row could not be made; the last, of seed {seed}: {error}.",
                    f"See {self._folder / SKIPPED}; delete its lines to try those seeds again.",
                ) from None
            return False
        _append(self._folder / METADATA, row)
        self._made.add(seed)
        self._in_a_row = 0
        return True

    def _shape(self, process: GeneratorProcess, seed: int) -> dict[str, Any]:
        """Have a shape made, and read it as a dataset would.

        Raises:
            ShapeSkippedError: there is none, or not one that can be read.
        """
        kind = kind_of(self._category, seed)
        name = f"{self._category}/{seed:06}.npz"
        path = self._folder / name
        request = {"factory": kind.factory, "seed": seed, "light": self._light, "path": str(path.absolute())}
        answer = process.make(request)
        row = {"file": name, "category": self._category, "kind": kind.name, "seed": seed}
        row |= {"light_materials": True} if self._light else {}
        row |= {key: value for key, value in answer.items() if key not in row}
        row |= {"licence": LICENCE, "author": "generated"}
        try:
            labels = {key: row[key] for key in ("size_m", "center")}
            mesh = read(SourceFile(str(path), name, self._category, LICENCE, "", "+Z", "+X", 1.0, labels))
            if mesh.vertex_color is None:
                raise MeshFileError("It has no colours.")
        except KeyError as error:
            path.unlink(missing_ok=True)
            raise ShapeSkippedError(f"the generator did not say its {error.args[0]}") from None
        except Gan3DError as error:
            path.unlink(missing_ok=True)
            raise ShapeSkippedError(error.message) from None
        return row


def _count_from(first: int) -> Iterator[int]:
    while True:
        yield first
        first += 1


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; a last line that a crash has cut off is left out.

    Raises:
        DatasetError: another line is broken: somebody has edited the file.
    """
    if not path.exists():
        return []
    lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif number == len(lines):
            _rewrite(path, rows)
        else:
            raise DatasetError(f"Line {number} of {path} is no JSON object.", "Repair or remove the line.")
    return rows


def _rewrite(path: Path, rows: list[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def _append(path: Path, row: dict[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep two programs from filling one folder.

    Raises:
        DatasetError: another one does.
    """
    locks = Locks(folder / ".lock")
    try:
        if not locks.take("generate"):
            raise DatasetError(f"Another program generates into {folder}.", "Wait for it, or choose another folder.")
        yield
    finally:
        locks.close()

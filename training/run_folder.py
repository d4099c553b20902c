"""A run's folder: the resolved recipe, metrics as lines of JSON and for TensorBoard, findings, sample sheets,
snapshots, and a page about it all."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from PIL import Image

from gan3d_core.errors import TrainingError
from gan3d_core.files import atomic_path, write_text

from .configuration import defaults
from .monitor import Finding
from .report import write_page


def read_snapshot(run: Path) -> dict[str, Any] | None:
    """The snapshot of a run, or None in a new one.

    Raises:
        TrainingError: it cannot be read.
    """
    path = run / "snapshot.pt"
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises whatever it likes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"The snapshot {path} cannot be read ({reason}).") from error


def read_run(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The recipe of a run, as plain data, and its snapshot.

    Raises:
        TrainingError: no run with a snapshot.
    """
    try:
        recipe = json.loads((run / "recipe.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{run} holds no run with a snapshot ({error}).", "Name a run folder.") from None
    state = read_snapshot(run)
    if state is None:
        raise TrainingError(f"The run {run} has no snapshot yet.", "Train it, or name another run folder.")
    return recipe, state


class RunFolder:
    """Open a new run, or one to go on with.

    Args:
        path: the folder. Made if it is not there.
        recipe: the resolved recipe as plain data; a run that is there must have the same, but for `steps`.
        unsaid: what settings are that a run of an earlier version does not name.

    Raises:
        TrainingError: the folder holds something else, or a run of another recipe.
    """

    def __init__(self, path: Path, recipe: dict[str, Any], unsaid: Mapping[str, Any] | None = None) -> None:
        self.path = path
        recipe = json.loads(json.dumps(recipe))  # as it would be read back: tuples are lists there
        there = path / "recipe.json"
        if there.exists():
            old = {**(unsaid or {}), **json.loads(there.read_text("utf-8"))}
            changed = sorted(
                k for k in {*old, *recipe} if old.get(k) != recipe.get(k) and k not in ("steps", "threads")
            )
            if changed:
                raise TrainingError(
                    f"The run in {path} has another recipe ({', '.join(changed)} differ).",
                    "Name a new run folder, or go on with the old recipe.",
                )
        elif path.exists() and any(path.iterdir()):
            raise TrainingError(f"{path} is not empty and no run.", "Name a new run folder.")
        path.mkdir(parents=True, exist_ok=True)
        write_text(there, json.dumps(recipe, indent=2) + "\n")
        self._metrics = _open_lines(path / "metrics.jsonl")
        self._board: Any = None
        self._boarded = True
        self._begin = time.time()

    @classmethod
    def of(cls, path: Path, recipe: Any) -> RunFolder:
        """For a recipe that is a dataclass: a run begun before one of its fields was there is gone on with."""
        return cls(path, dataclasses.asdict(recipe), defaults(type(recipe)))

    def log(self, step: int, values: dict[str, float]) -> None:
        """Append one line of metrics and send it to TensorBoard."""
        self._write(step, {key: round(value, 6) for key, value in values.items()})
        board = self._tensorboard()
        for key, value in values.items():
            board and board.add_scalar(key, value, step)

    def note(self, finding: Finding) -> None:
        """Append a finding to the metrics, send it to TensorBoard, and write the page anew."""
        self._write(finding.step, {"finding": finding.kind, "text": finding.text})
        board = self._tensorboard()
        board and board.add_text(finding.kind, finding.text, finding.step)
        write_page(self.path)

    def drawn(self, step: int) -> None:
        """Send the sheets of a step to TensorBoard, and write the page anew."""
        board = self._tensorboard()
        for path in sorted(self.path.glob(f"*-{step:07d}.png")) if board else []:
            with Image.open(path) as image:
                board.add_image(path.name.rpartition("-")[0], np.asarray(image.convert("RGB")), step, dataformats="HWC")
        write_page(self.path)

    def _write(self, step: int, row: dict[str, Any]) -> None:
        self._metrics.write(json.dumps({"step": step, "time": round(time.time() - self._begin, 2), **row}) + "\n")
        self._metrics.flush()

    def _tensorboard(self) -> Any:
        """TensorBoard's writer; None where it is not installed."""
        if self._board is None and self._boarded:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                self._boarded = False
            else:
                self._board = SummaryWriter(str(self.path / "tensorboard"))
        return self._board

    def sheet_path(self, step: int, kind: str = "samples") -> Path:
        return self.path / f"{kind}-{step:07d}.png"

    def save(self, state: dict[str, Any]) -> None:
        """Replace the snapshot; a crash while writing leaves the earlier one."""
        with atomic_path(self.path / "snapshot.pt") as temporary:
            torch.save(state, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())

    def load(self) -> dict[str, Any] | None:
        """See `read_snapshot`."""
        return read_snapshot(self.path)

    def close(self) -> None:
        self._metrics.close()
        if self._board is not None:
            self._board.close()


def _open_lines(path: Path) -> TextIO:
    """A file of lines to append to; one that a crash has cut off inside a line gets its end."""
    whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
    file = path.open("a", encoding="utf-8")
    if not whole:
        file.write("\n")
    return file


class NoFolder:
    """What the other processes of a run have in the folder's place: they read its snapshot, and write nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log(self, step: int, values: dict[str, float]) -> None:
        pass

    def note(self, finding: Finding) -> None:
        pass

    def drawn(self, step: int) -> None:
        pass

    def save(self, state: dict[str, Any]) -> None:
        pass

    def load(self) -> dict[str, Any] | None:
        return read_snapshot(self.path)

    def close(self) -> None:
        pass

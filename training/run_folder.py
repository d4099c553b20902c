"""A run's folder: the resolved recipe, metrics as lines of JSON and for TensorBoard, sample sheets, snapshots."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch

from gan3d_core.errors import TrainingError
from gan3d_core.files import atomic_path, write_text


class RunFolder:
    """Open a new run, or one to go on with.

    Args:
        path: the folder. Made if it is not there.
        recipe: the resolved recipe as plain data; a run that is there must have the same, but for `steps`.

    Raises:
        TrainingError: the folder holds something else, or a run of another recipe.
    """

    def __init__(self, path: Path, recipe: dict[str, Any]) -> None:
        self.path = path
        there = path / "recipe.json"
        if there.exists():
            old = json.loads(there.read_text("utf-8"))
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
        self._metrics = (path / "metrics.jsonl").open("a", encoding="utf-8")
        self._board: Any = None
        self._begin = time.time()

    def log(self, step: int, values: dict[str, float]) -> None:
        """Append one line of metrics and send it to TensorBoard."""
        row = {"step": step, "time": round(time.time() - self._begin, 2), **{k: round(v, 6) for k, v in values.items()}}
        self._metrics.write(json.dumps(row) + "\n")
        self._metrics.flush()
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.path / "tensorboard"))
        for key, value in values.items():
            self._board.add_scalar(key, value, step)

    def sheet_path(self, step: int, kind: str = "samples") -> Path:
        return self.path / f"{kind}-{step:07d}.png"

    def save(self, state: dict[str, Any]) -> None:
        """Replace the snapshot; a crash while writing leaves the earlier one."""
        with atomic_path(self.path / "snapshot.pt") as temporary:
            torch.save(state, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())

    def load(self) -> dict[str, Any] | None:
        """The snapshot, or None in a new run.

        Raises:
            TrainingError: it cannot be read.
        """
        path = self.path / "snapshot.pt"
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # unpickling raises whatever it likes
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TrainingError(f"The snapshot {path} cannot be read ({reason}).") from error

    def close(self) -> None:
        self._metrics.close()
        if self._board is not None:
            self._board.close()

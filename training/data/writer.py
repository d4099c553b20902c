"""Adding records to a dataset, alone or with other processes at once.

A process claims a shape before it works on it, so no two make the same one, and appends to a shard that no other
process has. Claims and shards are locks that die with their owner. A record is on the disk before it is reported done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gan3d_core.errors import DatasetError

from . import shards
from .locks import Locks
from .store import LOCKS, Entry, shard_paths

SHARD_BYTES = 1 << 30
"""A shard that has grown beyond this gets no more records."""


class Writer:
    """One process's access to a dataset that `store.create` made.

    Args:
        folder: the dataset.
        pictures: names of the arrays that are kept as PNG.
        shard_bytes: see `SHARD_BYTES`.
    """

    def __init__(self, folder: Path, pictures: frozenset[str] = frozenset(), shard_bytes: int = SHARD_BYTES) -> None:
        self._folder, self._pictures, self._shard_bytes = folder, pictures, shard_bytes
        self._locks = Locks(folder / LOCKS)
        self._entries: dict[str, Entry] = {}
        self._seen: dict[str, int] = {}
        self._shard: Path | None = None

    @contextlib.contextmanager
    def claim(self, identity: str) -> Iterator[bool]:
        """Keep a shape to this process for the block; False if another process has it."""
        if not self._locks.take(identity):
            yield False
            return
        try:
            yield True
        finally:
            self._locks.release(identity)

    def find(self, identity: str) -> Entry | None:
        """The entry of a finished record, whichever process wrote it. Sure only of shapes that are claimed."""
        if identity not in self._entries:
            for path in shard_paths(self._folder):
                seen = self._seen.get(path.name, 0)
                if path.stat().st_size == seen:
                    continue
                for head in shards.scan(path, seen):
                    self._entries[head.id] = Entry(**head.entry)
                    self._seen[path.name] = head.end
        return self._entries.get(identity)

    def append(self, entry: Entry, arrays: dict[str, np.ndarray]) -> None:
        """Write a record and have it on the disk.

        Raises:
            DatasetError: the disk is full or fails; nothing of the record stays.
        """
        record = shards.encode(entry.id, dataclasses.asdict(entry), arrays, self._pictures)
        path = self._own_shard()
        try:
            with path.open("r+b", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                try:
                    left = memoryview(record)
                    while left:
                        left = left[file.write(left) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(end)
                    raise
        except OSError as error:
            raise DatasetError(
                f"{path} cannot be written to ({error.strerror}).",
                "Make room and run the same command again: it goes on where it stopped.",
            ) from None
        self._entries[entry.id] = entry

    def close(self) -> None:
        """Give up all claims and the shard."""
        self._locks.close()

    def _own_shard(self) -> Path:
        """The shard this process appends to: one that is not full and that nobody has, or a new one."""
        if self._shard is not None and self._shard.stat().st_size < self._shard_bytes:
            return self._shard
        number = 0
        while not self._adopt(self._folder / "shards" / f"{number:05}.tar"):
            number += 1
        self._shard = self._folder / "shards" / f"{number:05}.tar"
        return self._shard

    def _adopt(self, path: Path) -> bool:
        if not self._locks.take(f"shard {path.name}"):
            return False
        path.parent.mkdir(exist_ok=True)
        path.touch()
        _cut_torn_tail(path)
        if path.stat().st_size < self._shard_bytes:
            return True
        self._locks.release(f"shard {path.name}")
        return False


def _cut_torn_tail(path: Path) -> None:
    """Take away what a killed writer left of an unfinished record."""
    end = 0
    for head in shards.scan(path):
        end = head.end
    if path.stat().st_size > end:
        with path.open("r+b") as file:
            file.truncate(end)

"""What the other processes of `test_store` do. It imports little, so that they start quickly."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np

from training.data.locks import Locks
from training.data.store import Entry, write_manifest
from training.data.writer import Writer

PICTURES = frozenset({"rgba", "depth"})


def entry_of(number: int) -> Entry:
    return Entry(
        id=f"{number:020x}", name=f"chair/{number:06}.obj", category="chair", split="train", licence="CC0-1.0",
        author="somebody", size_m=0.9, faces=12, watertight=True, thin_share=0.0, colored=True,
        labels={"number": number}, source="chairs",
    )  # fmt: skip


def arrays_of(number: int) -> dict[str, np.ndarray]:
    """Other values for every number, and other sizes, as PNG files have."""
    random = np.random.default_rng(number)
    return {
        "grid": random.normal(size=(16, 8, 8)).astype(np.float16),
        "rgba": random.integers(0, 256, (3, 16, 16, 4), dtype=np.uint8) * (np.arange(16) > number % 9)[:, None],
        "depth": random.integers(0, 65536, (3, 16, 16), dtype=np.uint16),
        "points": random.normal(size=(10 + number, 3)).astype(np.float32),
    }


def make_all(folder: Path, count: int, made: Queue) -> None:
    """Make every shape that nobody makes or has made, and say how many those were."""
    writer = Writer(folder, PICTURES, shard_bytes=60_000)
    mine = 0
    left = list(range(count))
    while left:
        number = left.pop(0)
        with writer.claim(entry_of(number).id) as ours:
            if not ours:
                left.append(number)
                time.sleep(0.002)
            elif writer.find(entry_of(number).id) is None:
                time.sleep(0.002)
                writer.append(entry_of(number), arrays_of(number))
                mine += 1
    writer.close()
    write_manifest(folder)
    made.put(mine)


def fill_slowly(folder: Path, pipe: Connection) -> None:
    """Append records for ever and report each one that is done."""
    writer = Writer(folder, PICTURES)
    for number in range(1_000_000):
        with writer.claim(entry_of(number).id):
            writer.append(entry_of(number), arrays_of(number))
        pipe.send(number)


def hold(path: Path, pipe: Connection) -> None:
    """Keep a lock, and say on request which others are free."""
    locks = Locks(path)
    locks.take("chair")
    pipe.send("held")
    pipe.recv()
    pipe.send({name: locks.take(name) for name in ("table", "lamp")})
    time.sleep(1000)

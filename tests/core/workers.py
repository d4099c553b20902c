"""Helpers of the worker's tests."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gan3d_core.worker.client import Limits, WorkerClient
from gan3d_core.worker.events import Cancelled, Done, Event, Failed

FAKE = Path(__file__).with_name("fake_worker.py")
STAGED = Path(__file__).with_name("staged_worker.py")
PATIENCE = 90.0


def fake(*behaviour: str, **limits: float) -> WorkerClient:
    """A client of a worker that misbehaves."""
    return WorkerClient(command=[sys.executable, str(FAKE), *behaviour], limits=Limits(**limits))


def until(client: WorkerClient, found: Callable[[Event], bool]) -> list[Event]:
    """Poll until an event satisfies `found`; every event up to it, and those that came with it."""
    events: list[Event] = []
    deadline = time.monotonic() + PATIENCE
    while not any(found(event) for event in events):
        assert time.monotonic() < deadline, f"it never came; there were {events}"
        time.sleep(0.005)
        events += client.poll()
    return events


def finished(client: WorkerClient) -> list[Event]:
    """Poll until the request ends."""
    return until(client, lambda event: isinstance(event, Done | Cancelled | Failed))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def exists(pid: int) -> bool:
    """Whether a process of this number exists, as a zombie too."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

"""Keep what Blender prints, from C too, out of the terminal and in a file."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def into(log: Path) -> Iterator[None]:
    """Append this process's stdout to `log` meanwhile; stderr stays, since errors belong before the user's eyes."""
    sys.stdout.flush()
    terminal = os.dup(1)
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(terminal, 1)
        os.close(terminal)

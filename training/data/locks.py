"""Locks between processes that share a folder, which the operating system takes back when a process dies."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gan3d_core.errors import DatasetError

_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_POLL = 0.05
"""Seconds between two looks at a lock that somebody else holds."""


class Locks:
    """Any number of named locks in one empty file: a lock is one byte of it, at a place given by the name's hash.

    They keep processes apart, not the parts of one: what a process holds it may take again. A process that is killed
    holds nothing any more.

    Args:
        path: the file; it is made if it is not there, and stays.

    Raises:
        DatasetError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._names: set[str] = set()
        try:
            self._file = _open(self._path)
        except OSError as error:
            raise DatasetError(f"{path.parent} cannot be written to ({error.strerror}).", "Choose another.") from None

    def take(self, name: str) -> bool:
        """Whether the lock is ours now; never waits.

        Raises:
            DatasetError: the file system has no locks.
        """
        try:
            _lock(self._file, _place(name))
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise DatasetError(
                f"The file system of {self._path.parent} cannot lock files ({error.strerror}).",
                "Prepare the dataset on a local disk and copy it.",
            ) from None
        self._names.add(name)
        return True

    def release(self, name: str) -> None:
        if name in self._names:
            self._names.remove(name)
            _unlock(self._file, _place(name))

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Wait for a lock that is held for moments only, and keep it for the block."""
        while not self.take(name):
            time.sleep(_POLL)
        try:
            yield
        finally:
            self.release(name)

    def close(self) -> None:
        """Give everything back."""
        for name in list(self._names):
            self.release(name)
        _close(self._path)


# POSIX drops all of a process's locks on a file as soon as the process closes it anywhere: so a process opens it once.
_files: dict[Path, tuple[int, int]] = {}
"""For each path the open file and how many use it."""


def _open(path: Path) -> int:
    file, users = _files.get(path) or (os.open(path, os.O_RDWR | os.O_CREAT, 0o666), 0)
    _files[path] = file, users + 1
    return file


def _close(path: Path) -> None:
    file, users = _files.pop(path)
    if users > 1:
        _files[path] = file, users - 1
    else:
        os.close(file)


def _place(name: str) -> int:
    """Offset of a name's byte. Two names share one with a chance of 2⁻⁴⁸, and then only wait for each other."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, place: int) -> None:
        os.lseek(file, place, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _unlock(file: int, place: int) -> None:
        os.lseek(file, place, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: int, place: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)

    def _unlock(file: int, place: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, place)

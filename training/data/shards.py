"""The file format of a dataset's shards: records, one after the other, in a tar archive that only grows.

A record is a run of members that share the shape's id: first `ID.json`, the head, with the shape's entry, a table of
its arrays and a checksum; then `ID.NAME.npy` for each array that is kept raw, so that it can be mapped into memory, or
`ID.NAME.000.png` … for the views of each that is kept as pictures. That is WebDataset's layout: tar, NumPy and any
image reader can open a shard without this project.

The head comes first and states the record's length. So a reader finds all records by one small read each; a record is
whole if the file reaches its end; and what a killed writer left behind its last whole record is seen as that, ignored,
and cut off by the next writer. Archives have no end mark, which tar does without.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BLOCK = 512
"""tar's: members begin at multiples of it, so every array is aligned for the processor."""
_FIRST_READ = 8 * BLOCK
_MAGIC, _MAGIC_PLACE = b"ustar", 257
_PNG_DTYPES = {1: ("uint8", "uint16"), 3: ("uint8",), 4: ("uint8",)}
_PNG_LEVEL = 3
"""zlib's; what 6 saves in bytes is not worth its time."""


@dataclasses.dataclass(frozen=True)
class Head:
    """Where a record lies in its shard, and what it holds."""

    id: str
    start: int
    """Offset of the record's first byte in the shard."""
    end: int
    """Offset behind its last one."""
    data: int
    """Offset from which the arrays' offsets count: the end of the head."""
    crc32: int
    """Of everything from `data` to `end`."""
    entry: dict[str, Any]
    arrays: dict[str, dict[str, Any]]
    """For each array its `dtype` and `shape`, and its `offset`, or `png`: (offset, size) of each view."""


def encode(identity: str, entry: dict[str, Any], arrays: dict[str, np.ndarray], pictures: frozenset[str]) -> bytes:
    """A record as bytes to append to a shard.

    Args:
        identity: of letters, digits and dashes.
        entry: whatever JSON can hold.
        arrays: by name; anything but object arrays.
        pictures: names of arrays (N, H, W) or (N, H, W, 3 or 4), uint8 (or uint16 with one channel), that are kept as
            PNG, losslessly, each view for itself.
    """
    body, table = bytearray(), {}
    for name, array in arrays.items():
        row: dict[str, Any] = {"dtype": array.dtype.str, "shape": list(array.shape)}
        if name in pictures:
            row["png"] = []
            for index, view in enumerate(array):
                content = _png(view)
                row["png"].append([_append(body, f"{identity}.{name}.{index:03}.png", content), len(content)])
        else:
            content = _npy(array)
            row["offset"] = _append(body, f"{identity}.{name}.npy", content) + len(content) - array.nbytes
        table[name] = row
    head = {"id": identity, "bytes": len(body), "crc32": zlib.crc32(body), "arrays": table, "entry": entry}
    out = bytearray()
    _append(out, f"{identity}.json", json.dumps(head).encode())
    return bytes(out + body)


def scan(path: Path, start: int = 0) -> Iterator[Head]:
    """The whole records of a shard, in order; `start` must be the end of one.

    Damage inside does not hide what follows: from a place where no record begins, the next beginning is searched. A
    record at the end of the file is checked in full, since that is where a computer that lost its power leaves blocks
    of nothing.
    """
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        position: int | None = start
        while position is not None:
            head = _read_head(file, position, length)
            if head is None or (head.end == length and not intact(path, head)):
                position = _next_member(file, position + BLOCK)
            else:
                yield head
                position = head.end


def read_head(path: Path, start: int) -> Head | None:
    """The whole record that begins at an offset; None where none does."""
    with path.open("rb") as file:
        return _read_head(file, start, os.fstat(file.fileno()).st_size)


def intact(path: Path, head: Head) -> bool:
    """Whether the bytes of a record are those that were written."""
    with path.open("rb") as file:
        file.seek(head.data)
        return zlib.crc32(file.read(head.end - head.data)) == head.crc32


def decode(buffer: memoryview, head: Head, name: str, rows: list[int] | None = None) -> np.ndarray:
    """One array of a record, or some of its rows along the first axis.

    Args:
        buffer: the whole shard, mapped.

    Returns:
        a read-only view of the map where the array is kept raw, and a new array of what is kept as pictures.
    """
    row = head.arrays[name]
    shape, dtype = tuple(row["shape"]), np.dtype(row["dtype"])
    if "png" not in row:
        at = head.data + row["offset"]
        array = np.frombuffer(buffer, dtype, count=int(np.prod(shape)), offset=at).reshape(shape)
        return array if rows is None else array[rows]
    views = range(shape[0]) if rows is None else rows
    out = np.empty((len(views), *shape[1:]), dtype)
    for target, view in zip(out, views, strict=True):
        offset, size = row["png"][view]
        with Image.open(io.BytesIO(buffer[head.data + offset : head.data + offset + size])) as image:
            target[...] = np.asarray(image)
    return out


def _read_head(file: io.BufferedReader, position: int, length: int) -> Head | None:
    file.seek(position)
    block = file.read(_FIRST_READ)
    try:
        member = tarfile.TarInfo.frombuf(block[:BLOCK], "utf-8", "strict")
        if not member.name.endswith(".json") or position + BLOCK + member.size > length:
            return None
        if BLOCK + member.size > len(block):
            block += file.read(BLOCK + member.size - len(block))
        head = json.loads(block[BLOCK : BLOCK + member.size])
        data = position + BLOCK + _padded(member.size)
        found = Head(head["id"], position, data + head["bytes"], data, head["crc32"], head["entry"], head["arrays"])
    except (tarfile.HeaderError, ValueError, KeyError, TypeError):
        return None
    return found if found.end <= length else None


def _next_member(file: io.BufferedReader, position: int) -> int | None:
    """Where, from a multiple of the block size on, something begins that looks like a tar member."""
    chunk = 2048 * BLOCK
    while True:
        file.seek(position)
        blocks = file.read(chunk)
        at = blocks.find(_MAGIC)
        while at >= 0:
            if at % BLOCK == _MAGIC_PLACE:
                return position + at - _MAGIC_PLACE
            at = blocks.find(_MAGIC, at + 1)
        if len(blocks) < chunk:
            return None
        position += chunk


def _append(out: bytearray, name: str, content: bytes) -> int:
    """Add a member and return the offset of its content."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    out += member.tobuf(tarfile.USTAR_FORMAT)
    at = len(out)
    out += content
    out += bytes(_padded(len(content)) - len(content))
    return at


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _npy(array: np.ndarray) -> bytes:
    """The array as an .npy file; NumPy pads the header so that the data begin at a multiple of 64."""
    out = io.BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return out.getvalue()


def _png(view: np.ndarray) -> bytes:
    channels = 1 if view.ndim == 2 else view.shape[2]
    if view.dtype.name not in _PNG_DTYPES.get(channels, ()):
        raise TypeError(f"no PNG holds {view.shape} {view.dtype}")
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(view)).save(out, "PNG", compress_level=_PNG_LEVEL)
    return out.getvalue()

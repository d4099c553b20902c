"""Messages: frames whose body is named numpy arrays, and the vocabulary that worker and client share.

Client → worker: `generate` {request, recipes}, `cancel` {request}, `release`, `ping`, `shutdown`.
Worker → client: `hello` {WorkerInfo's fields}, `progress`, `shape` (with the arrays of a `Shape`), `shape_failed`,
`done`, `cancelled`, `failed` {request or null, error}, `alive` (so that silence means trouble), `released`, `pong`.
No pickle: an array is its dtype, its shape and its bytes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ProtocolError
from .framing import FrameReader, RawReader, RawWriter, pack, write_all

# Name on the wire → little-endian layout. Nothing else crosses the pipe.
DTYPES: dict[str, np.dtype] = {
    "uint8": np.dtype("<u1"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
}
MAX_ARRAYS = 64
MAX_DIMENSIONS = 8


@dataclasses.dataclass(frozen=True)
class Message:
    """One message of either direction."""

    kind: str
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Plain JSON values."""
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        return sum(array.nbytes for array in self.arrays.values())


def write_message(stream: RawWriter, message: Message) -> None:
    """Write one message. Nothing is written if it is not valid.

    Raises:
        ProtocolError: an array's dtype is not one of `DTYPES`, or the message is over a frame's bounds.
    """
    described, parts = [], []
    if len(message.arrays) > MAX_ARRAYS:
        raise ProtocolError(f"A message cannot carry {len(message.arrays)} arrays; {MAX_ARRAYS} is the most.")
    for name, array in message.arrays.items():
        if array.dtype.name not in DTYPES or array.ndim > MAX_DIMENSIONS:
            raise ProtocolError(f"An array of {array.ndim} dimensions of {array.dtype} cannot be sent.")
        described.append({"name": name, "dtype": array.dtype.name, "shape": list(array.shape)})
        parts.append(np.ascontiguousarray(array, dtype=DTYPES[array.dtype.name]))
    header = {**message.fields, "kind": message.kind, "arrays": described}
    write_all(stream, pack(header, sum(part.nbytes for part in parts)))
    for part in parts:
        if part.nbytes:
            write_all(stream, part.reshape(-1).view(np.uint8).data)


class MessageReader:
    """Takes messages off an unbuffered stream."""

    def __init__(self, stream: RawReader) -> None:
        self._frames = FrameReader(stream)

    def read(self) -> Message | None:
        """Wait for the next message; None where the stream ends between two.

        Raises:
            ProtocolError: the bytes are no message; nothing can be read after that.
        """
        frame = self._frames.read()
        if frame is None:
            return None
        header, body = frame
        kind = header.pop("kind")
        return Message(kind, header, _arrays(header.pop("arrays", []), body))


def _arrays(described: Any, body: bytearray) -> dict[str, np.ndarray]:
    if not isinstance(described, list) or len(described) > MAX_ARRAYS:
        raise ProtocolError(f"A frame's arrays must be a list of at most {MAX_ARRAYS}.")
    specs = [_spec(entry) for entry in described]
    named = [name for name, _, _ in specs]
    if len(set(named)) != len(named):
        raise ProtocolError("A frame names one array twice.")
    # Python's integers: no product of hostile dimensions can wrap around.
    expected = sum(dtype.itemsize * math.prod(shape) for _, dtype, shape in specs)
    if expected != len(body):
        raise ProtocolError(f"A frame describes arrays of {expected:,} bytes but carries {len(body):,}.")
    arrays, offset = {}, 0
    for name, dtype, shape in specs:
        count = math.prod(shape)
        flat = np.frombuffer(body, dtype, count, offset) if count else np.zeros(0, dtype)
        native = flat.astype(dtype.newbyteorder("="), copy=False)
        try:
            arrays[name] = native.reshape(shape)
        except ValueError:  # no elements, yet dimensions beyond what numpy can address
            raise ProtocolError(f"A frame's array {name!r} has the shape {shape}, which no array has.") from None
        offset += count * dtype.itemsize
    return arrays


def _spec(entry: Any) -> tuple[str, np.dtype, tuple[int, ...]]:
    if not isinstance(entry, dict) or set(entry) != {"name", "dtype", "shape"}:
        raise ProtocolError("A frame describes an array without exactly name, dtype and shape.")
    name, dtype, shape = entry["name"], entry["dtype"], entry["shape"]
    if not isinstance(name, str) or not 0 < len(name) <= 64:
        raise ProtocolError("A frame has an array without a usable name.")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ProtocolError(f"A frame's array {name!r} has the dtype {str(dtype)[:40]!r}, which is not allowed.")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise ProtocolError(f"A frame's array {name!r} has no usable shape.")
    if not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise ProtocolError(f"A frame's array {name!r} has the shape {str(shape)[:40]}, which no array has.")
    return name, DTYPES[dtype], tuple(shape)

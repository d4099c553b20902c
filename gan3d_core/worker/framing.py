"""Frames: how a JSON header and raw bytes lie on a pipe. Standard library only, since the worker's first words may be
that numpy is missing.

    offset  size  content
    0       4     magic "GN3D"
    4       2     version of the protocol, unsigned
    6       2     zero
    8       4     length H of the header, unsigned
    12      8     length B of the body, unsigned
    20      H     header: a JSON object, UTF-8
    20 + H  B     body: the bytes of the arrays that the header describes, one after another

All integers are little-endian. Every length is checked against its bound before anything is allocated.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Protocol

from ..errors import ProtocolError

MAGIC = b"GN3D"
VERSION = 1
MAX_HEADER = 1 << 20
"""1 MiB: a request of many recipes needs a tenth of it."""
MAX_BODY = 256 << 20
"""256 MiB: the largest shape a recipe allows (500,000 faces, 4096² images) needs less than half of it."""

_PREFIX = struct.Struct("<4sHHIQ")
_CHUNK = 1 << 16
_SAMPLE = 120


class RawReader(Protocol):
    """An unbuffered binary stream, such as `open(fd, "rb", buffering=0)`."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...


class RawWriter(Protocol):
    """An unbuffered binary stream; `write` may take only a part."""

    def write(self, data: memoryview, /) -> int | None: ...


def pack(header: dict[str, Any], body_length: int = 0) -> bytes:
    """The prefix and header of one frame; `body_length` bytes must follow.

    Raises:
        ProtocolError: the header or the body is longer than a frame may be.
    """
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode("utf-8")
    _check_lengths(len(text), body_length)
    return _PREFIX.pack(MAGIC, VERSION, 0, len(text), body_length) + text


def write_all(stream: RawWriter, data: bytes | memoryview) -> None:
    """Write every byte, however many calls an unbuffered stream wants for it."""
    rest = memoryview(data).cast("B") if len(data) else memoryview(b"")
    while rest:
        rest = rest[stream.write(rest) or 0 :]


class FrameReader:
    """Takes frames off an unbuffered stream. It never waits for more bytes than it needs to reject rubbish."""

    def __init__(self, stream: RawReader) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._chunk = bytearray(_CHUNK)

    def read(self) -> tuple[dict[str, Any], bytearray] | None:
        """Wait for the next frame.

        Returns:
            Its header and body, or None where the stream ends between two frames.

        Raises:
            ProtocolError: the bytes are no frame, or the stream ends inside one. Nothing can be read after that.
        """
        while len(self._buffer) < _PREFIX.size:
            if not MAGIC.startswith(self._buffer[: len(MAGIC)]):
                raise ProtocolError(f"The worker's pipe carries something that is no GAN3D frame: {self._sample()}.")
            if not self._fill():
                if not self._buffer:
                    return None
                raise ProtocolError(f"The pipe ended inside a frame, after {len(self._buffer)} bytes.")
        magic, version, zero, header_length, body_length = _PREFIX.unpack_from(self._buffer)
        if magic != MAGIC:
            raise ProtocolError(f"The worker's pipe carries something that is no GAN3D frame: {self._sample()}.")
        if version != VERSION or zero != 0:
            raise ProtocolError(
                f"The other end speaks version {version} of the protocol; this one speaks {VERSION}.",
                "Install the same version of GAN3D at both ends.",
            )
        _check_lengths(header_length, body_length)
        del self._buffer[: _PREFIX.size]
        header = _parse(self._take(header_length))
        return header, self._take(body_length)

    def _fill(self) -> bool:
        count = self._stream.readinto(memoryview(self._chunk)) or 0
        self._buffer += self._chunk[:count]
        return count > 0

    def _take(self, length: int) -> bytearray:
        """The next `length` bytes: first those read already, then straight from the stream without a copy."""
        data = bytearray(length)
        have = min(length, len(self._buffer))
        data[:have] = self._buffer[:have]
        del self._buffer[:have]
        view = memoryview(data)
        while have < length:
            count = self._stream.readinto(view[have:]) or 0
            if not count:
                raise ProtocolError(f"The pipe ended inside a frame: {have} of {length} bytes came.")
            have += count
        return data

    def _sample(self) -> str:
        return sample(bytes(self._buffer[:_SAMPLE]))


def sample(data: bytes) -> str:
    """The printable part of some bytes, quoted, for an error message."""
    text = "".join(c if c.isprintable() else " " for c in data.decode("utf-8", "replace").replace("\ufffd", " "))
    text = " ".join(text.split())
    return repr(text) if text else f"bytes {data[:16].hex(' ')}"


def _check_lengths(header: int, body: int) -> None:
    if header > MAX_HEADER:
        raise ProtocolError(f"A frame's header of {header:,} bytes is over the limit of {MAX_HEADER:,}.")
    if body > MAX_BODY:
        raise ProtocolError(f"A frame's body of {body:,} bytes is over the limit of {MAX_BODY:,}.")


def _parse(text: bytearray) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ProtocolError(f"A frame's header is not valid JSON: {sample(bytes(text[:_SAMPLE]))}.") from None
    if not isinstance(header, dict) or not isinstance(header.get("kind"), str):
        raise ProtocolError(f"A frame's header is no JSON object with a kind: {sample(bytes(text[:_SAMPLE]))}.")
    return header


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON")

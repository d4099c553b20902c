"""Frames and messages: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import io
import json
import struct

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan3d_core.errors import EmptyShapeError, Gan3DError, ProtocolError
from gan3d_core.recipe import Recipe
from gan3d_core.shape import Shape
from gan3d_core.worker import events, framing, protocol, vocabulary


class Pipe(io.RawIOBase):
    """A stream that hands out and takes at most `step` bytes at a time, as pipes do."""

    def __init__(self, data: bytes = b"", step: int = 1 << 20) -> None:
        self.data = bytearray(data)
        self.step = step
        self.asked = 0

    def readinto(self, buffer):
        self.asked = max(self.asked, len(buffer))
        count = min(len(buffer), len(self.data), self.step)
        buffer[:count] = self.data[:count]
        del self.data[:count]
        return count

    def write(self, data):
        part = bytes(data[: self.step])
        self.data += part
        return len(part)


def frame(content: object, payload: bytes = b"", /, **changes: int) -> bytes:
    """A frame made by hand, so that its parts can be wrong."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    prefix = {"version": framing.VERSION, "zero": 0, "header": len(text), "body": len(payload), **changes}
    return struct.pack("<4sHHIQ", framing.MAGIC, *prefix.values()) + text + payload


def read(data: bytes, step: int = 1 << 20) -> protocol.Message | None:
    return protocol.MessageReader(Pipe(data, step)).read()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
any_arrays = st.sampled_from(sorted(protocol.DTYPES)).flatmap(
    lambda name: arrays.arrays(name, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)
messages = st.builds(
    protocol.Message,
    st.text(min_size=1, max_size=20),
    st.dictionaries(st.text().filter(lambda name: name not in ("kind", "arrays")), json_values, max_size=4),
    st.dictionaries(st.text(min_size=1, max_size=64), any_arrays, max_size=5),
)


@given(st.lists(messages, max_size=4), st.integers(1, 40))
def test_messages_come_out_as_they_went_in(sent, step):
    pipe = Pipe(step=step)
    for message in sent:
        protocol.write_message(pipe, message)
    reader = protocol.MessageReader(pipe)
    for message in sent:
        got = reader.read()
        assert got is not None
        assert got.kind == message.kind
        assert got.fields == message.fields
        assert list(got.arrays) == list(message.arrays)
        for name, array in message.arrays.items():
            assert got.arrays[name].dtype == array.dtype
            assert got.arrays[name].shape == array.shape
            assert got.arrays[name].tobytes() == array.tobytes()
    assert reader.read() is None


@given(messages, st.data())
def test_a_truncated_frame_is_an_error(message, data):
    pipe = Pipe()
    protocol.write_message(pipe, message)
    whole = bytes(pipe.data)
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(ProtocolError, match="ended inside a frame"):
        read(whole[:cut])


@given(st.binary(min_size=1, max_size=300).filter(lambda data: data[:4] != framing.MAGIC), st.integers(1, 40))
def test_any_other_bytes_are_refused(data, step):
    with pytest.raises(ProtocolError):
        read(data, step)


@given(messages, st.data())
def test_a_changed_byte_never_raises_anything_else(message, data):
    pipe = Pipe()
    protocol.write_message(pipe, message)
    changed = bytearray(pipe.data)
    place = data.draw(st.integers(0, len(changed) - 1))
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        got = read(bytes(changed))
    except ProtocolError:
        return
    assert got is not None


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"Loading CUDA kernels ...\n", "Loading CUDA kernels"),
        (b"Go!\n", "Go!"),
        (b"\x00\xff\xfe\x01", "00 ff fe 01"),
        ("Größe: 3".encode(), "Größe: 3"),
        (frame({"kind": "done"}, version=7), "version 7"),
        (frame({"kind": "done"}, zero=1), "version"),
        (frame(b"", header=framing.MAX_HEADER + 1), f"{framing.MAX_HEADER + 1:,}"),
        (frame({"kind": "done"}, body=framing.MAX_BODY + 1), f"{framing.MAX_BODY + 1:,}"),
        (frame({"kind": "done"}, body=2**64 - 1), f"{2**64 - 1:,}"),
        (frame(b"{not json"), "{not json"),
        (frame(b'{"kind": "a", "x": NaN}'), "NaN"),
        (frame(b"\xff\xfe{\x00}\x00"), "JSON"),
        (frame(b"[" * 100_000), "JSON"),
        (frame([1, 2]), "kind"),
        (frame({"type": "done"}), "kind"),
        (frame({"kind": 3}), "kind"),
        (frame({"kind": "x", "arrays": 3}), "arrays must be a list"),
        (frame({"kind": "x", "arrays": [{}] * 65}), "at most 64"),
        (frame({"kind": "x", "arrays": [{"name": "a", "dtype": "uint8"}]}), "name, dtype and shape"),
        (frame({"kind": "x", "arrays": [{"name": "a", "dtype": "object", "shape": [1]}]}), "'object'"),
        (frame({"kind": "x", "arrays": [{"name": "a", "dtype": ">f8", "shape": [1]}]}), "'>f8'"),
        (frame({"kind": "x", "arrays": [{"name": "", "dtype": "uint8", "shape": [1]}]}), "usable name"),
        (frame({"kind": "x", "arrays": [{"name": "a", "dtype": "uint8", "shape": [-1]}]}), r"[-1]"),
        (frame({"kind": "x", "arrays": [{"name": "a", "dtype": "uint8", "shape": [True]}]}), "True"),
        (frame({"kind": "x", "arrays": [{"name": "a", "dtype": "uint8", "shape": "8"}]}), "usable shape"),
        (frame({"kind": "x", "arrays": [{"name": "a", "dtype": "uint8", "shape": [2**31]}]}), "which no array has"),
        (frame({"kind": "x", "arrays": [{"name": "a", "dtype": "uint8", "shape": [0] + [2**31 - 1] * 7}]}), "no array"),
        (frame({"kind": "x", "arrays": [{"name": "a", "dtype": "float32", "shape": [3]}]}, b"12345678"), "12 bytes"),
        (frame({"kind": "x"}, b"12345678"), "carries 8"),
        # 2³¹−1 cubed wraps around in 64 bits; in Python it does not.
        (
            frame({"kind": "x", "arrays": [{"name": "a", "dtype": "uint8", "shape": [2**31 - 1] * 3}]}, b"1"),
            "carries 1",
        ),
        (frame({"kind": "x", "arrays": [{"name": "a", "dtype": "uint8", "shape": [1]}] * 2}, b"12"), "twice"),
    ],
)
def test_what_is_no_frame_is_refused_and_shown(data, seen):
    with pytest.raises(ProtocolError) as caught:
        read(data)
    assert seen in str(caught.value)


def test_rubbish_is_refused_without_waiting_for_more():
    class Open(Pipe):
        def readinto(self, buffer):
            assert self.data, "it waited for bytes that will never come"
            return super().readinto(buffer)

    with pytest.raises(ProtocolError, match="'Hm'"):
        protocol.MessageReader(Open(b"Hm")).read()


@pytest.mark.parametrize("changes", [{"header": 2**32 - 1}, {"body": 2**63}])
def test_lengths_are_checked_before_anything_is_allocated(changes):
    pipe = Pipe(frame({"kind": "x"}, **changes))
    with pytest.raises(ProtocolError, match="over the limit"):
        protocol.MessageReader(pipe).read()
    assert pipe.asked <= 1 << 16


@pytest.mark.parametrize(
    "message",
    [
        protocol.Message("x", {}, {"a": np.array([object()])}),
        protocol.Message("x", {}, {"a": np.zeros(3, np.complex64)}),
        protocol.Message("x", {}, {str(i): np.zeros(1, np.uint8) for i in range(65)}),
        protocol.Message("x", {"text": "a" * (framing.MAX_HEADER + 1)}),
    ],
)
def test_what_may_not_be_sent_writes_nothing(message):
    pipe = Pipe()
    with pytest.raises(ProtocolError):
        protocol.write_message(pipe, message)
    assert not pipe.data


def tetrahedron() -> Shape:
    return Shape(
        vertices=np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32),
        faces=np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32),
        uvs=np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 3, 2),
        base_color=np.arange(48, dtype=np.uint8).reshape(4, 4, 3),
        roughness=np.full((4, 4), 128, np.uint8),
        metallic=np.zeros((4, 4), np.uint8),
    )


INFO = events.WorkerInfo(1, "3.11.9", "/usr/bin/python3", "2.13.0", "cpu", "CPU", "0.1.0")
RECIPE = Recipe("test", seed=5, checkpoint_hash="0123456789abcdef")
EVENTS = [
    events.Started(INFO),
    events.Progress(3, 1, 4, "unwrap", 0.25, None),
    events.Progress(3, 1, 4, "unwrap", 0.25, 12.5),
    events.ShapeReady(3, 0, 4, tetrahedron(), RECIPE, {"load": 1.5, "bake": 0.25}),
    events.ShapeFailed(3, 2, 4, RECIPE, EmptyShapeError("Nothing.")),
    events.Done(3),
    events.Cancelled(3),
    events.Failed(3, EmptyShapeError("Nothing.")),
    events.Failed(None, Gan3DError("Something.")),
]


def through_the_pipe(message: protocol.Message) -> protocol.Message:
    pipe = Pipe()
    protocol.write_message(pipe, message)
    got = protocol.MessageReader(pipe).read()
    assert got is not None
    return got


def comparable(event):
    """Errors and arrays do not compare by value."""
    parts = {**vars(event)}
    if "error" in parts:
        parts["error"] = (type(parts["error"]), parts["error"].to_dict())
    if "shape" in parts:
        parts["shape"] = {name: (a.dtype, a.shape, a.tobytes()) for name, a in parts["shape"].arrays().items()}
    return type(event), parts


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_survives_the_pipe(event):
    got = vocabulary.read_event(through_the_pipe(vocabulary.write_event(event)))
    assert comparable(got) == comparable(event)


def required(event):
    return [name for name in vocabulary.write_event(event).fields if name not in ("eta_s",)]


@pytest.mark.parametrize(
    ("event", "field", "value"),
    [
        (event, field, value)
        for event in EVENTS
        for field in required(event)
        for value in (None, -1, True, [1], {"a": []})
        if not (isinstance(event, events.Failed) and field == "request" and value is None)
        and not (field == "error" and isinstance(value, dict))
    ],
)
def test_a_field_of_another_type_is_refused(event, field, value):
    message = vocabulary.write_event(event)
    changed = protocol.Message(message.kind, {**message.fields, field: value}, message.arrays)
    with pytest.raises(ProtocolError):
        vocabulary.read_event(through_the_pipe(changed))


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {**tetrahedron().arrays(), "more": np.zeros(1, np.uint8)},
        {**tetrahedron().arrays(), "faces": np.full((4, 3), 9, np.int32)},
        {**tetrahedron().arrays(), "vertices": np.full((4, 3), np.nan, np.float32)},
    ],
)
def test_arrays_that_are_no_shape_are_refused(arrays):
    message = vocabulary.write_event(EVENTS[3])
    with pytest.raises(ProtocolError):
        vocabulary.read_event(protocol.Message("shape", message.fields, arrays))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ProtocolError, match="'dance'"):
        vocabulary.read_event(protocol.Message("dance", {"request": 1, "index": 0, "count": 1}))

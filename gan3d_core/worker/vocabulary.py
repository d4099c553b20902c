"""Events as messages and back: what the worker writes is what the client reads. Reading is strict."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..errors import Gan3DError, ProtocolError
from ..recipe import Recipe
from ..shape import Shape
from .events import Cancelled, Done, Event, Failed, Progress, ShapeFailed, ShapeReady, Started, WorkerInfo
from .protocol import Message

_MAX_TEXT = 8000


def write_event(event: Event) -> Message:
    """The message of one event."""
    if isinstance(event, Started):
        return Message("hello", dataclasses.asdict(event.info))
    if isinstance(event, Progress):
        return Message("progress", dataclasses.asdict(event))
    if isinstance(event, ShapeReady):
        fields = {"recipe": event.recipe.to_dict(), "timings": event.timings}
        return Message("shape", {**_place(event), **fields}, event.shape.arrays())
    if isinstance(event, ShapeFailed):
        fields = {"recipe": event.recipe.to_dict(), "error": _error(event.error)}
        return Message("shape_failed", {**_place(event), **fields})
    if isinstance(event, Failed):
        return Message("failed", {"request": event.request, "error": _error(event.error)})
    return Message("done" if isinstance(event, Done) else "cancelled", {"request": event.request})


def read_event(message: Message) -> Event:
    """The event of one message.

    Raises:
        ProtocolError: an unknown kind, a field that is missing or of another type, or arrays that are no shape.
    """
    fields = _Fields(message)
    if message.kind == "hello":
        texts = {
            name: fields.text(name) for name in ("python", "executable", "torch", "device", "device_name", "version")
        }
        return Started(WorkerInfo(pid=fields.count("pid"), **texts))
    if message.kind == "failed":
        return Failed(None if message.fields.get("request") is None else fields.count("request"), fields.error())
    request = fields.count("request")
    if message.kind == "done":
        return Done(request)
    if message.kind == "cancelled":
        return Cancelled(request)
    index, count = fields.count("index"), fields.count("count")
    if message.kind == "progress":
        eta = None if message.fields.get("eta_s") is None else fields.number("eta_s")
        return Progress(request, index, count, fields.text("stage"), min(1.0, fields.number("fraction")), eta)
    if message.kind == "shape":
        return ShapeReady(request, index, count, fields.shape(), fields.recipe(), fields.timings())
    if message.kind == "shape_failed":
        return ShapeFailed(request, index, count, fields.recipe(), fields.error())
    raise ProtocolError(f"The worker sent a message of unknown kind {message.kind[:40]!r}.")


def _place(event: ShapeReady | ShapeFailed) -> dict[str, Any]:
    return {"request": event.request, "index": event.index, "count": event.count}


def _error(error: Gan3DError) -> dict[str, str]:
    return {name: text[:_MAX_TEXT] for name, text in error.to_dict().items()}


class _Fields:
    """The fields of a message, checked as they are read."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def count(self, name: str) -> int:
        value = self._message.fields.get(name)
        if type(value) is not int or not 0 <= value < 2**63:
            raise self._wrong(name)
        return value

    def number(self, name: str) -> float:
        return self._non_negative(name, self._message.fields.get(name))

    def text(self, name: str) -> str:
        value = self._message.fields.get(name)
        if not isinstance(value, str):
            raise self._wrong(name)
        return value

    def timings(self) -> dict[str, float]:
        value = self._message.fields.get("timings")
        if not isinstance(value, dict):
            raise self._wrong("timings")
        return {str(stage): self._non_negative("timings", seconds) for stage, seconds in value.items()}

    def error(self) -> Gan3DError:
        value = self._message.fields.get("error")
        if not isinstance(value, dict):
            raise self._wrong("error")
        return Gan3DError.from_dict(value)

    def recipe(self) -> Recipe:
        try:
            return Recipe.from_dict(self._message.fields.get("recipe"))
        except Gan3DError as error:
            raise ProtocolError(f"The worker sent a recipe that is none: {error.message}") from None

    def shape(self) -> Shape:
        try:
            return Shape(**self._message.arrays)
        except TypeError:
            raise ProtocolError("The worker sent a shape with missing or unknown arrays.") from None
        except Gan3DError as error:
            raise ProtocolError(f"The worker sent a shape that is none: {error.message}") from None

    def _non_negative(self, name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
            raise self._wrong(name)
        return float(value)

    def _wrong(self, name: str) -> ProtocolError:
        return ProtocolError(f"The worker's {self._message.kind[:40]!r} message lacks a valid {name!r}.")

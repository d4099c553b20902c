"""A worker that misbehaves in the way its argument names. It imports no torch, so it starts at once."""

from __future__ import annotations

import dataclasses
import io
import os
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import gan3d_core
from gan3d_core.recipe import Recipe
from gan3d_core.shape import Shape
from gan3d_core.worker import events, framing
from gan3d_core.worker.protocol import Message, MessageReader, write_message
from gan3d_core.worker.vocabulary import write_event

stdin, stdout = io.FileIO(0, "rb"), io.FileIO(1, "wb")
reader = MessageReader(stdin)
INFO = events.WorkerInfo(os.getpid(), "3", sys.executable, "0", "cpu", "CPU", gan3d_core.__version__)


def send(event: events.Event) -> None:
    write_message(stdout, write_event(event))


def take() -> Message:
    message = reader.read()
    if message is None:
        sys.exit(0)
    return message


def shape(side: int = 64) -> Shape:
    image = np.zeros((side, side), np.uint8)
    return Shape(
        np.eye(3, dtype=np.float32),
        np.array([[0, 1, 2]], np.int32),
        np.zeros((1, 3, 2), np.float32),
        np.zeros((side, side, 3), np.uint8),
        image,
        image,
    )


def obedient() -> None:
    """Answers every request at once."""
    while True:
        message = take()
        if message.kind == "generate":
            answer(message)


def answer(message: Message, side: int = 64) -> None:
    request, recipes = message.fields["request"], message.fields["recipes"]
    for index, recipe in enumerate(recipes):
        send(events.Progress(request, index, len(recipes), "bake", index / len(recipes), None))
        send(events.ShapeReady(request, index, len(recipes), shape(side), Recipe.from_dict(recipe), {}))
    send(events.Done(request))


def before_hello(how: str) -> None:
    """Go wrong before a word is said."""
    if how == "dies":
        sys.stderr.write("No kernel image is available.\n")
        sys.exit(3)
    if how == "prints":
        stdout.write(b"Welcome to the shell!\n")
    if how == "wrong-version":
        stdout.write(struct.pack("<4sHHIQ", framing.MAGIC, framing.VERSION + 1, 0, 2, 0) + b"{}")
    if how == "old":
        send(events.Started(dataclasses.replace(INFO, version="0.0.1")))
    time.sleep(60)


def in_request(how: str) -> None:
    """Go wrong in the middle of the first request, after its first shape."""
    message = take()
    request, count = message.fields["request"], len(message.fields["recipes"])
    recipe = Recipe.from_dict(message.fields["recipes"][0])
    send(events.ShapeReady(request, 0, count, shape(), recipe, {}))
    if how == "dies":
        sys.stderr.write("Segmentation fault\n")
        sys.stderr.flush()
        os._exit(139)
    if how == "prints":
        stdout.write(b"epoch 3 | loss 0.25\n")
    if how == "closes":
        os.close(1)
    if how == "long-header":
        stdout.write(struct.pack("<4sHHIQ", framing.MAGIC, framing.VERSION, 0, 2**31, 0))
    if how == "long-body":
        stdout.write(struct.pack("<4sHHIQ", framing.MAGIC, framing.VERSION, 0, 2, 2**40) + b"{}")
    if how == "malformed":
        stdout.write(struct.pack("<4sHHIQ", framing.MAGIC, framing.VERSION, 0, 5, 0) + b"{kind")
    if how == "no-shape":
        write_message(stdout, Message("shape", {"request": request, "index": 1, "count": count}))
    if how == "other-request":
        send(events.Done(request + 7))
    if how == "other-index":
        send(events.ShapeReady(request, count, count, shape(), recipe, {}))
    if how == "twice":
        send(events.Started(INFO))
    if how == "half":
        stdout.write(framing.MAGIC + b"\1")
        os._exit(0)
    while how == "alive":
        write_message(stdout, Message("alive"))
        time.sleep(0.05)
    time.sleep(60)


def main(when: str, how: str) -> None:
    if when == "start":
        before_hello(how)
    send(events.Started(INFO))
    if when == "request":
        in_request(how)
    if when == "idle":
        os._exit(5)
    if when == "deaf":
        time.sleep(60)
    if when == "flood":
        answer(take(), side=1024)
    if when == "talks":
        sys.stderr.write("".join(f"line {number} {'x' * 100}\n" for number in range(5000)))
        sys.stderr.flush()
    obedient()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")

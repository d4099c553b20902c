"""A worker without torch that sends a shape only when it is let: `patient_worker.py GATE`.

GATE is a file with the number of shapes it may send in all. Its shapes are boxes as wide as their seed says, with
random textures. It obeys `cancel` at once.
"""

from __future__ import annotations

import io
import os
import queue
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from boxes import box

import gan3d_core
from gan3d_core.recipe import Recipe
from gan3d_core.worker import events
from gan3d_core.worker.protocol import Message, MessageReader, write_message
from gan3d_core.worker.vocabulary import write_event

GATE = Path(sys.argv[1])
stdin, stdout = io.FileIO(0, "rb"), io.FileIO(1, "wb")
inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()


def send(event: events.Event) -> None:
    write_message(stdout, write_event(event))


def listen() -> None:
    reader = MessageReader(stdin)
    while (message := reader.read()) is not None:
        inbox.put(message)
    inbox.put(None)


def allowed() -> int:
    return int(GATE.read_text() or 0)


def work(request: int, recipes: list[Recipe], sent: int) -> int:
    for index, recipe in enumerate(recipes):
        send(events.Progress(request, index, len(recipes), "bake", index / len(recipes), 3.0))
        while allowed() <= sent:
            time.sleep(0.01)
            if not inbox.empty():
                message = inbox.get()
                if message is None:
                    sys.exit(0)
                if message.kind == "cancel":
                    send(events.Cancelled(request))
                    return sent
        resolved = recipe.replace(checkpoint_hash="0123456789abcdef")
        send(events.ShapeReady(request, index, len(recipes), box(recipe.seed), resolved, {"bake": 0.1}))
        sent += 1
    send(events.Done(request))
    return sent


if __name__ == "__main__":
    threading.Thread(target=listen, daemon=True).start()
    send(events.Started(events.WorkerInfo(os.getpid(), "3", sys.executable, "0", "cpu", "CPU", gan3d_core.__version__)))
    sent = 0
    while (message := inbox.get()) is not None:
        if message.kind == "generate":
            recipes = [Recipe.from_dict(each) for each in message.fields["recipes"]]
            sent = work(message.fields["request"], recipes, sent)

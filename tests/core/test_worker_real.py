"""The real worker: a process with torch that streams shapes, obeys, and survives whatever does not concern it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from workers import STAGED, exists, finished, until, wait_until

from gan3d_core.errors import (
    CheckpointError,
    DeviceError,
    EmptyShapeError,
    InternalError,
    OutOfMemoryError,
    ProtocolError,
    RecipeError,
    WorkerDiedError,
    WorkerTimeoutError,
)
from gan3d_core.pipeline import Pipeline
from gan3d_core.progress import STAGES
from gan3d_core.recipe import Recipe
from gan3d_core.worker.client import Limits, WorkerClient
from gan3d_core.worker.events import Cancelled, Done, Failed, Progress, ShapeFailed, ShapeReady, Started
from gan3d_core.worker.framing import pack
from gan3d_core.worker.protocol import Message, MessageReader, write_message
from gan3d_core.worker.vocabulary import read_event

BALL = Recipe("test-ball", resolution=16, target_faces=200, texture_size=64)


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    """The file that tells `staged_worker.py` what to do."""
    return tmp_path_factory.mktemp("control") / "stage"


@pytest.fixture(scope="module")
def command(control, checkpoint_dir):
    return [sys.executable, str(STAGED), str(control), "--device", "cpu", "--checkpoints", str(checkpoint_dir)]


@pytest.fixture(scope="module")
def shared(command):
    """One worker for the tests that leave it alive."""
    client = WorkerClient(command=command)
    yield client
    client.stop()


@pytest.fixture
def client(shared, control):
    """The shared worker, ready and ordinary."""
    control.write_text("")
    shared.poll()
    return shared


def slow(control, stage: str) -> None:
    control.write_text(f"{stage} slow")


def running(client: WorkerClient, stage: str):
    return until(client, lambda event: isinstance(event, Progress) and event.stage == stage)


def test_shapes_are_streamed_as_they_finish_and_are_those_of_the_pipeline(client, checkpoint_dir):
    recipes = [BALL.replace(seed=seed) for seed in (1, 2, 3)]
    events = list(client.run(recipes))
    shapes = [event for event in events if isinstance(event, ShapeReady)]
    progress = [event for event in events if isinstance(event, Progress)]
    assert isinstance(events[-1], Done)
    assert [event.index for event in shapes] == [0, 1, 2]
    taken = [recipe.replace(attempt=0) for recipe in recipes]
    assert [event.recipe.replace(checkpoint_hash="") for event in shapes] == taken
    for event in shapes:
        # Its own words come between the end of its own work and the beginning of the next.
        place = events.index(event)
        assert all(each.index <= event.index for each in events[:place] if isinstance(each, Progress))
        assert all(each.index > event.index for each in events[place:] if isinstance(each, Progress))
        assert set(event.timings) == set(STAGES)
    fractions = [event.fraction for event in progress]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < 0.05
    assert fractions[-1] > 0.9
    assert all(event.eta_s is None for event in progress if event.index == 0)
    assert all(event.eta_s is not None for event in progress if event.index > 0)
    for event in shapes:
        alone = Pipeline("cpu", [checkpoint_dir]).generate(event.recipe)
        assert alone.recipe == event.recipe
        for name, array in alone.shape.arrays().items():
            np.testing.assert_array_equal(event.shape.arrays()[name], array)
    assert not np.array_equal(shapes[0].shape.vertices, shapes[1].shape.vertices)


def test_the_worker_says_who_it_is(client):
    list(client.run([BALL]))
    assert client.info is not None
    assert client.info.executable == sys.executable
    assert client.info.python == ".".join(map(str, sys.version_info[:3]))
    assert client.info.device == "cpu"
    assert client.info.torch[0].isdigit()
    assert exists(client.info.pid)


def test_a_seed_without_a_surface_fails_alone(client):
    empty = Recipe("test-empty", resolution=16)
    events = list(client.run([BALL, empty, BALL.replace(seed=9)]))
    kinds = [type(event) for event in events if not isinstance(event, Progress | Started)]
    assert kinds == [ShapeReady, ShapeFailed, ShapeReady, Done]
    (failed,) = [event for event in events if isinstance(event, ShapeFailed)]
    assert (failed.index, failed.count, failed.recipe) == (1, 3, empty)
    assert isinstance(failed.error, EmptyShapeError)


@pytest.mark.parametrize(
    ("recipe", "error"),
    [
        (BALL.replace(checkpoint="missing"), CheckpointError),
        (BALL.replace(checkpoint_hash="0123456789abcdef"), RecipeError),
    ],
)
def test_a_bad_recipe_ends_the_request_not_the_worker(client, recipe, error):
    list(client.run([BALL]))
    pid = client.info.pid
    events = list(client.run([BALL, recipe, BALL]))
    assert len([event for event in events if isinstance(event, ShapeReady)]) == 1
    assert type(events[-1].error) is error
    assert isinstance(list(client.run([BALL]))[-1], Done)
    assert client.info.pid == pid


@pytest.mark.parametrize("stage", STAGES)
def test_cancel_is_obeyed_at_each_stage_and_keeps_the_worker(client, control, stage):
    list(client.run([BALL]))
    client.release()  # so that there is something to load
    pid = client.info.pid
    slow(control, stage)
    request = client.generate([BALL] * 2)
    running(client, stage)
    client.cancel()
    assert finished(client)[-1] == Cancelled(request)
    assert client.state == "ready"
    assert client.last_error is None
    control.write_text("")
    assert isinstance(list(client.run([BALL]))[-1], Done)
    assert client.info.pid == pid


def test_a_cancel_between_two_shapes_keeps_the_first(client, control):
    request = client.generate([BALL] * 50)
    events = until(client, lambda event: isinstance(event, ShapeReady))
    client.cancel()
    events += finished(client)
    assert events[-1] == Cancelled(request)
    made = [event.index for event in events if isinstance(event, ShapeReady)]
    assert made == list(range(len(made)))
    assert 1 <= len(made) < 50


def test_prints_of_libraries_stay_out_of_the_protocol(client, control):
    control.write_text("clean print")
    assert isinstance(list(client.run([BALL]))[-1], Done)
    wait_until(lambda: "a child process prints" in client.stderr_tail, "the print was lost")
    assert "a library prints" in client.stderr_tail
    assert "a C library prints" in client.stderr_tail


def test_a_bug_is_an_internal_error_with_its_place(client, control):
    list(client.run([BALL]))
    pid = client.info.pid
    control.write_text("decimate crash")
    failure = list(client.run([BALL]))[-1]
    assert isinstance(failure.error, InternalError)
    assert "ZeroDivisionError: a bug" in failure.error.message
    assert "staged_worker.py" in failure.error.message
    control.write_text("")
    assert isinstance(list(client.run([BALL]))[-1], Done)
    assert client.info.pid == pid


def test_release_drops_the_models_and_keeps_the_worker(client):
    list(client.run([BALL]))
    before, pid = client.stderr_tail.count("models released"), client.info.pid
    client.release()
    wait_until(lambda: client.stderr_tail.count("models released") > before, "nothing was released")
    assert isinstance(list(client.run([BALL]))[-1], Done)
    assert client.info.pid == pid


@pytest.mark.parametrize("kind", ["memory", "tensors"])
def test_out_of_memory_is_typed_and_survived(client, control, kind):
    list(client.run([BALL]))
    pid, released = client.info.pid, client.stderr_tail.count("models released")
    control.write_text(f"generate {kind}")
    failure = list(client.run([BALL]))[-1]
    assert isinstance(failure, Failed)
    assert isinstance(failure.error, OutOfMemoryError)
    wait_until(lambda: client.stderr_tail.count("models released") > released, "no memory was given back")
    control.write_text("")
    assert isinstance(list(client.run([BALL]))[-1], Done)
    assert client.info.pid == pid


def test_a_killed_or_hung_worker_is_reported_and_replaced(command, control):
    client = WorkerClient(command=command)
    slow(control, "decimate")
    request = client.generate([BALL])
    first, *_ = running(client, "decimate")
    os.kill(first.info.pid, signal.SIGKILL)
    failure = finished(client)[-1]
    assert failure.request == request
    assert isinstance(failure.error, WorkerDiedError)
    assert "SIGKILL" in failure.error.message
    assert client.state == "stopped"
    wait_until(lambda: not exists(first.info.pid), "a zombie remained")

    client.generate([BALL])
    second, *_ = running(client, "decimate")
    assert second.info.pid != first.info.pid
    client.limits = Limits(silence=3.0)
    os.kill(second.info.pid, signal.SIGSTOP)
    failure = finished(client)[-1]
    assert isinstance(failure.error, WorkerTimeoutError)
    wait_until(lambda: not exists(second.info.pid), "the hung worker was not killed, or is a zombie")

    control.write_text("")
    client.limits = Limits()
    assert isinstance(list(client.run([BALL]))[-1], Done)
    client.stop()


@pytest.fixture
def pipes(command, control):
    """A worker without a client: its process, what reads its messages and what writes to it."""
    control.write_text("")
    process = subprocess.Popen(
        [*command, "--idle-release", "0.1"],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    reader = MessageReader(process.stdout)
    assert reader.read().kind == "hello"
    yield process, reader
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()


def next_of(reader: MessageReader, *kinds: str) -> Message:
    while (message := reader.read()).kind not in kinds:
        pass
    return message


def test_a_busy_worker_answers_refuses_a_second_request_and_ends_with_its_input(pipes, control):
    process, reader = pipes
    slow(control, "bake")
    write_message(process.stdin, Message("generate", {"request": 1, "recipes": [BALL.to_dict()]}))
    while reader.read().fields.get("stage") != "bake":
        pass
    write_message(process.stdin, Message("ping"))
    assert next_of(reader, "pong", "done").kind == "pong"
    write_message(process.stdin, Message("generate", {"request": 2, "recipes": [BALL.to_dict()]}))
    refused = read_event(next_of(reader, "failed", "done"))
    assert refused.request == 2
    assert refused.error.code == "busy"
    write_message(process.stdin, Message("cancel", {"request": 2}))  # not the one that runs
    assert next_of(reader, "alive", "cancelled").kind == "alive"
    process.stdin.close()
    assert process.wait(timeout=30) == 0


def test_an_idle_worker_drops_its_models_and_a_shutdown_ends_it(pipes):
    process, reader = pipes
    write_message(process.stdin, Message("generate", {"request": 1, "recipes": [BALL.to_dict()]}))
    next_of(reader, "done")
    for line in process.stderr:
        if line.strip() == b"models released":
            break
    else:
        pytest.fail("the worker ended")
    write_message(process.stdin, Message("shutdown"))
    assert process.wait(timeout=30) == 0


# The real server without its imports of torch, which starts at once.
LIGHT = """
import runpy, sys
bootstrap = runpy.run_path(sys.argv[1])
streams = bootstrap["take_streams"]()
bootstrap["load_package"]()
from gan3d_core.pipeline import Pipeline
from gan3d_core.worker.events import WorkerInfo
from gan3d_core.worker.server import Server
Server(Pipeline("cpu"), *streams).serve(WorkerInfo(1, "", "", "", "cpu", "", ""))
"""


@pytest.mark.parametrize(
    ("rubbish", "seen"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1"),
        (b"GN3D\x09\0\0\0" + bytes(12), "version 9"),
        (pack({"kind": "dance"}), "'dance'"),
        (pack({"kind": "generate", "recipes": []}), "number of its request"),
        (pack({"kind": "cancel", "request": "1"}), "number of its request"),
    ],
)
def test_a_client_that_talks_rubbish_is_told_and_left(rubbish, seen):
    bootstrap = STAGED.parents[2] / "gan3d_core" / "worker" / "bootstrap.py"
    command = [sys.executable, "-c", LIGHT, str(bootstrap)]
    with subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        reader = MessageReader(process.stdout)
        assert reader.read().kind == "hello"
        process.stdin.write(rubbish)
        event = read_event(next_of(reader, "failed"))
        assert event.request is None
        assert isinstance(event.error, ProtocolError)
        assert seen in event.error.message
        assert process.wait(timeout=30) == 2


def test_a_device_that_does_not_exist_is_said_at_the_start(checkpoint_dir):
    client = WorkerClient(python=sys.executable, device="cuda:99", checkpoint_dirs=[checkpoint_dir])
    failure = list(client.run([BALL]))[-1]
    assert isinstance(failure, Failed)
    assert isinstance(failure.error, DeviceError)
    assert "cuda:99" in failure.error.message


def test_no_thread_remains(client):
    list(client.run([BALL]))
    client.stop()
    assert client.poll() == []
    wait_until(lambda: not any(t.name.startswith("gan3d-") for t in threading.enumerate()), "a thread remained")

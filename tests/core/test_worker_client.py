"""The client against workers that fail in every way: each gives one typed error, and the next request works."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from workers import FAKE, exists, fake, finished, until, wait_until

from gan3d_core.errors import (
    ProtocolError,
    RecipeError,
    WorkerBusyError,
    WorkerDiedError,
    WorkerStartError,
    WorkerTimeoutError,
)
from gan3d_core.recipe import Recipe
from gan3d_core.request import MAX_COUNT
from gan3d_core.worker import process
from gan3d_core.worker.client import Limits, WorkerClient
from gan3d_core.worker.events import Cancelled, Done, Failed, Progress, ShapeReady, Started

RECIPES = [Recipe("test", seed=seed) for seed in range(3)]
# Short limits only where running into one is the test, since a loaded machine is slow at everything.
SHORT = {
    ("start", "sleeps"): {"start": 1.0},
    ("request", "sleeps"): {"silence": 1.0},
    ("request", "alive"): {"stage": 1.0},
}


@pytest.fixture
def no_leftovers():
    """After the test no process and no thread of a worker remains."""
    yield
    wait_until(lambda: not list(process._living), "a worker process remained")
    wait_until(lambda: not any(t.name.startswith("gan3d-") for t in threading.enumerate()), "a thread remained")


pytestmark = pytest.mark.usefixtures("no_leftovers")


def test_requests_are_answered_one_after_another_by_one_worker():
    client = fake("obeys")
    assert client.state == "stopped"
    first = list(client.run(RECIPES))
    second = list(client.run(RECIPES[:1]))
    assert client.state == "ready"
    client.stop()
    assert [type(event) for event in first] == [Started, *[Progress, ShapeReady] * 3, Done]
    assert [type(event) for event in second] == [Progress, ShapeReady, Done]
    assert [event.recipe for event in first if isinstance(event, ShapeReady)] == RECIPES
    assert first[-1].request < second[-1].request
    assert client.state == "stopped"


@pytest.mark.parametrize(
    ("behaviour", "error", "seen"),
    [
        (("start", "dies"), WorkerStartError, ["exit code 3", "No kernel image is available."]),
        (("start", "prints"), ProtocolError, ["Welcome to the shell!"]),
        (("start", "wrong-version"), ProtocolError, ["version 2"]),
        (("start", "old"), WorkerStartError, ["0.0.1"]),
        (("start", "sleeps"), WorkerTimeoutError, ["not ready within 1 s"]),
        (("request", "dies"), WorkerDiedError, ["exit code 139", "Segmentation fault"]),
        (("request", "prints"), ProtocolError, ["epoch 3 | loss 0.25"]),
        (("request", "closes"), WorkerDiedError, ["closed its pipes"]),
        (("request", "long-header"), ProtocolError, [f"{2**31:,}"]),
        (("request", "long-body"), ProtocolError, [f"{2**40:,}"]),
        (("request", "malformed"), ProtocolError, ["{kind"]),
        (("request", "no-shape"), ProtocolError, ["arrays"]),
        (("request", "other-request"), ProtocolError, ["request 8"]),
        (("request", "other-index"), ProtocolError, ["shape 3"]),
        (("request", "twice"), ProtocolError, ["twice"]),
        (("request", "half"), ProtocolError, ["inside a frame"]),
        (("request", "sleeps"), WorkerTimeoutError, ["no sign of life for 1 s"]),
        (("request", "alive"), WorkerTimeoutError, ["no progress for 1 s"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_every_failure_is_one_typed_error_and_the_next_request_works(behaviour, error, seen):
    client = fake(*behaviour, **SHORT.get(behaviour, {}))
    request = client.generate(RECIPES)
    events = finished(client)
    failure = events[-1]
    assert isinstance(failure, Failed)
    assert type(failure.error) is error
    assert failure.request == request
    assert all(text in str(failure.error) for text in seen), str(failure.error)
    assert failure.error.hint
    assert client.last_error is failure.error
    assert client.state == "stopped"
    assert client.request is None
    # What was finished before the failure has been delivered.
    assert len([event for event in events if isinstance(event, ShapeReady)]) == (behaviour[0] == "request")
    assert client.poll() == []
    client._command = [sys.executable, str(FAKE), "obeys"]
    client.limits = Limits()
    client.generate(RECIPES)
    assert isinstance(finished(client)[-1], Done)
    assert client.last_error is None
    client.stop()


@pytest.mark.parametrize("program", ["/nonexistent/python", "", "."])
def test_a_program_that_does_not_exist_is_an_event_not_an_exception(program):
    client = WorkerClient(python=program)
    request = client.generate(RECIPES)
    (failure,) = client.poll()
    assert isinstance(failure, Failed)
    assert isinstance(failure.error, WorkerStartError)
    assert failure.request == request
    assert repr(program) in failure.error.message
    assert client.state == "stopped"


def test_the_death_of_an_idle_worker_is_reported_once_and_the_next_request_works():
    client = fake("idle")
    client.start()
    *_, failure = until(client, lambda event: isinstance(event, Failed))
    assert failure.request is None
    assert isinstance(failure.error, WorkerDiedError)
    assert "exit code 5" in failure.error.message
    assert client.poll() == []
    client._command[2] = "obeys"
    assert isinstance(list(client.run(RECIPES))[-1], Done)
    client.stop()


def test_a_second_request_is_refused_while_one_runs_or_waits_for_the_start():
    client = fake("request", "sleeps", stop=0.1)
    client.generate(RECIPES)
    with pytest.raises(WorkerBusyError):
        client.generate(RECIPES)
    until(client, lambda event: isinstance(event, ShapeReady))
    assert client.state == "busy"
    with pytest.raises(WorkerBusyError):
        client.generate(RECIPES)
    client.stop()
    assert isinstance(finished(client)[-1], Cancelled)


@pytest.mark.parametrize("recipes", [[], RECIPES[:1] * (MAX_COUNT + 1)])
def test_a_request_without_recipes_or_with_too_many_is_refused(recipes):
    client = fake("obeys")
    with pytest.raises(RecipeError):
        client.generate(recipes)
    assert client.state == "stopped"


def test_a_cancel_that_is_not_obeyed_kills_the_worker():
    client = fake("request", "alive", cancel=0.3)
    request = client.generate(RECIPES)
    started, *_ = until(client, lambda event: isinstance(event, ShapeReady))
    client.cancel()
    client.cancel()
    assert client.cancelling
    events = finished(client)
    assert events == [Cancelled(request)]
    assert client.state == "stopped"
    assert client.last_error is None
    wait_until(lambda: not exists(started.info.pid), "the worker was not killed, or is a zombie")


def test_a_cancel_before_the_worker_is_ready_keeps_the_worker():
    client = fake("obeys")
    request = client.generate(RECIPES)
    client.cancel()
    assert client.poll() == [Cancelled(request)]
    assert client.state == "starting"
    assert isinstance(list(client.run(RECIPES))[-1], Done)
    client.stop()


def test_nothing_to_cancel_release_or_stop_is_no_error():
    client = fake("obeys")
    client.cancel()
    client.release()
    client.stop()
    assert client.poll() == []


def test_a_deaf_worker_never_blocks_the_caller():
    """Its input pipe is full: 256 recipes are more than a pipe holds."""
    client = fake("deaf", silence=1.0)
    client.start()
    until(client, lambda event: isinstance(event, Started))
    client.generate([Recipe("x" * 500)] * MAX_COUNT)
    for _ in range(50):
        client.release()
    failure = finished(client)[-1]
    assert isinstance(failure, Failed)
    assert isinstance(failure.error, WorkerTimeoutError)


def test_a_fast_worker_fills_no_memory_while_nobody_polls():
    """Fifty shapes of 5 MiB wait in the worker, not here; and that wait is not taken for silence."""
    client = fake("flood", silence=0.5)
    client.generate([Recipe("test")] * 50)
    until(client, lambda event: isinstance(event, Started))
    inbox = client._process._inbox
    wait_until(lambda: inbox._waiting, "the reader never had to wait")
    time.sleep(1.0)
    assert inbox._waiting
    assert inbox._nbytes < process.INBOX_BYTES + (6 << 20)
    events = finished(client)
    assert isinstance(events[-1], Done)
    assert [event.index for event in events if isinstance(event, ShapeReady)] == list(range(50))
    client.stop()


def test_time_in_which_nobody_polls_is_not_held_against_the_worker():
    client = fake("request", "sleeps", silence=1.5, stop=0.1)
    client.generate(RECIPES)
    until(client, lambda event: isinstance(event, ShapeReady))
    time.sleep(2.0)
    assert client.poll() == []
    assert client.state == "busy"
    client.stop()
    client.poll()


def test_a_talkative_worker_neither_blocks_nor_fills_memory():
    client = fake("talks")
    assert isinstance(list(client.run(RECIPES))[-1], Done)
    wait_until(lambda: "line 4999" in client.stderr_tail, "the last line never came")
    assert len(client.stderr_tail) <= process.STDERR_LINES * process.STDERR_LINE_BYTES
    client.stop()


def test_leaving_the_loop_early_cancels_the_request():
    client = fake("request", "alive", cancel=0.2)
    for event in client.run(RECIPES):
        if isinstance(event, ShapeReady):
            break
    wait_until(lambda: client.request is None, "the request goes on")
    client.stop()


def test_stop_ends_the_worker_and_the_request():
    client = fake("request", "alive", stop=0.2)
    request = client.generate(RECIPES)
    started, *_ = until(client, lambda event: isinstance(event, ShapeReady))
    client.stop()
    assert client.poll() == [Cancelled(request)]
    wait_until(lambda: not exists(started.info.pid), "the worker lives on, or is a zombie")


def test_an_interpreter_that_ends_leaves_no_worker():
    code = (
        "import sys, time; sys.path[:0] = sys.argv[1:3]\n"
        "from workers import fake, until\n"
        "from gan3d_core.worker.events import Started\n"
        "client = fake('deaf'); client.start()\n"
        "print(until(client, lambda event: isinstance(event, Started))[0].info.pid)\n"
    )
    command = [sys.executable, "-c", code, str(FAKE.parent), str(FAKE.parents[2])]
    pid = int(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    wait_until(lambda: not exists(pid), "the worker outlived its client")


def test_the_light_half_imports_no_torch():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import gan3d_core.worker.client, gan3d_core.worker.setup, gan3d_core.request, gan3d_core.pipeline\n"
        "heavy = {'torch', 'scipy', 'trimesh', 'skimage', 'xatlas', 'safetensors', 'PIL'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(FAKE.parents[2])], check=True, timeout=60)

"""The worker as seen from Blender: start it, ask it for shapes, and poll. Nothing here waits, and nothing raises for
trouble in the worker: that comes as a `Failed` event with a typed error.

    client = WorkerClient()
    request = client.generate([Recipe("chair-3dgan", seed=seed) for seed in range(4)])
    for event in client.poll():   # again and again, from a timer
        ...

A worker that died or was stopped is started anew by the next request.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ..errors import CancelledError, Gan3DError, ProtocolError, RecipeError, WorkerBusyError, WorkerStartError
from ..recipe import Recipe
from ..request import MAX_COUNT
from . import environment, failures
from .events import Cancelled, Done, Event, Failed, ShapeFailed, ShapeReady, Started, WorkerInfo
from .limits import STANDARD, Limits, PatientClock
from .process import WorkerProcess
from .protocol import Message
from .vocabulary import read_event

_LAST_WORDS_S = 0.5


class WorkerClient:
    """One worker process and the one request that it may be working on.

    Args:
        python: the Python to run the worker in; None searches for one that has what it takes.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        checkpoint_dirs: folders of checkpoints beyond the shipped ones.
        limits: how long things may take.
        command: the whole command line of a worker instead, such as `ssh host python3 …/bootstrap.py`.
    """

    def __init__(
        self,
        python: str | None = None,
        device: str = "auto",
        checkpoint_dirs: Sequence[str] = (),
        limits: Limits = STANDARD,
        command: Sequence[str] | None = None,
    ) -> None:
        self.limits = limits
        self._python = python
        self._device = device
        self._checkpoint_dirs = tuple(str(folder) for folder in checkpoint_dirs)
        self._command = None if command is None else list(command)
        self._search: environment.PythonSearch | None = None
        self._process: WorkerProcess | None = None
        self._info: WorkerInfo | None = None
        self._last_error: Gan3DError | None = None
        self._stderr = ""
        self._events: list[Event] = []
        self._next_request = 1
        self._request: int | None = None
        self._recipes: list[Recipe] = []
        self._sent = False
        self._now = PatientClock()
        self._started_at = self._progress_at = self._silent_since = 0.0
        self._heard_at = 0.0
        self._cancel_at: float | None = None
        self._exited_at: float | None = None

    @property
    def state(self) -> str:
        """`stopped`, `starting`, `ready` or `busy`, as of the last call."""
        if self._process is None and self._search is None:
            return "stopped"
        if self._info is None:
            return "starting"
        return "ready" if self._request is None else "busy"

    @property
    def request(self) -> int | None:
        """The request that is not finished yet, waiting for the worker's start or running."""
        return self._request

    @property
    def cancelling(self) -> bool:
        """Whether `cancel` was called and the worker has not obeyed yet."""
        return self._cancel_at is not None

    @property
    def info(self) -> WorkerInfo | None:
        """Who the running worker is; None unless it is `ready` or `busy`."""
        return self._info

    @property
    def last_error(self) -> Gan3DError | None:
        """The error of the last failure; None again once a request has succeeded."""
        return self._last_error

    @property
    def stderr_tail(self) -> str:
        """The last lines that the worker, or the last one that lived, wrote to stderr."""
        return self._process.stderr_tail if self._process is not None else self._stderr

    def start(self) -> None:
        """Start the worker unless it runs already. Returns at once; `Started` or `Failed` follows."""
        if self.state != "stopped":
            return
        self._started_at = self._now.tick()
        if self._command is not None:
            self._launch(self._command)
        elif self._python is not None:
            self._launch(environment.worker_command(self._python, self._device, self._checkpoint_dirs))
        else:
            self._search = environment.PythonSearch()

    def generate(self, recipes: Sequence[Recipe]) -> int:
        """Ask for one shape per recipe, starting the worker if need be. Returns at once.

        Returns:
            The request's number, which its events carry.

        Raises:
            WorkerBusyError: another request is not finished.
            RecipeError: no recipe, or more than a request may hold.
        """
        if self._request is not None:
            raise WorkerBusyError("The worker is busy with another request.")
        if not 0 < len(recipes) <= MAX_COUNT:
            raise RecipeError(f"A request must hold 1 … {MAX_COUNT} recipes, not {len(recipes)}.")
        request = self._next_request
        self._next_request += 1
        self._request, self._recipes, self._sent = request, list(recipes), False
        self.start()
        self._send_request()
        return request

    def cancel(self) -> None:
        """Ask for the end of the request; `Cancelled` follows, within `limits.cancel` at the latest."""
        if self._request is None or self._cancel_at is not None:
            return
        if not self._sent:  # the worker has not heard of it
            self._finish(Cancelled(self._request))
            return
        assert self._process is not None
        self._process.send(Message("cancel", {"request": self._request}))
        self._cancel_at = self._now.tick()

    def release(self) -> None:
        """Let the worker drop its models (after the request, if one runs). It stays alive."""
        if self._process is not None and self._info is not None:
            self._process.send(Message("release"))

    def stop(self) -> None:
        """End the worker; a request that runs is `Cancelled`. Returns at once."""
        if self._search is not None:
            self._search.cancel()
            self._search = None
        if self._process is not None:
            self._process.send(Message("shutdown"))
            self._drop(self.limits.stop)
        if self._request is not None:
            self._finish(Cancelled(self._request))

    def poll(self) -> list[Event]:
        """Everything that happened since the last call. Never waits, never raises for trouble in the worker."""
        now = self._now.tick()
        self._poll_search()
        if self._process is not None:
            self._receive(self._process)
        if self._process is not None:
            self._check_life(self._process)
        if self._process is not None or self._search is not None:
            self._check_limits(now)
        events, self._events = self._events, []
        return events

    def run(self, recipes: Sequence[Recipe], interval: float = 0.02) -> Iterator[Event]:
        """Ask for shapes and wait: yields each event up to the `Done`, `Cancelled` or `Failed` that ends the request.

        Leaving the loop early, by an exception too, cancels the request.
        """
        request = self.generate(recipes)
        try:
            while True:
                for event in self.poll():
                    yield event
                    if isinstance(event, Done | Cancelled | Failed):
                        return
                time.sleep(interval)
        finally:
            if self._request == request:
                self.cancel()
                while self._request == request:
                    self.poll()
                    time.sleep(interval)

    def _poll_search(self) -> None:
        if self._search is None or (result := self._search.poll()) is None:
            return
        tried, self._search = self._search.tried, None
        if result.usable:
            self._launch(environment.worker_command(result.python, self._device, self._checkpoint_dirs))
        else:
            reasons = " ".join(each.explain() for each in tried) or result.explain()
            self._fail(
                WorkerStartError(
                    f"No Python that can run the worker was found. {reasons}",
                    "Set the worker up in the add-on's preferences, or choose its Python there.",
                )
            )

    def _launch(self, command: Sequence[str]) -> None:
        try:
            self._process = WorkerProcess(command, environment.clean_environment())
        except (OSError, ValueError) as error:
            self._fail(failures.cannot_launch(command[0] if command else "", error))
            return
        self._stderr = ""
        self._exited_at = None
        self._heard_at = self._process.heard_at

    def _send_request(self) -> None:
        if self._request is None or self._info is None or self._process is None:
            return
        recipes = [recipe.to_dict() for recipe in self._recipes]
        self._process.send(Message("generate", {"request": self._request, "recipes": recipes}))
        self._sent = True
        self._silent_since = self._progress_at = self._now.tick()

    def _receive(self, process: WorkerProcess) -> None:
        for item in process.receive():
            if isinstance(item, ProtocolError):
                self._fail(item)
            else:
                self._understand(item)
            if self._process is not process:
                return

    def _understand(self, message: Message) -> None:
        if message.kind in ("alive", "pong", "released"):
            return
        try:
            event = read_event(message)
        except ProtocolError as error:
            self._fail(error)
            return
        if isinstance(event, Started):
            self._welcome(event)
        elif isinstance(event, Failed) and event.request is None:
            self._fail(event.error)
        elif event.request != self._request or not self._sent:
            self._fail(ProtocolError(f"The worker answered request {event.request}, which is not running."))
        elif isinstance(event, Done | Cancelled | Failed):
            self._finish(event)
        elif isinstance(event, ShapeReady | ShapeFailed) and event.index >= len(self._recipes):
            self._fail(ProtocolError(f"The worker sent shape {event.index}, which was not asked for."))
        else:
            self._progress_at = self._now.tick()
            self._events.append(event)

    def _welcome(self, event: Started) -> None:
        problem = failures.wrong_version(event.info)
        if self._info is not None:
            problem = ProtocolError("The worker introduced itself twice.")
        if problem is not None:
            self._fail(problem)
            return
        self._info = event.info
        self._events.append(event)
        self._send_request()

    def _check_life(self, process: WorkerProcess) -> None:
        """Notice its end: the process's or its output's. The rest of either gets a moment to follow, for a better
        message; it may never come, where a child of the worker holds the pipes open."""
        exited = process.exit_code is not None
        if not exited and not process.output_ended:
            return
        if self._exited_at is None:
            self._exited_at = time.monotonic()
        whole = exited and process.output_ended and process.errors_ended
        if not whole and time.monotonic() - self._exited_at < _LAST_WORDS_S:
            return
        self._receive(process)  # what came between the last look and the end
        if self._process is process:
            self._fail(failures.ended(process, starting=self._info is None))

    def _check_limits(self, now: float) -> None:
        if self._process is not None and self._process.heard_at != self._heard_at:
            self._heard_at, self._silent_since = self._process.heard_at, now
        limits = self.limits
        if self._cancel_at is not None and now - self._cancel_at > limits.cancel:
            assert self._request is not None
            self._drop(0.0)
            self._finish(Cancelled(self._request))
        elif self._info is None and now - self._started_at > limits.start:
            self._fail(failures.slow_start(limits.start, self.stderr_tail))
        elif self._sent and now - self._silent_since > limits.silence:
            self._fail(failures.silent(limits.silence))
        elif self._sent and now - self._progress_at > limits.stage:
            self._fail(failures.stuck(limits.stage))

    def _fail(self, error: Gan3DError) -> None:
        """Get rid of the worker and report."""
        self._drop(0.0)
        self._finish(Failed(self._request, error))

    def _finish(self, event: Done | Cancelled | Failed) -> None:
        if isinstance(event, Failed) and not isinstance(event.error, CancelledError):
            self._last_error = event.error
        elif isinstance(event, Done):
            self._last_error = None
        self._request, self._recipes, self._sent, self._cancel_at = None, [], False, None
        self._events.append(event)

    def _drop(self, grace: float) -> None:
        if self._process is not None:
            self._stderr = self._process.stderr_tail
            if grace > 0:
                self._process.end(grace)
            else:
                self._process.kill()
        self._process = None
        self._info = None

"""The one worker of this Blender, the request that runs in it, and how its results reach the scene.

All of it lives in Python and nothing in the .blend: a file opened tomorrow must not claim that a worker is running.
Nothing blocks: `pump` looks whether something has happened and returns. In a window a timer calls it; a script or a
test calls it itself, or lets `Session.finish` call it until the request has ended.
"""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Callable, Sequence

import bpy

from gan3d_core.errors import Gan3DError, InternalError, RecipeError, WorkerBusyError
from gan3d_core.recipe import Recipe
from gan3d_core.worker import events
from gan3d_core.worker.client import WorkerClient

from . import preferences, scene, windows
from .pythons import Pythons

BUSY_INTERVAL = 0.1
"""Seconds between two looks at the worker while something runs."""
IDLE_INTERVAL = 1.0
"""The same while the worker is up and idle: only its death can happen."""


@dataclasses.dataclass
class Job:
    """One click: its recipes, where the results belong, and how far it is."""

    recipes: list[Recipe]
    title: str
    """Of the category, for object names."""
    scene_uid: int
    targets: list[int] | None = None
    """`session_uid` of the object each recipe belongs to, for "Regenerate"; None makes new objects."""
    selection: tuple[frozenset[int], int] = (frozenset(), 0)
    """What was selected when the job began or when its last result was placed."""
    request: int = 0
    stage: str = "start"
    index: int = 0
    fraction: float = 0.0
    eta_s: float | None = None
    placed: int = 0
    failed: int = 0
    timings: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """Seconds by stage of each finished shape."""
    cancelling: bool = False
    discard: bool = False
    """Its file has been closed: nothing may be placed any more."""
    began: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def count(self) -> int:
        return len(self.recipes)


@dataclasses.dataclass(frozen=True)
class Finished:
    """A shape that has arrived and is not in the scene yet."""

    job: Job
    event: events.ShapeReady


class Session:
    """Runtime state of the add-on. There is one, see `get`."""

    def __init__(self) -> None:
        self.client: WorkerClient | None = None
        self.job: Job | None = None
        self.pending: Job | None = None
        """A click that came while the previous request was still being cancelled."""
        self.waiting: list[Finished] = []
        """Shapes that arrived in Edit Mode or during a drag; they are placed when it ends."""
        self.error: Gan3DError | None = None
        self.summary = ""
        """What the last finished request did, in a few words."""
        self.last: Job | None = None
        """The request that ended last, with its timings."""
        self.pythons = Pythons()
        self._settings: tuple[object, ...] = ()

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def busy(self) -> bool:
        return self.job is not None

    def generate(
        self,
        recipes: Sequence[Recipe],
        title: str,
        target_scene: bpy.types.Scene,
        targets: Sequence[bpy.types.Object] | None = None,
    ) -> Job:
        """Send a request and return at once; the worker is started when it is not up.

        Args:
            recipes: at least one.
            title: begins the names of new objects, such as `Chair`.
            target_scene: receives new objects.
            targets: objects whose meshes are replaced instead, one for each recipe.

        Raises:
            WorkerBusyError: a request runs already.
            WorkerStartError: there is no Python to start a worker with.
        """
        if not recipes:
            raise RecipeError("There is nothing to generate.")
        if self.pending or (self.job and not self.job.cancelling):
            raise WorkerBusyError("GAN3D is still generating.")
        job = Job(
            recipes=list(recipes),
            title=title,
            scene_uid=target_scene.session_uid,
            targets=None if targets is None else [thing.session_uid for thing in targets],
            selection=scene.selection(target_scene),
        )
        self.error, self.summary = None, ""
        if self.job:
            self.pending = job
        else:
            self._send(job)
        _watch()
        return job

    def _send(self, job: Job) -> None:
        client = self._client()
        job.request = client.generate(job.recipes)
        self.job = job

    def cancel(self) -> None:
        """Ask the running request to end. Shapes that have arrived stay."""
        self.pending = None
        if self.job and self.client and not self.job.cancelling:
            self.job.cancelling = True
            self.client.cancel()

    def close_file(self) -> None:
        """The file is about to be replaced: end what belongs to it."""
        self.waiting.clear()
        self.cancel()
        if self.job:
            self.job.discard = True

    def start_worker(self) -> None:
        """Start a fresh worker with the preferences as they are, to see whether they work."""
        if self.busy:
            raise WorkerBusyError("GAN3D is still generating.")
        self.stop()
        self.error = None
        self._client().start()
        _watch()

    def want_python(self) -> None:
        """The interface would like to know which Python the worker would get. Looks for it, once, without waiting."""
        if self.pythons.found is None and not self.pythons.running:
            self.pythons.look(preferences.python())
            _watch()

    def set_up(self) -> None:
        """Begin to install an environment for the worker."""
        self.error = None
        self.pythons.set_up()
        _watch()

    def error_report(self) -> str:
        """The last error for a bug report: the sentence, and the worker's last words."""
        parts = [str(self.error) if self.error else ""]
        if self.client and self.client.stderr_tail:
            parts.append(self.client.stderr_tail)
        return "\n\n".join(part for part in parts if part)

    def stop(self) -> None:
        """End the worker and forget what it was doing. Safe to call at any time."""
        client, self.client = self.client, None
        self.job = self.pending = None
        self.waiting.clear()
        if client:
            client.stop()

    def _client(self) -> WorkerClient:
        """The worker's client; a new one when the preferences have changed since."""
        settings = preferences.worker_settings()
        key = tuple(sorted((name, str(value)) for name, value in settings.items()))
        if self.client and key != self._settings:
            self.client.stop()
            self.client = None
        if not self.client:
            self.client, self._settings = WorkerClient(**settings), key
        return self.client

    # ── listening ─────────────────────────────────────────────────────────────────────────────────────────────────

    def pump(self) -> bool:
        """Take in what has happened since the last call; whether anything has. Never blocks."""
        news = self.client.poll() if self.client else []
        for event in news:
            self._take(event)
        placed = self._place_waiting()
        return self._pump_pythons() or bool(news) or placed

    def _pump_pythons(self) -> bool:
        try:
            return self.pythons.poll()
        except Gan3DError as error:
            self.error = error
            return True

    def _take(self, event: events.Event) -> None:
        job = self.job
        if isinstance(event, events.Started):
            return
        if isinstance(event, events.Failed) and event.request is None:
            self.error = event.error
            return
        if job is None or event.request != job.request:
            return  # the tail of a request that was given up
        if isinstance(event, events.Progress):
            job.index, job.stage = event.index, event.stage
            job.fraction, job.eta_s = event.fraction, event.eta_s
        elif isinstance(event, events.ShapeReady):
            job.timings.append(event.timings)
            if not job.discard:
                self.waiting.append(Finished(job, event))
        elif isinstance(event, events.ShapeFailed):
            job.failed += 1
            self.error = event.error
        elif isinstance(event, events.Done | events.Cancelled | events.Failed):
            self._end(job, event)

    def _end(self, job: Job, event: events.Done | events.Cancelled | events.Failed) -> None:
        self.job, self.last = None, job
        if isinstance(event, events.Failed) and not job.discard:
            self.error = event.error
        finished = len(job.timings)
        seconds = time.monotonic() - job.began
        how = "Cancelled" if isinstance(event, events.Cancelled) else "Finished"
        if not job.discard:
            self.summary = f"{how}: {finished} of {job.count} in {seconds:.1f} s"
        pending, self.pending = self.pending, None
        if pending:
            try:
                self._send(pending)
            except Gan3DError as error:
                self.error = error

    def _place_waiting(self) -> bool:
        """Put finished shapes into the scene, one undo step each; not while the artist edits or drags something."""
        if not self.waiting or not windows.may_change_scene():
            return False
        while self.waiting:
            finished = self.waiting.pop(0)
            try:
                self._place(finished.job, finished.event)
            except Exception as error:  # a bug must not end the timer and leave the panel "busy" for ever
                self.error = InternalError(f"A shape could not be placed: {error}\n{traceback.format_exc()}")
        return True

    def _place(self, job: Job, event: events.ShapeReady) -> None:
        if job.targets is not None:
            thing = scene.object_by_uid(job.targets[event.index])
            if thing is None:
                return  # deleted in the meantime, so nobody waits for it
            scene.replace_shape(thing, event.shape, event.recipe)
            windows.push_undo(f"Regenerate {thing.name}")
        else:
            target = scene.scene_by_uid(job.scene_uid)
            # Somebody who has selected something else since works on that: leave the selection alone.
            select = scene.selection(target) == job.selection
            if select and not job.placed:
                scene.deselect_all(target)
            name = scene.object_name(job.title, event.recipe)
            thing = scene.add_shape(target, event.shape, event.recipe, name, select)
            if select:
                job.selection = scene.selection(target)
            windows.push_undo(f"Generate {thing.name}")
        job.placed += 1

    def finish(self, watch: Callable[[Job], None] = lambda _job: None) -> Job | None:
        """Pump until the running request has ended: for scripts and the command line, which have nothing else to do.

        Args:
            watch: called after every look at the worker.

        Raises:
            Gan3DError: the request failed. Shapes that arrived before are in the scene.
        """
        job = self.job
        while self.job:
            self.pump()
            if job:
                watch(job)
            time.sleep(0.01)
        if self.error:
            raise self.error
        return job


_session = Session()


def get() -> Session:
    """The session of this Blender."""
    return _session


def pump() -> bool:
    """What the timer does: let the session take in news, and redraw what shows them."""
    news = _session.pump()
    if news:
        windows.redraw()
    return news


def _interval() -> float | None:
    if _session.busy or _session.waiting or _session.pythons.running:
        return BUSY_INTERVAL
    if _session.client and _session.client.state in ("starting", "busy"):
        return BUSY_INTERVAL
    if _session.client and _session.client.state == "ready":
        return IDLE_INTERVAL
    return None


def _tick() -> float | None:
    pump()
    return _interval()


def _watch() -> None:
    """Have `pump` called from now on. In the background Blender's timers never fire, so there is none."""
    windows.redraw()
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=BUSY_INTERVAL, persistent=True)


@bpy.app.handlers.persistent
def _before_load(*_arguments: object) -> None:
    _session.close_file()


def register() -> None:
    bpy.app.handlers.load_pre.append(_before_load)


def unregister() -> None:
    """Stop the worker and the timer: nothing of ours runs on."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    if _before_load in bpy.app.handlers.load_pre:
        bpy.app.handlers.load_pre.remove(_before_load)
    _session.stop()
    _session.pythons.stop()
    _session.error, _session.summary = None, ""

"""The worker's Python as the interface shows it: which one is found, and setting one up. Nothing here waits."""

from __future__ import annotations

from gan3d_core.worker.environment import ProbeResult, PythonSearch
from gan3d_core.worker.setup import EnvironmentSetup


class Pythons:
    """A search for a usable Python, and an installation of one."""

    def __init__(self) -> None:
        self.found: ProbeResult | None = None
        """The outcome of the last search: see `usable` and `explain` on it."""
        self.setup: EnvironmentSetup | None = None
        self.line = ""
        """What the installation said last."""
        self._search: PythonSearch | None = None

    @property
    def running(self) -> bool:
        return self._search is not None or self.setup is not None

    @property
    def fraction(self) -> float:
        """How much of the installation is done, 0 … 1, counted in steps: pip does not tell more."""
        return self.setup.step / len(self.setup.commands) if self.setup else 0.0

    def look(self, explicit: str | None) -> None:
        """Begin a search, unless its outcome is known or it runs."""
        if self.found is None and self._search is None:
            self._search = PythonSearch(explicit)

    def forget(self) -> None:
        """The preferences have changed, or an environment has appeared: what was found holds no longer."""
        if self._search:
            self._search.cancel()
        self._search = self.found = None

    def set_up(self) -> None:
        """Begin to install an environment, unless that is going on."""
        if self.setup is None:
            self.line = ""
            self.setup = EnvironmentSetup()

    def cancel_setup(self) -> None:
        if self.setup:
            self.setup.cancel()

    def poll(self) -> bool:
        """Take in news; whether there are any.

        Raises:
            WorkerStartError: the installation has failed.
        """
        news = False
        if self._search and (result := self._search.poll()):
            self._search, self.found = None, result
            news = True
        if self.setup:
            lines = [line for line in self.setup.poll() if line.strip()]
            if lines:
                self.line, news = lines[-1], True
            if self.setup.state != "running":
                ended, self.setup = self.setup, None
                self.forget()
                if ended.error:
                    raise ended.error
                news = True
        return news

    def stop(self) -> None:
        """End the search and the installation."""
        self.cancel_setup()
        self.setup = None
        self.forget()

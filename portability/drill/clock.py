"""How long each phase of a drill took, and what left the source when, over all the runs that it needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from portability.drill.state import State
from portability.progress import Progress
from portability.rate import Rate


class Clock:
    """Counts time for the phase that is said, saves it now and then, and passes on what is told to who watches."""

    def __init__(self, inner: Progress, state: State, folder: Path, today: Callable[[], datetime]) -> None:
        self._inner, self._state, self._folder, self._today = inner, state, folder, today
        self._rate = Rate(state.rate)
        self._moving = False
        self._phase: str | None = None
        self._since = time.monotonic()

    def now(self, phase: str | None) -> None:
        """From here on time counts for this phase; it is saved, so that a kill loses little of it."""
        moment = time.monotonic()
        if self._phase is not None:
            spent = round((moment - self._since) * 1000)
            self._state.milliseconds[self._phase] = self._state.milliseconds.get(self._phase, 0) + spent
            self._state.rate = self._rate.plain()
            self._state.save(self._folder)
        self._phase, self._since = phase, moment

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Time for this phase in the block, also where it ends in an error."""
        self.now(phase)
        try:
            yield
        finally:
            self.now(None)

    def phase(self, name: str, items: int | None = None, size: int | None = None) -> None:
        self.now(self._phase)
        self._moving = self._phase == "export" and name == "transfer"
        self._inner.phase(name, items, size)

    def step(self, items: int = 0, size: int = 0) -> None:
        if self._moving:
            self._rate.add(self._today().timestamp(), things=items, bytes_=size)
        self._inner.step(items, size)

    def note(self, text: str) -> None:
        self._inner.note(text)

    def done(self) -> None:
        self._inner.done()

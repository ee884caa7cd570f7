"""How many operations at once: more while that moves more, fewer as soon as a host says that it is too much."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

_UNIT = 128 << 10
"""Bytes that weigh as much as one operation, so that small and large objects can be told in one number."""
_SECONDS = 1.0
_ROUNDS = 4
"""How long a width is tried: until so many times its number of operations are answered, and at least so many seconds passed."""
_TOO_MUCH = 0.05
"""Share of operations that a host put off from which on it is overloaded; fewer may be anything."""
_WORTH = 1.10
"""How much more must pass for a width to be worth its price."""
_REST = 8
"""Trials after which a width that was the best is questioned again: lines and hosts change."""


class _Mode(Enum):
    DOUBLING = "doubling"
    """Nothing has stood against it yet."""
    ADDING = "adding"
    RESTING = "resting"


class Concurrency:
    """The width of one phase, for all of its workers together: what is under way at the hosts at any time.

    Whoever hands out work asks for `width`, and says with `saw` what came of work that was done with it. Answers to work of an
    earlier width are left out: they tell nothing of this one.
    """

    def __init__(self, start: int, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = max(1, most), clock
        self.width = max(1, min(start, self._most))
        """Operations at once, from 1 to `most`."""
        self._step = max(1, self.width // 2)
        self._best, self._best_rate = self.width, 0.0
        self._mode = _Mode.DOUBLING
        self._rested = 0
        self._since: float | None = None
        self._operations, self._weight = 0, 0.0

    def saw(self, width: int, operations: int, size: int, put_off: int) -> None:
        """So many operations and bytes were done by work of this width; a host put so many off ("ask again")."""
        if width != self.width:
            return
        if put_off > _TOO_MUCH * max(1, operations):
            self._back_off()
            return
        now = self._clock()
        if self._since is None:
            self._since = now  # what was under way before this moment is not counted
            return
        self._operations += operations
        self._weight += operations + size / _UNIT
        if self._operations >= _ROUNDS * self.width and now - self._since >= _SECONDS:
            self._judge(self._weight / (now - self._since))

    def _back_off(self) -> None:
        self._mode, self._rested = _Mode.RESTING, 0
        self._best, self._best_rate = max(1, self.width // 2), 0.0
        self._step = max(1, self._best // 4)  # from here on with care
        self._try(self._best)

    def _judge(self, rate: float) -> None:
        """Go on from what this width has moved."""
        if self.width == self._best:
            self._best_rate = rate  # what it moves now: the line is not what it was
            self._rested += 1
            if self._mode is _Mode.RESTING and self._rested < _REST:
                self._forget()
                return
        elif rate >= self._best_rate * (_WORTH if self._mode is _Mode.DOUBLING else self._worth):
            self._best, self._best_rate = self.width, rate
        else:
            self._mode, self._rested = _Mode.RESTING, 0
            self._try(self._best)
            return
        if self._mode is _Mode.RESTING:
            self._mode = _Mode.ADDING
        self._try(self.width * 2 if self._mode is _Mode.DOUBLING else self.width + self._step)

    @property
    def _worth(self) -> float:
        """A small step may bring little, and is kept for half of what it adds."""
        return 1 + (self.width / self._best - 1) / 2

    def _try(self, width: int) -> None:
        self.width = max(1, min(width, self._most))
        self._forget()

    def _forget(self) -> None:
        self._since = None
        self._operations, self._weight = 0, 0.0

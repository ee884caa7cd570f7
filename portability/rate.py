"""Bytes and things by equal steps of time, in bounded memory: the step doubles when there are too many."""

from __future__ import annotations

from collections.abc import Mapping

STEPS = 96
"""Steps of time, at most."""


class Rate:
    """What passed when, counted in steps of whole seconds since the epoch."""

    def __init__(self, saved: Mapping[str, object] | None = None) -> None:
        self.step = 1
        self._steps: dict[int, list[int]] = {}
        if saved:
            self.step = int(str(saved["step"]))
            steps = saved["steps"]
            assert isinstance(steps, dict)  # noqa: S101 - `plain` made it so
            self._steps = {int(place): list(amounts) for place, amounts in steps.items()}

    def plain(self) -> dict[str, object]:
        """As JSON values, for a later `Rate`."""
        return {"step": self.step, "steps": {str(place): amounts for place, amounts in self._steps.items()}}

    def add(self, moment: float, *, things: int, bytes_: int) -> None:
        place = int(moment) // self.step
        new = place not in self._steps
        step = self._steps.setdefault(place, [0, 0])
        step[0] += bytes_
        step[1] += things
        while new and max(self._steps) - min(self._steps) >= STEPS:
            self.step *= 2
            halved: dict[int, list[int]] = {}
            for at, (octets, count) in self._steps.items():
                kept = halved.setdefault(at // 2, [0, 0])
                kept[0] += octets
                kept[1] += count
            self._steps = halved

    @property
    def began(self) -> int:
        """Start of the first step, in seconds since the epoch; 0 if nothing passed."""
        return min(self._steps, default=0) * self.step

    def told(self) -> list[tuple[int, int]]:
        """Bytes and things of each step from the first to the last, also of those in which nothing passed."""
        if not self._steps:
            return []
        places = range(min(self._steps), max(self._steps) + 1)
        return [(octets, things) for octets, things in (self._steps.get(place, [0, 0]) for place in places)]

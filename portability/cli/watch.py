"""A running job on stderr: bars with rate and remaining time on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from portability.cli.words import duration, number, size_text

EVERY = 10.0
"""Seconds between two plain lines."""
TICK = 1.0
"""Seconds between two looks at a bar's clock while nothing else moves it."""


class Lines:
    """Plain lines, for log files and for readers of screens."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._name = ""
        self._items: int | None = None
        self._size: int | None = None
        self._items_done = self._size_done = 0
        self._started = self._spoke = clock()

    def phase(self, name: str, items: int | None = None, size: int | None = None) -> None:
        if self._name:
            self.done()
        self._name, self._items, self._size = name, items, size
        self._items_done = self._size_done = 0
        self._started = self._spoke = self._clock()

    def step(self, items: int = 0, size: int = 0) -> None:
        self._items_done += items
        self._size_done += size
        if self._clock() - self._spoke >= EVERY:
            self._spoke = self._clock()
            self.show(self._so_far())

    def note(self, text: str) -> None:
        self.show(f"  {text}")

    def done(self) -> None:
        if not self._name:
            return
        self.show(self._summary())
        self._name = ""

    def show(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def _so_far(self) -> str:
        spent = self._clock() - self._started
        parts = [_of(self._items_done, self._items, number)]
        if self._size_done or self._size:
            parts.append(_of(self._size_done, self._size, size_text))
        if self._size and self._size_done and spent:
            parts.append(f"{size_text(self._size_done / spent)}/s")
        done, whole = (self._size_done, self._size) if self._size else (self._items_done, self._items)
        if whole and done and spent:
            parts.append(f"{min(100, 100 * done // whole)} %, {duration(max(0, whole - done) * spent / done)} left")
        return f"  {self._name}: {', '.join(parts)}"

    def _summary(self) -> str:
        spent = self._clock() - self._started
        rate = f"{size_text(self._size_done / spent)}/s" if self._size and self._size_done and spent else ""
        # A phase that announced no bytes reads none: it adds up the sizes that the host states.
        done = size_text(self._size_done) if self._size_done else ""
        return f"  {self._name:<20}{number(self._items_done):>12}{done:>12}{duration(spent):>12}{rate:>14}".rstrip()


class Bars(Lines):
    """One bar for the phase that runs; when it is over, one line remains."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream, clock=clock)
        self._bar: Any = None
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None

    def phase(self, name: str, items: int | None = None, size: int | None = None) -> None:
        from tqdm import tqdm

        super().phase(name, items, size)
        unit: dict[str, Any] = {"unit": " things", "unit_scale": False}
        if size:
            unit = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
        self._bar = tqdm(
            total=size or items, desc=f"  {name}", file=self._stream, leave=False, dynamic_ncols=True, **unit
        )

        self._over = threading.Event()
        self._ticker = threading.Thread(target=_tick, args=(self._bar, self._over), daemon=True)
        self._ticker.start()

    def step(self, items: int = 0, size: int = 0) -> None:
        self._items_done += items
        self._size_done += size
        if self._bar is None:
            return
        if self._size:
            self._bar.set_postfix_str(_of(self._items_done, self._items, number), refresh=False)
        elif self._size_done:
            self._bar.set_postfix_str(size_text(self._size_done), refresh=False)
        self._bar.update(size if self._size else items)

    def done(self) -> None:
        if self._bar is not None:
            self._over.set()
            if self._ticker is not None:
                self._ticker.join()
            self._bar.close()
            self._bar = None
        super().done()

    def show(self, line: str) -> None:
        if self._bar is None:
            super().show(line)
        else:
            self._bar.write(line, file=self._stream)


def _tick(bar: Any, over: threading.Event) -> None:
    # A phase may be silent for minutes (one large object): a clock that runs shows that the program does.
    while not over.wait(TICK):
        bar.refresh()


def _of(done: int, whole: int | None, text: Callable[[int], str]) -> str:
    return f"{text(done)} of {text(whole)}" if whole else text(done)

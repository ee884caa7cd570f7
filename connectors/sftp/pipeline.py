"""Many operations side by side on one conversation: while one waits for its answers, the others send their requests."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

from connectors.errors import ConnectorError

Result = TypeVar("Result")
Steps = Generator[None, None, Result]
"""An operation that stops wherever it has asked something and the answer may take a while."""


def at_once(steps: Steps[Result]) -> Result:
    """Run one operation to its end, waiting for each answer."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: Result = done.value
            return result


def side_by_side(
    works: Iterable[tuple[Steps[Result], int]], width: int, weight: int
) -> Iterator[tuple[int, Result | ConnectorError]]:
    """Number and end of each operation, at most `width` under way, and no more than one beyond a sum of `weight`.

    A new one is taken when there is room. Given up, it ends those that are under way.
    """
    waiting = enumerate(works)
    active: deque[tuple[int, Steps[Result], int]] = deque()
    heavy, more = 0, True
    try:
        while True:
            if more and len(active) < width and heavy < weight:
                number, (steps, size) = next(waiting, (-1, (None, 0)))
                if steps is None:
                    more = False
                    continue
                heavy += size
            elif active:
                number, steps, size = active.popleft()
            else:
                return
            try:
                next(steps)
            except StopIteration as done:
                heavy -= size
                yield number, done.value
            except ConnectorError as error:
                heavy -= size
                yield number, error
            else:
                active.append((number, steps, size))
    finally:
        for _, steps, _ in active:
            with contextlib.suppress(ConnectorError):
                steps.close()

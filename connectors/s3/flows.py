"""Conversations of several exchanges, many at once: each is a generator that yields requests and is sent answers."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Generic, TypeVar

from connectors.errors import ConnectorError
from connectors.s3.wire import Answer, Line, Request, Wire

Result = TypeVar("Result")
Flow = Generator[Request, Answer, Result]

_REPEATED = frozenset({500, 502, 503, 504})


class Conversations(Generic[Result]):
    """Flows over one wire, `width` at once. An exchange that failed for a reason that may pass is repeated once, silently,
    as botocore does it in our client; what flows make of the second answer is the caller's to try again."""

    def __init__(self, wire: Wire, line: Line, width: int) -> None:
        self._wire, self._line, self._width = wire, line, width
        self._ready: deque[tuple[int, Result | ConnectorError]] = deque()
        self._handles: dict[int, Any] = {}
        self._ended = False

    def results(self, flows: Iterable[Flow[Result]]) -> Iterator[tuple[int, Result | ConnectorError]]:
        """Each flow's number and what it returned, or the ConnectorError that it raised, as they come."""
        coming = enumerate(flows)
        more = True
        try:
            while True:
                if self._ready:
                    yield self._ready.popleft()
                elif more and len(self._handles) < self._width:
                    following = next(coming, None)
                    if following is None:
                        more = False
                    else:
                        self._go_on(*following, None)
                elif self._handles:
                    self._wire.turn()
                elif not more:
                    return
        finally:
            self._ended = True
            for handle in self._handles.values():
                self._wire.cancel(handle)

    def _go_on(self, number: int, flow: Flow[Result], answer: Answer | None) -> None:
        self._handles.pop(number, None)
        try:
            request = next(flow) if answer is None else flow.send(answer)
        except StopIteration as end:
            self._ready.append((number, end.value))
        except ConnectorError as error:
            self._ready.append((number, error))
        else:
            self._send(number, flow, request, again=True)

    def _repeat(self, number: int, flow: Flow[Result], request: Request) -> None:
        if not self._ended:
            self._send(number, flow, request, again=False)

    def _send(self, number: int, flow: Flow[Result], request: Request, *, again: bool) -> None:
        def done(answer: Answer) -> None:
            unheard = (
                answer.broken and not answer.refused and not answer.status
            )  # a body that broke off is not repeated
            if again and (unheard or answer.status in _REPEATED):
                pause = 0.0 if answer.broken else random.random()  # noqa: S311 - spreads repeats, keeps no secret
                self._wire.later(pause, lambda: self._repeat(number, flow, request))
            else:
                self._go_on(number, flow, answer)

        self._handles[number] = self._wire.send(self._line, request, done)

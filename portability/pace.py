"""How many operations a batch's worker overlaps: at first what the line suggests, then what turns out to move most."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from connectors import Connector, ConnectorError
from portability.concurrency import Concurrency
from portability.tasks import Work

_NEAR = 0.005
"""Seconds of a round trip for which hosts' `connections` are enough; on a longer line as many more fit on it."""
_ASKED = 3
"""Times that the line is measured: the first opens a connection, and any may wait for a processor."""


class Pace:
    """The pace of one phase, all of its workers together. `--connections` says where it begins and ends, or else the hosts."""

    def __init__(self, work: Work, hosts: Sequence[Connector], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._work = work
        start = work.connections or max(_start(host, clock) for host in hosts)
        most = work.connections or max(host.capabilities.most or host.capabilities.connections for host in hosts)
        self._concurrency = Concurrency(start, most, clock=clock)

    @property
    def work(self) -> Work:
        """How the next batch is to be done."""
        return replace(self._work, width=self._concurrency.width)

    def saw(self, work: Work, operations: int, size: int, put_off: int) -> None:
        """What came of a batch that was done so: `put_off` operations had to be asked again."""
        if work.width is not None:
            self._concurrency.saw(work.width, operations, size, put_off)


def _start(host: Connector, clock: Callable[[], float]) -> int:
    """What a host likes, or more where its line is long and it bears more."""
    able = host.capabilities
    if able.most is None or able.most <= able.connections:
        return able.connections
    trips = []
    for _ in range(_ASKED):
        began = clock()
        try:
            host.stat(f"portability-{uuid.uuid4().hex}")
        except ConnectorError:
            pass  # that there is nothing is an answer too; what else is wrong is met, and told, by the work
        trips.append(clock() - began)
    return max(able.connections, min(able.most, round(able.connections * min(trips) / _NEAR)))

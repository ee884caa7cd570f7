"""How many operations a batch's worker overlaps: what both hosts like at first, then what turns out to move most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from connectors import Capabilities
from portability.concurrency import Concurrency
from portability.tasks import Work


class Pace:
    """The pace of one phase, all of its workers together. `--connections` says where it begins and ends, or else the hosts."""

    def __init__(self, work: Work, hosts: Sequence[Capabilities]) -> None:
        self._work = work
        start = work.connections or max(host.connections for host in hosts)
        most = work.connections or max(host.most or host.connections for host in hosts)
        self._concurrency = Concurrency(start, most)

    @property
    def work(self) -> Work:
        """How the next batch is to be done."""
        return replace(self._work, width=self._concurrency.width)

    def saw(self, work: Work, operations: int, size: int, put_off: int) -> None:
        """What came of a batch that was done so: `put_off` operations had to be asked again."""
        if work.width is not None:
            self._concurrency.saw(work.width, operations, size, put_off)

"""What a report counts line by line: folders near the top, amounts by level, throughput; one pass, in bounded memory."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from connectors.keys import key_text
from manifests.canonical import time_of, time_text
from manifests.receipt import key_bytes
from portability.rate import Rate
from portability.report.model import Amount, Folder, Throughput

SHOWN = 10
"""Folders named one by one."""
DEPTHS = 4
"""Where everything lies in one folder, and in one folder of that, and so on, the folders inside say more."""


_EPOCH = datetime.fromtimestamp(0, UTC)
_FIRST = int((datetime.min.replace(tzinfo=UTC) - _EPOCH).total_seconds())
"""A manifest may state any time: a step that holds the first there is may begin before it."""


class Tally:
    """Lines in key order; `since` leaves out of the throughput what an earlier run moved."""

    def __init__(self, since: datetime | None = None) -> None:
        self.levels: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        """By level; "skipped" for things that were not carried."""
        self.tries = 0
        """Tries after the first one."""
        self.gone: Counter[str] = Counter()
        """Losses by name whose value is kept nowhere."""
        self._depths = [_Depth(depth) for depth in range(1, DEPTHS + 1)]
        self._since = since.timestamp() if since else None
        self._rate = Rate()

    def add(self, line: Mapping[str, Any]) -> None:
        size = line.get("size", 0)
        level = "skipped" if line["kind"] == "skipped" else line["evidence"]
        self.levels[level] += 1
        self.bytes[level] += size
        self.tries += max(0, line.get("attempts", 1) - 1)
        for loss in line.get("losses", ()):
            if loss.get("parked") is None:
                self.gone[loss["name"]] += 1
        key = key_bytes(line)
        for depth in self._depths:
            depth.add(key, size)
            if depth.several:  # deeper folders are asked for only while this depth has but one
                break
        if "received_at" in line and line["kind"] == "object":
            when = line["received_at"]
            moment = _second(f"{when[:19]}Z" if when.endswith("Z") else when)
            if self._since is None or moment >= self._since:
                self._rate.add(moment, things=1, bytes_=size)

    def amount(self, *levels: str) -> Amount:
        return Amount(things=sum(self.levels[one] for one in levels), bytes=sum(self.bytes[one] for one in levels))

    def folders(self) -> tuple[Folder, ...]:
        """The largest, by bytes and then by things; then the rest as one, then what lies in no folder. Names are real ones."""
        chosen = self._depths[0]
        for depth in self._depths:
            chosen = depth
            if depth.several:
                break
        return chosen.folders()

    def throughput(self) -> Throughput | None:
        return throughput(self._rate)


def throughput(rate: Rate) -> Throughput | None:
    """As a report has it; None if nothing passed."""
    told = rate.told()
    if not told:
        return None
    return Throughput(
        began=time_text(_EPOCH + timedelta(seconds=max(rate.began, _FIRST))),
        step_seconds=rate.step,
        bytes=tuple(octets for octets, _ in told),
        things=tuple(things for _, things in told),
    )


@lru_cache(maxsize=4096)  # many things arrive in the same second
def _second(when: str) -> float:
    return time_of(when).timestamp()


class _Depth:
    """Folders at one depth: in key order their lines stand together, so that only the largest need to be kept."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._now: bytes | None = None
        self._things = self._bytes = 0
        self._loose = [0, 0]
        self._rest = [0, 0]
        self._largest: list[tuple[int, int, bytes]] = []
        self._groups = 0

    @property
    def several(self) -> bool:
        """Whether this depth tells anything apart."""
        return self._groups > 1 or self._loose[0] > 0

    def add(self, key: bytes, size: int) -> None:
        if self._now is None or not key.startswith(self._now):
            parts = key.split(b"/", self._depth)
            if len(parts) <= self._depth:
                self._loose[0] += 1
                self._loose[1] += size
                return
            self._keep()
            self._now = key[: len(key) - len(parts[-1])]
            self._groups += 1
        self._things += 1
        self._bytes += size

    def _keep(self) -> None:
        if self._now is None:
            return
        heapq.heappush(self._largest, (self._bytes, self._things, self._now))
        self._things = self._bytes = 0
        self._now = None
        if len(self._largest) > SHOWN:
            octets, things, _ = heapq.heappop(self._largest)
            self._rest[0] += things
            self._rest[1] += octets

    def folders(self) -> tuple[Folder, ...]:
        self._keep()
        named = [
            Folder(number=number, name=key_text(name), things=things, bytes=octets)
            for number, (octets, things, name) in enumerate(sorted(self._largest, reverse=True), 1)
        ]
        for number, (things, octets) in ((0, self._rest), (-1, self._loose)):
            if things:
                named.append(Folder(number=number, things=things, bytes=octets))
        return tuple(named)

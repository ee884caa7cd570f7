"""Bandwidth: a cap with a timetable, kept by a token bucket in every worker."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as clock_time

from connectors import Stream
from connectors.streams import read_into
from portability.errors import UsageError

_RATE = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[kKmMgG]?)(?:i?[bB])?$")
_STEP = 1 << 16  # bytes let through at once: small enough that a slow line flows evenly
_UNIT = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """Bytes a second by time of day (local time). `slots` are (start, rate) sorted by start; rate None: no cap."""

    slots: tuple[tuple[clock_time, int | None], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Timetable:
        """ "512k", "off", or "08:00,512k 20:00,off" (k, M, G are powers of 1024, bytes a second). UsageError."""
        words = text.split()
        if len(words) == 1 and "," not in words[0]:
            return cls(slots=((clock_time(0), _rate(words[0], text)),))
        slots = []
        for word in words:
            start, comma, rate = word.partition(",")
            try:
                begins = clock_time.fromisoformat(start)
            except ValueError as error:
                raise UsageError(
                    f'"{start}" in the bandwidth timetable "{text}" is not a time such as 08:00'
                ) from error
            if not comma:
                raise UsageError(f'"{word}" in the bandwidth timetable needs a rate: {start},512k or {start},off')
            slots.append((begins, _rate(rate, text)))
        if not slots or len({start for start, _ in slots}) != len(slots):
            raise UsageError(f'the bandwidth timetable "{text}" is empty or names a time twice')
        return cls(slots=tuple(sorted(slots)))

    def rate(self, now: datetime) -> int | None:
        """Bytes a second at this moment; None: no cap. Before the first slot of the day the last one still holds."""
        if not self.slots:
            return None
        current = self.slots[-1][1]
        for start, rate in self.slots:
            if start <= now.time():
                current = rate
        return current


def _rate(word: str, text: str) -> int | None:
    if word == "off":
        return None
    match = _RATE.match(word)
    if not match or not float(match["number"]):
        raise UsageError(f'"{word}" in the bandwidth "{text}" is not a rate: write 512k, 10M or off')
    return int(float(match["number"]) * _UNIT[match["unit"].lower()])


def deadline(until: str, now: datetime) -> datetime:
    """The next moment at which the local clock shows `until` ("06:00"). UsageError."""
    try:
        moment = clock_time.fromisoformat(until)
    except ValueError as error:
        raise UsageError(f'--until wants a time of day such as 06:00, not "{until}"') from error
    end = now.replace(hour=moment.hour, minute=moment.minute, second=moment.second, microsecond=0)
    return end if end > now else end + timedelta(days=1)


class Bucket:
    """A token bucket shared by the threads of one worker process; each of `shares` processes takes an equal part."""

    def __init__(
        self,
        timetable: Timetable,
        shares: int = 1,
        *,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._timetable, self._shares = timetable, max(1, shares)
        self._now, self._monotonic, self._sleep = now, monotonic, sleep
        self._lock = threading.Lock()
        self._next = 0.0

    def spend(self, count: int) -> None:
        """Wait until `count` bytes may pass. Debts are paid in turn, so a slow line never bursts."""
        rate = self._timetable.rate(self._now())
        if rate is None:
            return
        with self._lock:
            start = max(self._monotonic(), self._next)
            self._next = start + count * self._shares / rate
            wait = start - self._monotonic()
        if wait > 0:
            self._sleep(wait)


class Throttled:
    """A stream that waits for its bytes at the bucket."""

    def __init__(self, body: Stream, bucket: Bucket) -> None:
        self._body, self._bucket = body, bucket

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(_STEP), b""))
        piece = self._body.read(min(size, _STEP))
        self._bucket.spend(len(piece))
        return piece

    def readinto(self, buffer: memoryview, /) -> int:
        count = read_into(self._body, buffer[:_STEP])
        self._bucket.spend(count)
        return count

    def close(self) -> None:
        self._body.close()

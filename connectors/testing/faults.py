"""Streams and a host that misbehave on purpose: what fails in the field, to be met in tests.

The streams wrap any stream. `Faulty` is a host that lies: it stands for servers that were seen to do so, over a `Memory`
place that the test can look at, and damage, from behind. `serve()` makes it reachable in this process as
`faulty://name?missing=KEY&…`; each option names a fault and the key that it hits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from connectors.entry import Entry
from connectors.errors import NotFoundError, UnavailableError
from connectors.location import Location
from connectors.memory import Memory
from connectors.protocols import Stream
from connectors.registry import register


class Wrapped:
    """A stream that passes everything through; the base of the faults."""

    def __init__(self, body: Stream) -> None:
        self._body = body
        self._seen = 0

    def read(self, size: int = -1, /) -> bytes:
        piece = self._body.read(size)
        self._seen += len(piece)
        return piece

    def close(self) -> None:
        self._body.close()


class Dribbling(Wrapped):
    """Gives at most `piece` bytes at once, however many are asked for: legal, and often forgotten."""

    def __init__(self, body: Stream, piece: int) -> None:
        super().__init__(body)
        self._piece = piece

    def read(self, size: int = -1, /) -> bytes:
        if size >= 0:
            return super().read(min(size, self._piece))
        return b"".join(iter(lambda: super(Dribbling, self).read(self._piece), b""))


class Cut(Wrapped):
    """Reads from its body up to the byte `after`, then calls `_at_cut` once or ever again: the base of faults at one point."""

    def __init__(self, body: Stream, after: int) -> None:
        super().__init__(body)
        self._after = after

    def read(self, size: int = -1, /) -> bytes:
        left = self._after - self._seen
        if left <= 0 and size != 0:
            return self._at_cut(size)
        return super().read(left if size < 0 else min(size, left))

    def _at_cut(self, size: int) -> bytes:
        raise AssertionError(f"nothing said what happens after {self._after} bytes")


class Short(Cut):
    """Ends after `after` bytes as if that were all."""

    def _at_cut(self, size: int) -> bytes:
        return b""


class Dropped(Cut):
    """Raises after `after` bytes, as a lost connection does. `error` is what it raises."""

    def __init__(self, body: Stream, after: int, error: Exception | None = None) -> None:
        super().__init__(body, after)
        self.error = error or UnavailableError("the connection was lost; try again", host="test://body")

    def _at_cut(self, size: int) -> bytes:
        raise self.error


class Stalled(Cut):
    """Calls `wait` once after `after` bytes (an event's `wait`, say) and goes on when it returns."""

    def __init__(self, body: Stream, after: int, wait: Callable[[], object]) -> None:
        super().__init__(body, after)
        self._wait: Callable[[], object] | None = wait

    def _at_cut(self, size: int) -> bytes:
        if self._wait:
            wait, self._wait = self._wait, None
            wait()
        return self._body.read(size)


class Flipped(Wrapped):
    """One bit is another at the byte `at`; the length is right."""

    def __init__(self, body: Stream, at: int) -> None:
        super().__init__(body)
        self._at = at

    def read(self, size: int = -1, /) -> bytes:
        before = self._seen
        piece = bytearray(super().read(size))
        if before <= self._at < self._seen:
            piece[self._at - before] ^= 1
        return bytes(piece)


class Watched(Wrapped):
    """Calls `look` after each piece it gave: what the host shows while it is being written."""

    def __init__(self, body: Stream, look: Callable[[], object]) -> None:
        super().__init__(body)
        self._look = look

    def read(self, size: int = -1, /) -> bytes:
        piece = super().read(size)
        if piece:
            self._look()
        return piece


FAULTS = {
    "missing": "listed and described, but reading it finds nothing",
    "unlisted": "held and readable, but on a listing page that was lost",
    "breaks": "the listing fails when it reaches this key",
    "short": "read: ends early, as if that were all",
    "flipped": "read: one bit is another",
    "dropped": "read: the connection is lost half-way, every time",
    "busy": "read: the host asks to come back later, the first time for each instance",
    "wrong_size": "listed and described with one byte more than there is",
    "stores_other": "put: accepted, acknowledged with the digest of what was sent, and other bytes kept",
    "loses": "put: accepted and acknowledged, and nothing kept",
}


class Faulty(Memory):
    """A host with faults, over the `Memory` place of the same name. Every fault is the host's, none is the connector's."""

    def __init__(self, location: Location) -> None:
        location.check_options({**FAULTS, "versions": ""})
        super().__init__(location)
        self._location = location
        self._asked = 0

    def _hits(self, fault: str, key: str) -> bool:
        return self._location.options.get(fault) == key

    def _claimed(self, entry: Entry) -> Entry:
        return replace(entry, size=(entry.size or 0) + 1) if self._hits("wrong_size", entry.key) else entry

    def stat(self, key: str) -> Entry:
        return self._claimed(super().stat(key))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for entry in super().list(prefix):
            if self._hits("breaks", entry.key):
                raise UnavailableError("the host stopped in the middle of its listing", host=self.uri)
            if not self._hits("unlisted", entry.key):
                yield self._claimed(entry)

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        key = entry.key
        if self._hits("missing", key):
            raise NotFoundError("no such object", host=self.uri, key=key)
        if self._hits("busy", key) and not self._asked:
            self._asked += 1
            raise UnavailableError("the host is busy; try again later", host=self.uri, key=key, retry_after=0.01)
        truth = super().stat(key) if self._hits("wrong_size", key) else entry
        stream = super().open(truth, start, stop)
        half = ((truth.size or 0) if stop is None else stop) - start >> 1
        if self._hits("short", key):
            return Short(stream, half)
        if self._hits("dropped", key):
            return Dropped(stream, half, UnavailableError("the connection was lost", host=self.uri, key=key))
        return Flipped(stream, half) if self._hits("flipped", key) else stream

    def put(self, entry: Entry, body: Stream, *, replace: bool = False) -> Entry:
        stored = super().put(entry, body, replace=replace)
        if self._hits("stores_other", entry.key):
            self.damage(entry.key)
        if self._hits("loses", entry.key):
            self.delete(entry.key)
        return stored

    def damage(self, key: str) -> None:
        """Flip a bit of the kept bytes; what the host states of them stays as it was."""
        with self._place.lock:
            kept = self._place.things[key]
            stored, data = kept[-1]
            kept[-1] = (stored, data[:-1] + bytes([data[-1] ^ 1]))


def connect(location: Location) -> Faulty:
    return Faulty(location)


def serve() -> None:
    """Serve `faulty:` urls in this process."""
    register("faulty", connect)

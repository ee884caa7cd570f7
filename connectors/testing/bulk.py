"""The bulk lane under the suite: its own clause, and a way to run every other clause over it."""

from __future__ import annotations

import itertools
from dataclasses import replace as changed
from typing import Any

from connectors.entry import Entry
from connectors.errors import AlreadyExistsError, ConnectorError, NotFoundError
from connectors.protocols import BulkDestination, BulkRead, BulkSource, Describer, Stream
from connectors.streams import BytesStream
from connectors.testing.base import Base, check_bytes, content, keys, listed, needs, pattern

_FEW = 24
"""Objects that may be under way or wait for each of `width`, in the test of restraint."""


class BulkLane(Base):
    def test_23_reading_in_bulk_says_what_describe_and_open_say(self, place: Any, other: Any) -> None:
        needs(place, BulkSource)
        bodies = {f"folder/{n:02}": pattern(n * 1000, n) for n in range(20)}
        for key, data in bodies.items():
            self.store(place, key, data, media_type="text/plain", metadata={"x": key})
        entries = sorted(place.list(), key=lambda entry: entry.key)
        found = dict(place.read_many(iter(entries), 4))
        assert sorted(found) == list(range(len(entries)))
        assert any(found.values()), "the lane declined everything"
        for number, read in found.items():
            if read is None:
                continue
            assert isinstance(read, BulkRead), read
            plain = other.describe(entries[number]) if isinstance(other, Describer) else entries[number]
            assert read.entry == plain
            check_bytes(read.body, bodies[entries[number].key])

    def test_23_reading_in_bulk_refuses_what_plain_reading_refuses(self, place: Any, other: Any) -> None:
        needs(place, BulkSource)
        for key in ("changed", "gone", "there"):
            self.store(place, key, key.encode())
        entries = [listed(place, key) for key in ("changed", "gone", "there")]
        self.replace_later(other, entries[0], b"another content")
        absent = changed(entries[1], key="never")
        found = dict(place.read_many([entries[0], absent, entries[2]], 2))
        assert sorted(found) == [0, 1, 2]
        for number in (0, 1):  # a version that the host keeps may be read all the same
            read = found[number]
            assert not isinstance(read, BulkRead) or read.body == entries[number].key.encode()
        assert found[1] is None or isinstance(found[1], NotFoundError)
        assert found[2] is None or found[2].body == b"there"

    def test_23_putting_in_bulk_returns_what_stat_returns(self, destination: Any, other: Any) -> None:
        needs(destination, BulkDestination)
        bodies = {f"folder/{n:02}": pattern(n * 1000, n) for n in range(20)}
        items = [
            (Entry(key=key, size=len(data), media_type="text/plain", metadata={"x": key}), data)
            for key, data in bodies.items()
        ]
        found = dict(destination.put_many(iter(items), 4))
        assert sorted(found) == list(range(len(items)))
        stored = [number for number, entry in found.items() if entry is not None]
        assert stored, "the lane declined everything"
        assert keys(destination) == sorted(items[number][0].key for number in stored)
        for number in stored:
            entry, data = items[number]
            assert found[number] == other.stat(entry.key)
            check_bytes(content(other, found[number]), data)

    def test_23_putting_in_bulk_replaces_nothing_and_counts(self, destination: Any, other: Any) -> None:
        needs(destination, BulkDestination)
        old = self.store(other, "there", b"old")
        items = [
            (Entry(key="there", size=3), b"new"),
            (Entry(key="short", size=9), b"12345678"),
            (Entry(key="long", size=7), b"12345678"),
        ]
        found = dict(destination.put_many(items, 2))
        assert sorted(found) == [0, 1, 2]
        assert found[0] is None or isinstance(found[0], AlreadyExistsError)
        assert all(found[n] is None or isinstance(found[n], ConnectorError) for n in (1, 2))
        assert keys(destination) == ["there"]
        assert content(other, old) == b"old"

    def test_23_the_bulk_lane_takes_its_input_as_there_is_room(self, destination: Any, other: Any) -> None:
        needs(destination, BulkDestination)
        taken = itertools.count()
        items = ((Entry(key=f"{next(taken):04}", size=1), b"1") for _ in range(1000))
        results = destination.put_many(items, 2)
        next(iter(results))
        assert next(taken) <= 2 * _FEW
        del results  # given up: the instance works on
        assert content(other, self.store(destination, "after", b"after")) == b"after"

    def replace_later(self, place: Any, entry: Entry, data: bytes) -> None:
        """Put another content over an entry's."""
        place.put(Entry(key=entry.key, size=len(data)), BytesStream(data), replace=True)


def in_bulk(place: Any) -> Any:
    """The place, of which `describe`, `open` and `put` go through its bulk lane wherever that takes them."""
    kind = type(place)
    lanes = (_Describing, _InBulk) if isinstance(place, Describer) else (_InBulk,)
    made: Any = object.__new__(type(f"{kind.__name__}InBulk", (*lanes, kind), {}))
    made.__dict__.update(place.__dict__)
    return made


class _InBulk:
    """Before the connector's own class. What the lane declines goes the plain way, as it does in the engine."""

    def open(self: Any, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        read = None if start or stop is not None else self._read(entry)
        body: Stream = super().open(entry, start, stop) if read is None else BytesStream(read.body)  # type: ignore[misc]  # the connector's own class comes next
        return body

    def put(self: Any, entry: Entry, body: Stream, *, replace: bool = False) -> Entry:
        if replace or entry.kind != "object" or entry.size is None or entry.size > self.bulk_bytes:
            return super().put(entry, body, replace=replace)  # type: ignore[misc,no-any-return]  # the connector's own class comes next
        self.preflight(entry)
        data = b"".join(iter(lambda: body.read(1 << 16), b""))
        ((number, stored),) = self.put_many(iter([(entry, data)]), 1)
        assert number == 0
        if isinstance(stored, ConnectorError):
            raise stored
        if stored is None:
            return super().put(entry, BytesStream(data))  # type: ignore[misc,no-any-return]  # the connector's own class comes next
        return stored  # type: ignore[no-any-return]  # the connector's, which nothing types here

    def _read(self: Any, entry: Entry) -> BulkRead | None:
        if entry.kind != "object" or entry.size is None or entry.size > self.bulk_bytes:
            return None
        ((number, read),) = self.read_many(iter([entry]), 1)
        assert number == 0
        if isinstance(read, ConnectorError):
            raise read
        return read  # type: ignore[no-any-return]  # the connector's, which nothing types here


class _Describing:
    """As above, for a host that describes what it lists."""

    def describe(self: Any, entry: Entry) -> Entry:
        read = self._read(entry)
        found: Entry = super().describe(entry) if read is None else read.entry  # type: ignore[misc]  # the connector's own class comes next
        return found

"""What all parts of the conformance suite share: opening places, storing, reading, and what a host may declare."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar

import pytest

from connectors.credentials import Secret, resolve
from connectors.entry import Entry
from connectors.errors import ConnectorError, NotFoundError
from connectors.location import Location
from connectors.protocols import Stream
from connectors.registry import connect
from connectors.streams import BLOCK, BytesStream, read_into


class Base:
    """Settings, hooks and fixtures of the suite."""

    limits: ClassVar[Mapping[str, str]] = {}
    """Faults of the *host* that a connector cannot mend: test name (with or without its [parameter]) -> what the host does.

    The test still runs, and fails if the fault is not seen any more, except a race, which chance can win.
    """
    many: ClassVar[int] = 1100
    """Objects for the paging test: more than the host gives on one page."""
    large: ClassVar[int] = 20 << 20
    """Bytes of a large object: more than the connector sends in one request."""

    recorded: ClassVar[Mapping[str, Any]] = {}
    """What `settings` of another place may have recorded, and this host can be given. Whoever is Settable has to say some."""

    def open_place(self, location: Location) -> Any:
        """The connector under test. Override it for one that is not registered."""
        return connect(location)

    def missing(self, location: Location) -> Location | None:
        """A place that does not exist; None if places of this host come into being by being named."""
        return replace(location, path=f"{location.path}-missing")

    def inner(self, location: Location) -> Location:
        """A place inside the place, which need not exist yet."""
        return replace(location, path=f"{location.path.rstrip('/')}/inner" if location.path else "inner")

    def store(self, place: Any, key: str, data: bytes, **attributes: Any) -> Entry:
        """Store an object. Override it for a host that our connector only reads."""
        stored: Entry = place.put(Entry(key=key, size=len(data), **attributes), BytesStream(data))
        return stored

    def residue(self, location: Location) -> Collection[str]:
        """Names of what is at the host though no listing shows it: partial files, pending uploads."""
        return ()

    @pytest.fixture(autouse=True)
    def _declared_limits(self, request: pytest.FixtureRequest) -> None:
        name = request.node.name
        reason = self.limits.get(name) or self.limits.get(name.partition("[")[0])
        if reason:
            request.applymarker(pytest.mark.xfail(reason=reason, strict="race" not in name))

    @pytest.fixture
    def place(self, location: Location) -> Iterator[Any]:
        opened = self.open_place(location)
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, location: Location) -> Iterator[Any]:
        """A second instance at the same place."""
        opened = self.open_place(location)
        yield opened
        opened.close()

    @pytest.fixture
    def destination(self, place: Any) -> Any:
        if not hasattr(place, "put"):
            pytest.skip(f"{place.uri} is not a destination")
        return place

    @pytest.fixture
    def secrets(self, location: Location) -> tuple[str, ...]:
        """The texts that must appear nowhere; by default those behind the location's credentials reference."""
        found = resolve(location.credentials)
        values = (getattr(found, spec.name) for spec in fields(found))
        return tuple(value.reveal() for value in values if isinstance(value, Secret))

    def assert_nothing_stored(self, place: Any, location: Location, key: str) -> None:
        assert keys(place) == []
        with pytest.raises(NotFoundError):
            place.stat(key)
        assert list(self.residue(location)) == []


def needs(place: Any, ability: type, attribute: str = "") -> None:
    """Skip a test of what this host does not offer."""
    if not isinstance(place, ability):
        pytest.skip(f"{place.uri} is no {ability.__name__}")
    preserves(place, attribute)


def preserves(place: Any, attribute: str) -> None:
    """Skip a test of what this host does not claim to keep."""
    if attribute and attribute not in place.capabilities.preserves:
        pytest.skip(f"{place.uri} does not claim to keep {attribute}")


def keys(place: Any, prefix: str = "") -> list[str]:
    return sorted(entry.key for entry in place.list(prefix))


def listed(place: Any, key: str) -> Entry:
    """The entry of one key, from the listing."""
    found: list[Entry] = [entry for entry in place.list() if entry.key == key]
    assert len(found) == 1, f"{key!r} is listed {len(found)} times"
    return found[0]


def drain(stream: Stream, size: int = BLOCK) -> bytes:
    """All bytes of a stream, read in pieces, and the stream closed."""
    pieces = []
    try:
        while piece := stream.read(size):
            assert size < 0 or len(piece) <= size, "read gave more than it was asked for"
            pieces.append(piece)
        assert stream.read(1) == b"", "bytes came after the end"
    finally:
        stream.close()
    return b"".join(pieces)


def poured(stream: Stream, size: int) -> bytes:
    """All bytes of a stream, read into one buffer, and the stream closed."""
    buffer, pieces = memoryview(bytearray(size)), []
    try:
        while count := read_into(stream, buffer):
            pieces.append(bytes(buffer[:count]))
        assert read_into(stream, buffer) == 0, "bytes came after the end"
    finally:
        stream.close()
    return b"".join(pieces)


def content(place: Any, entry: Entry, start: int = 0, stop: int | None = None) -> bytes:
    return drain(place.open(entry, start, stop))


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes that are different at every place and for every seed, and quick to make."""
    block = _block(seed)
    return b"".join((n + seed).to_bytes(4, "big") + block for n in range(size // len(block) + 1))[:size]


@functools.cache
def _block(seed: int) -> bytes:
    return b"".join((index * 2654435761 + seed * 40503 & 0xFFFFFFFF).to_bytes(4, "big") for index in range(4096))


def check_bytes(found: bytes, expected: bytes) -> None:
    """Clause 4 for bodies of any size. Said in a line: the differences that pytest prints of megabytes take it hours,
    and it prints them whole where the environment has `CI`."""
    if found != expected:
        first = next((n for n, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), None)
        where = "one is the beginning of the other" if first is None else f"first difference at byte {first}"
        pytest.fail(f"read {len(found)} bytes where {len(expected)} were stored: {where}")


def check_error(error: ConnectorError, place: Any, key: str | None) -> None:
    """Clause 11 for one error that asking again does not help."""
    assert error.host == place.uri
    assert error.key == key
    assert str(error)
    assert not error.retryable
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - we wrote these bytes ourselves, one line above
    assert type(again) is type(error)
    assert (str(again), again.host, again.key, again.cause) == (str(error), error.host, error.key, error.cause)

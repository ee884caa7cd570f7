"""The shipped faults do what they say, so that a test which meets them means something."""

import itertools

import pytest

from connectors.entry import Entry
from connectors.errors import ChangedError, NotFoundError, UnavailableError
from connectors.location import Location
from connectors.memory import Memory
from connectors.registry import connect
from connectors.streams import BytesStream
from connectors.testing import faults
from connectors.testing.base import content, drain, keys

DATA = b"0123456789"
_numbers = itertools.count()


@pytest.fixture
def host():
    """A function: the faulty host with one fault at the key "hit", over a place that holds "hit" and "other"."""
    name = f"faulty-{next(_numbers)}"
    honest = Memory(Location(scheme="memory", host=name))
    for key in ("hit", "other"):
        honest.put(Entry(key=key, size=10), BytesStream(DATA))
    faults.serve()
    return lambda *names: connect(Location(scheme="faulty", host=name, options=dict.fromkeys(names, "hit")))


@pytest.mark.parametrize("size", [-1, 1, 4, 100])
def test_streams_fail_at_the_byte_that_was_named(size):
    assert drain(faults.Short(BytesStream(DATA), 4), size) == DATA[:4]
    assert drain(faults.Flipped(BytesStream(DATA), 4), size) == b"0123556789"
    assert drain(faults.Dribbling(BytesStream(DATA), 3), size) == DATA
    seen = []
    assert drain(faults.Stalled(BytesStream(DATA), 4, lambda: seen.append("stalled")), size) == DATA
    assert seen == ["stalled"]
    dropped = faults.Dropped(BytesStream(DATA), 4)
    assert b"".join(dropped.read(1) for _ in range(4)) == DATA[:4]
    with pytest.raises(UnavailableError):
        dropped.read(size)


def test_a_host_without_a_fault_is_honest(host):
    assert keys(host()) == ["hit", "other"]
    assert content(host(), host().stat("hit")) == DATA


def test_what_is_listed_and_described_can_be_missing(host):
    place = host("missing")
    assert keys(place) == ["hit", "other"]
    with pytest.raises(NotFoundError):
        place.open(place.stat("hit"))


def test_a_listing_can_lose_or_break(host):
    assert keys(host("unlisted")) == ["other"]
    with pytest.raises(UnavailableError):
        keys(host("breaks"))


def test_reading_can_lie_or_fail(host):
    entry = host().stat("hit")
    assert content(host("short"), entry) == DATA[:5]
    assert content(host("flipped"), entry) == b"0123446789"
    for _ in range(2):
        with pytest.raises(UnavailableError):
            content(host("dropped"), entry)
    busy = host("busy")
    with pytest.raises(UnavailableError):
        busy.open(entry)
    assert content(busy, entry) == DATA


def test_a_size_can_be_wrong(host):
    place = host("wrong_size")
    assert place.stat("hit").size == 11
    with pytest.raises(ChangedError):
        Memory.open(place, place.stat("hit"))
    assert content(place, place.stat("hit")) == DATA


def test_putting_can_store_other_bytes_or_none(host):
    place = host("stores_other")
    stored = place.put(Entry(key="hit", size=10), BytesStream(DATA), replace=True)
    assert stored == place.stat("hit")
    assert content(place, stored) != DATA
    place = host("loses")
    assert place.put(Entry(key="hit", size=10), BytesStream(DATA), replace=True).size == 10
    assert keys(place) == ["other"]

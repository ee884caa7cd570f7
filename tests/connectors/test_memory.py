"""The memory host keeps the contract, with and without versions."""

import itertools

import pytest

from connectors import memory
from connectors.entry import Entry
from connectors.errors import LocationError
from connectors.location import Location
from connectors.registry import connect
from connectors.streams import BytesStream
from connectors.testing.contract import ConnectorContract

_numbers = itertools.count()


class TestMemory(ConnectorContract):
    @pytest.fixture
    def location(self):
        name = f"memory-{next(_numbers)}"
        yield Location(scheme="memory", host=name)
        memory.drop(f"{name}/")
        memory.drop(f"{name}/inner")

    def missing(self, location):
        return None  # a memory place comes into being by being named


class TestMemoryWithVersions(TestMemory):
    @pytest.fixture
    def location(self):
        name = f"memory-{next(_numbers)}"
        yield Location(scheme="memory", host=name, options={"versions": "true"})
        memory.drop(f"{name}/")
        memory.drop(f"{name}/inner")


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(LocationError, match="verisons"):
        connect(Location(scheme="memory", host="x", options={"verisons": "true"}))


def test_a_dropped_place_is_empty_when_it_is_named_again():
    location = Location(scheme="memory", host="dropped")
    connect(location).put(Entry(key="a"), BytesStream(b"1"))
    memory.drop("dropped/")
    assert list(connect(location).list()) == []

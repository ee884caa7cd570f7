"""Clauses 1 to 4 and 11 to 13: listing, describing, reading, errors, instances, secrets."""

from __future__ import annotations

import logging
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from connectors.entry import Entry
from connectors.errors import AlreadyExistsError, ChangedError, ConnectorError, InvalidKeyError, NotFoundError
from connectors.location import Location
from connectors.protocols import BulkDestination, Eraser, Preparer
from connectors.streams import BytesStream
from connectors.testing.base import Base, check_bytes, check_error, content, drain, keys, listed, pattern, poured


class Reading(Base):
    def test_01_nothing_to_list_is_an_empty_iterator(self, place: Any) -> None:
        assert list(place.list()) == []

    def test_01_a_missing_place_is_not_found_and_never_empty(self, location: Location) -> None:
        absent = self.missing(location)
        if absent is None:
            pytest.skip("places of this host come into being by being named")
        with pytest.raises(NotFoundError):
            place = self.open_place(absent)
            try:
                list(place.list())
            finally:
                place.close()

    def test_01_more_objects_than_a_page_are_each_listed_once(self, place: Any, location: Location) -> None:
        wanted = [f"folder-{number % 7}/object-{number:05}" for number in range(self.many)]
        if isinstance(place, BulkDestination):  # to store them is not what is tested here, and takes the longest
            stored = dict(place.put_many(((Entry(key=key, size=0), b"") for key in wanted), 4))
            assert all(entry is None or isinstance(entry, Entry) for entry in stored.values())
            left = [wanted[number] for number, entry in stored.items() if entry is None]
        else:
            left = wanted
        mine = threading.local()
        opened = []

        def put(key: str) -> None:
            if not hasattr(mine, "place"):
                mine.place = self.open_place(location)
                opened.append(mine.place)
            self.store(mine.place, key, b"")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, left))
        for instance in opened:
            instance.close()
        assert keys(place) == sorted(wanted)

    def test_01_a_prefix_is_plain_text_and_not_a_folder(self, place: Any) -> None:
        for key in ("a", "ab", "a b", "abc/d", "b/a"):
            self.store(place, key, b"x")
        assert keys(place, "a") == ["a", "a b", "ab", "abc/d"]
        assert keys(place, "abc/") == ["abc/d"]
        assert keys(place, "b") == ["b/a"]
        assert keys(place, "nothing") == []

    def test_01_a_place_shows_nothing_of_its_neighbours(self, place: Any, location: Location) -> None:
        inner = self.open_place(self.inner(location))
        try:
            if isinstance(inner, Preparer):
                inner.prepare()
            self.store(place, "inner2/x", b"x")
            self.store(place, "inner.txt", b"x")
            assert keys(inner) == []
            self.store(inner, "mine", b"x")
            assert keys(inner) == ["mine"]
        finally:
            inner.close()

    def test_02_a_folder_that_holds_something_is_not_listed(self, place: Any) -> None:
        self.store(place, "a/b/c", b"x")
        assert [(entry.key, entry.kind) for entry in place.list()] == [("a/b/c", "object")]

    def test_02_a_listed_object_has_its_size(self, place: Any) -> None:
        self.store(place, "a", b"123")
        entry = listed(place, "a")
        assert (entry.size, entry.kind, entry.latest) == (3, "object", True)

    def test_03_an_entry_reads_its_own_version_or_says_that_it_changed(self, destination: Any) -> None:
        old = self.store(destination, "a", b"old")
        new = destination.put(Entry(key="a", size=7), BytesStream(b"renewed"), replace=True)
        assert content(destination, new) == b"renewed"
        assert old.version is None or old.version != new.version
        if old.version is not None:
            try:
                assert content(destination, old) == b"old"
            except ChangedError as error:
                check_error(error, destination, "a")

    def test_03_bytes_of_two_versions_never_mix(self, destination: Any, other: Any) -> None:
        data = pattern(3 << 20)
        entry = self.store(destination, "a", data)
        stream = destination.open(entry)
        try:
            begin = stream.read(1000)
            newer = pattern(len(data), 9)
            other.put(Entry(key="a", size=len(data)), BytesStream(newer), replace=True)
            check_bytes(begin + drain(stream), data)
        except ConnectorError:
            pass  # it said so, which is as good

    @pytest.mark.parametrize("size", [0, 1, 300_000])
    def test_04_what_was_stored_is_read(self, place: Any, size: int) -> None:
        data = pattern(size)
        entry = self.store(place, "a", data)
        check_bytes(content(place, entry), data)
        check_bytes(content(place, listed(place, "a")), data)
        check_bytes(content(place, place.stat("a")), data)
        check_bytes(drain(place.open(entry), 7777), data)
        check_bytes(drain(place.open(entry), -1), data)
        check_bytes(poured(place.open(entry), 7777), data)

    @pytest.mark.parametrize(
        ("start", "stop"), [(0, 1), (0, 10), (3, 7), (9, 10), (4, None), (10, None), (5, 5), (70_000, 300_000)]
    )
    def test_04_ranges_are_half_open(self, place: Any, start: int, stop: int | None) -> None:
        if not place.capabilities.ranged:
            pytest.skip(f"{place.uri} does not claim ranges")
        data = pattern(10 if start <= 10 else 400_000)
        entry = self.store(place, "a", data)
        check_bytes(content(place, entry, start, stop), data[start:stop])

    def test_04_fewer_bytes_than_promised_are_an_error(self, place: Any) -> None:
        entry = self.store(place, "a", b"0123456789")
        with pytest.raises(ConnectorError):
            content(place, replace(entry, size=15))
        with pytest.raises(ConnectorError):
            poured(place.open(replace(entry, size=15)), 7)

    def test_11_what_is_not_there_is_not_found(self, place: Any) -> None:
        with pytest.raises(NotFoundError) as stat:
            place.stat("nothing/here")
        check_error(stat.value, place, "nothing/here")
        with pytest.raises(NotFoundError) as opened:
            content(place, Entry(key="nothing/here", size=3))
        check_error(opened.value, place, "nothing/here")

    def test_11_a_key_that_cannot_be_is_refused_or_not_found(self, place: Any) -> None:
        for key in ("", "\0", "a\0b"):
            with pytest.raises((InvalidKeyError, NotFoundError)):
                place.stat(key)

    def test_11_a_refusal_names_host_and_key(self, destination: Any) -> None:
        self.store(destination, "a", b"x")
        with pytest.raises(AlreadyExistsError) as caught:
            self.store(destination, "a", b"y")
        check_error(caught.value, destination, "a")

    def test_11_an_object_that_goes_away_while_it_is_read_ends_whole_or_in_an_error(
        self, destination: Any, other: Any
    ) -> None:
        if not isinstance(other, Eraser):
            pytest.skip(f"{other.uri} is no Eraser")
        data = pattern(3 << 20)
        stream = destination.open(self.store(destination, "a", data))
        begin = stream.read(1000)
        other.delete("a")
        try:
            check_bytes(begin + drain(stream), data)
        except ConnectorError:
            pass  # it said so, which is as good

    def test_12_close_may_be_called_twice(self, location: Location) -> None:
        place = self.open_place(location)
        entry = self.store(place, "a", b"x")
        stream = place.open(entry)
        stream.read()
        stream.close()
        stream.close()
        place.close()
        place.close()

    def test_12_a_stream_may_be_closed_before_its_end(self, place: Any) -> None:
        entry = self.store(place, "a", pattern(3 << 20))
        stream = place.open(entry)
        stream.read(10)
        stream.close()
        assert place.stat("a").size == 3 << 20

    def test_12_two_instances_work_side_by_side(self, location: Location) -> None:
        both = threading.Barrier(2, timeout=60)

        def work(number: int) -> bool:
            place = self.open_place(location)
            try:
                keys(place)
                both.wait()
                made = [(self.store(place, f"{number}/{n}", pattern(5000, n)), pattern(5000, n)) for n in range(8)]
                return all(content(place, entry) == data for entry, data in made)
            finally:
                place.close()

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(work, range(2))) == [True, True]

    def test_12_closing_one_instance_leaves_the_other_at_work(self, place: Any, location: Location) -> None:
        second = self.open_place(location)
        self.store(second, "a", b"x")
        second.close()
        assert keys(place) == ["a"]

    def test_13_the_uri_opens_the_same_place_again(self, place: Any, location: Location) -> None:
        self.store(place, "a", b"x")
        again = self.open_place(Location.parse(place.uri, credentials=location.credentials))
        try:
            assert keys(again) == ["a"]
            assert again.uri == place.uri
        finally:
            again.close()

    def test_13_no_text_has_a_secret(
        self, location: Location, secrets: tuple[str, ...], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        place = self.open_place(location)
        texts = [place.uri, repr(place), str(place)]
        try:
            self.store(place, "a", b"x")
            for refused in (
                lambda: place.stat("nothing"),
                lambda: place.stat("../x"),
                lambda: self.store(place, "a", b""),
            ):
                try:
                    refused()
                except ConnectorError as error:
                    texts += [str(error), repr(error), repr(error.cause), error.host, repr(pickle.dumps(error))]
        finally:
            place.close()
        texts += [record.getMessage() for record in caplog.records]
        # What failed is shown without the secret: a test report is read by more people than the secret is for.
        shown = [text.replace(secret, "(the secret)")[:200] for secret in secrets for text in texts if secret in text]
        assert shown == []

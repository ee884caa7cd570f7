"""What only some hosts can: versions, parts, deleting, making ready, digests on request, free space, listing, settings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from connectors.entry import Entry
from connectors.errors import (
    AlreadyExistsError,
    ChangedError,
    ConnectorError,
    CorruptedError,
    NotFoundError,
    UnsupportedError,
)
from connectors.location import Location
from connectors.protocols import (
    Describer,
    Digester,
    Eraser,
    Multipart,
    Preparer,
    Sequential,
    Settable,
    Space,
    Versioned,
    VersionWriter,
)
from connectors.streams import BytesStream
from connectors.testing.base import Base, check_bytes, check_error, content, keys, listed, needs, pattern
from connectors.testing.faults import Dropped


class Abilities(Base):
    def test_16_every_version_is_listed_newest_first_and_read(self, destination: Any) -> None:
        needs(destination, Versioned)
        needs(destination, VersionWriter, "versions")
        made = [destination.put_version(Entry(key="a", size=1), BytesStream(b"%d" % n)) for n in range(3)]
        self.store(destination, "b", b"other")
        found = [entry for entry in destination.list_versions() if entry.key == "a"]
        assert [entry.version for entry in found] == [entry.version for entry in reversed(made)]
        assert [entry.latest for entry in found] == [True, False, False]
        assert [content(destination, entry) for entry in found] == [b"2", b"1", b"0"]
        assert keys(destination) == ["a", "b"]
        assert {entry.key for entry in destination.list_versions("b")} == {"b"}

    def test_16_a_delete_marker_is_a_version_and_hides_the_object(self, destination: Any) -> None:
        needs(destination, Versioned)
        needs(destination, VersionWriter, "versions")
        kept = destination.put_version(Entry(key="a", size=1), BytesStream(b"1"))
        marker = destination.put_marker(Entry(key="a", kind="delete_marker"))
        assert (marker.kind, marker.key) == ("delete_marker", "a")
        assert keys(destination) == []
        with pytest.raises(NotFoundError):
            destination.stat("a")
        found = list(destination.list_versions())
        assert [(entry.kind, entry.version, entry.latest) for entry in found] == [
            ("delete_marker", marker.version, True),
            ("object", kept.version, False),
        ]
        assert content(destination, kept) == b"1"

    def test_16_a_version_whose_body_fails_is_not_made(self, destination: Any) -> None:
        needs(destination, Versioned)
        needs(destination, VersionWriter, "versions")
        old = destination.put_version(Entry(key="a", size=1), BytesStream(b"1"))
        with pytest.raises(ConnectorError):
            destination.put_version(Entry(key="a", size=10), Dropped(BytesStream(b"0123456789"), 5))
        with pytest.raises(CorruptedError):
            destination.put_version(Entry(key="a", size=10), BytesStream(b"01234"))
        assert [entry.version for entry in destination.list_versions()] == [old.version]

    def test_17_describe_says_of_a_listed_entry_what_stat_says(self, place: Any, other: Any) -> None:
        needs(place, Describer)
        self.store(place, "a", b"1", media_type="text/plain", metadata={"x": "y"})
        assert place.describe(listed(place, "a")) == other.stat("a")

    def test_17_describe_does_not_speak_of_another_version(self, destination: Any) -> None:
        needs(destination, Describer)
        self.store(destination, "a", b"old")
        old = listed(destination, "a")
        destination.put(Entry(key="a", size=7), BytesStream(b"renewed"), replace=True)
        if old.version is not None:
            try:
                assert destination.describe(old).size == 3
            except (ChangedError, NotFoundError) as error:
                check_error(error, destination, "a")
        with pytest.raises(NotFoundError):
            destination.describe(Entry(key="nothing"))

    def parts_of(self, place: Any) -> list[bytes]:
        """An object of three parts, the last one short."""
        size = 2 * int(place.part_size(1)) + 100
        part = int(place.part_size(size))
        data = pattern(size)
        parts = [data[at : at + part] for at in range(0, size, part)]
        assert len(parts) > 1, "part_size gives one part for an object larger than two parts"
        return parts

    def test_18_parts_in_any_order_and_sent_again_make_the_object(self, destination: Any, other: Any) -> None:
        needs(destination, Multipart)
        parts = self.parts_of(destination)
        entry = Entry(key="a/b", size=sum(map(len, parts)))
        token = destination.begin(entry)
        done: dict[int, str] = {}
        junk = pattern(len(parts[0]), 5)
        done[1] = destination.put_part(entry, token, 1, BytesStream(junk), len(junk))
        for number in range(len(parts), 0, -1):
            place = other if number % 2 else destination  # any instance may go on with a token
            body = BytesStream(parts[number - 1])
            done[number] = place.put_part(entry, token, number, body, len(parts[number - 1]))
        assert keys(other) == []
        finished = other.finish(entry, token, [done[number] for number in sorted(done)])
        assert finished == destination.stat("a/b")
        assert finished.size == entry.size
        check_bytes(content(destination, finished), b"".join(parts))

    def test_18_a_part_that_fails_or_has_another_size_is_refused(self, destination: Any) -> None:
        needs(destination, Multipart)
        parts = self.parts_of(destination)
        entry = Entry(key="a", size=sum(map(len, parts)))
        token = destination.begin(entry)
        for size in (len(parts[0]) - 1, len(parts[0]) + 1):
            with pytest.raises(CorruptedError):
                destination.put_part(entry, token, 1, BytesStream(parts[0]), size)
        dropped = Dropped(BytesStream(parts[0]), 1000)
        with pytest.raises(ConnectorError) as caught:
            destination.put_part(entry, token, 1, dropped, len(parts[0]))
        assert caught.value is dropped.error
        done = [
            destination.put_part(entry, token, number, BytesStream(part), len(part))
            for number, part in enumerate(parts, 1)
        ]
        check_bytes(content(destination, destination.finish(entry, token, done)), b"".join(parts))

    def test_18_finish_refuses_to_replace_unless_asked(self, destination: Any) -> None:
        needs(destination, Multipart)
        parts = self.parts_of(destination)
        entry = Entry(key="a", size=sum(map(len, parts)))
        token = destination.begin(entry)
        done = [
            destination.put_part(entry, token, number, BytesStream(part), len(part))
            for number, part in enumerate(parts, 1)
        ]
        old = self.store(destination, "a", b"old")
        with pytest.raises(AlreadyExistsError) as caught:
            destination.finish(entry, token, done)
        check_error(caught.value, destination, "a")
        assert content(destination, old) == b"old"
        finished = destination.finish(entry, token, done, replace=True)
        check_bytes(content(destination, finished), b"".join(parts))

    def test_18_abort_leaves_nothing(self, destination: Any, location: Location) -> None:
        needs(destination, Multipart)
        parts = self.parts_of(destination)
        entry = Entry(key="a", size=sum(map(len, parts)))
        token = destination.begin(entry)
        done = destination.put_part(entry, token, 1, BytesStream(parts[0]), len(parts[0]))
        destination.abort(entry, token)
        self.assert_nothing_stored(destination, location, "a")
        with pytest.raises(ConnectorError):
            destination.finish(entry, token, [done] * len(parts))
        destination.abort(entry, token)
        self.assert_nothing_stored(destination, location, "a")

    def test_18_finish_refuses_parts_that_do_not_make_the_size(self, destination: Any) -> None:
        needs(destination, Multipart)
        parts = self.parts_of(destination)
        entry = Entry(key="a", size=sum(map(len, parts)))
        token = destination.begin(entry)
        done = destination.put_part(entry, token, 1, BytesStream(parts[0]), len(parts[0]))
        with pytest.raises(ConnectorError):
            destination.finish(entry, token, [done])
        assert keys(destination) == []
        destination.abort(entry, token)

    def test_19_what_is_deleted_is_gone(self, destination: Any) -> None:
        needs(destination, Eraser)
        self.store(destination, "a/b", b"1")
        self.store(destination, "a/c", b"1")
        destination.delete("a/b")
        assert keys(destination) == ["a/c"]
        with pytest.raises(NotFoundError):
            destination.stat("a/b")
        with pytest.raises(NotFoundError) as caught:
            destination.delete("a/b")
        check_error(caught.value, destination, "a/b")

    def test_20_prepare_makes_the_root_and_keeps_what_is_there(self, place: Any, location: Location) -> None:
        needs(place, Preparer)
        self.store(place, "a", b"1")
        place.prepare()
        assert keys(place) == ["a"]
        inner = self.open_place(self.inner(location))
        try:
            inner.prepare()
            inner.prepare()
            assert keys(inner) == []
            assert content(inner, self.store(inner, "b", b"2")) == b"2"
        finally:
            inner.close()

    def test_20_prepare_drops_partial_files_but_those_to_keep(self, destination: Any, location: Location) -> None:
        needs(destination, Preparer)
        needs(destination, Multipart)
        parts = self.parts_of(destination)
        kept, dropped = (Entry(key=key, size=sum(map(len, parts))) for key in ("kept", "dropped"))
        tokens = {entry.key: destination.begin(entry) for entry in (kept, dropped)}
        done = {
            entry.key: [
                destination.put_part(entry, tokens[entry.key], number, BytesStream(part), len(part))
                for number, part in enumerate(parts, 1)
            ]
            for entry in (kept, dropped)
        }
        destination.prepare(keep=[tokens["kept"]])
        with pytest.raises(ConnectorError):
            destination.finish(dropped, tokens["dropped"], done["dropped"])
        assert destination.finish(kept, tokens["kept"], done["kept"]).size == kept.size
        assert keys(destination) == ["kept"]
        assert list(self.residue(location)) == []

    def test_21_a_digest_on_request_equals_ours_or_is_not_supported(self, place: Any) -> None:
        needs(place, Digester)
        data = pattern(300_000)
        entry = self.store(place, "a", data)
        for name in ("md5", "sha256"):
            try:
                assert place.digest(entry, name) == hashlib.new(name, data).hexdigest()
            except UnsupportedError as error:
                check_error(error, place, "a")
        with pytest.raises(UnsupportedError):
            place.digest(entry, "no such digest")
        with pytest.raises((NotFoundError, UnsupportedError)):
            place.digest(replace(entry, key="nothing"), "sha256")

    def test_22_free_space_is_a_number_of_bytes_or_not_known(self, place: Any) -> None:
        needs(place, Space)
        free = place.free()
        assert free is None or (isinstance(free, int) and free >= 0)

    def test_24_a_sequential_listing_shows_what_the_other_shows(self, place: Any) -> None:
        needs(place, Sequential)
        for number in range(30):
            self.store(place, f"{number % 7}/{number}", b"%d" % number)
        other = place.sequential()
        assert len(keys(other)) == 30
        for prefix in ("", "3/", "none/"):
            assert keys(other, prefix) == keys(place, prefix)

    def test_25_a_setting_that_was_put_is_there_to_another_who_asks(self, destination: Any, other: Any) -> None:
        needs(destination, Settable)
        assert self.recorded, "give `recorded`: settings that this host can be given, without which nothing is tried"
        json.dumps(destination.settings())
        wanted = destination.fit_settings({**self.recorded, "no such setting": {"on": True}})
        assert {setting.name for setting in wanted} == {*self.recorded, "no such setting"}
        assert next(setting for setting in wanted if setting.name == "no such setting").refused
        for setting in wanted:
            if not setting.refused:
                assert destination.compare_setting(setting) == "free"
                destination.put_setting(setting)
                assert other.compare_setting(setting) == "equal"

"""Clauses 5 to 9 and 14: whole or not at all, refusing to replace, telling the truth about what was kept."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.entry import Entry, Posix
from connectors.errors import (
    AlreadyExistsError,
    ConnectorError,
    CorruptedError,
    InvalidKeyError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from connectors.location import Location
from connectors.protocols import ATTRIBUTES, Stream
from connectors.streams import BytesStream
from connectors.testing.base import Base, check_bytes, check_error, content, keys, pattern, preserves
from connectors.testing.faults import Dribbling, Dropped, Watched

MOMENT = datetime(2019, 3, 4, 5, 6, 7, tzinfo=UTC)
"""A whole second, even on hosts that count in twos."""
KEPT: dict[str, dict[str, Any]] = {
    "modified": {"modified": MOMENT.replace(second=8)},
    "media_type": {"media_type": "application/dicom"},
    "headers": {
        "headers": {
            "cache_control": "no-store",
            "content_disposition": 'attachment; filename="lettre.pdf"',
            "content_language": "fr",
            "expires": "Wed, 21 Oct 2037 07:28:00 GMT",
        }
    },
    "metadata": {"metadata": {"origin": "scanner 2", "study-id": "1.2.840.1"}},
    "tags": {"tags": {"retention": "20 years", "kind": "imaging+report"}},
}


class Writing(Base):
    def attempt(self, place: Any, entry: Entry, body: Stream, error: type[BaseException]) -> BaseException:
        with pytest.raises(error) as caught:
            place.put(entry, body)
        return caught.value

    @pytest.mark.parametrize("after", [0, 70_000])
    def test_05_a_body_that_fails_leaves_nothing(self, destination: Any, location: Location, after: int) -> None:
        body = Dropped(BytesStream(pattern(100_000)), after)
        self.attempt(destination, Entry(key="a/b", size=100_000), body, UnavailableError)
        self.assert_nothing_stored(destination, location, "a/b")

    def test_05_a_large_body_that_fails_leaves_nothing(self, destination: Any, location: Location) -> None:
        body = Dropped(BytesStream(pattern(self.large)), self.large - 5)
        self.attempt(destination, Entry(key="a/b", size=self.large), body, UnavailableError)
        self.assert_nothing_stored(destination, location, "a/b")

    def test_05_an_error_of_the_body_comes_out_as_it_is(self, destination: Any) -> None:
        body = Dropped(BytesStream(pattern(100_000)), 70_000)
        error = self.attempt(destination, Entry(key="a", size=100_000), body, UnavailableError)
        assert error is body.error

    def test_05_a_place_works_on_after_a_body_that_failed(self, destination: Any) -> None:
        body = Dropped(BytesStream(b"0123456789"), 5)
        self.attempt(destination, Entry(key="a", size=10), body, UnavailableError)
        assert content(destination, self.store(destination, "a", b"0123456789")) == b"0123456789"

    def test_05_nothing_shows_the_object_before_put_returns(self, destination: Any, other: Any) -> None:
        seen: list[object] = []

        def look() -> None:
            seen.append(keys(other))
            try:
                seen.append(other.stat("a"))
            except NotFoundError:
                pass

        body = Watched(Dribbling(BytesStream(pattern(300_000)), 100_000), look)
        destination.put(Entry(key="a", size=300_000), body)
        assert seen
        assert not [sight for sight in seen if sight]
        assert keys(other) == ["a"]

    def test_05_the_old_content_is_there_until_the_new_is(self, destination: Any, other: Any) -> None:
        self.store(destination, "a", b"old")
        seen: list[bytes] = []
        body = Watched(Dribbling(BytesStream(b"renewed"), 3), lambda: seen.append(content(other, other.stat("a"))))
        destination.put(Entry(key="a", size=7), body, replace=True)
        assert set(seen) == {b"old"}
        assert content(other, other.stat("a")) == b"renewed"

    def test_05_a_failed_replacement_leaves_the_old_content(self, destination: Any, location: Location) -> None:
        old = self.store(destination, "a", b"old")
        with pytest.raises(UnavailableError):
            destination.put(Entry(key="a", size=7), Dropped(BytesStream(b"renewed"), 3), replace=True)
        assert destination.stat("a") == old
        assert content(destination, old) == b"old"
        assert list(self.residue(location)) == []

    def test_05_a_body_in_small_pieces_is_stored_whole(self, destination: Any) -> None:
        data = pattern(200_000)
        entry = destination.put(Entry(key="a", size=len(data)), Dribbling(BytesStream(data), 1009))
        check_bytes(content(destination, entry), data)

    def test_05_a_large_body_is_stored_whole(self, destination: Any, location: Location) -> None:
        data = pattern(self.large)
        entry = destination.put(Entry(key="a", size=len(data)), Dribbling(BytesStream(data), 300_007))
        assert entry.size == len(data)
        check_bytes(content(destination, entry), data)
        assert list(self.residue(location)) == []

    @pytest.mark.parametrize("announced", [9, 11, 0, 1_000_000])
    def test_06_a_body_of_another_size_is_refused(self, destination: Any, location: Location, announced: int) -> None:
        error = self.attempt(destination, Entry(key="a", size=announced), BytesStream(b"0123456789"), CorruptedError)
        assert isinstance(error, CorruptedError)
        check_error(error, destination, "a")
        self.assert_nothing_stored(destination, location, "a")

    @pytest.mark.parametrize("size", [0, 300_000])
    def test_06_a_size_that_is_not_known_is_found_out(self, destination: Any, size: int) -> None:
        entry = destination.put(Entry(key="a"), BytesStream(pattern(size)))
        assert entry.size == size
        assert content(destination, entry) == pattern(size)

    def test_07_what_is_there_is_not_replaced_unless_asked(self, destination: Any, location: Location) -> None:
        old = self.store(destination, "a", b"old")
        self.attempt(destination, Entry(key="a", size=3), BytesStream(b"new"), AlreadyExistsError)
        assert destination.stat("a") == old
        assert content(destination, old) == b"old"
        assert list(self.residue(location)) == []
        new = destination.put(Entry(key="a", size=3), BytesStream(b"new"), replace=True)
        assert content(destination, new) == b"new"
        assert keys(destination) == ["a"]

    def test_07_of_two_in_a_race_one_wins(self, destination: Any, location: Location) -> None:
        for turn in range(5):
            gate = threading.Barrier(2)

            def run(number: int, key: str, gate: threading.Barrier) -> int | None:
                place = self.open_place(location)
                try:
                    body = Watched(BytesStream(b"%d" % number), lambda: _meet(gate))
                    place.put(Entry(key=key, size=1), body)
                    return number
                except AlreadyExistsError:
                    return None
                finally:
                    place.close()

            with ThreadPoolExecutor(2) as pool:
                key = f"turn-{turn}"
                results = list(pool.map(run, range(2), [key] * 2, [gate] * 2))
            winners = [number for number in results if number is not None]
            assert len(winners) == 1, f"{len(winners)} of two were told that they stored {key}"
            assert content(destination, destination.stat(key)) == b"%d" % winners[0]

    def test_08_put_returns_what_stat_returns(self, destination: Any, other: Any) -> None:
        entry = Entry(key="a", size=3, **{name: value for part in KEPT.values() for name, value in part.items()})
        returned = destination.put(entry, BytesStream(b"123"))
        assert (returned.key, returned.size, returned.kind) == ("a", 3, "object")
        assert returned == other.stat("a")
        replaced = destination.put(Entry(key="a", size=4), BytesStream(b"1234"), replace=True)
        assert replaced == other.stat("a")

    def test_09_preflight_needs_no_network(self, destination: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("preflight used the network")

        for name in ("connect", "connect_ex", "send", "sendall", "sendto", "sendmsg"):
            if hasattr(socket.socket, name):
                monkeypatch.setattr(socket.socket, name, refuse)
        destination.preflight(Entry(key="a/b", size=3))
        for kind in ("other", "delete_marker"):
            with pytest.raises(UnsupportedError):
                destination.preflight(Entry(key="a", kind=kind))

    def test_09_put_refuses_what_preflight_refuses(self, destination: Any, location: Location) -> None:
        for entry in (Entry(key=""), Entry(key="a", kind="other"), Entry(key="a", kind="delete_marker")):
            with pytest.raises((InvalidKeyError, UnsupportedError)) as told:
                destination.preflight(entry)
            check_error(told.value, destination, entry.key)
            self.attempt(destination, entry, BytesStream(), type(told.value))
        assert keys(destination) == []
        assert list(self.residue(location)) == []

    def test_14_claims_are_words_of_the_contract(self, place: Any) -> None:
        assert place.capabilities.preserves <= ATTRIBUTES
        assert place.capabilities.connections >= 1

    @pytest.mark.parametrize("attribute", sorted(KEPT))
    def test_14_what_is_claimed_to_be_kept_is_kept(self, destination: Any, other: Any, attribute: str) -> None:
        preserves(destination, attribute)
        wanted = KEPT[attribute]
        returned = self.store(destination, "a", b"123", **wanted)
        for found in (returned, other.stat("a")):
            assert {name: getattr(found, name) for name in wanted} == wanted

    def test_14_posix_keeps_mode_and_time(self, destination: Any, other: Any) -> None:
        preserves(destination, "posix")
        wanted = Posix(mode=0o640, mtime_ns=1_551_675_968_000_000_000)
        returned = self.store(destination, "a", b"123", posix=wanted)
        for found in (returned, other.stat("a")):
            assert found.posix is not None
            assert (found.posix.mode, found.posix.mtime_ns) == (wanted.mode, wanted.mtime_ns)

    def test_14_an_encoded_body_is_not_decoded(self, destination: Any) -> None:
        preserves(destination, "headers")
        data = gzip.compress(b"0123456789" * 100, mtime=0)
        entry = self.store(destination, "a", data, headers={"content_encoding": "gzip"})
        assert entry.headers.get("content_encoding") == "gzip"
        assert entry.size == len(data)
        check_bytes(content(destination, entry), data)

    @pytest.mark.parametrize("kind", ["directory", "link"])
    def test_14_directories_and_links_are_kept_or_refused(self, destination: Any, other: Any, kind: Any) -> None:
        entry = Entry(key="d/e", kind=kind, posix=Posix(target="some/where") if kind == "link" else None)
        if kind not in destination.capabilities.preserves:
            with pytest.raises(UnsupportedError):
                destination.preflight(entry)
            self.attempt(destination, entry, BytesStream(), UnsupportedError)
            assert keys(destination) == []
            return
        destination.preflight(entry)
        returned = destination.put(entry, BytesStream())
        assert returned.kind == kind
        assert returned == other.stat("d/e")
        assert [(found.key, found.kind) for found in other.list()] == [("d/e", kind)]
        if kind == "link":
            assert returned.posix is not None
            assert returned.posix.target == "some/where"

    @pytest.mark.parametrize("size", [0, 10, -1])
    def test_14_a_claimed_digest_equals_ours(self, place: Any, size: int) -> None:
        data = pattern(self.large if size < 0 else size)
        self.store(place, "a", data)
        stated = place.stat("a").digests
        for name in place.capabilities.digests & stated.keys() & hashlib.algorithms_available:
            assert stated[name] == hashlib.new(name, data).hexdigest()

    def test_14_case_matters_as_claimed(self, destination: Any) -> None:
        upper = self.store(destination, "Lettre", b"upper")
        if destination.capabilities.case_sensitive:
            assert content(destination, self.store(destination, "lettre", b"lower")) == b"lower"
            assert keys(destination) == ["Lettre", "lettre"]
        else:
            with pytest.raises(ConnectorError):
                self.store(destination, "lettre", b"lower")
        assert content(destination, upper) == b"upper"


def _meet(gate: threading.Barrier) -> None:
    # One that was refused before it read its body never comes: the other goes on alone.
    try:
        gate.wait(2)
    except threading.BrokenBarrierError:
        pass

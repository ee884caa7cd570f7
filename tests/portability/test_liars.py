"""Hosts that lie, lose and change under our hands: each is found out, named by key and problem, and never PROVEN."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from dataclasses import replace as changed
from pathlib import Path

import pytest
import servers
from places import a_job, content, lines, put

from connectors import Entry, Location, NotFoundError, Source, Stream, UnavailableError, UnsupportedError, connect
from connectors.local.host import Local
from connectors.memory import Memory
from connectors.protocols import Capabilities
from connectors.registry import register
from connectors.streams import BytesStream
from connectors.testing import faults
from portability.errors import InterruptedRunError, PlaceError, RefusedError, exit_code
from portability.job import Job, Level, Policy
from portability.migrate import migrate
from portability.outcome import Outcome
from portability.progress import Silent
from portability.verify import verify

THINGS = {f"patients/{n:02}.txt": f"lettre numéro {n}".encode() for n in range(30)}
HIT = "patients/07.txt"
NEW = "patients/added.txt"


class Plain(faults.Faulty):
    """A host without versions: what lies in its only listing is what we see."""

    def list_versions(self, prefix: str = "") -> Iterator[Entry]:
        raise UnsupportedError("this host keeps no versions", host=self.uri)


class GoneOneInTen(Memory):
    """Says that it has everything, and does not find every tenth of it (a store that was seen to do so: 107 of 124)."""

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        if entry.key.endswith("3.txt"):
            raise NotFoundError("no such key", host=self.uri, key=entry.key)
        return super().open(entry, start, stop)


class Truncating(Memory):
    """Keeps one byte less than it was sent, and states the size of what it was sent."""

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        stream = super().open(entry, start, stop)
        return faults.Short(stream, (entry.size or 1) - 1) if entry.key == HIT else stream


class Honourless(Plain):
    """Keeps other bytes, and echoes the SHA-256 that it was sent as if it had computed it."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, digests=frozenset({"sha256"}))

    def put(self, entry: Entry, body: Stream, *, replace: bool = False) -> Entry:
        data = body.read()
        stored = super().put(entry, BytesStream(data), replace=replace)
        self.damage(entry.key)
        return stored


class Growing(Plain):
    """Gets a new object while it is read."""

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        if NEW not in self._place.things:
            self.put(Entry(key=NEW, size=3), BytesStream(b"new"))
        return super().open(entry, start, stop)


class Changing(Plain):
    """One object is written to while it is read: the same size, other bytes."""

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        stream = super().open(entry, start, stop)
        if entry.key == HIT:
            self.put(Entry(key=HIT, size=entry.size), BytesStream(bytes(entry.size or 0)), replace=True)
        return stream


class Shrinking(Plain):
    """One object is replaced by a shorter one after the listing."""

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        if entry.key == HIT and self.stat(HIT).size != 1:
            self.put(Entry(key=HIT, size=1), BytesStream(b"x"), replace=True)
        return super().open(entry, start, stop)


class Forgetting(Plain):
    """One object is deleted after the listing."""

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        if entry.key == HIT and HIT in self._place.things:
            self.delete(HIT)
        return super().open(entry, start, stop)


class LostPage(Plain):
    """Its first listing leaves a page out; later ones have it."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        lost = not hasattr(self._place, "listed")
        self._place.listed = True  # type: ignore[attr-defined]  # noted where all instances of the place see it
        for entry in super().list(prefix):
            if not (lost and entry.key == HIT):
                yield entry


class HidesFromGuesses(Plain):
    """Leaves a thing out of a listing that is fetched at several places at once."""

    def sequential(self) -> Source:
        return Plain(self._location)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        yield from (entry for entry in super().list(prefix) if entry.key != HIT)


class Twice(Plain):
    """Its pages overlap: one thing is on two of them."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        yield from super().list(prefix)
        yield self.stat(HIT)


class ThirdPage(Plain):
    """Fails on its third page."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for count, entry in enumerate(super().list(prefix)):
            if count == 20:
                raise UnavailableError("the listing broke off", host=self.uri)
            yield entry


class BreaksOnce(Plain):
    """Breaks off the first listing that has anything in it; later ones are whole."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for entry in super().list(prefix):
            if not hasattr(self._place, "broke"):
                self._place.broke = True  # type: ignore[attr-defined]  # as above
                raise UnavailableError("the listing broke off", host=self.uri)
            yield entry


def options_of(**options: str) -> Callable[[Location], Memory]:
    """A host with the faults of these names; its url does not tell."""

    return lambda location: Plain(replace(location, options=options))


@pytest.fixture
def liar() -> Iterator[Callable[..., Location]]:
    """A place at a host of the given kind; the honest things behind it are those of a `memory:` place of the same name."""

    def make(host: Callable[[Location], Memory] = Memory, things: dict[str, bytes] | None = None) -> Location:
        place = Location(scheme=f"liar-{uuid.uuid4().hex}", host=uuid.uuid4().hex)
        register(place.scheme, host)
        for key, data in (things or {}).items():
            put(replace(place, scheme="memory"), key, data)
        return place

    return make


def run(job: Job) -> Outcome:
    with ThreadPoolExecutor(2) as executor:
        return migrate(job, executor=executor)


def verified(job: Job) -> Outcome:
    with ThreadPoolExecutor(2) as executor:
        return verify(str(job.evidence), at=job.destination, executor=executor)


def found(outcome: Outcome) -> set[tuple[str, str]]:
    return {(finding.key, finding.problem) for finding in outcome.findings}


DESTINATIONS = {
    "lists what it cannot read": (
        GoneOneInTen,
        4,
        {(f"patients/{n}3.txt", "unreadable") for n in range(3)},
    ),
    "describes what it cannot read": (options_of(missing=HIT), 4, {(HIT, "unreadable")}),
    "keeps other bytes of the same size": (options_of(stores_other=HIT), 4, {(HIT, "digest")}),
    "keeps fewer bytes than it states": (Truncating, 4, {(HIT, "digest")}),
    "ends a body early": (options_of(short=HIT), 4, {(HIT, "digest")}),
    "flips a bit when it is read": (options_of(flipped=HIT), 4, {(HIT, "digest")}),
    "drops what it acknowledged": (options_of(loses=HIT), 4, {(HIT, "missing")}),
    "states another size": (options_of(wrong_size=HIT), 4, {(HIT, "size")}),
    "loses a page of its listing": (options_of(unlisted=HIT), 4, {(HIT, "missing")}),
    "breaks every connection": (options_of(dropped=HIT), 4, {(HIT, "unreadable")}),
}


@pytest.mark.parametrize(("host", "code", "expected"), DESTINATIONS.values(), ids=DESTINATIONS)
def test_a_destination_that_lies_is_found_out(
    liar: Callable[..., Location],
    tmp_path: Path,
    host: Callable[[Location], Memory],
    code: int,
    expected: set[tuple[str, str]],
) -> None:
    job = a_job(liar(things=THINGS), liar(host), tmp_path / "evidence")

    outcome = run(job)

    assert (outcome.proven, outcome.exit_code, found(outcome)) == (False, code, expected)
    hit = {key for key, _ in expected}
    assert {line.key for line in lines(job.evidence) if line.evidence == "read"} == THINGS.keys() - hit
    again = verified(job)
    assert not again.proven
    assert again.exit_code in {3, 4}


def test_an_echoed_digest_never_counts_as_read(liar: Callable[..., Location], tmp_path: Path) -> None:
    outcome = run(a_job(liar(things=THINGS), liar(Honourless), tmp_path / "evidence"))

    assert (outcome.proven, outcome.exit_code) == (False, 4)
    assert outcome.finding_count == len(THINGS)
    assert "read" not in outcome.levels


SOURCES = {
    "is one byte shorter than it lists": (options_of(wrong_size=HIT), 3, {(HIT, "failed")}),
    "ends a body early": (options_of(short=HIT), 3, {(HIT, "failed")}),
    "breaks every connection": (options_of(dropped=HIT), 3, {(HIT, "failed")}),
    "cannot read what it lists": (options_of(missing=HIT), 3, {(HIT, "failed")}),
    "changes an object while it is read": (Changing, 3, {(HIT, "source-changed")}),
    "gets a shorter object after the census": (Shrinking, 3, {(HIT, "failed"), (HIT, "source-changed")}),
    "loses an object after the census": (Forgetting, 3, {(HIT, "failed"), (HIT, "source-gone")}),
    "gets a new object after the census": (Growing, 3, {(NEW, "source-appeared")}),
    "loses a page of the first listing": (LostPage, 3, {(HIT, "source-appeared")}),
    "hides a key from one way of listing": (HidesFromGuesses, 3, {(HIT, "source-appeared")}),
}


@pytest.mark.parametrize(("host", "code", "expected"), SOURCES.values(), ids=SOURCES)
def test_a_source_that_is_not_what_it_listed_is_never_proven(
    liar: Callable[..., Location],
    tmp_path: Path,
    host: Callable[[Location], Memory],
    code: int,
    expected: set[tuple[str, str]],
) -> None:
    outcome = run(a_job(liar(host, THINGS), liar(), tmp_path / "evidence"))

    assert (outcome.proven, outcome.exit_code, found(outcome)) == (False, code, expected)


@pytest.mark.parametrize(
    ("host", "things", "error", "code"),
    [
        (ThirdPage, THINGS, UnavailableError, 5),
        (options_of(breaks=HIT), THINGS, UnavailableError, 5),
        (Twice, THINGS, PlaceError, 5),
        (Memory, {}, RefusedError, 3),
    ],
    ids=["breaks off on page three", "breaks off at a key", "lists a thing twice", "holds nothing"],
)
def test_a_listing_that_cannot_be_trusted_ends_the_run_before_anything_moves(
    liar: Callable[..., Location],
    tmp_path: Path,
    host: Callable[[Location], Memory],
    things: dict[str, bytes],
    error: type[Exception],
    code: int,
) -> None:
    job = a_job(liar(host, things), liar(), tmp_path / "evidence")

    with pytest.raises(error) as raised:
        run(job)

    assert exit_code(raised.value) == code
    assert content(replace(job.destination, scheme="memory")) == {}
    assert not (job.evidence / "manifest.jsonl").exists()


def test_a_destination_whose_listing_breaks_off_is_asked_again_by_the_same_command(
    liar: Callable[..., Location], tmp_path: Path
) -> None:
    job = a_job(liar(things=THINGS), liar(BreaksOnce), tmp_path / "evidence")
    with pytest.raises(UnavailableError):
        run(job)

    assert run(job).proven


def test_a_host_that_is_busy_for_a_moment_is_asked_again_and_the_tries_are_told(
    liar: Callable[..., Location], tmp_path: Path
) -> None:
    job = a_job(liar(options_of(busy=HIT), THINGS), liar(), tmp_path / "evidence")

    with ThreadPoolExecutor(1) as executor:
        outcome = migrate(job, executor=executor)

    assert (outcome.proven, outcome.retries) == (True, 1)
    assert {line.key: line.attempts for line in lines(job.evidence) if line.attempts != 1} == {HIT: 2}


def test_the_tries_at_a_host_that_never_answers_are_told_too(liar: Callable[..., Location], tmp_path: Path) -> None:
    outcome = run(a_job(liar(options_of(dropped=HIT), THINGS), liar(), tmp_path / "evidence"))

    assert (outcome.proven, outcome.exit_code, outcome.retries) == (False, 3, 1)


@pytest.mark.parametrize("merge", [False, True])
def test_other_bytes_of_the_same_size_and_time_are_neither_taken_for_ours_nor_overwritten(
    liar: Callable[..., Location], tmp_path: Path, merge: bool
) -> None:
    source, destination = liar(things=THINGS), liar(things={HIT: THINGS[HIT][::-1]})
    job = a_job(source, destination, tmp_path / "evidence", merge=merge)

    outcome = run(job)

    assert (outcome.proven, outcome.exit_code, found(outcome)) == (False, 3, {(HIT, "failed")})
    (finding,) = outcome.findings
    assert "another content" in finding.found
    assert content(replace(destination, scheme="memory"))[HIT] == THINGS[HIT][::-1]


def test_a_host_that_ignores_create_only_overwrites_nothing(
    moto: servers.S3Server, rclone_s3: servers.S3Server, tmp_path: Path
) -> None:
    """rclone's S3 server answers 200 to a conditional PUT over another object."""
    source, destination = moto.place(), rclone_s3.place()
    put(source, HIT, b"ours")
    put(destination, HIT, b"what was there")

    outcome = run(a_job(source, destination, tmp_path / "evidence"))

    assert (outcome.proven, outcome.exit_code, found(outcome)) == (False, 3, {(HIT, "failed")})
    assert content(destination)[HIT] == b"what was there"


def test_the_same_bytes_at_the_destination_are_adopted_after_being_read(
    liar: Callable[..., Location], tmp_path: Path
) -> None:
    outcome = run(a_job(liar(things=THINGS), liar(things={HIT: THINGS[HIT]}), tmp_path / "evidence"))

    assert outcome.proven
    assert outcome.levels == {"read": len(THINGS)}


def test_an_object_that_two_of_a_practice_exchange_is_found_though_every_count_agrees(
    liar: Callable[..., Location], tmp_path: Path
) -> None:
    """One lost and one added of the same size: counts and bytes are equal, the things are not."""
    job = a_job(liar(things=THINGS), liar(), tmp_path / "evidence")
    assert run(job).proven
    behind = replace(job.destination, scheme="memory")
    host = connect(behind)
    host.delete(HIT)
    put(behind, NEW, THINGS[HIT])

    outcome = verified(job)

    assert (outcome.exit_code, found(outcome)) == (4, {(HIT, "missing"), (NEW, "unexpected")})


@pytest.mark.parametrize(("demands", "proven"), [("listed", True), ("reported", False), ("read", True)])
def test_a_level_that_the_host_cannot_give_is_not_taken_for_given(
    liar: Callable[..., Location], tmp_path: Path, demands: Level, proven: bool
) -> None:
    """This host states no SHA-256: asked for what it reports, there is nothing to believe; reading gives more."""
    job = a_job(liar(things=THINGS), liar(), tmp_path / "evidence", demands=demands)

    outcome = run(job)

    assert (outcome.proven, outcome.exit_code) == (proven, 0 if proven else 3)
    assert outcome.levels == {"read" if demands == "read" else "listed": len(THINGS)}
    assert [reason for reason in outcome.reasons if "evidence below reported" in reason] or proven


class Foresees(Plain):
    """Says that it keeps media types as it did before, and keeps none; what is read back is honest."""

    bulk_bytes = 1 << 20

    def put_many(self, items: Iterable[tuple[Entry, bytes]], width: int) -> Iterator[tuple[int, Entry]]:
        for number, (entry, body) in enumerate(items):
            yield number, self.put(replace(entry, media_type=None), BytesStream(body))

    def put_many_foreseen(self, items: Iterable[tuple[Entry, bytes]], width: int) -> Iterator[tuple[int, Entry]]:
        given = list(items)
        for number, stored in self.put_many(given, width):
            yield number, replace(stored, media_type=given[number][0].media_type)


class UntilVerify(Silent):
    """A run that is broken off when all of it has been put."""

    def phase(self, name: str, items: int | None = None, size: int | None = None) -> None:
        if name == "destination listing":
            raise InterruptedRunError("broken off")


@pytest.mark.parametrize("demands", ["listed", "reported", "read"])
def test_what_was_foreseen_is_looked_at_even_if_the_run_goes_on_with_a_lesser_demand(
    liar: Callable[..., Location], tmp_path: Path, demands: Level
) -> None:
    source = liar()
    host = Memory(replace(source, scheme="memory"))
    for key, data in THINGS.items():
        host.put(Entry(key=key, size=len(data), media_type="text/plain"), BytesStream(data))
    job = a_job(source, liar(Foresees), tmp_path / "evidence")
    with ThreadPoolExecutor(2) as executor, pytest.raises(InterruptedRunError):
        migrate(job, executor=executor, progress=UntilVerify())

    outcome = run(replace(job, demands=demands))

    assert not outcome.proven
    assert outcome.finding_count == len(THINGS)
    assert {problem for _, problem in found(outcome)} == {"metadata"}


class WrongPart(Local):
    """Takes large objects in small parts, and keeps zeros for the second one."""

    def part_size(self, size: int) -> int:
        return 1 << 12

    def put_part(self, entry: Entry, token: str, number: int, body: Stream, size: int) -> str:
        data = body.read()
        return super().put_part(entry, token, number, BytesStream(bytes(size) if number == 2 else data), size)


def test_a_part_that_was_not_kept_as_it_was_sent_is_named(liar: Callable[..., Location], tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    destination = replace(liar(WrongPart), host="", path=str(tmp_path / "new"))
    job = a_job(liar(things={HIT: b"x" * 20_000}), destination, tmp_path / "evidence", policy=Policy(part_above=1))

    outcome = run(job)

    assert (outcome.proven, outcome.exit_code, found(outcome)) == (False, 4, {(HIT, "digest")})
    (finding,) = outcome.findings
    assert (finding.expected[:7], finding.found[:7], finding.depth) == ("part 2:", "part 2:", "read")
    assert list(lines(job.evidence)) == []


def test_a_destination_that_acknowledges_another_size_has_not_taken_the_object(
    liar: Callable[..., Location], tmp_path: Path
) -> None:
    class Miscounting(Memory):
        def put(self, entry: Entry, body: Stream, *, replace: bool = False) -> Entry:
            stored = super().put(entry, body, replace=replace)
            return changed(stored, size=5) if entry.key == HIT else stored

    outcome = run(a_job(liar(things=THINGS), liar(Miscounting), tmp_path / "evidence"))

    assert (outcome.proven, outcome.exit_code, found(outcome)) == (False, 3, {(HIT, "failed")})

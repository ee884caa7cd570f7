"""The ledger keeps exact keys in exact order, pages while it is written, and forgets nothing that a later run needs."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors import Entry, Posix
from connectors.keys import key_bytes
from portability.errors import EvidenceError, PlaceError
from portability.ledger import PAGE, Ledger
from portability.outcome import Finding
from portability.tasks import Begun, Failure, Moved, PartMoved
from portability.thing import UNVERSIONED, entry_of, mark

KEYS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff/aé\U0010ffff"), min_size=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path)) as made:
        yield made


def claims(*keys: str) -> list[Entry]:
    return [Entry(key=key, size=len(key)) for key in keys]


def census(ledger: Ledger, *entries: Entry, ranked: bool = False) -> None:
    with ledger.transaction():
        ledger.execute("DELETE FROM things")
        ledger.add_claims(entries)
        if ranked:
            ledger.rank()
        ledger.index()
        ledger.execute("UPDATE things SET action = 'copy'")


def moved(number: int, **changes: object) -> Moved:
    values = {
        "id": number,
        "facts": '{"key": "k"}',
        "size": 1,
        "sha256": "0" * 64,
        "losses": (),
        "attempts": 1,
        "received_at": "2026-01-01T00:00:00Z",
        "salt": "c2FsdA==",
    }
    return Moved(**{**values, **changes})  # type: ignore[arg-type]  # the values' types are those of the fields


@given(keys=st.sets(KEYS, max_size=40), seed=st.integers())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_keys_come_back_exact_and_in_the_order_of_their_bytes(ledger: Ledger, keys: set[str], seed: int) -> None:
    listed = sorted(keys)
    random.Random(seed).shuffle(listed)

    census(ledger, *claims(*listed))

    assert [thing.key for thing in ledger.things()] == sorted(keys, key=key_bytes)
    assert all(thing.claim.key == thing.key == thing.path for thing in ledger.things())


def test_things_are_paged_while_they_are_written_each_once(ledger: Ledger) -> None:
    keys = [f"{n:05}" for n in range(2 * PAGE + 17)]
    census(ledger, *claims(*keys))

    seen = []
    for thing in ledger.things("state = 'planned'"):
        seen.append(thing.key)
        ledger.execute("UPDATE things SET state = 'moved' WHERE id = ?", thing.id)

    assert seen == keys
    assert ledger.count("state = 'moved'") == len(keys)


def test_versions_are_ordered_from_the_oldest(ledger: Ledger) -> None:
    listed = [Entry(key=key, size=1, version=version) for key, version in ("b3", "b2", "b1", "a1", "c2", "c1")]
    census(ledger, *listed, ranked=True)

    told = [(thing.key, thing.order, thing.claim.version) for thing in ledger.things()]

    assert told == [("a", 0, "1"), ("b", 0, "1"), ("b", 1, "2"), ("b", 2, "3"), ("c", 0, "1"), ("c", 1, "2")]


def test_things_without_versions_have_no_order(ledger: Ledger) -> None:
    census(ledger, *claims("a"))
    assert [(thing.ord, thing.order) for thing in ledger.things()] == [(UNVERSIONED, None)]


def test_a_thing_listed_twice_is_a_listing_that_cannot_be_trusted(ledger: Ledger) -> None:
    with pytest.raises(PlaceError, match="twice"):
        census(ledger, *claims("a", "b", "a"))
    assert ledger.count() == 0


@pytest.mark.parametrize("versions", [True, False])
def test_a_listing_of_the_destination_takes_the_place_of_the_one_before(ledger: Ledger, versions: bool) -> None:
    """Also over page ends: the versions of one key may stand on two pages."""
    many = [Entry(key="many", size=n, version=str(n)) for n in reversed(range(PAGE + 5))]
    few = [Entry(key="few", size=n, version=str(n)) for n in (1, 0)]
    alone = [Entry(key="alone", size=0, version="0"), Entry(key="\udcff", size=0, version="0")]
    for _ in range(2):
        entries = [*alone, *many, *few] if versions else [*alone, many[0], few[0]]
        counts = list(ledger.replace_there(entries, versions=versions))
        assert counts[-1] == len(entries)

    rows = ledger.query("SELECT key, ord, json_extract(entry, '$.version') FROM there ORDER BY key, ord")
    if versions:
        assert all(order == int(version) for _, order, version in rows)
        assert len(rows) == len(entries)
    else:
        assert [(key, order) for key, order, _ in rows] == [
            (b"alone", -1),
            (b"few", -1),
            (b"many", -1),
            (b"\xff", -1),
        ]


def test_a_destination_that_lists_a_thing_twice_cannot_be_trusted(ledger: Ledger) -> None:
    with pytest.raises(PlaceError, match="twice"):
        list(ledger.replace_there(claims("a", "a"), versions=False))


def test_an_interrupted_listing_leaves_no_mixture_behind(ledger: Ledger) -> None:
    list(ledger.replace_there(claims("old"), versions=False))

    next(ledger.replace_there(claims(*(f"{n}" for n in range(PAGE + 1))), versions=False))
    list(ledger.replace_there(claims("new"), versions=False))

    assert ledger.query("SELECT key FROM there") == [(b"new",)]


def test_a_transaction_is_all_or_nothing(ledger: Ledger, tmp_path: Path) -> None:
    def half() -> None:
        with ledger.transaction():
            ledger.set("phase", "plan")
            ledger.add_claims(claims("a"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()

    assert (ledger.get("phase"), ledger.count()) == ("", 0)
    with ledger.transaction():
        ledger.set("phase", "plan")
    with closing(Ledger(tmp_path, read_only=True)) as other:
        assert other.get("phase") == "plan"


def test_tries_add_up_over_failures_and_runs(ledger: Ledger) -> None:
    census(ledger, *claims("a"))
    (thing,) = ledger.things()
    ledger.settle_failure(Failure(id=thing.id, problem="Unavailable", message="no answer", attempts=3))
    ledger.settle_failure(Failure(id=thing.id, problem="Unavailable", message="no answer", attempts=2))
    assert [(one.state, one.attempts, one.problem) for one in ledger.things()] == [("failed", 5, "Unavailable")]

    ledger.settle_moved(moved(thing.id))

    assert [(one.state, one.attempts, one.problem) for one in ledger.things()] == [("moved", 6, None)]


def test_facts_that_equal_the_claim_take_no_room_and_outlast_it(ledger: Ledger) -> None:
    """The run after has another claim: what the thing was when it was moved is still known."""
    census(ledger, *claims("same", "more"))
    more, same = ledger.things()
    ledger.settle_moved(
        moved(same.id, facts=same.claim_text), moved(more.id, facts='{"key": "more", "media_type": "a/b"}')
    )
    assert ledger.query("SELECT key, facts IS NULL FROM things ORDER BY key") == [(b"more", 0), (b"same", 1)]
    assert [(thing.facts.size, thing.facts.media_type) for thing in ledger.things()] == [(None, "a/b"), (4, None)]

    with ledger.transaction():
        ledger.begin_delta()

    told = {key: json.loads(facts) for key, facts in ledger.query("SELECT key, facts FROM before")}
    assert told == {b"more": {"key": "more", "media_type": "a/b"}, b"same": {"key": "same", "size": 4}}


def test_each_thing_comes_with_what_the_destination_lists_of_it(ledger: Ledger) -> None:
    census(ledger, *claims("a", "b", "moved"))
    ledger.execute("UPDATE things SET path = x'7a' WHERE key = x'6d6f766564'")
    list(ledger.replace_there([Entry(key="z", size=3), Entry(key="a", size=1), Entry(key="c", size=2)], versions=False))

    told = [(thing.key, listing and entry_of(listing).size) for thing, listing in ledger.listed("1")]

    assert told == [("a", 1), ("b", None), ("moved", 3)]


def test_parts_of_a_large_object_are_kept_until_the_whole_digest_is_known(ledger: Ledger) -> None:
    census(ledger, *claims("a"))
    (thing,) = ledger.things()
    ledger.settle_begun(Begun(id=thing.id, token="token", part_size=5, facts={"key": "a", "size": 8}))
    for number, size in ((2, 3), (1, 5)):
        ledger.settle_part(PartMoved(id=thing.id, number=number, size=size, sha256="1" * 64, tag="t", attempts=1))
    upload = ledger.upload(thing.id)
    assert upload is not None
    assert (upload[0], upload[1], upload[2].size) == ("token", 5, 8)

    ledger.settle_moved(moved(thing.id, sha256=None, size=8))

    assert ledger.upload(thing.id) is None
    assert [part[:2] for part in ledger.parts(thing.id)] == [(1, 5), (2, 3)]


def test_an_upload_begun_anew_has_none_of_the_parts_before(ledger: Ledger) -> None:
    census(ledger, *claims("a"))
    (thing,) = ledger.things()
    begun = Begun(id=thing.id, token="one", part_size=5, facts={"key": "a", "size": 8})
    ledger.settle_begun(begun)
    ledger.settle_part(PartMoved(id=thing.id, number=1, size=5, sha256="1" * 64, tag="t", attempts=1))
    ledger.settle_begun(replace(begun, token="two"))
    assert ledger.parts(thing.id) == []


def settle(ledger: Ledger, **states: str) -> None:
    for thing in list(ledger.things()):
        if states[thing.key] == "moved":
            ledger.settle_moved(moved(thing.id))
        else:
            ledger.settle_failure(Failure(id=thing.id, problem="Unavailable", message="no answer"))


def test_a_delta_knows_all_that_earlier_runs_put(ledger: Ledger, tmp_path: Path) -> None:
    """What failed in the run between, and what was gone from the source then, is still as the run before left it."""
    census(ledger, *claims("again", "failed", "gone", "never"))
    settle(ledger, again="moved", failed="moved", gone="moved", never="failed")
    ledger.add_finding("verify", Finding(key="never", problem="failed"))
    with ledger.transaction():
        ledger.begin_delta()
    assert (ledger.count(), ledger.finding_count()) == (0, 0)

    census(ledger, Entry(key="again", size=77), Entry(key="failed", size=77), Entry(key="never", size=77))
    settle(ledger, again="moved", failed="failed", never="failed")
    with ledger.transaction():
        ledger.begin_delta()

    rows = dict(ledger.query("SELECT key, mark FROM before"))
    assert rows.keys() == {b"again", b"failed", b"gone"}
    assert (rows[b"again"], rows[b"failed"]) == (mark(Entry(key="", size=77)), mark(Entry(key="", size=6)))
    with closing(Ledger(tmp_path, read_only=True)) as later:
        assert later.has_before


def test_findings_come_by_key_as_many_as_asked(ledger: Ledger) -> None:
    for n in reversed(range(PAGE + 3)):
        ledger.add_finding("verify", Finding(key=f"{n:05}", problem="missing"))
    ledger.add_finding("listing", Finding(key="\udcff", problem="unexpected", order=2))

    assert [finding.key for finding in ledger.findings(3)] == ["00000", "00001", "00002"]
    everything = list(ledger.findings())
    assert (len(everything), everything[-1].key, everything[-1].order) == (PAGE + 4, "\udcff", 2)
    ledger.clear_findings("verify")
    assert ledger.finding_count() == 1


def test_what_makes_a_thing_another_one() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    one = Entry(key="a", size=1, modified=now, version="v", digests={"md5": "0" * 32}, posix=Posix(mtime_ns=5))
    assert mark(one) == mark(replace(one, key="b", media_type="text/plain"))
    for other in (
        replace(one, size=2),
        replace(one, version="w"),
        replace(one, digests={"md5": "1" * 32}),
        replace(one, posix=Posix(mtime_ns=6)),
        replace(one, posix=None),
        replace(one, kind="link", posix=Posix(mtime_ns=5, target="t")),
    ):
        assert mark(other) != mark(one)
    folder = Entry(key="f", kind="directory", modified=now)
    assert mark(folder) == mark(replace(folder, modified=datetime(2027, 1, 1, tzinfo=UTC)))


def test_a_file_that_is_no_ledger_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="no ledger"):
        Ledger(tmp_path, read_only=True)
    (tmp_path / "ledger.sqlite").touch()
    with pytest.raises(EvidenceError, match="empty"):
        Ledger(tmp_path, read_only=True)
    with closing(Ledger(tmp_path)) as ledger:
        ledger.set("format", "portability-ledger/99")
    with pytest.raises(EvidenceError, match="no ledger that this version knows"):
        Ledger(tmp_path)


def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE patients (name TEXT)")
    with pytest.raises(EvidenceError):
        Ledger(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("patients",)]


MOMENTS = st.none() | st.datetimes(timezones=st.just(UTC))
DIGESTS = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3)
POSIX = st.none() | st.builds(Posix, mtime_ns=st.none() | st.integers(0), target=st.none() | KEYS)


@given(
    st.builds(
        Entry,
        key=KEYS,
        size=st.none() | st.integers(0),
        version=st.none() | KEYS,
        kind=st.sampled_from(["object", "directory", "link"]),
        modified=MOMENTS,
        digests=DIGESTS,
        posix=POSIX,
    )
)
def test_a_mark_is_written_as_ledgers_had_it_always(entry: Entry) -> None:
    when = entry.posix.mtime_ns if entry.posix and entry.posix.mtime_ns is not None else entry.modified
    told = str(None if entry.kind == "directory" else when)
    target = entry.posix.target if entry.posix else None
    digests = dict(sorted(entry.digests.items()))
    assert mark(entry) == json.dumps([entry.kind, entry.size, entry.version, digests, told, target])

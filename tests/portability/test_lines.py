"""A line of the manifest says of a thing what the ledger knows of it, and nothing is lost on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from connectors import Entry, Posix
from connectors.keys import key_bytes
from manifests.receipt import Receipt, new_salt
from portability.receipts import entry_of, line_of
from portability.thing import COLUMNS, Thing, dump

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POSIX = Posix(
    mode=0o640, uid=0, gid=7, user="doc", group="é", mtime_ns=0, xattrs={"user.a": b"\x00", "b": b""}, sparse=True
)
ENTRIES = [
    Entry(key="plain", size=3),
    Entry(key="é/\udcff", size=3, modified=MOMENT, digests={"etag": '"e"'}, storage_class="COLD"),
    Entry(key="a", size=3, modified=MOMENT.replace(microsecond=123000), media_type="", tags={"a": "b"}),
    Entry(key="a", size=3, modified=MOMENT.replace(microsecond=1).astimezone(timezone(timedelta(hours=2)))),
    Entry(key="a", size=3, headers={"expires": "x"}, metadata={"mtime": "1", "name_b64": "\udcff"}),
    Entry(key="a", size=3, host={"acl": {"owner": None, "grants": [{"ok": True, "n": 5}]}}, posix=POSIX),
    Entry(key="a", size=3, posix=Posix(hardlink_to="b\udcfe")),
    Entry(key="a", kind="link", posix=replace(POSIX, target="../\udcff")),
    Entry(key="a", size=3, version="v1", latest=False),
]


def thing(entry: Entry, **more: Any) -> Thing:
    row = dict.fromkeys(COLUMNS)
    row |= {"key": key_bytes(entry.key), "ord": -1, "kind": entry.kind, "claim": dump(entry), "action": "copy"}
    row |= {"attempts": 0, "salt": new_salt(), "evidence": "read", "bytes": entry.size, "sha256": "ab" * 32, **more}
    return Thing(tuple(row[name] for name in COLUMNS))


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_line_describes_the_thing_as_it_was_when_it_was_moved(entry: Entry) -> None:
    order = -1 if entry.version is None else 3
    line = Receipt.from_line(Receipt.from_dict(line_of(thing(entry, ord=order))).to_line())
    assert entry_of(line) == entry
    assert line.attempts == 1
    assert line.order == (None if order < 0 else order)


def test_a_line_says_where_a_thing_went_and_what_could_not_be_kept() -> None:
    moved = thing(ENTRIES[0], path=b"else/\xff", losses=json.dumps([["tags", "/tags"], ["acl", None]]), attempts=4)
    line = Receipt.from_dict(line_of(moved))
    assert (line.path, line.attempts) == ("else/\udcff", 4)
    assert [(loss.name, loss.parked) for loss in line.losses or ()] == [("tags", "/tags"), ("acl", None)]
    parked = Receipt.from_dict(line_of(thing(Entry(key="a", kind="directory"), path=b"b", action="park")))
    assert (parked.path, parked.size, parked.sha256) == (None, None, None)


def test_what_an_archive_holds_is_told_in_the_line() -> None:
    sealed, other = {"size": 9, "sha256": "cd" * 32}, {"archive": "urn:uuid:1", "path": "data/a"}
    assert Receipt.from_dict(line_of(thing(ENTRIES[0], stored=json.dumps(sealed)))).age == sealed
    elsewhere = Receipt.from_dict(line_of(thing(ENTRIES[0], stored=json.dumps(other), path=b"b")))
    assert (elsewhere.stored_in, elsewhere.age, elsewhere.path) == (other, None, None)


def test_a_skipped_thing_keeps_its_reason_and_no_contents() -> None:
    line = Receipt.from_dict(line_of(thing(ENTRIES[4], action="skip", reason="cold")))
    assert (line.kind, line.reason, line.size, line.headers) == ("skipped", "cold", None, None)


def test_statements_of_a_host_that_json_would_change_become_text() -> None:
    line = line_of(thing(Entry(key="a", size=3, host={"lock": {"days": 1.5, "many": 2**60, "odd": "\udcff"}})))
    assert line["host"] == {"lock": {"days": "1.5", "many": str(2**60), "odd": "?"}}

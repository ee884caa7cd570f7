"""Provenance says what was done without naming a thing; history says it in a chain."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from manifests import history
from manifests.errors import FormatError
from manifests.provenance import PREMIS, Agent, Event, Place, parse_provenance, write_provenance

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
EVENT = Event(
    type="transfer",
    start=START,
    end=START + timedelta(minutes=5),
    agent=Agent(role="operator", organization="Cabinet Exemple", software={"name": "portability", "version": "0.1.0"}),
    source=Place(uri="s3://s3.example/cabinet", type="s3", listed_at="2026-11-21T09:00:01Z"),
    destination=Place(uri="sftp://new.example/cabinet", type="sftp"),
    outcome="success",
    counts={"listed": 10, "copied": 10, "bytes": 72},
    warnings=("2 objects lost their tags",),
)


def test_events_survive_and_stand_in_time_order() -> None:
    later = replace(EVENT, type="verification", start=EVENT.end)
    data = write_provenance([later, EVENT])
    assert parse_provenance(data) == (EVENT, later)
    plain = json.loads(data)
    assert plain["schema"] == "portability:provenance/1"
    assert plain["events"][0]["premis"] == "http://id.loc.gov/vocabulary/preservation/eventType/tra"
    assert plain["events"][0]["from"] == {
        "uri": "s3://s3.example/cabinet",
        "type": "s3",
        "listed_at": "2026-11-21T09:00:01Z",
    }
    assert data.endswith(b"}\n")
    assert b"\n  " in data


def test_every_type_has_its_premis_event() -> None:
    assert set(PREMIS) == {"inventory", "export", "transfer", "restore", "drill", "verification", "encryption"}


def test_an_unknown_type_outcome_or_count_is_refused() -> None:
    for wrong in (replace(EVENT, type="copy"), replace(EVENT, outcome="ok"), replace(EVENT, counts={"patients/a": 1})):
        with pytest.raises(FormatError):
            write_provenance([wrong])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schema":"portability:provenance/2","events":[]}',
        b'{"schema":"portability:provenance/1","events":[{}]}',
        b'{"schema":"portability:provenance/1","events":[3]}',
        b"[" * 100_000,
    ],
)
def test_another_file_is_not_provenance(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_provenance(data)


def a_chain() -> list[bytes]:
    first = history.append(
        None, type="export", result="PROVEN", time="2026-11-21T09:05:00Z", archive="sha256:" + "ab" * 32
    )
    second = history.append(first, type="drill", result="PASSED", time="2026-12-21T09:05:00Z")
    third = history.append(second, type="key", result="introduced", time="2027-01-21T09:05:00Z")
    return [entry.to_line() + b"\n" for entry in (first, second, third)]


def test_a_history_is_a_chain_from_64_zeros() -> None:
    lines = a_chain()
    entries = list(history.read_history(lines))
    assert [entry.seq for entry in entries] == [0, 1, 2]
    assert entries[0].prev == "0" * 64
    assert lines[0].startswith(b'{"archive":"sha256:abab')
    assert b'"archive":null' in lines[1]
    assert list(history.read_history([])) == []


def test_any_changed_added_removed_or_swapped_line_breaks_the_chain() -> None:
    lines = a_chain()
    broken = [
        lines[1:],
        [lines[0], lines[2]],
        [lines[1], lines[0], lines[2]],
        [lines[0], *lines],
        [lines[0].replace(b"PROVEN", b"proven"), *lines[1:]],
        [*lines[:2], lines[2][:-1]],
        [*lines, b"\n"],
        [lines[0], lines[1].replace(b'"seq":1', b'"seq":true'), lines[2]],
        [lines[0].replace(b'"type":"export"', b'"type":"export","z":1')],
        [lines[0].replace(b"T09:05", b" 09:05")],
        [lines[0].replace(b"sha256:", b"md5:")],
    ]
    for chain in broken:
        with pytest.raises(FormatError) as caught:
            list(history.read_history(chain))
        assert caught.value.line is not None

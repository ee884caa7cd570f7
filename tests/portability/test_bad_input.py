"""What cannot be done is refused with a cause and a way on, before anything moves; what is interrupted goes on."""

from __future__ import annotations

import errno
import os
import sqlite3
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import servers
from places import a_job, content, delete, lines, put

from connectors import ConnectorError, Entry, FullError, Location, NotFoundError, Stream
from connectors.memory import Memory
from connectors.protocols import Capabilities
from connectors.registry import register
from manifests.errors import ManifestError
from portability.errors import EvidenceError, PlaceError, RefusedError, UsageError, exit_code
from portability.job import Job
from portability.lock import FolderLock
from portability.migrate import migrate, plan, status
from portability.outcome import Outcome
from portability.verify import verify

THINGS = {"a.txt": b"a", "dossier/b.txt": b"bb", "dossier/c.bin": bytes(range(256)) * 300}


class Merging(Memory):
    """A file system blind to case and normal form, as most desktops have."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, case_sensitive=False)


class Full(Memory):
    """Has no room for anything larger than a thousand bytes until someone makes some."""

    room = 1000

    def put(self, entry: Entry, body: Stream, *, replace: bool = False) -> Entry:
        if (entry.size or 0) > self.room:
            raise FullError("no space left at the host; make room there", host=self.uri, key=entry.key)
        return super().put(entry, body, replace=replace)


def memory(things: dict[str, bytes] | None = None, host: Callable[[Location], Memory] | None = None) -> Location:
    place = Location(scheme="memory", host=uuid.uuid4().hex)
    for key, data in (things or {}).items():
        put(place, key, data)
    if host is not None:
        place = replace(place, scheme=f"odd-{uuid.uuid4().hex}")
        register(place.scheme, host)
    return place


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return a_job(memory(THINGS), memory(), tmp_path / "evidence")


def run(job: Job, **how: Any) -> Outcome:
    with ThreadPoolExecutor(2) as executor:
        return migrate(job, executor=executor, **how)


def refusal(job: Job, kind: type[Exception], **how: Any) -> str:
    """What a run that must not start, or go on, says; its exit code is its error's."""
    with pytest.raises(kind) as raised:
        run(job, **how)
    expected = {UsageError: 2, RefusedError: 3, PlaceError: 5, EvidenceError: 6, ManifestError: 6}[kind]
    assert exit_code(raised.value) == expected
    return f"{raised.value} {getattr(raised.value, 'hint', '')}"


# -- the evidence folder ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["destination", "source"])
def test_a_job_that_moved_nothing_leaves_its_evidence_folder_to_the_corrected_one(
    wrong: str, job: Job, moto: servers.S3Server
) -> None:
    mistyped = replace(job, destination=moto.location("no-such-bucket"))
    if wrong == "source":  # it holds something else, and the destination has no place of its own for all of it
        others = memory({"A.txt": b"1", "a.txt": b"2"})
        mistyped = replace(job, source=others, destination=memory({"a.txt": b"theirs"}, Merging))
    with pytest.raises((ConnectorError, RefusedError)):
        run(mistyped)

    assert run(job).proven
    assert {line.key for line in lines(job.evidence)} == THINGS.keys()
    assert content(job.destination) == THINGS
    assert refusal(mistyped, UsageError)  # and now it is this one's


def test_a_second_run_on_the_same_evidence_waits_its_turn(job: Job) -> None:
    job.evidence.mkdir()
    with FolderLock(job.evidence):
        assert "another run is working" in refusal(job, PlaceError)
    assert run(job).proven


def test_evidence_of_another_job_is_left_alone(job: Job) -> None:
    assert run(job).proven
    other = a_job(memory(THINGS), job.destination, job.evidence)
    before = {path.name: path.read_bytes() for path in job.evidence.glob("*") if path.suffix != ".sqlite-shm"}

    said = refusal(other, UsageError)

    assert "another job" in said
    assert job.source.url in said
    assert before.items() <= {path.name: path.read_bytes() for path in job.evidence.glob("*")}.items()


def test_a_mistyped_source_does_not_claim_the_evidence_folder(job: Job, tmp_path: Path) -> None:
    wrong = a_job(Location.parse(str(tmp_path / "cabinett")), job.destination, job.evidence)
    with pytest.raises(NotFoundError):
        run(wrong)
    assert run(job).proven


def test_what_was_skipped_is_said_how_to_accept(job: Job, tmp_path: Path) -> None:
    source = memory({"a//b": b"1", "c": b"2"})
    outcome = run(a_job(source, Location.parse(str(tmp_path / "home")), tmp_path / "evidence"))
    assert not outcome.proven
    assert "--accept name" in outcome.next_step


def test_an_evidence_folder_that_cannot_be_made_is_told(job: Job, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "cannot be made" in refusal(replace(job, evidence=tmp_path / "file" / "evidence"), PlaceError)
    assert refusal(replace(job, evidence=tmp_path / "file"), PlaceError)


@pytest.mark.parametrize("damage", ["header", "middle", "cut", "text"])
def test_a_damaged_ledger_is_damaged_evidence(job: Job, damage: str) -> None:
    for n in range(200):
        put(job.source, f"letters/{n}.txt", b"x")
    assert run(job).proven
    path = job.evidence / "ledger.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    data = path.read_bytes()
    wrong = {
        "header": b"\0" * 100 + data[100:],
        "middle": data[:4096] + b"\xaa" * (len(data) - 4096),
        "cut": data[:5000],
        "text": b"this is no ledger at all, whatever its name says\n" * 100,
    }
    path.write_bytes(wrong[damage])

    assert "ledger.sqlite" in refusal(job, EvidenceError)


def test_a_manifest_of_another_run_is_not_taken_for_ours(job: Job, tmp_path: Path) -> None:
    other = a_job(job.source, memory(), tmp_path / "other")
    assert run(other).proven
    job.evidence.mkdir()
    (job.evidence / "manifest.jsonl").write_bytes((other.evidence / "manifest.jsonl").read_bytes())

    assert "another run" in refusal(job, EvidenceError)
    assert (job.evidence / "manifest.jsonl").read_bytes() == (other.evidence / "manifest.jsonl").read_bytes()


def test_a_changed_manifest_is_not_built_upon(job: Job) -> None:
    assert run(job).proven
    path = job.evidence / "manifest.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"a.txt"', b'"z.txt"'))

    refusal(job, ManifestError)


# -- the places -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("memory://one", "memory://one"),
        ("memory://one/a", "memory://one"),
        ("memory://one", "memory://one/a/b"),
        ("s3://bucket/x?endpoint=http://127.0.0.1:1", "s3://bucket?endpoint=http://127.0.0.1:1/"),
        ("sftp://host/home/cabinet", "sftp://host/home/cabinet/new"),
    ],
)
def test_places_that_overlap_are_refused_before_anyone_is_asked(tmp_path: Path, source: str, destination: str) -> None:
    job = a_job(Location.parse(source), Location.parse(destination), tmp_path / "evidence")
    assert "overlap" in refusal(job, UsageError)
    assert not job.evidence.exists()


@pytest.mark.parametrize("side", ["old", "new"])
def test_evidence_inside_a_place_is_refused(tmp_path: Path, side: str) -> None:
    job = a_job(
        Location.parse(str(tmp_path / "old")), Location.parse(str(tmp_path / "new")), tmp_path / side / "evidence"
    )
    assert "inside" in refusal(job, UsageError)


def test_an_empty_source_proves_nothing(job: Job, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in (memory(), Location.parse(str(tmp_path / "empty"))):
        assert "holds nothing" in refusal(a_job(source, job.destination, job.evidence / source.scheme), RefusedError)


def test_a_destination_with_other_content_is_refused_and_with_merge_left_alone(job: Job) -> None:
    put(job.destination, "theirs.txt", b"theirs")

    assert "already holds 1 other" in refusal(job, RefusedError)
    assert content(job.destination) == {"theirs.txt": b"theirs"}

    outcome = run(replace(job, merge=True))
    assert (outcome.proven, outcome.findings) == (True, ())
    assert content(job.destination) == {**THINGS, "theirs.txt": b"theirs"}


def test_after_the_destination_was_emptied_the_same_command_goes_on(job: Job) -> None:
    put(job.destination, "theirs.txt", b"theirs")
    refusal(job, RefusedError)

    delete(job.destination, "theirs.txt")

    assert run(job).proven


# -- names ------------------------------------------------------------------------------------------------------------


def test_names_that_the_destination_would_merge_are_lines_with_a_reason(tmp_path: Path) -> None:
    names = {"caf\u00e9.txt": b"1", "cafe\u0301.txt": b"2", "A.txt": b"3", "a.txt": b"4", "b.txt": b"5"}
    destination = memory(host=Merging)
    job = a_job(memory(names), destination, tmp_path / "evidence")

    outcome = run(job)

    assert (outcome.proven, outcome.exit_code, dict(outcome.skipped)) == (False, 3, {"name": 2})
    skipped = {line.key for line in lines(job.evidence) if line.kind == "skipped"}
    assert skipped == {"a.txt", "caf\u00e9.txt"}
    assert content(replace(destination, scheme="memory")).keys() == names.keys() - skipped
    accepting = replace(job, destination=memory(host=Merging), evidence=tmp_path / "accepting", accepts=("name",))
    outcome = run(accepting)
    assert outcome.proven
    assert "2 name" in outcome.sentence


HOSTILE = (
    "a//b",
    "../x",
    "/lead",
    "trail/",
    ".",
    "dir/../up",
    "nul\0byte",
    "long/" + "x" * 256,
    ".portability-partial/x",
)


def test_keys_that_a_folder_cannot_hold_are_refused_by_name_before_the_first_byte(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    source = memory({**dict.fromkeys(HOSTILE, b"hostile"), "folder": b"a file", "folder/inside": b"!", "good": b"good"})
    job = a_job(source, Location.parse(str(tmp_path / "new")), tmp_path / "evidence")

    told = plan(job)
    outcome = run(job)

    assert {refused.key for refused in told.refusals} == {*HOSTILE, "folder/inside"}
    assert all(refused.found for refused in told.refusals)
    assert (outcome.proven, outcome.exit_code, dict(outcome.skipped)) == (False, 3, {"name": len(HOSTILE) + 1})
    assert {line.key for line in lines(job.evidence) if line.reason == "name"} == {*HOSTILE, "folder/inside"}
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == {
        "folder": b"a file",
        "good": b"good",
    }
    assert not (tmp_path / "x").exists()


# -- full disks -------------------------------------------------------------------------------------------------------


def test_a_plan_that_does_not_fit_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    class Small(Memory):
        def free(self) -> int:
            return 1000

    destination = memory(host=Small)
    job = a_job(memory(THINGS), destination, tmp_path / "evidence")

    assert "room for 1,000 bytes, the plan needs 76,803" in plan(job).obstacle
    assert "room for 1,000 bytes, the plan needs 76,803" in refusal(job, RefusedError)
    assert content(replace(destination, scheme="memory")) == {}


def test_a_full_destination_is_told_and_with_room_the_same_command_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = memory(host=Full)
    job = a_job(memory(THINGS), destination, tmp_path / "evidence")

    outcome = run(job)

    assert (outcome.proven, outcome.exit_code) == (False, 3)
    ((key, problem, found),) = ((one.key, one.problem, one.found) for one in outcome.findings)
    assert (key, problem) == ("dossier/c.bin", "failed")
    assert "no space left" in found
    assert status(job.evidence).failures == {"Full": 1}

    monkeypatch.setattr(Full, "room", 1 << 20)
    assert run(job).proven


@pytest.mark.parametrize("pages", range(8, 24, 3))
def test_a_full_disk_of_the_evidence_is_told_and_with_room_the_same_command_finishes(
    job: Job, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    for n in range(60):
        put(job.source, f"letters/{n}.txt", b"x" * n)
    connect = sqlite3.connect

    def small(*arguments: Any, **named: Any) -> sqlite3.Connection:
        db = connect(*arguments, **named)
        db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own "disk full"
        return db

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        assert "is full" in refusal(job, PlaceError)

    assert run(job).proven


def test_a_disk_that_fills_up_while_the_manifest_is_written_is_told(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "No space left" in refusal(job, PlaceError)
    assert not (job.evidence / "manifest.jsonl").exists()

    assert run(job).proven


# -- further runs -----------------------------------------------------------------------------------------------------


def test_a_delta_needs_a_run_to_differ_from(job: Job) -> None:
    assert "no finished run" in refusal(job, UsageError, delta=True)
    assert run(job).proven
    assert run(job, delta=True).proven


def test_a_further_run_brings_over_what_is_new_and_changed(job: Job) -> None:
    first = run(job)
    put(job.source, "new.txt", b"new")
    put(job.source, "a.txt", b"changed", replace=True)

    outcome = run(job)

    assert outcome.proven
    assert outcome.moved_bytes == len(b"new") + len(b"changed")
    assert content(job.destination) == {**THINGS, "new.txt": b"new", "a.txt": b"changed"}
    assert (job.evidence / "previous" / first.job.removeprefix("urn:uuid:") / "manifest.jsonl").exists()
    assert verify(str(job.evidence), at=job.destination).proven


def test_what_is_gone_from_the_source_is_named_by_a_further_run(job: Job) -> None:
    assert run(job).proven
    delete(job.source, "a.txt")

    outcome = run(job)

    assert (outcome.proven, outcome.exit_code) == (False, 4)
    assert [(one.key, one.problem) for one in outcome.findings] == [("a.txt", "unexpected")]
    assert [(one.key, one.problem) for one in run(job).findings] == [("a.txt", "unexpected")]
    delete(job.destination, "a.txt")
    assert run(job).proven


def test_a_change_that_could_not_be_brought_over_is_by_the_run_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run in between must not forget that the old content there is ours, and may be replaced."""
    monkeypatch.setattr(Full, "room", 1 << 20)
    job = a_job(memory(THINGS), memory(host=Full), tmp_path / "evidence")
    assert run(job).proven
    put(job.source, "a.txt", b"x" * 2000, replace=True)
    monkeypatch.setattr(Full, "room", 1000)
    assert not run(job).proven

    monkeypatch.setattr(Full, "room", 1 << 20)

    outcome = run(job)
    assert outcome.findings == ()
    assert outcome.proven


def test_what_changed_while_it_was_copied_is_brought_over_by_the_same_command(tmp_path: Path) -> None:
    class Busy(Memory):
        """Someone works on it during the first run."""

        def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
            if self._place.count == len(THINGS):
                for key in ("a.txt", "new.txt"):
                    put(replace(self._location, scheme="memory"), key, b"later", replace=True)
            return super().open(entry, start, stop)

    job = a_job(memory(THINGS, Busy), memory(), tmp_path / "evidence")

    first = run(job)
    second = run(job)

    assert (first.proven, "run the same command again" in first.next_step) == (False, True)
    assert {one.problem for one in first.findings} >= {"source-appeared", "source-changed"}
    assert (second.findings, second.proven) == ((), True)
    assert content(job.destination) == {**THINGS, "a.txt": b"later", "new.txt": b"later"}

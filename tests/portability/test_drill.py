"""Drills against real servers: what they tell of a source that changes, of a sample, of a host that lies; what they leave behind."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path

import exports
import pytest
import servers
from drills import a_drill_job, drilled, drills, findings_of, left_in, on, with_terms
from places import delete, fill, put, small_practice

from connectors import Location
from manifests import signing
from manifests.digests import file_sha256
from manifests.history import FIRST
from manifests.manifest import read_manifest
from manifests.statement import Statement
from portability.draw import Draw
from portability.drill import canary, record
from portability.drill.status import status
from portability.errors import EvidenceError, PlaceError, RefusedError, UsageError
from portability.lock import FolderLock
from portability.progress import Silent

LETTERS = {f"courriers/{number:03}.txt": f"lettre {number}".encode() for number in range(20)}


def letters(folder: Path, count: int = 20) -> Location:
    for key, data in list(LETTERS.items())[:count]:
        path = folder / "source" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Location.parse(str(folder / "source"))


@pytest.mark.parametrize("host", ["s3", "sftp"])
def test_two_drills_and_a_sampled_one_tell_exactly_what_became_of_a_practice(
    host: str, moto: servers.S3Server, sshd: servers.SftpServer, tmp_path: Path
) -> None:
    source = moto.place(prefix="cabinet/") if host == "s3" else sshd.place()
    scratch = sshd.place() if host == "s3" else moto.place()  # the archive at a host, the restore in a folder
    practice = [thing for thing in small_practice() if not thing.deleted][:24]
    fill(source, practice)
    job = a_drill_job(source, tmp_path, scratch=scratch)
    assert job.drill is not None
    generation = canary.plant(source, job.drill.folder, prefixes=["", "patients/"])

    first = drilled(job, 0, signer=exports.Key()).record
    assert first.verdict.proven, first.verdict.reasons
    assert first.drift is None
    assert first.findings == ()
    assert first.proven == first.moved == first.found
    assert first.score.completeness.percent == first.score.restorability.percent == 100.0
    assert first.canaries is not None
    assert (first.canaries.planted, first.canaries.intact) == (6, 6)

    keys = sorted({thing.key for thing in practice if thing.key.startswith("patients/")})
    gone, altered = keys[0], keys[1]
    delete(source, gone)
    put(source, altered, b"another letter", replace=True)
    put(source, "patients/new.txt", b"a new letter")
    delete(source, generation.canaries[0].key)

    end = drilled(job, 90, signer=exports.Key())
    second = end.record
    assert second.drift is not None
    assert second.drift.since == first.id
    assert (second.drift.disappeared.objects, second.drift.changed.objects, second.drift.appeared.objects) == (2, 1, 1)
    assert second.drift.compared == "contents"
    assert not second.verdict.proven
    assert second.verdict.exit_code == 3
    assert {one.problem: one.count for one in second.findings if one.fails} == {"canary-missing": 1, "disappeared": 2}
    assert second.proven == second.found  # what the source still lists came out whole
    assert set(findings_of(end.folder)) == {
        ("disappeared", gone),
        ("disappeared", generation.canaries[0].key),
        ("changed", altered),
        ("appeared", "patients/new.txt"),
        ("canary missing", generation.canaries[0].key),
    }
    patients = next(folder for folder in second.folders if folder.name == "patients/")
    assert (patients.disappeared.objects, patients.changed.objects, patients.appeared.objects) == (1, 1, 1)

    accepted = with_terms(job, baseline=second.id)
    third = drilled(accepted, 180, share=400_000, seed="a published seed", signer=exports.Key()).record
    sample = third.scope.sample
    assert sample is not None
    assert 0 < sample.drawn < sample.of == third.found.objects - 5  # five canaries are drawn by name
    assert sample.fewer_than < sample.of
    draw = Draw(seed=sample.seed, start=0, length=400_000)
    known = [key for key in listed(source) if key not in {one.key for one in generation.canaries}]
    assert sample.drawn == sum(draw.holds(key) for key in known)  # anyone draws it again from the listing
    assert sample.cover.of_drills == 3
    assert {one.problem for one in third.findings} == {"canary-missing"}
    assert third.drift is not None
    assert third.drift.since == second.id
    assert (third.drift.disappeared.objects, third.drift.changed.objects, third.drift.appeared.objects) == (0, 0, 0)

    assert left_in(scratch) == []
    assert left_in(Location.parse(str(tmp_path / "second"))) == []
    assert [entry.type for entry in drills(job).entries()] == ["drill"] * 3
    assert third.history.head == drills(job).entries()[1].sha256


def test_what_disappeared_is_told_until_somebody_accepts_it(tmp_path: Path) -> None:
    source = letters(tmp_path)
    job = a_drill_job(source, tmp_path)
    first = drilled(job).record
    delete(source, listed(source)[-1])
    second = drilled(job, 90).record
    sampled = drilled(job, 180, share=500_000).record
    for later in (second, sampled):
        assert not later.verdict.proven
        assert {one.problem for one in later.findings} >= {"disappeared"}
        assert later.drift is not None
        assert later.drift.since == first.id
    assert drilled(with_terms(job, baseline=second.id), 270).record.verdict.proven


def listed(place: Location) -> list[str]:
    return left_in(place)


def test_a_drill_leaves_a_signed_statement_and_evidence_that_others_can_check(tmp_path: Path) -> None:
    end = drilled(a_drill_job(letters(tmp_path), tmp_path), signer=exports.Key())

    data = (end.folder / "statement.json").read_bytes()
    statement = Statement.from_bytes(data)
    armoured = (end.folder / "statement.json.sig").read_bytes()
    assert signing.verify(armoured, io.BytesIO(data), signing.STATEMENT) == exports.Key.public
    assert end.record.key == exports.Key.public.fingerprint
    assert statement.is_about(file_sha256(end.folder / "drill.json"))
    assert statement.predicate["result"] == "PASSED"
    assert {one["name"] for one in statement.predicate["configuration"]} == {"evidence/manifest.jsonl", "listing.jsonl"}
    with (end.folder / "evidence" / "manifest.jsonl").open("rb") as stream:
        assert read_manifest(stream).root == end.record.root
    assert {path.name for path in (end.folder / "evidence").iterdir()} == {
        "manifest.jsonl",
        "checkpoint.txt",
        "SHA256SUMS",
        "provenance.json",
    }
    for path in end.folder.rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o077 == 0, path


def test_the_record_reads_back_as_it_was_written_and_nothing_in_it_names_a_key(tmp_path: Path) -> None:
    end = drilled(a_drill_job(letters(tmp_path), tmp_path))
    assert record.read(end.folder) == end.record
    assert b"001.txt" not in (end.folder / "drill.json").read_bytes()


def test_a_version_of_a_letter_that_a_host_loses_is_told_apart_from_the_letter(
    moto: servers.S3Server, tmp_path: Path
) -> None:
    source = moto.place(versioned=True)
    fill(source, [thing for thing in small_practice() if thing.key.startswith("cabinet/")])
    job = a_drill_job(source, tmp_path)
    first = drilled(job).record
    assert first.verdict.proven, first.verdict.reasons

    with moto.client() as client:
        versions = client.list_object_versions(Bucket=source.host, Prefix="cabinet/règlement.txt")["Versions"]
        old = next(one for one in versions if not one["IsLatest"])
        client.delete_object(Bucket=source.host, Key=old["Key"], VersionId=old["VersionId"])
    put(source, "cabinet/agenda.csv", b"other", replace=True)
    delete(source, "cabinet/base.sql")  # a marker: the letter is gone, its versions are not

    end = drilled(with_terms(job, threshold=5), 90)
    assert end.record.verdict.proven, end.record.verdict.reasons
    assert sorted(findings_of(end.folder)) == [
        ("changed", "cabinet/agenda.csv"),
        ("disappeared", "cabinet/base.sql"),
        ("disappeared", "cabinet/règlement.txt"),
    ]


def test_a_drill_into_a_place_that_keeps_old_versions_is_refused(moto: servers.S3Server, tmp_path: Path) -> None:
    job = a_drill_job(letters(tmp_path), tmp_path, scratch=moto.place(versioned=True))
    with pytest.raises(RefusedError, match="keeps old versions"):
        drilled(job)
    assert drills(job).entries() == []


def test_a_source_that_shrank_by_half_is_a_finding_in_clear_words(tmp_path: Path) -> None:
    job = a_drill_job(letters(tmp_path), tmp_path, threshold=100)
    drilled(job)
    for key in list(LETTERS)[:11]:
        (tmp_path / "source" / key).unlink()

    told = drilled(job, 90).record
    assert told.verdict.exit_code == 3
    (finding,) = told.findings
    assert finding.problem == "shrank"
    assert "half of it or more is gone" in finding.sentence
    assert dict(finding.facts)["before_objects"] == 20


class Damaging(Silent):
    """Somebody alters a file of this name in a scratch place when a phase ends for the n-th time."""

    def __init__(self, folder: Path, *, phase: str, times: int) -> None:
        self._folder, self._wanted, self._left, self._now = folder, phase, times, ""

    def phase(self, name: str, items: int | None = None, size: int | None = None) -> None:
        self._now = name

    def done(self) -> None:
        self._left -= self._now == self._wanted
        if self._left == 0 and self._now == self._wanted:
            (path,) = self._folder.rglob("003.txt")
            before = path.stat()
            path.write_bytes(path.read_bytes()[::-1])
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a disk does it


def test_an_archive_that_does_not_pass_its_own_verification_is_what_the_drill_found(tmp_path: Path) -> None:
    job = a_drill_job(letters(tmp_path), tmp_path)
    damaging = Damaging(tmp_path / "scratch", phase="close the archive", times=1)
    told = drilled(job, progress=damaging).record
    assert told.verdict.exit_code == 6
    assert [one.problem for one in told.findings] == ["archive"]
    assert (told.moved.objects, told.proven.objects, told.not_proven.objects) == (20, 0, 20)
    assert told.root == ""
    assert left_in(Location.parse(str(tmp_path / "scratch"))) == []


def test_a_second_place_that_alters_a_letter_is_found_out(tmp_path: Path) -> None:
    job = a_drill_job(letters(tmp_path), tmp_path)
    end = drilled(job, progress=Damaging(tmp_path / "second", phase="destination listing", times=2))
    assert end.record.verdict.exit_code == 4
    assert [(one.problem, one.count) for one in end.record.findings] == [("restore", 1)]
    assert (end.record.proven.objects, end.record.not_proven.objects) == (19, 1)
    assert end.record.score.restorability.percent == 95.0
    assert findings_of(end.folder) == [("restore: digest", "courriers/003.txt")]
    assert drilled(job, 90).record.verdict.proven


def test_letters_that_vanish_between_listing_and_reading_are_told(tmp_path: Path) -> None:
    source = letters(tmp_path)
    job = a_drill_job(source, tmp_path, threshold=1)
    end = drilled(job, said=lambda quote, resumed: (tmp_path / "source" / "courriers/000.txt").unlink())
    assert not end.record.verdict.proven
    assert [one.problem for one in end.record.findings if one.fails] == ["failed"]
    assert end.record.verdict.exit_code == 3
    assert drilled(job, 1).record.verdict.proven


def test_a_sample_rotates_until_everything_was_drawn_once(tmp_path: Path) -> None:
    job = a_drill_job(letters(tmp_path), tmp_path)
    covered = []
    for day in range(2):
        sample = drilled(job, day, share=600_000, seed="r").record.scope.sample
        assert sample is not None
        covered.append(sample.cover.covered)
        assert (sample.cover.drills, sample.cover.of_drills) == (day + 1, 2)
    assert covered[0] < covered[1] == 20
    after = drilled(job, 5, share=600_000).record.scope.sample
    assert after is not None
    assert after.cover.drills == 1
    assert after.seed != "r"


def test_a_sample_that_draws_nothing_proves_nothing(tmp_path: Path) -> None:
    job = a_drill_job(letters(tmp_path, 1), tmp_path)
    with pytest.raises(RefusedError, match="drew none"):
        drilled(job, share=1, seed="x")
    assert left_in(Location.parse(str(tmp_path / "scratch"))) == []


def test_a_canary_that_a_host_serves_as_it_was_is_stale(tmp_path: Path) -> None:
    source = letters(tmp_path)
    job = a_drill_job(source, tmp_path)
    assert job.drill is not None
    old = canary.plant(source, job.drill.folder)
    text, binary = (tmp_path / "source" / one.key for one in old.canaries[:2])
    before = text.read_bytes()
    canary.plant(source, job.drill.folder)
    assert drilled(job).record.canaries == record.Canaries(planted=3, intact=3, missing=0, changed=0, stale=0)
    text.write_bytes(before)
    binary.write_bytes(b"x" * 65536)

    told = drilled(job, 90).record
    assert told.canaries == record.Canaries(planted=3, intact=1, missing=0, changed=1, stale=1)
    assert {one.problem for one in told.findings if one.fails} == {"canary-changed", "canary-stale"}


def test_scratch_places_that_are_not_for_rehearsing_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    source = letters(tmp_path)
    new = Location.parse(str(tmp_path / "new"))
    (tmp_path / "new").mkdir()
    base = a_drill_job(source, tmp_path)
    for job, words in (
        (with_terms(base, scratch=source), "scratch is the source"),
        (with_terms(base, restore_to=source), "restore_to is the source"),
        (with_terms(base, folder=tmp_path / "source" / "drills"), "drills folder"),
    ):
        with pytest.raises(UsageError, match=words):
            drilled(job)
    production = a_drill_job(source, tmp_path, scratch=new)
    object.__setattr__(production, "destination", new)
    with pytest.raises(UsageError, match="destination of the migration"):
        drilled(production)
    assert not (tmp_path / "drills").exists()
    assert left_in(new) == []


def test_too_little_room_is_refused_before_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = a_drill_job(letters(tmp_path), tmp_path)
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(PlaceError, match=r"too little room .* 1,000 are free"):
        drilled(job)
    assert left_in(Location.parse(str(tmp_path / "scratch"))) == []
    monkeypatch.undo()
    assert drilled(job, 1).record.verdict.proven  # with room it goes on


def test_a_broken_history_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    job = a_drill_job(letters(tmp_path), tmp_path)
    drilled(job)
    history = tmp_path / "drills" / "history.jsonl"
    whole = history.read_bytes()
    history.write_bytes(whole.replace(b'"seq":0', b'"seq":1'))
    before = exports.snapshot(tmp_path / "drills")
    with pytest.raises(EvidenceError, match="broken"):
        drilled(job, 180)
    assert exports.snapshot(tmp_path / "drills") == before
    history.write_bytes(whole)
    assert drilled(job, 180).record.history.length == 1


def test_an_altered_record_or_listing_is_evidence_damaged(tmp_path: Path) -> None:
    job = a_drill_job(letters(tmp_path), tmp_path)
    folder = drilled(job).folder
    assert job.drill is not None
    listing = folder / "listing.jsonl"
    whole = listing.read_bytes()
    listing.write_bytes(whole.replace(b"courriers/003", b"courriers/303"))
    with pytest.raises(EvidenceError, match=r"listing\.jsonl is not what its drill wrote"):
        drilled(job, 90)
    listing.write_bytes(whole)
    assert drilled(job, 90).record.drift is not None  # the interrupted drill went on

    path = drills(job).path / drills(job).records()[-1].id / "drill.json"
    path.write_bytes(path.read_bytes().replace(b'"proven":true', b'"proven":tru3'))
    with pytest.raises(EvidenceError, match="not the record"):
        status(job.drill, on(91)())


def test_the_chain_fixes_every_record(tmp_path: Path) -> None:
    job = a_drill_job(letters(tmp_path), tmp_path)
    ends = [drilled(job, day) for day in (0, 90)]
    lines = drills(job).history.read_bytes().splitlines()
    assert [json.loads(line)["prev"] for line in lines] == [FIRST, hashlib.sha256(lines[0]).hexdigest()]
    for line, end in zip(lines, ends, strict=True):
        assert json.loads(line)["result"].endswith(f"{end.record.id} sha256:{file_sha256(end.folder / 'drill.json')}")
    assert ends[-1].head == hashlib.sha256(lines[1]).hexdigest()


def test_a_drill_never_removes_what_it_did_not_create(tmp_path: Path) -> None:
    job = a_drill_job(letters(tmp_path), tmp_path)
    theirs = tmp_path / "scratch" / "portability-drill-20260302T200000Z-theirs" / "file.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("not ours")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "letter.txt").write_text("not ours")
    drilled(job)
    assert theirs.read_text() == "not ours"
    assert left_in(Location.parse(str(tmp_path / "second"))) == ["letter.txt"]


def test_two_drills_of_one_job_do_not_run_at_once(tmp_path: Path) -> None:
    job = a_drill_job(letters(tmp_path), tmp_path)
    (tmp_path / "drills").mkdir()
    with FolderLock(tmp_path / "drills"), pytest.raises(PlaceError, match="another drill is running"):
        drilled(job)

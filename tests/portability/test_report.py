"""What a report says of evidence, archives and drills: never more than they prove, and no key of anybody."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import archives
import exports
import jsonschema
import pytest
from report_samples import NOON, THREE, Drilled, Line, drill, evidence, many

from connectors import Location
from manifests import canonical, signing
from manifests.errors import FormatError, ManifestError, SealError
from manifests.receipt import Loss
from manifests.statement import Statement, Subject, drill_result
from portability.archive.signer import Signer
from portability.drill import record as drills
from portability.errors import EvidenceError, PlaceError, RefusedError, UsageError
from portability.job import Job
from portability.migrate import migrate
from portability.report import handover
from portability.report.details import Row, details, load_key
from portability.report.gather import Request, gather
from portability.report.model import Report, schema
from portability.report.render import report_html
from portability.report.tally import Tally

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)


def of(place: Path, rows: list[Row] | None = None, **asked: object) -> Report:
    return gather(Request(place=str(place), **asked), NOW, rows.append if rows is not None else lambda _: None)  # type: ignore[arg-type]


def of_archive(folder: Path, **asked: object) -> Report:
    return of(folder, archive=Location.parse(str(folder)), workers=1, **asked)


# -- evidence ---------------------------------------------------------------------------------------------------------


def test_sealed_evidence_is_proven_with_its_counts_and_its_root(tmp_path: Path) -> None:
    report = of(evidence(tmp_path / "run"))
    assert report.verdict.proven
    assert report.verdict.exit_code == 0
    assert (report.found.things, report.moved.things, report.proven.things, report.not_proven.things) == (3, 3, 3, 0)
    assert report.found.bytes == report.proven.bytes == 3_001_620
    assert report.losses == {"tags": 1}
    assert report.checked == "2026-11-21T14:00:00Z"
    assert (tmp_path / "run" / "manifest.jsonl").read_bytes().count(report.root.encode()) == 1


def test_a_real_migration_gives_a_proven_report(tmp_path: Path) -> None:
    (tmp_path / "from" / "a").mkdir(parents=True)
    (tmp_path / "from" / "a" / "one.txt").write_bytes(b"one")
    job = Job(
        source=Location.parse(str(tmp_path / "from")),
        destination=Location.parse(str(tmp_path / "to")),
        evidence=tmp_path / "run",
    )
    assert migrate(job).proven
    report = of(tmp_path / "run")
    assert report.verdict.proven
    assert report.proven.bytes == 3


@pytest.mark.parametrize("level", ["listed", "reported"])
def test_a_job_that_demands_less_than_reading_back_is_never_printed_as_proven(tmp_path: Path, level: str) -> None:
    report = of(evidence(tmp_path / "run", [Line(key="a", evidence=level), Line(key="b")], demands="listed"))
    assert report.verdict.state == "not-proven"
    assert report.verdict.exit_code == 3
    assert report.not_proven.things == 1


def test_without_the_end_of_a_verification_nothing_is_proven(tmp_path: Path) -> None:
    """A copy of the manifest alone does not know what the verification found."""
    report = of(evidence(tmp_path / "run", verified=False))
    assert not report.verdict.proven
    assert report.verdict.exit_code == 3


def test_findings_that_somebody_removed_still_count(tmp_path: Path) -> None:
    folder = evidence(tmp_path / "run", findings=[{"problem": "unexpected", "key": "x"}])
    (folder / "findings.jsonl").unlink()
    report = of(folder)
    assert report.verdict.state == "altered"
    assert report.verdict.exit_code == 4


def test_findings_are_counted_by_kind_and_named_only_in_the_details(tmp_path: Path) -> None:
    rows: list[Row] = []
    told = [{"problem": "digest", "key": "Dupont/x"}, {"problem": "digest", "key": "Dupont/y"}, {"problem": "failed", "key": "z"}]  # fmt: skip
    report = of(evidence(tmp_path / "run", findings=told), rows)
    assert {one.problem: one.count for one in report.findings} == {"digest": 2, "failed": 1}
    assert "Dupont" not in report.to_json()
    assert [row.key for row in rows if row.type == "finding"] == ["Dupont/x", "Dupont/y", "z"]


def test_what_was_left_out_is_lost_and_named_with_its_reason(tmp_path: Path) -> None:
    lines = [Line(key="a"), Line(key="b", size=None, reason="cold")]
    report = of(evidence(tmp_path / "run", lines))
    assert (report.verdict.state, report.lost, report.skipped) == ("not-proven", 1, {"cold": 1})
    accepted = of(evidence(tmp_path / "accepted", lines, accepts=("cold",)))
    assert accepted.verdict.proven
    assert accepted.lost == 1


def test_a_loss_whose_value_is_kept_nowhere_is_told_apart(tmp_path: Path) -> None:
    losses = (Loss(name="tags", parked="/tags"), Loss(name="acl", parked=None))
    report = of(evidence(tmp_path / "run", [Line(key="a", losses=losses)]))
    assert report.losses == {"tags": 1, "acl": 1}
    assert report.gone == {"acl": 1}


def test_an_unfinished_run_is_reported_as_not_proven(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    for name in ("a", "b"):
        (tmp_path / "from" / name).write_bytes(b"12")
    job = Job(
        source=Location.parse(str(tmp_path / "from")),
        destination=Location.parse(str(tmp_path / "to")),
        evidence=tmp_path / "run",
    )
    assert migrate(job).proven
    for name in ("manifest.jsonl", "checkpoint.txt", "SHA256SUMS", "provenance.json"):
        (tmp_path / "run" / name).unlink()
    report = of(tmp_path / "run")
    assert report.verdict.state == "unfinished"
    assert report.verdict.exit_code == 3
    assert report.proven.things == 0
    assert report.levels.get("read", 0) == 0
    assert report.moved.things == 2
    with pytest.raises(RefusedError):
        handover.statement(report)


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_cut_manifest_is_refused_as_damage(tmp_path: Path, cut: int) -> None:
    path = evidence(tmp_path / "run") / "manifest.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(SealError):
        of(tmp_path / "run")


def test_an_altered_line_is_refused_as_damage(tmp_path: Path) -> None:
    path = evidence(tmp_path / "run") / "manifest.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"size":1200', b'"size":1201'))
    with pytest.raises(SealError):
        of(tmp_path / "run")


@pytest.mark.parametrize("name", ["checkpoint.txt", "SHA256SUMS"])
def test_files_that_belong_to_another_manifest_are_damage(tmp_path: Path, name: str) -> None:
    folder, other = evidence(tmp_path / "run"), evidence(tmp_path / "other", THREE[:2])
    shutil.copy(other / name, folder / name)
    report = of(folder)
    assert (report.verdict.state, report.verdict.exit_code) == ("altered", 6)
    assert name in report.verdict.reasons[0]


def test_damaged_files_beside_the_manifest_are_refused(tmp_path: Path) -> None:
    folder = evidence(tmp_path / "run")
    (folder / "findings.jsonl").write_text("no json\n")
    with pytest.raises(EvidenceError, match=r"findings\.jsonl is damaged"):
        of(folder)
    (folder / "findings.jsonl").unlink()
    (folder / "provenance.json").write_text("{}")
    with pytest.raises(FormatError):
        of(folder)


def test_a_folder_that_is_none_of_the_three_is_a_wrong_name(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(UsageError, match="neither evidence nor a drill nor an archive"):
        of(tmp_path / "photos")
    with pytest.raises(PlaceError, match="there is nothing there"):
        of(tmp_path / "absent")


# -- archives and drills ----------------------------------------------------------------------------------------------


def test_an_archive_is_verified_for_its_report(tmp_path: Path) -> None:
    folder = archives.build(tmp_path / "archive", sign_with=archives.key())
    report = of_archive(folder)
    assert report.verdict.proven
    assert report.practice == "Cabinet Exemple"
    assert report.signature is not None
    assert (report.signature.state, report.signature.fingerprint) == ("valid", archives.fingerprint())
    assert report.archive_id == archives.archive_id(folder)


def test_an_altered_archive_is_not_proven_and_counts_what_is_wrong(tmp_path: Path) -> None:
    folder = archives.build(tmp_path / "archive", sign_with=archives.key())
    next((folder / "data").rglob("*.hl7")).write_bytes(b"other")
    report = of_archive(folder)
    assert (report.verdict.state, report.verdict.exit_code) == ("altered", 4)
    assert report.proven.things == report.found.things - 1
    assert report.not_proven.things == 1
    assert [(one.problem, one.count) for one in report.findings if one.fails] == [("V15", 1)]


def test_an_encrypted_archive_is_proven_only_with_its_key_and_a_packed_one_in_place(tmp_path: Path) -> None:
    recipient = exports.an_identity(tmp_path / "identity")
    source = exports.a_folder(tmp_path / "source")
    sealed = exports.an_archive(source, tmp_path / "sealed", recipients=(recipient,), work=tmp_path / "work")
    closed, opened = of_archive(sealed), of_archive(sealed, identity=str(tmp_path / "identity"))
    assert (closed.verdict.state, closed.verdict.exit_code, closed.proven.things) == ("not-proven", 3, 0)
    assert (opened.verdict.state, opened.proven.things) == ("proven", 2)
    exports.an_export(source, tmp_path / "packed", form="zip", work=tmp_path / "other")
    (file,) = (tmp_path / "packed").glob("*.zip")
    packed = of_archive(file)
    assert packed.verdict.proven
    assert packed.practice == "source"
    assert len(packed.folders) == 2


def test_a_bag_of_another_program_is_never_proven(tmp_path: Path) -> None:
    (tmp_path / "bag" / "data").mkdir(parents=True)
    (tmp_path / "bag" / "bagit.txt").write_text("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    (tmp_path / "bag" / "data" / "a").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (tmp_path / "bag" / "manifest-sha256.txt").write_text(f"{empty}  data/a\n")
    report = of_archive(tmp_path / "bag")
    assert (report.verdict.state, report.verdict.exit_code) == ("not-proven", 3)


def test_a_drill_is_reported_with_those_before_it(tmp_path: Path) -> None:
    ids = ["20260522T013000Z", "20260822T013000Z", "20261122T013000Z"]
    report = of(drill(tmp_path, *(Drilled(id=one, proven=one != ids[1]) for one in ids)))
    assert report.verdict.proven
    assert [(one.id, one.proven) for one in report.trend] == [(ids[0], True), (ids[1], False), (ids[2], True)]
    assert len(report.history_head) == 64
    assert "labo" not in report.to_json()


def test_a_folder_of_drills_is_reported_by_its_newest(tmp_path: Path) -> None:
    newest = drill(tmp_path / "drills", Drilled(id="20260822T013000Z"), Drilled(id="20261122T013000Z", proven=False))
    assert of(newest.parent).subject == newest.name
    (newest / drills.NAME).unlink()
    with pytest.raises(EvidenceError, match="the newest drill"):  # an older one is not passed off as the newest
        of(newest.parent)


def test_a_sampled_drill_has_lost_what_was_drawn_and_did_not_come_out(tmp_path: Path) -> None:
    cover = drills.Cover(drills=1, of_drills=2, covered=5, of=10)
    sample = drills.Sample(share_ppm=500_000, seed="s", drawn=5, of=10, damaged=1, fewer_than=4, cover=cover)
    came = {"moved": drills.Amount(objects=6, bytes=6), "proven": drills.Amount(objects=6, bytes=6)}
    more = {"scope": drills.Scope(kind="sample", sample=sample), "not_proven": drills.Amount(objects=1), **came}
    # Five keys were drawn, two of them with an old version: seven things.
    assert of(drill(tmp_path / "drills", Drilled(things=14, proven=False, more=more))).lost == 1


def test_a_drill_shows_when_what_left_the_host(tmp_path: Path) -> None:
    passed = drills.Throughput(began="2026-11-22T01:31:00Z", step_seconds=60, objects=(1, 0, 2), bytes=(10, 0, 20))
    told = of(drill(tmp_path / "drills", Drilled(more={"throughput": passed}))).throughput
    assert told is not None
    assert (told.began, told.step_seconds, told.things, told.bytes) == (passed.began, 60, (1, 0, 2), (10, 0, 20))


@pytest.mark.parametrize(
    "passed",
    [
        {"began": "0001-01-01T00:00:00Z", "step_seconds": 60, "objects": (1,), "bytes": (0,)},
        {"began": "9999-12-31T23:59:59Z", "step_seconds": 2**40, "objects": (1, 2), "bytes": (1, 2**53 - 1)},
    ],
)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_drill_may_state_any_throughput(tmp_path: Path, passed: dict[str, Any], language: Any) -> None:
    told = of(drill(tmp_path / "drills", Drilled(more={"throughput": drills.Throughput(**passed)})))
    assert "</svg>" in report_html(told, language)


@pytest.mark.parametrize("wrong", [{"step_seconds": 0}, {"bytes": []}, {"bytes": [0] * 97}])
def test_a_throughput_that_cannot_be_is_no_record(tmp_path: Path, wrong: dict[str, Any]) -> None:
    passed = drills.Throughput(began="2026-11-22T01:31:00Z", step_seconds=60, objects=(1,), bytes=(10,))
    place = drill(tmp_path / "drills", Drilled(more={"throughput": passed}))
    told = json.loads((place / drills.NAME).read_bytes())
    told["throughput"] |= wrong
    (place / drills.NAME).write_bytes(canonical.dumps(told) + b"\n")
    with pytest.raises(FormatError, match="throughput"):
        drills.read(place)


def test_folders_that_changed_alike_are_named_each_by_its_own_number(tmp_path: Path) -> None:
    one = drills.Amount(objects=1, bytes=5)
    drift = drills.Drift(since="20260822T013000Z", before=one, appeared=one, changed=one, disappeared=one)
    folders = tuple(drills.Folder(name=name, found=one, changed=one) for name in ("a/", "b/", "c/"))
    told = of(drill(tmp_path / "drills", Drilled(more={"drift": drift, "folders": folders})))
    page = report_html(told, "en")
    rows = page.partition("Where it changed")[2].partition("</table>")[0].split("<tr>")[2:]
    assert [row.partition(">")[2].partition("<")[0] for row in rows] == ["Folder 1", "Folder 2", "Folder 3"]


def test_a_drill_whose_record_was_altered_is_refused(tmp_path: Path) -> None:
    place = drill(tmp_path, Drilled(proven=False))
    path = place / drills.NAME
    path.write_bytes(path.read_bytes().replace(b'"proven":false', b'"proven":true'))
    with pytest.raises(EvidenceError, match="not the record that the history names"):
        of(place)


def test_a_signed_drill_says_whether_its_signature_holds(tmp_path: Path) -> None:
    place = drill(tmp_path, Drilled(more={"key": archives.fingerprint()}))

    def state() -> str:
        signature = of(place).signature
        assert signature is not None
        return signature.state

    def sign(about: bytes, name: str = "portability example key, never use it") -> None:
        subject = Subject(name=drills.NAME, sha256=hashlib.sha256(about).hexdigest())
        data = drill_result(subject, passed=["export"]).to_bytes()
        (place / "statement.json").write_bytes(data)
        armoured = signing.sign(archives.key(name), io.BytesIO(data), signing.STATEMENT)
        (place / "statement.json.sig").write_bytes(armoured)

    record = (place / drills.NAME).read_bytes()
    assert state() == "absent"
    sign(record)
    assert state() == "valid"
    sign(record + b" ")
    assert state() == "invalid"
    sign(record, "somebody else")
    assert state() == "by another key"


# -- what every report keeps to ----------------------------------------------------------------------------------------


def test_report_json_obeys_its_schema_and_can_be_read_again(tmp_path: Path) -> None:
    archive = archives.build(tmp_path / "archive", sign_with=archives.key())
    for report in (of(evidence(tmp_path / "run")), of(drill(tmp_path / "drills")), of_archive(archive)):
        values = json.loads(report.to_json())
        jsonschema.Draft202012Validator(schema()).validate(values)
        assert values == report.plain()


def test_folders_are_numbered_unless_names_are_asked_for(tmp_path: Path) -> None:
    folder, rows = evidence(tmp_path / "run"), list[Row]()
    hidden = of(folder, rows)
    assert all(one.name is None for one in hidden.folders)
    assert [row.key for row in rows if row.type == "folder"] == ["imagerie/", "courriers/", "labo/"]
    assert [one.name for one in of(folder, names=True).folders] == ["imagerie/", "courriers/", "labo/"]


def test_folders_below_a_common_one_are_told_apart() -> None:
    tally = Tally()
    for key, size in (("cabinet/2025/a/x", 5), ("cabinet/2025/b/y", 7), ("cabinet/2025/b/z", 1), ("cabinet/2025/w", 2)):
        tally.add({"kind": "object", "key": key, "size": size, "evidence": "read"})
    assert [(one.name, one.things, one.bytes) for one in tally.folders()] == [
        ("cabinet/2025/b/", 2, 8),
        ("cabinet/2025/a/", 1, 5),
        (None, 1, 2),
    ]


def test_only_the_largest_folders_are_named_and_nothing_is_left_out_of_the_sum() -> None:
    tally = Tally()
    for line in many(1000, folders=97):
        tally.add({"kind": "object", "key": line.key, "size": line.size, "evidence": "read"})
    told = tally.folders()
    assert len(told) == 11
    assert sum(one.things for one in told) == 1000
    assert [one.bytes for one in told[:10]] == sorted((one.bytes for one in told[:10]), reverse=True)


def test_throughput_has_few_steps_however_long_it_took(tmp_path: Path) -> None:
    lines = [Line(key=f"{number:04}", at=NOON + timedelta(seconds=number * 997)) for number in range(500)]
    told = of(evidence(tmp_path / "run", lines)).throughput
    assert told is not None
    assert 48 < len(told.bytes) <= 96
    assert sum(told.bytes) == 500 * 1000
    assert sum(told.things) == 500


def test_a_report_of_many_things_needs_little_memory(tmp_path: Path) -> None:
    small, large = evidence(tmp_path / "small"), evidence(tmp_path / "large", many(6_000, folders=3_000))
    script = (
        "import sys, resource; from datetime import datetime, UTC\n"
        "from portability.report.gather import Request, gather\n"
        "report = gather(Request(place=sys.argv[1]), datetime.now(UTC))\n"
        "print(report.found.things, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )

    def peak(folder: Path) -> tuple[int, int]:
        run = subprocess.run(
            [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, timeout=120, check=True
        )
        things, rss = map(int, run.stdout.split())
        return things, rss // (1024 if sys.platform == "darwin" else 1)

    (few, before), (lots, after) = peak(small), peak(large)
    assert (few, lots) == (3, 6_000)
    assert after - before < 5_000  # KiB; there are 3,000 folders, and a line has 300 bytes


# -- details and pseudonyms --------------------------------------------------------------------------------------------


def test_details_are_private_complete_and_harmless_in_a_spreadsheet(tmp_path: Path) -> None:
    hostile = [
        Line(key="=cmd|' /C calc'!A1", size=None),
        Line(key="a\nb\x1b[31m,c", size=None),
        Line(key="\udcff", size=None),
    ]
    path = tmp_path / "details.csv"
    with details(path, None) as sink:
        gather(Request(place=str(evidence(tmp_path / "run", hostile))), NOW, sink)
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open(encoding="utf-8-sig", newline="") as file:
        keys = [row["key"] for row in csv.DictReader(file) if row["type"] == "skipped"]
    assert keys == ["'=cmd|' /C calc'!A1", "a\\nb\\x1b[31m,c", "\\udcff"]


def test_details_are_never_written_over_something(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("mine")
    with pytest.raises(UsageError, match="exists already"), details(tmp_path / "mine.csv", None):
        pass
    assert (tmp_path / "mine.csv").read_text() == "mine"


def test_details_of_a_report_that_failed_are_not_there(tmp_path: Path) -> None:
    path = evidence(tmp_path / "run") / "manifest.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ManifestError), details(tmp_path / "details.csv", None) as sink:
        gather(Request(place=str(tmp_path / "run")), NOW, sink)
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


def test_pseudonyms_hide_every_key_and_lead_back_with_the_key_file(tmp_path: Path) -> None:
    pseudonyms = load_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    folder = evidence(tmp_path / "run", [Line(key="Martin/a.pdf", size=None, reason="name"), Line(key="Zoé/b")])
    path = tmp_path / "details.csv"
    with details(path, pseudonyms) as sink:
        report = gather(Request(place=str(folder), pseudonyms=pseudonyms), NOW, sink)
    text = path.read_text("utf-8-sig") + report.to_json()
    assert "Martin" not in text
    assert "Zoé" not in text
    lines = [{"key": line.key} for line in (Line(key="Martin/a.pdf"), Line(key="Zoé/b"))]
    found = dict(load_key(tmp_path / "key").resolve([pseudonyms.of("Martin/a.pdf"), pseudonyms.of("Zoé/")], lines))
    assert sorted(found.values()) == ["Martin/a.pdf", "Zoé/"]
    assert load_key(tmp_path / "other").of("Zoé/") != pseudonyms.of("Zoé/")


def test_a_weak_or_open_pseudonym_key_is_refused(tmp_path: Path) -> None:
    weak = tmp_path / "weak"
    weak.write_bytes(b"short")
    weak.chmod(0o600)
    with pytest.raises(UsageError, match="fewer than 32 bytes"):
        load_key(weak)
    (tmp_path / "open").write_bytes(b"x" * 64)
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(PlaceError, match="can be read by others"):
        load_key(tmp_path / "open")


# -- the handover statement --------------------------------------------------------------------------------------------


def the_signer(name: str = "a host's key") -> Signer:
    key = archives.key(name)
    return Signer(public=signing.public_key(key), _sign=key.sign)


def test_a_manifest_may_state_the_first_second_there_is() -> None:
    tally = Tally()
    for when in ("0001-01-01T00:00:00Z", "2026-11-21T12:00:00Z"):
        tally.add({"key": "a", "kind": "object", "evidence": "read", "size": 1, "received_at": when})
    told = tally.throughput()
    assert told is not None
    assert sum(told.things) == 2


def test_a_drill_hands_nothing_over(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="hands nothing over"):
        handover.write_or_check(tmp_path / "handover.json", of(drill(tmp_path / "drills")))


def test_both_sides_sign_one_statement_and_openssh_agrees(tmp_path: Path) -> None:
    path, report = tmp_path / "handover.json", of(evidence(tmp_path / "run"))
    data = handover.write_or_check(path, report)
    told = Statement.from_bytes(data)
    assert told.is_about(report.manifest_sha256)
    assert told.predicate["verdict"] == "PROVEN"
    assert "Martin" not in data.decode()
    for role in ("practice", "incoming"):
        handover.sign(path, role, the_signer(role))  # type: ignore[arg-type]  # two of the roles
    assert [(one.role, one.state) for one in handover.signed(path)] == [("practice", "valid"), ("incoming", "valid")]
    for role in ("practice", "incoming"):
        command = ["ssh-keygen", "-Y", "verify", "-f", handover.signers_of(path), "-I", role]
        command += ["-n", signing.STATEMENT, "-s", handover.signature_of(path, role)]  # type: ignore[arg-type]  # a role
        checked = subprocess.run(list(map(str, command)), input=data, capture_output=True, timeout=30, check=False)
        assert checked.returncode == 0, checked.stderr
        refused = subprocess.run(
            list(map(str, command)), input=data + b" ", capture_output=True, timeout=30, check=False
        )
        assert refused.returncode != 0


def test_a_statement_that_was_altered_after_signing_is_found_out(tmp_path: Path) -> None:
    path, report = tmp_path / "handover.json", of(evidence(tmp_path / "run"))
    handover.write_or_check(path, report)
    handover.sign(path, "outgoing", the_signer())
    path.write_bytes(path.read_bytes().replace(b'"lost":0', b'"lost":1'))
    assert [one.state for one in handover.signed(path)] == ["invalid"]
    with pytest.raises(EvidenceError, match="says other numbers"):
        handover.write_or_check(path, report)


def test_a_side_signs_once_and_only_a_statement_about_this_evidence_counts(tmp_path: Path) -> None:
    path = tmp_path / "handover.json"
    handover.write_or_check(path, of(evidence(tmp_path / "run")))
    handover.sign(path, "practice", the_signer())
    with pytest.raises(UsageError, match="has signed"):
        handover.sign(path, "practice", the_signer("another key"))
    with pytest.raises(EvidenceError, match="about something else"):
        handover.write_or_check(path, of(evidence(tmp_path / "other", THREE[:2])))
    (tmp_path / "letter.txt").write_text("no statement")
    with pytest.raises(FormatError):
        handover.sign(tmp_path / "letter.txt", "practice", the_signer())

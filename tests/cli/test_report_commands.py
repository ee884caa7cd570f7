"""`portability report`, `runbook` and `sign` from the command line: what they write, what they refuse, how they end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zlib
from pathlib import Path

import archives
import pytest
from commands import Run
from report_samples import Line, drill, evidence

JOB = """
evidence = "exit-2026"
[source]
url = "s3://cabinet"
credentials = "env:OLD"
[destination]
url = "sftp://cabinet@new.example/home/cabinet"
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def test_a_report_is_a_page_and_its_values_beside_it_for_their_owner_alone(tmp_path: Path, run: Run) -> None:
    ended = run("report", evidence(tmp_path / "run"))
    assert ended.code == 0, ended
    assert ended.out.startswith("PROVEN\n")
    assert names() == ["report-run-fr.html", "report-run-fr.json"]
    assert {path.stat().st_mode & 0o777 for path in Path().iterdir()} == {0o600}
    assert '<html lang="fr">' in Path("report-run-fr.html").read_text("utf-8")
    assert json.loads(Path("report-run-fr.json").read_text("utf-8"))["verdict"]["state"] == "proven"
    assert run("report", tmp_path / "run", "--lang", "en").code == 0
    assert '<html lang="en">' in Path("report-run-en.html").read_text("utf-8")


def test_a_further_report_gets_a_free_name_and_nothing_is_overwritten(tmp_path: Path, run: Run) -> None:
    place = evidence(tmp_path / "run")
    assert run("report", place).code == 0
    assert run("report", place).code == 0
    assert "report-run-fr-2.html" in names()
    Path("mine.json").write_text("mine")
    run("report", place, "--out", "mine.html").refused(2, "mine.json exists already")
    assert Path("mine.json").read_text() == "mine"
    run("report", place, "--out", "nowhere/page.html").refused(2, "there is no such folder")


def test_the_exit_code_is_that_of_the_verdict(tmp_path: Path, run: Run) -> None:
    unproven = run("report", evidence(tmp_path / "skipped", [Line(key="a"), Line(key="b", size=None)]))
    assert unproven.code == 3
    assert unproven.out.startswith("NOT PROVEN\n")
    assert "NON PROUVÉ" in Path("report-skipped-fr.html").read_text("utf-8").partition("</title>")[0]
    assert run("report", evidence(tmp_path / "wrong", findings=[{"problem": "digest", "key": "a"}])).code == 4


def test_damage_is_told_calmly_and_leaves_nothing_behind(tmp_path: Path, run: Run) -> None:
    path = evidence(tmp_path / "run") / "manifest.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    run("report", tmp_path / "run", "--details", "d.csv", "--pdf").refused(6, "manifest.jsonl")
    assert names() == []


def test_what_is_no_evidence_is_a_wrong_name(tmp_path: Path, run: Run) -> None:
    (tmp_path / "photos").mkdir()
    run("report", tmp_path / "photos").refused(2, "neither evidence nor a drill nor an archive")
    run("report", tmp_path / "absent").refused(5, "there is nothing there")
    run("report").refused(2, "Missing argument")


def test_an_archive_and_a_drill_are_reported_alike(tmp_path: Path, run: Run) -> None:
    archive = archives.build(tmp_path / "archive", sign_with=archives.key())
    ended = run("report", archive, "--signer", archives.fingerprint(), "--workers", 1, "--json")
    assert ended.code == 0
    assert ended.records[0]["kind"] == "archive"
    assert run("report", archive, "--signer", f"SHA256:{'A' * 43}", "--workers", 1).code == 6
    ended = run("report", drill(tmp_path / "drills"), "--json")
    assert ended.code == 0
    assert ended.records[0]["drill"]["score"]["completeness"]["part"] == 1000
    assert not any(one["name"] for one in ended.records[0]["drill"]["folders"])


def test_a_signature_demanded_of_what_has_none_is_never_passed_over(tmp_path: Path, run: Run) -> None:
    run("report", evidence(tmp_path / "run"), "--signer", archives.fingerprint()).refused(6, "--signer is for archives")
    assert names() == []


def test_keys_go_into_the_details_and_nowhere_else(tmp_path: Path, run: Run) -> None:
    place = evidence(tmp_path / "run", [Line(key="Martin/a"), Line(key="Zoé/b", size=None)])
    ended = run("report", place, "--details", "details.csv", "--json")
    assert ended.code == 3
    assert "Zoé/b" in Path("details.csv").read_text("utf-8-sig")
    told = ended.out + "".join(path.read_text("utf-8", "replace") for path in Path().glob("report-*"))
    assert "Martin" not in told
    assert "Zo" not in told.replace("Zone", "")


def test_pseudonyms_are_made_with_a_key_file_and_resolved_with_it(tmp_path: Path, run: Run) -> None:
    place = evidence(tmp_path / "run", [Line(key="Martin/a", size=None), Line(key="b/c")])
    run("report", place, "--pseudonymise").refused(2, "--key-file")
    run("report", place, "--key-file", "k").refused(2, "--pseudonymise or --resolve")
    ended = run("report", place, "--pseudonymise", "--key-file", "k", "--details", "d.csv")
    assert ended.code == 3
    text = Path("d.csv").read_text("utf-8-sig")
    assert "Martin" not in text
    pseudonym = re.search(r"skipped,name,(P-[A-Z2-7-]+)", text)
    assert pseudonym
    resolved = run("report", place, "--key-file", "k", "--resolve", pseudonym[1])
    assert (resolved.code, resolved.out.split()) == (0, [pseudonym[1], "Martin/a"])
    assert run("report", place, "--key-file", "k", "--resolve", "P-AAAA-AAAA-AAAA-AAAA").code == 3
    run("report", place, "--key-file", "k", "--resolve", "Martin").refused(2, "is not a pseudonym")


def test_a_pdf_is_tagged_and_begins_with_the_certificate(tmp_path: Path, run: Run) -> None:
    assert run("report", evidence(tmp_path / "run"), "--pdf", "--out", "page.html").code == 0
    data = Path("page.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    inside = b"".join(map(unpacked, re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)))
    assert b"/StructTreeRoot" in inside + data
    assert b"(fr)" in inside + data  # its language


def unpacked(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


@pytest.mark.parametrize(
    ("lack", "words"),
    [
        ("raise OSError('cannot load library libpango-1.0-0')", "Pango"),
        ("raise ImportError('weasyprint')", "WeasyPrint"),
    ],
)
def test_a_pdf_without_its_libraries_is_refused_with_what_to_install(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, lack: str, words: str
) -> None:
    """An import of WeasyPrint fails in these two ways where something is not installed."""
    (tmp_path / "weasyprint").mkdir()
    (tmp_path / "weasyprint" / "__init__.py").write_text(lack)
    for name in [name for name in sys.modules if name.partition(".")[0] == "weasyprint"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    run("report", evidence(tmp_path / "run"), "--pdf").refused(5, words)
    assert names() == []


def test_the_schema_of_a_report_is_printed(run: Run) -> None:
    ended = run("report", "--schema")
    assert json.loads(ended.out)["properties"]["format"]["const"] == "portability-report/1"


# -- signing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def key(run: Run) -> Path:
    assert run("keygen", "key", "--no-passphrase").code == 0
    return Path("key")


def test_a_handover_is_written_signed_checked_and_shown(tmp_path: Path, run: Run, key: Path) -> None:
    place = evidence(tmp_path / "run")
    assert run("report", place, "--statement", "handover.json", "--out", "first.html").code == 0
    signed = run("sign", "handover.json", "--as", "practice", "--key", key)
    assert signed.code == 0
    assert signed.out.startswith("SIGNED\n")
    command = next(line for line in signed.out.splitlines() if "ssh-keygen -Y verify" in line).split(" < ")[0].split()
    data = Path("handover.json").read_bytes()
    checked = subprocess.run(command, input=data, capture_output=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr
    check = run("sign", "handover.json", "--check")
    assert check.code == 3  # two sides have not signed
    assert "practice  valid" in check.out
    again = run("report", place, "--statement", "handover.json", "--out", "second.html", "--json")
    assert again.records[0]["signed"][0]["state"] == "valid"
    assert "Signé électroniquement" in Path("second.html").read_text("utf-8")
    for role in ("outgoing", "incoming"):
        assert run("sign", "handover.json", "--as", role, "--key", key).code == 0
    assert run("sign", "handover.json", "--check").code == 0
    Path("handover.json").write_bytes(data.replace(b"PROVEN", b"PROVED"))
    assert run("sign", "handover.json", "--check").code == 6


def test_signing_refuses_what_it_cannot_sign(tmp_path: Path, run: Run, key: Path) -> None:
    run("sign", "absent.json", "--as", "practice", "--key", key).refused(5, "absent.json")
    run("sign", "absent.json").refused(2, "--as and --key are missing")
    Path("letter.txt").write_text("hello")
    run("sign", "letter.txt", "--as", "practice", "--key", key).refused(6, "not an in-toto statement")
    run("report", evidence(tmp_path / "run"), "--statement", "letter.txt").refused(6, "not an in-toto statement")


# -- the manual -------------------------------------------------------------------------------------------------------


def test_the_manual_names_commands_references_and_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD_SECRET_ACCESS_KEY", "hush-hush")
    Path("cabinet.toml").write_text(JOB)
    assert run("runbook", "--job", "cabinet.toml").code == 0
    assert names() == ["cabinet.toml", "runbook-cabinet-fr.html"]
    text = Path("runbook-cabinet-fr.html").read_text("utf-8")
    for word in (
        "portability migrate --job cabinet.toml",
        "OLD_SECRET_ACCESS_KEY",
        "exit-2026",
        "Manuel d’exploitation",
    ):
        assert word in text
    assert "hush" not in text
    assert "portability drill" not in text
    Path("drill.toml").write_text(f'{JOB}[drill]\nevery = "90d"\n')
    assert run("runbook", "--job", "drill.toml", "--lang", "en").code == 0
    assert "A drill is due every 90 days." in Path("runbook-drill-en.html").read_text("utf-8")


def test_a_manual_of_no_job_is_refused(run: Run) -> None:
    run("runbook", "--job", "absent.toml").refused(2, "absent.toml")
    Path("half.toml").write_text('[source]\nurl = "s3://cabinet"\n')
    run("runbook", "--job", "half.toml").refused(2, "no table [destination]")

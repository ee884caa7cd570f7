"""What an archive says beside its bytes is checked too: history, provenance, label, statements, names seen in blocks."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

import archives
import programs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import history, signing, statement
from manifests.bagit import Severity
from manifests.names import broken_rule
from manifests.paths import is_archive_path
from portability.archive import verifier_manifest
from portability.archive.verifier import VerifierResult, verify_bag
from portability.archive.verifier_lists import _plain_block
from portability.archive.verifier_names import PLAIN, fold, nfc

TIME = "2026-11-21T09:05:00Z"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return archives.build(tmp_path / "archive", sign_with=archives.key())


def written(folder: Path, name: str, data: bytes) -> VerifierResult:
    """The archive with this tag file, lists and signature renewed."""
    (folder / name).write_bytes(data)
    archives.close(folder, sign_with=archives.key())
    return verify_bag(folder, signer=archives.fingerprint())


def told(result: VerifierResult) -> list[tuple[str, Severity, str]]:
    return [(found.rule, found.severity, found.path) for found in result.findings]


def chain() -> list[bytes]:
    first = history.append(None, type="export", result="PROVEN", time=TIME, archive="sha256:" + "0" * 64)
    second = history.append(first, type="drill", result="PASSED", time=TIME)
    third = history.append(second, type="export", result="PROVEN", time=TIME)
    return [entry.to_line() + b"\n" for entry in (first, second, third)]


def test_a_history_is_accepted_and_one_that_was_rewritten_is_refused_at_its_line(archive: Path) -> None:
    lines = chain()
    assert written(archive, "metadata/history.jsonl", b"".join(lines)).exit_code == 0
    for spoiled, number in (
        ([lines[0].replace(b"PROVEN", b"FAILED"), *lines[1:]], 2),
        ([lines[0], lines[2]], 2),
        (lines[1:], 1),
        ([*lines[:2], lines[2].rstrip()], 3),
        ([*lines, b"not a line\n"], 4),
    ):
        result = written(archive, "metadata/history.jsonl", b"".join(spoiled))
        assert result.exit_code == 6
        assert [(found.rule, found.path, found.line) for found in result.findings] == [
            ("V19", "metadata/history.jsonl", number)
        ]
        assert result.verdict is not None
        assert not result.verdict.proven


def test_provenance_that_is_none_is_told_and_changes_no_verdict(archive: Path) -> None:
    result = written(archive, "metadata/provenance.json", b'{"schema":"another/9","events":[]}\n')
    assert (result.exit_code, told(result)) == (0, [("V19", Severity.WARN, "metadata/provenance.json")])


def test_a_later_version_of_the_profile_is_refused_by_name(archive: Path) -> None:
    info = (archive / "bag-info.txt").read_bytes()
    result = written(archive, "bag-info.txt", info.replace(b"bagit-profile/1", b"bagit-profile/2"))
    assert result.exit_code == 6
    assert ("V1", Severity.REJECT, "bag-info.txt") in told(result)
    assert any("use a newer one" in found.message for found in result.findings)


def test_the_manifest_of_another_archive_is_refused(archive: Path) -> None:
    info = (archive / "bag-info.txt").read_bytes()
    result = written(archive, "bag-info.txt", info.replace(b"urn:uuid:24e51ca2", b"urn:uuid:00000000"))
    assert (result.exit_code, told(result)) == (6, [("V19", Severity.REJECT, "bag-info.txt")])


# T15: statements, which stand outside the lists.


def stated(folder: Path, *, about: str | None = None, signer: str = "the new host") -> Path:
    """A drill's verdict beside the archive's signature."""
    digest = about or archives.archive_id(folder).removeprefix("sha256:")
    subject = statement.Subject(name="tagmanifest-sha256.txt", sha256=digest)
    made = statement.drill_result(subject, passed=["restored-bytes-equal"])
    path = folder / "signatures" / "statements" / made.file_name(1)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(made.to_bytes())
    seal = signing.sign(archives.key(signer), io.BytesIO(made.to_bytes()), signing.STATEMENT)
    path.with_name(f"{path.name}.sig").write_bytes(seal)
    return path


def test_a_signed_statement_about_the_archive_is_counted_whoever_signed_it(archive: Path) -> None:
    stated(archive)
    result = verify_bag(archive, signer=archives.fingerprint())
    assert (result.exit_code, result.statements, told(result)) == (0, 1, [])


@programs.needs("ssh-keygen")
def test_ssh_keygen_checks_the_same_statement(archive: Path) -> None:
    path = stated(archive)
    command = ["ssh-keygen", "-Y", "check-novalidate", "-n", signing.STATEMENT, "-s", f"{path}.sig"]
    done = subprocess.run(command, input=path.read_bytes(), capture_output=True, check=False, timeout=20)
    assert done.returncode == 0


def test_a_changed_statement_is_refused(archive: Path) -> None:
    path = stated(archive)
    path.write_bytes(path.read_bytes().replace(b"PASSED", b"WARNED"))
    result = verify_bag(archive)
    assert (result.exit_code, result.statements) == (6, 0)
    assert ("V22", Severity.REJECT, f"signatures/statements/{path.name}.sig") in told(result)
    assert result.verdict is not None
    assert not result.verdict.proven


def test_the_archives_own_signature_does_not_sign_a_statement(archive: Path) -> None:
    path = stated(archive)
    seal = signing.sign(archives.key(), io.BytesIO(path.read_bytes()), signing.ARCHIVE)
    path.with_name(f"{path.name}.sig").write_bytes(seal)
    assert verify_bag(archive).exit_code == 6


def test_what_is_no_statement_is_refused(archive: Path) -> None:
    path = stated(archive)
    path.write_bytes(b"{}\n")
    assert verify_bag(archive).exit_code == 6


def test_statements_that_prove_nothing_are_told(archive: Path) -> None:
    path = stated(archive, about="0" * 64)
    result = verify_bag(archive)
    assert (result.exit_code, result.statements) == (0, 0)
    assert told(result) == [("V22", Severity.WARN, f"signatures/statements/{path.name}")]
    stated(archive)
    path.with_name(f"{path.name}.sig").unlink()
    assert told(verify_bag(archive)) == [("V22", Severity.WARN, f"signatures/statements/{path.name}")]
    stated(archive)
    path.unlink()
    assert told(verify_bag(archive)) == [("V22", Severity.WARN, f"signatures/statements/{path.name}.sig")]


# Names in blocks, and what stands for lines of two lists.


@settings(max_examples=400, deadline=None)
@given(st.lists(st.from_regex(PLAIN, fullmatch=True), min_size=1, max_size=4))
def test_plain_names_keep_every_rule(segments: list[str]) -> None:
    path = "/".join(["data", *segments])
    assert not [segment for segment in segments if broken_rule(segment)]
    assert is_archive_path(path)
    assert nfc(path) == path
    assert fold(f"{path}\n{path}") == f"{fold(path)}\n{fold(path)}"


@pytest.mark.parametrize(
    "name",
    [
        "CON",
        "con.txt",
        "Com1",
        "lpt9 .x",
        "nul",
        "aux.tar.gz",
        "prn",
        "x.",
        "x ",
        " x",
        "Thumbs.db",
        "EHTHUMBS.DB",
        "Desktop.ini",
        "System Volume Information",
        "_long",
        "_LONG",
        "__MACOSX",
        "._x",
        ".DS_Store",
    ],
)
def test_names_that_look_plain_are_doubted(name: str) -> None:
    assert broken_rule(name) is not None
    for path in (name, f"{name}/x", f"x/{name}", f"x/{name}/x"):
        assert not re.fullmatch(rf"{PLAIN}(?:/{PLAIN})*", path)
        assert _plain_block(f"{'0' * 64}  data/{path}\n".encode(), b"") is None
    assert _plain_block(f"{'0' * 64}  data/x{name}x\n".encode(), b"") is not None


def test_a_digest_that_is_none_is_not_passed_over() -> None:
    line = f"{'0' * 64}  data/x\n"
    assert _plain_block(line.encode(), b"") is not None
    for other in (line.replace("00  ", "0A  "), line.replace("00  ", "0é  "), f" {line[1:]}", f"0{line}", line[1:]):
        assert _plain_block(other.encode(), b"") is None


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("strong", [True, False])
def test_marks_differ_where_lines_differ(strong: bool, keyed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier_manifest, "_HASH_IS_STRONG", strong)
    monkeypatch.setattr(verifier_manifest, "_HASH_IS_KEYED", keyed)
    marks = verifier_manifest.Marks()
    lines = b"".join(b"%064d  data/%d\n" % (number % 7, number) for number in range(1000))
    assert len(set(marks.of(lines))) == 1000
    assert list(marks.of(lines)) == list(marks.of(lines))
    # With Python's own key, marks are one process's own; else each archive's that is looked at.
    assert (verifier_manifest.Marks().of(lines) == marks.of(lines)) == (strong and keyed)


def test_a_long_list_is_judged_like_a_short_one(tmp_path: Path) -> None:
    """Blocks with accents, folders inside folders and a defect beyond the first block."""
    contents = {f"{'é' if i % 5 == 0 else 'e'}/{i % 40}/{'x/' * (i % 3)}{i:05}.txt": b"%d" % i for i in range(4000)}
    folder = archives.build(tmp_path / "archive", contents, sign_with=archives.key())
    assert (verify_bag(folder).exit_code, verify_bag(folder).findings) == (0, ())
    path = folder / "manifest-sha256.txt"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3500], lines[3499], lines[3501], lines[3500], b"x\n", *lines[3502:]]))
    archives.close(folder, sign_with=archives.key())
    found = [(one.rule, one.line) for one in verify_bag(folder).findings if one.path == path.name and one.line]
    assert found == [("V6", 3501), ("V3", 3503), ("V3", 3504)]

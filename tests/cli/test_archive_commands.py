"""Commands about archives: keys, proofs of one line, differences between two exports."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import archives
import pytest
from commands import Ended, Run, command

from manifests import signing
from manifests.tree import Proof
from portability.archive.diff import FOLDERS, diff
from portability.archive.transport import PackedTree, pack
from portability.archive.verifier import verify_tree
from portability.archive.verifier_tree import LocalTree

KEY = "patients/Martin/lettre 1.txt"
CHECKED = ("metadata/checkpoint.txt", "tagmanifest-sha256.txt", archives.SIGNATURE)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return archives.build(tmp_path / "portability-cabinet", sign_with=archives.key())


# -- keygen -----------------------------------------------------------------------------------------------------------


def test_keygen_shows_the_fingerprint_to_keep_on_paper(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORDS", "correct horse battery")
    ended = run("keygen", tmp_path / "key", "--passphrase", "env:WORDS")
    public = signing.PublicKey.from_line((tmp_path / "key.pub").read_text())
    assert ended.code == 0
    assert ended.out.startswith("KEY MADE\n")
    assert public.fingerprint in ended.out
    assert "This fingerprint proves where the archive comes from only if" in ended.out
    assert "correct horse" not in ended.out + ended.err
    ended = run("keygen", tmp_path / "plain", "--no-passphrase", "--json")
    assert [(record["type"], record["protected"]) for record in ended.records] == [("key", False)]
    run("keygen", tmp_path / "key", "--no-passphrase").refused(2, "exists already")
    run("keygen", tmp_path / "new", "--passphrase", "env:NONE").refused(2, "not set")
    run("keygen", tmp_path / "new", "--passphrase", "env:WORDS", "--no-passphrase").refused(2, "together")


@pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")
def test_keygen_asks_twice_on_a_terminal(tmp_path: Path) -> None:
    controller, terminal = os.openpty()
    process = subprocess.Popen(
        command("keygen", tmp_path / "key"), stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    heard = b""
    answers = iter([b"passphrase for", b"the same again"])
    waited = next(answers)
    with contextlib.suppress(OSError):  # a terminal whose last user went away says so
        while piece := os.read(controller, 1024):
            heard += piece
            if waited and waited in heard:
                os.write(controller, b"correct horse\n")
                waited = next(answers, b"")
    os.close(controller)
    assert process.wait(30) == 0, heard
    assert b"KEY MADE" in heard
    assert b"correct horse" not in heard
    signing.load_key((tmp_path / "key").read_bytes(), "correct horse")


# -- proof ------------------------------------------------------------------------------------------------------------


def made(program: Run, *arguments: object) -> Proof:
    ended = program("proof", *arguments)
    assert ended.code == 0, ended
    return Proof.from_bytes(ended.out.encode().removesuffix(b"\n"))


def beside(archive: Path) -> list[object]:
    options = ("--checkpoint", "--tagmanifest", "--signature")
    return [word for option, name in zip(options, CHECKED, strict=True) for word in (option, archive / name)]


def test_a_proof_shows_one_line_up_to_the_key_on_paper(program: Run, run: Run, archive: Path, tmp_path: Path) -> None:
    proof = made(program, archive, KEY)
    assert json.loads(proof.line)["key"] == KEY
    assert b"Martin/lettre 2" not in proof.to_bytes()
    (tmp_path / "proof.json").write_bytes(proof.to_bytes() + b"\n")
    ended = run("proof", "--check", tmp_path / "proof.json", *beside(archive), "--signer", archives.fingerprint())
    assert ended.code == 0
    assert ended.out.startswith("SHOWN\nThis line stands in the evidence which the practice signed.\n")
    assert ended.out.count("✓ shown") == 4
    assert archives.archive_id(archive) in ended.out
    assert "sha256sum FILE" in ended.out


def test_what_was_not_given_is_said_not_to_be_shown(program: Run, run: Run, archive: Path, tmp_path: Path) -> None:
    proof = made(program, archive, KEY)
    file = tmp_path / "proof.json"
    file.write_bytes(proof.to_bytes())
    checkpoint = ("--checkpoint", archive / CHECKED[0])

    def states(ended: Ended) -> list[str]:
        return [step["shown"] for step in ended.records[0]["steps"]]

    nothing = run("proof", "--check", file, "--json")
    assert (nothing.code, states(nothing)) == (3, ["not shown"] * 3)
    assert str(proof.root) in run("proof", "--check", file).out
    some = run("proof", "--check", file, *checkpoint, "--json")
    assert (some.code, states(some)) == (0, ["shown", "not shown", "not shown"])
    assert "who made it was not shown" in run("proof", "--check", file, *checkpoint).out
    unsigned = run("proof", "--check", file, *checkpoint, "--tagmanifest", archive / CHECKED[1], "--json")
    assert (unsigned.code, states(unsigned)) == (0, ["shown", "shown", "not shown", "not shown"])
    signed = run("proof", "--check", file, *beside(archive), "--json")
    assert (signed.code, states(signed)) == (0, ["shown", "shown", "shown", "not shown"])
    assert signed.records[0]["fingerprint"] == archives.fingerprint()
    demanded = run("proof", "--check", file, *checkpoint, "--signer", archives.fingerprint(), "--json")
    assert demanded.code == 6


def test_what_does_not_fit_together_is_false(program: Run, run: Run, archive: Path, tmp_path: Path) -> None:
    proof = made(program, archive, KEY)
    file = tmp_path / "proof.json"
    other = archives.build(tmp_path / "other", {"a": b"1", "b": b"2"}, sign_with=archives.key())

    def verdict(proof: Proof, *words: object) -> tuple[int, list[str]]:
        file.write_bytes(proof.to_bytes())
        ended = run("proof", "--check", file, *words, "--json")
        return ended.code, [step["shown"] for step in ended.records[0]["steps"]]

    whole = beside(archive)
    assert verdict(replace(proof, line=proof.line.replace(b'"attempts":1', b'"attempts":2')), *whole)[1][0] == "false"
    assert verdict(replace(proof, index=proof.index + 1), *whole)[0] == 6
    assert verdict(replace(proof, path=proof.path[:-1]), *whole) == (6, ["false", "shown", "shown", "not shown"])
    assert verdict(proof, "--checkpoint", other / CHECKED[0]) == (6, ["false", "not shown", "not shown"])
    assert verdict(proof, "--checkpoint", archive / CHECKED[0], "--tagmanifest", other / CHECKED[1])[1][1] == "false"
    foreign = ("--checkpoint", archive / CHECKED[0], "--tagmanifest", archive / CHECKED[1])
    assert verdict(proof, *foreign, "--signature", other / CHECKED[2])[1][2] == "false"
    assert verdict(proof, *whole, "--signer", archives.fingerprint(archives.key("a forger")))[1][3] == "false"
    file.write_bytes(b'{"format":"portability-proof/2"}')
    run("proof", "--check", file, *whole).refused(6, "not a proof")


def test_every_version_has_its_proof(program: Run, run: Run, tmp_path: Path) -> None:
    versions = [
        archives.Thing(key="a", data=b"old", order=0, latest=False),
        archives.Thing(key="a", data=None, kind="delete_marker", order=1, latest=False),
        archives.Thing(key="a", data=b"new", order=2),
    ]
    archive = archives.build(tmp_path / "archive", versions)
    assert [json.loads(made(program, archive, "a", *words).line)["order"] for words in ([], ["--order", 0], ["--order", 1])] == [2, 0, 1]  # fmt: skip
    run("proof", archive, "a", "--order", 3).refused(3, "no version 3")
    run("proof", archive, "b").refused(3, "no current version")


def test_proofs_come_from_packed_archives_and_evidence_folders(
    program: Run, run: Run, archive: Path, tmp_path: Path
) -> None:
    pack(LocalTree(archive), archive.name, "zip", tmp_path / "archive.zip")
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    for name in ("manifest.jsonl", "checkpoint.txt"):
        shutil.copy(archive / "metadata" / name, evidence)
    with (evidence / "checkpoint.txt").open("rb") as stream:
        (evidence / "checkpoint.txt.sig").write_bytes(signing.sign(archives.key(), stream, signing.ARCHIVE))
    places = (archive, tmp_path / "archive.zip", evidence, evidence / "manifest.jsonl", evidence.as_uri())
    assert len({made(program, place, KEY) for place in places}) == 1
    assert run("proof", evidence, KEY, "--output", tmp_path / "proof.json").code == 0
    run("proof", evidence, KEY, "--output", tmp_path / "proof.json").refused(2, "exists already")
    words = ("--checkpoint", evidence / "checkpoint.txt", "--signature", evidence / "checkpoint.txt.sig")
    ended = run("proof", "--check", tmp_path / "proof.json", *words, "--signer", archives.fingerprint())
    assert ended.code == 0, ended


def test_a_proof_needs_an_archive_and_a_key_or_a_proof(run: Run, archive: Path, tmp_path: Path) -> None:
    run("proof", archive).refused(2, "an archive and a key")
    run("proof", archive, KEY, "--signer", "SHA256:x").refused(2, "an archive and a key")
    run("proof", archive, "--check", "proof.json").refused(2, "no archive")
    run("proof", "--check", "proof.json", "--signature", "x.sig").refused(2, "--checkpoint")
    run("proof", "--check", tmp_path / "none.json").refused(5, "none.json")
    run("proof", tmp_path / "none", KEY).refused(5, "does not exist")
    (archive / "metadata" / "manifest.jsonl").unlink()
    run("proof", archive, KEY).refused(6, "holds no metadata/manifest.jsonl")


# -- diff -------------------------------------------------------------------------------------------------------------


def test_equal_exports_are_equal_in_whatever_form(run: Run, archive: Path, tmp_path: Path) -> None:
    pack(LocalTree(archive), archive.name, "tar", tmp_path / "archive.tar")
    again = archives.build(tmp_path / "again", names="ascii", uuid="urn:uuid:11111111-2222-3333-4444-555555555555")
    for other in (tmp_path / "archive.tar", again, archive / "metadata" / "manifest.jsonl"):
        ended = run("diff", archive, other)
        assert (ended.code, ended.out.splitlines()[:2]) == (0, ["EQUAL", "7 of 7 things in A and 7 in B are alike"])


def test_what_appeared_disappeared_and_changed_is_counted_by_folder(run: Run, tmp_path: Path) -> None:
    before = {"gone/a": b"12345", "same": b"1", "patients/x": b"old", "patients/y": b"1"}
    after = [
        archives.Thing(key="new", data=b"123"),
        archives.Thing(key="patients/x", data=b"newer"),
        archives.Thing(key="patients/y", data=b"1", members={"tags": {"classe": "labo"}}),
        archives.Thing(key="same", data=b"1"),
    ]
    first, second = archives.build(tmp_path / "first", before), archives.build(tmp_path / "second", after)
    findings = tmp_path / "differences.jsonl"
    ended = run("diff", first, second, "--json", "--findings", findings)
    summary, *differences = ended.records
    assert ended.code == 4
    assert summary["verdict"] == "DIFFERENT"
    assert summary["same"] == 1
    assert {name: tuple(summary[name].values()) for name in ("appeared", "disappeared", "bytes", "attributes")} == {
        "appeared": (1, 3),
        "disappeared": (1, 5),
        "bytes": (1, 5),
        "attributes": (1, 1),
    }
    assert list(summary["folders"]) == ["gone/", "", "patients/"]
    assert [(one["change"], one["key"], one.get("members")) for one in differences] == [
        ("disappeared", "gone/a", None),
        ("appeared", "new", None),
        ("bytes", "patients/x", ["sha256", "size"]),
        ("attributes", "patients/y", ["tags"]),
    ]
    assert [json.loads(line) for line in findings.read_text().splitlines()] == differences
    text = run("diff", first, second).out
    assert text.startswith("DIFFERENT\n1 of 4 things in A and 4 in B are alike\n")
    for word in ("other content", "other attributes", "gone/", "patients/x"):
        assert word in text
    assert run("diff", second, first).code == 4
    assert run("diff", first, second, "--ignore", "tags", "--json").records[0]["attributes"]["things"] == 0


def test_versions_are_compared_one_by_one(tmp_path: Path) -> None:
    def version(order: int, data: bytes, *, latest: bool) -> archives.Thing:
        return archives.Thing(key="a", data=data, order=order, latest=latest)

    first = archives.build(tmp_path / "first", [version(0, b"1", latest=True)])
    second = archives.build(tmp_path / "second", [version(0, b"1", latest=False), version(1, b"2", latest=True)])
    result = diff(str(first), str(second))
    assert [(one.change, one.order) for one in result.differences] == [("appeared", 1)]


def test_half_a_manifest_is_not_compared(run: Run, archive: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    cut.mkdir()
    data = (archive / "metadata" / "manifest.jsonl").read_bytes()
    (cut / "manifest.jsonl").write_bytes(b"".join(data.splitlines(keepends=True)[:-1]))
    findings = tmp_path / "differences.jsonl"
    run("diff", archive, cut, "--findings", findings).refused(6, "seal")
    assert not list(tmp_path.glob("differences*"))
    run("diff", archive, tmp_path / "none").refused(5, "does not exist")
    run("diff", archive, archive, "--findings", tmp_path / "none" / "x").refused(2, "no such folder")
    (cut / "metadata").mkdir()
    (cut / "metadata" / "manifest.jsonl.age").write_bytes(b"age-encryption.org/v1\n")
    run("diff", archive, cut).refused(6, "encrypted", "age -d")


def test_folders_beyond_the_first_thousand_are_counted_together(tmp_path: Path) -> None:
    def many(count: int) -> dict[str, bytes]:
        return {f"{number:05}/a": b"" for number in range(count)}

    one = archives.build(tmp_path / "one", {"z": b""})
    two = archives.build(tmp_path / "two", many(FOLDERS + 50) | {"z": b""})
    result = diff(str(one), str(two))
    assert len(result.folders) == FOLDERS + 1
    assert result.folders["…"].things["appeared"] == 50
    assert len(result.differences) == 20


# -- archives as one file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_a_packed_archive_gets_the_verdict_of_its_folder(archive: Path, form: str, tmp_path: Path) -> None:
    file = tmp_path / f"archive.{form}"
    pack(LocalTree(archive), archive.name, "tar" if form == "tar" else "zip", file)
    with PackedTree(file) as tree:
        result = verify_tree(tree, signer=archives.fingerprint())
    assert (result.exit_code, result.archive_id) == (0, archives.archive_id(archive))
    data = bytearray(file.read_bytes())
    data[data.find(b"Cher confrere, encore")] ^= 1
    file.write_bytes(data)
    with PackedTree(file) as tree:
        assert verify_tree(tree).exit_code == 4

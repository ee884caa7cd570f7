"""The verifier finds every alteration, says what it is, changes nothing, follows nothing and asks no network."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import archives
import programs
import pytest

from manifests.bagit import Severity
from manifests.verdict import Signature
from portability.archive import verifier_hashing
from portability.archive.verifier import VerifierResult, verify_bag, verify_tree
from portability.archive.verifier_findings import KEPT, Finding
from portability.archive.verifier_tree import Leaves, LocalTree, Node
from portability.errors import PlaceError, UsageError

posix = pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs of POSIX")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return archives.build(tmp_path / "archive", sign_with=archives.key())


def rules(result: VerifierResult) -> set[str]:
    return {rule for rule, _ in result.totals}


def test_the_worked_example_is_proven_when_its_signer_is_demanded(tmp_path: Path) -> None:
    folder = archives.example(tmp_path / "example", sign_with=archives.key())
    result = verify_bag(folder, signer="SHA256:7+T7QIVUi+Mvp/Jw2JtP0BZOj63QabfXc/5VGEg54II")
    assert (result.mode, result.exit_code, result.findings) == ("archive", 0, ())
    assert result.verdict is not None
    assert result.verdict.proven
    assert str(result.verdict).startswith("PROVEN: 10 lines, 72 bytes")
    assert (result.counts.payload_intact, result.counts.payload_bytes, result.counts.tag_intact) == (9, 72, 13)
    assert result.archive_id == archives.archive_id(folder)


@posix
@pytest.mark.parametrize("name", archives.ALTERATIONS)
def test_an_alteration_is_found_and_named(name: str, archive: Path) -> None:
    alteration = archives.ALTERATIONS[name]
    alteration(archive)
    result = verify_bag(archive)
    assert result.exit_code == alteration.exit_code, result.findings
    assert alteration.rules <= rules(result)
    assert result.verdict is None or result.verdict.proven == (alteration.exit_code == 0)
    demanded = verify_bag(archive, signer=archives.fingerprint())
    assert demanded.exit_code == (alteration.exit_code if alteration.demanded is None else alteration.demanded)


def test_a_finding_names_file_expected_and_found(archive: Path) -> None:
    victim = archive / "data" / "files" / "labo" / "0042.hl7"
    before = archives.hashlib.sha256(victim.read_bytes()).hexdigest()
    victim.write_bytes(b"abc")
    (found,) = verify_bag(archive).findings
    after = archives.hashlib.sha256(b"abc").hexdigest()
    assert (found.rule, found.path) == ("V15", "data/files/labo/0042.hl7")
    assert (found.expected, found.found) == (before, after)


def test_an_unsigned_archive_is_proven_with_a_warning_and_refused_when_a_signature_is_demanded(tmp_path: Path) -> None:
    folder = archives.build(tmp_path / "archive")
    result = verify_bag(folder)
    assert result.exit_code == 0
    assert [(found.rule, found.severity) for found in result.findings] == [("V22", Severity.WARN)]
    assert result.signature is not None
    assert result.signature.state is Signature.ABSENT
    demanded = verify_bag(folder, signer=archives.fingerprint())
    assert demanded.exit_code == 6
    assert demanded.verdict is not None
    assert not demanded.verdict.proven


def test_an_allowed_signers_file_from_outside_names_the_expected_key(archive: Path, tmp_path: Path) -> None:
    outside = tmp_path / "practice.signers"
    shutil.copy(archive / "signatures" / "allowed_signers", outside)
    assert verify_bag(archive, signer=str(outside)).exit_code == 0
    line = archives.signing.allowed_signers_line("x", archives.signing.public_key(archives.key("another")))
    outside.write_text(line, encoding="utf-8")
    assert verify_bag(archive, signer=str(outside)).exit_code == 6
    with pytest.raises(UsageError):
        verify_bag(archive, signer=str(tmp_path / "absent"))


def test_demanding_a_signer_never_falls_back_to_a_plain_bag(archive: Path) -> None:
    for path in (*archive.glob("metadata/*"), *archive.glob("signatures/*"), archive / "tagmanifest-sha256.txt"):
        path.unlink()
    info = archive / "bag-info.txt"
    info.write_bytes(info.read_bytes().replace(b"portability:bagit-profile/1", b"x"))
    assert verify_bag(archive).mode == "bag"
    assert verify_bag(archive).exit_code == 0
    assert verify_bag(archive, signer=archives.fingerprint()).exit_code == 6
    with pytest.raises(UsageError):
        verify_bag(archive, mode="bag", signer=archives.fingerprint())


def test_a_folder_that_is_no_archive_says_so(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"x")
    result = verify_bag(tmp_path / "photos")
    assert result.exit_code == 6
    assert "V1" in rules(result)
    with pytest.raises(PlaceError):
        verify_bag(tmp_path / "absent")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"census": {"lines": 9}}, "where the census counted 9"),
        ({"census": {"root": "0" * 64}}, "not the things which the census listed"),
        ({"contents": {}}, "the source listed nothing"),
        ({"contents": [archives.Thing(key="a", data=b"a", evidence="reported")]}, "evidence below read"),
        (
            {
                "contents": [
                    archives.Thing(key="a", data=b"a"),
                    archives.Thing(key="b", data=None, kind="skipped", members={"reason": "fifo"}),
                ]
            },
            "skipped without being accepted",
        ),
    ],
)
def test_an_intact_archive_that_proves_nothing_is_exit_3(
    change: dict[str, object], reason: str, tmp_path: Path
) -> None:
    folder = archives.build(tmp_path / "archive", **change)  # type: ignore[arg-type]  # members of one call each
    result = verify_bag(folder)
    assert result.exit_code == 3
    assert result.intact
    assert result.verdict is not None
    assert any(reason in found.message for found in result.findings if found.rule == "V21")
    assert reason in str(result.verdict)


def test_versions_and_markers_are_lines_and_equal_bytes_are_stored_once(tmp_path: Path) -> None:
    things = [
        archives.Thing(key="a", data=b"one", order=0, latest=False),
        archives.Thing(key="a", data=b"two", order=1, latest=False),
        archives.Thing(key="a", data=b"one", order=2, latest=False),
        archives.Thing(key="a", data=None, kind="delete_marker", order=3),
    ]
    result = verify_bag(archives.build(tmp_path / "archive", things))
    assert result.exit_code == 0
    assert result.counts.payload_intact == 2


def test_a_second_pair_of_lists_is_checked_too(tmp_path: Path) -> None:
    folder = archives.build(tmp_path / "archive", sha512=True)
    assert verify_bag(folder).exit_code == 0
    path = folder / "manifest-sha512.txt"
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    archives.close(folder)
    result = verify_bag(folder)
    assert result.exit_code == 4
    assert rules(result) == {"V15", "V22"}


def test_the_manifest_of_a_migration_is_no_evidence_for_an_archive(tmp_path: Path) -> None:
    """There, lines need not say where their bytes are: an archive without any payload would be proven."""
    result = verify_bag(archives.build(tmp_path / "archive", uuid="s3://new.example/cabinet"))
    assert result.exit_code == 6
    assert "V19" in rules(result)


def test_a_line_cannot_claim_another_digest_than_that_of_its_bytes(tmp_path: Path) -> None:
    digest = archives.hashlib.sha256(b"true content").hexdigest()
    claimed = {"sha256": "0" * 64, "age": {"size": 12, "sha256": digest}}
    folder = archives.build(tmp_path / "archive", [archives.Thing(key="a", data=b"true content", claims=claimed)])
    result = verify_bag(folder)
    assert result.exit_code == 6
    assert "V20" in rules(result)


# Scale: many files go to other processes, large ones one by one.


def many(count: int) -> list[archives.Thing]:
    return archives.things({f"patients/{i // 70}/document {i}.txt": b"%d" % i for i in range(count)})


def test_thousands_of_files_are_hashed_in_processes_and_every_defect_is_found(tmp_path: Path) -> None:
    folder = archives.build(tmp_path / "archive", many(2200), sign_with=archives.key())
    assert verify_bag(folder, workers=2).exit_code == 0
    files = archives.files_in(folder)
    files[0].write_bytes(b"changed")
    files[1100].unlink()
    files[2199].with_name("zzz").write_bytes(b"added")
    result = verify_bag(folder, workers=2)
    assert result.exit_code == 4
    assert sorted(found.rule for found in result.findings) == ["V12", "V15", "V15"]
    assert result.counts.payload_intact == 2198


def test_other_threads_do_not_hinder_it(tmp_path: Path) -> None:
    folder = archives.build(tmp_path / "archive", many(1200))
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        assert verify_bag(folder, workers=2).exit_code == 0
    finally:
        end.set()
        thread.join()


def test_large_files_are_hashed_beside_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier_hashing, "LARGE", 1 << 19)
    contents = {f"scan {i}": bytes([i]) * (1 << 20) for i in range(3)} | {"small": b"x"}
    folder = archives.build(tmp_path / "archive", contents)
    assert verify_bag(folder, workers=2).exit_code == 0
    (folder / "data" / "files" / "scan 1").write_bytes(b"x" * (1 << 20))
    assert verify_bag(folder, workers=2).exit_code == 4


def test_findings_beyond_a_thousand_are_counted_and_go_to_the_sink(tmp_path: Path) -> None:
    folder = archives.build(tmp_path / "archive", {"a": b"a"})
    for number in range(KEPT + 50):
        (folder / "data" / f"{number}").write_bytes(b"")
    sunk: list[Finding] = []
    result = verify_bag(folder, sink=sunk.append)
    assert len(result.findings) == KEPT
    assert len(sunk) == sum(result.totals.values())
    assert result.totals["V12", Severity.REJECT] == result.counts.extra == KEPT + 50


# T9: read-only, off-line, nothing followed.


def _state(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    found = {}
    for path in (folder, *folder.rglob("*")):
        state = path.stat()
        found[str(path)] = state.st_mode, state.st_mtime_ns, state.st_size, path.read_bytes() if path.is_file() else b""
    return found


@pytest.mark.parametrize("mode", ["archive", "bag"])
def test_nothing_is_written_and_no_socket_is_opened(mode: str, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives.ALTERATIONS["payload changed"](archive)
    archives.ALTERATIONS["payload added"](archive)
    before = _state(archive)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "create_connection", forbidden)
    verify_bag(archive, mode=mode)  # type: ignore[arg-type]  # one of the two literals
    assert _state(archive) == before


@posix
def test_a_read_only_folder_is_no_obstacle(archive: Path) -> None:
    for path in (*archive.rglob("*"), archive):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        assert verify_bag(archive).exit_code == 0
    finally:
        for path in (archive, *archive.rglob("*")):
            path.chmod(0o700)


@posix
@pytest.mark.parametrize("place", ["data", ".", "metadata", "signatures"])
def test_links_fifos_and_sockets_are_never_opened(place: str, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"x")
    (archive / place / "link").symlink_to(tmp_path / "outside")
    (archive / place / "broken").symlink_to("nowhere")
    os.mkfifo(archive / place / "fifo")  # who opens it for reading waits for a writer for ever
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(archive / place / "socket"))
        for mode in ("archive", "bag"):
            result = verify_bag(archive, mode=mode)  # type: ignore[arg-type]  # one of the two literals
            odd = {found.path.rpartition("/")[2] for found in result.findings if found.rule == "V11"}
            assert odd == {"link", "broken", "fifo", "socket"}
            assert result.exit_code == 6


@posix
@pytest.mark.parametrize("swap", ["file", "folder", "fifo"])
def test_a_link_that_takes_a_files_place_after_the_listing_is_not_followed(
    swap: str, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(archive / "data" / "files" / "labo", outside)
    listed = LocalTree.runs

    def runs(tree: LocalTree) -> Iterator[Node | Leaves]:
        yield from list(listed(tree))
        victim = archive / "data" / "files" / "labo" / "0042.hl7"
        if swap == "folder":
            shutil.rmtree(victim.parent)
            victim.parent.symlink_to(outside)
        else:
            victim.unlink()
            victim.symlink_to(outside / victim.name) if swap == "file" else os.mkfifo(victim)

    monkeypatch.setattr(LocalTree, "runs", runs)
    result = verify_bag(archive, mode="archive")
    assert result.exit_code == 6
    assert "data/files/labo/0042.hl7" in {found.path for found in result.findings if found.rule in {"V11", "V15"}}
    assert "V11" in rules(result)


@posix
@pytest.mark.parametrize("name", ["bagit.txt", "metadata/manifest.jsonl", "manifest-sha256.txt", "metadata"])
def test_evidence_behind_a_link_is_not_read(name: str, archive: Path, tmp_path: Path) -> None:
    (archive / name).rename(tmp_path / "elsewhere")
    (archive / name).symlink_to(tmp_path / "elsewhere")
    result = verify_bag(archive)
    assert result.exit_code == 6
    assert "V11" in rules(result)


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="nothing is closed to the administrator")
def test_what_cannot_be_read_is_a_finding_never_a_match(archive: Path) -> None:
    folder = archive / "data" / "files" / "labo"
    folder.chmod(0)
    try:
        assert verify_bag(archive).exit_code == 6
    finally:
        folder.chmod(0o700)


@posix
def test_folders_deeper_than_any_path_are_walked(archive: Path) -> None:
    handle = os.open(archive / "data", os.O_RDONLY)
    for _ in range(700):
        os.mkdir("deeper", dir_fd=handle)
        inner = os.open("deeper", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)
    result = verify_bag(archive)
    assert [(found.rule, found.path.count("/")) for found in result.findings] == [("V12", 701)]
    shutil.rmtree(archive)


# The same rules over other trees, and over several archives.


class InMemory:
    """A tree that is no folder: what a tar, a zip or a host's prefix looks like to the verifier."""

    def __init__(self, folder: Path) -> None:
        self.files = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }

    def walk(self) -> Iterator[Node]:
        return (Node(path, "file", len(self.files[path])) for path in sorted(self.files))

    def open(self, path: str) -> BinaryIO:
        try:
            return io.BytesIO(self.files[path])
        except KeyError:
            raise FileNotFoundError(path) from None


@posix
@pytest.mark.parametrize("name", [name for name, alteration in archives.ALTERATIONS.items() if alteration.on_page])
def test_any_tree_gets_the_same_verdict_as_a_folder(name: str, archive: Path) -> None:
    assert verify_tree(InMemory(archive), signer=archives.fingerprint()).exit_code == 0
    archives.ALTERATIONS[name](archive)
    here, there = verify_bag(archive), verify_tree(InMemory(archive))
    assert there.exit_code == here.exit_code
    assert (there.totals, there.counts) == (here.totals, here.counts)


def test_a_delta_is_proven_only_together_with_its_base(tmp_path: Path) -> None:
    contents = {"a": b"old content", "b": b"same content"}
    base = archives.build(tmp_path / "base", contents, sign_with=archives.key())
    identifier = archives.archive_id(base)
    stored = {"b": (identifier, "data/files/b")}
    delta = archives.build(tmp_path / "delta", {**contents, "a": b"new content"}, stored_in=stored)
    alone = verify_bag(delta)
    assert (alone.exit_code, alone.needs) == (3, (identifier,))
    assert alone.verdict is not None
    assert not alone.verdict.proven
    together = verify_bag(delta, bases=[base])
    assert (together.exit_code, together.needs) == (0, ())
    other = archives.build(tmp_path / "other", {"b": b"other"})
    assert verify_bag(delta, bases=[other]).exit_code == 3
    archives.ALTERATIONS["payload changed"](base)
    assert verify_bag(delta, bases=[base]).exit_code == 6


def test_a_delta_of_a_delta_and_a_line_that_its_base_does_not_hold_are_refused(tmp_path: Path) -> None:
    base = archives.build(tmp_path / "base", {"a": b"a", "b": b"b"})
    identifier = archives.archive_id(base)
    wrong = archives.build(tmp_path / "wrong", {"a": b"a", "b": b"x"}, stored_in={"b": (identifier, "data/files/b")})
    assert verify_bag(wrong, bases=[base]).exit_code == 6
    delta = archives.build(tmp_path / "delta", {"a": b"a", "b": b"b"}, stored_in={"b": (identifier, "data/files/b")})
    stored = {"a": (archives.archive_id(delta), "data/files/a")}
    second = archives.build(tmp_path / "second", {"a": b"a", "c": b"c"}, stored_in=stored)
    assert verify_bag(second, bases=[delta, base]).exit_code == 6


# Encrypted archives; any reversible change of bytes will do for a cipher here.


def _seal(data: bytes, key: int = 7) -> bytes:
    return b"sealed" + bytes([key]) + bytes(byte ^ key for byte in data)


def _open(sealed: BinaryIO, key: int = 7) -> BinaryIO:
    with sealed:
        data = sealed.read()
    if data[:7] != b"sealed" + bytes([key]):
        raise OSError("another key, or a damaged ciphertext")
    return io.BytesIO(bytes(byte ^ key for byte in data[7:]))


def test_an_encrypted_archive_is_intact_without_a_key_and_proven_with_it(tmp_path: Path) -> None:
    folder = archives.build(tmp_path / "archive", seal=_seal, sign_with=archives.key())
    without = verify_bag(folder, signer=archives.fingerprint())
    assert (without.exit_code, without.encrypted, without.intact) == (3, True, True)
    assert rules(without) == {"V21"}
    opened = verify_bag(folder, decrypt=_open, workers=2)
    assert opened.exit_code == 0
    assert opened.verdict is not None
    assert opened.verdict.proven


def test_a_wrong_key_proves_nothing(tmp_path: Path) -> None:
    folder = archives.build(tmp_path / "archive", seal=_seal, sign_with=archives.key())
    result = verify_bag(folder, decrypt=partial(_open, key=8))
    assert result.exit_code == 6
    assert "V19" in rules(result)


def test_a_ciphertext_of_something_else_is_found_with_the_key(tmp_path: Path) -> None:
    def other(data: bytes) -> bytes:
        return _seal(data.replace(b"confrere", b"collegue"))

    folder = archives.build(tmp_path / "archive", seal=other, sign_with=archives.key())
    assert verify_bag(folder).exit_code == 3
    result = verify_bag(folder, decrypt=_open, workers=2)
    assert result.exit_code == 4
    assert [found.rule for found in result.findings] == ["V15", "V15"]


# Independent readers of what we write.


def test_bagit_accepts_what_we_accept(archive: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports what newer Pythons deprecate
        import bagit
    bag = bagit.Bag(str(archive))
    assert bag.is_valid()
    archives.ALTERATIONS["payload changed"](archive)
    assert not bagit.Bag(str(archive)).is_valid()


@programs.needs("sha256sum")
def test_sha256sum_accepts_what_we_accept(archive: Path) -> None:
    command = ["sha256sum", "--strict", "--quiet", "-c", "tagmanifest-sha256.txt", "manifest-sha256.txt"]
    assert subprocess.run(command, cwd=archive, capture_output=True, check=False).returncode == 0
    archives.ALTERATIONS["payload changed"](archive)
    assert subprocess.run(command, cwd=archive, capture_output=True, check=False).returncode != 0

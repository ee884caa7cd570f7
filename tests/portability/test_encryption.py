"""Encrypted archives (T11): verified without the key, fully with it, opened file by file with the stock program, silent in clear."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import archives
import pytest
import servers
from exports import an_archive, an_identity, bring_back
from places import content, essence, fill, lines, small_practice

from connectors import CorruptedError, Location, PermissionDeniedError
from connectors.streams import BytesStream
from portability.archive.encryption import WrongKeyError, check_recipients, decrypted, encrypted, identities
from portability.archive.verification import verify_archive
from portability.archive.verifier import VerifierResult
from portability.errors import EvidenceError, UsageError


@dataclass(frozen=True, kw_only=True)
class Made:
    source: Location
    archive: Path
    identity: Path
    recovery: Path


@pytest.fixture(scope="module")
def made(moto: servers.S3Server, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("encrypted")
    source = moto.place(versioned=True)
    fill(source, small_practice())
    recipients = tuple(an_identity(folder / name) for name in ("identity", "recovery"))
    work = folder / "work"  # by default the current folder: the ledger is clear
    archive = an_archive(source, folder / "exports", recipients=recipients, work=work)
    return Made(source=source, archive=archive, identity=folder / "identity", recovery=folder / "recovery")


def verified(archive: Path, identity: Path | None = None) -> VerifierResult:
    place = Location.parse(str(archive))
    return verify_archive(place, workers=1, signer=archives.fingerprint(), identity=str(identity) if identity else None)


def test_without_a_key_it_is_intact_and_signed_and_not_more(made: Made) -> None:
    result = verified(made.archive)
    assert (result.exit_code, result.verdict, result.encrypted) == (3, None, True)
    assert {rule for rule, _ in result.totals} == {"V21"}
    script = subprocess.run(["sh", str(made.archive / "verify.sh")], capture_output=True, encoding="utf-8")
    assert script.stdout.splitlines()[-1] == "RESULT: VALID"


@pytest.mark.parametrize("name", ["identity", "recovery"])
def test_with_either_key_it_is_proven(made: Made, name: str) -> None:
    result = verified(made.archive, getattr(made, name))
    assert (result.exit_code, result.findings) == (0, ())


def test_no_clear_file_holds_a_key_a_tag_or_a_content_of_the_practice(made: Made) -> None:
    things = small_practice()
    words = {thing.key for thing in things} | {value for thing in things for value in thing.tags.values()}
    words |= {part for thing in things for part in thing.key.split("/") if len(part) > 12}
    looked = 0
    for path in made.archive.rglob("*"):
        assert not any(word in str(path.relative_to(made.archive)) for word in words)
        if path.is_file() and path.suffix != ".age":
            looked += 1
            data = path.read_bytes()
            assert not [word for word in words if len(word) > 7 and word.encode() in data], path.name
    assert looked >= 12
    assert not (made.archive / "metadata" / "manifest.jsonl").exists()
    assert not (made.archive / "metadata" / "source.json").exists()


def test_one_file_is_opened_with_the_stock_program(made: Made) -> None:
    def opened(path: Path) -> bytes:
        command = ["age", "-d", "-i", str(made.identity), str(path)]
        return subprocess.run(command, capture_output=True, check=True).stdout

    manifest = opened(made.archive / "metadata" / "manifest.jsonl.age")
    some = sorted((made.archive / "data").rglob("*.age"))[:5]
    assert len(some) == 5
    for path in some:  # each is one of the plaintexts that the manifest proves
        assert f'"sha256":"{hashlib.sha256(opened(path)).hexdigest()}"'.encode() in manifest


def test_it_comes_back_whole(made: Made, moto: servers.S3Server, tmp_path: Path) -> None:
    home = moto.place(versioned=True)
    outcome = bring_back(made.archive, home, tmp_path / "restore", identity=str(made.identity))
    assert outcome.proven, outcome.reasons
    assert content(home) == content(made.source)
    assert all(str(made.identity) not in path.read_text("utf-8") for path in (tmp_path / "restore").glob("*.json*"))
    clear = an_archive(made.source, tmp_path / "clear")
    assert essence(tmp_path / "restore") == essence(clear / "metadata")
    assert list(lines(tmp_path / "restore"))


def test_a_wrong_a_missing_or_an_open_key_is_named_and_nothing_is_restored(made: Made, tmp_path: Path) -> None:
    home = Location.parse(str(tmp_path / "home"))
    an_identity(tmp_path / "other")
    with pytest.raises(UsageError, match="another key") as wrong:
        verified(made.archive, tmp_path / "other")
    assert "recipients.txt" in wrong.value.hint
    with pytest.raises(UsageError, match="another key"):
        bring_back(made.archive, home, tmp_path / "restore", identity=str(tmp_path / "other"))
    with pytest.raises(UsageError, match="encrypted") as missing:
        bring_back(made.archive, home, tmp_path / "restore")
    assert "--identity" in missing.value.hint
    (tmp_path / "other").chmod(0o644)
    with pytest.raises(PermissionDeniedError, match="chmod 600"):
        identities(str(tmp_path / "other"))
    (tmp_path / "words").write_text("no key")
    (tmp_path / "words").chmod(0o600)
    with pytest.raises(UsageError, match="no age identity"):
        identities(str(tmp_path / "words"))
    with pytest.raises(UsageError, match="age1nonsense"):
        check_recipients(["age1nonsense"])
    assert not (tmp_path / "home").exists()
    assert not (tmp_path / "restore").exists()


def test_a_cut_ciphertext_leaves_nothing_restored(made: Made, tmp_path: Path) -> None:
    """The lists are renewed, as a forger would: then only decrypting tells."""
    archive = tmp_path / "archive"
    shutil.copytree(made.archive, archive)
    largest = max((archive / "data").rglob("*.age"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-70_000])
    home = Location.parse(str(tmp_path / "home"))
    assert verified(archive).exit_code == 4
    with pytest.raises(EvidenceError, match="V15"):
        bring_back(archive, home, tmp_path / "restore", identity=str(made.identity))
    assert not (tmp_path / "home").exists()


# -- streams ----------------------------------------------------------------------------------------------------------


def sealed(data: bytes, recipient: str) -> bytes:
    with encrypted(BytesStream(data), [recipient]) as stream:
        return stream.read()


@pytest.mark.parametrize("cut", [1, 16, 70_000, 199_000])
def test_a_cut_or_changed_ciphertext_is_an_error_before_its_end(tmp_path: Path, cut: int) -> None:
    recipient = an_identity(tmp_path / "key")
    whole = sealed(bytes(200_000), recipient)
    for spoiled in (whole[:-cut], whole[:-cut] + bytes([whole[-cut] ^ 1]) + whole[len(whole) - cut + 1 :]):
        stream = decrypted(BytesStream(spoiled), str(tmp_path / "key"), host="here", key="x")
        with pytest.raises(CorruptedError, match="damaged or cut"):
            stream.read()
        stream.close()
    an_identity(tmp_path / "other")
    with pytest.raises(WrongKeyError):
        decrypted(BytesStream(whole), str(tmp_path / "other"), host="here", key="x").read()


def test_what_a_failing_source_says_passes_through_the_encryption(tmp_path: Path) -> None:
    class Failing:
        def read(self, size: int = -1, /) -> bytes:
            raise CorruptedError("the line broke")

        def close(self) -> None: ...

    with encrypted(Failing(), [an_identity(tmp_path / "key")]) as stream, pytest.raises(CorruptedError, match="broke"):
        stream.read()


def test_a_stream_that_nobody_reads_to_its_end_can_be_closed(tmp_path: Path) -> None:
    with encrypted(BytesStream(bytes(10 << 20)), [an_identity(tmp_path / "key")]) as stream:
        assert stream.read(10)


def test_memory_stays_flat_however_large_the_file(tmp_path: Path) -> None:
    class Zeros:
        left = 64 << 20

        def read(self, size: int = -1, /) -> bytes:
            count = min(self.left, size if size >= 0 else 1 << 16)
            self.left -= count
            return bytes(count)

        def close(self) -> None: ...

    recipient = an_identity(tmp_path / "key")
    tracemalloc.start()
    try:
        with encrypted(Zeros(), [recipient]) as stream:
            back = decrypted(stream, str(tmp_path / "key"), host="here", key="x")
            count = 0
            while piece := back.read(1 << 20):
                count += len(piece)
            back.close()
        assert count == 64 << 20
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()

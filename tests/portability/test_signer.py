"""Keys that sign: made, kept in a file or in a real ssh-agent, and checked by ssh-keygen."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifests import signing
from portability.archive import signer as signers
from portability.archive.signer import keygen, signer_for
from portability.errors import PlaceError, UsageError

MESSAGE = b"every byte of a tag manifest\n"


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("KEY_WORDS", "correct horse battery")
    return "env:KEY_WORDS"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it speaks once it listens
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def checked_by_ssh_keygen(public: signing.PublicKey, signature: bytes, folder: Path) -> None:
    (folder / "allowed").write_text(signing.allowed_signers_line("practice", public))
    (folder / "message.sig").write_bytes(signature)
    subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "practice", "-n", signing.ARCHIVE, "-s", "message.sig"],
        cwd=folder,
        input=MESSAGE,
        check=True,
        capture_output=True,
    )


def test_a_new_key_is_one_that_openssh_opens(words: str, tmp_path: Path) -> None:
    made = keygen(tmp_path / "key", passphrase=words)
    shown = subprocess.run(["ssh-keygen", "-lf", tmp_path / "key.pub"], capture_output=True, text=True, check=True)
    assert made.fingerprint in shown.stdout
    opened = subprocess.run(
        ["ssh-keygen", "-y", "-P", "correct horse battery", "-f", tmp_path / "key"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert opened.stdout.strip() == made.line
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.pub"]


def test_a_key_file_signs_for_ssh_keygen(words: str, tmp_path: Path) -> None:
    keygen(tmp_path / "key", passphrase=words)
    signer = signer_for(str(tmp_path / "key"), passphrase=words)
    checked_by_ssh_keygen(signer.public, signer.sign(MESSAGE, signing.ARCHIVE), tmp_path)
    assert "PrivateKey" not in repr(signer)


def test_keys_of_ssh_keygen_sign_too(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    signer = signer_for(str(tmp_path / "key"))
    checked_by_ssh_keygen(signer.public, signer.sign(MESSAGE, signing.ARCHIVE), tmp_path)


@pytest.mark.usefixtures("agent")
def test_a_key_in_the_agent_signs_by_fingerprint_and_by_its_public_file(tmp_path: Path) -> None:
    made = keygen(tmp_path / "key", unprotected=True)
    keygen(tmp_path / "other", unprotected=True)
    for key in ("other", "key"):
        subprocess.run(["ssh-add", "-q", tmp_path / key], check=True)
        (tmp_path / key).unlink()
    for reference in (f"agent:{made.fingerprint}", str(tmp_path / "key.pub")):
        signer = signer_for(reference)
        assert signer.public == made
        checked_by_ssh_keygen(made, signer.sign(MESSAGE, signing.ARCHIVE), tmp_path)


@pytest.mark.usefixtures("agent")
def test_a_key_that_the_agent_lacks_or_lost_is_named(tmp_path: Path) -> None:
    made = keygen(tmp_path / "key", unprotected=True)
    with pytest.raises(PlaceError, match=re.escape(made.fingerprint)):
        signer_for(str(tmp_path / "key.pub"))
    subprocess.run(["ssh-add", "-q", tmp_path / "key"], check=True)
    signer = signer_for(str(tmp_path / "key.pub"))
    subprocess.run(["ssh-add", "-q", "-D"], check=True)
    with pytest.raises(PlaceError, match="holds no Ed25519 key"):
        signer.sign(MESSAGE, signing.ARCHIVE)


def test_without_an_agent_there_is_no_such_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(PlaceError, match="holds no Ed25519 key"):
        signer_for("agent:SHA256:AAAA")


def test_nothing_is_overwritten_by_a_new_key(words: str, tmp_path: Path) -> None:
    for there in ("key", "key.pub"):
        (tmp_path / there).write_text("mine")
        with pytest.raises(UsageError, match="exists already"):
            keygen(tmp_path / "key", passphrase=words)
        assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
        (tmp_path / there).unlink()
    with pytest.raises(UsageError, match="no such folder"):
        keygen(tmp_path / "none" / "key", passphrase=words)


def test_keys_that_cannot_be_opened_are_refused_with_the_reason(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keygen(tmp_path / "key", passphrase=words)
    key = str(tmp_path / "key")
    monkeypatch.setenv("WRONG", "not these words")
    with pytest.raises(UsageError, match="wrong passphrase") as refused:
        signer_for(key, passphrase="env:WRONG")
    assert "not these words" not in str(refused.value)
    for reference, reason in (("env:NOWHERE", "not set"), ("hunter2", "never on the command line")):
        with pytest.raises(UsageError, match=reason):
            signer_for(key, passphrase=reference)
    with pytest.raises(PlaceError, match="cannot be read"):
        signer_for(str(tmp_path / "none"))
    (tmp_path / "text").write_text("hello\n")
    with pytest.raises(PlaceError, match="not an ssh-ed25519 public key"):
        signer_for(str(tmp_path / "text"))
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "ecdsa"], check=True)
    with pytest.raises(PlaceError, match="only ssh-ed25519"):
        signer_for(str(tmp_path / "ecdsa"))
    if os.name == "posix":
        (tmp_path / "key").chmod(0o644)
        with pytest.raises(PlaceError, match="can be read by others"):
            signer_for(key, passphrase=words)


def test_a_passphrase_is_asked_twice_on_a_terminal_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no terminal"):
        keygen(tmp_path / "key")
    monkeypatch.setattr("sys.stdin", _Terminal())
    for answers, reason in ((["one", "other"], "differ"), (["", ""], "empty")):
        given = iter(answers)
        monkeypatch.setattr(signers.getpass, "getpass", lambda _, given=given: next(given))
        with pytest.raises(UsageError, match=reason):
            keygen(tmp_path / "key")
        assert list(tmp_path.iterdir()) == []
    given = iter(["words", "words", "words"])
    monkeypatch.setattr(signers.getpass, "getpass", lambda _: next(given))
    made = keygen(tmp_path / "key")
    assert signer_for(str(tmp_path / "key")).fingerprint == made.fingerprint


class _Terminal:
    def isatty(self) -> bool:
        return True

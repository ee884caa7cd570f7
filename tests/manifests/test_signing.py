"""Signatures are those of ssh-keygen, and only the expected one counts."""

from __future__ import annotations

import base64
import builtins
import hashlib
import io
import struct
import subprocess
from pathlib import Path
from typing import Any

import example
import programs
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from manifests import signing
from manifests.errors import FormatError, SignatureError
from manifests.signing import ARCHIVE, STATEMENT, PublicKey
from manifests.verdict import Signature

KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"portability example key, never use it").digest())
FINGERPRINT = "SHA256:7+T7QIVUi+Mvp/Jw2JtP0BZOj63QabfXc/5VGEg54II"
needs_ssh_keygen = programs.needs("ssh-keygen")


def blob(**changed: Any) -> bytes:
    """The binary signature of b"x" with some of its fields replaced."""
    string = signing._string
    fields: dict[str, Any] = {
        "magic": b"SSHSIG", "version": 1, "key": signing.public_key(KEY).blob, "namespace": ARCHIVE.encode(), "reserved": b"",
        "hash": b"sha512", "type": b"ssh-ed25519", "inner_tail": b"", "tail": b"",
    }  # fmt: skip
    fields["signature"] = KEY.sign(signing._preimage(io.BytesIO(b"x"), ARCHIVE, fields["hash"]))
    fields.update(changed)
    inner = string(fields["type"]) + string(fields["signature"]) + fields["inner_tail"]
    return bytes(
        fields["magic"] + struct.pack(">I", fields["version"]) + string(fields["key"]) + string(fields["namespace"])
        + string(fields["reserved"]) + string(fields["hash"]) + string(inner) + fields["tail"]
    )  # fmt: skip


def armour(data: bytes) -> bytes:
    return b"-----BEGIN SSH SIGNATURE-----\n" + base64.b64encode(data) + b"\n-----END SSH SIGNATURE-----\n"


def test_the_vector_of_the_format_is_rebuilt_and_verified() -> None:
    with (example.DATA / "manifest.jsonl").open("rb") as message:
        assert signing.sign(KEY, message, ARCHIVE) == example.read("manifest.jsonl.sig")
    with (example.DATA / "manifest.jsonl").open("rb") as message:
        key = signing.verify(example.read("manifest.jsonl.sig"), message, ARCHIVE)
    assert key.fingerprint == FINGERPRINT
    assert key.line == "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOhIyJkAjLvQBv1ii9b8gsl8wdrbQ9YK7hvJVJn0r9YV"
    assert PublicKey.from_line(f"{key.line} a comment\n") == key


def test_a_new_key_has_a_passphrase_and_opens_with_no_other() -> None:
    data = signing.generate_key("correct horse")
    key = signing.load_key(data, "correct horse")
    assert signing.verify(
        signing.sign(key, io.BytesIO(b"x"), ARCHIVE), io.BytesIO(b"x"), ARCHIVE
    ) == signing.public_key(key)
    for passphrase in ("wrong", None):
        with pytest.raises(SignatureError):
            signing.load_key(data, passphrase)
    with pytest.raises(SignatureError):
        signing.load_key(b"garbage")
    with pytest.raises(ValueError, match="passphrase"):
        signing.generate_key("")


def test_the_unchanged_fields_make_a_valid_signature() -> None:
    assert signing.verify(armour(blob()), io.BytesIO(b"x"), ARCHIVE).fingerprint == FINGERPRINT
    shorter = KEY.sign(signing._preimage(io.BytesIO(b"x"), ARCHIVE, b"sha256"))
    assert signing.verify(armour(blob(hash=b"sha256", signature=shorter)), io.BytesIO(b"x"), ARCHIVE)


@pytest.mark.parametrize(
    "changed",
    [
        {"magic": b"SSHSIX"}, {"version": 2}, {"namespace": STATEMENT.encode()}, {"reserved": b"x"}, {"hash": b"md5"}, {"hash": b"sha256"},
        {"type": b"ssh-rsa"}, {"tail": b"\0"}, {"inner_tail": b"\0"}, {"signature": b"\0" * 64}, {"signature": b""},
        {"key": PublicKey(b"\1" * 32).blob}, {"key": PublicKey(b"\1" * 31).blob}, {"key": signing.public_key(KEY).blob + b"\0"},
        {"key": signing._string(b"ssh-rsa") + signing._string(b"\1")}, {"key": b"\xff\xff\xff\xff"},
    ],
)  # fmt: skip
def test_every_other_field_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(SignatureError):
        signing.verify(armour(blob(**changed)), io.BytesIO(b"x"), ARCHIVE)


def test_other_bytes_namespaces_and_armour_are_refused() -> None:
    good = armour(blob())
    with pytest.raises(SignatureError):
        signing.verify(good, io.BytesIO(b"y"), ARCHIVE)
    with pytest.raises(SignatureError):
        signing.verify(good, io.BytesIO(b"x"), STATEMENT)
    for wrong in (
        b"",
        b"x",
        good + b"x",
        good[:-1],
        good.replace(b"SSH", b"PGP"),
        good.replace(b"U1NI", b"U1N!"),
        b"\n" + good,
        b"\xff" + good,
        armour(blob()[:-1]),
        armour(b""),
    ):
        with pytest.raises(SignatureError):
            signing.verify(wrong, io.BytesIO(b"x"), ARCHIVE)


def test_only_a_key_from_outside_makes_a_demanded_signature_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    good = armour(blob())
    assert signing.examine(good, io.BytesIO(b"x"), ARCHIVE).state is Signature.VALID
    assert signing.examine(good, io.BytesIO(b"x"), ARCHIVE, [FINGERPRINT]).fingerprint == FINGERPRINT
    assert signing.examine(good, io.BytesIO(b"x"), ARCHIVE, ["SHA256:other"]).state is Signature.OTHER_KEY
    assert signing.examine(good, io.BytesIO(b"y"), ARCHIVE, [FINGERPRINT]).state is Signature.INVALID
    assert signing.examine(None, io.BytesIO(b"x"), ARCHIVE).state is Signature.ABSENT
    real = builtins.__import__

    def bare(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cryptography"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", bare)
    assert signing.examine(good, io.BytesIO(b"x"), ARCHIVE, [FINGERPRINT]).state is Signature.UNCHECKED


def test_allowed_signers_are_read_as_ssh_keygen_reads_them() -> None:
    key = signing.public_key(KEY)
    text = "# the practice\n\n" + signing.allowed_signers_line("practice", key) + "other ssh-rsa AAAA\n"
    assert signing.allowed_fingerprints(text, ARCHIVE) == {FINGERPRINT}
    assert signing.allowed_fingerprints(text, "git") == frozenset()
    assert signing.allowed_fingerprints(f"practice {key.line} comment here\n", "git") == {FINGERPRINT}
    for option in ("cert-authority", 'valid-before="20200101"', 'namespaces="*"', "namespaces=x"):
        with pytest.raises(FormatError, match="line 1"):
            signing.allowed_fingerprints(f"practice {option} {key.line}\n", ARCHIVE)


@needs_ssh_keygen
def test_ssh_keygen_verifies_ours(tmp_path: Path) -> None:
    data = signing.generate_key("correct horse")
    key = signing.load_key(data, "correct horse")
    (tmp_path / "signers").write_text(signing.allowed_signers_line("practice", signing.public_key(key)))
    (tmp_path / "file.sig").write_bytes(signing.sign(key, io.BytesIO(b"evidence"), ARCHIVE))
    command = ["ssh-keygen", "-Y", "verify", "-f", "signers", "-I", "practice", "-n", ARCHIVE, "-s", "file.sig"]
    done = subprocess.run(command, cwd=tmp_path, input=b"evidence", capture_output=True, check=True)
    assert signing.public_key(key).fingerprint.encode() in done.stdout
    assert subprocess.run(command, cwd=tmp_path, input=b"Evidence", capture_output=True).returncode != 0
    (tmp_path / "key").write_bytes(data)
    (tmp_path / "key").chmod(0o600)
    shown = subprocess.run(
        ["ssh-keygen", "-y", "-P", "correct horse", "-f", "key"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
    )
    assert shown.stdout.strip() == signing.public_key(key).line


@needs_ssh_keygen
@pytest.mark.parametrize("hash_name", ["sha512", "sha256"])
def test_we_verify_theirs(tmp_path: Path, hash_name: str) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "correct horse", "-f", "key", "-C", ""], cwd=tmp_path, check=True
    )
    assert signing.load_key((tmp_path / "key").read_bytes(), "correct horse")
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-P", "correct horse", "-N", "", "-f", "key"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    (tmp_path / "file").write_bytes(b"evidence")
    subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-O", f"hashalg={hash_name}", "-f", "key", "-n", ARCHIVE, "file"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    theirs = (tmp_path / "file.sig").read_bytes()
    assert signing.verify(theirs, io.BytesIO(b"evidence"), ARCHIVE) == PublicKey.from_line(
        (tmp_path / "key.pub").read_text()
    )
    if hash_name == "sha512":
        assert (
            signing.sign(signing.load_key((tmp_path / "key").read_bytes()), io.BytesIO(b"evidence"), ARCHIVE) == theirs
        )


@needs_ssh_keygen
def test_another_type_of_key_is_refused_by_name(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", "key"], cwd=tmp_path, check=True)
    (tmp_path / "file").write_bytes(b"evidence")
    subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-f", "key", "-n", ARCHIVE, "file"], cwd=tmp_path, check=True, capture_output=True
    )
    with pytest.raises(SignatureError, match="ecdsa-sha2-nistp256"):
        signing.verify((tmp_path / "file.sig").read_bytes(), io.BytesIO(b"evidence"), ARCHIVE)
    with pytest.raises(SignatureError, match="ed25519"):
        signing.load_key((tmp_path / "key").read_bytes())


@programs.needs("openssl")  # an independent reader
def test_openssl_verifies_ours(tmp_path: Path) -> None:
    preimage = signing._preimage(io.BytesIO(example.read("manifest.jsonl")), ARCHIVE, b"sha512")
    (tmp_path / "preimage").write_bytes(preimage)
    (tmp_path / "signature").write_bytes(
        base64.b64decode("".join(example.read("manifest.jsonl.sig").decode().split("\n")[1:-2]))[-64:]
    )
    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    command = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key.pem",
        "-rawin",
        "-in",
        "preimage",
        "-sigfile",
        "signature",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

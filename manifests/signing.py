"""Signatures of evidence: SSHSIG with Ed25519, as `ssh-keygen -Y` makes and checks them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manifests.digests import BLOCK, Readable
from manifests.errors import FormatError, SignatureError
from manifests.verdict import Signature

if TYPE_CHECKING:  # imported late: checking digests must work with a bare Python
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ARCHIVE = "portability-archive-v1"
STATEMENT = "portability-statement-v1"
"""Namespaces: a signature made for one purpose is worth nothing for another."""

_TYPE = b"ssh-ed25519"
_MAGIC = b"SSHSIG"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_HASHES = {b"sha512": hashlib.sha512, b"sha256": hashlib.sha256}  # we write the first and read both


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 key that checks signatures."""

    raw: bytes

    @property
    def blob(self) -> bytes:
        """The key as OpenSSH writes it in binary."""
        return _string(_TYPE) + _string(self.raw)

    @property
    def line(self) -> str:
        """`ssh-ed25519 AAAA…`, as in a .pub file."""
        return f"ssh-ed25519 {base64.b64encode(self.blob).decode('ascii')}"

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, what the practice keeps on paper."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode("ascii").rstrip("=")

    @classmethod
    def from_blob(cls, blob: bytes) -> PublicKey:
        """The key in this binary form; SignatureError for any other type, by name."""
        parts = _Parts(blob)
        kind = parts.string()
        if kind != _TYPE:
            raise SignatureError(
                f"a key of type {kind[:40].decode('ascii', 'replace')}; only ssh-ed25519 is accepted", rule="7"
            )
        key = cls(parts.string())
        parts.end()
        if len(key.raw) != 32:
            raise SignatureError("an Ed25519 key has 32 bytes", rule="7")
        return key

    @classmethod
    def from_line(cls, line: str) -> PublicKey:
        """The key in a .pub line, whatever comment follows."""
        kind, _, rest = line.strip().partition(" ")
        if kind != "ssh-ed25519" or not rest:
            raise SignatureError("not an ssh-ed25519 public key", rule="7")
        return cls.from_blob(_decode(rest.split(" ", 1)[0]))


def generate_key(passphrase: str | None) -> bytes:
    """A new private key in OpenSSH's format, protected by a passphrase before it lies anywhere; None: on request it is not."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if passphrase == "":
        raise ValueError("a signing key needs a passphrase")
    protection = (
        serialization.NoEncryption()
        if passphrase is None
        else serialization.BestAvailableEncryption(passphrase.encode())
    )
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        protection,
    )


def load_key(data: bytes, passphrase: str | None = None) -> Ed25519PrivateKey:
    """The private key in an OpenSSH key file; SignatureError if it cannot be opened."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        key = load_ssh_private_key(data, passphrase.encode() if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignatureError(
            "the key file cannot be opened: another format, or a wrong passphrase", rule="7"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError("only ssh-ed25519 keys sign evidence: ssh-keygen -t ed25519", rule="7")
    return key


def public_key(key: Ed25519PrivateKey) -> PublicKey:
    """The public half."""
    return PublicKey(key.public_key().public_bytes_raw())


def sign(key: Ed25519PrivateKey, message: Readable, namespace: str) -> bytes:
    """The armoured signature over all bytes of `message`, the content of `<file>.sig`."""
    return sign_by(public_key(key), key.sign, message, namespace)


def sign_by(public: PublicKey, key_sign: Callable[[bytes], bytes], message: Readable, namespace: str) -> bytes:
    """The same, by a key that lies elsewhere (an agent): `key_sign` gives its 64 bytes over what it is handed."""
    signature = key_sign(_preimage(message, namespace, b"sha512"))
    blob = (
        _MAGIC
        + struct.pack(">I", 1)
        + _string(public.blob)
        + _string(namespace.encode())
        + _string(b"")
        + _string(b"sha512")
        + _string(_string(_TYPE) + _string(signature))
    )
    text = base64.b64encode(blob).decode("ascii")
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return ("\n".join([_BEGIN, *lines, _END]) + "\n").encode()


def verify(armoured: bytes, message: Readable, namespace: str) -> PublicKey:
    """The key that signed these bytes for this purpose; SignatureError if none did. Whether to trust it is for `Signers`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    parts = _Parts(_unarmour(armoured))
    if parts.take(6) != _MAGIC or parts.take(4) != struct.pack(">I", 1):
        raise SignatureError("not a version 1 SSH signature", rule="7")
    key = PublicKey.from_blob(parts.string())
    if parts.string() != namespace.encode():
        raise SignatureError(f"the signature was not made for {namespace}", rule="7")
    if parts.string() != b"":
        raise SignatureError("the reserved field is not empty", rule="7")
    hash_name = parts.string()
    if hash_name not in _HASHES:
        raise SignatureError("an unknown hash", rule="7")
    inner = _Parts(parts.string())
    parts.end()
    if inner.string() != _TYPE:
        raise SignatureError("key and signature are of different types", rule="7")
    signature = inner.string()
    inner.end()
    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, _preimage(message, namespace, hash_name))
    except InvalidSignature as error:
        raise SignatureError("the signature does not fit these bytes", rule="7") from error
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What became of a signature."""

    state: Signature
    fingerprint: str | None = None
    """Of the key that signed, to be compared with the one on paper."""
    reason: str = ""


def examine(
    armoured: bytes | None, message: Readable, namespace: str, signers: Iterable[str] | None = None
) -> Examined:
    """The state of a signature; `signers` are the fingerprints given from outside, None when nobody demanded one.

    A key that came with the evidence proves only that one key signed everything: VALID without `signers` says no more.
    """
    if armoured is None:
        return Examined(state=Signature.ABSENT, reason="there is no signature")
    try:
        key = verify(armoured, message, namespace)
    except ImportError:
        return Examined(state=Signature.UNCHECKED, reason="install `cryptography`, or use ssh-keygen -Y verify")
    except SignatureError as error:
        return Examined(state=Signature.INVALID, reason=error.message)
    if signers is not None and key.fingerprint not in set(signers):
        return Examined(state=Signature.OTHER_KEY, fingerprint=key.fingerprint, reason="signed by another key")
    return Examined(state=Signature.VALID, fingerprint=key.fingerprint)


def allowed_signers_line(principal: str, key: PublicKey) -> str:
    """A line for `ssh-keygen -Y verify -f`, for both namespaces."""
    return f'{principal} namespaces="{ARCHIVE},{STATEMENT}" {key.line}\n'


def allowed_fingerprints(text: str, namespace: str) -> frozenset[str]:
    """The fingerprints of the Ed25519 keys which an allowed-signers file accepts for this namespace.

    An option that we do not honour (certificates, validity dates, patterns) is refused rather than ignored.
    """
    found: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        option = fields[1] if len(fields) > 2 and not fields[1].startswith(("ssh-", "sk-", "ecdsa-")) else ""
        kind = fields[2 if option else 1] if len(fields) > (2 if option else 1) else ""
        if option:
            name, _, value = option.partition("=")
            if name != "namespaces" or not (len(value) > 2 and value[0] == value[-1] == '"') or set(value) & set("*?!"):
                raise FormatError("an option other than namespaces", file="allowed_signers", line=number, rule="7")
            if namespace not in value[1:-1].split(","):
                continue
        if kind == "ssh-ed25519":
            found.add(PublicKey.from_line(" ".join(fields[2 if option else 1 :])).fingerprint)
    return frozenset(found)


def _preimage(message: Readable, namespace: str, hash_name: bytes) -> bytes:
    digest = _HASHES[hash_name]()
    while piece := message.read(BLOCK):
        digest.update(piece)
    return _MAGIC + _string(namespace.encode()) + _string(b"") + _string(hash_name) + _string(digest.digest())


def _unarmour(armoured: bytes) -> bytes:
    try:
        first, *lines, last, end = armoured.decode("ascii").replace("\r\n", "\n").split("\n")
    except ValueError as error:
        raise SignatureError("not an armoured SSH signature", rule="7") from error
    if (first, last, end) != (_BEGIN, _END, ""):
        raise SignatureError("not an armoured SSH signature", rule="7")
    return _decode("".join(lines))


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureError("not base64", rule="7") from error


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


class _Parts:
    """Reads length-prefixed strings; SignatureError when they do not fit."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise SignatureError("cut short", rule="7")
        self._at += count
        return piece

    def string(self) -> bytes:
        (count,) = struct.unpack(">I", self.take(4))
        return self.take(count)

    def end(self) -> None:
        if self._at != len(self._data):
            raise SignatureError("something follows where nothing may", rule="7")

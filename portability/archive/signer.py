"""Who signs: a key file with its passphrase, or a key that a running ssh-agent holds; and how such a key is made."""

from __future__ import annotations

import getpass
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifests import signing
from manifests.digests import Readable
from manifests.errors import SignatureError
from manifests.files import write_private
from portability.errors import PlaceError, UsageError
from portability.shell import command_line

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

AGENT = "agent:"
_LARGEST = 1 << 16  # bytes of a key file
_NO_TERMINAL = "there is no terminal to ask for the passphrase on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A key that signs evidence; whether it lies in a file or in an agent is its own business."""

    public: signing.PublicKey
    _sign: Callable[[bytes], bytes] = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, to be compared with paper."""
        return self.public.fingerprint

    def sign(self, message: bytes | Readable, namespace: str) -> bytes:
        """The armoured signature over all bytes of `message`: the content of `<file>.sig`. PlaceError if the agent refuses."""
        stream = io.BytesIO(message) if isinstance(message, bytes) else message
        return signing.sign_by(self.public, self._sign, stream, namespace)


def signer_for(reference: str, *, passphrase: str | None = None) -> Signer:
    """The signer behind `agent:SHA256:…`, a `.pub` file (whose key an agent holds) or a private key file.

    `passphrase` is a reference (`env:VARIABLE`); without one it is asked for on the terminal, where a key has one.
    UsageError for a reference that says nothing, PlaceError for a key that cannot be opened or found.
    """
    if reference.startswith(AGENT):
        return _from_agent(reference.removeprefix(AGENT))
    path = Path(reference).expanduser()
    try:
        with path.open("rb") as file:
            mode, data = os.fstat(file.fileno()).st_mode, file.read(_LARGEST)
    except OSError as error:
        raise PlaceError(
            f"the signing key {reference} cannot be read: {error.strerror}",
            hint=f"name a private key, a .pub file or {AGENT}SHA256:…; a new key: portability keygen PATH",
        ) from error
    if not data.startswith(b"-----BEGIN"):
        return _from_agent(_public(data, reference).fingerprint)
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PlaceError(
            f"the signing key {reference} can be read by others", hint=command_line("chmod", "600", reference)
        )
    try:
        key = _opened(data, reference, passphrase)
    except SignatureError as error:
        raise PlaceError(f"the signing key {reference}: {error.message}") from error
    return Signer(public=signing.public_key(key), _sign=key.sign)


def _opened(data: bytes, reference: str, passphrase: str | None) -> Ed25519PrivateKey:
    try:
        return signing.load_key(data)
    except SignatureError as error:
        if not isinstance(error.__cause__, TypeError):  # how the library says: a passphrase is needed
            raise
    try:
        return signing.load_key(data, _passphrase(passphrase, f"passphrase of {reference}: "))
    except SignatureError as error:
        raise UsageError(f"the signing key {reference}: {error.message}") from error


def _public(data: bytes, reference: str) -> signing.PublicKey:
    try:
        return signing.PublicKey.from_line(data.decode("ascii").splitlines()[0])
    except (SignatureError, ValueError, IndexError) as error:
        reason = error.message if isinstance(error, SignatureError) else "not a key"
        raise PlaceError(f"{reference}: {reason}", hint="a new key: portability keygen PATH") from error


def _passphrase(reference: str | None, question: str) -> str:
    if reference is not None:
        kind, _, name = reference.partition(":")
        if kind != "env" or not name:
            raise UsageError("a passphrase is given as env:VARIABLE, never on the command line")
        if not os.environ.get(name):
            raise UsageError(f"env:{name}: this variable is not set, or empty")
        return os.environ[name]
    if not sys.stdin.isatty():
        raise UsageError(_NO_TERMINAL, hint="give it as env:VARIABLE, or put the key into ssh-agent: ssh-add KEY")
    return getpass.getpass(question)


def _from_agent(fingerprint: str) -> Signer:
    with _agent_key(fingerprint) as key:
        public = signing.PublicKey.from_blob(key.blob)
    return Signer(public=public, _sign=partial(_agent_sign, fingerprint))


def _agent_sign(fingerprint: str, data: bytes) -> bytes:
    import paramiko

    with _agent_key(fingerprint) as key:
        try:
            answer = paramiko.Message(key.sign_ssh_data(data))
        except (paramiko.SSHException, OSError) as error:
            raise PlaceError("ssh-agent refused to sign", hint="confirm it there, or unlock it: ssh-add -X") from error
    kind, signature = answer.get_binary(), answer.get_binary()
    if kind != b"ssh-ed25519" or len(signature) != 64:
        raise PlaceError("ssh-agent answered with another kind of signature")
    return signature


@contextmanager
def _agent_key(fingerprint: str) -> Iterator[Any]:
    """The key as the agent holds it now: an export takes hours, and an agent may have been locked or started anew since."""
    import paramiko  # late: most commands sign nothing

    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError) as error:
        raise PlaceError(f"ssh-agent cannot be reached: {type(error).__name__}", hint="ssh-add -l shows why") from error
    try:
        for key in agent.get_keys():
            if key.get_name() == "ssh-ed25519" and signing.PublicKey.from_blob(key.blob).fingerprint == fingerprint:
                yield key
                return
        raise PlaceError(
            f"ssh-agent holds no Ed25519 key {fingerprint}",
            hint="ssh-add -l lists what it holds; ssh-add KEY adds one",
        )
    finally:
        agent.close()


def keygen(path: Path, *, passphrase: str | None = None, unprotected: bool = False) -> signing.PublicKey:
    """Make a key: `path` (for its owner's eyes only) and `path`.pub; nothing is overwritten.

    `passphrase` is a reference (`env:VARIABLE`); without one it is asked for, twice. UsageError.
    """
    public = path.with_name(f"{path.name}.pub")
    for there in (path, public):
        if os.path.lexists(there):
            raise UsageError(
                f"{there} exists already",
                hint="name another file: nothing can be signed any more by a key that was overwritten",
            )
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no such folder", hint="make the folder, or name another file")
    words = None if unprotected else _passphrase(passphrase, "passphrase for the new key: ")
    if words is not None and passphrase is None and getpass.getpass("the same again: ") != words:
        raise UsageError("the two passphrases differ; no key was made")
    if words == "":
        raise UsageError("the passphrase is empty; no key was made", hint="without one, on purpose: --no-passphrase")
    data = signing.generate_key(words)
    made = signing.public_key(signing.load_key(data, words))
    try:
        write_private(path, data)
        write_private(public, f"{made.line}\n".encode())
    except FileExistsError as error:
        raise UsageError(f"{path} exists already", hint="name another file") from error
    return made

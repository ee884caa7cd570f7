"""age, one ciphertext for each payload (archive-format.md, section 8), as streams in bounded memory.

`pyrage` pushes what it makes into a writer; here a thread turns that round, so that a ciphertext or a plaintext can be read
like any other stream.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import queue
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors import CorruptedError, PermissionDeniedError, Stream
from portability.errors import UsageError

_BLOCKS = 8
"""Pieces of at most 64 KiB that wait between the two threads."""


def _age() -> Any:
    try:
        return importlib.import_module("pyrage")
    except ImportError as error:
        raise UsageError(
            "encryption needs the pyrage package", hint="pip install 'portability-toolkit[encrypt]'"
        ) from error


def check_recipients(recipients: Sequence[str]) -> None:
    """UsageError if one is no age X25519 recipient ("age1…"): a typing error must not be found by the last byte."""
    age = _age()
    for recipient in recipients:
        try:
            age.x25519.Recipient.from_str(recipient)
        except (age.RecipientError, ValueError) as error:
            raise UsageError(
                f'"{recipient}" is not an age recipient',
                hint="it begins with age1; age-keygen prints it as the public key",
            ) from error


def identities(path: str) -> list[Any]:
    """The X25519 identities in a file as `age-keygen` writes it. UsageError, PermissionDeniedError."""
    age = _age()
    file = Path(path).expanduser()
    try:
        text, mode = file.read_text("ascii"), file.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the identity file {path} cannot be read: {error}") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PermissionDeniedError(f"the identity file {path} can be read by others; run: chmod 600 {path}")
    try:
        found = [
            age.x25519.Identity.from_str(line.strip())
            for line in text.splitlines()
            if line.startswith("AGE-SECRET-KEY-")
        ]
    except (age.IdentityError, ValueError):
        raise UsageError(f"the identity file {path} holds a line that is no age identity") from None
    if not found:
        raise UsageError(f"the identity file {path} holds no age identity", hint="it holds a line AGE-SECRET-KEY-1…")
    return found


class WrongKeyError(CorruptedError):
    """The ciphertext may be sound: it is made for other recipients than this identity."""


class _Turned:
    """What a pushing function writes, read as a stream; its failure is raised where the bytes end."""

    def __init__(self, push: Callable[[_Turned], None]) -> None:
        self._pieces: queue.Queue[bytes | BaseException | None] = queue.Queue(_BLOCKS)
        self._rest = b""
        self._ended = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(push,), daemon=True, name="age")
        self._thread.start()

    def _run(self, push: Callable[[_Turned], None]) -> None:
        end: BaseException | None = None
        try:
            push(self)
        except Exception as error:  # noqa: BLE001 - whatever it was, it must come out of `read`
            end = error
        self._offer(end)

    def _offer(self, piece: bytes | BaseException | None) -> None:
        while not self._stopped.is_set():
            try:
                self._pieces.put(piece, timeout=0.5)
                return
            except queue.Full:
                continue

    def write(self, data: bytes, /) -> int:
        if self._stopped.is_set():
            raise BrokenPipeError("nobody reads any more")
        if data:
            self._offer(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 16), b""))
        while not self._rest and not self._ended:
            piece = self._pieces.get()
            if isinstance(piece, BaseException):
                self._ended = True
                raise piece
            self._ended = piece is None
            self._rest = piece or b""
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()


class _Remembering:
    """A reader for `pyrage` that keeps the error of the stream below, which would come out as another one."""

    def __init__(self, body: Stream) -> None:
        self._body = body
        self.count = 0
        self.error: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        try:
            piece = self._body.read(size)
        except BaseException as error:
            self.error = error
            raise
        self.count += len(piece)
        return piece


class Sealed:
    """A ciphertext under way: its size and SHA-256, and the size of what went in, when it was read to its end."""

    def __init__(self, body: Stream, recipients: Sequence[str]) -> None:
        age = _age()
        plain = _Remembering(body)
        keys = [age.x25519.Recipient.from_str(recipient) for recipient in recipients]

        def push(out: _Turned) -> None:
            try:
                age.encrypt_io(plain, out, keys)
            except Exception:
                if plain.error is not None:
                    raise plain.error from None
                raise

        self._plain = plain
        self._turned = _Turned(push)
        self._sha256 = hashlib.sha256()
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        piece = self._turned.read(size)
        self._sha256.update(piece)
        self.count += len(piece)
        return piece

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def plain_count(self) -> int:
        return self._plain.count

    def close(self) -> None:
        self._turned.close()


@contextmanager
def encrypted(body: Stream, recipients: Sequence[str]) -> Iterator[Sealed]:
    """The ciphertext of a stream; the stream itself stays its owner's to close."""
    sealed = Sealed(body, recipients)
    try:
        yield sealed
    finally:
        sealed.close()


class _Opened:
    """The plaintext of a ciphertext; a cut or a change is a CorruptedError before the end is reached."""

    def __init__(self, body: Stream, keys: list[Any], host: str, key: str) -> None:
        age = _age()
        self._body = body
        cipher = _Remembering(body)

        def push(out: _Turned) -> None:
            try:
                age.decrypt_io(cipher, out, keys)
            except BrokenPipeError:
                return
            except Exception as error:
                if cipher.error is not None:
                    raise cipher.error from None
                if "No matching keys" in str(error):
                    raise WrongKeyError("it is encrypted to another key", host=host, key=key) from error
                raise CorruptedError(f"its ciphertext is damaged or cut ({error})", host=host, key=key) from error

        self._turned = _Turned(push)

    def read(self, size: int = -1, /) -> bytes:
        return self._turned.read(size)

    def close(self) -> None:
        self._turned.close()
        self._body.close()


def decrypted(body: Stream, identity: str, *, host: str, key: str) -> Stream:
    """The plaintext of a ciphertext, for the identities in a file; its reading may end in a WrongKeyError."""
    return _Opened(body, identities(identity), host, key)

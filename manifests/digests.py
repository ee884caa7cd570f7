"""SHA-256 of bytes that pass by: wrapped streams, whole streams, files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

BLOCK = 1 << 18
"""Bytes read at once: large enough that hashing drops the interpreter lock and calls cost nothing."""


class Readable(Protocol):
    """Whatever gives bytes once, in order."""

    def read(self, size: int = -1, /) -> bytes: ...


class Closable(Readable, Protocol):
    """A readable thing that holds something open."""

    def close(self) -> None: ...


class Digesting:
    """A stream that hashes and counts what is read through it."""

    def __init__(self, body: Closable) -> None:
        self._body = body
        self._sha256 = hashlib.sha256()
        self.count = 0
        """Bytes so far."""

    def read(self, size: int = -1, /) -> bytes:
        piece = self._body.read(size)
        self._sha256.update(piece)
        self.count += len(piece)
        return piece

    def readinto(self, buffer: memoryview, /) -> int:
        """The next bytes at the beginning of `buffer`; their number, 0 at the end only."""
        fill = getattr(self._body, "readinto", None)
        if fill is None:
            piece = self._body.read(len(buffer))
            count = len(piece)
            buffer[:count] = piece
        else:
            count = int(fill(buffer))
        self._sha256.update(buffer[:count])
        self.count += count
        return count

    def close(self) -> None:
        self._body.close()

    @property
    def sha256(self) -> str:
        """Lower-case hex of the bytes so far."""
        return self._sha256.hexdigest()


def stream_sha256(body: Readable) -> tuple[str, int]:
    """The digest and number of the bytes up to the stream's end."""
    sha256, count = hashlib.sha256(), 0
    while piece := body.read(BLOCK):
        sha256.update(piece)
        count += len(piece)
    return sha256.hexdigest(), count


def file_sha256(path: Path) -> str:
    """The digest of a file."""
    with path.open("rb", buffering=0) as file:
        return stream_sha256(file)[0]

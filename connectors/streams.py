"""Streams that every host uses: bytes in memory, and reading a body while counting it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from connectors.entry import Entry
from connectors.errors import CorruptedError
from connectors.protocols import Stream

BLOCK = 1 << 18
"""Bytes asked of a stream at once when there is no reason for another number."""
Piece = TypeVar("Piece", bytes, memoryview)


class BytesStream:
    """A stream over bytes in memory; the empty body of directories and links."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = memoryview(data)
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        stop = len(self._data) if size < 0 else min(len(self._data), self._at + size)
        piece = bytes(self._data[self._at : stop])
        self._at = stop
        return piece

    def close(self) -> None:
        self._data = memoryview(b"")
        self._at = 0


def blocks(body: Stream, entry: Entry, host: str, size: int = BLOCK) -> Iterator[bytes]:
    """The body in pieces, counted against `entry.size` (clause 6): CorruptedError if it is shorter or longer.

    A longer body is refused before its surplus is yielded.
    """
    return _counted(iter(lambda: body.read(size), b""), entry, host)


def slices(body: Stream, entry: Entry, host: str, buffer: memoryview) -> Iterator[memoryview]:
    """As `blocks`, but each piece is the beginning of `buffer`, which the next one overwrites: large bodies cost less."""
    return _counted((buffer[:count] for count in iter(lambda: read_into(body, buffer), 0)), entry, host)


def read_into(body: Stream, buffer: memoryview) -> int:
    """The next bytes of the body go to the beginning of `buffer`; their number, 0 at the end only.

    Memory that is used again saves the system from handing it out anew, and a copy where the stream has a `readinto`.
    """
    fill = getattr(body, "readinto", None)
    if fill is not None:
        return int(fill(buffer))
    piece = body.read(len(buffer))
    if len(piece) > len(buffer):
        raise CorruptedError("the body gave more bytes than it was asked for")
    buffer[: len(piece)] = piece
    return len(piece)


def _counted(pieces: Iterable[Piece], entry: Entry, host: str) -> Iterator[Piece]:
    seen = 0
    for piece in pieces:
        seen += len(piece)
        if entry.size is not None and seen > entry.size:
            raise CorruptedError(f"the body is longer than the announced {entry.size} bytes", host=host, key=entry.key)
        yield piece
    if entry.size is not None and seen != entry.size:
        raise CorruptedError(f"the body ended after {seen} of {entry.size} bytes", host=host, key=entry.key)


def read_exactly(body: Stream, entry: Entry, host: str) -> bytes:
    """The whole body in memory, counted as in `blocks`."""
    return b"".join(blocks(body, entry, host))

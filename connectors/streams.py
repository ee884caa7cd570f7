"""Streams that every host uses: bytes in memory, and reading a body while counting it."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.entry import Entry
from connectors.errors import CorruptedError
from connectors.protocols import Stream

BLOCK = 1 << 18
"""Bytes asked of a stream at once when there is no reason for another number."""


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
    seen = 0
    while piece := body.read(size):
        seen += len(piece)
        if entry.size is not None and seen > entry.size:
            raise CorruptedError(f"the body is longer than the announced {entry.size} bytes", host=host, key=entry.key)
        yield piece
    if entry.size is not None and seen != entry.size:
        raise CorruptedError(f"the body ended after {seen} of {entry.size} bytes", host=host, key=entry.key)


def read_exactly(body: Stream, entry: Entry, host: str) -> bytes:
    """The whole body in memory, counted as in `blocks`."""
    return b"".join(blocks(body, entry, host))

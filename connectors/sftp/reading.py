"""Reading a remote file with many requests in flight, in order, and noticing when it is no longer what was listed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager

from connectors.errors import ChangedError
from connectors.sftp import wire as sftp
from connectors.sftp.wire import Attributes, Wire

_IN_FLIGHT = 1 << 22
"""Bytes asked for and not yet delivered: the memory of one stream. At 50 ms it carries 80 MB/s."""


class FileStream:
    """The bytes [start, stop) of an open file. `expected` is what it was when we opened it."""

    def __init__(
        self,
        wire: Wire,
        handle: bytes,
        expected: Attributes,
        start: int,
        stop: int,
        *,
        guard: Callable[[], AbstractContextManager[object]],
        changed: Callable[[str], ChangedError],
    ) -> None:
        self._wire = wire
        self._handle = sftp.text(handle)
        self._expected = expected
        self._next, self._stop = start, stop
        self._guard = guard
        self._changed = changed
        self._longest = wire.longest_read
        self._asked: deque[tuple[int, int, int]] = deque()  # request, offset, length
        self._in_flight = 0
        self._piece, self._at = b"", 0
        self._stat: int | None = None
        self._settled = False
        self._closed = False
        with guard():
            self._ask()

    def begin(self) -> None:
        """Send the first requests now: the answers come while the reader does something else."""
        with self._guard():
            self._wire.flush()

    def read(self, size: int = -1, /) -> bytes:
        with self._guard():
            if size < 0:
                return b"".join(iter(lambda: self._take(1 << 30), b""))
            return self._take(size) if size else b""

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._piece = b""
        self._wire.forget(*(number for number, _, _ in self._asked))
        if not self._settled:
            if self._stat is not None:
                self._wire.forget(self._stat)
            self._release()

    def _take(self, size: int) -> bytes:
        if self._closed:
            raise ValueError("read of a closed stream")
        if not self._piece:
            if not self._asked:
                self._settle()
                return b""
            self._piece = self._fetch()
        if not self._at and len(self._piece) <= size:
            data, self._piece = self._piece, b""
            return data
        data = self._piece[self._at : self._at + size]
        self._at += len(data)
        if self._at == len(self._piece):
            self._piece, self._at = b"", 0
        return data

    def _fetch(self) -> bytes:
        number, offset, length = self._asked.popleft()
        data = self._wire.data(number)
        self._in_flight -= length
        if not data:
            raise self._changed(f"it ends after {offset} bytes; {self._stop} were promised")
        if len(data) > length:
            raise sftp.ProtocolError("more bytes than were asked for")
        if len(data) < length:  # a short read is legal: ask for the rest, which comes next
            rest = (offset + len(data), length - len(data))
            self._asked.appendleft((self._read(*rest), *rest))
            self._in_flight += rest[1]
            if self._stat is not None:
                self._wire.forget(self._stat)
                self._stat = None
            self._longest = min(self._longest, max(len(data), 4096))
        if self._ask():
            self._wire.flush()
        return data

    def _ask(self) -> bool:
        """Keep the window full; behind the last piece ask at once what the file is by then. Whether anything was asked."""
        if self._in_flight > _IN_FLIGHT // 2 and self._next < self._stop:
            return False  # many requests in one packet cost hardly more than one
        before = self._next, self._stat
        while self._next < self._stop and (not self._asked or self._in_flight + self._longest <= _IN_FLIGHT):
            length = min(self._longest, self._stop - self._next)
            self._asked.append((self._read(self._next, length), self._next, length))
            self._in_flight += length
            self._next += length
        if self._next >= self._stop and self._stat is None:
            self._stat = self._wire.submit(sftp.FSTAT, self._handle)
        return before != (self._next, self._stat)

    def _read(self, offset: int, length: int) -> int:
        return self._wire.submit(sftp.READ, self._handle, offset.to_bytes(8, "big"), length.to_bytes(4, "big"))

    def _settle(self) -> None:
        if self._settled or self._stat is None:
            return
        self._settled = True
        now = self._wire.attributes(self._stat)
        self._release()
        if (now.size, now.mtime) != (self._expected.size, self._expected.mtime):
            raise self._changed("it was written to while we read it")

    def _release(self) -> None:
        # Neither waited for nor sent alone: it travels with the next request, or the channel's end says the same.
        self._wire.forget(self._wire.submit(sftp.CLOSE, self._handle))

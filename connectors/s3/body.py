"""The body of a GET, counted: it ends where the host said, or it raises."""

from __future__ import annotations

from typing import Any

from connectors.errors import CorruptedError, UnavailableError
from connectors.s3.errors import translated


class Body:
    """Bytes from the host as they come; closes its connection when it is left unread."""

    def __init__(self, raw: Any, expected: int | None, host: str, key: str) -> None:
        self._raw = raw
        self._expected = expected
        self._host = host
        self._key = key
        self._seen = 0
        self._ended = False

    def read(self, size: int = -1, /) -> bytes:
        if size == 0 or self._ended:
            return b""
        with translated(self._host, self._key):
            piece: bytes = self._raw.read(size if size > 0 else None)
        self._saw(len(piece), end=size < 0 or not piece)
        return piece

    def readinto(self, buffer: memoryview, /) -> int:
        if self._ended or not buffer:
            return 0
        with translated(self._host, self._key):
            count: int = self._raw.readinto(buffer)
        self._saw(count, end=not count)
        return count

    def _saw(self, count: int, *, end: bool) -> None:
        self._seen += count
        if self._expected is not None and self._seen > self._expected:
            raise CorruptedError(
                f"the host sent more than the announced {self._expected} bytes", host=self._host, key=self._key
            )
        if end:
            if self._expected is not None and self._seen < self._expected:
                raise UnavailableError(
                    f"the connection ended after {self._seen} of {self._expected} bytes", host=self._host, key=self._key
                )
            self._ended = True

    def close(self) -> None:
        self._ended = True
        self._raw.close()

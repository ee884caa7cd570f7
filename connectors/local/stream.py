"""Bytes of an open file, watched for change while they are read."""

from __future__ import annotations

import os

from connectors.errors import ChangedError, CorruptedError
from connectors.local.system import read_into, translated


class FileStream:
    """The bytes [start, stop) behind a handle, which it owns; `status` is what it must stay like."""

    def __init__(self, handle: int, status: os.stat_result, start: int, stop: int, *, host: str, key: str) -> None:
        self._handle: int | None = handle
        self._left = max(0, stop - start)
        self._host = host
        self._key = key
        self._seen = (status.st_size, status.st_mtime_ns)
        if start:
            os.lseek(handle, start, os.SEEK_SET)

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        wanted = min(size, self._left)
        if wanted == 0:
            return b""
        handle = self._opened()
        with translated(self._host, self._key):
            piece = os.read(handle, wanted)
        self._saw(handle, len(piece))
        return piece

    def readinto(self, buffer: memoryview, /) -> int:
        wanted = min(len(buffer), self._left)
        if wanted == 0:
            return 0
        handle = self._opened()
        with translated(self._host, self._key):
            count = read_into(handle, buffer[:wanted])
        self._saw(handle, count)
        return count

    def _opened(self) -> int:
        if self._handle is None:
            raise ValueError("read of a closed stream")
        return self._handle

    def _saw(self, handle: int, count: int) -> None:
        with translated(self._host, self._key):
            status = os.fstat(handle)
        if (status.st_size, status.st_mtime_ns) != self._seen:
            raise ChangedError(
                "the file was written to while it was read; run again when it is at rest",
                host=self._host,
                key=self._key,
            )
        if not count:
            raise CorruptedError(
                f"the file ended {self._left} bytes before its end; check the disk", host=self._host, key=self._key
            )
        self._left -= count

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

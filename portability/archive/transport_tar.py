"""The tar form of an archive: written the same way every time (POSIX pax), read strictly, member by member."""

from __future__ import annotations

import io
import os
import struct
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from portability.archive.transport_members import Members
from portability.errors import EvidenceError
from portability.outcome import printable

_BLOCK = tarfile.BLOCKSIZE
_HEADER = 1 << 20
"""Bytes of an extended header; a larger one would have to be held in memory."""


class TarPacker:
    """Appends members to a tar; nothing in it depends on who wrote it, where and when."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._written = 0

    def folder(self, name: str) -> None:
        self._write(_header(name, tarfile.DIRTYPE, 0o700, 0))

    def file(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        self._write(_header(name, tarfile.REGTYPE, 0o600, size))
        for piece in pieces:
            self._write(piece)
        self._write(bytes(-size % _BLOCK))

    def finish(self) -> None:
        self._write(bytes(2 * _BLOCK))
        self._write(bytes(-self._written % tarfile.RECORDSIZE))

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self._written += len(data)


def _header(name: str, kind: bytes, mode: int, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size = kind, mode, size  # everything else is zero or empty by itself
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


class _Headers(io.BufferedIOBase):
    """A tar as `tarfile` may read it: headers only, none of them larger than memory should hold."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _HEADER:
            raise tarfile.ReadError("an extended header of more than 1 MiB")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def scan_tar(stream: BinaryIO, members: Members, into: Path | None = None) -> None:
    """Read all headers into `members`; EvidenceError for whatever is not a plain file or folder in a whole tar.

    `into` is where it is about to be unpacked, if it is.
    """
    total = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    start = 0
    try:
        tar = tarfile.TarFile(fileobj=_Headers(stream), encoding="utf-8", errors="surrogateescape")
        tar.offset = 0
        while True:
            start = tar.offset
            stream.seek(start)
            block = stream.read(_BLOCK)
            if not any(block):
                break
            stream.seek(start)
            info = tarfile.TarInfo.fromtarfile(tar)
            _take(info, start, total, members, into)
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, struct.error, LookupError) as error:
        raise EvidenceError(
            f"{members.file.name} is no whole tar: the header at byte {start} cannot be read"
            f" ({printable(str(error)[:80]) or type(error).__name__})",
            hint="fetch it again from another copy",
        ) from error
    if len(block) < _BLOCK:
        raise EvidenceError(f"{members.file.name} has no end mark: it is cut", hint="fetch it again from another copy")
    if total - start > _HEADER or any(stream.read()):
        raise EvidenceError(
            f"{members.file.name}: something follows the end mark", hint="fetch it again from its maker"
        )
    members.settle(total)


def _take(info: tarfile.TarInfo, start: int, total: int, members: Members, into: Path | None) -> None:
    judge = getattr(tarfile, "data_filter", None)  # a second opinion, where this Python has one; ours goes further
    if info.issparse():
        members.refuse(info.name, "a sparse file, whose announced size is not that of its bytes")
    if not (info.isreg() or info.isdir()):
        kind = "a link" if info.issym() or info.islnk() else "a device, FIFO or unknown thing"
        members.refuse(info.name, f"{kind}; only files and folders are taken")
    if into is not None and judge is not None:
        try:
            judge(info, str(into))
        except tarfile.TarError:
            members.refuse(info.name, "the name leads elsewhere")
    if info.isdir():
        members.folder(info.name)
    elif not 0 <= info.size <= total - info.offset_data:
        members.refuse(info.name, f"it announces {info.size} bytes, more than there are")
    else:
        members.add(info.name, size=info.size, offset=info.offset_data, start=start)

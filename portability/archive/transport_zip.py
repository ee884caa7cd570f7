"""The zip form of an archive: stored, written the same way every time; read strictly by its central directory."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterable
from typing import IO, BinaryIO, NamedTuple

from portability.archive.transport_members import LONGEST, Members
from portability.errors import EvidenceError

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END64 = struct.Struct("<4sQHHLLQQQQ")
_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4sHHHHLLH")
_UTF8, _ENCRYPTED = 0x800, 0x1 | 0x40 | 0x2000
_DATE = 0x21  # 1 January 1980, the first day there is
_MAX32, _MAX16 = 0xFFFFFFFF, 0xFFFF
_STORED, _DEFLATED = 0, 8
_SMALL = 1 << 20  # members up to this size are written in one go


class ZipPacker:
    """Appends stored members to a zip; its directory waits in `scratch`, so that a million of them cost no memory."""

    def __init__(self, out: BinaryIO, scratch: IO[bytes]) -> None:
        self._out = out
        self._directory = scratch
        self._count = 0
        self._at = 0

    def folder(self, name: str) -> None:
        self._member(name, stat.S_IFDIR | 0o700, 0, ())

    def file(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        self._member(name, stat.S_IFREG | 0o600, size, pieces)

    def _member(self, name: str, mode: int, size: int, pieces: Iterable[bytes]) -> None:
        start, data = self._at, name.encode()
        version = 45 if size >= _MAX32 else 20
        extra = struct.pack("<HHQQ", 1, 16, size, size) if size >= _MAX32 else b""
        short = min(size, _MAX32)
        fields = (version, _UTF8, _STORED, 0, _DATE)

        def header(crc: int) -> bytes:
            return _LOCAL.pack(b"PK\3\4", *fields, crc, short, short, len(data), len(extra)) + data + extra

        crc, before = 0, start + _LOCAL.size + len(data) + len(extra)
        if size <= _SMALL:
            content = b"".join(pieces)
            crc = zlib.crc32(content)
            self._out.write(header(crc) + content)
        else:
            self._out.write(header(0))
            for piece in pieces:
                crc = zlib.crc32(piece, crc)
                self._out.write(piece)
            self._out.seek(start)  # the sum is known only now
            self._out.write(header(crc))
            self._out.seek(before + size)
        self._at = before + size
        wide = [size, size] if size >= _MAX32 else []
        if start >= _MAX32:
            wide.append(start)
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        version = 45 if wide else 20
        attributes = mode << 16 | (0x10 if stat.S_ISDIR(mode) else 0)
        fields = (version, _UTF8, _STORED, 0, _DATE)
        fixed = (b"PK\1\2", 3 << 8 | 45, *fields, crc, short, short, len(data), len(extra), 0, 0, 0)
        self._directory.write(_CENTRAL.pack(*fixed, attributes, min(start, _MAX32)) + data + extra)
        self._count += 1

    def finish(self) -> None:
        start, count, size = self._at, self._count, self._directory.tell()
        self._directory.seek(0)
        while piece := self._directory.read(1 << 20):
            self._out.write(piece)
        if count >= _MAX16 or size >= _MAX32 or start >= _MAX32:
            self._out.write(_END64.pack(b"PK\6\6", 44, 3 << 8 | 45, 45, 0, 0, count, count, size, start))
            self._out.write(_LOCATOR.pack(b"PK\6\7", 0, start + size, 1))
        some = min(count, _MAX16)
        self._out.write(_END.pack(b"PK\5\6", 0, 0, some, some, min(size, _MAX32), min(start, _MAX32), 0))


class _Directory(NamedTuple):
    start: int
    size: int
    entries: int


def scan_zip(stream: BinaryIO, members: Members) -> None:
    """Read the directory into `members`; EvidenceError for whatever is not a plain file or folder in a whole zip."""
    try:
        directory = _find_directory(stream)
        where = directory.start
        with members.file.open(
            "rb", buffering=1 << 18
        ) as listing:  # of its own, so that neither reader loses its buffer
            listing.seek(where)
            for _ in range(directory.entries):
                where += _scan_member(stream, listing, where, directory, members)
    except (ValueError, struct.error) as error:
        reason = str(error) if isinstance(error, ValueError) else "its directory is cut"
        raise EvidenceError(f"{members.file.name} is no whole zip: {reason}", hint="fetch it again") from error
    if where != directory.start + directory.size:
        raise EvidenceError(
            f"{members.file.name} is no whole zip: its directory has another size", hint="fetch it again"
        )
    members.settle(directory.start)


def _find_directory(stream: BinaryIO) -> _Directory:
    total = stream.seek(0, os.SEEK_END)
    window = min(total, _END.size + _MAX16)
    tail = _read(stream, total - window, window)
    at = tail.rfind(b"PK\5\6")
    if at < 0:
        raise ValueError("it has no directory; it may be cut")
    _, disk, first, here, count, size, start, comment = _END.unpack_from(tail, at)
    at += total - window
    if at + _END.size + comment != total:
        raise ValueError("something follows its end")
    end = at
    locator = _read(stream, at - _LOCATOR.size, _LOCATOR.size) if at >= _LOCATOR.size else b""
    if locator[:4] == b"PK\6\7":
        _, _, where, _ = _LOCATOR.unpack(locator)
        record = _END64.unpack(_read(stream, where, _END64.size))
        if record[0] != b"PK\6\6" or where + _END64.size > at - _LOCATOR.size:
            raise ValueError("its end record is not where it should be")
        _, _, _, _, disk, first, here, count, size, start = record
        end = where
    if disk or first or here != count:
        raise ValueError("it is one volume of several")
    if start + size != end:
        raise ValueError("its directory is not where it should be")
    return _Directory(start, size, count)


def _scan_member(stream: BinaryIO, listing: BinaryIO, where: int, directory: _Directory, members: Members) -> int:
    """Take one entry of the directory and return its length; the header before the bytes must say the same."""
    fixed = _CENTRAL.unpack(_next(listing, _CENTRAL.size))
    magic, _, _, flags, method, _, _, crc, packed, size, name_len, extra_len, comment_len, _, _, attributes, start = (
        fixed
    )
    length: int = _CENTRAL.size + name_len + extra_len + comment_len
    if magic != b"PK\1\2" or where + length > directory.start + directory.size:
        raise ValueError("its directory is damaged")
    if name_len > LONGEST:
        raise ValueError(f"a name of more than {LONGEST} bytes")
    rest = _next(listing, name_len + extra_len + comment_len)
    size, packed, start = _widened(rest[name_len : name_len + extra_len], size, packed, start)
    name = rest[:name_len].decode(
        "utf-8", "surrogateescape"
    )  # without the flag it may be another code page: seen by the lists
    mode = stat.S_IFMT(attributes >> 16)
    if mode not in {0, stat.S_IFREG, stat.S_IFDIR}:
        kind = "a link" if mode == stat.S_IFLNK else "a device, FIFO or unknown thing"
        members.refuse(name, f"{kind}; only files and folders are taken")
    if flags & _ENCRYPTED:
        members.refuse(name, "it is encrypted by a password")
    if method not in {_STORED, _DEFLATED}:
        members.refuse(name, "it is compressed in a way that is not taken")
    is_folder = name.endswith("/")
    if (is_folder and (size or mode == stat.S_IFREG)) or (not is_folder and mode == stat.S_IFDIR):
        members.refuse(name, "a folder by one sign, a file by another")
    if method == _STORED and packed != size:
        members.refuse(name, f"it announces {size} bytes, but has {packed}")
    if start + _LOCAL.size > directory.start:
        members.refuse(name, "it announces bytes where there are none")
    before = _read(stream, start, _LOCAL.size + name_len)
    local = _LOCAL.unpack_from(before)
    data = start + _LOCAL.size + name_len + local[10]
    agreed = (local[0], local[3], local[9], before[_LOCAL.size :])
    if agreed != (b"PK\3\4", method, name_len, rest[:name_len]):
        members.refuse(name, "the header before its bytes says something else than the directory")
    if data + packed > directory.start:
        members.refuse(name, f"it announces {packed} bytes, more than there are")
    if is_folder:
        members.folder(name[:-1])
    else:
        members.add(name, size=size, offset=data, start=start, packed=packed, deflated=method == _DEFLATED, crc=crc)
    return length


def _widened(extra: bytes, size: int, packed: int, start: int) -> tuple[int, int, int]:
    """The numbers that did not fit into 32 bits."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            values = [next(wide, value) if value == _MAX32 else value for value in (size, packed, start)]
            return values[0], values[1], values[2]
        at += 4 + length
    return size, packed, start


def _read(stream: BinaryIO, where: int, size: int) -> bytes:
    if where < 0:
        raise ValueError("it is too short")
    stream.seek(where)
    return _next(stream, size)


def _next(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise ValueError("it is cut")
    return data

"""Archives as one file: packed into a tar or zip, read in place, and unpacked with nothing taken on trust (section 14)."""

from __future__ import annotations

import errno
import heapq
import io
import os
import shutil
import tempfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

from manifests.bagit import Severity
from manifests.files import create_private, publish
from manifests.paths import is_archive_path, path_bytes
from portability.archive.transport_members import Limits, Member, Members
from portability.archive.transport_tar import TarPacker, scan_tar
from portability.archive.transport_zip import ZipPacker, scan_zip
from portability.archive.verifier_names import broken_name
from portability.archive.verifier_tree import FILE, Node, Tree
from portability.errors import EvidenceError, PlaceError, UsageError
from portability.outcome import printable

__all__ = ["Form", "Limits", "PackedTree", "pack", "packed_form", "unpack"]

Form = Literal["tar", "zip"]

_PIECE = 1 << 20
_PAYLOAD = "data/"
# What a system may take for a device, a stream of another file, or another name; the other rules of section 4 harm nobody.
_HARMFUL = frozenset({"S3", "S4", "S5"})


def pack(tree: Tree, name: str, form: Form, file: Path) -> None:
    """Write the files of an archive as members of the folder `name`, into a new `file`; equal archives give equal bytes."""
    if not is_archive_path(name) or "/" in name:
        raise UsageError(f"{printable(name)} cannot be the name of an archive's folder")
    if file.exists():
        raise PlaceError(f"{file} exists already", hint="name another file")
    part = file.with_name(f"{file.name}.part")
    try:
        with create_private(part) as out, tempfile.SpooledTemporaryFile(1 << 24) as scratch:
            packer = TarPacker(out) if form == "tar" else ZipPacker(out, scratch)
            packer.folder(f"{name}/")
            for path, size in _members(tree):
                if path.endswith("/"):
                    packer.folder(f"{name}/{path}")
                    continue
                with tree.open(path) as stream:
                    known = os.fstat(stream.fileno()).st_size if size is None else size
                    packer.file(f"{name}/{path}", known, _pieces(stream, known, path))
            packer.finish()
            publish(out, part, file)
    except FileExistsError as error:
        raise PlaceError(f"{file} exists already", hint="name another file") from error
    finally:
        part.unlink(missing_ok=True)


def _members(tree: Tree) -> Iterator[tuple[str, int | None]]:
    """Paths and sizes in byte order, each folder (with a slash at its end) before what is in it; `data/` is always there."""
    folders: list[str] = []
    for node in heapq.merge(tree.walk(), [Node(_PAYLOAD, FILE)], key=lambda node: path_bytes(node.path)):
        if node.kind != FILE or not is_archive_path(node.path.removesuffix("/")):
            raise EvidenceError(
                f"{printable(node.path)} cannot be packed: it is not a file with a name that every system holds",
                hint="an archive holds none: verify it first",
            )
        *inside, last = node.path.split("/")
        for depth in range(1, len(inside) + 1):
            if folders[:depth] != inside[:depth]:
                yield "/".join(inside[:depth]) + "/", None
        folders = inside
        if last:
            yield node.path, node.size


def _pieces(stream: BinaryIO, size: int, path: str) -> Iterator[bytes]:
    left = size
    while piece := stream.read(min(_PIECE, left + 1)):
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left:
        raise EvidenceError(f"{printable(path)} changed while it was packed", hint="pack the archive again")


def packed_form(file: Path) -> Form | None:
    """What the first bytes of a file say that it is; its name says nothing."""
    with file.open("rb") as stream:
        head = stream.read(512)
    if head[:4] in {b"PK\3\4", b"PK\5\6"}:
        return "zip"
    return "tar" if head[257:262] == b"ustar" else None


class PackedTree:
    """An archive in a tar or zip, read in place; every member was judged before the first byte is served.

    EvidenceError for a file that is neither, that is damaged, or that holds what no archive holds.
    """

    def __init__(self, file: Path, limits: Limits | None = None, *, into: Path | None = None) -> None:
        form = packed_form(file)
        if form is None:
            raise EvidenceError(
                f"{file.name} is neither a tar nor a zip", hint="a compressed tar is to be decompressed first"
            )
        self._lock = threading.Lock()
        self._file = file.open("rb", buffering=1 << 16)
        self._members = Members(file, limits or Limits())
        try:
            if form == "tar":
                scan_tar(self._file, self._members, into)
            else:
                scan_zip(self._file, self._members)
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The folder in which all members stand."""
        return self._members.top

    @property
    def octets(self) -> int:
        """Bytes of all files together."""
        return self._members.octets

    def walk(self) -> Iterator[Node]:
        return (Node(member.path, FILE, member.size) for member in self._members)

    def open(self, path: str) -> BinaryIO:
        return self.stream(self._members.find(path))

    def members(self) -> Iterator[Member]:
        return iter(self._members)

    def stream(self, member: Member) -> BinaryIO:
        """The bytes of a member, never more than it announced."""
        raw: io.RawIOBase = _Slice(self._file, self._lock, member.offset, member.packed)
        if member.deflated:
            raw = _Inflated(raw, member.size)
        return io.BufferedReader(raw, 1 << 18)

    def close(self) -> None:
        self._members.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Slice(io.RawIOBase):
    """Some bytes of a file that other threads read too."""

    def __init__(self, file: BinaryIO, lock: threading.Lock, offset: int, size: int) -> None:
        self._file, self._lock = file, lock
        self._at, self._end = offset, offset + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._lock:
            self._file.seek(self._at)
            piece = self._file.read(min(len(buffer), self._end - self._at))
        if not piece and self._at < self._end:
            raise OSError(errno.EIO, "the transport was cut meanwhile")
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class _Inflated(io.RawIOBase):
    """The bytes behind deflated ones: exactly as many as announced, or an error."""

    def __init__(self, raw: io.RawIOBase, size: int) -> None:
        self._raw = raw
        self._left = size
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            while not self._inflate.eof:
                data = self._inflate.unconsumed_tail or self._raw.read(1 << 16) or b""
                piece = self._inflate.decompress(data, len(buffer))
                if piece:
                    return self._given(buffer, piece)
                if not data:
                    break
        except zlib.error as error:
            raise OSError(errno.EIO, "its compressed bytes are damaged") from error
        if self._left:
            raise OSError(errno.EIO, "it has fewer bytes than announced")
        return 0

    def _given(self, buffer: Any, piece: bytes) -> int:
        self._left -= len(piece)
        if self._left < 0:
            raise OSError(errno.EIO, "it has more bytes than announced")
        buffer[: len(piece)] = piece
        return len(piece)


def unpack(file: Path, folder: Path, limits: Limits | None = None) -> Path:
    """Unpack a transport into `folder`, and return the archive's own folder there; all of it, or nothing.

    EvidenceError for a transport that is refused, PlaceError for a place that cannot take it.
    """
    with PackedTree(file, limits, into=folder) as tree:
        for member in tree.members():
            broken = broken_name(member.path)
            if broken and broken[0] in _HARMFUL and broken[1] is Severity.REJECT:
                raise EvidenceError(
                    f"{file.name}: {printable(member.path)}: some systems take this name for something else ({broken[0]})",
                    hint="verify it in place; a tool of your own system may know better",
                )
        target = folder / tree.name
        if os.path.lexists(target):
            raise PlaceError(f"{target} exists already", hint="unpack into another folder")
        try:
            free = shutil.disk_usage(folder).free
            if tree.octets > free:
                raise PlaceError(f"{folder} has no room: {tree.octets} bytes needed, {free} free")
            beside = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder))
            try:
                _extract(tree, beside, file.name)
                beside.rename(target)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        except OSError as error:
            raise PlaceError(f"{folder}: {error.strerror or error}", hint="nothing was unpacked") from error
    return target


def _extract(tree: PackedTree, beside: Path, name: str) -> None:
    (beside / "data").mkdir(mode=0o700)  # of every bag, even of one that holds nothing but lines
    made = ""
    for member in tree.members():
        parent = member.path.rpartition("/")[0]
        if parent != made:
            _make_folders(beside, parent)
            made = parent
        crc = 0
        with create_private(beside / member.path) as out, tree.stream(member) as stream:
            while piece := _read(stream, name, member):
                crc = zlib.crc32(piece, crc) if member.crc is not None else 0
                out.write(piece)
        if member.crc is not None and crc != member.crc:
            raise EvidenceError(
                f"{name}: {printable(member.path)}: its bytes are not those that were packed",
                hint="fetch the file again; nothing was unpacked",
            )


def _make_folders(beside: Path, parent: str) -> None:
    place = beside
    for segment in parent.split("/"):
        place = place / segment
        place.mkdir(mode=0o700, exist_ok=True)  # `parents=True` would give the outer ones other modes


def _read(stream: BinaryIO, name: str, member: Member) -> bytes:
    try:
        return stream.read(_PIECE)
    except OSError as error:
        raise EvidenceError(
            f"{name}: {printable(member.path)}: {error.strerror}", hint="fetch the file again; nothing was unpacked"
        ) from error

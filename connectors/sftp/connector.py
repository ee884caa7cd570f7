"""A folder of an SFTP server as a source and a destination: nothing half-written is ever visible, no link is followed."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Collection, Iterable, Iterator

from connectors.entry import Entry
from connectors.errors import ChangedError, ConnectorError, InvalidKeyError, NotFoundError, UnsupportedError
from connectors.keys import check_file_path, key_bytes, key_text
from connectors.protocols import BulkRead, Stream
from connectors.sftp import listing
from connectors.sftp import wire as sftp
from connectors.sftp.pipeline import Steps, at_once, side_by_side
from connectors.sftp.place import seconds_of
from connectors.sftp.reading import FileStream
from connectors.sftp.wire import Attributes
from connectors.sftp.writing import Writing
from connectors.streams import BytesStream

_LONGEST_PATH = 4000  # PATH_MAX is 4096 nearly everywhere
_BULK = 1 << 20
_BULK_HELD = 4 << 20
"""Bytes of all small objects under way on one channel."""
_BULK_EACH = 8
"""Small objects under way for each operation that is allowed: a server works on one request of a channel after the other."""


class Sftp(Writing):
    """See the module. One instance has one channel and serves one thread."""

    # --- source ------------------------------------------------------------------------------------------------------

    def list(self, prefix: str = "") -> Iterator[Entry]:
        with self._at(None) as remote:
            root = remote.wire.attributes(remote.ask(sftp.STAT, remote.path("")))
        if root.mode is not None and not stat.S_ISDIR(root.mode):
            raise NotFoundError("the root is not a folder", host=self._host)
        start = prefix[: prefix.rfind("/") + 1]
        if start:
            try:
                if self.stat(start.rstrip("/")).kind != "directory":
                    return
            except (NotFoundError, InvalidKeyError):
                return  # nothing has this prefix
        with self._at(None, remote):
            yield from listing.walk(remote.wire, self._host, remote.path, start, prefix)

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        if entry.kind in {"directory", "link"}:
            return BytesStream()
        if entry.kind != "object":
            raise UnsupportedError(f"a {entry.kind} has no bytes to read", host=self._host, key=entry.key)
        stream = at_once(self._open(entry, start, stop))
        stream.begin()
        return stream

    @property
    def bulk_bytes(self) -> int:
        return _BULK

    def read_many(self, entries: Iterable[Entry], width: int) -> Iterator[tuple[int, BulkRead | ConnectorError | None]]:
        works = ((self._read_small(entry), entry.size or 0) for entry in entries)
        return side_by_side(works, _BULK_EACH * width, _BULK_HELD)

    def _read_small(self, entry: Entry) -> Steps[BulkRead | None]:
        if entry.kind != "object" or entry.size is None or entry.size > _BULK:
            return None
        stream = yield from self._open(entry, 0, None)
        try:
            yield
            return BulkRead(entry=entry, body=stream.read())
        finally:
            stream.close()

    def _open(self, entry: Entry, start: int, stop: int | None) -> Steps[FileStream]:
        key = entry.key
        check_file_path(key, self._host)
        with self._at(key) as remote:
            path = remote.path(key)
            parents, there = remote.ask_parents(key), remote.ask(sftp.LSTAT, path)
            opening = remote.wire.submit(sftp.OPEN, sftp.text(path), sftp.FLAG_READ.to_bytes(4, "big"), sftp.changes())
        with self._at(key, remote):
            try:
                yield
                remote.check_parents(key, parents)
                found = remote.wire.attributes(there)
                self._check_unchanged(entry, found)
            except BaseException:
                self._give_back(remote, opening)
                raise
            handle = remote.wire.handle(opening)
            size = found.size or 0
            return FileStream(
                remote.wire,
                handle,
                found,
                min(start, size),
                size if stop is None else min(stop, size),
                guard=lambda: self._at(key, remote),
                changed=lambda why: ChangedError(f"the file changed: {why}; run again", host=self._host, key=key),
            )

    def _check_unchanged(self, entry: Entry, found: Attributes) -> None:
        if found.mode is not None and stat.S_ISLNK(found.mode):
            raise InvalidKeyError("a link is there, and links are not followed", host=self._host, key=entry.key)
        if found.mode is not None and stat.S_IFMT(found.mode) not in {stat.S_IFREG, 0}:
            raise ChangedError("it is no longer a file", host=self._host, key=entry.key)
        if entry.size is not None and found.size != entry.size:
            raise ChangedError(f"it has {found.size} bytes, {entry.size} were listed", host=self._host, key=entry.key)
        listed = seconds_of(entry)
        if listed is not None and found.mtime is not None and found.mtime != listed:
            raise ChangedError("it was written to since it was listed", host=self._host, key=entry.key)

    # --- destination -------------------------------------------------------------------------------------------------

    def preflight(self, entry: Entry) -> None:
        check_file_path(entry.key, self._host)
        if len(self._location.path) + len(key_bytes(entry.key)) > _LONGEST_PATH:
            raise InvalidKeyError(f"the path is longer than {_LONGEST_PATH} bytes", host=self._host, key=entry.key)
        if entry.kind not in {"object", "directory", "link"}:
            raise UnsupportedError(f"a {entry.kind} cannot be put", host=self._host, key=entry.key)
        if entry.kind != "link":
            return
        if not self._on_file_system:
            raise UnsupportedError("this server makes no links", host=self._host, key=entry.key)
        target = entry.posix.target if entry.posix else None
        if not target or "\0" in target:
            raise UnsupportedError("a link without a target cannot be put", host=self._host, key=entry.key)
        if self._location.option("links") != "any" and _leaves_root(entry.key, target):
            raise InvalidKeyError(
                "the link leads out of the root; the option links=any writes it all the same",
                host=self._host,
                key=entry.key,
            )

    def put(self, entry: Entry, body: Stream, *, replace: bool = False) -> Entry:
        self.preflight(entry)
        if entry.kind == "directory":
            return self._put_folder(entry, replace=replace)
        if entry.kind == "link":
            return at_once(self._put_link(entry, replace=replace))
        return at_once(self._put_object(entry, body, replace=replace))

    def put_many(
        self, items: Iterable[tuple[Entry, bytes]], width: int
    ) -> Iterator[tuple[int, Entry | ConnectorError | None]]:
        works = ((self._put_small(entry, body), len(body)) for entry, body in items)
        return side_by_side(works, _BULK_EACH * width, _BULK_HELD)

    def _put_small(self, entry: Entry, body: bytes) -> Steps[Entry | None]:
        if entry.kind != "object" or len(body) > _BULK:
            return None
        self.preflight(entry)
        return (yield from self._put_object(entry, BytesStream(body), replace=False))

    def delete(self, key: str) -> None:
        kind = sftp.RMDIR if self.stat(key).kind == "directory" else sftp.REMOVE
        with self._at(key) as remote:
            remote.do(kind, remote.path(key))
            remote.prune(key)

    def prepare(self, keep: Collection[str] = ()) -> None:
        with self._at(None) as remote:
            remote.make_folder(remote.root, mode=0o700)  # names are health data too
            for name in map(key_text, remote.partials()):
                if name not in keep:
                    remote.do(sftp.REMOVE, remote.partial(name))
            if not keep:
                remote.remove_partial_folder()


def _leaves_root(key: str, target: str) -> bool:
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(key), target))
    return target.startswith("/") or reached == ".." or reached.startswith("../")

"""A folder of an SFTP server as a source and a destination: nothing half-written is ever visible, no link is followed."""

from __future__ import annotations

import contextlib
import posixpath
import secrets
import stat
import struct
from collections import deque
from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from connectors.entry import Entry
from connectors.errors import (
    AlreadyExistsError,
    ChangedError,
    ConnectorError,
    CorruptedError,
    FullError,
    InvalidKeyError,
    NotFoundError,
    UnsupportedError,
)
from connectors.keys import check_file_path, key_bytes, key_text
from connectors.location import Location
from connectors.protocols import Capabilities, Stream
from connectors.sftp import listing, options
from connectors.sftp import wire as sftp
from connectors.sftp.opening import converse
from connectors.sftp.problems import BROKEN, translated
from connectors.sftp.reading import FileStream
from connectors.sftp.remote import Remote
from connectors.sftp.wire import Attributes, StatusError
from connectors.streams import BytesStream, blocks

_IN_FLIGHT = 1 << 22  # bytes sent and not yet confirmed
_LONGEST_PATH = 4000  # PATH_MAX is 4096 nearly everywhere
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Sftp:
    """See the module. One instance has one channel; the connection is shared with the others of this process."""

    def __init__(self, location: Location, remote: Remote) -> None:
        self._location = location
        self._host = location.url
        self._connections = options.connections(location)
        self._remote: Remote | None = remote
        self._on_file_system = remote.on_file_system
        self._left_partials = False

    @property
    def uri(self) -> str:
        return self._host

    @property
    def capabilities(self) -> Capabilities:
        kept = {"posix", "link"} if self._on_file_system else set()
        return Capabilities(
            preserves=frozenset({"modified", "directory"} | kept),
            digests=frozenset(),
            ranged=True,
            case_sensitive=True,
            hierarchical=True,
            connections=self._connections,
        )

    def stat(self, key: str) -> Entry:
        check_file_path(key, self._host)
        with self._at(key) as remote:
            parents, there = remote.ask_parents(key), remote.ask(sftp.LSTAT, remote.path(key))
            remote.check_parents(key, parents)
            return remote.describe(key, there)

    def close(self) -> None:
        if self._remote is not None:
            with contextlib.suppress(ConnectorError), self._at(None) as remote:
                if self._left_partials:
                    remote.remove_partial_folder()
            self._discard()

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
        with self._at(None):
            yield from listing.walk(remote.wire, self._host, remote.path, start, prefix)

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        if entry.kind in {"directory", "link"}:
            return BytesStream()
        if entry.kind != "object":
            raise UnsupportedError(f"a {entry.kind} has no bytes to read", host=self._host, key=entry.key)
        key = entry.key
        check_file_path(key, self._host)
        with self._at(key) as remote:
            path = remote.path(key)
            parents, there = remote.ask_parents(key), remote.ask(sftp.LSTAT, path)
            opening = remote.wire.submit(sftp.OPEN, sftp.text(path), sftp.FLAG_READ.to_bytes(4, "big"), sftp.changes())
            try:
                remote.check_parents(key, parents)
                found = remote.wire.attributes(there)
                self._check_unchanged(entry, found)
            except (ConnectorError, StatusError):
                self._give_back(opening)
                raise
            handle = remote.wire.handle(opening)
        size = found.size or 0
        return FileStream(
            remote.wire,
            handle,
            found,
            min(start, size),
            size if stop is None else min(stop, size),
            guard=lambda: self._at(key),
            changed=lambda why: ChangedError(f"the file changed: {why}; run again", host=self._host, key=key),
        )

    def _check_unchanged(self, entry: Entry, found: Attributes) -> None:
        if found.mode is not None and stat.S_ISLNK(found.mode):
            raise InvalidKeyError("a link is there, and links are not followed", host=self._host, key=entry.key)
        if found.mode is not None and stat.S_IFMT(found.mode) not in {stat.S_IFREG, 0}:
            raise ChangedError("it is no longer a file", host=self._host, key=entry.key)
        if entry.size is not None and found.size != entry.size:
            raise ChangedError(f"it has {found.size} bytes, {entry.size} were listed", host=self._host, key=entry.key)
        listed = _seconds(entry)
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
            return self._put_folder(entry, replace)
        if entry.kind == "link":
            return self._put_link(entry, replace)
        name = secrets.token_hex(16)
        handle = self._create(entry, name, replace)
        try:
            self._write(entry, handle, 0, body)
            return self._publish(entry, name, handle, replace)
        except BaseException:
            self._give_back(handle, name)
            raise

    def delete(self, key: str) -> None:
        kind = sftp.RMDIR if self.stat(key).kind == "directory" else sftp.REMOVE
        with self._at(key) as remote:
            remote.do(kind, remote.path(key))
            remote.prune(key)

    def prepare(self, keep: Collection[str] = ()) -> None:
        with self._at(None) as remote:
            remote.make_folder(remote.root)
            for name in map(key_text, remote.partials()):
                if name not in keep:
                    remote.do(sftp.REMOVE, remote.partial(name))
            if not keep:
                remote.remove_partial_folder()

    def free(self) -> int | None:
        with self._at(None) as remote:
            path = remote.path("")
            while sftp.STATVFS in remote.wire.extensions:
                try:
                    reply = remote.wire.extended(remote.ask(sftp.EXTENDED, sftp.STATVFS, path))
                except StatusError as error:
                    if error.code != sftp.NO_SUCH_FILE or not path.strip(b"/"):
                        break
                    path = posixpath.dirname(path)  # the root is not made yet: its parent has the same room
                else:
                    _, fragment, _, _, available = struct.unpack_from(">5Q", reply)
                    return int(fragment * available)
        return None

    # --- writing -----------------------------------------------------------------------------------------------------

    def _create(self, entry: Entry, name: str, replace: bool) -> bytes:
        """A new partial file, its handle; on the same trip the parents and what stands at the key are looked at."""
        self._left_partials = True
        with self._at(entry.key) as remote:
            parents, there = remote.ask_parents(entry.key), remote.ask(sftp.LSTAT, remote.path(entry.key))
            opening = remote.ask_partial(name)
            try:
                with contextlib.suppress(NotFoundError):  # folders are made when there is something to put into them
                    remote.check_parents(entry.key, parents)
                remote.check_free(entry.key, there, replace)
            except (ConnectorError, StatusError):
                self._give_back(opening, name)
                raise
            try:
                return remote.wire.handle(opening)
            except StatusError as error:
                if error.code != sftp.NO_SUCH_FILE:
                    raise
            remote.make_partial_folder()
            return remote.wire.handle(remote.ask_partial(name))

    def _write(self, entry: Entry, handle: bytes, offset: int, body: Stream) -> None:
        """Send the body; every WRITE is answered well before this returns."""
        sent: deque[tuple[int, int]] = deque()
        in_flight = 0
        file = sftp.text(handle)
        with self._at(entry.key) as remote:
            wire = remote.wire
        for piece in blocks(body, entry, self._host, wire.longest_write):
            with self._writing(entry.key):
                while sent and in_flight + len(piece) > _IN_FLIGHT:
                    number, size = sent.popleft()
                    wire.status(number)
                    in_flight -= size
                length = len(piece).to_bytes(4, "big")
                sent.append((wire.submit(sftp.WRITE, file, offset.to_bytes(8, "big"), length, piece), len(piece)))
            in_flight += len(piece)
            offset += len(piece)
        with self._writing(entry.key):
            for number, _ in sent:
                wire.status(number)

    def _finish_writing(self, handle: bytes) -> None:
        with self._at(None) as remote:
            synced = remote.ask(sftp.EXTENDED, sftp.FSYNC, handle) if sftp.FSYNC in remote.wire.extensions else None
            closed = remote.ask(sftp.CLOSE, handle)
            if synced is not None:
                remote.wire.status(synced)
            remote.wire.status(closed)

    def _publish(self, entry: Entry, name: str, handle: bytes, replace: bool) -> Entry:
        """Sync, close, date, compare the size; then give the file its name, in one step that others cannot win."""
        with self._at(entry.key) as remote:
            self._finish_writing(handle)
            partial, wanted = remote.partial(name), _wanted(entry)
            # By name and after CLOSE: a server may work on the WRITEs of an open file in another order.
            dated = remote.wire.submit(sftp.SETSTAT, sftp.text(partial), wanted) if wanted else None
            written = remote.ask(sftp.LSTAT, partial)
            parents, there = remote.ask_parents(entry.key), remote.ask(sftp.LSTAT, remote.path(entry.key))
            if dated is not None:
                with contextlib.suppress(StatusError):  # what was not kept is seen in the entry that we return
                    remote.wire.status(dated)
            size = remote.wire.attributes(written).size
            if entry.size is not None and size != entry.size:
                raise CorruptedError(f"the server holds {size} of {entry.size} bytes", host=self._host, key=entry.key)
            try:
                remote.check_parents(entry.key, parents)
            except NotFoundError:
                remote.make_parents(entry.key)
            occupied = remote.check_free(entry.key, there, replace)
            return remote.describe(entry.key, self._rename(entry.key, name, replace=occupied))

    def _rename(self, key: str, name: str, *, replace: bool) -> int:
        """Give a finished partial its name; an LSTAT of what is there then."""
        with self._at(key) as remote:
            path, partial, aside = remote.path(key), remote.partial(name), None
            if replace and sftp.POSIX_RENAME in remote.wire.extensions:
                renamed = remote.ask(sftp.EXTENDED, sftp.POSIX_RENAME, partial, path)
            else:
                if replace:  # not in one step: the old content waits beside until the new one has the name
                    aside = remote.partial(secrets.token_hex(16))
                    remote.do(sftp.RENAME, path, aside)
                renamed = remote.ask(sftp.RENAME, partial, path)
            there = remote.ask(sftp.LSTAT, path)
            try:
                remote.wire.status(renamed)
            except StatusError as error:
                if aside is not None:
                    remote.do(sftp.RENAME, aside, path)
                elif error.code == sftp.FAILURE:
                    remote.check_free(key, there, replace=False)
                raise
            if aside is not None:
                remote.do(sftp.REMOVE, aside)
            return there

    def _put_folder(self, entry: Entry, replace: bool) -> Entry:
        with self._at(entry.key) as remote:
            path, wanted = remote.path(entry.key), _wanted(entry)
            remote.make_parents(entry.key)
            try:
                remote.wire.status(remote.wire.submit(sftp.MKDIR, sftp.text(path), sftp.changes()))
            except StatusError as error:
                there = remote.wire.attributes(remote.ask(sftp.LSTAT, path))
                if not replace or not stat.S_ISDIR(there.mode or 0):
                    raise AlreadyExistsError("something is there already", host=self._host, key=entry.key) from error
            if wanted:
                with contextlib.suppress(StatusError):  # seen in the entry that we return
                    remote.wire.status(remote.wire.submit(sftp.SETSTAT, sftp.text(path), wanted))
            return remote.describe(entry.key, remote.ask(sftp.LSTAT, path))

    def _put_link(self, entry: Entry, replace: bool) -> Entry:
        target = key_bytes((entry.posix.target if entry.posix else None) or "")
        with self._at(entry.key) as remote:
            remote.make_parents(entry.key)
            path = remote.path(entry.key)
            occupied = remote.check_free(entry.key, remote.ask(sftp.LSTAT, path), replace)
            if not occupied:
                # OpenSSH has the arguments the other way round than the draft, and everybody follows OpenSSH.
                made, there = remote.ask(sftp.SYMLINK, target, path), remote.ask(sftp.LSTAT, path)
                try:
                    remote.wire.status(made)
                except StatusError as error:
                    if error.code == sftp.FAILURE:
                        remote.check_free(entry.key, there, replace=False)
                    raise
                return remote.describe(entry.key, there)
            name = secrets.token_hex(16)
            remote.make_partial_folder()
            self._left_partials = True
            remote.do(sftp.SYMLINK, target, remote.partial(name))
            return remote.describe(entry.key, self._rename(entry.key, name, replace=True))

    def _give_back(self, opening: int | bytes, partial: str | None = None) -> None:
        """Close a file that is no longer wanted, and remove it if it is a partial; `prepare` finds what we cannot."""
        with contextlib.suppress(ConnectorError, StatusError), self._at(None) as remote:
            handle = remote.wire.handle(opening) if isinstance(opening, int) else opening
            remote.wire.forget(remote.ask(sftp.CLOSE, handle))
            if partial:
                remote.do(sftp.REMOVE, remote.partial(partial))

    # --- the channel -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _at(self, key: str | None) -> Iterator[Remote]:
        """The channel, opened if need be; what goes wrong with it is an error about this key.

        A broken channel is dropped, and the next call opens another.
        """
        with translated(self._host, key):
            try:
                if self._remote is None:
                    self._remote = open_remote(self._location)
                yield self._remote
            except BROKEN:
                self._discard()
                raise

    @contextlib.contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        try:
            with self._at(key):
                yield
        except ConnectorError as error:
            # OpenSSH says no more than "Failure" when a disk is full.
            if type(error) is ConnectorError and self.free() == 0:
                raise FullError("no room left at the server", host=self._host, key=key, cause=error.cause) from error
            raise

    def _discard(self) -> None:
        remote, self._remote = self._remote, None
        if remote is not None:
            remote.wire.close()


def open_remote(location: Location) -> Remote:
    """A channel of its own, at the root."""
    with translated(location.url):
        wire = converse(location)
        try:
            return Remote(wire, location.url, location.path)
        except BaseException:
            wire.close()
            raise


def _seconds(entry: Entry) -> int | None:
    """The modification time in whole seconds: version 3 knows no others."""
    if entry.posix is not None and entry.posix.mtime_ns is not None:
        return entry.posix.mtime_ns // 10**9
    return None if entry.modified is None else int((entry.modified - _EPOCH).total_seconds() // 1)


def _wanted(entry: Entry) -> bytes:
    """The attributes to set, empty if there are none; a time that 32 bits do not hold is left out."""
    mtime = _seconds(entry)
    if mtime is not None and not 0 <= mtime < 1 << 32:
        mtime = None
    mode = entry.posix.mode if entry.posix else None
    return b"" if mode is None and mtime is None else sftp.changes(mode=mode, mtime=mtime)


def _leaves_root(key: str, target: str) -> bool:
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(key), target))
    return target.startswith("/") or reached == ".." or reached.startswith("../")

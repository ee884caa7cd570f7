"""The host itself: a folder of this machine as a Source and a Destination, also by parts."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace as changed
from pathlib import Path

from connectors.entry import Entry
from connectors.errors import (
    AlreadyExistsError,
    ChangedError,
    ConnectorError,
    CorruptedError,
    InvalidKeyError,
    LocationError,
    NotFoundError,
    UnsupportedError,
)
from connectors.keys import PARTIAL_FOLDER
from connectors.local.attributes import describe, dress, walk
from connectors.local.bulk import Bulk
from connectors.local.names import CASE_SENSITIVE, link_problem, name_problem, native
from connectors.local.partial import Partial
from connectors.local.stream import FileStream
from connectors.local.system import Folder, publish, sync_file, translated, write_at
from connectors.location import Location
from connectors.protocols import Capabilities, Stream
from connectors.streams import read_exactly, slices

OPTIONS = {
    "owner": "keep: give files their owner by number (needs the right to; else they belong to who runs this)",
    "links": "any: also make links whose target is absolute or leaves the root",
}
_VALUES = {"owner": "keep", "links": "any"}
_MIB = 1 << 20
_PART = 16 * _MIB
_PARTS = 10_000
_TOKEN = re.compile(r"[0-9a-f]{32}")
_POSIX = sys.platform != "win32"


def connect(location: Location) -> Local:
    location.check_options(OPTIONS)
    for name, value in location.options.items():
        if value != _VALUES[name]:
            raise LocationError(f'the option "{name}" can only be "{_VALUES[name]}"', host=location.url)
    if not Path(location.path).is_absolute():
        raise LocationError("a file location needs an absolute path: file:///path", host=location.url)
    return Local(location)


class Local(Bulk):
    """See the module. Changes are told by size and mtime: `version` stays None, since no old version can be asked for."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._path = native(location.path)
        self._owner = location.option("owner") == "keep"
        self._any_link = location.option("links") == "any"
        self._room = bytearray()

    @property
    def uri(self) -> str:
        return self._location.url

    def __repr__(self) -> str:
        return f"Local({self.uri!r})"

    @property
    def capabilities(self) -> Capabilities:
        kept = {"modified", "directory", "posix", "link"} if _POSIX else {"modified", "directory"}
        return Capabilities(
            preserves=frozenset(kept),
            digests=frozenset(),
            ranged=True,
            case_sensitive=CASE_SENSITIVE,
            hierarchical=True,
            connections=min(16, 2 * (os.cpu_count() or 1)),
        )

    def stat(self, key: str) -> Entry:
        self._check_key(key)
        with translated(self.uri, key), self._parent(key) as (folder, name):
            return self._thing(folder, name, key)

    def close(self) -> None:
        with suppress(ConnectorError, OSError), self._root() as root:
            root.remove_folder(PARTIAL_FOLDER)  # refuses while anything is in it

    def list(self, prefix: str = "") -> Iterator[Entry]:
        with translated(self.uri, None), self._root() as root:
            yield from walk(root, prefix, self.uri)

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        self._check_key(entry.key)
        with translated(self.uri, entry.key), self._parent(entry.key) as (folder, name):
            status = folder.lstat(name)
            if not stat.S_ISLNK(status.st_mode):  # opening a link says what a link is; opening a device may move it
                self._unchanged(entry, status)
            handle = folder.open_file(name)
            try:
                status = os.fstat(handle)
                size = self._unchanged(entry, status)
                stop = size if stop is None else min(stop, size)
                return FileStream(handle, status, start, stop, host=self.uri, key=entry.key)
            except BaseException:
                os.close(handle)
                raise

    def preflight(self, entry: Entry) -> None:
        self._check_key(entry.key)
        if entry.kind not in {"object", "directory"} and not (entry.kind == "link" and _POSIX):
            raise UnsupportedError(f"a {entry.kind} cannot be put into a folder", host=self.uri, key=entry.key)
        if entry.kind == "link":
            problem = link_problem(entry.key, entry.posix.target if entry.posix else None, anywhere=self._any_link)
            if problem:
                raise InvalidKeyError(problem, host=self.uri, key=entry.key)

    def put(self, entry: Entry, body: Stream, *, replace: bool = False) -> Entry:
        self.preflight(entry)
        self._check_vacant(entry.key, replace=replace)
        if entry.kind != "object":
            read_exactly(body, changed(entry, size=0), self.uri)
            return self._put_directory(entry, replace) if entry.kind == "directory" else self._put_link(entry, replace)
        partial = self._create(entry, secrets.token_hex(16))
        try:
            self._fill(partial, entry, body)
            return self._publish(partial, entry, replace=replace)
        except BaseException:
            partial.discard()
            raise
        finally:
            partial.close()

    def delete(self, key: str) -> None:
        """Also removes the folders above that are empty then: `put` made them, and they would become things."""
        self._check_key(key)
        with translated(self.uri, key), self._root() as root:
            *above, name = native(key).split("/")
            with root.descend(above) as folder:
                if self._thing(folder, name, key).kind == "directory":
                    folder.remove_folder(name)
                else:
                    folder.remove(name)
                folder.sync()
            while above:
                name = above.pop()
                with root.descend(above) as folder:
                    try:
                        folder.remove_folder(name)
                    except OSError:  # it holds something
                        return
                    folder.sync()

    def part_size(self, size: int) -> int:
        return max(_PART, -(-size // _PARTS // _MIB) * _MIB)

    def begin(self, entry: Entry) -> str:
        self.preflight(entry)
        token = secrets.token_hex(16)
        partial = self._create(entry, token)
        try:
            with translated(self.uri, entry.key):
                os.truncate(partial.handle, self._size(entry))  # parts never change the size: they may come at once
        except BaseException:
            partial.discard()
            raise
        finally:
            partial.close()
        return token

    def put_part(self, entry: Entry, token: str, number: int, body: Stream, size: int) -> str:
        whole = self._size(entry)
        at = (number - 1) * self.part_size(whole)
        if number < 1 or size != max(0, min(self.part_size(whole), whole - at)):
            raise CorruptedError(f"part {number} cannot have {size} bytes", host=self.uri, key=entry.key)
        partial = self._resume(entry, token)
        try:
            self._fill(partial, changed(entry, size=size), body, at)
            with translated(self.uri, entry.key):
                sync_file(partial.handle)
        finally:
            partial.close()
        return str(size)

    def finish(self, entry: Entry, token: str, parts: Sequence[str], *, replace: bool = False) -> Entry:
        self.preflight(entry)
        partial = self._resume(entry, token)
        try:
            with translated(self.uri, entry.key):
                sizes = {self._size(entry), os.fstat(partial.handle).st_size, sum(map(int, parts))}
            if len(sizes) > 1:
                raise CorruptedError(
                    "the parts do not make up the object; send them again", host=self.uri, key=entry.key
                )
            self._check_vacant(entry.key, replace=replace)
            return self._publish(partial, entry, replace=replace)
        finally:
            partial.close()

    def abort(self, entry: Entry, token: str) -> None:
        try:
            partial = self._resume(entry, token)
        except NotFoundError:
            return
        partial.discard()
        partial.close()

    def prepare(self, keep: Collection[str] = ()) -> None:
        with translated(self.uri, None):
            Path(self._path).mkdir(mode=0o700, parents=True, exist_ok=True)  # names are health data too
            with self._root() as root:
                try:
                    partials = root.descend([PARTIAL_FOLDER])
                except FileNotFoundError:
                    return
                with partials:
                    for name in partials.names():
                        if name not in keep and not name.endswith("/"):
                            with suppress(FileNotFoundError):
                                partials.remove(name)
                with suppress(OSError):  # it still holds what is to be kept
                    root.remove_folder(PARTIAL_FOLDER)

    def free(self) -> int | None:
        with translated(self.uri, None):
            place = Path(self._path)
            while not place.exists():
                place = place.parent
            return shutil.disk_usage(place).free

    def _check_key(self, key: str) -> None:
        problem = name_problem(key)
        if problem:
            raise InvalidKeyError(f"{problem}; rename it at the source, or exclude it", host=self.uri, key=key)

    def _root(self) -> Folder:
        try:
            return Folder.root(self._path)
        except (FileNotFoundError, NotADirectoryError) as error:
            words = "is not a folder" if isinstance(error, NotADirectoryError) else "does not exist"
            raise NotFoundError(
                f"the place {words}; check the path, and that its disk is mounted", host=self.uri
            ) from error

    @contextmanager
    def _parent(self, key: str, *, create: bool = False) -> Iterator[tuple[Folder, str]]:
        *above, name = native(key).split("/")
        with self._root() as root, root.descend(above, create=create) as folder:
            yield folder, name

    def _thing(self, folder: Folder, name: str, key: str) -> Entry:
        entry = describe(folder, name, key)
        if entry.kind == "directory":
            with folder.child(name) as inside:
                if not inside.is_empty():
                    raise NotFoundError("a folder that holds things is no thing itself", host=self.uri, key=key)
        return entry

    def _unchanged(self, entry: Entry, status: os.stat_result) -> int:
        """The size of the open file, if it is still the one that the entry describes."""
        if not stat.S_ISREG(status.st_mode):
            raise UnsupportedError("not a regular file: it has no bytes to carry", host=self.uri, key=entry.key)
        if entry.size not in {None, status.st_size} or (
            entry.posix is not None and entry.posix.mtime_ns not in {None, status.st_mtime_ns}
        ):
            raise ChangedError("the file was written to since it was listed; list again", host=self.uri, key=entry.key)
        return status.st_size

    def _check_vacant(self, key: str, *, replace: bool) -> None:
        """The early no, before a body is read. Publishing says it again, and only that is free of races."""
        with translated(self.uri, key):
            try:
                with self._parent(key) as (folder, name):
                    taken = not replace and folder.holds(name)
            except FileNotFoundError:
                return
            except NotADirectoryError as error:
                raise AlreadyExistsError(
                    "a file stands where a folder of this key would be; move it away", host=self.uri, key=key
                ) from error
        if taken:
            raise AlreadyExistsError("something is there already; it is untouched", host=self.uri, key=key)

    def _create(self, entry: Entry, name: str) -> Partial:
        mode = 0o666 if entry.posix is None or entry.posix.mode is None else 0o600  # the umask decides, or the entry
        with translated(self.uri, entry.key), self._root() as root:
            return Partial.create(root, name, mode)

    def _resume(self, entry: Entry, token: str) -> Partial:
        if not _TOKEN.fullmatch(token):
            raise NotFoundError("that is no token of an unfinished object", host=self.uri, key=entry.key)
        try:
            with translated(self.uri, entry.key), self._root() as root:
                return Partial.resume(root, token)
        except NotFoundError as error:
            raise NotFoundError(
                "the unfinished object is not there any more; begin again", host=self.uri, key=entry.key
            ) from error

    def _size(self, entry: Entry) -> int:
        if entry.size is None:
            raise UnsupportedError("an object of unknown size cannot be put by parts", host=self.uri, key=entry.key)
        return entry.size

    def _fill(self, partial: Partial, entry: Entry, body: Stream, at: int = 0) -> None:
        holes = entry.posix is not None and entry.posix.sparse
        start = at
        self._room = self._room or bytearray(_MIB)
        for piece in slices(body, entry, self.uri, memoryview(self._room)):  # its errors are the body's own
            with translated(self.uri, entry.key):
                write_at(partial.handle, piece, at, holes=holes)
            at += len(piece)
        with translated(self.uri, entry.key):
            if holes and start == 0 and os.fstat(partial.handle).st_size < at:
                os.truncate(partial.handle, at)  # it ends in a hole

    def _publish(self, partial: Partial, entry: Entry, *, replace: bool) -> Entry:
        with translated(self.uri, entry.key):
            partial.complete(entry, owner=self._owner)
            with self._parent(entry.key, create=True) as (folder, name):
                publish(partial.folder, partial.name, folder, name, entry.key, replace=replace)
                return describe(folder, name, entry.key)

    def _put_link(self, entry: Entry, replace: bool) -> Entry:
        target = native(entry.posix.target or "") if entry.posix else ""
        with translated(self.uri, entry.key), self._root() as root:
            partial = Partial.link(root, secrets.token_hex(16), target)
        try:
            return self._publish(partial, entry, replace=replace)
        except BaseException:
            partial.discard()
            raise
        finally:
            partial.close()

    def _put_directory(self, entry: Entry, replace: bool) -> Entry:
        with translated(self.uri, entry.key), self._parent(entry.key, create=True) as (folder, name):
            if replace:
                folder.clear(name)
            folder.make_folder(name)
            with folder.child(name) as made:
                dress(made.itself, entry, owner=self._owner)
                made.sync()
            folder.sync()
            return describe(folder, name, entry.key)

"""The bulk lane: small files read and written many at a time, folders opened once, names made durable once for each folder.

Whatever is not an ordinary success is left to the plain way, which says what is wrong.
"""

from __future__ import annotations

import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType

from connectors.entry import Entry
from connectors.errors import ConnectorError
from connectors.local.attributes import describe
from connectors.local.names import name_problem, native
from connectors.local.partial import Partial
from connectors.local.system import Folder, give_name, translated, write_at
from connectors.protocols import BulkRead

BULK = 4 << 20
"""Bytes of the largest file in the lane: above it the plain way is as fast."""
_TOGETHER = 32
"""Files that are written before they are synced, published and told of: as many as wait for one sync of their folder."""
_TOGETHER_BYTES = 8 << 20
_OPEN = _TOGETHER
"""Folders that stay open for the next files: no fewer than those of the files that get their names together."""


class Bulk(ABC):
    """The bulk half of the connector."""

    _owner: bool

    @property
    @abstractmethod
    def uri(self) -> str: ...

    @abstractmethod
    def preflight(self, entry: Entry) -> None: ...

    @abstractmethod
    def _root(self) -> Folder: ...

    @abstractmethod
    def _unchanged(self, entry: Entry, status: os.stat_result) -> int: ...

    @property
    def bulk_bytes(self) -> int:
        return BULK

    def read_many(self, entries: Iterable[Entry], width: int) -> Iterator[tuple[int, BulkRead | ConnectorError | None]]:
        del width  # one after the other: what a file costs here is system calls, not waiting
        try:
            root = self._root()
        except (ConnectorError, OSError):
            yield from ((number, None) for number, _ in enumerate(entries))
            return
        with root, _Folders(root) as folders:
            for number, entry in enumerate(entries):
                try:
                    yield number, self._whole(folders, entry)
                except (ConnectorError, OSError):
                    yield number, None

    def put_many(
        self, items: Iterable[tuple[Entry, bytes]], width: int
    ) -> Iterator[tuple[int, Entry | ConnectorError | None]]:
        del width  # as above; what is waited for is the disk, for many files at once
        try:
            root = self._root()
        except (ConnectorError, OSError):
            yield from ((number, None) for number, _ in enumerate(items))
            return
        begun: list[_Begun] = []
        waiting = 0
        try:
            for number, (entry, body) in enumerate(items):
                partial = self._written(root, begun, entry, body)
                if partial is None:
                    yield number, None
                    continue
                begun.append(_Begun(number=number, entry=entry, partial=partial))
                waiting += len(body)
                if len(begun) >= _TOGETHER or waiting >= _TOGETHER_BYTES:
                    waiting = 0
                    yield from self._published(root, begun)
            yield from self._published(root, begun)
        finally:
            for one in begun:
                one.partial.discard()
            if begun:
                begun[0].partial.close()
            root.close()

    def _whole(self, folders: _Folders, entry: Entry) -> BulkRead | None:
        if entry.kind != "object" or entry.size is None or entry.size > BULK or name_problem(entry.key):
            return None
        folder, name = folders.of(entry.key)
        self._unchanged(entry, folder.lstat(name))  # before it is opened, which may move a device
        handle = folder.open_file(name)
        try:
            before = os.fstat(handle)
            self._unchanged(entry, before)
            body = os.read(handle, entry.size) if entry.size else b""
            after = os.fstat(handle)
        finally:
            os.close(handle)
        same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        return BulkRead(entry=entry, body=body) if same and len(body) == entry.size else None

    def _written(self, root: Folder, begun: list[_Begun], entry: Entry, body: bytes) -> Partial | None:
        """All the bytes under a name that no listing shows."""
        if entry.kind != "object" or len(body) > BULK or entry.size not in {None, len(body)}:
            return None
        if entry.posix is not None and entry.posix.sparse:
            return None
        mode = 0o666 if entry.posix is None or entry.posix.mode is None else 0o600  # the umask decides, or the entry
        partial = None
        name = secrets.token_hex(16)
        try:
            self.preflight(entry)
            if begun:  # whose file keeps this folder from being removed by another instance
                folder = begun[0].partial.folder
                partial = Partial(folder, name, folder.create_file(name, mode))
            else:
                partial = Partial.create(root, name, mode)
            write_at(partial.handle, body, 0, holes=False)
        except (ConnectorError, OSError):
            if partial is not None:
                partial.discard()
                if not begun:
                    partial.close()
            return None
        return partial

    def _published(self, root: Folder, begun: list[_Begun]) -> Iterator[tuple[int, Entry | ConnectorError | None]]:
        """Sync what was written, give it its names, sync each folder once: only then is anything told."""
        if not begun:
            return
        host = self.uri
        found: list[tuple[int, Entry | ConnectorError | None]] = []
        named: list[tuple[_Begun, Folder, str]] = []
        with _Folders(root, create=True) as folders:  # opened when all bodies have been read, as in the plain way
            for one in begun:
                try:
                    one.partial.complete(one.entry, owner=self._owner)
                    folder, name = folders.of(one.entry.key)
                    give_name(one.partial.folder, one.partial.name, folder, name, one.entry.key, replace=False)
                except OSError:
                    one.partial.discard()
                    found.append((one.number, None))
                else:
                    named.append((one, folder, name))
            for folder in {id(folder): folder for _, folder, _ in named}.values():
                folder.sync()
            for one, folder, name in named:
                try:
                    with translated(host, one.entry.key):
                        found.append((one.number, describe(folder, name, one.entry.key)))
                except ConnectorError as error:
                    found.append((one.number, error))
        begun[0].partial.close()
        begun.clear()
        yield from found


@dataclass(slots=True, kw_only=True)
class _Begun:
    number: int
    entry: Entry
    partial: Partial


class _Folders:
    """The folders of neighbouring keys, kept open for a moment."""

    def __init__(self, root: Folder, *, create: bool = False) -> None:
        self._root, self._create = root, create
        self._kept: dict[str, Folder] = {}

    def of(self, key: str) -> tuple[Folder, str]:
        """The folder of a key and the name in it."""
        above, _, name = native(key).rpartition("/")
        folder = self._kept.get(above)
        # Held by path (Windows), each step has to be looked at again: a link may have been put there since.
        if folder is None or folder.handle is None:
            if len(self._kept) >= _OPEN:
                self._kept.pop(next(iter(self._kept))).close()
            folder = self._root.descend(above.split("/") if above else [], create=self._create)
            self._kept[above] = folder
        return folder, name

    def __enter__(self) -> _Folders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for folder in self._kept.values():
            folder.close()

"""One unfinished file: written beside its place, in a folder that no listing shows, until it is published."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from connectors.entry import Entry
from connectors.keys import PARTIAL_FOLDER
from connectors.local.attributes import dress, dress_link
from connectors.local.system import Folder, sync_file

_BY_HANDLE = os.utime in os.supports_fd


class Partial:
    """`handle` is open for reading and writing until `complete` or `close`; a link has none."""

    def __init__(self, folder: Folder, name: str, handle: int | None) -> None:
        self.folder = folder
        self.name = name
        self._handle = handle

    @classmethod
    def create(cls, root: Folder, name: str, mode: int) -> Partial:
        return cls._make(root, name, lambda folder: folder.create_file(name, mode))

    @classmethod
    def link(cls, root: Folder, name: str, target: str) -> Partial:
        return cls._make(root, name, lambda folder: os.symlink(target, folder.at(name), dir_fd=folder.handle))

    @classmethod
    def resume(cls, root: Folder, name: str) -> Partial:
        folder = root.descend([PARTIAL_FOLDER])
        try:
            return cls(folder, name, folder.open_partial(name))
        except BaseException:
            folder.close()
            raise

    @classmethod
    def _make(cls, root: Folder, name: str, make: Callable[[Folder], int | None]) -> Partial:
        for left in reversed(range(20)):
            try:
                folder = root.descend([PARTIAL_FOLDER], create=True, mode=0o700)
                try:
                    return cls(folder, name, make(folder))
                except BaseException:
                    folder.close()
                    raise
            except FileNotFoundError:
                if not left:  # else another instance closed, and removed the empty folder under our hands
                    raise
        raise AssertionError

    @property
    def handle(self) -> int:
        if self._handle is None:
            raise ValueError("the unfinished file is closed")
        return self._handle

    def complete(self, entry: Entry, *, owner: bool) -> None:
        """Attributes on, all of it on the disk, handle closed."""
        if self._handle is None:
            dress_link(self.folder, self.name, entry, owner=owner)
            return
        if _BY_HANDLE:
            dress(self.handle, entry, owner=owner)
        sync_file(self.handle)
        self._close_handle()
        if not _BY_HANDLE:  # Windows sets times by path
            dress(self.folder.full(self.name), entry, owner=owner)

    def discard(self) -> None:
        self._close_handle()
        with suppress(OSError):
            self.folder.remove(self.name)

    def close(self) -> None:
        self._close_handle()
        self.folder.close()

    def _close_handle(self) -> None:
        handle, self._handle = self._handle, None  # also when closing fails: the number may be another file's by then
        if handle is not None:
            os.close(handle)

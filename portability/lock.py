"""One run at a time over one evidence folder: a lock that the operating system drops when its holder dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType

from portability.errors import PlaceError
from portability.shell import command_line

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_held: set[int] = set()
"""Descriptors of the locks of this process."""


def _let_go() -> None:
    # A copy of the process shares its locks: a worker that outlives a killed run by a moment would keep the next one out.
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


class FolderLock:
    """Held from `with` to the end of the block. PlaceError if another run holds it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._descriptor = -1

    def __enter__(self) -> FolderLock:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(self._descriptor)
        except OSError as error:
            os.close(self._descriptor)
            self._descriptor = -1
            raise PlaceError(
                f"another run is working in {self._path.parent}",
                hint=f"wait for it, or look at it with: {command_line('portability', 'status', self._path.parent)}",
            ) from error
        _held.add(self._descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _held.discard(self._descriptor)
        os.close(self._descriptor)  # closing drops the lock; the file stays, removing it would race with the next run


def is_held(folder: Path) -> bool:
    """Whether some process holds the lock of this folder now."""
    if not (folder / ".lock").exists():
        return False
    try:
        with FolderLock(folder):
            return False
    except PlaceError:
        return True

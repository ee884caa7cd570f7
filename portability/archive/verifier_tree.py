"""What the verifier looks at: a tree of files which is listed in order and opened by path; here the one on a local disk."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

FILE, LINK, SPECIAL, UNREADABLE = "file", "link", "special", "unreadable"

# Everywhere but on Windows a folder is opened once and everything in it by name, relative to its handle: whoever swaps a
# folder for a link meanwhile gains nothing.
_BY_HANDLE = os.open in os.supports_dir_fd and os.scandir in os.supports_fd and hasattr(os, "O_NOFOLLOW")
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
FILE_FLAGS = _READ | getattr(
    os, "O_NONBLOCK", 0
)  # a FIFO that took a file's place must not make us wait for its writer
_FOLDER = _READ | getattr(os, "O_DIRECTORY", 0)
_LINKS = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK})  # what systems say of a link (FreeBSD: EMLINK)
_NO_FILE = _LINKS | {errno.ENXIO}  # the last one: a socket


class Node(NamedTuple):
    """One thing in a tree; folders are not listed."""

    path: str
    """Relative, `/` separated; bytes that are not UTF-8 by surrogateescape."""
    kind: str
    """`file`, `link`, `special` (device, FIFO, socket) or `unreadable`."""
    size: int | None = None
    """As listed, where it costs nothing."""


class Leaves(NamedTuple):
    """A folder that holds nothing but files: nearly all of them are in such folders, and are compared together."""

    folder: str
    """Relative; empty for the tree itself."""
    names: list[str]
    """In order."""


class NotAFileError(OSError):
    """Where a file was listed stands something else; it was not followed and not read."""


class Tree(Protocol):
    """A tree of files: a local folder, a prefix of a host, a tar or zip read in place."""

    def walk(self) -> Iterator[Node]:
        """Every file and oddity, in the order of the bytes of the paths."""

    def open(self, path: str) -> BinaryIO:
        """The bytes of a regular file; FileNotFoundError, NotAFileError or another OSError if there is none to be had."""


class LocalTree:
    """A folder of this machine. Nothing in it is written, followed or executed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def walk(self) -> Iterator[Node]:
        for found in self.runs():
            if isinstance(found, Leaves):
                yield from (Node(joined(found.folder, name), FILE) for name in found.names)
            else:
                yield found

    def runs(self) -> Iterator[Node | Leaves]:
        """The same, a folder at once where it holds only files."""
        top = self._names("")
        levels = [iter(top if isinstance(top, list) else ())]
        prefixes = [""]
        if isinstance(top, Leaves):
            yield top
        while levels:
            prefix = prefixes[-1]
            for name, kind in levels[-1]:
                path = prefix + name
                if kind:
                    yield Node(path, kind)
                    continue
                try:
                    names = self._names(path)
                except OSError as error:
                    yield Node(path[:-1], _kind_of(error))
                    continue
                if isinstance(names, Leaves):
                    yield names
                    continue
                levels.append(iter(names))
                prefixes.append(path)
                break
            else:
                levels.pop()
                prefixes.pop()

    def open(self, path: str) -> BinaryIO:
        folder, _, name = path.rpartition("/")
        if not _BY_HANDLE:
            return io.BufferedReader(io.FileIO(_open_by_path(self.folder, path)))
        handle = open_folder(self.folder, folder)
        try:
            return io.BufferedReader(io.FileIO(open_file(handle, name)[0]))
        finally:
            os.close(handle)

    def _names(self, prefix: str) -> Leaves | list[tuple[str, str]]:
        """What a folder holds, with its kind; a folder has a slash at its end, where byte order wants it, and no kind."""
        folder = prefix.rstrip("/")
        handle = open_folder(self.folder, folder) if _BY_HANDLE else None
        try:
            with os.scandir(self.folder / prefix if handle is None else handle) as listed:
                entries = list(listed)
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
            if len(names) == len(entries):
                names.sort()
                return Leaves(folder, names)
            return sorted(map(_described, entries))
        finally:
            if handle is not None:
                os.close(handle)


def joined(folder: str, name: str) -> str:
    """The path of a name in a folder; the folder of the tree itself is empty."""
    return f"{folder}/{name}" if folder else name


def _described(entry: os.DirEntry[str]) -> tuple[str, str]:
    if entry.is_file(follow_symlinks=False):
        return entry.name, FILE
    if entry.is_symlink() or (hasattr(entry, "is_junction") and entry.is_junction()):
        return entry.name, LINK
    if entry.is_dir(follow_symlinks=False):
        return f"{entry.name}/", ""
    return entry.name, SPECIAL


def _kind_of(error: OSError) -> str:
    return LINK if isinstance(error, NotAFileError) else UNREADABLE


def open_folder(root: Path, path: str) -> int:
    """A handle on a folder of the tree, reached step by step without following a link; the root itself may be one.

    NotAFileError if a link or a file stands where a folder was listed.
    """
    handle = os.open(root, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
    for segment in path.split("/") if path else ():
        try:
            inner = os.open(segment, _FOLDER, dir_fd=handle)
        except OSError as error:
            if error.errno in _LINKS:
                raise NotAFileError(error.errno, "a link or a file stands where a folder was") from error
            raise
        finally:
            os.close(handle)
        handle = inner
    return handle


def open_file(folder: int, name: str) -> tuple[int, int]:
    """A handle on a regular file of this folder, and its size; NotAFileError for anything else."""
    handle = open_name(folder, name)
    try:
        return handle, regular_size(handle)
    except OSError:
        os.close(handle)
        raise


def open_name(folder: int, name: str) -> int:
    """A handle on what has this name in a folder: no link and no socket, but perhaps a device, a FIFO or a folder."""
    try:
        return os.open(name, FILE_FLAGS, dir_fd=folder)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise NotAFileError(error.errno, "a link or a special file stands there") from error
        raise


def regular_size(handle: int) -> int:
    """The size of a regular file; NotAFileError for anything else."""
    state = os.fstat(handle)
    if not stat.S_ISREG(state.st_mode):
        raise NotAFileError(errno.EINVAL, "a special file stands there")
    return state.st_size


def _open_by_path(root: Path, path: str) -> int:
    """The same where folders have no handles: what was looked at before must be what was opened."""
    place = root
    for segment in path.split("/"):
        place = place / segment
        seen = place.lstat()
        if stat.S_ISLNK(seen.st_mode) or getattr(seen, "st_reparse_tag", False):
            raise NotAFileError(errno.ELOOP, "a link stands there")
    if not stat.S_ISREG(seen.st_mode):
        raise NotAFileError(errno.EINVAL, "a special file stands there")
    handle = os.open(place, FILE_FLAGS)
    opened = os.fstat(handle)
    if (opened.st_dev, opened.st_ino) != (seen.st_dev, seen.st_ino):
        os.close(handle)
        raise NotAFileError(errno.ELOOP, "the file was replaced meanwhile")
    return handle

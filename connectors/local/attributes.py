"""What the file system knows of a thing, as an entry, and an entry's attributes, put on a thing."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache

from connectors.entry import Entry, Kind, Posix
from connectors.keys import PARTIAL_FOLDER
from connectors.local.names import exact, name_problem, native
from connectors.local.system import Folder, translated

if sys.platform != "win32":
    import grp
    import pwd

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LISTS_XATTRS = hasattr(os, "listxattr")
_ACLS = frozenset({"system.posix_acl_access", "system.posix_acl_default"})
_SPECIAL = {
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def describe(folder: Folder, name: str, key: str) -> Entry:
    """The thing called `name`, never followed."""
    return _entry(folder, name, key, folder.lstat(name), None)


def walk(root: Folder, prefix: str, host: str) -> Iterator[Entry]:
    """Every thing whose key starts with the prefix, in the order of the keys' bytes.

    Holds the names of the folders on the way down to where it is, and the files that have further names to come.
    """
    above, _, start = prefix.rpartition("/")
    if above and name_problem(above):
        return  # no key can start so, and the path could lead out of the root
    try:
        base = root.descend(native(above).split("/") if above else [])
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:  # no folder, thus nothing below it
            return
        raise
    first_names: dict[tuple[int, int], tuple[str, int]] = {}  # file -> its first name, names still to come
    path: list[tuple[Folder, str, Iterator[str]]] = []  # the folders on the way down
    try:
        path.append((base, f"{above}/" if above else "", _sorted(base.names(), native(start))))
        while path:
            folder, at, names = path[-1]
            name = next(names, None)
            if name is None:
                path.pop()[0].close()
            elif name.endswith("/"):
                if not at and name[:-1] == PARTIAL_FOLDER:
                    continue
                key = at + exact(name[:-1])
                with translated(host, key):
                    try:
                        below = folder.child(name[:-1])
                    except FileNotFoundError:  # gone since its name was read: it is not there
                        continue
                    path.append((below, f"{key}/", iter(())))  # from here on it is closed whatever happens
                    found = below.names()
                if found:
                    path[-1] = (below, f"{key}/", _sorted(found))
                else:
                    path.pop()[0].close()
                    yield describe(folder, name[:-1], key)
            else:
                key = at + exact(name)
                try:
                    status = folder.lstat(name)
                except FileNotFoundError:
                    continue
                first = None
                if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
                    first = _first_name(first_names, status, key)
                yield _entry(folder, name, key, status, first)
    finally:
        for folder, _, _ in path:
            folder.close()


_REFUSALS = (OSError, OverflowError, ValueError)
"""The latter two: a number that no system has, a name with a zero in it; entries may come from anybody's archive."""


def dress(thing: int | str, entry: Entry, *, owner: bool) -> None:
    """Put mode, times, extended attributes and (if asked) the owner of the entry on an open file, or on a path.

    What the file system refuses is left as it is: the entry that `put` returns shows the difference, which is the loss.
    """
    posix = entry.posix or Posix()
    if sys.platform != "win32":
        if hasattr(os, "setxattr"):
            for attribute, value in posix.xattrs.items():  # before the mode, which may forbid writing
                with suppress(*_REFUSALS):
                    os.setxattr(thing, attribute, value)
        if owner and posix.uid is not None and posix.gid is not None:
            with suppress(*_REFUSALS):
                os.chown(thing, posix.uid, posix.gid)
        if posix.mode is not None:
            with suppress(*_REFUSALS):
                status = os.stat(thing)  # noqa: PTH116 - an open file is no Path
                os.chmod(thing, _safe_mode(posix, status))  # noqa: PTH101 - the same
    when = time_ns(entry)
    if when is not None:
        with suppress(*_REFUSALS):
            os.utime(thing, ns=(when, when))


def dress_link(folder: Folder, name: str, entry: Entry, *, owner: bool) -> None:
    """The same for a link, which has no mode of its own."""
    posix = entry.posix or Posix()
    if owner and posix.uid is not None and posix.gid is not None:
        with suppress(*_REFUSALS):
            os.chown(folder.at(name), posix.uid, posix.gid, dir_fd=folder.handle, follow_symlinks=False)
    when = time_ns(entry)
    if when is not None:
        with suppress(*_REFUSALS):
            os.utime(folder.at(name), ns=(when, when), dir_fd=folder.handle, follow_symlinks=False)


def time_ns(entry: Entry) -> int | None:
    """The modification time, as exact as the entry knows it."""
    if entry.posix is not None and entry.posix.mtime_ns is not None:
        return entry.posix.mtime_ns
    return None if entry.modified is None else (entry.modified - _EPOCH) // _MICROSECOND * 1000


def _entry(folder: Folder, name: str, key: str, status: os.stat_result, hardlink_to: str | None) -> Entry:
    kind: Kind
    special: Mapping[str, str] = {}
    target = None
    if stat.S_ISREG(status.st_mode):
        kind = "object"
    elif stat.S_ISDIR(status.st_mode):
        kind = "directory"
    elif stat.S_ISLNK(status.st_mode):
        kind = "link"
        target = exact(os.readlink(folder.at(name), dir_fd=folder.handle))
    else:
        kind = "other"
        special = {"special": _SPECIAL.get(stat.S_IFMT(status.st_mode), "unknown")}
    try:
        modified = _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
    except OverflowError:  # a broken clock wrote a year that has no date; mtime_ns tells
        modified = None
    return Entry(
        key=key,
        size=status.st_size if kind == "object" else None,
        modified=modified,
        kind=kind,
        host=special,
        posix=_posix(folder, name, kind, status, target, hardlink_to),
    )


def _posix(
    folder: Folder, name: str, kind: Kind, status: os.stat_result, target: str | None, hardlink_to: str | None
) -> Posix:
    if sys.platform == "win32":  # mode and owner are made up there
        return Posix(mtime_ns=status.st_mtime_ns, target=target, hardlink_to=hardlink_to)
    return Posix(
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        user=_user(status.st_uid),
        group=_group(status.st_gid),
        mtime_ns=status.st_mtime_ns,
        xattrs=_xattrs(folder.full(name)) if _LISTS_XATTRS and kind in {"object", "directory"} else {},
        target=target,
        hardlink_to=hardlink_to,
        sparse=kind == "object" and status.st_blocks * 512 < status.st_size,
    )


def _xattrs(path: str) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:  # the file system has none, or the file just went away, which opening it will tell
        return {}
    found = {}
    for name in names:
        if name.startswith("user.") or name in _ACLS:
            with suppress(OSError):  # who may not read an attribute may not read the bytes either, which is not silent
                found[name] = os.getxattr(path, name, follow_symlinks=False)
    return found


def _sorted(names: list[str], start: str = "") -> Iterator[str]:
    kept = [name for name in names if name.startswith(start)] if start else names
    kept.sort(key=os.fsencode)  # with the slash after folders' names this is the order of the keys below them too
    return iter(kept)


def _first_name(first_names: dict[tuple[int, int], tuple[str, int]], status: os.stat_result, key: str) -> str | None:
    identity = (status.st_dev, status.st_ino)
    first, left = first_names.pop(identity, (None, status.st_nlink))
    if left > 1:
        first_names[identity] = (first or key, left - 1)
    return first


def _safe_mode(posix: Posix, status: os.stat_result) -> int:
    """A set-id bit must not lend the rights of another owner than it did at the source."""
    mode = posix.mode or 0
    if posix.uid != status.st_uid:
        mode &= ~stat.S_ISUID
    if posix.gid != status.st_gid:
        mode &= ~stat.S_ISGID
    return mode


@cache
def _user(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


@cache
def _group(gid: int) -> str | None:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None

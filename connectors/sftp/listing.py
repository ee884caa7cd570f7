"""Walking a remote tree: several folders at once, links read but never followed."""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from connectors.entry import Entry, Kind, Posix
from connectors.keys import PARTIAL_FOLDER, key_bytes, key_text
from connectors.sftp import wire as sftp
from connectors.sftp.problems import translated
from connectors.sftp.wire import Attributes, ProtocolError, Wire

_FOLDERS = 8
_AHEAD = 3
"""READDIR requests in flight for one folder: a folder of 100,000 names is a thousand round trips."""
_SPECIAL = {stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def describe(key: str, found: Attributes, target: str | None = None) -> Entry:
    """The entry for what the server says of a key. Times are whole seconds: version 3 knows no others."""
    kind: Kind = "object"
    host: dict[str, Any] = {}
    if found.mode is not None:
        form = stat.S_IFMT(found.mode)
        if form == stat.S_IFDIR:
            kind = "directory"
        elif form == stat.S_IFLNK:
            kind = "link"
        elif form not in {stat.S_IFREG, 0}:
            kind, host = "other", {"special": _SPECIAL.get(form, "unknown")}
    return Entry(
        key=key,
        kind=kind,
        size=found.size if kind == "object" else None,
        modified=None if found.mtime is None else datetime.fromtimestamp(found.mtime, UTC),
        host=host,
        posix=Posix(
            mode=None if found.mode is None else stat.S_IMODE(found.mode),
            uid=found.uid,
            gid=found.gid,
            mtime_ns=None if found.mtime is None else found.mtime * 10**9,
            target=target,
        ),
    )


@dataclass
class _Folder:
    key: bytes  # with its trailing slash; b"" is the root
    found: Attributes | None  # None: where the walk begins, which is nobody's entry
    opening: int
    handle: bytes = b""
    asked: deque[int] = field(default_factory=deque)
    empty: bool = True
    done: bool = False


def walk(wire: Wire, host: str, path: Callable[[bytes], bytes], start: str, prefix: str) -> Iterator[Entry]:
    """Every file, link and empty folder under the folder `start` ("" or "a/b/") whose key begins with `prefix`."""
    wanted = key_bytes(prefix)
    waiting: list[tuple[bytes, Attributes | None]] = [(key_bytes(start), None)]
    active: deque[_Folder] = deque()
    try:
        while waiting or active:
            while waiting and len(active) < _FOLDERS:
                key, found = waiting.pop()
                with translated(host, key_text(key)):
                    opening = wire.submit(sftp.OPENDIR, sftp.text(path(key.rstrip(b"/"))))
                active.append(_Folder(key, found, opening))
            folder = active[0]
            with translated(host, key_text(folder.key) or None):
                entries = list(_step(wire, folder, path, wanted, waiting))
            active.popleft()
            if not folder.done:
                active.append(folder)
            elif folder.empty and folder.found is not None and folder.key[:-1].startswith(wanted):
                entries.append(describe(key_text(folder.key[:-1]), folder.found))
            yield from entries
    finally:
        for folder in active:  # left behind by a reader who has seen enough, or by an error
            _abandon(wire, folder)


def _step(
    wire: Wire,
    folder: _Folder,
    path: Callable[[bytes], bytes],
    wanted: bytes,
    waiting: list[tuple[bytes, Attributes | None]],
) -> Iterator[Entry]:
    """Take one reply of a folder; its sub-folders are added to `waiting`."""
    if not folder.handle:
        folder.handle = sftp.text(wire.handle(folder.opening))
        folder.asked.append(wire.submit(sftp.READDIR, folder.handle))
        return
    names = wire.names(folder.asked.popleft())
    if names is None:
        folder.done = True
        _abandon(wire, folder)
        return
    while len(folder.asked) < _AHEAD:
        folder.asked.append(wire.submit(sftp.READDIR, folder.handle))
    links: list[tuple[bytes, Attributes, int]] = []
    for key, found in _complete(wire, folder, path, names):
        form = stat.S_IFMT(found.mode or 0)
        if form == stat.S_IFDIR:
            inner = key + b"/"
            if inner.startswith(wanted) or wanted.startswith(inner):
                waiting.append((inner, found))
        elif key.startswith(wanted):
            if form == stat.S_IFLNK:
                links.append((key, found, wire.submit(sftp.READLINK, sftp.text(path(key)))))
            else:
                yield describe(key_text(key), found)
    for key, found, number in links:
        yield describe(key_text(key), found, link_target(wire, number))


def _complete(
    wire: Wire, folder: _Folder, path: Callable[[bytes], bytes], names: list[tuple[bytes, Attributes]]
) -> Iterator[tuple[bytes, Attributes]]:
    """The keys of a reply; where the server leaves the attributes out it is asked for them."""
    bare: list[tuple[bytes, int]] = []
    for name, found in names:
        if name in {b".", b".."} or (not folder.key and name == PARTIAL_FOLDER.encode()):
            continue
        if not name or b"/" in name or b"\0" in name:
            raise ProtocolError("a folder holds a name that cannot be one")
        folder.empty = False
        key = folder.key + name
        if found.mode is None or found.mtime is None:
            bare.append((key, wire.submit(sftp.LSTAT, sftp.text(path(key)))))
        else:
            yield key, found
    for key, number in bare:
        try:
            yield key, wire.attributes(number)
        except sftp.StatusError as error:
            if error.code != sftp.NO_SUCH_FILE:  # removed since: then it is no longer there to be listed
                raise


def link_target(wire: Wire, number: int) -> str | None:
    """The text of a link; None if the server does not tell it."""
    try:
        names = wire.names(number)
    except sftp.StatusError as error:
        if error.code in {sftp.UNSUPPORTED, sftp.FAILURE, sftp.NO_SUCH_FILE}:
            return None
        raise
    return key_text(names[0][0]) if names else None


def _abandon(wire: Wire, folder: _Folder) -> None:
    wire.forget(*folder.asked)
    folder.asked.clear()
    if folder.handle:
        wire.forget(wire.submit(sftp.CLOSE, folder.handle))
    elif not folder.done:
        wire.forget(folder.opening)

"""What a transport file holds: every member's name and place, checked before anything is done with any of them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from manifests.names import fold
from manifests.paths import is_archive_path, path_bytes
from portability.errors import EvidenceError
from portability.outcome import printable

LONGEST = 4096
"""Bytes of a member's name: what file systems hold; a longer one is an attack on whoever splits it."""

_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a transport may hold; more is refused before anything is written."""

    members: int = 20_000_000
    octets: int = 1 << 50


class Member(NamedTuple):
    """A file in a transport: its path without the top folder, and where its bytes are."""

    path: str
    size: int
    offset: int
    packed: int
    """Bytes in the transport: `size`, unless it is deflated."""
    deflated: bool
    crc: int | None


class Members:
    """The members of one transport, on disk while it is open: a million of them cost no memory. Safe between threads."""

    def __init__(self, file: Path, limits: Limits) -> None:
        self.file = file
        self.top = ""
        self.octets = 0
        self._limits = limits
        self._count = 0
        self._folders: list[str] = []
        self._lock = threading.Lock()
        self._scratch = sqlite3.connect("", check_same_thread=False)  # a temporary file that goes with the connection
        self._scratch.executescript(
            "PRAGMA cache_size = -16384;"
            "CREATE TABLE names (fold TEXT PRIMARY KEY, path TEXT, folder INTEGER) WITHOUT ROWID;"
            "CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER, offset INTEGER, packed INTEGER, deflated INTEGER,"
            " crc INTEGER, start INTEGER) WITHOUT ROWID;"
        )

    def folder(self, name: str) -> None:
        """A folder, which may also be there by its files alone."""
        self._check(name)
        self._claim_folders(name.split("/"))

    def add(
        self,
        name: str,
        *,
        size: int,
        offset: int,
        start: int,
        packed: int | None = None,
        deflated: bool = False,
        crc: int | None = None,
    ) -> None:
        """A file, whose header stands at `start` and whose bytes stand at `offset`; EvidenceError if it cannot be taken."""
        self._check(name)
        self.octets += size
        if self.octets > self._limits.octets:
            self.refuse(name, f"with it the transport announces more than {self._limits.octets} bytes")
        folders = name.split("/")[:-1]
        if not folders:
            self.refuse(name, "it stands beside the one folder that a transport holds")
        self._claim_folders(folders)
        self._claim(name, folder=False)
        path = name.partition("/")[2]
        row = (path, size, offset, size if packed is None else packed, deflated, crc, start)
        self._scratch.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def settle(self, end: int) -> None:
        """All members are known: none of them may lie over another, or past `end`."""
        if not self.top:
            raise EvidenceError(f"{self.file.name} holds nothing", hint="fetch it again: it may be cut")
        last, before = 0, ""
        for path, start, stop in self._scratch.execute("SELECT path, start, offset + packed FROM files ORDER BY start"):
            if start < last:
                self.refuse(path, f"its bytes are also those of {printable(before)}")
            last, before = stop, path
        if last > end:
            self.refuse(before, "it announces more bytes than there are")

    def refuse(self, name: str, reason: str) -> NoReturn:
        """This transport is not touched any further."""
        raise EvidenceError(
            f"{self.file.name}: {printable(name[:300])}: {reason}",
            hint="do not unpack it with anything else: it is damaged or made to do harm; fetch it again from its maker",
        )

    def __iter__(self) -> Iterator[Member]:
        """The files, in the order of the bytes of their paths."""
        last = ""
        while rows := self._rows("path > ? ORDER BY path LIMIT ?", last, _PAGE):
            for row in rows:
                yield Member(row[0], row[1], row[2], row[3], bool(row[4]), row[5])
            last = rows[-1][0]

    def find(self, path: str) -> Member:
        """The file with this path; FileNotFoundError."""
        rows = self._rows("path = ?", path) if is_archive_path(path) else []
        if not rows:
            raise FileNotFoundError(2, "not in the transport", path)
        row = rows[0]
        return Member(row[0], row[1], row[2], row[3], bool(row[4]), row[5])

    def close(self) -> None:
        self._scratch.close()

    def _rows(self, condition: str, *values: str | int) -> list[tuple[str, int, int, int, int, int | None]]:
        with self._lock:
            query = f"SELECT path, size, offset, packed, deflated, crc FROM files WHERE {condition}"  # noqa: S608 - the conditions stand above
            return self._scratch.execute(query, values).fetchall()

    def _check(self, name: str) -> None:
        self._count += 1
        if self._count > self._limits.members:
            self.refuse(name, f"the transport has more than {self._limits.members} members")
        if len(name) > LONGEST or len(path_bytes(name)) > LONGEST:
            self.refuse(name, f"the name has more than {LONGEST} bytes")
        if not is_archive_path(name):
            self.refuse(name, "the name leads elsewhere, or is not one that every system holds")
        top = name.partition("/")[0]
        self.top = self.top or top
        if top != self.top:
            self.refuse(name, f"it stands beside {printable(self.top)}, the one folder that a transport holds")

    def _claim_folders(self, folders: list[str]) -> None:
        same = 0
        for one, other in zip(folders, self._folders, strict=False):
            if one != other:
                break
            same += 1
        for depth in range(same + 1, len(folders) + 1):
            self._claim("/".join(folders[:depth]), folder=True)
        self._folders = folders

    def _claim(self, name: str, *, folder: bool) -> None:
        folded = fold(name)
        new = self._scratch.execute("INSERT OR IGNORE INTO names VALUES (?, ?, ?)", (folded, name, folder))
        if new.rowcount:
            return
        (other, was_folder), *_ = self._scratch.execute("SELECT path, folder FROM names WHERE fold = ?", (folded,))
        if other != name:
            self.refuse(name, f"some systems take it for {printable(other)}")
        if not (folder and was_folder):
            self.refuse(name, "the name is there twice")

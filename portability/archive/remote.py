"""An archive at any host as the verifier's tree of files."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from connectors import ConnectorError, Entry, Location, NotFoundError, Stream
from connectors.keys import key_bytes, key_text
from portability.archive.verifier_tree import Node, NotAFileError
from portability.links import link

_KINDS = {"object": "file", "link": "link"}


class Raw(io.RawIOBase):
    """A connector's stream as a file object; its errors as OSError, which is what the verifier understands."""

    def __init__(self, body: Stream) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._body.read(len(buffer))
        except ConnectorError as error:
            raise OSError(str(error)) from error
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()


class ConnectorTree:
    """A prefix of a host. What it lists is kept on disk, because hosts list in no promised order and the verifier wants one."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._listed = sqlite3.connect("", check_same_thread=False)
        self._listed.execute("CREATE TABLE listed (path BLOB PRIMARY KEY, kind TEXT, size INTEGER) WITHOUT ROWID")
        self._complete = False

    def walk(self) -> Iterator[Node]:
        """NotFoundError and the connector's other errors pass: a place that cannot be listed is not an empty one."""
        if not self._complete:
            rows = (
                (key_bytes(entry.key), _KINDS.get(entry.kind, "special"), entry.size)
                for entry in link(self._location).list()
                if entry.kind != "directory"
            )
            self._listed.executemany("INSERT INTO listed VALUES (?, ?, ?)", rows)
            self._complete = True
        last = b""
        while rows_ := self._listed.execute(
            "SELECT path, kind, size FROM listed WHERE path > ? ORDER BY path LIMIT 1000", (last,)
        ).fetchall():
            for path, kind, size in rows_:
                yield Node(key_text(path), kind, size)
            last = rows_[-1][0]

    def open(self, path: str) -> BinaryIO:
        host = link(self._location)  # of this thread: the verifier opens from several, a connector serves one
        try:
            entry: Entry = host.stat(path)
            if entry.kind != "object":
                raise NotAFileError(path)
            return cast("BinaryIO", io.BufferedReader(Raw(host.open(entry)), 1 << 20))
        except NotFoundError as error:
            raise FileNotFoundError(path) from error
        except ConnectorError as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        self._listed.close()

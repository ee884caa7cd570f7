"""A folder of an SFTP server and the one conversation in which an instance speaks of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

from connectors.entry import Entry
from connectors.errors import ConnectorError
from connectors.keys import check_file_path
from connectors.location import Location
from connectors.protocols import Capabilities
from connectors.sftp import options
from connectors.sftp import wire as sftp
from connectors.sftp.opening import converse
from connectors.sftp.problems import BROKEN, translated
from connectors.sftp.remote import Remote
from connectors.sftp.wire import StatusError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Place:
    """What the source and the destination have in common."""

    def __init__(self, location: Location, remote: Remote) -> None:
        self._location = location
        self._host = location.url
        self._connections = options.connections(location)
        self._keeps_owner = location.option("owner") == "keep"
        self._remote: Remote | None = remote
        self._on_file_system = remote.on_file_system
        self._left_partials = False
        self._strays: list[str] = []
        """Partial files that a broken conversation left behind."""

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
        if self._remote is not None or self._strays:
            with contextlib.suppress(ConnectorError), self._at(None) as remote:
                if self._left_partials:
                    remote.remove_partial_folder()
            self._discard()

    @contextlib.contextmanager
    def _at(self, key: str | None, remote: Remote | None = None) -> Iterator[Remote]:
        """The conversation, begun if need be; what goes wrong with it is an error about this key.

        What has a handle names the conversation to which the handle belongs. A broken one is dropped, and the next call
        begins another.
        """
        with translated(self._host, key):
            used = remote or self._remote
            if used is None:
                used = self._remote = open_remote(self._location)
                strays, self._strays = self._strays, []
                used.wire.forget(*(used.ask(sftp.REMOVE, used.partial(name)) for name in strays))
            try:
                yield used
            except BROKEN:
                if used is self._remote:
                    self._discard()
                raise

    def _give_back(self, remote: Remote, opening: int | bytes, partial: str | None = None) -> None:
        """Close a file that is no longer wanted, and remove it if it is a partial: now, or when there is a conversation."""
        if remote is self._remote:
            with contextlib.suppress(ConnectorError, StatusError), self._at(None) as remote:
                handle = remote.wire.handle(opening) if isinstance(opening, int) else opening
                remote.wire.forget(remote.ask(sftp.CLOSE, handle))
                if partial:
                    remote.do(sftp.REMOVE, remote.partial(partial))
        if partial and remote is not self._remote:
            self._strays.append(partial)

    def _discard(self) -> None:
        remote, self._remote = self._remote, None
        if remote is not None:
            remote.wire.close()


def open_remote(location: Location) -> Remote:
    """A conversation of its own, at the root."""
    with translated(location.url):
        wire = converse(location)
        try:
            return Remote(wire, location.url, location.path)
        except BaseException:
            wire.close()
            raise


def seconds_of(entry: Entry) -> int | None:
    """The modification time in whole seconds: version 3 knows no others."""
    if entry.posix is not None and entry.posix.mtime_ns is not None:
        return entry.posix.mtime_ns // 10**9
    return None if entry.modified is None else int((entry.modified - _EPOCH).total_seconds() // 1)

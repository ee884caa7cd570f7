"""A host in this process's memory: the smallest true implementation of the contract, for tests and examples.

It keeps versions when the location says `versions=true`, and every attribute but POSIX ones. Places of one name are one
place; another process sees another memory.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from connectors.entry import Entry
from connectors.errors import (
    AlreadyExistsError,
    ChangedError,
    InvalidKeyError,
    NotFoundError,
    UnsupportedError,
)
from connectors.location import Location
from connectors.protocols import Capabilities, Stream
from connectors.streams import BytesStream, read_exactly

OPTIONS = {"versions": "true: keep old versions and delete markers"}
_KINDS = frozenset({"object", "directory", "link"})


@dataclass
class _Place:
    lock: threading.Lock = field(default_factory=threading.Lock)
    things: dict[str, list[tuple[Entry, bytes]]] = field(default_factory=dict)  # oldest first
    count: int = 0


_places: dict[str, _Place] = {}


def connect(location: Location) -> Memory:
    location.check_options(OPTIONS)
    return Memory(location)


class Memory:
    """See the module."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._place = _places.setdefault(f"{location.host}/{location.path}", _Place())
        self._versioned = location.option("versions") == "true"

    @property
    def uri(self) -> str:
        return self._location.url

    @property
    def capabilities(self) -> Capabilities:
        kept = {"modified", "media_type", "headers", "metadata", "tags", "posix", "directory", "link"}
        return Capabilities(
            preserves=frozenset(kept | {"versions"} if self._versioned else kept),
            digests=frozenset({"md5"}),
            ranged=True,
            case_sensitive=True,
            connections=4,
        )

    def stat(self, key: str) -> Entry:
        with self._place.lock:
            return self._latest(key)[0]

    def close(self) -> None:
        pass

    def list(self, prefix: str = "") -> Iterator[Entry]:
        with self._place.lock:
            newest = [kept[-1][0] for key, kept in self._place.things.items() if key.startswith(prefix)]
        yield from (entry for entry in newest if entry.kind != "delete_marker")

    def list_versions(self, prefix: str = "") -> Iterator[Entry]:
        with self._place.lock:
            every = [list(reversed(kept)) for key, kept in self._place.things.items() if key.startswith(prefix)]
        for kept in every:
            for index, (entry, _) in enumerate(kept):
                yield replace(entry, latest=index == 0)

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        with self._place.lock:
            kept = self._place.things.get(entry.key, [])
            if not kept:
                raise NotFoundError("no such object", host=self.uri, key=entry.key)
            for found, data in kept if self._versioned else kept[-1:]:
                if entry.version in {None, found.version} and (entry.version or found is kept[-1][0]):
                    if entry.size is not None and entry.size > len(data):
                        raise ChangedError(f"there are only {len(data)} bytes", host=self.uri, key=entry.key)
                    return BytesStream(data[start:stop])
        raise ChangedError("the object was replaced since it was listed", host=self.uri, key=entry.key)

    def preflight(self, entry: Entry) -> None:
        if not entry.key:
            raise InvalidKeyError("the key is empty", host=self.uri, key=entry.key)
        if entry.kind not in _KINDS:
            raise UnsupportedError(f"a {entry.kind} cannot be put", host=self.uri, key=entry.key)

    def put(self, entry: Entry, body: Stream, *, replace: bool = False) -> Entry:
        self.preflight(entry)
        data = read_exactly(body, entry, self.uri)
        with self._place.lock:
            kept = self._place.things.get(entry.key)
            if kept and kept[-1][0].kind != "delete_marker" and not replace:
                raise AlreadyExistsError("an object is there already", host=self.uri, key=entry.key)
            return self._store(entry, data)

    def put_version(self, entry: Entry, body: Stream) -> Entry:
        self._only_versioned(entry)
        self.preflight(entry)
        data = read_exactly(body, entry, self.uri)
        with self._place.lock:
            return self._store(entry, data)

    def put_marker(self, entry: Entry) -> Entry:
        self._only_versioned(entry)
        with self._place.lock:
            return self._store(Entry(key=entry.key, kind="delete_marker"), b"")

    def delete(self, key: str) -> None:
        with self._place.lock:
            self._latest(key)
            if self._versioned:
                self._store(Entry(key=key, kind="delete_marker"), b"")
            else:
                del self._place.things[key]

    def _latest(self, key: str) -> tuple[Entry, bytes]:
        kept = self._place.things.get(key)
        if not kept or kept[-1][0].kind == "delete_marker":
            raise NotFoundError("no such object", host=self.uri, key=key)
        return kept[-1]

    def _only_versioned(self, entry: Entry) -> None:
        if not self._versioned:
            raise UnsupportedError("this place keeps no versions", host=self.uri, key=entry.key)

    def _store(self, entry: Entry, data: bytes) -> Entry:
        self._place.count += 1
        stored = replace(
            entry,
            size=len(data) if entry.kind == "object" else None,
            modified=entry.modified or datetime.now(UTC),
            version=f"m{self._place.count}",
            latest=True,
            digests={"md5": hashlib.md5(data, usedforsecurity=False).hexdigest()} if entry.kind == "object" else {},
            storage_class=None,
            host={},
            locator=None,
        )
        kept = self._place.things.setdefault(entry.key, [])
        if not self._versioned:
            kept.clear()
        kept.append((stored, data))
        return stored


def drop(name: str) -> None:
    """Forget a place and all it holds."""
    _places.pop(name, None)

"""An archive as a place: written as a destination whose files have names of its choosing, read as a source of its lines.

The scheme is `archive+` and the scheme of the host that holds the archive. Workers open both sides like any other place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from connectors import (
    Capabilities,
    CorruptedError,
    Entry,
    Location,
    Multipart,
    NotFoundError,
    Posix,
    Preparer,
    Space,
    Stream,
    connect,
)
from connectors.keys import key_bytes
from connectors.protocols import ATTRIBUTES
from manifests.errors import ManifestError
from manifests.manifest import ManifestReader
from manifests.names import VERSIONS, Names, naming
from manifests.receipt import Receipt
from portability.archive import encryption
from portability.layout import Naming, Slot
from portability.receipts import entry_of

PREFIX = "archive+"
WRITE_OPTIONS = {
    "archive-id": "External-Identifier of the archive being written (urn:uuid:…)",
    "archive-names": "utf8 or ascii",
    "archive-path-limit": "120 to 240",
    "archive-recipients": "age recipients, separated by commas",
    "archive-delta-from": "url of the full archive that holds what did not change",
    "archive-delta-id": "id of that archive",
}
READ_OPTIONS = {
    "archive-identity": "path of a file with age identities",
    "archive-base": "url of the full archive that a delta refers to",
}
MANIFEST = "metadata/manifest.jsonl"
SETTINGS = "metadata/source.json"
_LARGEST_SETTINGS = 16 << 20
PRIVATE = Posix(mode=0o600)
"""What every file of an archive is asked to be, where files have modes."""


def outer(inner: Location, **options: str) -> Location:
    """The archive at this place; `options` without their prefix: names="ascii"."""
    extra = {f"archive-{name.replace('_', '-')}": value for name, value in options.items() if value}
    return replace(inner, scheme=PREFIX + inner.scheme, options={**inner.options, **extra})


def inner(location: Location) -> Location:
    """The place that holds the archive."""
    kept = {name: value for name, value in location.options.items() if not name.startswith("archive-")}
    return replace(location, scheme=location.scheme.removeprefix(PREFIX), options=kept)


def open_place(location: Location) -> Any:
    """The entry point of the schemes `archive+…`: for writing when the location has an identifier, else for reading."""
    host = connect(inner(location))
    if location.option("archive-id"):
        with_parts = isinstance(host, Multipart) and not location.option("archive-recipients")
        return _WriterWithParts(location, host) if with_parts else ArchiveWriter(location, host)
    return ArchiveReader(location, host)


class ArchiveWriter:
    """The payload of an archive under way. Its own description of attributes is what it was asked: the lines hold them."""

    def __init__(self, location: Location, host: Any) -> None:
        self._location, self._host = location, host
        self._recipients = tuple(filter(None, location.option("archive-recipients").split(",")))

    @property
    def uri(self) -> str:
        return self._location.url

    @property
    def capabilities(self) -> Capabilities:
        kept: Capabilities = self._host.capabilities
        # Names of the layout never collide, whatever the host folds; what the host preserves does not matter.
        return replace(
            kept, preserves=ATTRIBUTES - {"versions"}, digests=frozenset(), case_sensitive=True, hierarchical=False
        )

    @contextmanager
    def naming(self) -> Iterator[Naming]:
        """Slots for the things of one archive, in line order (section 4; section 8 for encrypted ones)."""
        if self._recipients:
            yield _Numbered()
            return
        mode: Any = self._location.option("archive-names", "utf8")
        with naming(mode, int(self._location.option("archive-path-limit", "240"))) as names, self._earlier() as earlier:
            yield _Named(names, earlier)

    @contextmanager
    def _earlier(self) -> Iterator[Callable[[str, int | None], Mapping[str, str] | None]]:
        """What says where the full archive holds a thing's bytes."""
        url = self._location.option("archive-delta-from")
        if not url:
            yield lambda key, order: None
            return
        base = connect(Location.parse(url, credentials=self._location.credentials))
        reader = ArchiveReader(outer(Location.parse(url, credentials=self._location.credentials)), base)
        try:
            with reader.manifest() as stream:
                yield _Earlier(self._location.option("archive-delta-id") or "", ManifestReader(stream)).find
        finally:
            reader.close()

    def stat(self, key: str) -> Entry:
        return self._told(self._host.stat(key))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """What lies in data/, whoever put it there."""
        try:
            for entry in self._host.list("data/"):
                if entry.key.startswith(prefix):
                    yield entry
        except NotFoundError:
            if not isinstance(self._host, Preparer):
                raise

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        body: Stream = self._host.open(entry, start, stop)
        return body

    def preflight(self, entry: Entry) -> None:
        self._host.preflight(Entry(key=entry.key, size=entry.size))

    def put(self, entry: Entry, body: Stream, *, replace: bool = False) -> Entry:
        if not self._recipients:
            stored = self._host.put(_bare(entry), body, replace=replace)
            return self._as_asked(entry, stored.size)
        with encryption.encrypted(body, self._recipients) as sealed:
            # Two ciphertexts of one plaintext differ: what a killed run left there is written again.
            self._host.put(Entry(key=entry.key, posix=PRIVATE), sealed, replace=True)
        return self._as_asked(entry, sealed.plain_count, {"size": sealed.count, "sha256": sealed.sha256})

    def prepare(self, keep: Collection[str] = ()) -> None:
        if isinstance(self._host, Preparer):
            self._host.prepare(keep)

    def free(self) -> int | None:
        return self._host.free() if isinstance(self._host, Space) else None

    def close(self) -> None:
        self._host.close()

    @staticmethod
    def _told(stored: Entry) -> Entry:
        return Entry(key=stored.key, size=stored.size, kind=stored.kind)

    @staticmethod
    def _as_asked(entry: Entry, size: int | None, stored: dict[str, Any] | None = None) -> Entry:
        host = {**entry.host, "stored": stored} if stored else entry.host
        return replace(entry, size=size, host=host)


class _WriterWithParts(ArchiveWriter):
    """The same at a host that takes large objects in parts."""

    def part_size(self, size: int) -> int:
        return int(self._host.part_size(size))

    def begin(self, entry: Entry) -> str:
        return str(self._host.begin(_bare(entry)))

    def put_part(self, entry: Entry, token: str, number: int, body: Stream, size: int) -> str:
        return str(self._host.put_part(_bare(entry), token, number, body, size))

    def finish(self, entry: Entry, token: str, parts: Any, *, replace: bool = False) -> Entry:
        stored = self._host.finish(_bare(entry), token, parts, replace=replace)
        return self._as_asked(entry, stored.size)

    def abort(self, entry: Entry, token: str) -> None:
        self._host.abort(_bare(entry), token)


def _bare(entry: Entry) -> Entry:
    return Entry(key=entry.key, size=entry.size, modified=entry.modified, posix=PRIVATE)


class _Named:
    def __init__(self, names: Names, earlier: Callable[[str, int | None], Mapping[str, str] | None]) -> None:
        self._names, self._earlier = names, earlier

    def slot(self, key: str, *, order: int | None, latest: bool) -> Slot:
        there = self._earlier(key, order)
        if latest:
            return Slot(path=self._names.path(key), stored_in=there)
        return Slot(by_content=VERSIONS.rstrip("/"), stored_in=there)


class _Earlier:
    """The lines of a full archive beside things that are asked for in the same order: nothing is held in memory."""

    def __init__(self, archive: str, lines: Iterable[Receipt]) -> None:
        self._archive, self._lines = archive, iter(lines)
        self._line = next(self._lines, None)

    def find(self, key: str, order: int | None) -> Mapping[str, str] | None:
        wanted = _place_of(key, order)
        while self._line is not None and _place_of(self._line.key, self._line.order) < wanted:
            self._line = next(self._lines, None)
        line = self._line
        if line is None or _place_of(line.key, line.order) != wanted or line.kind != "object" or line.path is None:
            return None
        return {"archive": self._archive, "path": line.path, "sha256": line.sha256 or ""}


def _place_of(key: str, order: int | None) -> tuple[bytes, int]:
    return key_bytes(key), -1 if order is None else order


class _Numbered:
    """Opaque paths for ciphertexts, in line order."""

    def __init__(self) -> None:
        self._count = 0

    def slot(self, key: str, *, order: int | None, latest: bool) -> Slot:
        self._count += 1
        digits = f"{self._count:08d}"
        return Slot(path=f"data/objects/{digits[:5]}/{digits}.age")


class ArchiveReader:
    """The things of a closed archive, as its manifest's lines tell them; the bytes from its payload files."""

    def __init__(self, location: Location, host: Any) -> None:
        self._location, self._host = location, host
        self._identity = location.option("archive-identity")
        self._base: Any = None

    @property
    def uri(self) -> str:
        return self._location.url

    @property
    def capabilities(self) -> Capabilities:
        kept: Capabilities = self._host.capabilities
        return replace(
            kept,
            preserves=ATTRIBUTES,
            digests=frozenset(
                {"sha256"}
            ),  # every byte read through the engine is held against it before it is published
            ranged=kept.ranged and not self._identity,
            case_sensitive=True,
            hierarchical=False,
        )

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for entry in self._entries():
            if entry.latest and entry.kind != "delete_marker" and entry.key.startswith(prefix):
                yield entry

    def list_versions(self, prefix: str = "") -> Iterator[Entry]:
        """Every line; those of one key newest first."""
        history: list[Entry] = []
        for entry in self._entries():
            if history and entry.key != history[0].key:
                yield from reversed(history)
                history = []
            if entry.key.startswith(prefix):
                history.append(entry)
        yield from reversed(history)

    def stat(self, key: str) -> Entry:
        for entry in self.list():
            if entry.key == key:
                return entry
        raise NotFoundError("the archive has no such thing", host=self.uri, key=key)

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        if entry.locator is None:
            raise NotFoundError("the archive holds no bytes of this thing", host=self.uri, key=entry.key)
        where, _, rest = entry.locator.partition(":")
        size, _, path = rest.partition(":")
        host = self._host if where == "own" else self._base_host(where, entry.key)
        body: Stream = host.open(Entry(key=path, size=int(size)), start, stop)
        if not self._identity:
            return body
        return encryption.decrypted(body, self._identity, host=self.uri, key=entry.key)

    def close(self) -> None:
        self._host.close()
        if self._base is not None:
            self._base.close()

    def _base_host(self, archive: str, key: str) -> Any:
        base = self._location.option("archive-base")
        if not base:
            raise NotFoundError(
                f"its bytes are in the full archive {archive}; name it with --base", host=self.uri, key=key
            )
        if self._base is None:
            self._base = connect(Location.parse(base, credentials=self._location.credentials))
        return self._base

    def _entries(self) -> Iterator[Entry]:
        with self.manifest() as stream:
            try:
                for line in ManifestReader(stream, name=f"{self.uri}/{MANIFEST}"):
                    yield archived(line)
            except ManifestError as error:
                raise CorruptedError(str(error), host=self.uri) from error

    @contextmanager
    def manifest(self) -> Iterator[Any]:
        """The manifest's bytes, decrypted where it is a ciphertext and an identity was given."""
        body = self._clear(MANIFEST)
        if body is None:
            raise NotFoundError(
                "no readable archive there: metadata/manifest.jsonl is missing (encrypted? then name --identity)",
                host=self.uri,
            )
        try:
            yield body
        finally:
            body.close()

    def settings(self) -> dict[str, Any]:
        """What the place that was exported said of its own settings; empty where the archive has no word of them."""
        body = self._clear(SETTINGS)
        if body is None:
            return {}
        pieces = []
        left = _LARGEST_SETTINGS
        try:
            while left > 0 and (piece := body.read(1 << 20)):
                pieces.append(piece)
                left -= len(piece)
        finally:
            body.close()
        if left <= 0:
            raise CorruptedError(f"{SETTINGS} is larger than settings can be", host=self.uri)
        try:
            told = json.loads(b"".join(pieces))
        except (ValueError, RecursionError) as error:
            raise CorruptedError(f"{SETTINGS} is not JSON: {error}", host=self.uri) from error
        return told if isinstance(told, dict) else {}

    def _clear(self, name: str) -> Stream | None:
        """A file of the archive, decrypted where it is a ciphertext; None if there is none that could be read."""
        for stored in (name, f"{name}.age") if self._identity else (name,):
            try:
                body: Stream = self._host.open(self._host.stat(stored))
            except NotFoundError:
                continue
            return body if stored == name else encryption.decrypted(body, self._identity, host=self.uri, key=stored)
        return None


def archived(line: Receipt) -> Entry:
    """A line as the entry of a source: with its digest, and with where its bytes are."""
    entry = entry_of(line)
    if line.kind == "skipped":
        return replace(entry, kind="other", host={**entry.host, "special": line.reason or "other"})
    if line.kind != "object":
        return entry
    size = line.age["size"] if line.age else line.size
    place = f"own:{size}:{line.path}"
    if line.stored_in is not None:
        archive, path = line.stored_in["archive"], line.stored_in["path"]
        place = f"{archive.replace(':', '-')}:{size}:{path}"
    return replace(entry, digests={"sha256": line.sha256 or ""}, locator=place)

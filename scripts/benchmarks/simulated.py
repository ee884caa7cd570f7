"""A simulated host for measuring scale: it makes up its objects, and remembers one byte of each that it was given.

`simulated:///any?count=N` holds N tiny objects; with `state=FILE` it holds those that were put there. What is put must be
the bytes that the same name has everywhere, so that a list of names is all that there is to keep.
"""

from __future__ import annotations

import dataclasses
import mmap
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connectors.entry import Entry
from connectors.errors import AlreadyExistsError, CorruptedError, InvalidKeyError, NotFoundError
from connectors.location import Location
from connectors.protocols import Capabilities, Stream
from connectors.streams import BytesStream, read_exactly

OPTIONS = {"count": "objects there are", "state": "file of a destination, one byte for each object"}
SIZE = 48
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)


class Simulated:
    """See the module."""

    def __init__(self, location: Location) -> None:
        location.check_options(OPTIONS)
        self._location = location
        self._count = int(location.option("count"))
        self._state = Path(location.option("state")) if location.option("state") else None
        self._held: mmap.mmap | None = None
        if self._state is not None:
            with self._state.open("r+b") as file:
                self._held = mmap.mmap(file.fileno(), 0)

    @property
    def uri(self) -> str:
        return self._location.url

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            preserves=frozenset({"modified", "media_type"}),
            digests=frozenset(),
            ranged=True,
            case_sensitive=True,
            connections=1,  # it never waits: more at once would only be more threads
        )

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for number in range(self._count):
            if (self._held is None or self._held[number]) and key_of(number).startswith(prefix):
                yield entry_of(number)

    def stat(self, key: str) -> Entry:
        number = self._number(key)
        if self._held is not None and not self._held[number]:
            raise NotFoundError("no such object", host=self.uri, key=key)
        return entry_of(number)

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        self.stat(entry.key)
        return BytesStream(bytes_of(self._number(entry.key))[start:stop])

    def preflight(self, entry: Entry) -> None:
        self._number(entry.key)

    def put(self, entry: Entry, body: Stream, *, replace: bool = False) -> Entry:
        number = self._number(entry.key)
        data = read_exactly(body, entry, self.uri)
        if data != bytes_of(number):
            raise CorruptedError("not the bytes that this name has", host=self.uri, key=entry.key)
        assert self._held is not None, "the source is only read"
        if self._held[number] and not replace:
            raise AlreadyExistsError("an object is there already", host=self.uri, key=entry.key)
        self._held[number] = 1
        return dataclasses.replace(entry_of(number), modified=entry.modified, media_type=entry.media_type)

    def close(self) -> None:
        if self._held is not None:
            self._held.close()

    def _number(self, key: str) -> int:
        try:
            number = int(key.rpartition("/")[2].removesuffix(".pdf").rpartition("-")[2])
        except ValueError as error:
            raise InvalidKeyError("not a name of this host", host=self.uri, key=key) from error
        if not 0 <= number < self._count or key != key_of(number):
            raise NotFoundError("no such object", host=self.uri, key=key)
        return number


def key_of(number: int) -> str:
    """The name of an object: a hundred to a folder, as a practice has them."""
    return f"patients/p{number // 100:07d}/document-{number:09d}.pdf"


def bytes_of(number: int) -> bytes:
    """The bytes of an object, each another."""
    return (b"%012d" % number) * (SIZE // 12)


def entry_of(number: int) -> Entry:
    """What the host lists."""
    return Entry(
        key=key_of(number),
        size=SIZE,
        modified=_FIRST + timedelta(seconds=number),
        media_type="application/pdf",
        digests={"etag": f'"{number:032x}"'},
        version=None,
    )


def write_tree(folder: Path, count: int) -> None:
    """The same objects as files."""
    for number in range(count):
        path = folder / key_of(number)
        if number % 100 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(bytes_of(number))


def connect(location: Location) -> Simulated:
    """The entry point."""
    return Simulated(location)


def install(folder: Path) -> dict[str, str]:
    """What a package that serves the scheme would leave behind; the environment in which processes find it."""
    told = folder / "simulated_host-1.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: simulated-host\nVersion: 1\n", "utf-8")
    points = [
        f"{scheme}simulated = {target}"
        for scheme, target in (("", f"{__name__}:connect"), ("archive+", "portability.archive.place:open_place"))
    ]
    (told / "entry_points.txt").write_text("\n".join(["[portability.connectors]", *points, ""]), "utf-8")
    found = [str(folder), str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, found))}

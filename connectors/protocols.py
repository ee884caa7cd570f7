"""What a host implements: six required methods, and abilities that only some hosts have. CONTRACT.md says what each promises."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from connectors.entry import Entry
from connectors.errors import ConnectorError

ATTRIBUTES = frozenset(
    {"modified", "media_type", "headers", "metadata", "tags", "versions", "posix", "directory", "link"}
)
"""What a destination may preserve. `directory` and `link`: things of that kind can be put."""


@runtime_checkable
class Stream(Protocol):
    """Bytes, once, in order. `read(-1)` reads to the end; `b""` is the end and is only returned there.

    Fewer bytes than promised raise CorruptedError or UnavailableError, never a short success. A stream may also have
    `readinto(buffer)`, which reads into the beginning of a memoryview and returns how many bytes: see `streams.read_into`.
    """

    def read(self, size: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The few facts about a host that the planner may rely on. What is claimed here is true (clause 14)."""

    preserves: frozenset[str]
    """Subset of ATTRIBUTES. "posix" means mode and mtime at least; the returned entry shows the rest."""
    digests: frozenset[str]
    """Names of digests of its own that the host states and that equal ours: {"md5"}."""
    ranged: bool
    case_sensitive: bool
    connections: int
    """Operations that the host likes at once."""
    most: int | None = None
    """Small operations in bulk that it may be asked at once where the line is long; None: no more than that."""
    hierarchical: bool = False
    """Keys are paths of a tree: an object cannot be the folder of others."""


class Connector(Protocol):
    @property
    def uri(self) -> str:
        """The place, for people and evidence; opens the same place again; never credentials."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    def stat(self, key: str) -> Entry:
        """All that the host knows of the current thing under `key`. NotFoundError if there is none."""
        ...

    def close(self) -> None:
        """May be called twice."""
        ...


class Source(Connector, Protocol):
    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Each current thing once, in no promised order. May leave attributes out that `stat` gives."""
        ...

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        """The bytes [start, stop) of the version in `entry`."""
        ...


class Destination(Connector, Protocol):
    def preflight(self, entry: Entry) -> None:
        """InvalidKeyError or UnsupportedError if `put` would refuse this name, kind or size. Needs no network."""
        ...

    def put(self, entry: Entry, body: Stream, *, replace: bool = False) -> Entry:
        """Store the thing whole or not at all, and return what `stat` would return.

        For kind "directory" and "link" (where `preserves` says so) the body is empty. `modified`, `headers`, `posix` …
        are kept as far as the host can; `version`, `latest`, `digests`, `storage_class` and `host` are not asked for
        (but for "acl", "lock" and "legal_hold" in `host` where an option of the location says so).
        """
        ...


@runtime_checkable
class Versioned(Protocol):
    """A source that keeps old versions."""

    def list_versions(self, prefix: str = "") -> Iterator[Entry]:
        """Every version and delete marker, each with `version` and `latest`; those of one key newest first."""
        ...


@runtime_checkable
class VersionWriter(Protocol):
    """A destination where putting again keeps what was there, and a key can be marked deleted.

    Such a host has "versions" in `capabilities.preserves` (a bucket without versioning has not, though its class is here).
    """

    def put_version(self, entry: Entry, body: Stream) -> Entry:
        """Store the thing as the newest version of its key, whatever is there; the returned entry names the version."""
        ...

    def put_marker(self, entry: Entry) -> Entry:
        """Make a delete marker the newest version of the key."""
        ...


@runtime_checkable
class Describer(Protocol):
    """A source whose listing leaves attributes out."""

    def describe(self, entry: Entry) -> Entry:
        """The listed entry, that very version, with all that the host knows of it. NotFoundError, ChangedError."""
        ...


@runtime_checkable
class Digester(Protocol):
    def digest(self, entry: Entry, name: str) -> str:
        """A digest that the host computes on request: a claim (`reported`). UnsupportedError if it cannot."""
        ...


@runtime_checkable
class Multipart(Protocol):
    """A destination that takes a large object in parts: resumable and parallel.

    Nothing shows the object until `finish` returns. Parts are numbered from 1; each but the last has `part_size` bytes;
    a part sent again replaces the earlier one. Any instance may go on with a token, also after a restart.
    """

    def part_size(self, size: int) -> int:
        """Bytes of each part but the last, for an object of `size` bytes."""
        ...

    def begin(self, entry: Entry) -> str:
        """A token: opaque text without secrets."""
        ...

    def put_part(self, entry: Entry, token: str, number: int, body: Stream, size: int) -> str:
        """Store one part of exactly `size` bytes; the returned text is given back to `finish`."""
        ...

    def finish(self, entry: Entry, token: str, parts: Sequence[str], *, replace: bool = False) -> Entry:
        """Publish the object from its parts, in order; same promises as `put`."""
        ...

    def abort(self, entry: Entry, token: str) -> None:
        """Forget the parts. An unknown token is no error."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRead:
    """A small object that was read whole."""

    entry: Entry
    """What `describe` says of it; for a source that is no Describer, the very entry that was asked for."""
    body: bytes
    """All its bytes: as many as the entry that was asked for promised."""


@runtime_checkable
class BulkSource(Protocol):
    """A source that reads many small objects faster than `describe` and `open` do one by one, with the same results."""

    @property
    def bulk_bytes(self) -> int:
        """The largest object, in bytes, that may be asked for in bulk; 0: none at all."""
        ...

    def read_many(self, entries: Iterable[Entry], width: int) -> Iterator[tuple[int, BulkRead | ConnectorError | None]]:
        """Each entry's number (from 0) once, in no promised order, with what was read.

        An error is what `describe` or `open` would have raised. None: this one is not for the bulk lane, ask in the plain
        way. At most `width` operations are under way at once, and no more bytes are held than a few objects for each.
        `entries` is taken from as there is room. The iterator may be given up at any time.
        """
        ...


@runtime_checkable
class BulkDestination(Protocol):
    """A destination that puts many small objects faster than `put` does one by one, with the same results."""

    @property
    def bulk_bytes(self) -> int:
        """The largest object, in bytes, that may be put in bulk; 0: none at all."""
        ...

    def put_many(
        self, items: Iterable[tuple[Entry, bytes]], width: int
    ) -> Iterator[tuple[int, Entry | ConnectorError | None]]:
        """Each item's number (from 0) once, in no promised order, with what `put` would have returned (never replacing).

        An error is what `put` would have raised. None: nothing was stored by this call, put it in the plain way.
        At most `width` operations are under way at once; `items` is taken from as there is room, and what it raises passes.
        """
        ...


@runtime_checkable
class BulkForeseer(Protocol):
    """A BulkDestination that learns what its host makes of attributes."""

    def put_many_foreseen(
        self, items: Iterable[tuple[Entry, bytes]], width: int
    ) -> Iterator[tuple[int, Entry | ConnectorError | None]]:
        """As `put_many`, for a caller who reads every object back and compares what the host then says of it.

        Where the host has shown what it makes of the very same attributes, it need not be asked once more: the entry may
        be what it would say, without digests and time.
        """
        ...


@runtime_checkable
class Eraser(Protocol):
    def delete(self, key: str) -> None:
        """Remove the current thing; NotFoundError if there is none. On a versioned host this makes a delete marker."""
        ...


@runtime_checkable
class Preparer(Protocol):
    """A destination that can make its own place ready, and tidy it."""

    def prepare(self, keep: Collection[str] = ()) -> None:
        """Create the root if it is missing (for its owner only) and drop partial files, except those of the Multipart tokens in `keep`."""
        ...


@runtime_checkable
class Sequential(Protocol):
    """A source that may fetch a listing at several places at once."""

    def sequential(self) -> Source:
        """The same place, whose listings are fetched page after page, each from where the host says that it goes on."""
        ...


@runtime_checkable
class Configured(Protocol):
    """A host whose places have settings of their own (versioning, lifecycle, policy, …)."""

    def settings(self) -> dict[str, Any]:
        """The settings as the host states them, in plain JSON values."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of a place, as another place may be given it."""

    name: str
    value: Mapping[str, Any] = field(default_factory=dict)
    """As `settings` states it: plain JSON values."""
    first: bool = False
    """It is to be there before the first put; the others once everything was proven."""
    acts: bool = False
    """It removes, moves or locks, by and by, what others keep at the place."""
    refused: str = ""
    """Why this place is not given it; empty: it may be put."""


@runtime_checkable
class Settable(Configured, Protocol):
    """A host whose places can be given settings."""

    def fit_settings(self, recorded: Mapping[str, Any]) -> Sequence[Setting]:
        """What `settings` of another place has recorded, in the order in which it is to be put here. Needs no network.

        Everything that is recorded and is a setting is here, put or refused; the last of a name stands for it.
        """
        ...

    def compare_setting(self, setting: Setting) -> Literal["equal", "free", "other"]:
        """Asked of the host anew: it has this, or nothing that this would replace, or one of its own."""
        ...

    def put_setting(self, setting: Setting) -> None:
        """Ask for it; whether the host has it then, `compare_setting` tells."""
        ...


@runtime_checkable
class Space(Protocol):
    def free(self) -> int | None:
        """Bytes that can still be written, None if the host does not say."""
        ...

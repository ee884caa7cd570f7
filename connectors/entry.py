"""One thing as its host describes it: a claim, in which we computed nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as _quoted
from operator import attrgetter
from typing import Any, Literal

Kind = Literal["object", "directory", "link", "delete_marker", "other"]


def _nothing() -> Any:
    # A plain dict, because a mapping proxy cannot be pickled across an executor.
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Posix:
    """File attributes of a POSIX host. Absent (None) means not known."""

    mode: int | None = None
    """Permission bits with set-id and sticky, without the file type: `0o640`."""
    uid: int | None = None
    gid: int | None = None
    user: str | None = None
    group: str | None = None
    mtime_ns: int | None = None
    """Modification time in nanoseconds since 1970-01-01 UTC."""
    xattrs: Mapping[str, bytes] = field(default_factory=_nothing)
    target: str | None = None
    """Link text, exact (surrogateescape for odd bytes). Never followed."""
    hardlink_to: str | None = None
    """Key of the first name of the same file."""
    sparse: bool = False
    """The file had holes: a destination may punch them again, the bytes are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One object, version, delete marker, directory, link or special file as its host describes it.

    `key` is relative to the place, "/"-separated and exact; bytes that are not UTF-8 are carried by surrogateescape.
    `headers` has the names of archive-format.md 3.4: content_encoding, cache_control, content_disposition,
    content_language, expires. `digests` and `host` are the host's own statements, verbatim.
    """

    key: str
    size: int | None = None
    """Bytes; None: unknown before reading."""
    modified: datetime | None = None
    """Aware."""
    media_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=_nothing)
    metadata: Mapping[str, str] = field(default_factory=_nothing)
    tags: Mapping[str, str] = field(default_factory=_nothing)
    digests: Mapping[str, str] = field(default_factory=_nothing)
    """As stated: {"etag": '"…"', "md5": hex, "sha256": hex, "crc32c": base64, …}."""
    version: str | None = None
    """Opaque; changes when the content does."""
    latest: bool = True
    kind: Kind = "object"
    storage_class: str | None = None
    host: Mapping[str, Any] = field(default_factory=_nothing)
    """Plain JSON values: "acl", "lock", "legal_hold", "redirect", "encryption", "parts", "special" (socket, fifo, device)."""
    posix: Posix | None = None
    locator: str | None = None
    """Where the connector finds the bytes if not under the key; its own business, never evidence."""

    def __post_init__(self) -> None:
        if self.modified is not None and self.modified.tzinfo is None:
            raise ValueError("Entry.modified must be aware")

    def __reduce__(self) -> tuple[Any, ...]:
        # The generated form asks for the list of fields each time: half of what it costs to send a million to workers.
        return filled, _values(self)


_values = attrgetter(*(spec.name for spec in fields(Entry)))
_NAMES = frozenset(spec.name for spec in fields(Entry))
_PLAIN = tuple(spec.name for spec in fields(Entry) if spec.name not in {"key", "modified", "latest", "kind", "posix"})


# A frozen dataclass sets each of its fields through object.__setattr__: five times what this costs. The twin has the same
# fields in the same places, none of them frozen, and its instances become entries when they are filled.
_Open: Any = type("_Open", (), {"__slots__": Entry.__slots__})


def listed(
    key: str,
    size: int | None,
    modified: datetime | None,
    digests: Mapping[str, str],
    storage_class: str | None,
    version: str | None,
    latest: bool,
    kind: Kind,
) -> Entry:
    """`Entry(…)` with what a listing says, for the millions of them. `modified` must be aware, which is not asked again."""
    made = _Open()
    made.key, made.size, made.modified, made.media_type = key, size, modified, None
    made.headers, made.metadata, made.tags, made.digests = {}, {}, {}, digests
    made.version, made.latest, made.kind, made.storage_class = version, latest, kind, storage_class
    made.host, made.posix, made.locator = {}, None, None
    made.__class__ = Entry
    entry: Entry = made
    return entry


def filled(*values: Any) -> Entry:
    """`Entry(…)` of the values of all fields, in their order."""
    return _closed(_opened(values))


def altered(entry: Entry, **changes: Any) -> Entry:
    """`dataclasses.replace(entry, …)` at a fifth of its cost."""
    made = _opened(_values(entry))
    for name, value in changes.items():
        setattr(made, name, value)
    return _closed(made)


def _opened(values: tuple[Any, ...]) -> Any:
    made = _Open()
    (
        made.key, made.size, made.modified, made.media_type, made.headers, made.metadata, made.tags, made.digests,
        made.version, made.latest, made.kind, made.storage_class, made.host, made.posix, made.locator,
    ) = values  # fmt: skip
    return made


def _closed(made: Any) -> Entry:
    if made.modified is not None and made.modified.tzinfo is None:
        raise ValueError("Entry.modified must be aware")
    made.__class__ = Entry
    entry: Entry = made
    return entry


def to_dict(entry: Entry) -> dict[str, Any]:
    """The entry as plain JSON values; what is not known or empty is left out. `from_dict` is the inverse.

    Text that is not valid Unicode keeps its surrogates: write it with `json.dumps(…, ensure_ascii=True)`.
    """
    plain: dict[str, Any] = {"key": entry.key}
    for name, value in zip(_PLAIN, _plain_values(entry), strict=True):
        if value is not None and value != {}:
            plain[name] = dict(value) if isinstance(value, Mapping) else value
    if entry.modified is not None:
        plain["modified"] = entry.modified.astimezone(UTC).isoformat()
    if not entry.latest:
        plain["latest"] = entry.latest
    if entry.kind != "object":
        plain["kind"] = entry.kind
    if entry.posix is not None:
        plain["posix"] = _posix_to_dict(entry.posix)
    return plain


_plain_values = attrgetter(*_PLAIN)


def to_json(entry: Entry) -> str:
    """`json.dumps(to_dict(entry))`, to the letter, at a fifth of the cost."""
    text = [f'{{"key": {_quoted(entry.key)}']
    if entry.size is not None:
        text.append(f'"size": {entry.size}')
    if entry.media_type is not None:
        text.append(f'"media_type": {_quoted(entry.media_type)}')
    for name, texts in (("headers", entry.headers), ("metadata", entry.metadata), ("tags", entry.tags)):
        if texts:
            text.append(f'"{name}": {_texts(texts)}')
    if entry.digests:
        text.append(f'"digests": {_texts(entry.digests)}')
    if entry.version is not None:
        text.append(f'"version": {_quoted(entry.version)}')
    if entry.storage_class is not None:
        text.append(f'"storage_class": {_quoted(entry.storage_class)}')
    if entry.host:
        text.append(f'"host": {_values_text(entry.host)}')
    if entry.locator is not None:
        text.append(f'"locator": {_quoted(entry.locator)}')
    if entry.modified is not None:
        modified = entry.modified if entry.modified.tzinfo is UTC else entry.modified.astimezone(UTC)
        text.append(f'"modified": "{modified.isoformat()}"')
    if not entry.latest:
        text.append('"latest": false')
    if entry.kind != "object":
        text.append(f'"kind": {_quoted(entry.kind)}')
    if entry.posix is not None:
        text.append(f'"posix": {_posix_text(entry.posix)}')
    return ", ".join(text) + "}"


def _posix_text(posix: Posix) -> str:
    text = []
    for name, number in (("mode", posix.mode), ("uid", posix.uid), ("gid", posix.gid)):
        if number is not None:
            text.append(f'"{name}": {number}')
    for name, value in (("user", posix.user), ("group", posix.group)):
        if value is not None:
            text.append(f'"{name}": {_quoted(value)}')
    if posix.mtime_ns is not None:
        text.append(f'"mtime_ns": {posix.mtime_ns}')
    if posix.xattrs:
        text.append(f'"xattrs": {json.dumps(_posix_to_dict(posix)["xattrs"])}')
    for name, value in (("target", posix.target), ("hardlink_to", posix.hardlink_to)):
        if value is not None:
            text.append(f'"{name}": {_quoted(value)}')
    if posix.sparse:
        text.append('"sparse": true')
    return f"{{{', '.join(text)}}}"


def _values_text(value: Any) -> str:
    """`json.dumps(value)` of plain values, most of which are texts."""
    if type(value) is str:
        return _quoted(value)
    if type(value) is dict:
        return f"{{{', '.join([f'{_quoted(name)}: {_values_text(one)}' for name, one in value.items()])}}}"
    return json.dumps(value)


def _texts(texts: Mapping[str, str]) -> str:
    return f"{{{', '.join([f'{_quoted(name)}: {_quoted(value)}' for name, value in texts.items()])}}}"


def from_dict(plain: Mapping[str, Any]) -> Entry:
    """The entry that `to_dict` wrote."""
    values = dict(plain)
    if "modified" in values:
        values["modified"] = datetime.fromisoformat(values["modified"])
    if "posix" in values:
        posix = dict(values["posix"])
        if "xattrs" in posix:
            posix["xattrs"] = {name: base64.b64decode(value) for name, value in posix["xattrs"].items()}
        values["posix"] = Posix(**posix)
    if "key" not in values or not values.keys() <= _NAMES:
        return Entry(**values)  # which says what is wrong
    told = values.get
    return filled(
        values["key"], told("size"), told("modified"), told("media_type"), told("headers", {}), told("metadata", {}),
        told("tags", {}), told("digests", {}), told("version"), told("latest", True), told("kind", "object"),
        told("storage_class"), told("host", {}), told("posix"), told("locator"),
    )  # fmt: skip


def _posix_to_dict(posix: Posix) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for spec in fields(Posix):
        value = getattr(posix, spec.name)
        if value is None or value == {} or value is False:
            continue
        plain[spec.name] = (
            {name: base64.b64encode(data).decode("ascii") for name, data in value.items()}
            if spec.name == "xattrs"
            else value
        )
    return plain

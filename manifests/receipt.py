"""A receipt: this thing passed through us, this is where it went, this is how far it was proved."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from manifests import canonical
from manifests.errors import FormatError
from manifests.paths import is_archive_path, path_bytes

KINDS = ("object", "directory", "link", "delete_marker", "skipped")
LEVELS = ("none", "listed", "reported", "read")
"""Evidence, weakest first; a line never carries `none`."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SALT = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==", re.ASCII)  # 16 bytes in standard base64
_LINE_LEVELS = frozenset(LEVELS[1:])
_TYPES: dict[str, type] = {
    "age": dict,
    "attempts": int,
    "evidence": str,
    "hardlink_to": str,
    "headers": dict,
    "host": dict,
    "key": str,
    "kind": str,
    "latest": bool,
    "losses": list,
    "media_type": str,
    "metadata": dict,
    "metadata_b64": dict,
    "modified": str,
    "order": int,
    "path": str,
    "posix": dict,
    "reason": str,
    "received_at": str,
    "salt": str,
    "sha256": str,
    "size": int,
    "source_digests": dict,
    "storage_class": str,
    "stored_in": dict,
    "tags": dict,
    "target": str,
    "version": str,
}
_TEXTS = ("hardlink_to", "key", "path", "target")
_B64 = frozenset({f"{name}_b64" for name in _TEXTS} | {"metadata_b64"})
_TEXT_MAPS = ("headers", "metadata", "source_digests", "tags")


def level_reaches(level: str, demanded: str) -> bool:
    """Whether an evidence level is at or above another."""
    return LEVELS.index(level) >= LEVELS.index(demanded)


def new_salt(random: Callable[[int], bytes] = os.urandom) -> str:
    """16 fresh random bytes in base64: a leaf of the tree cannot be guessed from a name and a date."""
    return base64.b64encode(random(16)).decode("ascii")


def key_bytes(line: Mapping[str, Any]) -> bytes:
    """The exact key of a line."""
    if "key_b64" in line:
        return path_bytes(canonical.text_of(line, "key"))
    key: str = line["key"]
    return key.encode()


def check_line(line: Mapping[str, Any], *, archive: bool) -> None:
    """FormatError if these members do not make a receipt. Writer and reader both ask here.

    Unknown members, reasons and digests are nobody's business; `archive` adds the rules for paths in an archive.
    """
    _check_shape(tuple(line), tuple(map(type, line.values())))
    kind = line["kind"]
    if kind not in KINDS:
        raise FormatError("an unknown kind", rule="3.4, kind")
    if line["evidence"] not in _LINE_LEVELS:
        raise FormatError("an unknown evidence level", rule="3.7")
    if not _SALT.fullmatch(line["salt"]):
        raise FormatError("the salt is not 16 bytes in base64", rule="3.4, salt")
    if kind == "object":
        if not _SHA256.fullmatch(line.get("sha256", "")) or line.get("size", -1) < 0:
            raise FormatError("an object needs size and sha256", rule="3.6")
        if archive and "path" not in line and "stored_in" not in line:
            raise FormatError("an object in an archive needs a path", rule="3.4, path")
        if archive and "stored_in" in line and ("path" in line or not _is_place(line["stored_in"])):
            raise FormatError("stored_in is an archive and a path in it, instead of a path", rule="3.4, stored_in")
    elif kind == "skipped" and "reason" not in line:
        raise FormatError("a skipped thing needs a reason", rule="3.4, reason")
    if line.get("order", 0) < 0:
        raise FormatError("order starts at 0", rule="3.4, order")
    if archive and "path" in line and ("path_b64" in line or not is_archive_path(line["path"])):
        raise FormatError("the path leads out of an archive", rule="V4")
    for name in _TEXT_MAPS:
        if name in line and not {*map(type, line[name].values())} <= {str}:
            raise FormatError(f"{name} holds text", rule="3.4")
    if not _B64.isdisjoint(line):
        _check_b64(line)
    if "losses" in line and not all(_is_loss(loss) for loss in line["losses"]):
        raise FormatError("a loss is a name and where its value is parked", rule="3.4, losses")


def _is_place(stored_in: Mapping[str, Any]) -> bool:
    """Whether it names bytes: without both members nobody would look for any."""
    archive, path = stored_in.get("archive"), stored_in.get("path")
    return type(archive) is str and archive != "" and type(path) is str and is_archive_path(path)


@lru_cache(maxsize=1024)  # a manifest has a million lines and a handful of shapes
def _check_shape(names: tuple[str, ...], types: tuple[type, ...]) -> None:
    """The rules that depend on the names and types of the members alone."""
    if not {"key", "kind", "evidence", "salt"} <= set(names):
        raise FormatError("a receipt needs key, kind, evidence and salt", rule="3.6")
    for name, found in zip(names, types, strict=True):
        if _TYPES.get(name, found) is not found:
            raise FormatError(f"{name} has the wrong type", rule="3.4")
    if len({"version", "latest", "order"} & set(names)) not in {0, 3}:
        raise FormatError("version, latest and order come together", rule="3.4, order")


def _check_b64(line: Mapping[str, Any]) -> None:
    for name in _TEXTS:
        if f"{name}_b64" in line:
            if name not in line:
                raise FormatError(f"{name}_b64 without {name}", rule="3.2, the _b64 rule")
            canonical.text_of(line, name)
    if "metadata_b64" in line:
        _metadata_of(line)


def _is_loss(loss: Any) -> bool:
    return isinstance(loss, dict) and type(loss.get("name")) is str and isinstance(loss.get("parked", 0), str | None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """An attribute that the destination could not hold."""

    name: str
    parked: str | None
    """JSON Pointer (RFC 6901) into the line where the value is kept, or None when it is gone."""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One line of a manifest, with the members of FORMAT.md; None is absent, which means not known.

    `key`, `path`, `target`, `hardlink_to` and metadata values may carry bytes that are not UTF-8 by surrogateescape;
    every other text is Unicode. `posix` and `host` have the form they have in the line.
    """

    key: str
    kind: str
    evidence: str
    salt: str
    reason: str | None = None
    size: int | None = None
    sha256: str | None = None
    path: str | None = None
    modified: str | None = None
    """RFC 3339, as the source stated it (`canonical.time_text`)."""
    media_type: str | None = None
    headers: Mapping[str, str] | None = None
    metadata: Mapping[str, str] | None = None
    tags: Mapping[str, str] | None = None
    version: str | None = None
    latest: bool | None = None
    order: int | None = None
    source_digests: Mapping[str, str] | None = None
    storage_class: str | None = None
    host: Mapping[str, Any] | None = None
    posix: Mapping[str, Any] | None = None
    target: str | None = None
    hardlink_to: str | None = None
    losses: tuple[Loss, ...] | None = None
    attempts: int | None = None
    received_at: str | None = None
    stored_in: Mapping[str, Any] | None = None
    age: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Members that this program does not know, kept."""

    def order_key(self) -> tuple[bytes, int]:
        """What lines are sorted by: key bytes, then order."""
        return path_bytes(self.key), self.order or 0

    def to_dict(self) -> dict[str, Any]:
        """The members of the line."""
        line = dict(self.extra)
        for name in _MEMBERS:
            value = getattr(self, name)
            if value is None:
                continue
            if name in _TEXTS:
                line.update(canonical.text_members(name, value))
            elif name == "metadata":
                line.update(metadata_members(value))
            elif name == "losses":
                line[name] = [{**loss.extra, "name": loss.name, "parked": loss.parked} for loss in value]
            else:
                line[name] = dict(value) if isinstance(value, Mapping) else value
        return line

    def to_line(self) -> bytes:
        """The canonical line without its LF; FormatError if a reader would refuse it."""
        line = self.to_dict()
        check_line(line, archive=False)
        return canonical.dumps(line)

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> Receipt:
        """The receipt with these members, once they passed `check_line`."""
        values: dict[str, Any] = {name: line[name] for name in _MEMBERS if name in line}
        for name in _TEXTS:
            if f"{name}_b64" in line:
                values[name] = canonical.text_of(line, name)
        if "metadata_b64" in line:
            values["metadata"] = _metadata_of(line)
        if "losses" in line:
            values["losses"] = tuple(
                Loss(
                    name=loss["name"],
                    parked=loss["parked"],
                    extra={name: value for name, value in loss.items() if name not in {"name", "parked"}},
                )
                for loss in line["losses"]
            )
        extra = {name: value for name, value in line.items() if name not in _KNOWN}
        return cls(**values, extra=extra)

    @classmethod
    def from_line(cls, data: bytes, *, archive: bool = False) -> Receipt:
        """The receipt in this line (without LF); FormatError if it is not one in canonical form."""
        line = canonical.load_object(data)
        check_line(line, archive=archive)
        return cls.from_dict(line)


_MEMBERS = tuple(spec.name for spec in fields(Receipt) if spec.name != "extra")
_KNOWN = frozenset(_MEMBERS) | _B64


def metadata_members(metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """`{metadata}`, or `{metadata, metadata_b64}` where a value has bytes that are not UTF-8."""
    # The names are the host's, so that a name ending in _b64 may be one of them: exact values stand beside, not among them.
    shown: dict[str, str] = {}
    exact: dict[str, str] = {}
    for name, value in metadata.items():
        members = canonical.text_members("value", value)
        shown[name] = members["value"]
        if "value_b64" in members:
            exact[name] = members["value_b64"]
    return {"metadata": shown, "metadata_b64": exact} if exact else {"metadata": shown}


def _metadata_of(line: Mapping[str, Any]) -> dict[str, str]:
    metadata, exact = dict(line.get("metadata", {})), line["metadata_b64"]
    if not exact or not exact.keys() <= metadata.keys():
        raise FormatError("metadata_b64 names what metadata does not", rule="3.2, the _b64 rule")
    for name, spelled in exact.items():
        metadata[name] = canonical.text_of({"value": metadata[name], "value_b64": spelled}, "value")
    return metadata

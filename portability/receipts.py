"""Between the ledger's things and the manifest's lines: the one place that knows both forms."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connectors import Entry, Posix
from connectors.keys import key_bytes
from manifests.canonical import LARGEST, time_of, time_text
from manifests.receipt import Loss, Receipt
from portability.thing import Thing

_POSIX_NUMBERS = ("uid", "gid")
_POSIX_TEXTS = ("user", "group")


def receipt(thing: Thing) -> Receipt:
    """The line of a thing that was moved, parked or skipped."""
    entry = thing.facts
    versioned = thing.order is not None
    elsewhere = bool(thing.stored and "archive" in thing.stored)
    common: dict[str, Any] = {
        "key": thing.key,
        "kind": "skipped" if thing.action == "skip" else thing.kind,
        "evidence": thing.evidence,
        "salt": thing.salt,
        "modified": time_text(entry.modified) if entry.modified else None,
        "version": (entry.version or "null") if versioned else None,
        "latest": entry.latest if versioned else None,
        "order": thing.order,
        "storage_class": entry.storage_class,
        "host": plain(entry.host) or None,
        "attempts": max(1, thing.attempts),
        "received_at": thing.received_at,
    }
    if thing.action == "skip":
        return Receipt(**common, reason=thing.reason)
    return Receipt(
        **common,
        size=thing.bytes if thing.kind == "object" else None,
        sha256=thing.sha256 if thing.kind == "object" else None,
        path=thing.path if thing.action != "park" and thing.path != thing.key and not elsewhere else None,
        stored_in=dict(thing.stored or {}) if elsewhere else None,
        media_type=entry.media_type,
        headers=dict(entry.headers) or None,
        metadata=dict(entry.metadata) or None,
        tags=dict(entry.tags) or None,
        source_digests=dict(entry.digests) or None,
        posix=_posix_line(entry.posix),
        target=entry.posix.target if entry.posix and thing.kind == "link" else None,
        hardlink_to=entry.posix.hardlink_to if entry.posix else None,
        age=dict(thing.stored) if thing.stored and not elsewhere else None,
        losses=tuple(Loss(name=name, parked=pointer) for name, pointer in thing.losses) or None,
    )


def entry_of(line: Receipt) -> Entry:
    """The thing as its line describes it, under its own key: what a restore asks a destination for."""
    posix = _posix_of(line)
    return Entry(
        key=line.key,
        kind=line.kind if line.kind != "skipped" else "other",  # type: ignore[arg-type]  # the reader checked the kind
        size=line.size,
        modified=time_of(line.modified) if line.modified else None,
        media_type=line.media_type,
        headers=dict(line.headers or {}),
        metadata=dict(line.metadata or {}),
        tags=dict(line.tags or {}),
        digests=dict(line.source_digests or {}),
        version=line.version,
        latest=True if line.latest is None else line.latest,
        storage_class=line.storage_class,
        host=dict(line.host or {}),
        posix=posix,
    )


def lost(line: Receipt) -> frozenset[str]:
    """Names of the attributes that the destination could not hold."""
    return frozenset(loss.name for loss in line.losses or ())


def stored_path(line: Receipt) -> bytes:
    """The exact key at the destination of a stored thing."""
    return key_bytes(line.path if line.path is not None else line.key)


def plain(value: Any) -> Any:
    """A host's statement in values that a manifest can hold: other numbers as text, odd text with replacement characters."""
    if isinstance(value, Mapping):
        return {str(plain(str(name))): plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= LARGEST:
        return value
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _posix_line(posix: Posix | None) -> dict[str, Any] | None:
    if posix is None:
        return None
    line: dict[str, Any] = {}
    if posix.mode is not None:
        line["mode"] = f"{posix.mode:04o}"
    for name in (*_POSIX_NUMBERS, *_POSIX_TEXTS):
        if getattr(posix, name) is not None:
            line[name] = plain(getattr(posix, name))
    if posix.mtime_ns is not None:
        line["mtime_ns"] = str(posix.mtime_ns)
    if posix.xattrs:
        line["xattrs"] = [
            {"name": plain(name), "value": base64.b64encode(value).decode("ascii")}
            for name, value in sorted(posix.xattrs.items())
        ]
    if posix.sparse:
        line["sparse"] = True
    return line


def _posix_of(line: Receipt) -> Posix | None:
    if line.posix is None:
        target = Posix(target=line.target) if line.target is not None else None
        return replace(target or Posix(), hardlink_to=line.hardlink_to) if line.hardlink_to is not None else target
    told = line.posix
    return Posix(
        mode=int(told["mode"], 8) if "mode" in told else None,
        mtime_ns=int(told["mtime_ns"]) if "mtime_ns" in told else None,
        xattrs={item["name"]: base64.b64decode(item["value"]) for item in told.get("xattrs", [])},
        target=line.target,
        hardlink_to=line.hardlink_to,
        sparse=bool(told.get("sparse", False)),
        **{name: told.get(name) for name in (*_POSIX_NUMBERS, *_POSIX_TEXTS)},
    )

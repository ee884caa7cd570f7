"""Between the ledger's things and the manifest's lines: the one place that knows both forms."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from connectors import Entry, Posix
from connectors.keys import key_bytes
from manifests.canonical import LARGEST, text_members, time_of, time_text
from manifests.receipt import Receipt, metadata_members
from portability.fidelity import Loss
from portability.thing import Thing, plain_of

_WHOLE = len("2026-01-01T00:00:00+00:00")
_POSIX_NUMBERS = ("uid", "gid")
_POSIX_TEXTS = ("user", "group")


def line_of(thing: Thing) -> dict[str, Any]:
    """The members of the line of a thing that was moved, parked or skipped."""
    # From the ledger's text straight to the line: an Entry and a Receipt between them cost more than all that is hashed.
    facts = plain_of(thing.facts_text)
    versioned, skipped = thing.order is not None, thing.action == "skip"
    line: dict[str, Any] = {
        **text_members("key", thing.key),
        "kind": "skipped" if skipped else thing.kind,
        "evidence": thing.evidence,
        "salt": thing.salt,
        "attempts": thing.attempts or 1,
    }
    if thing.received_at is not None:
        line["received_at"] = thing.received_at
    if "modified" in facts:
        line["modified"] = _moment(facts["modified"])
    if "storage_class" in facts:
        line["storage_class"] = facts["storage_class"]
    if facts.get("host"):
        line["host"] = plain(facts["host"])
    if versioned:
        line |= {"version": facts.get("version") or "null", "latest": facts.get("latest", True), "order": thing.order}
    if skipped:
        if thing.reason is not None:
            line["reason"] = thing.reason
    else:
        _add_contents(line, thing, facts)
    return line


def _add_contents(line: dict[str, Any], thing: Thing, facts: Mapping[str, Any]) -> None:
    stored, key, path = thing.stored, thing.key, thing.path
    elsewhere = bool(stored and "archive" in stored)
    if thing.kind == "object":
        if thing.bytes is not None:
            line["size"] = thing.bytes
        if thing.sha256 is not None:
            line["sha256"] = thing.sha256
    if path != key and thing.action != "park" and not elsewhere:
        line |= text_members("path", path)
    if stored:
        line["stored_in" if elsewhere else "age"] = stored
    if "media_type" in facts:
        line["media_type"] = facts["media_type"]
    for name, told in (("headers", "headers"), ("tags", "tags"), ("source_digests", "digests")):
        if facts.get(told):
            line[name] = facts[told]
    if facts.get("metadata"):
        line |= metadata_members(facts["metadata"])
    posix: dict[str, Any] | None = facts.get("posix")
    if posix is not None:
        line["posix"] = _posix_line(posix)
        if thing.kind == "link" and "target" in posix:
            line |= text_members("target", posix["target"])
        if "hardlink_to" in posix:
            line |= text_members("hardlink_to", posix["hardlink_to"])
    if losses := thing.losses:
        line["losses"] = _as_in_lines(losses)


@lru_cache(maxsize=256)  # a destination loses the same of all things that are alike
def _as_in_lines(losses: tuple[Loss, ...]) -> list[dict[str, str | None]]:
    """Nobody changes what this returns."""
    return [{"name": name, "parked": pointer} for name, pointer in losses]


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
    kind = type(value)
    if kind is str and value.isascii():
        return value
    if kind is dict:
        return {name if name.isascii() else str(plain(name)): plain(member) for name, member in value.items()}
    if isinstance(value, Mapping):
        return {str(plain(str(name))): plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= LARGEST:
        return value
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _moment(text: str) -> str:
    """A time of the ledger as the line has it."""
    if len(text) == _WHOLE and text.endswith("+00:00"):
        return f"{text[:-6]}Z"
    return time_text(datetime.fromisoformat(text))


def _posix_line(posix: Mapping[str, Any]) -> dict[str, Any]:
    """From an entry's `to_dict` form, in which only what is known stands."""
    line: dict[str, Any] = {}
    if "mode" in posix:
        line["mode"] = f"{posix['mode']:04o}"
    for name in (*_POSIX_NUMBERS, *_POSIX_TEXTS):
        if name in posix:
            line[name] = plain(posix[name])
    if "mtime_ns" in posix:
        line["mtime_ns"] = str(posix["mtime_ns"])
    if "xattrs" in posix:
        line["xattrs"] = [{"name": plain(name), "value": value} for name, value in sorted(posix["xattrs"].items())]
    if "sparse" in posix:
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

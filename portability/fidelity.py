"""What a destination kept of what it was given: the difference is the loss, named and parked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from connectors import Entry, Posix
from connectors.entry import altered, from_dict, to_dict

Loss = tuple[str, str | None]
"""Attribute name, and the JSON Pointer into the receipt where its value is parked."""

_HOST = ("acl", "lock", "legal_hold", "redirect")
"""Statements of a host that a person may have made; the others (encryption, parts, …) describe the host itself."""
_HIDDEN = frozenset({"AccessDenied", "AllAccessDisabled", "Forbidden", "403"})
_KEEPS = {"acl": "acl", "lock": "lock", "legal_hold": "lock"}
"""Such a statement -> the option of a location that asks for it, by "keep"."""
_TEXTS = ("headers", "metadata", "tags")
_POSIX_KEPT = ("mode", "uid", "gid", "user", "group", "mtime_ns", "xattrs", "target")


def losses(wanted: Entry, stored: Entry) -> tuple[Loss, ...]:
    """The attributes of `wanted` that `stored`, the destination's own description, does not show."""
    return tuple(_losses(wanted, stored))


def _losses(wanted: Entry, stored: Entry) -> Iterator[Loss]:
    if wanted.modified is not None and stored.modified != wanted.modified:
        yield "modified", "/modified"
    if wanted.media_type is not None and stored.media_type != wanted.media_type:
        yield "media_type", "/media_type"
    for name in _TEXTS:
        texts = getattr(wanted, name)
        if texts and not _holds(getattr(stored, name), texts):
            yield name, f"/{name}"
    if wanted.storage_class is not None and stored.storage_class != wanted.storage_class:
        yield "storage_class", "/storage_class"
    for name in _HOST:
        if name in wanted.host and stored.host.get(name) != wanted.host[name]:
            yield name, f"/host/{name}"
    for name, code in wanted.host.get("unread", {}).items():
        if code in _HIDDEN:  # it may be there; nobody can say what it was
            yield name, None
    if wanted.posix is None:
        return
    if wanted.posix.hardlink_to is not None:
        yield "hardlink_to", "/hardlink_to"
    if stored.posix is None:
        yield "posix", "/posix"
        return
    for name in _POSIX_KEPT:
        value = getattr(wanted.posix, name)
        if value is None or value == {}:
            continue
        found = getattr(stored.posix, name)
        if not (_holds(found, value) if name == "xattrs" else found == value):
            yield f"posix.{name}", f"/posix/{name}"


def _holds(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(stored.get(name) == value for name, value in wanted.items())


def must_be_found(name: str, wanted: Entry, stored: Entry, options: Mapping[str, str]) -> bool:
    """Whether a loss that was not declared when the thing was put is a difference now, at a place with these options.

    A statement of the host counts where it was asked for, and else where the host makes it: it may hide an ACL from who
    verifies, or now and then.
    """
    if name in {"storage_class", "hardlink_to"}:
        return False
    return name not in wanted.host or name in stored.host or options.get(_KEEPS.get(name, "")) == "keep"


def without(entry: Entry, lost: frozenset[str]) -> Entry:
    """The entry less the attributes named in `lost`: what must still be found at the destination."""
    if not lost:
        return entry
    changes: dict[str, Any] = {}
    for name in ("modified", "media_type", "storage_class"):
        if name in lost:
            changes[name] = None
    for name in _TEXTS:
        if name in lost:
            changes[name] = {}
    host = {name: value for name, value in entry.host.items() if name not in lost}
    if "unread" in host:
        host["unread"] = {name: code for name, code in host["unread"].items() if name not in lost}
    changes["host"] = host
    if entry.posix is not None:
        if "posix" in lost:
            changes["posix"] = None
        else:
            gone: dict[str, Any] = {
                spec.name: {} if spec.name == "xattrs" else None
                for spec in fields(Posix)
                if f"posix.{spec.name}" in lost
            }
            if "hardlink_to" in lost:
                gone["hardlink_to"] = None
            changes["posix"] = replace(entry.posix, **gone)
    return altered(entry, **changes)


def parked(entry: Entry, lost: frozenset[str]) -> dict[str, Any]:
    """The values of the lost attributes, as `overlay` takes them: plain JSON values under their `to_dict` names."""
    plain = to_dict(entry)
    kept = {
        name: plain[name] for name in ("modified", "media_type", *_TEXTS, "posix") if name in lost and name in plain
    }
    if "posix" not in kept:
        posix = {name: value for name, value in plain.get("posix", {}).items() if f"posix.{name}" in lost}
        if "hardlink_to" in lost and entry.posix is not None:
            posix["hardlink_to"] = entry.posix.hardlink_to
        if posix:
            kept["posix"] = posix
    return kept


def overlay(entry: Entry, values: Mapping[str, Any]) -> Entry:
    """The entry with parked values put back over what the present host says."""
    if not values:
        return entry
    plain = to_dict(entry)
    for name, value in values.items():
        plain[name] = {**plain.get(name, {}), **value} if isinstance(value, Mapping) else value
    return from_dict(plain)

"""ACL, retention and legal hold of an object that was just put, set again where the location asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from connectors.entry import Entry
from connectors.errors import ConnectorError
from connectors.location import Location

NAMES = {"acl": ("acl",), "lock": ("lock", "legal_hold")}
"""Option of a location whose value is "keep" -> what it is about in `Entry.host`."""

_PERMISSIONS = {
    "FULL_CONTROL": "GrantFullControl",
    "READ": "GrantRead",
    "READ_ACP": "GrantReadACP",
    "WRITE": "GrantWrite",
    "WRITE_ACP": "GrantWriteACP",
}
Call = Callable[..., dict[str, Any]]


def wished(location: Location) -> frozenset[str]:
    """The names in `Entry.host` that objects of this place are to be given again."""
    return frozenset(name for option, names in NAMES.items() if location.option(option) == "keep" for name in names)


def apply(call: Call, wishes: frozenset[str], wanted: Entry, found: Entry, version: Mapping[str, Any]) -> bool:
    """Ask for what `found`, the object as the host describes it, has not; whether anything was asked for.

    What the host refuses stays as it is: the next look at the object shows it, which is the loss.
    """
    asked = False
    for operation, parameters in _requests(wishes, wanted, found):
        asked = True
        try:
            call(operation, wanted.key, **parameters, **version)
        except ConnectorError:
            continue
    return asked


def _requests(wishes: frozenset[str], wanted: Entry, found: Entry) -> Iterator[tuple[str, dict[str, Any]]]:
    missing = {name for name in wishes & wanted.host.keys() if found.host.get(name) != wanted.host[name]}
    if "acl" in missing and (granted := _granted(wanted.host["acl"], found.host.get("acl", {}).get("owner"))):
        yield "put_object_acl", granted
    if "legal_hold" in missing:
        yield "put_object_legal_hold", {"LegalHold": {"Status": wanted.host["legal_hold"]}}
    if "lock" in missing and (retention := _retention(wanted.host["lock"])):
        yield "put_object_retention", {"Retention": retention}


def _granted(acl: Mapping[str, Any], owner: str | None) -> dict[str, str]:
    """The grants; what the former owner had is given to the owner that the object has here. Empty if one is of no known kind."""
    granted: dict[str, str] = {}
    for grant in acl.get("grants", []):
        named = {"Group": "uri", "CanonicalUser": "id"}.get(grant["type"])
        permission = _PERMISSIONS.get(grant["permission"])
        grantee = owner if grant["grantee"] == acl.get("owner") else grant["grantee"]
        if not named or not permission or not grantee:
            return {}
        one = f'{named}="{grantee}"'
        granted[permission] = f"{granted[permission]}, {one}" if permission in granted else one
    return granted


def _retention(lock: Mapping[str, str]) -> dict[str, Any] | None:
    """None for one that is over, or that is not wholly known: no host takes it."""
    try:
        until = datetime.fromisoformat(lock["until"])
        return {"Mode": lock["mode"], "RetainUntilDate": until} if until > datetime.now(UTC) else None
    except (KeyError, ValueError, TypeError):
        return None

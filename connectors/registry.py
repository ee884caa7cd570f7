"""From a location to a connector: entry points of the group "portability.connectors", ours registered like anyone's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from connectors.errors import UnsupportedError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

    from connectors.location import Location

GROUP = "portability.connectors"


_registered: dict[str, Callable[[Location], Any]] = {}


def register(scheme: str, connect: Callable[[Location], Any]) -> None:
    """Serve a scheme in this process only, without an installed package: for notebooks and tests."""
    _registered[scheme] = connect
    factory.cache_clear()


def is_registered(scheme: str) -> bool:
    """Whether this process alone knows who serves the scheme."""
    return scheme in _registered


def _points(name: str = "") -> EntryPoints:
    # Imported late: it brings mail and zip along, half of the start of what opens no place by its scheme.
    from importlib.metadata import entry_points

    found = entry_points(group=GROUP)
    return found.select(name=name) if name else found


@cache
def schemes() -> tuple[str, ...]:
    """The url schemes that an installed package serves: hosts first, then layouts over a host ("archive+s3")."""
    return tuple(sorted({point.name for point in _points()}, key=lambda name: ("+" in name, name)))


@cache
def factory(scheme: str) -> Callable[[Location], Any]:
    """The function that opens a place of this scheme. UnsupportedError names the schemes that are known."""
    if scheme in _registered:
        return _registered[scheme]
    for point in _points(name=scheme):
        return cast("Callable[[Location], Any]", point.load())
    raise UnsupportedError(
        f'no connector serves "{scheme}:" urls; known: {", ".join(one for one in schemes() if "+" not in one)}'
    )


def names() -> dict[str, str]:
    """Scheme -> where its connector comes from ("module:function"), for `portability connectors`."""
    return {point.name: point.value for point in _points()}


def options(scheme: str) -> Mapping[str, str]:
    """The options that places of this scheme take, and what each means. UnsupportedError."""
    known: Mapping[str, str] = getattr(sys.modules[factory(scheme).__module__], "OPTIONS", {})
    return known


def connect(location: Location) -> Any:
    """Open the place: a Source, a Destination or both. Credentials are resolved here, from the location's reference.

    The first request is made here or at first use; PermissionDeniedError, NotFoundError, UnavailableError or
    UnsupportedError may come from either.
    """
    return factory(location.scheme)(location)

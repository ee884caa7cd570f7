"""From a location to a connector: entry points of the group "portability.connectors", ours registered like anyone's."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast

from connectors.errors import UnsupportedError

if TYPE_CHECKING:
    from connectors.location import Location

GROUP = "portability.connectors"


_registered: dict[str, Callable[[Location], Any]] = {}


def register(scheme: str, connect: Callable[[Location], Any]) -> None:
    """Serve a scheme in this process only, without an installed package: for notebooks and tests."""
    _registered[scheme] = connect
    factory.cache_clear()


@cache
def schemes() -> tuple[str, ...]:
    """The url schemes that an installed package serves: hosts first, then layouts over a host ("archive+s3")."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}, key=lambda name: ("+" in name, name)))


@cache
def factory(scheme: str) -> Callable[[Location], Any]:
    """The function that opens a place of this scheme. UnsupportedError names the schemes that are known."""
    if scheme in _registered:
        return _registered[scheme]
    for point in entry_points(group=GROUP, name=scheme):
        return cast("Callable[[Location], Any]", point.load())
    raise UnsupportedError(f'no connector serves "{scheme}:" urls; known: {", ".join(schemes())}')


def names() -> dict[str, str]:
    """Scheme -> where its connector comes from ("module:function"), for `portability connectors`."""
    return {point.name: point.value for point in entry_points(group=GROUP)}


def connect(location: Location) -> Any:
    """Open the place: a Source, a Destination or both. Credentials are resolved here, from the location's reference.

    The first request is made here or at first use; PermissionDeniedError, NotFoundError, UnavailableError or
    UnsupportedError may come from either.
    """
    return factory(location.scheme)(location)

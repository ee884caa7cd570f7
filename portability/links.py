"""Open connectors of this process: one per thread and location, opened on arrival, closed with the process."""

from __future__ import annotations

import atexit
import contextlib
import gc
import threading
from collections import OrderedDict
from typing import Any

from connectors import Connector, ConnectorError, Location, Sequential, connect

_KEPT = 8  # places a thread keeps open: a migration needs two, a restore of many archives should not need more
_local = threading.local()
_all: list[Connector] = []
_lock = threading.Lock()


def link(location: Location) -> Any:
    """The connector of this thread for this location. The errors of `connectors.connect` pass."""
    kept: OrderedDict[tuple[str, str | None], Any] = _local.__dict__.setdefault("kept", OrderedDict())
    identity = (location.url, location.credentials)
    if identity in kept:
        kept.move_to_end(identity)
        return kept[identity]
    connector = connect(location)
    kept[identity] = connector
    with _lock:
        _all.append(connector)
    while len(kept) > _KEPT:
        _, oldest = kept.popitem(last=False)
        _close(oldest)
    return connector


def any_open() -> bool:
    """Whether any thread of this process holds a connector."""
    with _lock:
        return bool(_all)


def in_sequence(location: Location) -> Any:
    """As `link`, for listings that are fetched page after page: what a host hid from another way of listing shows here."""
    connector = link(location)
    return connector.sequential() if isinstance(connector, Sequential) else connector


def ready(places: tuple[Location, ...]) -> None:
    """Open the places in a worker before they are needed. What cannot be opened is met, and told, by whoever needs it."""
    for place in places:
        with contextlib.suppress(ConnectorError):
            link(place)
    gc.freeze()  # modules and clients stay: looking through all of them for garbage takes as long as 100 objects


def unlink(location: Location) -> None:
    """Forget this thread's connector: the next `link` opens the place anew (after a lost connection)."""
    kept = _local.__dict__.get("kept", {})
    connector = kept.pop((location.url, location.credentials), None)
    if connector is not None:
        _close(connector)


def _close(connector: Connector) -> None:
    with _lock:
        if connector in _all:
            _all.remove(connector)
    connector.close()


@atexit.register
def close_all() -> None:
    """Close what is open in every thread; also at the end of the process."""
    with _lock:
        connectors, _all[:] = list(_all), []
    for connector in connectors:
        connector.close()

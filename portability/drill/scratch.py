"""Scratch places: what a drill may write into, how much room they have, and how exactly what it wrote is removed again."""

from __future__ import annotations

import os
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

from connectors import Eraser, Location, NotFoundError, Preparer, Space, connect
from portability.archive.export import below
from portability.errors import PlaceError, RefusedError, UsageError
from portability.job import NOWHERE, Job, overlap
from portability.job_drill import DrillTerms

_PAGE = 1000
"""Keys held in memory at once."""
_PER_THING = 4096
"""Bytes of ledger, manifests and listing that a thing needs for a while in the drills folder."""


def check_places(job: Job, terms: DrillTerms) -> None:
    """UsageError if a scratch place is, or lies in, a place that is not for rehearsing. Contacts no one."""
    kept = [("the source", job.source)]
    if job.destination != NOWHERE:
        kept.append(("the destination of the migration", job.destination))
    for name, scratch in (("scratch", terms.scratch), ("restore_to", terms.restore_to)):
        for what, place in kept:
            if overlap(place, below(scratch, "portability-drill")):
                raise UsageError(
                    f"[drill] {name} is {what}, or lies inside it: {scratch}",
                    hint="a drill writes and removes things there: name a place that holds nothing else",
                )
    folder = Location.parse(str(terms.folder.absolute()))
    for what, place in kept:
        if overlap(place, folder):
            raise UsageError(
                f"the drills folder {terms.folder} and {what} overlap: {place}", hint="keep the history outside of it"
            )


def check_hosts(terms: DrillTerms) -> None:
    """RefusedError if a host could not remove what a drill puts there. Contacts both scratch places."""
    for name, scratch in (("scratch", terms.scratch), ("restore_to", terms.restore_to)):
        host: Any = connect(scratch)
        try:
            can_erase = isinstance(host, Eraser)
            if not can_erase:
                raise RefusedError(
                    f"[drill] {name}: nothing can be removed at {scratch}",
                    hint="name a place where a drill can tidy up",
                )
            if "versions" in host.capabilities.preserves:
                raise RefusedError(
                    f"[drill] {name}: {scratch} keeps old versions: what a drill removes there would stay as one",
                    hint="name a bucket without versioning, or a folder",
                )
        finally:
            host.close()


def need(terms: DrillTerms, *, objects: int, bytes_: int) -> dict[str, int]:
    """Bytes of room by what needs them."""
    return {"scratch": bytes_ + objects * 512, "restore_to": bytes_, "folder": objects * _PER_THING}


def check_room(terms: DrillTerms, needed: dict[str, int]) -> None:
    """PlaceError if a place says that it has less room than is needed; what shares one disk is added up."""
    places = {
        "scratch": terms.scratch,
        "restore_to": terms.restore_to,
        "folder": Location.parse(str(terms.folder.absolute())),
    }
    together: dict[object, tuple[int, int | None, list[str]]] = {}
    for name, place in places.items():
        disk = _disk(place)
        wanted, _, names = together.get(disk, (0, None, []))
        together[disk] = (wanted + needed[name], _free(place), [*names, str(place)])
    for wanted, free, names in together.values():
        if free is not None and wanted > free:
            raise PlaceError(
                f"too little room for a drill in {' and '.join(dict.fromkeys(names))}: {wanted:,} bytes are needed, {free:,} are free",
                hint="make room, name another scratch place, or rehearse with a --sample",
            )


def _disk(place: Location) -> object:
    if place.scheme != "file":
        return (place.scheme, place.host, place.port, place.option("endpoint"))
    return os.stat(_there(place.path)).st_dev  # noqa: PTH116 - Path.stat is the same call


def _there(path: str) -> Path:
    found = Path(path)
    while not found.exists():
        found = found.parent
    return found


def _free(place: Location) -> int | None:
    host: Any = connect(place)
    try:
        return host.free() if isinstance(host, Space) else None
    finally:
        host.close()


def clean(scratch: Location, name: str) -> int:
    """Remove the folder of this name, which no one but a drill has made; the number of things that were removed.

    Links are removed, never followed. A folder that is not there is clean.
    """
    place = below(scratch, name)
    if place.scheme == "file":
        folder = Path(place.path)
        if not folder.is_dir():
            return 0
        count = sum(len(files) for _, _, files in os.walk(folder))
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise PlaceError(
                f"the scratch folder {folder} cannot be removed: {error.strerror}",
                hint="it holds a copy of the data: make room or rights, then run the same command again",
            ) from error
        return count
    host: Any = connect(place)
    try:
        if isinstance(host, Preparer):
            host.prepare()  # also drops what a killed run was putting
        removed = 0
        while page := list(islice((one.key for one in _listed(host) if one.kind != "directory"), _PAGE)):
            removed += sum(_removed(host, key) for key in page)
        for key in sorted((one.key for one in _listed(host)), key=lambda key: -key.count("/")):
            _removed(host, key)  # empty folders, from below
        left = sum(entry.kind != "directory" for entry in _listed(host))
    finally:
        host.close()
    if left:
        raise PlaceError(
            f"{left:,} things could not be removed from {place}",
            hint="they are copies of the data: remove them by hand",
        )
    _remove_folder(scratch, name)
    return removed


def _removed(host: Any, key: str) -> bool:
    try:
        host.delete(key)
    except NotFoundError:
        return False  # its folder went when the last thing in it did
    return True


def _listed(host: Any) -> Any:
    try:
        yield from host.list()
    except NotFoundError:
        return


def _remove_folder(scratch: Location, name: str) -> None:
    """The empty folder itself, where a place has folders."""
    host: Any = connect(scratch)
    try:
        if host.capabilities.hierarchical:
            host.delete(name)
    except NotFoundError:
        pass
    finally:
        host.close()

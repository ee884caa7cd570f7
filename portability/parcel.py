"""What crosses to a worker of another machine: whether it can take part, and a batch of work."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import portability
from connectors import ConnectorError, Location, NotFoundError, connect
from connectors.credentials import resolve
from connectors.keys import PARTIAL_FOLDER
from connectors.registry import names as known
from portability.errors import PlaceError

_FILES = ("ca", "known_hosts", "archive-identity")
"""Options of places that name a file."""
_WORK = ("portability.move", "portability.check")
"""By name, because this module is also the driver's, which has no use for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a worker must have and see to take part."""

    version: str
    places: tuple[Location, ...]
    folders: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Folders that all machines must share, and names that are there."""
    files: tuple[str, ...] = ()


def unfit(needs: Needs) -> str:
    """Why this process cannot take part; empty if it can. Opens every place once."""
    version = portability.__version__
    if needs.version != version:
        return f"it runs portability {version}, this machine {needs.version}: install the same on all machines"
    for folder, names in needs.folders:
        if not all(os.path.lexists(f"{folder}/{name}") for name in names):
            return (
                f"its {folder} is not the folder that this machine means: mount one shared folder under the same path on all "
                "machines, or name the place by an sftp:// or s3:// url"
            )
    for file in needs.files:
        if not os.access(file, os.R_OK):
            return f"it cannot read {file}: put that file there too"
    for place in needs.places:
        try:
            _open(place)
        except ConnectorError as error:
            return (
                f"{place}: {error} (credentials are resolved on each worker, from the reference "
                f"{place.credentials or 'none: the usual chain'})"
            )
    return ""


def _open(place: Location) -> None:
    resolve(place.credentials)
    if place.scheme.startswith("archive+"):
        return  # its manifest may be large; the first batch opens it
    host = connect(place)
    try:
        host.stat(f"portability-{uuid.uuid4().hex}")
    except NotFoundError:
        pass  # an answer to a question that our credentials may ask
    finally:
        host.close()


class Parcel:
    """A batch on its way. Dask shows in logs what it carries, and keys are personal: it sees bytes that show nothing."""

    __slots__ = ("content", "needs")

    def __init__(self, needs: bytes, content: bytes) -> None:
        self.needs, self.content = needs, content

    def __repr__(self) -> str:
        return f"Parcel({len(self.content)} bytes)"


def dask_setup(worker: object) -> None:
    """What `dask worker --preload portability.parcel` calls: load what batches will need, before there is one."""
    for name in (*_WORK, *{told.partition(":")[0] for told in known().values()}):
        with contextlib.suppress(ImportError):  # an extra that is not installed: whoever names such a host hears of it
            importlib.import_module(name)


_fit_for: set[bytes] = set()
_UNLIKE = (ImportError, AttributeError, TypeError, ValueError, EOFError, IndexError, pickle.UnpicklingError)
"""What reading a pickle of another version's classes may raise."""


def carry(parcel: Parcel) -> Any:
    """Do a parcel's work in this worker, which is looked at when it meets a job for the first time. PlaceError."""
    # Whoever can reach a Dask scheduler can run anything on its workers: these pickles give them nothing more.
    try:
        wanted = pickle.loads(parcel.needs)  # noqa: S301 - see above
        problem = "" if parcel.needs in _fit_for else unfit(wanted)
        if not problem:
            work, batch = pickle.loads(parcel.content)  # noqa: S301 - see above
    except _UNLIKE as error:
        problem = f"it runs another version of portability ({error}): install the same on all machines"
    if problem:
        raise PlaceError(f"a worker cannot take part: {problem}", hint="mend that, then run the same command again")
    _fit_for.add(parcel.needs)
    return work(batch)


def needs(places: tuple[Location, ...], mark: str = "") -> Needs:
    """What a worker needs for these places. `mark` is a file by which a folder that may be empty is known."""
    folders, files = [], []
    for place in places:
        if place.scheme.rpartition("+")[2] == "file":
            folders.append((place.path, tuple(_some_names(place.path))))
        files += [place.option(name) for name in _FILES if place.option(name)]
    if mark:
        folders.append((str(Path(mark).parent), (Path(mark).name,)))
    return Needs(version=portability.__version__, places=places, folders=tuple(folders), files=tuple(files))


def _some_names(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as found:
            return [entry.name for entry in islice(found, 8) if entry.name != PARTIAL_FOLDER]
    except OSError:
        return []  # not made yet, or the phase will say what is wrong with it


@contextlib.contextmanager
def marked(place: Location) -> Iterator[str]:
    """A file that exists for a moment where a destination is or will be, among the unfinished files that no listing shows."""
    if place.scheme.rpartition("+")[2] != "file":
        yield ""
        return
    root = Path(place.path)
    folder = root / PARTIAL_FOLDER if root.exists() else next(one for one in root.parents if one.exists())
    mark = folder / f".portability-{uuid.uuid4().hex}"
    made = False
    try:
        made = not folder.exists()
        folder.mkdir(mode=0o700, exist_ok=True)
        mark.touch(exist_ok=False)
    except OSError:
        yield ""  # it cannot be written: the first put says so, and why
        return
    try:
        yield str(mark)
    finally:
        mark.unlink(missing_ok=True)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()

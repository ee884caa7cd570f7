"""A job: two locations, a selection, a policy."""

from __future__ import annotations

import fnmatch
import uuid
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from connectors import Location
from connectors.credentials import resolve
from connectors.errors import LocationError, PermissionDeniedError
from portability.draw import Draw
from portability.errors import UsageError
from portability.job_drill import DrillTerms, Prices
from portability.throttle import Timetable

Level = Literal["listed", "reported", "read"]
NOWHERE = Location(scheme="memory", host="nowhere")
"""The destination of what has none: a census that is not kept, the job file of a drill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which things of the source belong to the job. The default: all of them, with every version."""

    prefix: str = ""
    include: tuple[str, ...] = ()
    """Shell patterns over keys; a thing that matches none of them is a line "excluded". Empty: everything."""
    exclude: tuple[str, ...] = ()
    versions: Literal["all", "latest"] = "all"
    sample: Draw | None = None
    """Of the things that the patterns leave, only those drawn; the others are lines "excluded" too."""

    @property
    def restricts(self) -> bool:
        """Whether it leaves out anything that the source lists."""
        return bool(self.include or self.exclude or self.sample)

    def excludes(self, key: str) -> bool:
        return self.leaves_out(key) or (self.sample is not None and not self.sample.holds(key))

    def leaves_out(self, key: str) -> bool:
        """Whether the patterns exclude it."""
        wanted = not self.include or any(fnmatch.fnmatchcase(key, pattern) for pattern in self.include)
        return not wanted or any(fnmatch.fnmatchcase(key, pattern) for pattern in self.exclude)

    def statement(self) -> dict[str, Any] | None:
        """The manifest header's `selection`; None when nothing is restricted."""
        said = {
            "prefix": self.prefix,
            "include": list(self.include),
            "exclude": list(self.exclude),
            "versions": "" if self.versions == "all" else self.versions,
            "sample": self.sample.statement() if self.sample else None,
        }
        return {name: value for name, value in said.items() if value} or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How the work is done; nothing here changes what is moved or proved."""

    retries: int = 5
    """Tries after the first one, for each operation."""
    connections: int | None = None
    """Operations at once on each host; None: what the hosts like."""
    workers: int | None = None
    """Worker processes; None: one for each core."""
    engine: str | None = None
    """A Dask scheduler whose workers do it, "dask://host:8786"; None: processes of this machine."""
    bandwidth: Timetable = field(default_factory=Timetable)
    until: str | None = None
    part_above: int | None = None
    """Objects larger than this many bytes go by parts where both hosts can; None: what the way to the hosts suggests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything that decides what a migration does."""

    source: Location
    destination: Location
    evidence: Path
    selection: Selection = Selection()
    policy: Policy = Policy()
    demands: Level = "read"
    accepts: tuple[str, ...] = ()
    """Reasons of skipped lines that the job's owner accepts in advance."""
    merge: bool = False
    """The destination may hold other things already."""
    using: str | None = None
    """Earlier evidence (folder or url) that gives parked attributes, names and versions back."""
    name: str = ""
    """What a job file calls itself."""
    drill: DrillTerms | None = None
    prices: Prices | None = None

    @property
    def accepted(self) -> frozenset[str]:
        """`accepts`, and "excluded" when patterns or a sample were given: who excludes accepts that."""
        return frozenset(self.accepts) | ({"excluded"} if self.selection.restricts else frozenset())

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to go on with an evidence folder."""
        return {
            "source": self.source.url,
            "destination": self.destination.url,
            "selection": self.selection.statement(),
            "using": self.using,
        }


def new_id() -> str:
    return uuid.uuid4().urn


FAR, NEAR = 64 << 20, 1 << 30
"""Bytes that move in a minute or so on a practice's line, and on its own network: what an interruption may cost again.

Parts make a cut cheap, and every byte dearer: the read-back has to hash them twice, by the part and as a whole.
"""


def part_above(job: Job) -> int:
    """The size above which objects of this job go by parts."""
    if job.policy.part_above is not None:
        return job.policy.part_above
    return NEAR if is_near(job.source) and is_near(job.destination) else FAR


def is_near(location: Location) -> bool:
    """Whether a place is on this machine or has an address of a private network; a name that would have to be looked up is far."""
    if location.scheme in {"file", "memory"}:
        return True
    host = urlsplit(location.option("endpoint")).hostname if location.scheme == "s3" else location.host
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_private
    except ValueError:
        return False


def check(job: Job) -> None:
    """What can be known to be wrong without contacting anyone. UsageError."""
    for side in (job.source, job.destination):
        if side.credentials not in {None, "prompt"}:
            try:
                resolve(side.credentials)
            except (LocationError, PermissionDeniedError) as error:
                raise UsageError(str(error)) from error
    if overlap(job.source, job.destination):
        raise UsageError(
            f"source and destination overlap: {job.source} and {job.destination}",
            hint="a migration needs two places, neither inside the other",
        )
    for side in (job.source, job.destination):
        if side.scheme == "file" and _inside(str(job.evidence.resolve().as_posix()), side.path):
            raise UsageError(
                f"the evidence folder {job.evidence} lies inside {side}", hint="keep it outside of both places"
            )


def overlap(one: Location, other: Location) -> bool:
    """Whether two locations of one host are equal or one holds the other, as far as their urls tell."""
    same = ("endpoint",)
    if (one.scheme, one.host, one.port) != (other.scheme, other.host, other.port):
        return False
    if any(one.option(name).rstrip("/") != other.option(name).rstrip("/") for name in same):
        return False
    first, second = one.path, other.path
    if one.scheme == "file":
        first, second = Path(first).resolve().as_posix(), Path(second).resolve().as_posix()
    return _inside(first, second) or _inside(second, first)


def _inside(path: str, folder: str) -> bool:
    inner, outer = path.rstrip("/") + "/", folder.rstrip("/") + "/"
    return inner.startswith(outer) or outer == "/"

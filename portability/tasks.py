"""What goes to a worker and what comes back: plain and picklable both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from connectors import Entry, Location
from portability.fidelity import Loss
from portability.light import light
from portability.thing import entry_of
from portability.throttle import Timetable


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to put. `path` is the destination's key."""

    id: int
    claim: str
    """What the census was told, as the ledger keeps it: the driver hands it on unread."""
    path: str
    by_content: str = ""
    """Instead of `path`: a folder in which the bytes stand under their own SHA-256."""
    elsewhere: Mapping[str, Any] | None = None
    """Where another archive holds the bytes that this thing had: they are read and compared, and put only if they differ."""
    overlay: Mapping[str, Any] = field(default_factory=dict)
    """Parked values from earlier evidence."""
    expect: str | None = None
    """SHA-256 that the bytes must have (earlier evidence knows them)."""
    replace: bool = False
    """An earlier run put an older content there: replace it."""
    replaces: str = ""
    """SHA-256 of that content: anything else there is somebody's work at the destination, and is never put over."""
    present: bool = False
    """The destination listed something there before the run: it is compared, and never put over."""
    settled: bool = False
    """In a chain: the run before has put this one."""

    @cached_property
    def entry(self) -> Entry:
        """The claim; its key is the source's."""
        return entry_of(self.claim)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The versions and delete markers of one key, oldest first, for a destination that keeps versions."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Start a large object: its parts follow as tasks of their own."""

    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The bytes [start, stop) of a large object; `entry` is its described entry."""

    id: int
    entry: Entry
    path: str
    token: str
    number: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Publish a large object whose parts are all there."""

    step: Step
    entry: Entry
    token: str
    tags: tuple[str, ...]


Task = Step | Chain | Begin | Part | Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How tasks are done: the part of a policy that workers need."""

    retries: int = 5
    connections: int | None = None
    """Operations at once on each host at most; None: what each likes."""
    width: int | None = None
    """Operations at once that are tried now, within what the hosts bear; None: what they like."""
    shares: int = 1
    """Worker processes that share the hosts' connections and the bandwidth."""
    read_back: bool = False
    """Every object that is put will be read back, and what the host then says of it compared."""
    bandwidth: Timetable = field(default_factory=Timetable)
    pause: float = 0.5
    """Seconds before the second try; doubled for each further one, with jitter, at most 30."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    source: Location
    destination: Location
    tasks: tuple[Task, ...]
    work: Work = Work()


@light
@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The thing passed through us and the destination acknowledged it."""

    id: int
    facts: str
    """The described source entry, as the ledger keeps it."""
    size: int | None
    sha256: str | None
    """None for a large object: its parts are in the ledger, reading it back yields the whole."""
    losses: tuple[Loss, ...]
    attempts: int
    received_at: str
    salt: str
    adopted: bool = False
    """It was there already, with equal bytes."""
    path: str | None = None
    """Where it went, when only its bytes could tell."""
    stored: Mapping[str, Any] | None = None
    """Size and SHA-256 of what the destination wrote, where that is not what passed (a ciphertext)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The thing did not pass. `problem` names the error class; `refused` a reason when it is a refusal, not an error."""

    id: int
    problem: str
    message: str
    attempts: int = 1
    refused: str = ""
    expected: str = ""
    found: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    id: int
    token: str
    part_size: int
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartMoved:
    id: int
    number: int
    size: int
    sha256: str
    tag: str
    attempts: int


Answer = Moved | Failure | Begun | PartMoved

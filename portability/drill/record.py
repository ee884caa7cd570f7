"""A drill's record, `drill.json`: everything that a report, a monitor or the next drill needs to know of one drill."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from manifests import canonical
from manifests.errors import FormatError
from manifests.files import write_private
from portability.rate import STEPS

FORMAT = "portability-drill/1"
NAME = "drill.json"
FINDINGS = "findings.csv"
"""Beside the record, for its owner's eyes: `problem,key,expected,found`, one line for each thing behind a finding."""

Count = Annotated[int, Field(ge=0, le=canonical.LARGEST)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fits = Literal["yes", "no", "unsure"]

Problem = Literal[
    "nothing-found",  # the source listed nothing, and did at an earlier drill
    "shrank",  # the source holds half of what it held at the last drill, or less
    "disappeared",  # more things are gone since the last drill than the threshold allows
    "skipped",  # things that the export would leave out without being accepted
    "failed",  # things that could not be moved
    "archive",  # the archive's own verification found something
    "restore",  # the second place does not hold what the archive holds
    "census",  # the restored things are not the things which the census counted
    "source-changed",  # the source changed while the drill ran
    "canary-missing",
    "canary-changed",
    "canary-stale",  # an earlier generation of a canary: the host serves an old state
    "late",  # the projected time to leave does not fit a deadline
    "clock",  # the history, or a canary, has a later date than this machine
    "unfinished",  # the drill before this one was given up; its scratch was removed
]
"""What can be wrong. A finding of a kind that never fails a drill has `fails` false."""


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Amount(_Plain):
    """A number of things (objects, folders, links, versions) and their bytes."""

    objects: Count = 0
    bytes: Count = 0


class Ratio(_Plain):
    """A part of a whole; kept as two numbers so that nothing is rounded up to 100 %."""

    part: Count
    of: Count

    @property
    def percent(self) -> float | None:
        """Rounded down to hundredths: 100.0 means all of it. None: there was nothing to count."""
        return self.part * 10_000 // self.of / 100 if self.of else None


class Verdict(_Plain):
    proven: bool
    exit_code: int
    """0, 3, 4 or 6, as for every command."""
    reasons: tuple[str, ...] = ()
    """Why not proven, in English; the findings with `fails` say the same by code and number."""


class Cover(_Plain):
    """How far the sampled drills of one rotation have come."""

    drills: Count
    """Drills of this rotation, this one included."""
    of_drills: Count
    """Drills after which everything was drawn once."""
    covered: Count
    """Things of today's listing that the rotation's drills have drawn and proven."""
    of: Count
    """Things of today's listing."""


class Sample(_Plain):
    share_ppm: Count
    """Parts in a million that were asked for: 5 % is 50000."""
    seed: str
    """Published: who has the listing draws the same sample again."""
    drawn: Count
    of: Count
    damaged: Count
    """Drawn things that were not proven."""
    fewer_than: Count
    """With the stated confidence fewer than this many of `of` things are damaged. Exact, hypergeometric, one-sided."""
    confidence_percent: Count = 95
    cover: Cover


class Scope(_Plain):
    kind: Literal["full", "sample"] = "full"
    sample: Sample | None = None
    selection: str = ""
    """What the job restricts the drill to, as canonical JSON; empty: nothing."""


class Phase(_Plain):
    name: Literal["census", "export", "verify", "restore", "compare"]
    milliseconds: Count
    objects: Count = 0
    bytes: Count = 0


class Throughput(_Plain):
    """What left the source in equal steps of time, an interruption included as steps in which nothing did."""

    began: str
    """RFC 3339, start of the first step."""
    step_seconds: Annotated[int, Field(ge=1, le=canonical.LARGEST)]
    objects: Annotated[tuple[Count, ...], Field(min_length=1, max_length=STEPS)]
    bytes: Annotated[tuple[Count, ...], Field(min_length=1, max_length=STEPS)]


class Score(_Plain):
    completeness: Ratio
    """Things restored and proven, of those that the census counted (or that were drawn)."""
    integrity: Ratio
    """Things whose bytes are the same at the end, of those that came out."""
    fidelity: Ratio
    """Things that lost no attribute on the way, of those that came out."""
    restorability: Ratio
    """Things that the second place holds as the archive does, of those in the archive."""
    milliseconds: Count
    bytes_per_second: Count
    """Over the whole drill."""


class Folder(_Plain):
    """A top-level folder. `name` may be personal data: shown only where keys are."""

    name: str | None
    """None: all folders that are not named; empty: things that lie in no folder."""
    found: Amount = Amount()
    appeared: Amount = Amount()
    changed: Amount = Amount()
    disappeared: Amount = Amount()


class Drift(_Plain):
    """Against the last full listing: what the practice's own work does not explain, a person must look at."""

    since: str
    """Id of the drill compared with."""
    before: Amount
    appeared: Amount
    changed: Amount
    """Other contents."""
    attributes: Amount = Amount()
    """The same contents, other attributes (type, headers, metadata, tags, mode)."""
    disappeared: Amount
    compared: Literal["contents", "listing"] = "contents"
    """Whether what did not change is known by digest, or only by name, size, date and version."""


class Finding(_Plain):
    """A problem and how often. Facts are numbers, dates and names of ours, never keys."""

    problem: Problem
    count: Count
    fails: bool = True
    """Whether it keeps the drill from being proven."""
    facts: Mapping[str, str | int] = {}
    sentence: str = ""
    """The same in English, for a screen."""


class Canaries(_Plain):
    planted: Count
    intact: Count
    missing: Count
    changed: Count
    stale: Count


class Deadline(_Plain):
    """A limit of the dated data file or of the contract, and whether the projected time fits it."""

    id: str
    en: str
    fr: str
    source: str
    version: str
    """Date of the text, or of its reading."""
    grade: str
    """How well the value is known: "read", "draft", "secondary", "contract"."""
    limit_days: Count | None = None
    limit_date: str | None = None
    """A contract's own day."""
    fits: Fits | None = None
    """None: the limit is not on the duration of the transfer."""


class Day(_Plain):
    """A line of the calendar that follows from a notice."""

    date: str
    """YYYY-MM-DD, the last day on which it holds."""
    id: str
    en: str
    fr: str
    source: str
    version: str


class TimeToLeave(_Plain):
    """The drill's throughput projected to everything, over the line's timetable."""

    low_seconds: Count
    likely_seconds: Count
    high_seconds: Count
    objects: Count
    bytes: Count
    bytes_per_second: Count
    drills: Count = 1
    """Drills that the interval rests on; with one it is wide by rule, not by measurement."""
    deadlines: tuple[Deadline, ...] = ()
    notice: str | None = None
    """YYYY-MM-DD, as the job file says."""
    calendar: tuple[Day, ...] = ()


class Quote(_Plain):
    """What the drill would cost, said before it started."""

    objects: Count
    bytes: Count
    requests: Count
    """Requests at the source, retries not counted."""
    egress_bytes: Count
    """Bytes that leave the source's host."""
    disk_bytes: Count
    """Room that the scratch places need."""
    seconds: Count | None = None
    money: Mapping[str, str] = {}
    """Currency -> amount as a decimal text, where the job file has prices."""


class History(_Plain):
    """The chain before this drill's own line, which fixes this record by its SHA-256."""

    length: Count
    head: Sha256
    """64 zeros before the first line."""


class Record(_Plain):
    """One drill."""

    format: Literal["portability-drill/1"] = "portability-drill/1"
    id: str
    """Start in UTC, `20261122T013000Z`; the name of its folder."""
    job: str
    """Name of the job."""
    tool: str
    """Version of the toolkit."""
    source: str
    """Uri, without credentials."""
    archive: str
    """Uri of the scratch archive, which is gone when the drill has ended."""
    restored_to: str
    """Uri of the second scratch place; emptied likewise."""
    started: str
    """RFC 3339, as are all times."""
    ended: str
    next_due: str
    """Empty: the job file has no `every`."""
    verdict: Verdict
    scope: Scope
    found: Amount
    """What the census of the source counted: everything, also when a sample was drawn."""
    moved: Amount
    """What came out into the archive."""
    proven: Amount
    """What was read back and hashed at the second place, equal to the source's bytes."""
    not_proven: Amount
    """What was to be proven and was not."""
    skipped: Mapping[str, Count] = {}
    """Reason -> things."""
    lost: Mapping[str, Count] = {}
    """Attribute -> things that lost it on the way; kept in the manifest where it could be parked."""
    levels: Mapping[str, Count] = {}
    """Evidence level (none, listed, reported, read) -> things, at the second place."""
    score: Score
    phases: tuple[Phase, ...]
    throughput: Throughput | None = None
    """None: nothing left the source."""
    folders: tuple[Folder, ...] = ()
    """The largest top-level folders, the rest as one."""
    drift: Drift | None = None
    """None: the first drill."""
    findings: tuple[Finding, ...] = ()
    canaries: Canaries | None = None
    """None: none were ever planted."""
    time_to_leave: TimeToLeave | None = None
    """None: nothing was moved, so nothing can be projected."""
    quote: Quote
    history: History
    root: str
    """RFC 6962 root over the receipts of the restore, hex: the value to copy on paper. Empty: nothing was sealed."""
    manifest_sha256: str
    """Of evidence/manifest.jsonl beside the record: the restore's own manifest."""
    listing_sha256: str = ""
    """Of listing.jsonl, with which the next drill is compared."""
    key: str = ""
    """Fingerprint of the key that signed the statement; empty: not signed."""

    def to_bytes(self) -> bytes:
        """The canonical line, with its LF."""
        return canonical.dumps(self.model_dump(mode="json")) + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Record:
        """FormatError if it is not a drill's record in canonical form."""
        plain = canonical.load_object(data.removesuffix(b"\n"))
        if plain.get("format") != FORMAT:
            raise FormatError(f"not a record in the format {FORMAT}", file=NAME)
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors(include_url=False, include_input=False)[0]["loc"])
            raise FormatError(f"not a drill's record: {where}", file=NAME) from error

    def write(self, folder: Path) -> None:
        """Put it into the drill's folder; FileExistsError if a record lies there."""
        write_private(folder / NAME, self.to_bytes())


def read(folder: Path) -> Record:
    """The record in a drill's folder. OSError, FormatError."""
    return Record.from_bytes((folder / NAME).read_bytes())

"""What the commands' functions return: plain values that the command line prints and programs read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Problem = Literal[
    "missing",  # the destination does not hold it
    "unexpected",  # the destination holds it, the manifest does not
    "size",
    "digest",
    "metadata",  # an attribute differs and was not declared lost
    "unreadable",  # it could not be read, so it could not be checked
    "source-changed",  # the source changed since the census
    "source-appeared",
    "source-gone",
    "failed",  # it could not be moved
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference. `key` is personal data: for the practice's own screen and files, never for logs."""

    key: str
    problem: Problem
    expected: str = ""
    found: str = ""
    depth: Literal["listed", "reported", "read"] = "listed"
    """How closely we looked when we saw it."""
    order: int | None = None

    def plain(self) -> dict[str, Any]:
        """JSON values; odd bytes of the key by backslash escapes."""
        return {name: printable(value) if isinstance(value, str) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Of things and bytes; `kinds` by line kind."""

    things: int = 0
    bytes: int = 0
    unsized: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CensusSummary:
    source: str
    at: str
    """RFC 3339, when the listing ended."""
    counts: Counts
    root: str
    """RFC 6962 root over the listed things, hex."""
    noncurrent: int = 0
    """Old versions among the objects."""
    largest: int = 0
    """Bytes of the largest object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingEnd:
    """What became of one setting of the old host at the new one. A setting is no data: it changes no verdict."""

    name: str
    end: Literal[
        "applied",  # put, and read back
        "there",  # the place has had it before
        "lost",  # the place has it not, or it could not be read back
        "wanted",  # it would be put
    ]
    reason: str = ""
    """Why it is lost, or when it would be put."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    source: str
    destination: str
    census: CensusSummary
    copy: Counts
    parked: Counts
    """Things that the destination cannot hold and that are kept whole in the manifest (links, markers, empty folders)."""
    carried: Counts = Counts()
    """A delta run: things that did not change since the run before."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> number of things that will not be moved."""
    refusals: tuple[Finding, ...] = ()
    """The first of the things behind `skipped`, each with its reason."""
    losses: Mapping[str, str] = field(default_factory=dict)
    """Attribute the destination does not keep -> what happens to it."""
    present: int = 0
    """Things planned that the destination seems to hold already (adopted if their bytes are equal)."""
    other: int = 0
    """Things at the destination that are not in the plan."""
    free: int | None = None
    rate: float | None = None
    """Bytes a second read from the source in a short sample; None: nothing was read."""
    seconds: float | None = None
    """Estimated duration of the run, read-back included."""
    obstacle: str = ""
    """Why `migrate` would refuse to start; empty: nothing stands in the way."""
    settings: tuple[SettingEnd, ...] = ()
    """Of the old host, where a restore was asked for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run or a verification ended. `proven` is never true unless every condition of archive-format.md 3.8 held."""

    proven: bool
    reasons: tuple[str, ...]
    """Why not proven; empty when proven."""
    sentence: str
    """The sentence printed with the verdict: selection, lines, losses and accepted skips."""
    exit_code: int
    evidence: str
    """Folder or url of the evidence."""
    source: str = ""
    destination: str = ""
    job: str = ""
    counts: Counts = Counts()
    levels: Mapping[str, int] = field(default_factory=dict)
    """Evidence level -> lines."""
    losses: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    """The first findings; all of them are in the findings file."""
    finding_count: int = 0
    root: str = ""
    """RFC 6962 root over the receipts, hex: the value to copy on paper."""
    manifest_sha256: str = ""
    seconds: float = 0.0
    moved_bytes: int = 0
    retries: int = 0
    settings: tuple[SettingEnd, ...] = ()
    """Of the old host, where a restore was asked for them."""
    next_step: str = ""
    """What the person can do now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a ledger says of its run."""

    evidence: str
    job: str
    source: str
    destination: str
    running: bool
    """A process works on it now."""
    phase: str
    """census, plan, transfer, closing, verify, seal or finished."""
    started: str
    updated: str
    census: Counts
    moved: Counts
    failed: int
    proven_lines: int
    """Lines already read back."""
    verdict: str
    """"PROVEN", "NOT PROVEN" or "" while there is none."""
    failures: Mapping[str, int] = field(default_factory=dict)


def printable(text: str) -> str:
    """Text safe for a terminal and for JSON: control and format characters, and bytes that are not UTF-8, as escapes."""
    return "".join(
        character
        if character.isprintable() and not "\ud800" <= character <= "\udfff"
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )

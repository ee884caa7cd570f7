"""What a report says, in no language: plain values, which are also `report.json` and its JSON Schema."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from portability.drill.record import Record

FORMAT = "portability-report/1"

Kind = Literal["migration", "archive", "drill"]
State = Literal[
    "proven",
    "not-proven",
    "altered",  # something is there that differs from the evidence, or the evidence itself is damaged
    "unfinished",  # nothing was sealed: the ledger of a run is all there is
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A number of things (objects with all their versions, folders, links, delete markers) and their bytes."""

    things: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`exit_code` is that of `portability verify`; `reasons` are English sentences, empty when proven."""

    state: State
    exit_code: int
    reasons: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        return self.state == "proven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder near the top. Its name is personal data: None unless it was asked for, and then a pseudonym or the name."""

    number: int
    """Place in the report; `--details` has the name. 0: everything beyond the largest ones, -1: things in no folder."""
    name: str | None = None
    things: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What passed in equal steps of time, without the steps in which nothing did at either end."""

    began: str = ""
    """RFC 3339, start of the first step."""
    step_seconds: int = 60
    bytes: tuple[int, ...] = ()
    things: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How often something was found. `problem` is a name of ours: of a difference, of a rule (V1 to V22), of a drill's finding."""

    problem: str
    count: int
    fails: bool = True
    """Whether it keeps the result from being proven."""
    facts: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who signed an archive or a drill. Origin is shown only by comparing the fingerprint with the one on paper."""

    state: str = "absent"
    """valid, absent, invalid, by another key, not checked."""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """One side's signature under the handover statement."""

    role: Literal["outgoing", "practice", "incoming"]
    state: str
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An earlier drill, for the trend."""

    id: str
    proven: bool
    things: int
    bytes: int
    completeness: float | None
    """Percent, rounded down."""
    milliseconds: int
    sampled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Counts only: no key of a thing is in here, and a folder's name only when asked for."""

    format: Literal["portability-report/1"] = "portability-report/1"
    kind: Kind
    made: str
    """RFC 3339, when the report was made; all times are."""
    tool: str
    """Version of the toolkit."""
    subject: str
    """Name of the folder or file that the report is about, without its path."""
    job: str = ""
    practice: str = ""
    source: str = ""
    destination: str = ""
    created: str = ""
    """When the evidence was sealed, by the clock of the machine that did it."""
    counted: str = ""
    """When the listing of the source ended."""
    checked: str = ""
    """When the destination, the archive or the restored copy was read back."""
    verdict: Verdict
    found: Amount = Amount()
    moved: Amount = Amount()
    proven: Amount = Amount()
    not_proven: Amount = Amount()
    lost: int = 0
    """Things that were found and did not arrive."""
    kinds: Mapping[str, int] = field(default_factory=dict)
    selection: str = ""
    """What the job was restricted to, as canonical JSON; empty: nothing."""
    demands: str = "read"
    levels: Mapping[str, int] = field(default_factory=dict)
    """Evidence level (none, listed, reported, read) -> things."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> things that were not carried."""
    accepted: tuple[str, ...] = ()
    """Reasons that were accepted in advance."""
    losses: Mapping[str, int] = field(default_factory=dict)
    """Attribute -> things that lost it on the way; the values are kept in the evidence, but for those in `gone`."""
    gone: Mapping[str, int] = field(default_factory=dict)
    """Attribute -> things whose value of it is kept nowhere."""
    folders: tuple[Folder, ...] = ()
    throughput: Throughput | None = None
    retries: int = 0
    findings: tuple[Finding, ...] = ()
    root: str = ""
    """RFC 6962 root over the receipts, hex: the value to copy on paper."""
    manifest_sha256: str = ""
    archive_id: str = ""
    encrypted: bool = False
    signature: Signature | None = None
    """None: this kind of evidence is not signed by itself."""
    statement_sha256: str = ""
    """Of the handover statement, where one was asked for."""
    signed: tuple[Signed, ...] = ()
    drill: Record | None = None
    history_head: str = ""
    """SHA-256 of this drill's line in the history, which fixes all lines before it."""
    trend: tuple[Point, ...] = ()
    """Drills of the same job, oldest first, this one last."""

    def to_json(self) -> str:
        """`report.json`."""
        return _adapter().dump_json(self, indent=2).decode() + "\n"

    def plain(self) -> dict[str, Any]:
        """The same as JSON values."""
        values: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return values


def schema() -> dict[str, Any]:
    """The JSON Schema of `report.json`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_adapter().json_schema(mode="serialization")}


def dumps_schema() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


@functools.cache
def _adapter() -> TypeAdapter[Report]:
    return TypeAdapter(Report)

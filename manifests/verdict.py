"""PROVEN or NOT PROVEN: one pure function over what was counted, used by the ledger and by the offline verifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from manifests import canonical
from manifests.errors import ManifestError
from manifests.manifest import Summary
from manifests.receipt import LEVELS, level_reaches


class Signature(StrEnum):
    """What is known about the signature."""

    VALID = "valid"
    """By the expected key."""
    ABSENT = "absent"
    INVALID = "invalid"
    OTHER_KEY = "by another key"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer, and everything that must be said with it."""

    proven: bool
    exit_code: int
    """0 proven, 3 not proven, 4 verification found differences, 6 evidence damaged or not signed as demanded."""
    reasons: tuple[str, ...]
    """Why it is not proven; empty when it is."""
    selection: str
    """What the run was restricted to, in words."""
    lines: int
    bytes: int
    findings: int = 0
    losses: Mapping[str, int] = field(default_factory=dict)
    """By name; they do not change a verdict on bytes and are never left out of it."""
    accepted: Mapping[str, int] = field(default_factory=dict)
    """Skipped lines whose reason was accepted in advance."""

    @property
    def word(self) -> str:
        """PROVEN or NOT PROVEN."""
        return "PROVEN" if self.proven else "NOT PROVEN"

    def __str__(self) -> str:
        """The sentence: selection, lines, losses and accepted skips are in it also when they are zero."""
        counted = f"{self.lines} lines, {self.bytes} bytes, {self.selection}"
        also = f"losses: {_listed(self.losses)}; accepted skips: {_listed(self.accepted)}"
        sentence = f"{self.word}: {counted}; {also}"
        return f"{sentence}; because {'; '.join(self.reasons)}" if self.reasons else sentence


def judge(
    summary: Summary,
    *,
    findings: int = 0,
    unchecked: int = 0,
    evidence: Mapping[str, int] | None = None,
    demands: str | None = None,
    signature: Signature = Signature.ABSENT,
    signature_demanded: bool = False,
) -> Verdict:
    """The verdict over a manifest with a valid seal.

    `findings` are differences that a verification found, `unchecked` are things it could not look at; `evidence` replaces
    the levels in the lines by what was reached since, `none` included; `demands` replaces the header's.
    """
    header, census = summary.header, summary.header.census
    demanded = demands or header.demands
    reached = summary.evidence if evidence is None else evidence
    accepted = {reason: count for reason, count in summary.skipped.items() if reason in header.accepts}
    refused = {reason: count for reason, count in summary.skipped.items() if reason not in header.accepts}
    below = {level: reached[level] for level in LEVELS if reached.get(level) and not level_reaches(level, demanded)}
    stored = summary.count - sum(summary.skipped.values())

    reasons: list[str] = []
    if census.lines <= 0:
        reasons.append("the source listed nothing: there is nothing to prove")
    elif stored <= 0:
        reasons.append("nothing arrived: every line is a skip, or missing")
    if summary.count != census.lines:
        reasons.append(f"{summary.count} lines where the census counted {census.lines}")
    if _present(summary.kinds) != _present(census.kinds):
        reasons.append("kinds of lines differ from the census")
    if summary.census_root != census.root:
        reasons.append("the lines are not the things which the census listed")
    if not census.unsized and summary.bytes != census.bytes:
        reasons.append(f"{summary.bytes} bytes where the census counted {census.bytes}")
    if refused:
        reasons.append(f"skipped without being accepted: {_listed(refused)}")
    if below:
        reasons.append(f"evidence below {demanded}: {_listed(below)}")
    if sum(reached.values()) != stored:
        reasons.append(f"evidence is known for {sum(reached.values())} of {stored} lines")
    if unchecked:
        reasons.append(f"{unchecked} could not be checked")
    if findings:
        reasons.append(f"{findings} differences found")
    forged = signature in {Signature.INVALID, Signature.OTHER_KEY} or (
        signature_demanded and signature is not Signature.VALID
    )
    if forged:
        demand = "demanded, and " if signature_demanded else ""
        reasons.append(f"the signature is {demand}{signature.value}")
    return Verdict(
        proven=not reasons,
        exit_code=6 if forged else 4 if findings else 3 if reasons else 0,
        reasons=tuple(reasons),
        selection=_selection(summary),
        lines=summary.count,
        bytes=summary.bytes,
        findings=findings,
        losses=summary.losses,
        accepted=accepted,
    )


def refuse(error: ManifestError) -> Verdict:
    """The verdict over evidence that could not be read: damage supports no lesser statement."""
    return Verdict(
        proven=False,
        exit_code=6,
        reasons=(str(error),),
        selection="the evidence is refused, nothing in it was counted",
        lines=0,
        bytes=0,
    )


def _selection(summary: Summary) -> str:
    if summary.header.selection is None:
        return f"everything under {summary.header.source}"
    chosen = canonical.dumps(dict(summary.header.selection)).decode()
    return f"of {summary.header.source} only {chosen}"


def _present(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()) if count) or "0"

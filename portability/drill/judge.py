"""From what was counted to findings, verdict and score: pure functions, the one place that says what fails a drill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portability.drill.listing import Facts, amount
from portability.drill.proof import Proof
from portability.drill.record import (
    Amount,
    Canaries,
    Drift,
    Finding,
    Problem,
    Ratio,
    Record,
    Score,
    TimeToLeave,
    Verdict,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that the steps of a drill have seen."""

    facts: Facts
    accepted: frozenset[str]
    verification: Mapping[str, Any] | None = None
    """`intact`, `findings`, `rule` of the archive's own verification; None: there was no archive."""
    outcome: Mapping[str, Any] | None = None
    """`finding_count` of the restore; None: there was none."""
    proof: Proof | None = None
    drift: Drift | None = None
    allowed: int = 0
    """Things that may have disappeared."""
    canaries: Canaries | None = None
    last: Record | None = None
    in_future: bool = False
    """The last drill is dated after this one."""
    leaving: TimeToLeave | None = None
    unfinished: int = 0


def proven(seen: Seen) -> Amount:
    """What was read back at the second place, less what is not the archive's."""
    if seen.proof is None:
        return Amount()
    return Amount(objects=max(0, seen.proof.things - seen.proof.wrong), bytes=seen.proof.bytes)


def findings(seen: Seen) -> tuple[Finding, ...]:
    """What was found, what fails the drill first."""
    found = [one for one in _findings(seen) if one.count]
    return tuple(sorted(found, key=lambda one: not one.fails))


def _findings(seen: Seen) -> Iterator[Finding]:
    yield from _of_this_drill(seen)
    yield from _of_the_source(seen)
    if seen.leaving is not None:
        late = [one for one in seen.leaving.deadlines if one.fits == "no"]
        yield _finding(
            "late",
            len(late),
            f"leaving takes longer than {_many(len(late), 'deadline')} allows",
            fails=False,
            low_seconds=seen.leaving.low_seconds,
        )
    if seen.in_future and seen.last is not None:
        yield _finding(
            "clock",
            1,
            f"the last drill is dated {seen.last.ended}, after this one: a clock was, or is, wrong",
            fails=False,
            last=seen.last.ended,
        )
    yield _finding(
        "unfinished",
        seen.unfinished,
        f"{_many(seen.unfinished, 'earlier drill')} given up; what was left in the scratch places was removed",
        fails=False,
    )


def _of_this_drill(seen: Seen) -> Iterator[Finding]:
    facts, proof = seen.facts, seen.proof
    refused = {reason: count for reason, count in facts.skipped.items() if reason not in seen.accepted}
    told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(refused.items()))
    yield _finding("nothing-found", int(not facts.found[0]), "the source lists nothing")
    yield _finding("skipped", sum(refused.values()), f"things that an export leaves out: {told}", facts=refused)
    yield _finding(
        "failed",
        facts.failed,
        f"{_many(facts.failed, 'thing')} listed by the source did not come out whole: no archive could be closed",
        of=facts.asked[0],
    )
    if seen.verification is not None and not seen.verification["intact"]:
        yield _finding(
            "archive",
            max(1, seen.verification["findings"]),
            f"the archive did not pass its own verification ({seen.verification['rule']})",
            rule=seen.verification["rule"],
        )
    if proof is not None and seen.outcome is not None:
        differing = max(proof.differing, seen.outcome["finding_count"])
        yield _finding(
            "restore",
            differing,
            f"{_many(differing, 'thing')} at the second place is not as in the archive, or is missing there",
        )
        yield _finding(
            "census",
            int(proof.census_root != facts.census_root),
            "the things in the archive are not the things that the census counted",
        )
    yield _finding(
        "source-changed",
        facts.changed_since,
        f"{_many(facts.changed_since, 'thing')} at the source changed after the census: not part of this drill",
        fails=False,
    )


def _of_the_source(seen: Seen) -> Iterator[Finding]:
    if seen.canaries is not None:
        counts = seen.canaries
        for problem, count, words in (
            ("canary-missing", counts.missing, "did not come out"),
            ("canary-changed", counts.changed, "came out with other contents"),
            ("canary-stale", counts.stale, "came out as before it was renewed: the host serves an old state"),
        ):
            yield _finding(problem, count, f"{_many(count, 'canary', 'canaries')} {words}", of=counts.planted)  # type: ignore[arg-type]  # three of the problems
    if seen.drift is None:
        return
    before, now, gone = seen.drift.before, amount(seen.facts.found), seen.drift.disappeared
    halved = before.objects and (2 * now.objects <= before.objects or 2 * now.bytes <= before.bytes != 0)
    yield _finding(
        "shrank",
        int(bool(halved)),
        f"the source holds {now.objects:,} things and {now.bytes:,} bytes; at the last drill it held {before.objects:,} "
        f"and {before.bytes:,}: half of it or more is gone. Ask the host before anything else is deleted",
        before_objects=before.objects,
        before_bytes=before.bytes,
        objects=now.objects,
        bytes=now.bytes,
    )
    yield _finding(
        "disappeared",
        gone.objects if gone.objects > seen.allowed else 0,
        f"{_many(gone.objects, 'thing')} disappeared since the last drill; {seen.allowed:,} may",
        allowed=seen.allowed,
        bytes=gone.bytes,
    )


def is_alarmed(record: Record) -> bool:
    """Whether a drill found more gone than may be."""
    return any(one.fails and one.problem in {"disappeared", "shrank"} for one in record.findings)


def _finding(
    problem: Problem,
    count: int,
    sentence: str,
    *,
    fails: bool = True,
    facts: Mapping[str, int] | None = None,
    **more: str | int,
) -> Finding:
    return Finding(problem=problem, count=count, fails=fails, facts={**(facts or {}), **more}, sentence=sentence)


def _many(count: int, one: str, more: str = "") -> str:
    return f"1 {one}" if count == 1 else f"{count:,} {more or one + 's'}"


def verdict(seen: Seen, found: Sequence[Finding]) -> Verdict:
    """PROVEN only if nothing fails it and everything asked for was read back at the second place."""
    failing = [one for one in found if one.fails]
    asked, done = seen.facts.asked[0], proven(seen).objects
    reasons = [one.sentence for one in failing]
    if not asked:
        reasons.append("there was nothing to prove")
    elif done < asked and not failing:
        reasons.append(f"{asked - done:,} of {asked:,} things were not read back at the second place")
    problems = {one.problem for one in failing}
    code = 6 if problems & {"archive", "census"} else 4 if "restore" in problems else 3 if reasons else 0
    return Verdict(proven=not reasons, exit_code=code, reasons=tuple(reasons))


def score(seen: Seen, *, milliseconds: int) -> Score:
    facts, proof = seen.facts, seen.proof
    done, moved = proven(seen), facts.moved[0]
    whole = facts.moved[0] + facts.failed
    return Score(
        completeness=Ratio(part=min(done.objects, facts.asked[0]), of=facts.asked[0]),
        integrity=Ratio(part=max(0, moved - (proof.differing if proof else 0)), of=whole),
        fidelity=Ratio(part=max(0, proof.archived - proof.lossy) if proof else 0, of=proof.archived if proof else 0),
        restorability=Ratio(part=min(done.objects, proof.archived) if proof else 0, of=proof.archived if proof else 0),
        milliseconds=milliseconds,
        bytes_per_second=facts.moved[1] * 1000 // max(1, milliseconds),
    )

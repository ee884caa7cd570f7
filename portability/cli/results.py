"""Results as text for people, verdict first, and as records for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from portability.cli.words import duration, each, number, size_text, table
from portability.outcome import CensusSummary, Counts, Finding, Outcome, PlanSummary, SettingEnd, Status, printable

if TYPE_CHECKING:
    from portability.drill.record import Quote

SHOWN = 20
"""Findings printed for people; all of them are in the findings file."""
DETAIL = 60
"""Characters of a detail that still stands beside its key."""

Row = Sequence[str]


def census_text(summary: CensusSummary) -> str:
    counts = summary.counts
    rows = [
        ("found", number(counts.things), _size(counts), each(counts.kinds)),
        ("old versions", number(summary.noncurrent), "", ""),
        ("largest", "", size_text(summary.largest), ""),
    ]
    if counts.unsized:
        rows.append(("size unknown", number(counts.unsized), "", "the host does not state it"))
    facts = [("source", summary.source), ("at", summary.at), ("root", summary.root)]
    return page(headline(summary.counts.things > 0, "COUNTED", "NOTHING FOUND"), table(rows), fact_lines(facts))


def census_records(summary: CensusSummary) -> Iterator[dict[str, Any]]:
    yield {"type": "census", **asdict(summary)}


def plan_text(plan: PlanSummary, costs: Quote, *, ready: bool) -> str:
    rows: list[Row] = [
        ("found", *_counts(plan.census.counts)),
        ("to move", *_counts(plan.copy), f"{number(plan.present)} seem to be there already" if plan.present else ""),
    ]
    if plan.parked.things:
        rows.append(("kept as lines", number(plan.parked.things), "", each(plan.parked.kinds)))
    if plan.carried.things:
        rows.append(("unchanged", *_counts(plan.carried)))
    rows.append(("refused", number(sum(plan.skipped.values())), "", each(plan.skipped)))
    if plan.other:
        rows.append(("also there", number(plan.other), "", "at the destination, not from this source"))
    facts = [("source", plan.source), ("destination", plan.destination)]
    if plan.free is not None:
        facts.append(("free space", size_text(plan.free)))
    if plan.seconds is not None:
        rate = f", at {size_text(plan.rate)}/s" if plan.rate else ""
        facts.append(("time", f"about {duration(plan.seconds)}, read-back included{rate}"))
    money = "".join(f", {amount} {currency}" for currency, amount in costs.money.items())
    leaves = f"{size_text(costs.egress_bytes)} in about {number(costs.requests)} requests{money}"
    facts.append(("leaves the host", leaves))
    return page(
        headline(ready, "READY", "NOT READY"),
        printable(plan.obstacle),
        table(rows),
        block("What the destination does not keep", table(sorted(plan.losses.items()), right=frozenset())),
        listing("Will not be moved", _refusals(plan.refusals), sum(plan.skipped.values())),
        _settings(plan.settings),
        fact_lines(facts),
    )


def plan_records(plan: PlanSummary, costs: Quote, *, ready: bool) -> Iterator[dict[str, Any]]:
    record = asdict(plan)
    del record["refusals"]
    quote = costs.model_dump(mode="json", include={"requests", "egress_bytes", "money"})
    yield {"type": "plan", "ready": ready, "quote": quote, **record}
    yield from (
        {"type": "refusal", "reason": reason, "key": key, "detail": detail}
        for reason, key, detail in _refusals(plan.refusals)
    )


def outcome_text(outcome: Outcome) -> str:
    skipped = sum(outcome.skipped.values())
    read = outcome.levels.get("read", 0)
    weaker = {level: outcome.levels.get(level, 0) for level in ("reported", "listed")}
    rows: list[Row] = [("found", *_counts(outcome.counts))]
    if outcome.moved_bytes:
        rows.append(("moved", "", size_text(outcome.moved_bytes)))
    rows.append(("proven", number(read), "", "read back and hashed" if read else ""))
    rows += [(level, number(count), "", "the host says so") for level, count in weaker.items() if count]
    rows += [
        ("not proven", number(max(0, outcome.counts.things - read - sum(weaker.values()) - skipped))),
        ("skipped", number(skipped), "", each(outcome.skipped)),
        ("lost attributes", number(sum(outcome.losses.values())), "", each(outcome.losses)),
    ]
    facts = [("source", outcome.source), ("destination", outcome.destination), ("evidence", outcome.evidence)]
    facts += [("root", outcome.root), ("manifest", outcome.manifest_sha256 and f"sha256 {outcome.manifest_sha256}")]
    facts.append(("time", _time(outcome)))
    return page(
        headline(outcome.proven, "PROVEN", "NOT PROVEN"),
        _sentence(outcome),
        table(rows),
        block("Why not proven", [f"  {printable(reason)}" for reason in outcome.reasons]),
        listing("Findings", [_difference(finding) for finding in outcome.findings], outcome.finding_count),
        _settings(outcome.settings),
        fact_lines(facts),
        f"  → {outcome.next_step}" if outcome.next_step else "",
    )


def outcome_records(outcome: Outcome) -> Iterator[dict[str, Any]]:
    record = asdict(outcome)
    del record["findings"]
    yield {"type": "outcome", "verdict": _verdict(outcome), **record}
    yield from ({"type": "finding", **finding.plain()} for finding in outcome.findings)


def status_text(status: Status) -> str:
    if status.verdict:
        head = headline(status.verdict == "PROVEN", "PROVEN", "NOT PROVEN")
    else:
        head = click.style(
            "RUNNING" if status.running else "STOPPED", fg="green" if status.running else "yellow", bold=True
        )
    rows: list[Row] = [
        ("found", *_counts(status.census)),
        ("moved", *_counts(status.moved), _share(status.moved, status.census)),
        ("read back", number(status.proven_lines)),
        ("failed", number(status.failed), "", each(status.failures)),
    ]
    facts = [("source", status.source), ("destination", status.destination), ("evidence", status.evidence)]
    facts += [("job", status.job), ("phase", status.phase), ("started", status.started), ("updated", status.updated)]
    stopped = not status.running and not status.verdict
    return page(head, table(rows), fact_lines(facts), "  → run the same command again to go on" if stopped else "")


def status_records(status: Status) -> Iterator[dict[str, Any]]:
    yield {"type": "status", **asdict(status)}


def _verdict(outcome: Outcome) -> str:
    return "PROVEN" if outcome.proven else "NOT PROVEN"


def _sentence(outcome: Outcome) -> str:
    """Without the verdict and the reasons, which the sentence repeats for where it stands alone."""
    sentence = printable(outcome.sentence).removeprefix(f"{_verdict(outcome)}: ")
    return sentence.partition("; because ")[0] if outcome.reasons else sentence


def headline(good: bool, yes: str, no: str) -> str:
    return click.style(yes, fg="green", bold=True) if good else click.style(no, fg="red", bold=True)


def page(*parts: str | list[str]) -> str:
    """Blocks with one empty line between them; the sentence stands directly under the verdict."""
    head, *rest = ("\n".join(part) if isinstance(part, list) else part for part in parts)
    if rest and not rest[0].startswith(" ") and rest[0]:
        head = f"{head}\n{rest.pop(0)}"
    return "\n\n".join(block for block in (head, *rest) if block)


def block(title: str, lines: list[str]) -> list[str]:
    return [click.style(title, bold=True), *lines] if lines else []


def fact_lines(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return table([(name, printable(value)) for name, value in pairs if value], right=frozenset())


def listing(title: str, rows: Sequence[tuple[str, str, str]], count: int) -> list[str]:
    """What happened, key, detail; details that are too long for a column stand under their key."""
    shown = rows[:SHOWN]
    more = f", the first {len(shown)} of {number(count)}" if count > len(shown) else ""
    if all(len(detail) <= DETAIL for _, _, detail in shown):
        return block(f"{title}{more}", table(shown, right=frozenset()))
    heads = table([row[:2] for row in shown], right=frozenset())
    lines = [(head, f"      {detail}") for head, (_, _, detail) in zip(heads, shown, strict=True)]
    return block(f"{title}{more}", [line for pair in lines for line in pair if line.strip()])


def _settings(ends: Sequence[SettingEnd]) -> list[str]:
    words = {"applied": "set, and read back", "there": "there already", "lost": "not set", "wanted": "would be set"}
    return listing(
        "Settings of the old host", [(printable(one.name), words[one.end], printable(one.reason)) for one in ends], 0
    )


def _difference(finding: Finding) -> tuple[str, str, str]:
    expected, found = printable(finding.expected), printable(finding.found)
    if finding.problem == "failed":  # the message says it all; `expected` holds the kind of error, for programs
        return finding.problem, printable(finding.key), found
    parts = (f"expected {expected}" if expected else "", f"found {found}" if expected and found else found)
    return finding.problem, printable(finding.key), ", ".join(part for part in parts if part)


def _refusals(refusals: Sequence[Finding]) -> list[tuple[str, str, str]]:
    """Reason, key and detail; a plan states the reason as what is expected in the manifest."""
    return [(printable(one.expected), printable(one.key), printable(one.found)) for one in refusals]


def _counts(counts: Counts) -> tuple[str, str]:
    return number(counts.things), _size(counts)


def _size(counts: Counts) -> str:
    return size_text(counts.bytes)


def _share(part: Counts, whole: Counts) -> str:
    if whole.bytes:
        return f"{100 * part.bytes // whole.bytes} %"
    return f"{100 * part.things // whole.things} %" if whole.things else ""


def _time(outcome: Outcome) -> str:
    if not outcome.seconds:
        return ""
    retries: Mapping[str, int] = {"retries" if outcome.retries != 1 else "retry": outcome.retries}
    rate = f"{size_text(outcome.moved_bytes / outcome.seconds)}/s" if outcome.moved_bytes else ""
    return ", ".join(part for part in (duration(outcome.seconds), rate, each(retries)) if part)

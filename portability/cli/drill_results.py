"""What a drill, its quote, its status and its schedule look like: text for people, verdict first, and records for programs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import click

from portability.cli.results import Row, block, fact_lines, headline, page
from portability.cli.words import duration, each, number, size_text, table
from portability.drill.judge import is_alarmed
from portability.outcome import printable
from portability.shell import command_line

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from portability.drill.finish import Drilled
    from portability.drill.record import Amount, Drift, Quote, Record, Sample, TimeToLeave
    from portability.drill.schedule import Schedule
    from portability.drill.status import DrillStatus


def quote_text(quote: Quote) -> str:
    """One line, said before the first byte moves."""
    parts = [
        f"{number(quote.objects)} things, {size_text(quote.bytes)}",
        f"{size_text(quote.egress_bytes)} leave the host in about {number(quote.requests)} requests",
        f"{size_text(quote.disk_bytes)} of room needed",
    ]
    parts += [f"about {duration(quote.seconds)}"] if quote.seconds is not None else []
    parts += [f"{amount} {currency}" for currency, amount in quote.money.items()]
    return "; ".join(parts)


_MARKS = {"fidelity": "with every attribute, as far as the scratch places hold them; the values stay in the evidence"}


def drill_text(drilled: Drilled, job_file: Path, report: Path | None = None) -> str:
    record = drilled.record
    score = record.score
    rows: list[Row] = [
        ("found", *_amount(record.found)),
        ("moved", *_amount(record.moved)),
        ("proven", *_amount(record.proven), "restored elsewhere, read back and equal"),
        ("not proven", *_amount(record.not_proven)),
        ("skipped", number(sum(record.skipped.values())), "", _skipped(record)),
        ("attributes not carried", number(sum(record.lost.values())), "", each(record.lost)),
    ]
    if record.canaries:
        rows.append(("canaries", number(record.canaries.intact), "", f"intact, of {number(record.canaries.planted)}"))
    else:
        rows.append(
            ("canaries", "0", "", f"none planted: {command_line('portability', 'canary', 'plant', '--job', job_file)}")
        )
    marks = [
        (name, _percent(getattr(score, name).percent), _MARKS.get(name, ""))
        for name in ("completeness", "integrity", "fidelity", "restorability")
    ]
    facts = [("source", record.source), ("kept in", str(drilled.folder))]
    facts += [("report", str(report))] if report else []
    facts += [("root", record.root)]
    facts += [("history", f"{drilled.head} (its newest line, for paper)")]
    facts += [("signed by", record.key), ("next due", record.next_due)]
    facts.append(("removed", f"{number(drilled.removed)} scratch files, all that this drill wrote there"))
    return page(
        headline(record.verdict.proven, "PROVEN", "NOT PROVEN"),
        _sentence(record),
        table(rows),
        table(marks, right=frozenset({1})),
        block("Findings", [f"  {printable(one.sentence)}" for one in record.findings]),
        block("Since the last drill", _drift(record.drift)),
        block("Time to leave", _leaving(record.time_to_leave)),
        fact_lines(facts),
        *(f"  ! {printable(warning)}" for warning in drilled.warnings),
        f"  → {_next_step(drilled, job_file, report)}",
    )


def drill_records(drilled: Drilled, report: Path | None = None) -> Iterator[dict[str, Any]]:
    yield {
        "type": "drill",
        "folder": str(drilled.folder),
        "report": str(report) if report else None,
        "history_head": drilled.head,
        "removed": drilled.removed,
        "warnings": list(drilled.warnings),
        **drilled.record.model_dump(mode="json"),
    }


def _skipped(record: Record) -> str:
    """What a sample does not draw is excluded by the draw, not by the job."""
    if record.scope.sample is None:
        return each(record.skipped)
    drawn = "excluded or not drawn" if record.scope.selection else "not drawn"
    return each({drawn if reason == "excluded" else reason: count for reason, count in record.skipped.items()})


def _next_step(drilled: Drilled, job_file: Path, report: Path | None) -> str:
    folder = drilled.folder
    if drilled.record.verdict.proven:
        page = report or command_line("portability", "report", folder)
        return f"print the report, and keep it with its root and the history line: {page}"
    known = f'; was it meant to go? baseline = "{drilled.record.id}" in [drill] accepts it'
    again = command_line("portability", "drill", "--job", job_file)
    found = folder / "findings.csv"
    return f"look at {found}, ask the host, then: {again}{known if is_alarmed(drilled.record) else ''}"


def _sentence(record: Record) -> str:
    took = duration(record.score.milliseconds / 1000)
    scope = _sampled(record.scope.sample) if record.scope.sample else "everything that the source lists"
    also = f", of a selection: {record.scope.selection}" if record.scope.selection else ""
    return f"exit drill {record.id} of {printable(record.job)}: {scope}{printable(also)}; {took}"


def _sampled(sample: Sample) -> str:
    cover = sample.cover
    return (
        f"a sample of {number(sample.drawn)} of {number(sample.of)} objects (seed {sample.seed}): with "
        f"{sample.confidence_percent} % confidence fewer than {number(sample.fewer_than)} of {number(sample.of)} objects are "
        f"damaged; drill {cover.drills} of {cover.of_drills} of this rotation, which has proven {number(cover.covered)} of "
        f"{number(cover.of)} so far"
    )


def _drift(drift: Drift | None) -> list[str]:
    if drift is None:
        return []
    rows: list[Row] = [("compared with", drift.since, "", "by " + drift.compared)]
    rows += [(name, *_amount(getattr(drift, name))) for name in ("appeared", "changed", "attributes", "disappeared")]
    return table(rows)


def _leaving(leaving: TimeToLeave | None) -> list[str]:
    if leaving is None:
        return []
    span = f"{duration(leaving.low_seconds)} to {duration(leaving.high_seconds)}"
    lines = [f"  likely {duration(leaving.likely_seconds)} ({span}), at {size_text(leaving.bytes_per_second)}/s"]
    lines += [f"  {one.fits}: {one.en} ({one.source})" for one in leaving.deadlines if one.fits is not None]
    if leaving.notice:
        lines.append(f"  calendar after a notice on {leaving.notice}; this is no legal advice:")
        lines += [f"    {day.date}  {day.en}" for day in leaving.calendar]
    return [printable(line) for line in lines]


def _amount(amount: Amount) -> tuple[str, str]:
    return number(amount.objects), size_text(amount.bytes)


def _percent(value: float | None) -> str:
    return "nothing to count" if value is None else f"{value:.2f} %"


def status_text(status: DrillStatus, job_file: Path, folder: Path) -> str:
    last = status.last
    if last is None:
        head, told = headline(False, "", "NEVER DRILLED"), "no drill of this job is in its history"
    elif status.clock:
        head = headline(False, "", "CLOCK WRONG")
        told = f"the last drill is dated {last.ended}, later than this machine's clock: its age cannot be known"
    elif status.overdue:
        head, told = (
            headline(False, "", "OVERDUE"),
            f"the last drill was {_age(status.age)} ago; one was due {status.due}",
        )
    else:
        head = headline(last.verdict.proven, "PROVEN", "NOT PROVEN")
        told = f"the last drill was {_age(status.age)} ago; the next one is due {status.due}"
    facts = [("last drill", f"{last.id}, {'PROVEN' if last.verdict.proven else 'NOT PROVEN'}" if last else "none")]
    facts += [("findings", ", ".join(one.problem for one in last.findings))] if last else []
    facts += [("drills", str(status.drills)), ("history", status.head)]
    step = f"  → {command_line('portability', 'drill', '--job', job_file)}"
    if last is not None and not last.verdict.proven and not status.overdue:
        step = f"  → look at {folder / last.id / 'findings.csv'}, ask the host, then{step.removeprefix('  →')}"
    if status.running:
        facts.append(("now", "a drill is running"))
        step = ""
    elif status.unfinished:
        facts.append(("interrupted", f"{status.unfinished}: the same command goes on with it"))
    elif status.exit_code == 0:
        step = ""
    if status.clock:
        step = "  → set this machine's clock; if it is right, it was wrong on the day of that drill: drill once more"
    return page(head, told, fact_lines(facts), step)


def status_records(status: DrillStatus) -> Iterator[dict[str, Any]]:
    last = status.last
    yield {
        "type": "drill-status",
        "last": last.id if last else None,
        "ended": last.ended if last else None,
        "proven": last.verdict.proven if last else None,
        "findings": {one.problem: one.count for one in last.findings} if last else {},
        "age_seconds": round(status.age.total_seconds()) if status.age is not None else None,
        "due": status.due or None,
        "overdue": status.overdue,
        "clock": status.clock,
        "running": status.running,
        "unfinished": status.unfinished,
        "drills": status.drills,
        "history_head": status.head,
        "exit_code": status.exit_code,
    }


def _age(age: timedelta | None) -> str:
    if age is None:
        return "?"
    return f"{age.days} days" if age.days >= 2 else duration(age.total_seconds())


def not_due_text(due: datetime) -> str:
    return f"{click.style('NOT DUE', fg='green', bold=True)}\nthe next drill is due {due.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def schedule_text(schedule: Schedule) -> str:
    """The three of them, each with what to do with it; nothing is installed."""
    name, file = schedule.name, schedule.environment_file
    return "\n".join(
        [
            *(f"# ! {one}" for one in schedule.unattended),
            *(_environment_text(schedule) if file else ()),
            "# Linux with systemd: save the two units (add User= to the first), then:",
            f"#   systemctl daemon-reload && systemctl enable --now {name}.timer",
            *(
                (
                    "# systemd reads EnvironmentFile= as root; root may own it. Credentials as files (file:PATH) go better in",
                    f"# LoadCredential=NAME:PATH, with the reference file:/run/credentials/{name}.service/NAME",
                )
                if file
                else ()
            ),
            f"# /etc/systemd/system/{name}.service",
            schedule.service,
            f"# /etc/systemd/system/{name}.timer",
            schedule.timer,
            "# Any Unix with cron: add this line with crontab -e, as the user who drills; what it prints comes by mail",
            schedule.cron,
            "",
            f"# Windows: save this as {name}.xml (UTF-16), then, as the user who drills (it asks for the password once):",
            f"#   {schedule.task_command}",
            *(_windows_text(schedule) if file else ()),
            schedule.task,
        ]
    ).rstrip()


def _environment_text(schedule: Schedule) -> list[str]:
    path = command_line(schedule.environment_file)
    return [
        "# Credentials: a timer has nobody's environment. Make this file, for its owner alone, before anything is in it:",
        f"#   (umask 077; touch {path}) && chmod 600 {path}",
        "# then write into it, each value between the quotes:",
        schedule.environment,
    ]


def _windows_text(schedule: Schedule) -> list[str]:
    return [
        "# The task finds the credentials where its user has them. Best in the Windows Credential Manager, with references",
        "# keyring:SERVICE in the job file; or as variables of that user, which stand in clear in the registry:",
        *(f"#   setx {name} VALUE" for name in schedule.variables),
    ]


def schedule_records(schedule: Schedule) -> Iterator[dict[str, Any]]:
    yield {
        "type": "schedule",
        "name": schedule.name,
        "service": schedule.service,
        "timer": schedule.timer,
        "cron": schedule.cron,
        "task": schedule.task,
        "task_command": schedule.task_command,
        "environment": schedule.environment,
        "environment_file": schedule.environment_file,
        "unattended": list(schedule.unattended),
    }

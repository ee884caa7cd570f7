"""`portability plan`: what a migration would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from portability.cli import options
from portability.cli.app import command as make
from portability.cli.results import plan_records, plan_text
from portability.cli.screen import Screen

if TYPE_CHECKING:
    from portability.job import Job
    from portability.outcome import PlanSummary


@make(
    "plan",
    examples="""
        portability plan --from s3://cabinet --to sftp://new.example/home/cabinet
        portability plan --job cabinet.toml --json
    """,
)
@options.places
@options.selection
@options.evidence
@options.terms
@options.pace
def command(screen: Screen, **flags: Any) -> int:
    """Show what `migrate` would do, and write nothing.

    Counts, bytes, what would be refused and why, what the destination cannot keep, and how long it would take. Exit code
    3 if `migrate` would refuse to start, or could not end PROVEN.
    """
    with options.scratch_job(flags) as job:
        from portability.migrate import plan

        summary = plan(job, progress=screen.progress())
    return show(screen, job, summary)


def show(screen: Screen, job: Job, summary: PlanSummary) -> int:
    """Print a plan with what it costs; the exit code that says whether the job could start, and end PROVEN."""
    from portability.drill.quote import quote

    ready = not summary.obstacle and set(summary.skipped) <= job.accepted
    costs = quote(
        job.source.scheme,
        objects=summary.copy.things,
        bytes_=summary.copy.bytes,
        listed=summary.census.counts.things,
        seconds=summary.seconds,
        prices=job.prices,
    )
    screen.result(plan_text(summary, costs, ready=ready), plan_records(summary, costs, ready=ready))
    return 0 if ready else 3

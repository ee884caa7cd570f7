"""`portability verify`: check a migration again, from its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from portability.cli import options
from portability.cli.app import command as make
from portability.cli.results import outcome_records, outcome_text
from portability.cli.screen import Screen

if TYPE_CHECKING:
    from portability.job import Level


@make(
    "verify",
    examples="""
        portability verify ./exit-2026
        portability verify ./exit-2026 --at sftp://new.example/home/cabinet --credentials agent
        portability verify s3://vault/exit-2026 --evidence-credentials env:VAULT --findings findings.jsonl
    """,
)
@click.argument("evidence", metavar="EVIDENCE")
@click.option("--at", metavar="URL", help="Where the data is now.  [default: the destination named in the evidence]")
@click.option("--credentials", metavar="REF", help=f"Reference to the credentials of that place: {options.REFERENCE}")
@click.option("--evidence-credentials", metavar="REF", help="The same, for an EVIDENCE that is a url.")
@options.demand
@options.merge
@click.option(
    "--findings", metavar="FILE", type=click.Path(dir_okay=False), help="Write all findings here, as JSON lines."
)
@options.speed
def command(
    screen: Screen,
    *,
    evidence: str,
    at: str | None,
    credentials: str | None,
    evidence_credentials: str | None,
    demand: Level | None,
    merge: bool | None,
    findings: str | None,
    **flags: Any,
) -> int:
    """Read every object back and compare it with its evidence.

    EVIDENCE is the folder that `migrate` filled, or the url of a copy. Neither the source nor the machine that ran the
    migration is needed.
    """
    from portability.errors import UsageError
    from portability.job import Policy

    if credentials == "prompt" and at is None:
        raise UsageError("--credentials prompt needs --at", hint="name the place that the password is for")
    if findings and not Path(findings).absolute().parent.is_dir():
        raise UsageError(
            f"--findings {findings}: there is no such folder", hint="make the folder, or name another file"
        )
    from portability.verify import verify  # late: a mistake in the arguments is answered at once

    outcome = verify(
        evidence,
        at=options.location(at, credentials) if at else None,
        credentials=credentials if not at else None,
        evidence_credentials=options.evidence_credentials(evidence, evidence_credentials),
        demands=demand or "read",
        merge=bool(merge),
        findings=findings,
        policy=options.policy(flags, Policy()),
        progress=screen.progress(),
    )
    screen.result(outcome_text(outcome), outcome_records(outcome))
    return outcome.exit_code

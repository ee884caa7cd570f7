"""`portability migrate`: move everything, and prove it."""

from __future__ import annotations

from typing import Any

import click

from portability.cli import options
from portability.cli.app import command as make
from portability.cli.results import outcome_records, outcome_text
from portability.cli.screen import Screen


@make(
    "migrate",
    examples="""
        portability migrate --from s3://cabinet --to sftp://new.example/home/cabinet --evidence ./exit-2026
        portability migrate --from ./cabinet --to 's3://cabinet?endpoint=https://s3.example&region=fr-par' \\
                            --to-credentials env:NEW --evidence ./exit-2026
        portability migrate --job cabinet.toml --bwlimit '08:00,512k 20:00,off' --until 06:00
        portability migrate --job cabinet.toml --delta
    """,
)
@options.places
@options.selection
@options.evidence
@options.terms
@options.pace
@click.option("--delta", is_flag=True, help="Bring over what changed at the source since the last finished run.")
@click.option("--copy-evidence-to", metavar="URL", help="Also put a copy of the evidence there.")
def command(screen: Screen, *, delta: bool, copy_evidence_to: str | None, **flags: Any) -> int:
    """Move everything, read it back, and seal the evidence.

    Interrupted, or some objects failed? Run the same command again: it goes on where it stopped. The source is only read.
    """
    job = options.job(flags)
    if copy_evidence_to:
        options.location(copy_evidence_to, None)  # a wrong url is better known before the run than after it
    from portability.migrate import migrate  # late: a mistake in the arguments is answered at once

    outcome = migrate(job, progress=screen.progress(), delta=delta, copy_evidence_to=copy_evidence_to)
    screen.result(outcome_text(outcome), outcome_records(outcome))
    return outcome.exit_code

"""`portability census`: what the source holds."""

from __future__ import annotations

from typing import Any

from portability.cli import options
from portability.cli.app import command as make
from portability.cli.results import census_records, census_text
from portability.cli.screen import Screen


@make(
    "census",
    examples="""
        portability census --from s3://cabinet
        portability census --from sftp://old.example/home/cabinet --from-credentials env:OLD --json
        portability census --job cabinet.toml
    """,
)
@options.places
@options.selection
@options.evidence
def command(screen: Screen, **flags: Any) -> int:
    """Count what the source holds.

    Things, bytes, versions; only the listing is read, and nothing is moved. With --job, or with --to and --evidence, the census is kept,
    and `migrate` goes on from it.
    """
    with options.census_job(flags) as job:
        from portability.census import census

        summary = census(job, progress=screen.progress())
    screen.result(census_text(summary), census_records(summary))
    return 0 if summary.counts.things else 3

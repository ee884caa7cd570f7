"""`portability status`: how far a run is."""

from __future__ import annotations

from pathlib import Path

import click

from portability.cli.app import command as make
from portability.cli.results import status_records, status_text
from portability.cli.screen import Screen


@make(
    "status",
    examples="""
        portability status ./exit-2026
        portability status ./exit-2026 --json
    """,
)
@click.argument("folder", metavar="EVIDENCE", type=click.Path(path_type=Path))
def command(screen: Screen, *, folder: Path) -> int:
    """Say how far the run in an evidence folder is.

    Works while it runs and after it stopped, and changes nothing."""
    from portability.migrate import status

    found = status(folder)
    screen.result(status_text(found), status_records(found))
    return 0

"""`portability demo`: a real migration of a made-up practice, on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from portability.cli.app import command as make
from portability.cli.results import outcome_records, outcome_text
from portability.cli.screen import Screen


@make(
    "demo",
    examples="""
        portability demo
        portability demo --folder /tmp/demo
    """,
)
@click.option(
    "--folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("portability-demo"),
    show_default=True,
    help="Where the demonstration keeps its evidence: a new folder run-N for each run, nothing there is touched.",
)
def command(screen: Screen, *, folder: Path) -> int:
    """Move a made-up practice between two local hosts, and prove it.

    Letters, images, tables, awkward names, tags and old versions are served by a local S3 server. Nothing leaves this machine.
    """
    from portability.demo import run_demo

    outcome = run_demo(folder, progress=screen.progress())
    screen.result(outcome_text(outcome), outcome_records(outcome))
    return outcome.exit_code

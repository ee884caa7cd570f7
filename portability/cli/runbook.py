"""`portability runbook`: the manual of one job."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from portability.cli.app import command as make
from portability.cli.report import free_page, need_the_extra, write_files
from portability.cli.screen import Screen
from portability.cli.words import table

if TYPE_CHECKING:
    from portability.report.language import Language


@make(
    "runbook",
    examples="""
        portability runbook --job cabinet.toml
        portability runbook --job cabinet.toml --lang en --pdf --out manual.html
    """,
)
@click.option("--job", "job_file", metavar="FILE", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The job file.")  # fmt: skip
@click.option("--lang", "language", type=click.Choice(["fr", "en"]), default="fr", show_default=True, help="Language.")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Where the manual goes.  [default: runbook-NAME-LANG.html here]")  # fmt: skip
@click.option("--pdf", is_flag=True, help="Also a PDF beside it.")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def command(screen: Screen, *, job_file: Path, language: Language, out: Path | None, pdf: bool, show: bool) -> int:
    """Write the manual of a job.

    What to run, when, with which credentials, what each verdict means, and how to check in ten years: one HTML page, from
    the job file alone; nothing is contacted. Credentials are named by reference only.
    """
    need_the_extra()
    from manifests.canonical import time_text
    from portability import __version__
    from portability.report import render
    from portability.report.runbook import read

    runbook = read(job_file, tool=__version__, made=time_text(datetime.now(UTC)))
    page = free_page(out, f"runbook-{job_file.stem}-{language}")
    html = render.runbook_html(runbook, language)
    files = [(page, html.encode()), *([(page.with_suffix(".pdf"), render.pdf(html))] if pdf else [])]
    written = write_files(files)
    lines = [click.style("MANUAL WRITTEN", fg="green", bold=True), *table([("written", str(one)) for one in written], right=frozenset())]  # fmt: skip
    screen.result("\n".join(lines), [{"type": "file", "path": str(one)} for one in written])
    if show:
        click.launch(str(page))
    return 0

"""`portability drill`: the exit rehearsed, and whether the next rehearsal is overdue."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from portability.cli import options
from portability.cli.app import command as make
from portability.cli.screen import Screen
from portability.shell import command_line

if TYPE_CHECKING:
    from portability.drill.record import Quote
    from portability.job import Job
    from portability.job_drill import DrillTerms
    from portability.progress import Progress
    from portability.report.language import Language


@make(
    "drill",
    examples="""
        portability drill --job cabinet.toml
        portability drill --job cabinet.toml --sample 5%
        portability drill --job cabinet.toml --dry-run
        portability drill --job cabinet.toml --status
        portability drill --job cabinet.toml --schedule
    """,
)
@click.option(
    "--job",
    "job_file",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The job file; its table [drill] says where the scratch places are. Its schema: portability job-schema.",
)
@click.option(
    "--status", "mode", flag_value="status", help="Say when the last drill was and whether one is overdue: code 3."
)
@click.option("--schedule", "mode", flag_value="schedule", help="Print what a scheduler needs; installs nothing.")
@click.option(
    "--dry-run", "mode", flag_value="dry-run", help="Count the source and say what a drill costs; write nothing."
)
@click.option("--if-due", "mode", flag_value="if-due", help="Do nothing unless a drill is due or was interrupted.")
@click.option("--sample", metavar="SHARE", help="Draw a share, such as 5%; drills one after another draw everything.")
@click.option("--seed", metavar="TEXT", help="Begin a rotation with this seed.  [default: a random one]")
@click.option(
    "--lang",
    "language",
    type=click.Choice(["fr", "en"]),
    default="fr",
    show_default=True,
    help="Language of the report that the drill leaves beside its record.",
)
@click.option(
    "--metrics",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write numbers for the textfile collector of Prometheus.",
)
@click.option("--sign", metavar="KEY", help="Sign the result with this key file, .pub file, or agent:SHA256:…")
@click.option("--passphrase", metavar="REF", help="Reference to the key's passphrase: env:VARIABLE.  [default: asked]")
@options.pace
def command(
    screen: Screen,
    *,
    job_file: Path,
    mode: str | None,
    sample: str | None,
    seed: str | None,
    language: Language,
    metrics: Path | None,
    sign: str | None,
    passphrase: str | None,
    **flags: Any,
) -> int:
    """Rehearse the exit, and say what would come out.

    Exports into a scratch archive, verifies and restores it to a second scratch place, compares, times, remembers, and
    removes what it wrote there. Interrupted? Run the same command again. The source is only read.
    """
    job, terms = _job(job_file, sample, metrics, sign, passphrase, flags)
    if seed is not None and terms.sample is None:
        raise _usage("--seed draws a sample, and none is asked for", "add --sample 5%")
    if mode == "status":
        return _status(screen, job_file, terms)
    if mode == "schedule":
        return _schedule(screen, job_file, job, terms)
    if mode == "dry-run":
        return _dry_run(screen, job, terms)
    if mode == "if-due" and (code := _not_due(screen, terms)) is not None:
        return code
    return _drill(screen, job_file, job, terms, seed, language)


def _usage(message: str, hint: str = "") -> Exception:
    from portability.errors import UsageError

    return UsageError(message, hint=hint)


def _job(
    path: Path,
    sample: str | None,
    metrics: Path | None,
    sign: str | None,
    passphrase: str | None,
    flags: dict[str, Any],
) -> tuple[Job, DrillTerms]:
    """The job file, overridden by the command line. UsageError."""
    from portability.job_drill import share_ppm
    from portability.job_file import load

    job = load(path, drill=True)
    given: dict[str, Any] = {"metrics": metrics, "sign": sign, "passphrase": passphrase}
    if sample is not None:
        try:
            given["sample"] = share_ppm(sample)
        except ValueError as error:
            raise _usage(
                f"--sample {error}", command_line("portability", "drill", "--job", path, "--sample", "5%")
            ) from error
    assert job.drill is not None, "`load` has asked for the table"  # noqa: S101 - for the type checker
    terms = replace(job.drill, **{name: value for name, value in given.items() if value is not None})
    return replace(job, drill=terms, policy=options.policy(flags, job.policy)), terms


def _drill(screen: Screen, path: Path, job: Job, terms: DrillTerms, seed: str | None, language: Language) -> int:
    from portability.cli.drill_results import drill_records, drill_text, quote_text
    from portability.cli.failure import explain
    from portability.drill.notify import notify, of_error
    from portability.drill.run import drill

    job = replace(job, source=options.settled(job.source))
    terms = replace(terms, scratch=options.settled(terms.scratch), restore_to=options.settled(terms.restore_to))
    signer = None
    if terms.sign:
        from portability.archive.signer import signer_for

        signer = signer_for(terms.sign, passphrase=terms.passphrase)
    progress = screen.progress()

    def said(quote: Quote, resumed: bool) -> None:
        progress.note(("going on with an interrupted drill: " if resumed else "") + quote_text(quote))

    try:
        drilled = drill(
            replace(job, drill=terms), share=terms.sample, seed=seed, signer=signer, progress=progress, said=said
        )
    except Exception as error:
        if terms.notify:
            told = of_error(job.name, code=explain(error)[0], kind=type(error).__name__)
            if problem := notify(terms.notify, told):
                progress.note(problem)
        raise
    report = _report(drilled.folder, language, progress)
    screen.result(drill_text(drilled, path, report), drill_records(drilled, report))
    return drilled.record.verdict.exit_code


def _report(folder: Path, language: Language, progress: Progress) -> Path | None:
    """The page that the practice keeps, beside the record. The drill stands without it: what is in its way is a note."""
    from portability.cli.report import need_the_extra, write_report
    from portability.errors import PortabilityError, UsageError
    from portability.report.gather import Request, gather

    page = folder / f"report-{language}.html"
    if page.exists():  # an interrupted drill that went on
        return page
    try:
        need_the_extra()
        write_report(gather(Request(place=str(folder)), datetime.now(UTC)), language, page)
    except PortabilityError as error:
        how = error.hint if isinstance(error, UsageError) else command_line("portability", "report", folder)
        progress.note(f"no report was written: {error}; {how}")
        return None
    return page


def _status(screen: Screen, path: Path, terms: DrillTerms) -> int:
    from portability.cli.drill_results import status_records, status_text
    from portability.drill.status import status

    told = status(terms, datetime.now(UTC))
    screen.result(status_text(told, path, terms.folder), status_records(told))
    return told.exit_code


def _not_due(screen: Screen, terms: DrillTerms) -> int | None:
    """0 if there is nothing to do now."""
    from manifests.canonical import time_of
    from portability.cli.drill_results import not_due_text, status_records
    from portability.drill.status import status

    told = status(terms, datetime.now(UTC))
    if told.overdue or told.unfinished or told.clock:
        return None
    if screen.json or not screen.quiet:  # a timer that asks every day sends no mail of it
        screen.result(not_due_text(time_of(told.due)), status_records(told))
    return 0


def _schedule(screen: Screen, path: Path, job: Job, terms: DrillTerms) -> int:
    from portability.cli.drill_results import schedule_records, schedule_text
    from portability.drill.schedule import needs, schedule

    if terms.every is None:
        raise _usage("the job has no schedule", 'write every = "90d" in its table [drill]')
    program = shutil.which("portability")
    begin = [os.path.abspath(program)] if program else [sys.executable, "-m", "portability"]  # noqa: PTH100 - a link stays one
    told = schedule(
        [*begin, "drill", "--job", str(path.absolute()), "--if-due", "--quiet"],
        job=job.name,
        at=terms.at,
        folder=str(path.absolute().parent),
        start=datetime.now().astimezone(),
        needed=needs(job, terms),
    )
    screen.result(schedule_text(told), schedule_records(told))
    return 0


def _dry_run(screen: Screen, job: Job, terms: DrillTerms) -> int:
    from portability.census import census
    from portability.cli.drill_results import quote_text
    from portability.draw import WHOLE
    from portability.drill.context import check_job
    from portability.drill.folder import Drills
    from portability.drill.quote import quote_of

    check_job(job, terms)
    last = Drills(terms.folder).last()
    counts = census(replace(job, source=options.settled(job.source)), progress=screen.progress(), keep=False).counts
    share = terms.sample or WHOLE
    quote = quote_of(
        job,
        objects=max(1, counts.things * share // WHOLE),
        bytes_=counts.bytes * share // WHOLE,
        listed=counts.things,
        last=last,
    )
    screen.result(quote_text(quote), [{"type": "quote", **quote.model_dump(mode="json")}])
    return 0

"""`portability canary`: known objects at the old host, required in every later export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from portability.cli import options
from portability.cli.app import command as make
from portability.cli.screen import Screen

if TYPE_CHECKING:
    from connectors import Location
    from portability.drill.canary import Flock, Generation


@make(
    "canary",
    examples="""
        portability canary plant s3://cabinet --credentials env:OLD
        portability canary plant --job cabinet.toml --prefix patients/ --prefix imagerie/
        portability canary check --job cabinet.toml
    """,
)
@click.argument("action", type=click.Choice(["plant", "check"]))
@click.argument("url", required=False)
@click.option(
    "--job",
    "job_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Take the source and the drills folder from this job file.",
)
@click.option("--credentials", metavar="REF", help=f"Reference to the credentials of URL: {options.REFERENCE}")
@click.option(
    "--drills",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The drills folder, which keeps the list.  [default: ./drills]",
)
@click.option("--prefix", multiple=True, metavar="TEXT", help="Plant below this prefix, not at the top. Repeatable.")
def command(
    screen: Screen,
    *,
    action: str,
    url: str | None,
    job_file: Path | None,
    credentials: str | None,
    drills: Path | None,
    prefix: tuple[str, ...],
) -> int:
    """Plant known objects at the old host, or check them.

    They hold no health data and no secret. Every drill then demands them back: one that is missing, changed, or as it was
    before it was renewed, shows a host that filters, alters, or serves an old state. Plant again to renew them.
    """
    place, folder = _where(url, job_file, credentials, drills)
    from portability.drill.canary import check, plant
    from portability.errors import UsageError

    if action == "check":
        if prefix:
            raise UsageError("--prefix says where to plant; check looks at all canaries")
        flock = check(place, folder)
        screen.result(_flock_text(flock, place), _flock_records(flock))
        return 0 if flock.well else 4
    generation = plant(place, folder, prefixes=[f"{one.rstrip('/')}/" for one in prefix] or [""])
    screen.result(_planted_text(generation, place, folder), [_planted(generation)])
    return 0


def _where(
    url: str | None, job_file: Path | None, credentials: str | None, drills: Path | None
) -> tuple[Location, Path]:
    """The source, and the folder that keeps the list. UsageError."""
    from portability.errors import UsageError
    from portability.job_file import load

    if (url is None) == (job_file is None):
        raise UsageError("name the old host: a URL, or --job FILE with a table [drill]")
    if job_file is None or url is not None:
        return options.location(url or "", credentials), drills or Path("drills")
    if credentials:
        raise UsageError("--credentials belongs to a URL; a job file has its own")
    job = load(job_file, drill=True)
    return options.settled(job.source), drills or (job.drill.folder if job.drill else Path("drills"))


def _planted_text(generation: Generation, place: Location, folder: Path) -> str:
    from portability.cli.results import fact_lines, page

    keys = [f"  {canary.key}" for canary in generation.canaries]
    facts = [("at", place.url), ("list kept in", str(folder)), ("generation", str(generation.number))]
    head = click.style("PLANTED", fg="green", bold=True)
    return page(
        head,
        f"{len(keys)} canaries, read back as they were sent; every drill with this drills folder demands them",
        keys,
        fact_lines(facts),
    )


def _planted(generation: Generation) -> dict[str, Any]:
    return {
        "type": "canaries",
        "generation": generation.number,
        "planted": generation.planted,
        "canaries": [{"key": one.key, "size": one.size, "sha256": one.sha256} for one in generation.canaries],
    }


def _flock_text(flock: Flock, place: Location) -> str:
    from portability.cli.results import fact_lines, headline, page
    from portability.cli.words import table

    counts = flock.counts()
    told = f"{counts.intact} of {counts.planted} canaries are as they were planted"
    rows = table([(state, key) for key, state in flock.states.items()], right=frozenset())
    step = "" if flock.well else "  → ask the host what became of them before you trust another export"
    return page(headline(flock.well, "ALL INTACT", "NOT INTACT"), told, rows, fact_lines([("at", place.url)]), step)


def _flock_records(flock: Flock) -> Iterator[dict[str, Any]]:
    yield {"type": "flock", "intact": flock.well, **flock.counts().model_dump(mode="json")}
    yield from ({"type": "canary", "key": key, "state": state} for key, state in flock.states.items())

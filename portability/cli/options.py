"""The options of jobs, and the job that they and a job file make together."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from connectors import Location
    from portability.job import Job, Policy, Selection

URL = "s3://bucket/prefix, sftp://user@host/path, file:///path or a plain path."
REFERENCE = "env:PREFIX, profile:NAME, file:PATH, agent, keyring:SERVICE, prompt or anonymous."

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _group(*options: Decorator) -> Decorator:
    def attach(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return attach


places = _group(
    click.option("--from", "source", metavar="URL", help=f"Where the data is: {URL}"),
    click.option("--to", "destination", metavar="URL", help="Where it goes, written in the same way."),
    click.option("--from-credentials", metavar="REF", help=f"Reference to the source's credentials: {REFERENCE}"),
    click.option("--to-credentials", metavar="REF", help="Reference to the destination's credentials."),
    click.option(
        "--job",
        "job_file",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Read the job from this TOML file; other options override its values. Its schema: portability job-schema.",
    ),
)
selection = _group(
    click.option("--prefix", help="Only keys that begin with this text."),
    click.option(
        "--include", multiple=True, metavar="PATTERN", help="Only keys that match, such as '*.pdf'. Repeatable."
    ),
    click.option("--exclude", multiple=True, metavar="PATTERN", help="Not the keys that match. Repeatable."),
    click.option("--versions", type=click.Choice(["all", "latest"]), help="Old versions too, or not.  [default: all]"),
)
evidence = click.option(
    "--evidence",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the ledger and the evidence; the same folder again goes on where the last run stopped.",
)
demand = click.option(
    "--demand",
    type=click.Choice(["listed", "reported", "read"]),
    help="What counts as proof: name and size, the host's digest, or bytes read back and hashed.  [default: read]",
)
merge = click.option("--merge", is_flag=True, default=None, help="The destination may hold other things already.")
terms = _group(
    demand,
    click.option(
        "--accept",
        multiple=True,
        metavar="REASON",
        help="Accept things skipped for this reason (name, cold, gone, socket, fifo, device, …: plan tells). Repeatable.",
    ),
    merge,
    click.option("--using", metavar="EVIDENCE", help="Earlier evidence that gives lost attributes and versions back."),
)
speed = _group(
    click.option("--bwlimit", metavar="RATE", help="Bandwidth: 10M, or a timetable such as '08:00,512k 20:00,off'."),
    click.option(
        "--connections",
        type=click.IntRange(1, 256),
        metavar="N",
        help="Operations at once on each host, at most.  [default: what each likes]",
    ),
    click.option(
        "--workers", type=click.IntRange(1, 256), metavar="N", help="Worker processes.  [default: one per core]"
    ),
    click.option(
        "--engine",
        metavar="URL",
        help="Let the workers of a Dask cluster do it: dask://SCHEDULER:8786.  [default: this machine]",
    ),
    click.option(
        "--retries", type=click.IntRange(0, 100), metavar="N", help="Tries after the first one.  [default: 5]"
    ),
)
archive = _group(
    click.option(
        "--signer",
        metavar="KEY",
        help="Demand this signature: the fingerprint kept on paper (SHA256:…), or a file of allowed signers.",
    ),
    click.option("--identity", metavar="FILE", help="File with the age identity that decrypts the archive."),
    click.option("--base", metavar="ARCHIVE", help="The full archive that a delta refers to."),
)
pace = _group(
    speed,
    click.option("--until", metavar="HH:MM", help="Stop calmly at this time of day; run again to go on."),
)


def job(flags: Mapping[str, Any]) -> Job:
    """The job that a command line asks for, checked as far as it can be without contacting anyone. UsageError."""
    from portability.errors import UsageError
    from portability.job import check

    given = {name: value for name, value in flags.items() if value not in (None, ())}
    path = given.get("job_file")
    if path:
        twice = [name for name in ("source", "destination") if name in given]
        if twice:
            option = {"source": "--from", "destination": "--to"}[twice[0]]
            raise UsageError(
                f"{option} and --job cannot stand together", hint=f"change the url in {path}, or leave it out"
            )
        from portability.job_file import load

        base = load(path)
    else:
        base = _from_urls(given)
    whole = _override(base, given)
    whole = replace(whole, source=settled(whole.source), destination=settled(whole.destination))
    check(whole)
    return whole


@contextlib.contextmanager
def scratch_job(flags: Mapping[str, Any]) -> Iterator[Job]:
    """The same, for commands that need no evidence folder: without one they work in a folder that is dropped."""
    if flags.get("evidence") or flags.get("job_file"):
        yield job(flags)
        return
    with tempfile.TemporaryDirectory(prefix="portability-") as folder:
        yield job({**flags, "evidence": Path(folder) / "evidence"})


@contextlib.contextmanager
def census_job(flags: Mapping[str, Any]) -> Iterator[Job]:
    """The same, for a census: a destination is needed only to go on from the census with `migrate`."""
    from portability.errors import UsageError

    if not flags.get("job_file") and flags.get("destination") is None:
        if flags.get("evidence"):
            raise UsageError(
                "--evidence needs --to: a kept census belongs to one migration",
                hint="add --to URL, or leave --evidence out to count only",
            )
        from portability.job import NOWHERE

        flags = {**flags, "destination": NOWHERE.url}
    with scratch_job(flags) as whole:
        yield whole


def chosen(flags: Mapping[str, Any]) -> Selection:
    """The selection that the command line asks for."""
    from portability.job import Selection

    names = ("prefix", "include", "exclude", "versions")
    return Selection(**{name: flags[name] for name in names if flags.get(name) not in (None, ())})


def default_policy() -> Policy:
    """The policy of a command line that says nothing of it."""
    from portability.job import Policy

    return Policy()


def policy(flags: Mapping[str, Any], base: Policy) -> Policy:
    """The policy with what the command line says otherwise. UsageError."""
    from portability.throttle import Timetable, deadline

    given = {
        name: flags[name]
        for name in ("retries", "connections", "workers", "engine", "until")
        if flags.get(name) is not None
    }
    if flags.get("bwlimit"):
        given["bandwidth"] = Timetable.parse(flags["bwlimit"])
    changed = replace(base, **given)
    if changed.until:
        deadline(
            changed.until, datetime.now().astimezone()
        )  # refuses what is not a time of day, before the work begins
    return changed


def location(text: str, credentials: str | None) -> Location:
    """A place from the command line, its credentials asked for if they are to be. LocationError, UsageError."""
    from connectors import Location

    return settled(Location.parse(text, credentials=credentials))


def evidence_credentials(evidence: str, reference: str | None) -> str | None:
    """The reference for evidence at a url, which is checked here; a folder and a web address have no credentials."""
    scheme, is_url, _ = evidence.partition("://")
    return (
        location(evidence, reference).credentials if is_url and scheme.lower() not in {"http", "https"} else reference
    )


def settled(place: Location) -> Location:
    """The place with `prompt` answered, so that worker processes need no terminal. UsageError for an unknown scheme."""
    from connectors import schemes
    from connectors.credentials import settle
    from portability.errors import UsageError

    if place.scheme not in schemes():
        raise UsageError(
            f'no connector serves "{place.scheme}:" urls; known: {", ".join(schemes())}',
            hint="how to write each of them: portability connectors",
        )
    return replace(place, credentials=settle(place.credentials, place.scheme, place.url))


def _from_urls(given: Mapping[str, Any]) -> Job:
    from connectors import Location
    from portability.errors import UsageError
    from portability.job import Job

    needed = {"source": "--from", "destination": "--to", "evidence": "--evidence"}
    missing = [option for name, option in needed.items() if name not in given]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            hint="name both places and a folder for the evidence: --from URL --to URL --evidence DIR, or --job FILE",
        )
    return Job(
        source=Location.parse(given["source"]),
        destination=Location.parse(given["destination"]),
        evidence=given["evidence"],
    )


def _override(base: Job, given: Mapping[str, Any]) -> Job:
    chosen = {name: given[name] for name in ("prefix", "include", "exclude", "versions") if name in given}
    own = {"evidence": "evidence", "demand": "demands", "accept": "accepts", "merge": "merge", "using": "using"}
    return replace(
        base,
        **{field: given[name] for name, field in own.items() if name in given},
        source=replace(base.source, credentials=given.get("from_credentials", base.source.credentials)),
        destination=replace(base.destination, credentials=given.get("to_credentials", base.destination.credentials)),
        selection=replace(base.selection, **chosen),
        policy=policy(given, base.policy),
    )

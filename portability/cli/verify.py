"""`portability verify`: check an archive offline, or a migration again from its evidence."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from portability.cli import options
from portability.cli.app import command as make
from portability.cli.archive_results import archive_records, archive_text, finding_record
from portability.cli.results import outcome_records, outcome_text
from portability.cli.screen import Screen
from portability.outcome import printable

if TYPE_CHECKING:
    from connectors import Location
    from portability.archive.verifier_findings import Finding
    from portability.job import Level


@make(
    "verify",
    examples="""
        portability verify ./exports/portability-cabinet-20261121T090500Z-24e51ca2 --signer SHA256:…
        portability verify ./exit-2026
        portability verify ./exit-2026 --at sftp://new.example/home/cabinet --credentials agent
        portability verify s3://vault/exit-2026 --evidence-credentials env:VAULT --findings findings.jsonl
    """,
)
@click.argument("evidence", metavar="ARCHIVE|EVIDENCE")
@click.option("--at", metavar="URL", help="Where the data is now.  [default: the destination named in the evidence]")
@click.option("--credentials", metavar="REF", help=f"Reference to the credentials of that place: {options.REFERENCE}")
@click.option("--evidence-credentials", metavar="REF", help="The same, for an ARCHIVE or EVIDENCE that is a url.")
@options.archive
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
    signer: str | None,
    identity: str | None,
    base: str | None,
    **flags: Any,
) -> int:
    """Check an archive, or a destination against its evidence.

    ARCHIVE is what `export` wrote, or a BagIt bag of another program: a folder, a .tar or .zip, or a url. It is checked
    by itself, strictly, offline and without writing to it.

    EVIDENCE is the folder that `migrate` filled, or the url of a copy: every object is read back and compared. Neither the
    source nor the machine that ran the migration is needed.
    """
    from portability.errors import EvidenceError, UsageError

    if credentials == "prompt" and at is None:
        raise UsageError("--credentials prompt needs --at", hint="name the place that the password is for")
    if findings and not Path(findings).absolute().parent.is_dir():
        raise UsageError(
            f"--findings {findings}: there is no such folder", hint="make the folder, or name another file"
        )
    asked = [f"--{name}" for name, value in (("signer", signer), ("identity", identity), ("base", base)) if value]
    reference = options.evidence_credentials(evidence, evidence_credentials)
    if place := archive_at(evidence, reference):
        if at:
            raise UsageError("an archive is checked where it is: --at is for the evidence of a migration")
        if flags["engine"]:
            raise UsageError(
                "an archive is checked by this machine alone: --engine is for the evidence of a migration",
                hint="leave --engine out",
            )
        from portability.archive.verification import verify_archive

        with _sink(findings) as sink:
            result = verify_archive(
                place,
                signer=signer,
                identity=identity,
                bases=(options.location(base, reference),) if base else (),
                workers=flags["workers"],
                sink=sink,
            )
        screen.result(archive_text(result, evidence), archive_records(result, evidence))
        return result.exit_code
    if asked:
        raise EvidenceError(
            f"{printable(evidence)} is no archive: it holds neither bagit.txt nor lists of checksums ({', '.join(asked)} "
            "is for archives)",
            hint="name the folder that holds bagit.txt",
        )
    from portability.job import Policy  # late: a mistake in the arguments is answered at once
    from portability.verify import verify

    outcome = verify(
        evidence,
        at=options.location(at, credentials) if at else None,
        credentials=credentials if not at else None,
        evidence_credentials=reference,
        demands=demand or "read",
        merge=bool(merge),
        findings=findings,
        policy=options.policy(flags, Policy()),
        progress=screen.progress(),
    )
    screen.result(outcome_text(outcome), outcome_records(outcome))
    return outcome.exit_code


MARKS = ("bagit.txt", "tagmanifest-sha256.txt", "manifest-sha256.txt", "bag-info.txt")
"""Files of which an archive or a bag has some, however damaged it is, and an evidence folder none."""


def archive_at(text: str, credentials: str | None) -> Location | None:
    """The place of an archive or bag; None for whatever else is there, or is not."""
    from connectors import Location, connect, schemes

    scheme, is_url, _ = text.partition("://")
    if is_url and scheme.lower() not in schemes():
        return None  # evidence can be read from more kinds of places
    place = Location.parse(text, credentials=credentials)
    if place.scheme == "file":
        path = Path(place.path)
        from portability.archive.transport import packed_form

        return (
            place if (packed_form(path) if path.is_file() else _marked(lambda name: (path / name).is_file())) else None
        )
    host: Any = connect(place)
    try:
        return place if _marked(lambda name: _holds(host, name)) else None
    finally:
        host.close()


def _marked(holds: Callable[[str], bool]) -> bool:
    return any(holds(name) for name in MARKS)


def _holds(host: Any, name: str) -> bool:
    from connectors import NotFoundError

    try:
        host.stat(name)
    except NotFoundError:
        return False
    return True


@contextlib.contextmanager
def _sink(findings: str | None) -> Iterator[Callable[[Finding], None] | None]:
    """Where all findings go, for their owner's eyes only; the file is not made for none."""
    if findings is None:
        yield None
        return
    from manifests.files import create_private

    with contextlib.ExitStack() as stack:
        file: Any = None

        def write(finding: Finding) -> None:
            nonlocal file
            if file is None:
                file = stack.enter_context(create_private(Path(findings)))
            file.write(json.dumps(finding_record(finding), ensure_ascii=False).encode() + b"\n")

        yield write

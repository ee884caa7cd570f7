"""`portability restore`: what an archive holds, back to any place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from portability.cli import options
from portability.cli.app import command as make
from portability.cli.archive_results import headline_of, sentence_of
from portability.cli.plan import show
from portability.cli.results import outcome_records, outcome_text
from portability.cli.screen import Screen

if TYPE_CHECKING:
    from portability.archive.verifier import VerifierResult


@make(
    "restore",
    examples="""
        portability restore ./exports/portability-cabinet-20261121T090500Z-24e51ca2 --to s3://new-cabinet
        portability restore s3://vault/portability-cabinet-20261121T090500Z-24e51ca2 --credentials env:VAULT \\
                            --to ./cabinet --signer SHA256:… --identity ./recovery.key
    """,
)
@click.argument("archive", metavar="ARCHIVE")
@click.option("--to", metavar="URL", required=True, help=f"Where the data goes: {options.URL}")
@click.option("--credentials", metavar="REF", help=f"Reference to the archive's credentials: {options.REFERENCE}")
@click.option("--to-credentials", metavar="REF", help="Reference to the destination's credentials.")
@click.option(
    "--evidence",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the ledger and the evidence of the restore.  [default: ./restore-ARCHIVE]",
)
@options.archive
@options.merge
@click.option(
    "--accept",
    multiple=True,
    metavar="REASON",
    help="Accept things skipped for this reason (name, cold, gone, socket, fifo, device, …: plan tells). Repeatable.",
)
@click.option(
    "--apply",
    "applies",
    multiple=True,
    type=click.Choice(["owner", "acl", "lock", "settings"]),
    help="Also set the files' owners by number, the objects' ACL, their retention and legal hold, or the bucket's own "
    "settings. Repeatable.",
)
@click.option(
    "--dry-run", "dry", is_flag=True, help="Verify the archive, say what would be done, and write nothing there."
)
@options.pace
def command(
    screen: Screen,
    *,
    archive: str,
    to: str,
    credentials: str | None,
    to_credentials: str | None,
    evidence: Path | None,
    signer: str | None,
    identity: str | None,
    base: str | None,
    merge: bool | None,
    accept: tuple[str, ...],
    applies: tuple[str, ...],
    dry: bool,
    **flags: Any,
) -> int:
    """Verify an archive, then bring back what it holds.

    ARCHIVE is a folder, a .tar or .zip, or a url. Nothing is written unless it is intact; nothing at the destination is
    overwritten. Interrupted? Run the same command again.
    """
    place, destination = options.location(archive, credentials), options.location(to, to_credentials)
    below = options.location(base, credentials) if base else None
    from portability.archive.restore import Restore, foresee, restore  # late: a mistake is answered at once

    progress = screen.progress()

    def verified(result: VerifierResult) -> None:
        if result.intact:
            progress.note(f"the archive is {headline_of(result)}: {sentence_of(result)}")

    name = Path(place.path.rstrip("/")).name or place.host
    asked = Restore(
        archive=place,
        to=destination,
        evidence=evidence or Path(f"restore-{name.removesuffix('.tar').removesuffix('.zip')}"),
        signer=signer,
        identity=identity,
        base=below,
        merge=bool(merge),
        accepts=accept,
        applies=applies,
        policy=options.policy(flags, options.default_policy()),
        verified=verified,
    )
    if dry:
        return show(screen, *foresee(asked, progress=progress))
    outcome = restore(asked, progress=progress)
    screen.result(outcome_text(outcome), outcome_records(outcome))
    return outcome.exit_code

"""`portability export`: everything into an archive that anyone can check offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from portability.cli import options
from portability.cli.app import command as make
from portability.cli.results import outcome_records, outcome_text
from portability.cli.screen import Screen


@make(
    "export",
    examples="""
        portability export --from s3://cabinet --to ./exports --sign ./practice-key
        portability export --from ./cabinet --to s3://vault/exports --to-credentials env:VAULT --sign agent:SHA256:…
        portability export --from s3://cabinet --to /media/usb --encrypt-to age1… --encrypt-to age1… --tar
    """,
)
@click.option("--from", "source", metavar="URL", required=True, help=f"Where the data is: {options.URL}")
@click.option("--to", metavar="URL", required=True, help="Where the archive gets a folder of its own.")
@click.option("--from-credentials", metavar="REF", help=f"Reference to the source's credentials: {options.REFERENCE}")
@click.option("--to-credentials", metavar="REF", help="Reference to the credentials of the archive's place.")
@click.option("--practice", metavar="NAME", default="", help="Name of the practice, for the archive's name and label.")
@click.option(
    "--sign", metavar="KEY", help="Sign with this key file, .pub file of a key in ssh-agent, or agent:SHA256:…"
)
@click.option("--passphrase", metavar="REF", help="Reference to the key's passphrase: env:VARIABLE.  [default: asked]")
@click.option(
    "--timestamp",
    metavar="URL",
    help="Have this time-stamping authority (RFC 3161) stamp the signature; sees a hash only.",
)
@click.option(
    "--encrypt-to", metavar="age1…", multiple=True, help="Encrypt every file to this age recipient. Repeatable."
)
@click.option(
    "--names",
    type=click.Choice(["utf8", "ascii"]),
    default="utf8",
    help="Names of files in the archive: with accents, or without.  [default: utf8]",
)
@click.option(
    "--path-limit",
    type=click.IntRange(120, 240),
    metavar="N",
    default=240,
    help="Longest path in the archive; 180 fits below any drive of Windows.  [default: 240]",
)
@click.option(
    "--delta-from", metavar="ARCHIVE", help="Store only what changed since this full archive; needs it for ever."
)
@click.option("--with-sha512", is_flag=True, help="Add lists of SHA-512; reads every file once more.")
@click.option(
    "--ro-crate", is_flag=True, help="Add data/ro-crate-metadata.json, which describes the archive to research tools."
)
@click.option("--tar", "form", flag_value="tar", help="Also pack the archive into one .tar beside it.")
@click.option("--zip", "form", flag_value="zip", help="Also pack the archive into one .zip beside it.")
@click.option(
    "--history",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The practice's history.jsonl: the archive carries a copy, and gets a line in it.",
)
@click.option(
    "--work",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the ledger while the export runs.  [default: beside the archive, or the current folder]",
)
@click.option(
    "--accept",
    multiple=True,
    metavar="REASON",
    help="Accept things skipped for this reason (name, cold, gone, socket, fifo, device, …: plan tells). Repeatable.",
)
@options.selection
@options.pace
def command(
    screen: Screen,
    *,
    source: str,
    to: str,
    from_credentials: str | None,
    to_credentials: str | None,
    practice: str,
    sign: str | None,
    passphrase: str | None,
    timestamp: str | None,
    encrypt_to: tuple[str, ...],
    names: str,
    path_limit: int,
    delta_from: str | None,
    with_sha512: bool,
    ro_crate: bool,
    form: Any,
    history: Path | None,
    work: Path | None,
    accept: tuple[str, ...],
    **flags: Any,
) -> int:
    """Write a closed archive of everything, and read it back.

    The archive is a folder with the data under readable names, lists of checksums, the sealed manifest, and a page and a
    script that check it offline. Interrupted? Run the same command again. The source is only read.
    """
    from portability.errors import UsageError

    if passphrase and not sign:
        raise UsageError("--passphrase opens a signing key, and none is named", hint="add --sign KEY")
    if timestamp and not sign:
        raise UsageError("--timestamp stamps a signature, and none is made", hint="add --sign KEY")
    places = options.location(source, from_credentials), options.location(to, to_credentials)
    base = options.location(delta_from, to_credentials) if delta_from else None
    from portability.archive.export import Export, export  # late: a mistake in the arguments is answered at once

    signer = None
    if sign:
        from portability.archive.signer import signer_for

        signer = signer_for(sign, passphrase=passphrase)
    outcome = export(
        Export(
            source=places[0],
            to=places[1],
            practice=practice,
            selection=options.chosen(flags),
            policy=options.policy(flags, options.default_policy()),
            accepts=accept,
            names=names,
            path_limit=path_limit,
            recipients=encrypt_to,
            sha512=with_sha512,
            ro_crate=ro_crate,
            delta_from=base,
            signer=signer,
            timestamp=timestamp,
            history=history,
            form=form,
            work=work,
        ),
        progress=screen.progress(),
    )
    text = outcome_text(outcome)
    if signer:
        text += f"\n\n  signed by  {signer.public.fingerprint}"
    records = [dict(record) for record in outcome_records(outcome)]
    records[0]["fingerprint"] = signer.public.fingerprint if signer else None
    screen.result(text, records)
    return outcome.exit_code

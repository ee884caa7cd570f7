"""`portability keygen`: the key that signs a practice's archives."""

from __future__ import annotations

from pathlib import Path

import click

from portability.cli.app import command as make
from portability.cli.screen import Screen
from portability.cli.words import table


@make(
    "keygen",
    examples="""
        portability keygen ./practice-key
        portability keygen ./practice-key --passphrase env:KEY_PASSPHRASE
    """,
)
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--passphrase", metavar="env:VAR", help="The variable that holds the passphrase.  [default: ask twice]")
@click.option("--no-passphrase", is_flag=True, help="Leave the key unprotected: whoever copies the file can sign.")
def command(screen: Screen, *, path: Path, passphrase: str | None, no_passphrase: bool) -> int:
    """Make the key that signs archives.

    Ed25519 in OpenSSH's format: PATH is the private key, PATH.pub the public one. Nothing is overwritten.
    """
    from portability.archive.signer import keygen
    from portability.archive.verifier import FINGERPRINT_TEXT
    from portability.errors import UsageError

    if passphrase and no_passphrase:
        raise UsageError("--passphrase and --no-passphrase cannot stand together")
    made = keygen(path, passphrase=passphrase, unprotected=no_passphrase)
    facts = table(
        [
            ("fingerprint", made.fingerprint),
            ("private key", f"{path}{'  (no passphrase)' if no_passphrase else ''}"),
            ("public key", f"{path}.pub"),
        ],
        right=frozenset(),
    )
    lines = [
        click.style("KEY MADE", fg="green", bold=True),
        "Keep this fingerprint on paper, and have it written into the hosting contract.",
        "",
        *facts,
        "",
        *(f"  {text}" for text in FINGERPRINT_TEXT.values()),
        "",
        "  → keep the private key away from the hosts and from every medium that holds an archive; a second copy off-line",
    ]
    record = {
        "type": "key",
        "fingerprint": made.fingerprint,
        "private": str(path),
        "public": f"{path}.pub",
        "protected": not no_passphrase,
    }
    screen.result("\n".join(lines), [record])
    return 0

"""`portability sign`: one side's signature under a statement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from portability.cli.app import command as make
from portability.cli.screen import Screen
from portability.cli.words import table
from portability.shell import command_line

if TYPE_CHECKING:
    from portability.report import handover


@make(
    "sign",
    examples="""
        portability sign handover.json --as practice --key ./practice-key
        portability sign handover.json --as incoming --key agent:SHA256:…
        portability sign handover.json --check
    """,
)
@click.argument("statement", metavar="STATEMENT", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--as", "role", type=click.Choice(["outgoing", "practice", "incoming"]), help="Which side signs.")
@click.option("--key", metavar="KEY", help="Private key file, .pub file of a key in ssh-agent, or agent:SHA256:….")
@click.option("--passphrase", metavar="env:VAR", help="The variable that holds the key's passphrase.  [default: ask]")
@click.option("--check", is_flag=True, help="Only say who has signed.")
def command(
    screen: Screen, *, statement: Path, role: str | None, key: str | None, passphrase: str | None, check: bool
) -> int:
    """Sign a handover statement as one of its sides.

    The outgoing host, the practice and the incoming host sign the same statement, each with its own key. It comes from
    `portability report EVIDENCE --statement FILE`; its signatures lie beside it as FILE.ROLE.sig, and any OpenSSH checks
    them. A signature says that this side agrees with the numbers, and no more.
    """
    from portability.errors import UsageError
    from portability.report import handover

    if check:
        return _check(screen, statement)
    if role is None or key is None:
        raise UsageError("--as and --key are missing", hint="say who signs, and with which key; or use --check")
    from portability.archive.signer import signer_for

    signer = signer_for(key, passphrase=passphrase)
    signature = handover.sign(statement, _role(role), signer)
    facts = table([("signature", str(signature)), ("as", role), ("fingerprint", signer.fingerprint)], right=frozenset())
    known = handover.signers_of(statement)
    verify = command_line(
        "ssh-keygen", "-Y", "verify", "-f", known, "-I", role, "-n", "portability-statement-v1", "-s", signature
    )
    lines = [
        click.style("SIGNED", fg="green", bold=True),
        *facts,
        "",
        "  → give the other side the statement and this signature, and your fingerprint by another way (on paper, by telephone)",
        "  → to check it with OpenSSH alone:",
        f"      {verify} < {command_line(statement)}",
    ]
    record = {"type": "signature", "role": role, "file": str(signature), "fingerprint": signer.fingerprint}
    screen.result("\n".join(lines), [record])
    return 0


def _role(text: str) -> handover.Role:
    from portability.report import handover

    return next(role for role in handover.ROLES if role == text)


def _check(screen: Screen, statement: Path) -> int:
    from portability.report import handover

    found = handover.signed(statement)
    rows = [(one.role, one.state, one.fingerprint) for one in found]
    missing = [role for role in handover.ROLES if role not in {one.role for one in found}]
    lines = [*table([*rows, *((role, "not signed", "") for role in missing)], right=frozenset())]
    if rows:
        lines += ["", "  → compare each fingerprint with the one that this side gave you by another way"]
    screen.result("\n".join(lines), [{"type": "signature", "role": role, "state": state, "fingerprint": fingerprint} for role, state, fingerprint in rows])  # fmt: skip
    if not all(handover.is_valid(one) for one in found):
        return 6
    return 3 if missing else 0

"""`portability proof`: that one document was exported, without showing any other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from portability.cli import options
from portability.cli.app import command as make
from portability.cli.screen import Screen
from portability.cli.words import table

if TYPE_CHECKING:
    from portability.archive.proof import Check

_FILE = click.Path(path_type=Path, dir_okay=False)
_MARKS = {"shown": ("✓ shown", "green"), "not shown": ("– not shown", "yellow"), "false": ("✗ FALSE", "red")}


@make(
    "proof",
    examples="""
        portability proof ./exit-2026 "patients/Martin/lettre 1.txt" > proof.json
        portability proof --check proof.json --checkpoint checkpoint.txt --tagmanifest tagmanifest-sha256.txt \\
            --signature tagmanifest-sha256.txt.sig --signer SHA256:…
    """,
)
@click.argument("archive", required=False)
@click.argument("key", required=False)
@click.option(
    "--order",
    type=click.IntRange(min=0),
    metavar="N",
    help="This version, 0 is the oldest.  [default: the current one]",
)
@click.option("--output", type=_FILE, metavar="FILE", help="Write the proof here instead of printing it.")
@click.option("--credentials", metavar="REF", help=f"For an ARCHIVE that is a url: {options.REFERENCE}")
@click.option("--check", type=_FILE, metavar="PROOF", help="Check this proof instead of making one.")
@click.option("--checkpoint", type=_FILE, metavar="FILE", help="With --check: checkpoint.txt of the archive.")
@click.option("--tagmanifest", type=_FILE, metavar="FILE", help="With --check: its tagmanifest-sha256.txt.")
@click.option("--signature", type=_FILE, metavar="FILE", help="With --check: the .sig of the tag manifest, or of the checkpoint where there is none.")  # fmt: skip
@click.option("--signer", metavar="SHA256:…", help="With --check: the fingerprint on paper; another one is refused.")
def command(
    screen: Screen,
    *,
    archive: str | None,
    key: str | None,
    order: int | None,
    output: Path | None,
    credentials: str | None,
    check: Path | None,
    checkpoint: Path | None,
    tagmanifest: Path | None,
    signature: Path | None,
    signer: str | None,
) -> int:
    """Prove that one document was exported.

    ARCHIVE is an archive or an evidence folder, also packed or at a url; KEY is the document's name at its source. The
    proof shows that one line and reveals no other; hand it over with checkpoint.txt, tagmanifest-sha256.txt and its .sig.
    """
    from portability.archive.proof import check_proof, prove
    from portability.errors import UsageError

    beside = (checkpoint, tagmanifest, signature, signer)
    if check is None:
        if archive is None or key is None or any(beside):
            raise UsageError("name an archive and a key, or a proof to --check")
        reference = options.evidence_credentials(archive, credentials)
        document = prove(archive, key, order=order, credentials=reference).to_bytes() + b"\n"
        if output is None:
            # Exact bytes: a console's encoding or line ends would spoil them.
            sys.stdout.buffer.write(document)
            sys.stdout.buffer.flush()
        else:
            _write_new(output, document)
        return 0
    if archive is not None or order is not None or output is not None or credentials is not None:
        raise UsageError("--check takes the proof and the files beside it, no archive")
    found = check_proof(check, checkpoint=checkpoint, tag_list=tagmanifest, signature=signature, signer=signer)
    screen.result(_text(found), [_record(found)])
    return found.exit_code


def _write_new(output: Path, document: bytes) -> None:
    from manifests.files import write_private
    from portability.errors import UsageError

    try:
        write_private(output, document)
    except FileExistsError as error:
        raise UsageError(f"{output} exists already", hint="name another file") from error


def _text(found: Check) -> str:
    from portability.archive.verifier import FINGERPRINT_TEXT
    from portability.outcome import printable

    receipt = found.receipt
    heads = {0: ("SHOWN", "green"), 3: ("NOT SHOWN", "red"), 6: ("FALSE", "red")}
    word, color = heads[found.exit_code]
    facts = [
        ("key", printable(receipt.key)),
        ("kind", receipt.kind.replace("_", " ")),
        ("version", "" if receipt.order is None else f"{receipt.order}{', the current one' if receipt.latest else ''}"),
        ("size", "" if receipt.size is None else f"{receipt.size} bytes"),
        ("sha256", receipt.sha256 or ""),
        ("modified", printable(receipt.modified or "")),
        ("evidence", receipt.evidence),
    ]
    lines = [click.style(word, fg=color, bold=True), _sentence(found), ""]
    lines += table([fact for fact in facts if fact[1]], right=frozenset())
    lines.append("")
    for step in found.steps:
        mark, mark_color = _MARKS[step.shown.value]
        lines.append(f"  {click.style(mark, fg=mark_color)}: {step.claim}")
        lines += [f"      {printable(step.because)}"] if step.because else []
    if receipt.sha256:
        lines += ["", "  → the document is this one if its own sum is the sha256 above: sha256sum FILE"]
    if found.fingerprint:
        lines += ["", *(f"  {text}" for text in FINGERPRINT_TEXT.values())]
    return "\n".join(lines)


def _sentence(found: Check) -> str:
    match found.exit_code:
        case 0 if found.demanded:
            return "This line stands in the evidence which the practice signed."
        case 0:
            return "This line stands in the evidence with this checkpoint; who made it was not shown."
        case 3:
            return "Nothing was given that the proof could be held against."
        case _:
            return "What was given does not fit together: do not rely on it."


def _record(found: Check) -> dict[str, Any]:
    from portability.outcome import printable

    receipt = found.receipt
    return {
        "type": "proof",
        "verdict": {0: "SHOWN", 3: "NOT SHOWN", 6: "FALSE"}[found.exit_code],
        "key": printable(receipt.key),
        "kind": receipt.kind,
        "order": receipt.order,
        "size": receipt.size,
        "sha256": receipt.sha256,
        "root": found.proof.root,
        "fingerprint": found.fingerprint,
        "steps": [{"claim": one.claim, "shown": one.shown.value, "because": one.because} for one in found.steps],
    }

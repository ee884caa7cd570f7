"""Proofs of one line: made from a manifest, and checked against what a person kept, step by step (section 9)."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from manifests import bagit, signing
from manifests.errors import ManifestError
from manifests.manifest import prove_line
from manifests.paths import path_bytes
from manifests.receipt import Receipt, key_bytes
from manifests.tree import Checkpoint, Proof
from manifests.verdict import Signature
from portability.archive.held import open_manifest
from portability.archive.verifier_manifest import CHECKPOINT
from portability.errors import PlaceError, RefusedError, UsageError
from portability.outcome import printable

_LARGEST = 1 << 26  # bytes of a file given beside a proof


def prove(place: str, key: str, *, order: int | None = None, credentials: str | None = None) -> Proof:
    """The proof of the line of `key` (of its current version, or of the version `order`); RefusedError if there is none."""
    wanted = path_bytes(key)

    def is_it(line: Any) -> bool:
        if key_bytes(line) != wanted:
            return False
        current: bool = line.get("latest", True)
        return current if order is None else line.get("order", 0) == order

    found = prove_line(lambda: open_manifest(place, credentials=credentials), is_it)
    if found is None:
        which = "no current version" if order is None else f"no version {order}"
        raise RefusedError(
            f'the manifest has {which} of "{printable(key)}"',
            hint="write the key exactly as in the manifest; --order 0 is the oldest version",
        )
    return found


class Shown(Enum):
    """What became of one step of a proof."""

    YES = "shown"
    NO = "not shown"
    """What it needs was not given."""
    FALSE = "false"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One claim, and whether it was shown."""

    claim: str
    shown: Shown
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a proof and the files beside it show."""

    proof: Proof
    receipt: Receipt
    steps: tuple[Step, ...]
    fingerprint: str | None
    """Of the key that signed."""
    demanded: bool
    """Whether a fingerprint from paper was given."""

    @property
    def exit_code(self) -> int:
        """0: the line stands in the evidence, and every other file that was given agrees; 3: it was not shown; 6: it is false."""
        if any(step.shown is Shown.FALSE for step in self.steps):
            return 6
        line, *_, origin = self.steps
        if self.demanded and origin.shown is not Shown.YES:
            return 6
        return 0 if line.shown is Shown.YES else 3


def check_proof(
    proof: Path,
    *,
    checkpoint: Path | None = None,
    tag_list: Path | None = None,
    signature: Path | None = None,
    signer: str | None = None,
) -> Check:
    """Check a proof against the files that came with it; FormatError for one that is no proof at all."""
    if checkpoint is None and (tag_list or signature):
        raise UsageError("--tagmanifest and --signature say something about a checkpoint: give --checkpoint too")
    stated = Proof.from_bytes(_read(proof).removesuffix(b"\n").removesuffix(b"\r"))
    receipt = Receipt.from_line(stated.line)
    held = None if checkpoint is None else _read(checkpoint)
    listing = None if tag_list is None else _read(tag_list)
    steps = [_line_step(stated, held)]
    if held is not None and listing is not None:
        steps.append(_listed_step(held, listing))
    signed = listing if listing is not None else held
    armoured = None if signature is None or signed is None else _read(signature)
    signed_name = "the tag manifest" if listing is not None else "the checkpoint"
    found = _examined(armoured, signed, signer)
    steps += _signature_steps(found, signed_name, signer)
    return Check(
        proof=stated, receipt=receipt, steps=tuple(steps), fingerprint=found.fingerprint, demanded=signer is not None
    )


def _line_step(proof: Proof, held: bytes | None) -> Step:
    claim = f"the line is number {proof.index + 1} of the {proof.size} lines of a manifest"
    if proof.root is None:
        return Step(claim=claim, shown=Shown.FALSE, because="its path fits no tree of that size")
    if held is None:
        return Step(
            claim=claim, shown=Shown.NO, because=f"no checkpoint was given; compare with paper: root {proof.root}"
        )
    try:
        checkpoint = Checkpoint.from_bytes(held)
    except ManifestError as error:
        return Step(claim=claim, shown=Shown.FALSE, because=f"the checkpoint: {error.message}")
    if not proof.holds(checkpoint):
        found = f"it has {checkpoint.count} lines and root {checkpoint.root}, the proof leads to {proof.root}"
        return Step(claim=claim, shown=Shown.FALSE, because=f"this checkpoint is another one: {found}")
    return Step(claim=claim, shown=Shown.YES, because=f"job {checkpoint.job}, root {checkpoint.root}")


def _listed_step(held: bytes, listing: bytes) -> Step:
    claim = "the checkpoint belongs to the archive of this tag manifest"
    problems: list[bagit.Problem] = []
    listed = dict(bagit.read_list(io.BytesIO(listing), bagit.TAG_LIST, problems.append))
    if problems:
        return Step(claim=claim, shown=Shown.FALSE, because=f"line {problems[0].line} of it: {problems[0].message}")
    if listed.get(CHECKPOINT) != hashlib.sha256(held).hexdigest():
        return Step(claim=claim, shown=Shown.FALSE, because="it lists another checkpoint, or none")
    archive = bagit.archive_id(hashlib.sha256(listing).hexdigest())
    return Step(claim=claim, shown=Shown.YES, because=f"archive {archive}")


def _examined(armoured: bytes | None, signed: bytes | None, signer: str | None) -> signing.Examined:
    signers = None if signer is None else [signer]
    return signing.examine(armoured, io.BytesIO(signed or b""), signing.ARCHIVE, signers)


def _signature_steps(found: signing.Examined, what: str, signer: str | None) -> list[Step]:
    claim = f"{what} was signed"
    origin = "the signature is the practice's"
    if found.state is Signature.ABSENT:
        unsigned = Step(claim=claim, shown=Shown.NO, because="no signature was given")
        return [unsigned, Step(claim=origin, shown=Shown.NO, because="no signature was given")]
    if found.state is Signature.UNCHECKED:
        return [Step(claim=one, shown=Shown.NO, because=found.reason) for one in (claim, origin)]
    if found.state is Signature.INVALID:
        wrong = Step(claim=claim, shown=Shown.FALSE, because=found.reason)
        return [wrong, Step(claim=origin, shown=Shown.NO, because="the signature is not valid")]
    valid = Step(claim=claim, shown=Shown.YES, because=f"by the key {found.fingerprint}")
    if found.state is Signature.OTHER_KEY:
        return [valid, Step(claim=origin, shown=Shown.FALSE, because=f"it is not by {signer}, but by another key")]
    if signer is None:
        return [valid, Step(claim=origin, shown=Shown.NO, because="compare this fingerprint with the one on paper")]
    return [valid, Step(claim=origin, shown=Shown.YES, because="the fingerprint is the one that was given")]


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except OSError as error:
        raise PlaceError(f"{file} cannot be read: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise UsageError(f"{file} is too large to be part of a proof")
    return data

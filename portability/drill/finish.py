"""The end of a drill: signed, remembered, tidied up, told; after a kill all of it once more, each part the same a second time."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from manifests import signing
from manifests.files import write_private
from manifests.statement import Subject, drill_result
from portability.drill import listing, metrics, notify, proof, record
from portability.drill.context import EVIDENCE, WORK, Context, clean
from portability.drill.folder import STATE
from portability.drill.record import Record
from portability.drill.state import State
from portability.errors import PlaceError, UsageError
from portability.seal import FILES, MANIFEST

STATEMENT = "statement.json"
_KEPT = frozenset({*FILES, "findings.jsonl"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """A drill that came to its end."""

    record: Record
    folder: Path
    head: str
    """SHA-256 of the history's newest line: for paper."""
    removed: int
    """Things removed from the scratch places."""
    warnings: tuple[str, ...] = ()


def finish(context: Context, state: State) -> Drilled:
    """What follows from a record that is written."""
    folder = context.folder(state)
    told = record.read(folder)
    if told.key and not (folder / f"{STATEMENT}.sig").exists():
        _sign(context, told, folder)
    entry = context.drills.remember(folder, archive=(state.verification or {}).get("archive_id"))
    removed = clean(context, state)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    _tidy(folder / EVIDENCE)
    (folder / proof.KEPT).unlink(missing_ok=True)
    warnings = _tell(context, told)
    (folder / STATE).unlink()
    return Drilled(record=told, folder=folder, head=entry.sha256, removed=removed, warnings=warnings)


def _tell(context: Context, told: Record) -> tuple[str, ...]:
    """A drill's verdict does not depend on who is told of it; that it was not told is said."""
    warnings = []
    if context.terms.metrics:
        try:
            metrics.write(told, context.terms.metrics)
        except PlaceError as error:
            warnings.append(error.message)
    if context.terms.notify and (problem := notify.notify(context.terms.notify, notify.of_record(told))):
        warnings.append(problem)
    return tuple(warnings)


def _tidy(evidence: Path) -> None:
    """The restore's ledger has served: it is large, and what it knew is in the evidence."""
    if evidence.is_dir():
        for path in evidence.iterdir():
            if path.name not in _KEPT and path.is_file():
                path.unlink()


def _sign(context: Context, told: Record, folder: Path) -> None:
    """An in-toto test result about the record, signed in the namespace of statements."""
    signer = context.signer
    if signer is None or signer.public.fingerprint != told.key:
        raise UsageError(
            f"the drill {told.id} was begun with the key {told.key}, which is not here to sign its statement",
            hint="give the same key once more; the drill then ends",
        )
    sha256 = hashlib.sha256((folder / record.NAME).read_bytes()).hexdigest()
    tests = ["export", "archive verification", "restore", "comparison"] if told.root else ["export"]
    failing = [one.problem for one in told.findings if one.fails]
    statement = drill_result(
        Subject(name=record.NAME, sha256=sha256),
        passed=tests if told.verdict.proven else [],
        warned=[one.problem for one in told.findings if not one.fails],
        failed=failing or ([] if told.verdict.proven else ["not proven"]),
        configuration=[
            Subject(name=name, sha256=digest)
            for name, digest in (
                (f"{EVIDENCE}/{MANIFEST}", told.manifest_sha256),
                (listing.NAME, told.listing_sha256),
            )
            if digest
        ],
    )
    data = statement.to_bytes()
    (folder / STATEMENT).unlink(missing_ok=True)
    write_private(folder / STATEMENT, data)
    write_private(folder / f"{STATEMENT}.sig", signer.sign(data, signing.STATEMENT))

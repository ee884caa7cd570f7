"""The handover statement: what was found, carried and proven, for both hosts and the practice to sign, each for itself."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from manifests import signing
from manifests.files import write_private
from manifests.statement import TRANSFER, Statement, Subject
from manifests.verdict import Signature
from portability.errors import EvidenceError, PlaceError, RefusedError, UsageError
from portability.report.model import Report, Signed

Role = Literal["outgoing", "practice", "incoming"]
ROLES: tuple[Role, ...] = ("outgoing", "practice", "incoming")


class Signer(Protocol):
    """Signs with one side's key, wherever that is."""

    @property
    def public(self) -> signing.PublicKey: ...

    def sign(self, message: bytes, namespace: str) -> bytes: ...


def statement(report: Report) -> Statement:
    """What all sides sign: counts, places, times and the verdict, about the exact manifest. RefusedError if nothing was sealed."""
    if report.kind == "drill":
        raise UsageError("a drill hands nothing over: there is nothing to sign between hosts", hint="a drill is signed by its own key: portability drill --sign KEY")  # fmt: skip
    if not report.manifest_sha256:
        raise RefusedError(
            "there is nothing to hand over: no manifest was sealed",
            hint="finish the run first: run the same command again",
        )
    subjects = [Subject(name="manifest.jsonl", sha256=report.manifest_sha256)]
    if report.archive_id:
        name, digest = "tagmanifest-sha256.txt", report.archive_id.removeprefix("sha256:")
        subjects.insert(0, Subject(name=name, sha256=digest))
    return Statement(subjects=tuple(subjects), predicate_type=TRANSFER, predicate=_predicate(report))


def _predicate(report: Report) -> Mapping[str, Any]:
    def amount(name: str) -> dict[str, int]:
        told = getattr(report, name)
        return {"things": told.things, "bytes": told.bytes}

    return {
        "run": report.job,
        "outgoing": report.source,
        "incoming": report.destination,
        "counted": report.counted,
        "created": report.created,
        "root": report.root,
        "verdict": "PROVEN" if report.verdict.proven else "NOT PROVEN",
        "exitCode": report.verdict.exit_code,
        **{name: amount(field) for name, field in _AMOUNTS.items()},
        "lost": report.lost,
        "skipped": dict(report.skipped),
        "losses": dict(report.losses),
        "findings": {one.problem: one.count for one in report.findings},
    }


_AMOUNTS = {"found": "found", "carried": "moved", "proven": "proven", "notProven": "not_proven"}


def write_or_check(path: Path, report: Report) -> bytes:
    """The statement's bytes: written if there is no such file (mode 0600), otherwise compared with this very evidence.

    EvidenceError for a statement about something else: a signature under it would say nothing of this report.
    """
    wanted = statement(report).to_bytes()
    if not os.path.lexists(path):
        try:
            write_private(path, wanted)
        except OSError as error:
            raise PlaceError(f"{path} cannot be written: {error.strerror or error}") from error
        return wanted
    there = _read(path)
    told = Statement.from_bytes(there)
    if told.predicate_type != TRANSFER or not told.is_about(report.manifest_sha256):
        raise EvidenceError(f"{path} is a statement about something else", hint="name another file for the statement")
    if there != wanted:
        raise EvidenceError(
            f"{path} is about this evidence, and says other numbers than it",
            hint="do not sign it; name another file, and compare the two",
        )
    return there


def sign(path: Path, role: Role, signer: Signer) -> Path:
    """Sign the statement as one side: `<path>.<role>.sig`, never over another signature, and its key in `<path>.allowed_signers`.

    FormatError if the file is no statement, UsageError if this side has signed already.
    """
    data = _read(path)
    Statement.from_bytes(data)
    signature = signature_of(path, role)
    try:
        write_private(signature, signer.sign(data, signing.STATEMENT))
    except FileExistsError as error:
        raise UsageError(f"{signature} exists already: this side has signed", hint="nothing is overwritten") from error
    except OSError as error:
        raise PlaceError(f"{signature} cannot be written: {error.strerror or error}") from error
    line = signing.allowed_signers_line(role, signer.public)
    known = signers_of(path)
    if not known.exists() or line not in known.read_text("utf-8"):
        with known.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line)
    return signature


def signed(path: Path) -> tuple[Signed, ...]:
    """The signatures that lie beside a statement, each looked at; whose key it is, the fingerprint on paper tells."""
    data = _read(path)
    Statement.from_bytes(data)
    found = []
    for role in ROLES:
        file = signature_of(path, role)
        if not file.exists():
            continue
        examined = signing.examine(_read(file), io.BytesIO(data), signing.STATEMENT)
        found.append(Signed(role=role, state=examined.state.value, fingerprint=examined.fingerprint or ""))
    return tuple(found)


def is_valid(one: Signed) -> bool:
    return one.state == Signature.VALID.value


def signature_of(path: Path, role: Role) -> Path:
    return path.with_name(f"{path.name}.{role}.sig")


def signers_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.allowed_signers")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(1 << 20)
    except OSError as error:
        raise PlaceError(f"{path} cannot be read: {error.strerror or error}") from error

"""The report of a drill: its record, and the drills before it for the trend."""

from __future__ import annotations

import csv
import io
from collections import deque
from dataclasses import replace
from pathlib import Path

from manifests import signing
from manifests.digests import file_sha256
from manifests.statement import Statement
from portability.drill import record
from portability.drill.finish import STATEMENT
from portability.drill.folder import Drills
from portability.drill.record import Record
from portability.errors import EvidenceError
from portability.outcome import printable
from portability.report.details import Row, Sink
from portability.report.model import Amount, Finding, Folder, Point, Report, Signature, Throughput, Verdict

TREND = 40
"""Drills shown: ten years of quarters."""


def of_drill(folder: Path, *, made: str, sink: Sink) -> Report:
    """What the drill in this folder found. FormatError, EvidenceError for a damaged record."""
    told = record.read(folder)
    drills = Drills(folder.absolute().parent)
    findings = tuple(
        Finding(problem=one.problem, count=one.count, fails=one.fails, facts=dict(one.facts)) for one in told.findings
    )
    _rows(folder, sink)
    asked = told.proven.objects + told.not_proven.objects if told.scope.sample else told.found.objects
    numbered = _numbered(told)
    return Report(
        kind="drill",
        made=made,
        tool=told.tool,
        subject=told.id,
        job=printable(told.job),
        source=told.source,
        destination=told.restored_to,
        created=told.ended,
        counted=told.started,
        checked=told.ended,
        verdict=Verdict(
            state="proven" if told.verdict.proven else "altered" if told.verdict.exit_code in {4, 6} else "not-proven",
            exit_code=told.verdict.exit_code,
            reasons=told.verdict.reasons,
        ),
        found=_amount(told.found),
        moved=_amount(told.moved),
        proven=_amount(told.proven),
        not_proven=_amount(told.not_proven),
        lost=max(0, asked - told.moved.objects),
        selection=told.scope.selection,
        levels=dict(told.levels),
        skipped=dict(told.skipped),
        losses=dict(told.lost),
        folders=_folders(numbered),
        throughput=_throughput(told.throughput),
        findings=findings,
        root=told.root,
        manifest_sha256=told.manifest_sha256,
        signature=_signature(folder, told),
        drill=told.model_copy(update={"folders": tuple(one.model_copy(update={"name": None}) for _, one in numbered)}),
        history_head=_head(drills, told),
        trend=_trend(drills, told),
    )


def _signature(folder: Path, told: Record) -> Signature:
    """Whether the key that the record names signed a statement about this very record."""
    if not told.key:
        return Signature()
    try:
        data, armoured = ((folder / name).read_bytes() for name in (STATEMENT, f"{STATEMENT}.sig"))
    except FileNotFoundError:
        return Signature(state="absent", fingerprint=told.key)
    examined = signing.examine(armoured, io.BytesIO(data), signing.STATEMENT, {told.key})
    about = Statement.from_bytes(data).is_about(file_sha256(folder / record.NAME))
    state = examined.state.value if about else "invalid"
    return Signature(state=state, fingerprint=examined.fingerprint or "")


def _throughput(told: record.Throughput | None) -> Throughput | None:
    if told is None:
        return None
    return Throughput(began=told.began, step_seconds=told.step_seconds, bytes=told.bytes, things=told.objects)


def _amount(told: record.Amount) -> Amount:
    return Amount(things=told.objects, bytes=told.bytes)


def _numbered(told: Record) -> list[tuple[int, record.Folder]]:
    """The folders with their numbers, in the order in which the report shows them: the largest first, then the rest."""
    named = sorted((one for one in told.folders if one.name), key=lambda one: (-one.found.bytes, one.name))
    loose = [one for one in told.folders if one.name is not None and not one.name]
    rest = [one for one in told.folders if one.name is None]
    return [*enumerate(named, 1), *((0, one) for one in rest), *((-1, one) for one in loose)]


def _folders(numbered: list[tuple[int, record.Folder]]) -> tuple[Folder, ...]:
    return tuple(
        Folder(number=number, name=one.name or None, things=one.found.objects, bytes=one.found.bytes)
        for number, one in numbered
    )


def _rows(folder: Path, sink: Sink) -> None:
    path = folder / record.FINDINGS
    if not path.is_file():
        return
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                told = {name: line.get(name) or "" for name in ("problem", "key", "expected", "found")}
                sink(Row(type="finding", name=told["problem"], key=told["key"], expected=told["expected"], found=told["found"]))  # fmt: skip
    except (UnicodeDecodeError, csv.Error) as error:
        raise EvidenceError(f"{path} is damaged: not a list of findings") from error


def _trend(drills: Drills, told: Record) -> tuple[Point, ...]:
    """Up to TREND drills of the same job and source, this one last. EvidenceError for a record that the history does not name."""
    before = (one for one in drills.records() if (one.job, one.source) == (told.job, told.source) and one.id < told.id)
    return (*(_point(one) for one in deque(before, TREND - 1)), _point(told))


def _head(drills: Drills, told: Record) -> str:
    """The SHA-256 of this drill's own line; empty if the record lies alone, without its history."""
    return next((entry.sha256 for entry in drills.entries() if f" {told.id} " in f" {entry.result} "), "")


def _point(told: Record) -> Point:
    return Point(
        id=told.id,
        proven=told.verdict.proven,
        things=told.found.objects,
        bytes=told.found.bytes,
        completeness=told.score.completeness.percent,
        milliseconds=told.score.milliseconds,
        sampled=told.scope.kind == "sample",
    )


def without_names(report: Report) -> Report:
    """The report as it may be shown to anybody: folders by number."""
    return replace(report, folders=tuple(replace(one, name=None) for one in report.folders))

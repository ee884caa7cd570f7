"""Numbers of the last drill for the textfile collector of Prometheus, written whole or not at all; counts only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from manifests.canonical import time_of
from portability.drill.record import Record
from portability.errors import PlaceError

_HELP = {
    "last_timestamp_seconds": "When the last drill ended.",
    "due_timestamp_seconds": "When the next drill is due; absent without a schedule.",
    "proven": "1 if the last drill was PROVEN.",
    "objects": "Things that the source held.",
    "bytes": "Bytes that the source held.",
    "proven_objects": "Things restored, read back and equal.",
    "not_proven_objects": "Things that were to be proven and were not.",
    "disappeared_objects": "Things gone since the drill before.",
    "findings": "Findings by problem; only those that there are.",
    "duration_seconds": "How long the drill took.",
    "time_to_leave_seconds": "Projected time until everything is out: low, likely, high.",
}


def write(record: Record, path: Path) -> None:
    """Replace the file; readable for others, because it holds counts and the collector is another user."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", newline="\n") as out:
            out.write(text(record))
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        raise PlaceError(f"the metrics cannot be written to {path}: {error.strerror}") from error


def text(record: Record) -> str:
    """In the text format 0.0.4."""
    lines, said = [], set[str]()
    for name, labels, value in _samples(record):
        if name not in said:
            lines += [f"# HELP portability_drill_{name} {_HELP[name]}", f"# TYPE portability_drill_{name} gauge"]
            said.add(name)
        shown = ",".join(f'{label}="{_escaped(text_)}"' for label, text_ in {"job": record.job, **labels}.items())
        lines.append(f"portability_drill_{name}{{{shown}}} {value}")
    return "\n".join(lines) + "\n"


def _samples(record: Record) -> Iterator[tuple[str, dict[str, str], int]]:
    yield "last_timestamp_seconds", {}, _seconds(time_of(record.ended))
    if record.next_due:
        yield "due_timestamp_seconds", {}, _seconds(time_of(record.next_due))
    yield "proven", {}, int(record.verdict.proven)
    yield "objects", {}, record.found.objects
    yield "bytes", {}, record.found.bytes
    yield "proven_objects", {}, record.proven.objects
    yield "not_proven_objects", {}, record.not_proven.objects
    if record.drift:
        yield "disappeared_objects", {}, record.drift.disappeared.objects
    for finding in record.findings:
        yield "findings", {"problem": finding.problem}, finding.count
    yield "duration_seconds", {}, record.score.milliseconds // 1000
    if record.time_to_leave:
        for name in ("low", "likely", "high"):
            yield "time_to_leave_seconds", {"estimate": name}, getattr(record.time_to_leave, f"{name}_seconds")


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _escaped(text_: str) -> str:
    return text_.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

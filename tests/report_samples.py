"""Places to report on, made with `manifests` alone: evidence of any size and state, and drills."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from manifests.canonical import time_text
from manifests.census import CensusTally
from manifests.header import Header
from manifests.history import Entry, append
from manifests.manifest import ManifestReader, ManifestWriter, Summary
from manifests.provenance import Agent, Event, write_provenance
from manifests.receipt import Loss, Receipt
from manifests.sums import write_sums
from portability.drill import record as drills

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
JOB = "urn:uuid:7d1b6c1e-0d8f-4d0e-9a55-3f1f2b6f9c11"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One receipt; without a size it is a thing that was left out."""

    key: str
    size: int | None = 1000
    evidence: str = "read"
    reason: str = "name"
    losses: tuple[Loss, ...] = ()
    at: datetime = NOON


def many(count: int, folders: int = 20) -> Iterator[Line]:
    """Things in line order, in folders of different sizes, over some hours."""
    keys = sorted((f"f{number * number % folders:03}/{number:08}.dcm", number) for number in range(count))
    for key, number in keys:
        losses = (Loss(name="tags", parked="/tags"),) if number % 3 == 0 else ()
        yield Line(key=key, size=number % 5000 + 1, losses=losses, at=NOON + timedelta(seconds=number * 9000 // count))


THREE = (
    Line(key="courriers/Martin.pdf", size=1200),
    Line(key="imagerie/irm.dcm", size=3_000_000, losses=(Loss(name="tags", parked="/tags"),)),
    Line(key="labo/0042.hl7", size=420),
)


def evidence(
    folder: Path,
    lines: Iterable[Line] = THREE,
    *,
    findings: Iterable[Mapping[str, Any]] = (),
    census: Mapping[str, Any] | None = None,
    source: str = "s3://cabinet?endpoint=https://s3.old.example",
    verified: bool = True,
    **header: Any,
) -> Path:
    """An evidence folder as a migration seals it; findings as `findings.jsonl` and in the provenance."""
    folder.mkdir(parents=True, exist_ok=True)
    held = sorted(lines, key=lambda line: line.key.encode("utf-8", "surrogateescape"))
    told = list(findings)
    tally = CensusTally()
    for line in held:
        tally.add(line.key, "object" if line.size is not None else "skipped", size=line.size, order=None)
    counted = tally.census("2026-11-21T11:59:58Z")
    first = Header(
        job=JOB,
        source=source,
        destination="sftp://cabinet@new.example/home/cabinet",
        created="2026-11-21T15:00:00Z",
        tool={"name": "portability", "version": "0.1.0"},
        census=type(counted).from_dict({**counted.to_dict(), **(census or {})}),
        **header,
    )
    summary = _sealed(folder, first, held)
    (folder / "checkpoint.txt").write_bytes(summary.checkpoint.to_bytes())
    with (folder / "manifest.jsonl").open("rb") as stream:
        sums = io.BytesIO()
        write_sums(ManifestReader(stream).lines(), sums)
    (folder / "SHA256SUMS").write_bytes(sums.getvalue())
    if verified:
        (folder / "provenance.json").write_bytes(_provenance(len(held), len(told)))
    if told:
        text = "".join(f"{json.dumps(one)}\n" for one in told)
        (folder / "findings.jsonl").write_text(text, "utf-8")
    return folder


def _sealed(folder: Path, first: Header, lines: Iterable[Line]) -> Summary:
    with ManifestWriter(folder / "manifest.jsonl", first) as writer:
        for line in lines:
            salt = base64.b64encode(hashlib.md5(line.key.encode("utf-8", "surrogateescape")).digest()).decode()
            common: dict[str, Any] = {"key": line.key, "evidence": line.evidence, "salt": salt, "attempts": 1}
            if line.size is None:
                writer.add(Receipt(**common, kind="skipped", reason=line.reason))
                continue
            digest = hashlib.sha256(line.key.encode("utf-8", "surrogateescape")).hexdigest()
            writer.add(
                Receipt(
                    **common,
                    kind="object",
                    size=line.size,
                    sha256=digest,
                    received_at=time_text(line.at),
                    losses=line.losses or None,
                )
            )
        return writer.seal()


def _provenance(lines: int, failed: int) -> bytes:
    agent = Agent(role="mover", software={"name": "portability", "version": "0.1.0"})
    hour = timedelta(hours=1)
    told = [
        Event(type="transfer", start=NOON, end=NOON + hour, agent=agent, outcome="success", counts={"listed": lines}),
        Event(
            type="verification",
            start=NOON + hour,
            end=NOON + 2 * hour,
            agent=agent,
            outcome="fail" if failed else "success",
            counts={"listed": lines, "failed": failed},
        ),
    ]
    return write_provenance(told)


@dataclass(frozen=True, kw_only=True)
class Drilled:
    """What is different in one drill."""

    id: str = "20261122T013000Z"
    proven: bool = True
    things: int = 1000
    findings: tuple[drills.Finding, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


def drill(folder: Path, *held: Drilled) -> Path:
    """Drills beside each other with their history; the folder of the last one."""
    last: Entry | None = None
    lines = []
    for one in held or (Drilled(),):
        place = folder / one.id
        place.mkdir(parents=True)
        written = _record(one)
        written.write(place)
        digest = hashlib.sha256(written.to_bytes()).hexdigest()
        word = "proven" if one.proven else "not proven"
        last = append(last, type="drill", result=f"{word} {one.id} sha256:{digest}", time=written.ended)
        lines.append(last.to_line() + b"\n")
    (folder / "history.jsonl").write_bytes(b"".join(lines))
    return place


def _record(one: Drilled) -> drills.Record:
    whole = drills.Amount(objects=one.things, bytes=one.things * 5000)
    all_of_it = drills.Ratio(part=one.things, of=one.things)
    values: dict[str, Any] = {
        "id": one.id,
        "job": "cabinet",
        "tool": "0.1.0",
        "source": "s3://cabinet?endpoint=https://s3.old.example",
        "archive": "file:///scratch/one",
        "restored_to": "file:///scratch/two",
        "started": "2026-11-22T01:30:00Z",
        "ended": "2026-11-22T02:10:00Z",
        "next_due": "2027-02-20T02:10:00Z",
        "verdict": drills.Verdict(proven=one.proven, exit_code=0 if one.proven else 3),
        "scope": drills.Scope(),
        "found": whole,
        "moved": whole,
        "proven": whole,
        "not_proven": drills.Amount(),
        "levels": {"read": one.things},
        "score": drills.Score(
            completeness=all_of_it,
            integrity=all_of_it,
            fidelity=drills.Ratio(part=one.things - 1, of=one.things),
            restorability=all_of_it,
            milliseconds=2_400_000,
            bytes_per_second=2000,
        ),
        "phases": tuple(
            drills.Phase(name=name, milliseconds=600_000) for name in ("census", "export", "verify", "restore")
        ),
        "folders": (
            drills.Folder(name="imagerie/", found=whole),
            drills.Folder(name="<b>labo</b>/", found=drills.Amount(objects=1, bytes=5)),
        ),
        "findings": one.findings,
        "quote": drills.Quote(objects=one.things, bytes=5000, requests=3, egress_bytes=5000, disk_bytes=10_000),
        "history": drills.History(length=0, head="0" * 64),
        "root": "ab" * 32,
        "manifest_sha256": "cd" * 32,
    }
    return drills.Record(**{**values, **one.more})

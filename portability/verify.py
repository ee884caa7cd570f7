"""Verification: the destination listed anew, every object read back and hashed, every difference a finding."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from connectors import Entry, Location, VersionWriter
from connectors.keys import key_bytes
from manifests.files import create_private
from manifests.manifest import ManifestReader, Summary
from manifests.receipt import Receipt
from manifests.sums import sums_agree
from manifests.verdict import Verdict, judge
from portability.check import Check, CheckBatch, Checked, check
from portability.engine import Workers
from portability.errors import EvidenceError, UsageError
from portability.evidence import local_folder, open_evidence
from portability.job import Level, Policy
from portability.layout import Layout
from portability.ledger import PAGE, Ledger
from portability.links import in_sequence, link
from portability.outcome import Counts, Finding, Outcome
from portability.pace import Pace
from portability.pool import batch_of, stream
from portability.progress import Progress, Silent
from portability.receipts import entry_of as entry_of_line
from portability.receipts import lost, stored_path
from portability.tasks import Work
from portability.thing import UNVERSIONED, Thing, dump, entry_of

BATCH_BYTES = 32 << 20
SHOWN = 20
"""Findings carried in an outcome; all of them go to the findings file."""


def prove(
    destination: Location,
    ledger: Ledger,
    executor: Executor,
    *,
    demands: Level,
    merge: bool,
    work: Work,
    window: Callable[[], int],
    progress: Progress,
    stopped: Callable[[], bool],
) -> None:
    """The verify phase over the things of a ledger: levels and findings are written as they are seen.

    A killed phase goes on where it was; the listing is always made anew.
    """
    _list(destination, ledger, progress)
    if not ledger.get("verify_began"):
        with ledger.transaction():
            ledger.clear_findings("verify")
            ledger.set("verify_began", "1")
    stored = "state = 'moved' AND action IN ('copy', 'chain')"
    with ledger.transaction():
        # Another archive holds the bytes: what counts is that the source's were read again and are those.
        ledger.execute(
            "UPDATE things SET evidence = 'read', checked = 1 WHERE state = 'moved' AND json_extract(stored, '$.archive') IS NOT NULL"
        )
        ledger.clear_findings("listing")
        if not merge:
            _unexpected(ledger)
    unchecked = ledger.count(f"{stored} AND checked = 0")
    progress.phase("verify", unchecked, ledger.total("ifnull(bytes, 0)", f"{stored} AND checked = 0"))
    pace = Pace(work, [link(destination)])
    batches = _batches(destination, ledger, demands, pace, batch_of(unchecked, window()))
    for batch, answers in stream(executor, check, lambda: None if stopped() else next(batches, None), window):
        if isinstance(answers, BaseException):
            raise answers
        pace.saw(batch.work, len(answers), sum(one.size for one in answers), sum(one.put_off for one in answers))
        with ledger.transaction():
            _settle(ledger, answers)
            ledger.touch()
        progress.step(len(answers), sum(one.size or 0 for one in batch.checks))
    progress.done()


def _list(destination: Location, ledger: Ledger, progress: Progress) -> None:
    progress.phase("destination listing", ledger.count("action IN ('copy', 'chain')"))
    host = in_sequence(destination)
    chains = ledger.count("action = 'chain'") > 0 and isinstance(host, VersionWriter)
    entries: Iterator[Entry] = host.list_versions() if chains else host.list()
    seen = 0
    for count in ledger.replace_there(entries, versions=chains):
        progress.step(count - seen)
        seen = count
    progress.done()


def _unexpected(ledger: Ledger) -> None:
    """Lay the listing against what was moved: what is there and was not put there is a finding."""
    ledger.execute(
        "INSERT INTO findings (phase, key, ord, problem, expected, found, depth) "
        "SELECT 'listing', key, iif(ord >= 0, ord, NULL), 'unexpected', 'nothing', "
        "ifnull(json_extract(entry, '$.size') || ' bytes', 'something'), 'listed' FROM there "
        "WHERE NOT EXISTS (SELECT 1 FROM things WHERE ifnull(things.path, things.key) = there.key AND action IN ('copy', 'chain') "
        # A failed thing may have been there before, and is named as failed.
        "AND (state = 'failed' OR state = 'moved' AND (action = 'copy' OR things.ord = there.ord))) "
        "AND json_extract(entry, '$.kind') IS NOT 'directory'"  # an empty folder is not data
    )


def _batches(destination: Location, ledger: Ledger, demands: Level, pace: Pace, most: int) -> Iterator[CheckBatch]:
    checks: list[Check] = []
    missing: list[Thing] = []
    size = 0
    in_lines = isinstance(link(destination), Layout)

    def batch() -> CheckBatch:
        return CheckBatch(destination=destination, checks=tuple(checks), demands=demands, work=pace.work)

    for thing, listing in ledger.listed("state = 'moved' AND action IN ('copy', 'chain') AND checked = 0"):
        if listing is None or _is_hidden(thing, listing):
            missing.append(thing)
            if len(missing) == PAGE:
                _settle_missing(ledger, missing)
                missing = []
            continue
        checks.append(_check(thing, listing, ledger, in_lines=in_lines))
        size += thing.bytes or 0
        if len(checks) >= most or (size >= BATCH_BYTES and len(checks) > 1):
            yield batch()
            checks, size = [], 0
    _settle_missing(ledger, missing)
    if checks:
        yield batch()


def _is_hidden(thing: Thing, listing: str) -> bool:
    """Whether a delete marker stands over it."""
    return "delete_marker" in listing and entry_of(listing).kind == "delete_marker" != thing.kind


def _settle_missing(ledger: Ledger, things: list[Thing]) -> None:
    with ledger.transaction():
        for thing in things:
            missing = Finding(
                key=thing.key, problem="missing", expected=_what(thing), found="nothing", order=thing.order
            )
            ledger.add_finding("verify", missing)
            ledger.execute("UPDATE things SET evidence = 'none', checked = 1 WHERE id = ?", thing.id)


def _check(thing: Thing, listing: str, ledger: Ledger, *, in_lines: bool) -> Check:
    parts = tuple((part[1], part[2]) for part in ledger.parts(thing.id)) if thing.sha256 is None else ()
    if in_lines:  # a layout: the attributes are in the line, only the bytes are at the destination
        told = thing.stored or {"size": thing.bytes, "sha256": thing.sha256}
        facts, size, sha256 = dump(Entry(key=thing.path, kind=thing.claim.kind)), told["size"], told["sha256"]
        lost = frozenset[str]()
    else:
        facts, size, sha256 = thing.facts_text, thing.bytes, thing.sha256
        lost = frozenset(name for name, _ in thing.losses)
    return Check(
        id=thing.id, listing=listing, facts=facts, path=thing.path, size=size, sha256=sha256, lost=lost, parts=parts
    )


def _what(thing: Thing) -> str:
    return f"{thing.bytes} bytes" if thing.kind == "object" else thing.kind


def _settle(ledger: Ledger, answers: list[Checked]) -> None:
    ledger.execute_many(
        "UPDATE things SET evidence = ?, checked = 1, sha256 = ifnull(sha256, ?) WHERE id = ?",
        ((one.level, one.sha256 if one.level == "read" else None, one.id) for one in answers),
    )
    for answer in answers:
        thing = ledger.thing(answer.id) if answer.differences else None
        if thing is None:
            continue
        for one in answer.differences:
            ledger.add_finding(
                "verify",
                Finding(
                    key=thing.key,
                    problem=one.problem,
                    expected=one.expected or _what(thing),
                    found=one.found,
                    depth=one.depth,
                    order=thing.order,
                ),
            )


# -- verification of evidence, without the run that made it -----------------------------------------------------------


def verify(
    evidence: str,
    *,
    at: Location | None = None,
    credentials: str | None = None,
    evidence_credentials: str | None = None,
    demands: Level = "read",
    merge: bool = False,
    findings: str | None = None,
    policy: Policy | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Outcome:
    """Read the manifest strictly, then every object at the destination; the evidence is not changed.

    `evidence` is a folder or a url; `at` another place that holds the destination's content now; with `merge` that place
    may hold other things besides. The source is not needed.
    """
    started = time.monotonic()
    watched, rules = progress or Silent(), policy or Policy()
    with tempfile.TemporaryDirectory(prefix="portability-") as scratch:
        ledger = Ledger(Path(scratch))
        try:
            watched.phase("manifest")
            summary = _load(evidence, evidence_credentials, ledger, watched)
            watched.done()
            destination = at or Location.parse(summary.header.destination, credentials=credentials)
            if summary.header.archive and at is None:
                raise UsageError("this manifest belongs to an archive; name the place that holds it with --at")
            _run(destination, ledger, executor, demands, merge, rules, watched)
            sums = _sums_problem(evidence, evidence_credentials)
            return _outcome(evidence, destination, ledger, summary, demands, findings, sums, time.monotonic() - started)
        finally:
            ledger.close()


def _load(evidence: str, credentials: str | None, ledger: Ledger, progress: Progress) -> Summary:
    """The manifest's lines as things of a scratch ledger; ManifestError for anything that FORMAT.md refuses."""
    with open_evidence(evidence, "manifest.jsonl", credentials=credentials) as stream_:
        reader = ManifestReader(stream_, name=f"{evidence}/manifest.jsonl")
        lines = iter(reader)
        with ledger.transaction():
            ledger.index()
            while page := list(islice(lines, PAGE)):
                ledger.execute_many(
                    "INSERT INTO things (key, ord, kind, size, claim, origin, mark, action, reason, path, state, sha256, bytes, "
                    "losses, evidence) VALUES (?, ?, ?, ?, ?, x'', '', ?, ?, ?, 'moved', ?, ?, ?, ?)",
                    map(_row, page),
                )
                progress.step(len(page))
            # Several lines of one key under one path are its history at a destination that keeps versions.
            ledger.execute(
                "UPDATE things SET action = 'chain' WHERE action = 'copy' AND ord >= 0 AND key IN (SELECT key FROM things "
                "WHERE action = 'copy' AND path IS NULL AND ord >= 0 GROUP BY key HAVING count(*) > 1 OR min(kind) = 'delete_marker' "
                "AND max(kind) = 'delete_marker')"
            )
    return reader.summary


def _row(line: Receipt) -> tuple[Any, ...]:
    """A line as a thing that was moved; the manifest's own claims count for nothing."""
    entry = entry_of_line(line)
    names = lost(line)
    kept_as_line = line.kind in {"directory", "link", "delete_marker"} and line.kind in names
    return (
        key_bytes(line.key),
        UNVERSIONED if line.order is None else line.order,
        entry.kind,
        line.size,
        dump(entry),
        "skip" if line.kind == "skipped" else "park" if kept_as_line else "copy",
        line.reason,
        stored_path(line) if line.path is not None else None,
        line.sha256,
        line.size,
        json.dumps([(loss.name, loss.parked) for loss in line.losses]) if line.losses else None,
        "read" if kept_as_line else "none",  # what lives only in the manifest was read with it just now
    )


def _run(
    destination: Location,
    ledger: Ledger,
    executor: Executor | None,
    demands: Level,
    merge: bool,
    policy: Policy,
    progress: Progress,
) -> None:
    def work(used: Executor, shares: int, window: Callable[[], int]) -> None:
        prove(
            destination,
            ledger,
            used,
            demands=demands,
            merge=merge,
            work=Work(
                retries=policy.retries, connections=policy.connections, shares=shares, bandwidth=policy.bandwidth
            ),
            window=window,
            progress=progress,
            stopped=lambda: False,
        )

    with Workers(policy, (destination,), given=executor, progress=progress) as workers:
        workers.run(work)


def _sums_problem(evidence: str, credentials: str | None) -> str:
    """What is wrong with SHA256SUMS beside the manifest; empty if it is the manifest's projection, or not there."""
    folder = local_folder(evidence)
    if folder is not None and (folder.is_file() or not (folder / "SHA256SUMS").exists()):
        return ""
    try:
        with (
            open_evidence(evidence, "SHA256SUMS", credentials=credentials) as sums,
            open_evidence(evidence, "manifest.jsonl", credentials=credentials) as manifest,
        ):
            agree = sums_agree(ManifestReader(manifest).lines(), sums)
    except EvidenceError:
        return ""
    return "" if agree else "SHA256SUMS is not what the manifest says: it was changed, or belongs to another run"


def _outcome(
    evidence: str,
    destination: Location,
    ledger: Ledger,
    summary: Summary,
    demands: Level,
    findings: str | None,
    sums: str,
    seconds: float,
) -> Outcome:
    levels = ledger.tally("evidence", "action != 'skip'")
    count = ledger.finding_count()
    verdict = judge(summary, findings=count, evidence=levels, demands=demands)
    if findings:
        write_findings(ledger, Path(findings))
    outcome = describe(verdict, summary, ledger, levels, evidence, destination.url, seconds)
    if not sums:
        return outcome
    return replace(
        outcome,
        proven=False,
        exit_code=6,
        reasons=(sums, *outcome.reasons),
        sentence=outcome.sentence.replace("PROVEN", "NOT PROVEN", 1) if outcome.proven else outcome.sentence,
    )


def describe(
    verdict: Verdict,
    summary: Summary,
    ledger: Ledger,
    levels: dict[str, int],
    evidence: str,
    destination: str,
    seconds: float,
) -> Outcome:
    """A verdict as the outcome of a command."""
    count, census = ledger.finding_count(), summary.header.census
    step = (
        ""
        if verdict.proven
        else (
            "move away at the destination what is altered or unexpected; then the same migration, run again, brings what is missing"
        )
    )
    return Outcome(
        proven=verdict.proven,
        reasons=verdict.reasons,
        sentence=str(verdict),
        exit_code=verdict.exit_code,
        evidence=evidence,
        source=summary.header.source,
        destination=destination,
        job=summary.header.job,
        counts=Counts(things=census.lines, bytes=census.bytes, unsized=census.unsized, kinds=dict(census.kinds)),
        levels=levels,
        losses=dict(summary.losses),
        skipped=dict(summary.skipped),
        findings=tuple(ledger.findings(SHOWN)),
        finding_count=count,
        root=summary.root,
        manifest_sha256=summary.sha256,
        seconds=seconds,
        next_step=step,
    )


def write_findings(ledger: Ledger, path: Path) -> None:
    """All findings as JSON lines, for their owner's eyes only."""
    with create_private(path) as file:
        for finding in ledger.findings():
            file.write(json.dumps(finding.plain(), ensure_ascii=False).encode() + b"\n")

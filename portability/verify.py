"""Verification: the destination listed anew, every object read back and hashed, every difference a finding."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from connectors import Entry, Location, VersionWriter
from connectors.entry import from_dict, to_dict
from connectors.keys import key_bytes
from manifests.files import create_private
from manifests.manifest import ManifestReader, Summary
from manifests.sums import sums_agree
from manifests.verdict import Verdict, judge
from portability.check import Check, CheckBatch, Checked, check
from portability.engine import on_workers
from portability.errors import EvidenceError, UsageError
from portability.evidence import local_folder, open_evidence
from portability.fidelity import without
from portability.job import Level, Policy
from portability.layout import Layout
from portability.ledger import UNVERSIONED, Ledger, Thing, mark
from portability.links import link
from portability.move import Work
from portability.outcome import Counts, Finding, Outcome
from portability.pool import stream
from portability.progress import Progress, Silent
from portability.receipts import entry_of, lost, stored_path

BATCH_THINGS = 32
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
        _match(ledger)
        if not merge:
            _unexpected(ledger)
    progress.phase(
        "verify",
        ledger.count(f"{stored} AND checked = 0"),
        ledger.total("ifnull(bytes, 0)", f"{stored} AND checked = 0"),
    )
    batches = _batches(destination, ledger, demands, work)
    for batch, answers in stream(executor, check, lambda: None if stopped() else next(batches, None), window):
        if isinstance(answers, BaseException):
            raise answers
        with ledger.transaction():
            for answer in answers:
                _settle(ledger, answer)
            ledger.touch()
        progress.step(len(answers), sum(one.wanted.size or 0 for one in batch.checks))
    progress.done()


def _list(destination: Location, ledger: Ledger, progress: Progress) -> None:
    progress.phase("destination listing", ledger.count("action IN ('copy', 'chain')"))
    host = link(destination)
    chains = ledger.count("action = 'chain'") > 0 and isinstance(host, VersionWriter)
    entries: Iterator[Entry] = host.list_versions() if chains else host.list()
    seen = 0
    for count in ledger.replace_there(entries, versions=chains):
        progress.step(count - seen)
        seen = count
    progress.done()


def _match(ledger: Ledger) -> None:
    """Lay the listing against the plan: what was listed is marked `seen`, what was not is missing."""
    ledger.execute("UPDATE there SET seen = 0")
    ledger.execute(
        "UPDATE there SET seen = 1 WHERE key IN (SELECT ifnull(path, key) FROM things WHERE action = 'copy' AND state = 'moved')"
    )
    ledger.execute(
        "UPDATE there SET seen = 1 WHERE (key, ord) IN "
        "(SELECT ifnull(path, key), ord FROM things WHERE action = 'chain' AND state = 'moved')"
    )


def _unexpected(ledger: Ledger) -> None:
    ledger.execute(
        "INSERT INTO findings (phase, key, ord, problem, expected, found, depth) "
        "SELECT 'listing', key, iif(ord >= 0, ord, NULL), 'unexpected', 'nothing', "
        "ifnull(json_extract(entry, '$.size') || ' bytes', 'something'), 'listed' FROM there WHERE seen = 0 "
        "AND json_extract(entry, '$.kind') IS NOT 'directory' "  # an empty folder is not data
        # A failed thing may have been there before, and is named as failed.
        "AND key NOT IN (SELECT ifnull(path, key) FROM things WHERE state = 'failed')"
    )


def _batches(destination: Location, ledger: Ledger, demands: Level, work: Work) -> Iterator[CheckBatch]:
    checks: list[Check] = []
    size = 0
    in_lines = isinstance(link(destination), Layout)

    def batch() -> CheckBatch:
        return CheckBatch(destination=destination, checks=tuple(checks), demands=demands, work=work)

    for thing in ledger.things("state = 'moved' AND action IN ('copy', 'chain') AND checked = 0"):
        there = _there(thing, ledger)
        if there is None:
            with ledger.transaction():
                ledger.add_finding(
                    "verify",
                    Finding(
                        key=thing.key, problem="missing", expected=_what(thing), found="nothing", order=thing.order
                    ),
                )
                ledger.execute("UPDATE things SET evidence = 'none', checked = 1 WHERE id = ?", thing.id)
            continue
        checks.append(_check(thing, there, ledger, in_lines=in_lines))
        size += thing.bytes or 0
        if len(checks) >= BATCH_THINGS or (size >= BATCH_BYTES and len(checks) > 1):
            yield batch()
            checks, size = [], 0
    if checks:
        yield batch()


def _there(thing: Thing, ledger: Ledger) -> Entry | None:
    """The destination's listing of a thing: of a chain that very version, otherwise the newest."""
    if thing.action == "chain":
        rows = ledger.query("SELECT entry FROM there WHERE key = ? AND ord = ?", key_bytes(thing.path), thing.ord)
    else:
        rows = ledger.query("SELECT entry FROM there WHERE key = ? ORDER BY ord DESC LIMIT 1", key_bytes(thing.path))
    entry = from_dict(json.loads(rows[0][0])) if rows else None
    return None if entry is not None and entry.kind == "delete_marker" != thing.kind else entry


def _check(thing: Thing, there: Entry, ledger: Ledger, *, in_lines: bool) -> Check:
    parts = tuple((part[1], part[2]) for part in ledger.parts(thing.id)) if thing.sha256 is None else ()
    if in_lines:  # a layout: the attributes are in the line, only the bytes are at the destination
        told = thing.stored or {"size": thing.bytes, "sha256": thing.sha256}
        bare = Entry(key=thing.path, kind=thing.claim.kind, size=told["size"])
        return Check(id=thing.id, there=there, wanted=bare, sha256=told["sha256"], parts=parts)
    facts = thing.facts or thing.claim
    lost_names = frozenset(name for name, _ in thing.losses)
    wanted = replace(without(facts, lost_names), key=thing.path, size=thing.bytes)
    return Check(id=thing.id, there=there, wanted=wanted, sha256=thing.sha256, parts=parts)


def _what(thing: Thing) -> str:
    return f"{thing.bytes} bytes" if thing.kind == "object" else thing.kind


def _settle(ledger: Ledger, answer: Checked) -> None:
    ledger.execute("UPDATE things SET evidence = ?, checked = 1 WHERE id = ?", answer.level, answer.id)
    if answer.level == "read" and answer.sha256 is not None:
        ledger.execute("UPDATE things SET sha256 = ? WHERE id = ? AND sha256 IS NULL", answer.sha256, answer.id)
    if not answer.differences:
        return
    thing = ledger.thing(answer.id)
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
        chains = 0
        with ledger.transaction():
            ledger.index()
            for line in reader:
                entry = entry_of(line)
                names = lost(line)
                kept_as_line = line.kind in {"directory", "link", "delete_marker"} and line.kind in names
                action = "skip" if line.kind == "skipped" else "park" if kept_as_line else "copy"
                ledger.execute(
                    "INSERT INTO things (key, ord, kind, size, claim, origin, mark, action, reason, path, state, facts, sha256, "
                    "bytes, losses, evidence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'moved', ?, ?, ?, ?, ?)",
                    key_bytes(line.key),
                    UNVERSIONED if line.order is None else line.order,
                    entry.kind,
                    line.size,
                    json.dumps(to_dict(entry)),
                    b"",
                    mark(entry),
                    action,
                    line.reason,
                    stored_path(line) if line.path is not None else None,
                    json.dumps(to_dict(entry)),
                    line.sha256,
                    line.size,
                    json.dumps([(loss.name, loss.parked) for loss in line.losses or ()]),
                    # The manifest's own claims count for nothing here; what lives only in it was read with it just now.
                    "read" if kept_as_line else "none",
                )
                chains += 1
                progress.step(1)
            # Several lines of one key under one path are its history at a destination that keeps versions.
            ledger.execute(
                "UPDATE things SET action = 'chain' WHERE action = 'copy' AND ord >= 0 AND key IN (SELECT key FROM things "
                "WHERE action = 'copy' AND path IS NULL AND ord >= 0 GROUP BY key HAVING count(*) > 1 OR min(kind) = 'delete_marker' "
                "AND max(kind) = 'delete_marker')"
            )
    return reader.summary


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

    on_workers(work, policy, (destination,), given=executor, progress=progress)


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

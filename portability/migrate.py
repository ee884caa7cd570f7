"""A whole migration: census, plan, transfer, closing listing, verify, seal, verdict; each phase resumable."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from connectors import ConnectorError, Preparer
from manifests.canonical import time_text
from manifests.manifest import Summary
from manifests.verdict import judge
from portability import census as census_phase
from portability import forecast
from portability import plan as plan_phase
from portability.copying import READ
from portability.engine import Workers, prepare
from portability.errors import InterruptedRunError, PlaceError, PortabilityError, RefusedError, UsageError
from portability.evidence import copy_out
from portability.job import Job, check, new_id
from portability.ledger import NAME, Ledger
from portability.links import link
from portability.lock import FolderLock, is_held
from portability.outcome import Counts, Finding, Outcome, PlanSummary, Status
from portability.progress import Progress, Silent
from portability.seal import FILES, MANIFEST, read_back, seal
from portability.shell import command_line
from portability.tasks import Work
from portability.throttle import deadline
from portability.transfer import Totals, abort_uploads, open_tokens, transfer
from portability.verify import describe, prove, write_findings

PHASES = ("census", "plan", "transfer", "closing", "verify", "seal", "finished")
Sealer = Callable[[Job, Ledger, Progress], Summary]
"""Writes the evidence of a run and reads it back; an archive is closed by another one than an evidence folder."""
MARKS = ("transfer_began", "transfer_ended", "verify_started", "verify_ended")
"""Times of a run that its provenance tells."""


def plan(job: Job, *, progress: Progress | None = None) -> PlanSummary:
    """What a migration would do. Contacts both places, reads a sample of the source, writes nothing anywhere."""
    check(job)
    watched = progress or Silent()
    with tempfile.TemporaryDirectory(prefix="portability-") as folder:
        ledger = Ledger(Path(folder))
        try:
            census_phase.take(job, ledger, watched)
            plan_phase.make(job, ledger, watched)
            return forecast.summary(job, ledger, lambda: _sample(job, ledger))
        finally:
            ledger.close()


def _sample(job: Job, ledger: Ledger, *, seconds: float = 2.0, most: int = 32 << 20) -> float | None:
    """Bytes a second of a short read at the source, opening included; None if nothing could be read."""
    source = link(job.source)
    began, count = time.monotonic(), 0
    for thing in ledger.things("action IN ('copy', 'chain') AND kind = 'object' AND size > 0"):
        try:
            body = source.open(thing.claim, 0, min(thing.size or 0, 4 << 20))
            try:
                while piece := body.read(READ):
                    count += len(piece)
            finally:
                body.close()
        except ConnectorError:
            return None
        if count >= most or time.monotonic() - began > seconds:
            break
    return count / max(time.monotonic() - began, 1e-6) if count else None


def migrate(
    job: Job,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
    delta: bool = False,
    copy_evidence_to: str | None = None,
    sealer: Sealer = seal,
) -> Outcome:
    """Move everything and prove it. The same call goes on after any interruption; after a finished run it is a delta run.

    UsageError, RefusedError, PlaceError, EvidenceError, InterruptedRunError and the connectors' errors pass.
    """
    check(job)
    if executor is None:
        prepare(job.policy, (job.source, job.destination))
    watched = progress or Silent()
    try:
        job.evidence.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise PlaceError(f"the evidence folder {job.evidence} cannot be made: {error.strerror}") from error
    places = (job.source, job.destination)
    with (
        Workers(job.policy, places, given=executor, progress=watched) as workers,
        FolderLock(job.evidence),
        _interruptible(job, watched) as stopped,
        closing(Ledger(job.evidence)) as ledger,
        closing(workers),  # here too: the next run must not begin while they still put what this one gave them
    ):
        _begin(job, ledger, delta)
        outcome = _Run(job, ledger, watched, workers, stopped, sealer).run()
    if copy_evidence_to:
        try:
            copy_out(job.evidence, list(FILES), copy_evidence_to)
        except (ConnectorError, PortabilityError) as error:
            word = "PROVEN" if outcome.proven else "NOT PROVEN"
            raise PlaceError(
                f"the run ended {word}, but its evidence could not be copied to {copy_evidence_to}: {error}",
                hint=f"copy {job.evidence} yourself",
            ) from error
    return outcome


def _begin(job: Job, ledger: Ledger, delta: bool) -> None:
    """Go on with this folder's run, or start one; a finished run becomes the base of a delta."""
    ledger.claim(job.identity)
    phase = ledger.get("phase")
    if phase in {"", "census"} and delta and not ledger.has_before:
        raise UsageError(
            f"{job.evidence} holds no finished run: there is nothing to take a delta from", hint="run without --delta"
        )
    if phase == "finished":
        _archive_evidence(job, ledger)
    if phase in {"", "finished"}:
        with ledger.transaction():  # one, or a run killed in between would take the empty new things for those before
            if phase == "finished":
                ledger.begin_delta()
            ledger.set("job", new_id())
            ledger.set("phase", "census")
            ledger.set("verdict", "")
            ledger.set("started", time_text(datetime.now(UTC)))
            for name in ("verify_began", "foreseen", *MARKS):
                ledger.set(name, "")
    elif not ledger.get("job"):
        with ledger.transaction():
            ledger.set("job", new_id())
            ledger.set("started", time_text(datetime.now(UTC)))


def _archive_evidence(job: Job, ledger: Ledger) -> None:
    """Move the finished run's files to previous/<job uuid>/: nothing sealed is ever overwritten."""
    summary = read_back(job.evidence / MANIFEST) if (job.evidence / MANIFEST).exists() else None
    folder = job.evidence / "previous" / ledger.get("job").removeprefix("urn:uuid:")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    abort_uploads(job, ledger)
    if summary is not None:
        ledger.set("previous", summary.sha256)
    for name in (*FILES, "findings.jsonl", "settings.json"):
        if (job.evidence / name).exists():
            os.replace(job.evidence / name, folder / name)  # noqa: PTH105 - Path.replace is the same call


class _Run:
    """The phases in order; each one moves the ledger's `phase` on when all of it is on disk."""

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        progress: Progress,
        workers: Workers,
        stopped: Callable[[], bool],
        sealer: Sealer,
    ) -> None:
        self._job, self._ledger, self._progress = job, ledger, progress
        self._workers, self._stopped, self._sealer = workers, stopped, sealer
        self._began = time.monotonic()
        self._totals = Totals()

    def run(self) -> Outcome:
        summary: Summary | None = None
        while (phase := self._ledger.get("phase")) != "finished":
            summary = getattr(self, f"_{phase}")()
            self._go_on_if_wanted()
            with self._ledger.transaction():
                self._ledger.set("phase", PHASES[PHASES.index(phase) + 1])
                self._ledger.touch()
        if summary is None:
            summary = read_back(self._job.evidence / MANIFEST)
        return self._verdict(summary)

    def _go_on_if_wanted(self) -> None:
        if self._stopped():
            raise InterruptedRunError(
                "stopped; everything done so far is on disk",
                hint="run the same command again to go on",
            )

    def _census(self) -> None:
        census_phase.take(self._job, self._ledger, self._progress)

    def _plan(self) -> None:
        link(
            self._job.destination
        )  # a wrong password is tried once, and not by every worker: servers shut out who guesses
        self._workers.begin()  # the source holds something: they will be needed
        plan_phase.make(self._job, self._ledger, self._progress)
        obstacle = forecast.obstacle(self._job, self._ledger)
        if obstacle:
            # The next run looks at the source and the destination again: the person may have made room.
            with self._ledger.transaction():
                self._ledger.set("phase", "census")
            raise RefusedError(
                f"nothing was moved: {obstacle}", hint="look before you move: portability plan, with the same options"
            )

    def _transfer(self) -> None:
        destination = link(self._job.destination)
        if isinstance(destination, Preparer):
            destination.prepare(open_tokens(self._ledger))
        self._mark("transfer_began")
        with self._ledger.transaction():  # what failed in an interrupted run gets its chance
            self._ledger.execute("UPDATE things SET state = 'planned' WHERE state = 'failed'")
            if self._job.demands == "read":
                self._ledger.set("foreseen", "1")

        def work(executor: Executor, rules: Work, window: Callable[[], int]) -> None:
            self._totals = transfer(
                self._job,
                self._ledger,
                executor,
                work=rules,
                window=window,
                progress=self._progress,
                stopped=self._stopped,
            )

        self._on_workers(work)
        if not self._stopped() and isinstance(destination, Preparer):
            destination.prepare(open_tokens(self._ledger))
        self._mark("transfer_ended", again=True)

    def _closing(self) -> None:
        census_phase.close(self._job, self._ledger, self._progress, self._stopped)

    def _verify(self) -> None:
        self._mark("verify_started")
        demands = self._job.demands
        if demands == "listed" and self._ledger.get("foreseen"):
            # Attributes were left to a read-back that is no longer demanded: the host is asked for them at least.
            demands = "reported"

        def work(executor: Executor, rules: Work, window: Callable[[], int]) -> None:
            prove(
                self._job.destination,
                self._ledger,
                executor,
                demands=demands,
                merge=self._job.merge,
                work=rules,
                window=window,
                progress=self._progress,
                stopped=self._stopped,
            )

        self._on_workers(work)
        self._mark("verify_ended", again=True)

    def _seal(self) -> Summary:
        self._workers.release()
        with self._ledger.transaction():
            self._ledger.clear_findings("failed")
            for thing in self._ledger.things("state IN ('failed', 'planned')"):
                found = thing.message or "not moved"
                if thing.expected or thing.found:
                    found = f"{found} (ours {thing.expected}, theirs {thing.found})"
                self._ledger.add_finding(
                    "failed",
                    Finding(
                        key=thing.key, problem="failed", expected=thing.problem or "", found=found, order=thing.order
                    ),
                )
        summary = self._sealer(self._job, self._ledger, self._progress)
        path = self._job.evidence / "findings.jsonl"
        if self._ledger.finding_count():
            write_findings(self._ledger, path)
        return summary

    def _verdict(self, summary: Summary) -> Outcome:
        ledger = self._ledger
        findings = ledger.finding_count()
        differences = int(ledger.query("SELECT count(*) FROM findings WHERE phase IN ('verify', 'listing')")[0][0])
        verdict = judge(summary, findings=findings)
        if (
            verdict.exit_code == 4 and not differences
        ):  # nothing differs at the destination; something did not get there
            verdict = replace(verdict, exit_code=3)
        with ledger.transaction():
            ledger.set("verdict", verdict.word)
        outcome = describe(
            verdict,
            summary,
            ledger,
            dict(summary.evidence),
            str(self._job.evidence),
            self._job.destination.url,
            time.monotonic() - self._began,
        )
        return replace(
            outcome,
            moved_bytes=self._totals.bytes,
            retries=max(0, self._totals.tries - self._totals.moved - self._totals.failed),
            next_step=_next_step(outcome, ledger),
        )

    def _on_workers(self, work: Callable[[Executor, Work, Callable[[], int]], None]) -> None:
        self._workers.run(lambda executor, shares, window: work(executor, _rules(self._job, shares), window))

    def _mark(self, name: str, *, again: bool = False) -> None:
        if again or not self._ledger.get(name):
            with self._ledger.transaction():
                self._ledger.set(name, time_text(datetime.now(UTC)))


def _rules(job: Job, workers: int) -> Work:
    policy = job.policy
    return Work(
        retries=policy.retries,
        connections=policy.connections,
        shares=workers,
        bandwidth=policy.bandwidth,
        read_back=job.demands == "read",
    )


def _next_step(outcome: Outcome, ledger: Ledger) -> str:
    if outcome.proven:
        return (
            "copy the root value and the evidence folder to a place that neither host holds; "
            f"check again at any time with: {command_line('portability', 'verify', outcome.evidence)}"
        )
    changed = int(ledger.query("SELECT count(*) FROM findings WHERE phase = 'closing'")[0][0])
    if changed:
        return "the source changed while it was copied: run the same command again, it brings the difference over"
    if outcome.skipped and not outcome.finding_count:
        accept = " ".join(f"--accept {reason}" for reason in sorted(outcome.skipped))
        return (
            "rename at the source what was skipped (portability plan names it), or choose a destination that can hold it; "
            f"if it may stay behind, run the same command with {accept}"
        )
    return "look at the findings, mend what they name, then run the same command again"


def status(folder: Path) -> Status:
    """What the ledger in an evidence folder says of its run; also while it runs."""
    if not (folder / NAME).exists():
        raise PlaceError(f"{folder} holds no ledger", hint="name the --evidence folder of a migration")
    ledger = Ledger(folder, read_only=True)
    try:
        identity: dict[str, Any] = ledger.get_json("identity") or {}
        census = ledger.get_json("census") or {}
        moved = "state = 'moved' AND action IN ('copy', 'chain')"
        return Status(
            evidence=str(folder),
            job=ledger.get("job"),
            source=str(identity.get("source", "")),
            destination=str(identity.get("destination", "")),
            running=is_held(folder),
            phase=ledger.get("phase"),
            started=ledger.get("started"),
            updated=ledger.get("updated"),
            census=Counts(
                things=census.get("lines", ledger.count()),
                bytes=census.get("bytes", ledger.total("size")),
                unsized=census.get("unsized", 0),
                kinds=census.get("kinds", {}),
            ),
            moved=Counts(things=ledger.count(moved), bytes=ledger.total("bytes", moved)),
            failed=ledger.count("state = 'failed'"),
            proven_lines=ledger.count("evidence = 'read'"),
            verdict=ledger.get("verdict"),
            failures=ledger.tally("problem", "state = 'failed'"),
        )
    finally:
        ledger.close()


@contextmanager
def _interruptible(job: Job, progress: Progress) -> Iterator[Callable[[], bool]]:
    """A question "stop?" that Ctrl-C, SIGTERM and the end of the run window answer with yes; a second Ctrl-C is not waited for."""
    asked = threading.Event()
    until = deadline(job.policy.until, datetime.now().astimezone()) if job.policy.until else None
    before: dict[int, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        progress.note("finishing what is under way; once more stops at once")

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked.is_set() or (until is not None and datetime.now().astimezone() >= until)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""A drill: the engine's export and restore between scratch places, timed, compared, scored, remembered, tidied up.

Each step leaves its result in the drill's state before the next one begins: the same call goes on after a kill.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors import NotFoundError, connect
from manifests.bagit import TAG_LIST
from manifests.canonical import time_text
from portability.archive.closing import Signer
from portability.archive.export import STATE as ARCHIVE_STATE
from portability.archive.export import Export, count, export, finished, work_folder
from portability.archive.restore import Restore, restore
from portability.archive.verifier import VerifierResult
from portability.drill import canary, conclude, listing, proof, record, scratch
from portability.drill.clock import Clock
from portability.drill.context import EVIDENCE, WORK, Context, check_job, clean, terms_of, turn_of
from portability.drill.finish import Drilled, finish
from portability.drill.folder import Drills
from portability.drill.quote import counted, quote_of
from portability.drill.record import Quote
from portability.drill.sampling import next_turn
from portability.drill.state import State
from portability.errors import EvidenceError, PlaceError, RefusedError
from portability.job import Job
from portability.ledger import Ledger
from portability.lock import FolderLock, is_held
from portability.progress import Progress, Silent

Said = Callable[[Quote, bool], None]


def drill(
    job: Job,
    *,
    share: int | None = None,
    seed: str | None = None,
    signer: Signer | None = None,
    progress: Progress | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    said: Said = lambda quote, resumed: None,
) -> Drilled:
    """Rehearse the exit of this job. `said` is told the quote before the export, and whether an interrupted drill goes on.

    `share` (parts in a million) draws a sample. UsageError, RefusedError, PlaceError, EvidenceError, InterruptedRunError
    and the connectors' errors pass.
    """
    terms = terms_of(job)
    check_job(job, terms)
    drills = Drills(terms.folder)
    drills.entries()  # a broken chain is said before anything is written
    terms.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if is_held(terms.folder):
        raise PlaceError(
            f"another drill is running in {terms.folder}",
            hint="wait for it; the same command with --status tells when it ended",
        )
    with FolderLock(terms.folder):
        aviary = canary.load(terms.folder, job.source)
        context = Context(job=job, terms=terms, drills=drills, aviary=aviary, signer=signer, now=now)
        return _Run(context, progress or Silent(), said).drill(share, seed)


class _Run:
    def __init__(self, context: Context, progress: Progress, said: Said) -> None:
        self._context, self._progress, self._said = context, progress, said
        self._last = context.drills.last()
        self._resumed = True

    def drill(self, share: int | None, seed: str | None) -> Drilled:
        state = self._interrupted(share, seed)
        clock = Clock(self._progress, state, self._context.folder(state), self._context.now)
        steps = {"export": self._export, "restore": self._restore, "record": self._record}
        while state.step != "finish":
            steps[state.step](state, clock)
            state.save(self._context.folder(state))
        return finish(self._context, state)

    # -- beginning, going on, giving up ---------------------------------------------------------------------------

    def _interrupted(self, share: int | None, seed: str | None) -> State:
        """The drill that was interrupted, if it is this one, or a new one. Others are ended: their scratch is removed."""
        given_up, going_on = 0, None
        for folder in self._context.drills.unfinished():
            state = State.load(folder)
            if state.identity == self._context.identity(share, seed) and going_on is None:
                going_on = state
            elif state.step == "finish":
                finish(self._context, state)
            else:
                clean(self._context, state)
                shutil.rmtree(folder)
                given_up += 1
        if going_on is not None:
            going_on.unfinished += given_up
            return going_on
        self._resumed = False
        return self._begun(share, seed, given_up)

    def _begun(self, share: int | None, seed: str | None, given_up: int) -> State:
        terms = self._context.terms
        scratch.check_hosts(terms)
        moment = self._context.now().astimezone(UTC).replace(microsecond=0)
        while (terms.folder / f"{moment:%Y%m%dT%H%M%SZ}").exists():
            moment += timedelta(seconds=1)
        turn = next_turn(self._context.drills.records(), share, seed=seed) if share is not None else None
        state = State(
            id=f"{moment:%Y%m%dT%H%M%SZ}",
            token=secrets.token_hex(4),
            started=time_text(moment),
            identity=self._context.identity(share, seed),
            credentials={place.url: place.credentials for place in (terms.scratch, terms.restore_to)},
            turn=asdict(turn) if turn else None,
            canaries=self._context.aviary.keys,
            unfinished=given_up,
        )
        folder = self._context.folder(state)
        folder.mkdir(mode=0o700)
        state.save(folder)
        return state

    # -- the steps ------------------------------------------------------------------------------------------------

    def _export(self, state: State, clock: Clock) -> None:
        context = self._context
        asked = Export(
            source=context.job.source,
            to=context.archives(state),
            practice=context.job.name,
            selection=context.selection(state),
            policy=context.job.policy,
            accepts=context.job.accepts,
            work=context.folder(state) / WORK,
            look=lambda ledger: self._look(state, ledger),
        )
        if state.archive and not work_folder(asked).exists() and self._is_closed(state):
            state.step = "restore"  # killed just afterwards
            return
        try:
            with clock.during("census"):
                count(asked, progress=clock)
        except RefusedError:
            if not self._has_lost_everything(state, asked):
                raise
            state.step = "record"
            return
        if state.quote is None:
            state.quote = self._quote(asked).model_dump(mode="json")
        self._said(Quote.model_validate(state.quote), self._resumed)
        try:
            with clock.during("export"):
                export(asked, progress=clock)
        except RefusedError:
            if not (state.facts and state.facts["failed"]):
                raise  # refused before byte one: a person has to change something
            state.step = "record"
        else:
            state.step = "restore"

    def _has_lost_everything(self, state: State, asked: Export) -> bool:
        """An empty source that was not empty at an earlier drill is what this drill found, and no wrong url."""
        known = any(one.found.objects for one in self._context.drills.records() if one.source == asked.source.url)
        ledger = Ledger(work_folder(asked), read_only=True)
        try:
            if not known or ledger.count():
                return False
            self._look(state, ledger)
        finally:
            ledger.close()
        state.quote = quote_of(self._context.job, objects=0, bytes_=0, listed=0).model_dump(mode="json")
        return True

    def _look(self, state: State, ledger: Ledger) -> None:
        """Keep what the export's ledger knows: it goes with the export."""
        context, folder = self._context, self._context.folder(state)
        turn, selection = turn_of(state), context.selection(state)
        state.facts = listing.write(
            ledger,
            folder / listing.NAME,
            drill=state.id,
            selection=selection,
            accepted=context.accepted(state),
            covered=turn.covered() if turn else None,
        ).plain()
        proof.write_not_whole(ledger, folder, context.accepted(state))
        state.archive = json.loads((ledger.folder / ARCHIVE_STATE).read_bytes())["name"]
        state.save(folder)

    def _is_closed(self, state: State) -> bool:
        host: Any = connect(self._context.archive(state))
        try:
            host.stat(TAG_LIST)
        except NotFoundError:
            return False
        else:
            return True
        finally:
            host.close()

    def _quote(self, asked: Export) -> Quote:
        """Count what will be moved, say what that costs, and refuse what there is no room for."""
        ledger = Ledger(work_folder(asked), read_only=True)
        try:
            listed, objects, octets = counted(ledger, asked.selection)
        finally:
            ledger.close()
        if not objects:
            raise RefusedError(
                f"of {listed:,} things the sample drew none: a drill of nothing proves nothing",
                hint="take a larger share, or no --sample",
            )
        return quote_of(self._context.job, objects=objects, bytes_=octets, listed=listed, last=self._last)

    def _restore(self, state: State, clock: Clock) -> None:
        context, folder = self._context, self._context.folder(state)
        archive, target, evidence = context.archive(state), context.restored(state), folder / EVIDENCE

        def verified(result: VerifierResult) -> None:
            worst = max(result.findings, key=lambda one: one.exit_code, default=None)
            state.verification = {
                "intact": result.intact,
                "findings": sum(result.totals.values()),
                "rule": worst.rule if worst else "",
                "archive_id": result.archive_id,
            }
            clock.now("restore")

        outcome = finished(Job(source=archive, destination=target, evidence=evidence))
        if outcome is None:
            try:
                with clock.during("verify"):
                    asked = Restore(
                        archive=archive,
                        to=target,
                        evidence=evidence,
                        policy=context.job.policy,
                        accepts=context.job.accepts,
                        verified=verified,
                    )
                    outcome = restore(asked, progress=clock)
            except EvidenceError:
                if state.verification is None or state.verification["intact"]:
                    raise
                # That the archive is not intact is what this drill found.
        if outcome is not None:
            state.outcome = {"finding_count": outcome.finding_count}
        state.step = "record"

    def _record(self, state: State, clock: Clock) -> None:
        folder = self._context.folder(state)
        if not (folder / record.NAME).exists():
            with clock.during("compare"):
                told, folders = conclude.seen(self._context, state, self._last)
            conclude.write(self._context, state, told, folders).write(folder)
        state.step = "finish"

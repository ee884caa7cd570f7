"""What all steps of a drill share: the job and its terms, where things lie, who signs, what time it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from connectors import Location
from portability.archive.closing import Signer
from portability.archive.export import below
from portability.drill import scratch
from portability.drill.canary import Aviary
from portability.drill.folder import Drills
from portability.drill.sampling import Turn
from portability.drill.state import State
from portability.errors import UsageError
from portability.job import Job, Selection, check
from portability.job_drill import DrillTerms

EVIDENCE = "evidence"
WORK = "work"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    job: Job
    terms: DrillTerms
    drills: Drills
    aviary: Aviary
    signer: Signer | None
    now: Callable[[], datetime]

    def identity(self, share: int | None, seed: str | None) -> dict[str, Any]:
        """What must be the same for an interrupted drill to be gone on with; also where its scratch is.

        No references to credentials: an answer that was typed has another one in each run.
        """
        return {
            "source": self.job.source.url,
            "selection": self.job.selection.statement(),
            "accepts": list(self.job.accepts),
            "scratch": self.terms.scratch.url,
            "restore_to": self.terms.restore_to.url,
            "share": share,
            "seed": seed,
            "key": self.signer.public.fingerprint if self.signer else None,
        }

    def folder(self, state: State) -> Path:
        return self.terms.folder / state.id

    def archives(self, state: State) -> Location:
        """Where the export makes its folder."""
        return below(below(self.terms.scratch, state.scratch), "archive")

    def archive(self, state: State) -> Location:
        return below(self.archives(state), state.archive)

    def restored(self, state: State) -> Location:
        return below(below(self.terms.restore_to, state.scratch), "restored")

    def selection(self, state: State) -> Selection:
        """The job's, and the sample of this drill's turn."""
        turn = turn_of(state)
        return replace(self.job.selection, sample=turn.draw(state.canaries)) if turn else self.job.selection

    def accepted(self, state: State) -> frozenset[str]:
        return replace(self.job, selection=self.selection(state)).accepted


def turn_of(state: State) -> Turn | None:
    return Turn(**state.turn) if state.turn else None


def clean(context: Context, state: State) -> int:
    """Remove what this drill put anywhere, by the places that it was begun with; the number of things."""
    known = {place.url: place for place in (context.terms.scratch, context.terms.restore_to)}
    removed = 0
    for url in dict.fromkeys((state.identity["scratch"], state.identity["restore_to"])):
        place = known.get(url) or Location.parse(url, credentials=state.credentials.get(url))
        removed += scratch.clean(place, state.scratch)
    return removed


def terms_of(job: Job) -> DrillTerms:
    if job.drill is None:
        raise UsageError("the job has no table [drill]")
    return job.drill


def check_job(job: Job, terms: DrillTerms) -> None:
    """What can be known to be wrong without contacting anyone. UsageError."""
    scratch.check_places(job, terms)
    for place in (terms.scratch, terms.restore_to):
        check(replace(job, destination=below(place, "portability-drill"), evidence=terms.folder))

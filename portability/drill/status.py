"""When the last drill was, how it ended, and whether the next one is overdue: for a person and for a monitor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from manifests.canonical import time_of, time_text
from portability.drill.folder import Drills
from portability.drill.record import Record
from portability.errors import UsageError
from portability.job_drill import DrillTerms
from portability.lock import is_held


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillStatus:
    """`exit_code` is 0 only if the last drill was PROVEN and the next one is not due yet."""

    last: Record | None
    age: timedelta | None
    """Since the last drill ended; None: there was none, or it lies in the future."""
    due: str
    overdue: bool
    running: bool
    unfinished: int
    clock: bool
    """The last drill is dated later than this machine's clock: its age cannot be known."""
    drills: int
    head: str

    @property
    def exit_code(self) -> int:
        well = self.last is not None and self.last.verdict.proven and not self.overdue and not self.clock
        return 0 if well else 3


def status(terms: DrillTerms, now: datetime) -> DrillStatus:
    """UsageError for a job without schedule; EvidenceError where the history is broken or its newest record altered."""
    if terms.every is None:
        raise UsageError(
            "the job has no schedule: nothing can be overdue", hint='write every = "90d" in its table [drill]'
        )
    drills = Drills(terms.folder)
    last, chain = drills.last(), drills.chain()
    ended = time_of(last.ended) if last else None
    clock = ended is not None and ended > now
    due = ended + terms.every if ended else None
    return DrillStatus(
        last=last,
        age=None if ended is None or clock else now - ended,
        due=time_text(due.replace(microsecond=0)) if due else "",
        overdue=due is None or (now >= due and not clock),
        running=is_held(terms.folder) if terms.folder.is_dir() else False,
        unfinished=len(drills.unfinished()),
        clock=clock,
        drills=sum(entry.type == "drill" for entry in drills.entries()),
        head=chain.head,
    )

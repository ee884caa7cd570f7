"""What the tests of drills share: a job with scratch places, drills of it on days of the test's choosing, what they keep."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from connectors import Location, connect
from portability.drill.finish import Drilled
from portability.drill.folder import Drills
from portability.drill.run import drill
from portability.job import NOWHERE, Job, Policy
from portability.job_drill import DrillTerms

DAY = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
EVERY = timedelta(days=90)


def on(day: int) -> Callable[[], datetime]:
    """A clock that shows the evening of this day, counted from the first."""
    return lambda: DAY + timedelta(days=day)


def a_drill_job(source: Location, folder: Path, *, scratch: Location | None = None, **changes: Any) -> Job:
    place = scratch or Location.parse(str(folder / "scratch"))
    terms = DrillTerms(
        **{
            "folder": folder / "drills",
            "scratch": place,
            "restore_to": Location.parse(str(folder / "second")),
            "every": EVERY,
            **changes,
        }
    )
    return Job(
        name="cabinet",
        source=source,
        destination=NOWHERE,
        evidence=folder,
        policy=Policy(workers=1, retries=1),
        drill=terms,
    )


def drilled(job: Job, day: int = 0, **changes: Any) -> Drilled:
    return drill(job, now=on(day), **changes)


def with_terms(job: Job, **changes: Any) -> Job:
    assert job.drill is not None
    return replace(job, drill=replace(job.drill, **changes))


def drills(job: Job) -> Drills:
    assert job.drill is not None
    return Drills(job.drill.folder)


def left_in(location: Location) -> list[str]:
    """Everything in a scratch place, read past the drill."""
    if location.scheme == "file":
        folder = Path(location.path)
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []
    host = connect(location)
    try:
        return sorted(entry.key for entry in host.list())
    finally:
        host.close()


def findings_of(folder: Path) -> list[tuple[str, str]]:
    """Problem and key of each line of findings.csv."""
    with (folder / "findings.csv").open(encoding="utf-8", newline="") as lines:
        return [(row["problem"], row["key"]) for row in csv.DictReader(lines)]

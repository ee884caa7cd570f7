"""A rehearsal that anyone can run: a synthetic practice at one host of this machine, and a second host to move it to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from connectors.location import Location
from portability.demo.host import S3Host
from portability.demo.practice import MEBIBYTE, generate
from portability.outcome import Outcome
from portability.progress import Progress, Silent

__all__ = ["Stage", "run_demo", "stage"]

NEXT_STEP = """Now your own hosts:
      portability plan    --from s3://cabinet --to sftp://new.example/home/cabinet
      portability migrate --from s3://cabinet --to sftp://new.example/home/cabinet --evidence ./exit-2026
      portability verify  ./exit-2026"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a migration needs, as long as the context of `stage` lasts."""

    source: Location
    destination: Location
    evidence: Path
    """A folder that does not exist yet."""
    things: int
    """Objects, versions and delete markers at the source."""
    size: int
    """Bytes of all of them."""


@contextlib.contextmanager
def stage(folder: Path, *, patients: int = 40, large: int = 24 * MEBIBYTE) -> Iterator[Stage]:
    """Two S3 hosts, the first holding the practice, the second an empty bucket; both gone afterwards.

    The evidence of each run has a folder of its own under `folder`: run-1, run-2, …
    UnsupportedError if the packages of the extra `demo` are missing, UnavailableError if a host does not start.
    """
    things = list(generate(patients=patients, large=large))
    with S3Host() as old, S3Host() as new:
        old.fill(things, "cabinet")
        new.create("nouveau-cabinet")
        yield Stage(
            source=old.location("cabinet"),
            destination=new.location("nouveau-cabinet"),
            evidence=_fresh(folder),
            things=len(things),
            size=sum(len(thing.data) for thing in things),
        )


def run_demo(
    folder: Path, *, progress: Progress | None = None, patients: int = 40, large: int = 24 * MEBIBYTE
) -> Outcome:
    """Migrate the practice from the first host to the second and prove it; the evidence stays in `folder`.

    What `stage` and `portability.migrate.migrate` raise passes.
    """
    # Tests of single hosts use the practice, and do not need the engine.
    from portability.job import Job
    from portability.migrate import migrate

    watched = progress or Silent()
    watched.phase("preparing a practice and two hosts")
    with stage(folder, patients=patients, large=large) as ready:
        watched.step(items=ready.things, size=ready.size)
        watched.done()
        job = Job(source=ready.source, destination=ready.destination, evidence=ready.evidence)
        outcome = migrate(job, progress=watched)
    return replace(outcome, next_step=NEXT_STEP)


def _fresh(folder: Path) -> Path:
    taken = {path.name for path in folder.glob("run-*")}
    return folder / next(name for number in range(1, len(taken) + 2) if (name := f"run-{number}") not in taken)

"""What a plan amounts to before the first byte moves: its numbers, the losses it foresees, and what stands in its way."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from connectors import Describer, NotFoundError, Space, UnsupportedError
from portability.census import KEPT_VERSIONS
from portability.census import summary as census_summary
from portability.job import Job
from portability.ledger import Ledger
from portability.links import link
from portability.outcome import Counts, Finding, PlanSummary

_SHOWN = 20
"""Refusals named in a plan's summary; all of them are lines of the manifest."""


def obstacle(job: Job, ledger: Ledger) -> str:
    """Why a run must not start; empty when nothing stands in the way."""
    other = int(ledger.query("SELECT count(*) FROM other")[0][0])
    if other and not job.merge:
        return (
            f"the destination already holds {other:,} other thing{'s' if other > 1 else ''}; choose an empty place, "
            "or pass --merge to leave them alone and bring ours beside them"
        )
    free = free_space(link(job.destination))
    wanted = ledger.total("size", "action IN ('copy', 'chain') AND state = 'planned'")
    if free is not None and wanted > free:
        return f"the destination has room for {free:,} bytes, the plan needs {wanted:,}; make room there, or choose another place"
    return ""


def free_space(destination: Any) -> int | None:
    """Bytes free at the destination, None where the host does not say."""
    if not isinstance(destination, Space):
        return None
    try:
        return destination.free()
    except (NotFoundError, UnsupportedError):
        return None


_MEANING = {
    "versions": f"old versions are kept as objects under {KEPT_VERSIONS}/, delete markers in the manifest",
    "directory": "empty folders are kept in the manifest",
    "link": "links are kept in the manifest",
}


def predicted_losses(job: Job, ledger: Ledger, destination: Any) -> dict[str, str]:
    """Attributes that the source has, or may have, and that the destination does not keep -> what happens to them."""
    preserves = destination.capabilities.preserves
    has = {
        "modified": "json_extract(claim, '$.modified') IS NOT NULL",
        "posix": "json_extract(claim, '$.posix') IS NOT NULL",
        "directory": "kind = 'directory'",
        "link": "kind = 'link'",
        "versions": "ord > 0 OR kind = 'delete_marker'",
    }
    told = isinstance(link(job.source), Describer)  # its listing leaves attributes out: they may be there
    lost: dict[str, str] = {}
    for name in ("modified", "media_type", "headers", "metadata", "tags", "posix", "versions", "directory", "link"):
        if name in preserves:
            continue
        if name in has:
            if ledger.query(f"SELECT 1 FROM things WHERE {has[name]} LIMIT 1"):  # noqa: S608 - our own text
                lost[name] = _MEANING.get(name, "kept in the manifest")
        elif told:
            lost[name] = "kept in the manifest"
    return lost


def summary(job: Job, ledger: Ledger, sample: Callable[[], float | None]) -> PlanSummary:
    """The plan in numbers. `sample` measures the source's bytes a second."""
    destination = link(job.destination)
    rate = sample()
    copied = _counts(ledger, "action IN ('copy', 'chain') AND state != 'moved'")
    carried = _counts(ledger, "action IN ('copy', 'chain') AND state = 'moved'")
    seconds = None if not rate else (2 * copied.bytes + carried.bytes) / rate + copied.things * 0.01
    refusals = [
        Finding(
            key=thing.key, problem="failed", expected=thing.reason or "", found=thing.detail or "", order=thing.order
        )
        for thing in islice(ledger.things("action = 'skip' AND reason != 'excluded'"), _SHOWN)
    ]
    return PlanSummary(
        source=job.source.url,
        destination=job.destination.url,
        census=census_summary(job, ledger),
        copy=copied,
        carried=carried,
        parked=_counts(ledger, "action = 'park'"),
        skipped=ledger.tally("reason", "action = 'skip'"),
        refusals=tuple(refusals),
        losses=predicted_losses(job, ledger, destination),
        present=int(
            ledger.query(
                "SELECT count(*) FROM things WHERE action IN ('copy', 'chain') AND ifnull(path, key) IN (SELECT key FROM there)"
            )[0][0]
        ),
        other=int(ledger.query("SELECT count(*) FROM other")[0][0]),
        free=free_space(destination),
        rate=rate,
        seconds=seconds,
        obstacle=obstacle(job, ledger),
    )


def _counts(ledger: Ledger, where: str) -> Counts:
    return Counts(
        things=ledger.count(where),
        bytes=ledger.total("size", f"({where}) AND kind = 'object'"),
        unsized=ledger.count(f"({where}) AND kind = 'object' AND size IS NULL"),
        kinds=ledger.tally("kind", where),
    )

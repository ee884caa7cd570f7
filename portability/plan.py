"""The plan: what will happen to each thing, and why, decided before the first byte moves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from connectors import (
    ConnectorError,
    Describer,
    Entry,
    InvalidKeyError,
    NotFoundError,
    Preparer,
    Space,
    UnsupportedError,
    VersionWriter,
)
from connectors.keys import fold, key_bytes
from manifests.census import CensusTally
from manifests.receipt import new_salt
from portability.census import KEPT_VERSIONS
from portability.census import summary as census_summary
from portability.fidelity import Loss
from portability.job import Job
from portability.layout import Layout, Naming
from portability.ledger import PAGE, Ledger
from portability.links import link
from portability.outcome import Counts, Finding, PlanSummary
from portability.progress import Progress
from portability.thing import Thing

COLD = frozenset({"GLACIER", "DEEP_ARCHIVE", "ARCHIVE", "COLD_ARCHIVE"})
"""Storage classes whose bytes may need a restore at the host before they can be read (S3 and its dialects)."""

_SHOWN = 20
"""Refusals named in a plan's summary; all of them are lines of the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    action: str
    """copy, chain, park, skip."""
    reason: str | None = None
    detail: str | None = None
    path: str | None = None
    """The destination's key where it differs."""
    by_content: str | None = None
    """Its folder for bytes that stand under their own SHA-256."""
    elsewhere: Mapping[str, str] | None = None
    """Another archive that may hold the bytes already."""
    losses: tuple[Loss, ...] = ()


def make(job: Job, ledger: Ledger, progress: Progress) -> None:
    """The plan phase: decide every thing, freeze the census over the kinds that the lines will have.

    The connector's errors pass; a killed plan starts again.
    """
    progress.phase("plan", ledger.count())
    with ledger.transaction():
        ledger.execute("UPDATE things SET action = NULL, path = NULL WHERE action IS NOT NULL AND reason IS NOT 'gone'")
        ledger.execute("CREATE TEMP TABLE IF NOT EXISTS folds (fold TEXT PRIMARY KEY)")
        ledger.execute("DELETE FROM folds")
    planner = _Planner(job, ledger)
    tally = CensusTally()
    for thing in ledger.things():
        decision = planner.decide(thing)
        kind = "skipped" if decision.action == "skip" else thing.kind
        tally.add(thing.key, kind, size=thing.size, order=thing.order)
        planner.write(thing, decision)
        progress.step(1)
    planner.close()
    with ledger.transaction():
        ledger.set_json("census", tally.census(ledger.get("census_at")).to_dict())
    _look_at_destination(job, ledger)
    progress.done()


class _Planner:
    """Decides thing by thing in key order; keeps what a destination of folders needs to know about the ones before."""

    def __init__(self, job: Job, ledger: Ledger) -> None:
        self._job, self._ledger = job, ledger
        self._listed_at = ledger.get("census_at")
        self._source: Any = link(job.source)
        self._destination: Any = link(job.destination)
        kept = self._destination.capabilities
        self._preserves = kept.preserves
        self._case_sensitive = kept.case_sensitive
        self._hierarchical = kept.hierarchical
        self._replays = "versions" in self._preserves and isinstance(self._destination, VersionWriter)
        self._folders: set[str] = set()
        self._stack = ExitStack()
        self._layout = (
            self._stack.enter_context(self._destination.naming()) if isinstance(self._destination, Layout) else None
        )
        self._history: tuple[str, bool] = ("", False)
        self._decided: list[tuple[Thing, Decision]] = []
        self._open = False
        self._written = 0

    def decide(self, thing: Thing) -> Decision:
        entry = thing.claim
        if thing.reason == "gone":
            return Decision(
                action="skip", reason="gone", detail="earlier evidence has it, the source does not list it any more"
            )
        if entry.kind == "other":
            return Decision(action="skip", reason=str(entry.host.get("special", "other")))
        if self._job.selection.excludes(thing.key):
            return Decision(action="skip", reason="excluded")
        if self._layout is not None:
            return self._laid_out(thing, self._layout)
        path = thing.key
        losses: tuple[Loss, ...] = ()
        if thing.order is not None and self._has_history(thing):
            if self._replays:
                return self._refusal(thing, path) or Decision(action="chain")
            if entry.kind == "delete_marker":
                return Decision(action="park", losses=(("delete_marker", "/kind"),))
            losses = (("version", "/version"),)
            if not self._is_latest(thing):
                path = kept_version(thing)
        elif entry.kind in {"directory", "link", "delete_marker"}:
            parked = Decision(action="park", losses=((entry.kind, "/target" if entry.kind == "link" else "/kind"),))
            if entry.kind not in self._preserves:
                return parked
            try:
                self._destination.preflight(replace(entry, key=path))
            except (UnsupportedError, InvalidKeyError) as error:
                return replace(parked, detail=str(error))  # the line holds all there is of it
        return self._refusal(thing, path) or Decision(
            action="copy", path=path if path != thing.key else None, losses=losses
        )

    def _laid_out(self, thing: Thing, naming: Naming) -> Decision:
        """In an archive: bytes have a place of its choosing, everything else is in the line."""
        if thing.kind != "object":
            return Decision(action="park")
        latest = thing.order is None or self._is_latest(thing)
        slot = naming.slot(thing.key, order=thing.order, latest=latest)
        return self._cold(thing) or Decision(
            action="copy", path=slot.path or None, by_content=slot.by_content or None, elsewhere=slot.stored_in
        )

    def _cold(self, thing: Thing) -> Decision | None:
        if thing.claim.storage_class not in COLD or self._is_restored(thing.claim):
            return None
        return Decision(
            action="skip",
            reason="cold",
            detail=f"in {thing.claim.storage_class}: restore it at the host, then run again",
        )

    def _refusal(self, thing: Thing, path: str) -> Decision | None:
        try:
            # A marker has no bytes to refuse: what is asked is whether its key can be held.
            entry = thing.claim
            kind = "object" if thing.kind == "delete_marker" else entry.kind
            same = entry.key == path and entry.kind == kind
            self._destination.preflight(entry if same else replace(entry, key=path, kind=kind))
        except InvalidKeyError as error:
            return Decision(action="skip", reason="name", detail=str(error))
        except UnsupportedError as error:
            return Decision(action="skip", reason="unsupported", detail=str(error))
        if cold := self._cold(thing):
            return cold
        if self._hierarchical and (taken := self._file_above(path)):
            return Decision(action="skip", reason="name", detail=f"a file is in the way of its folder: {taken}")
        if not self._case_sensitive and self._is_taken(path):
            return Decision(action="skip", reason="name", detail="another name differs only by case or normal form")
        return None

    def _is_taken(self, path: str) -> bool:
        return self._ledger.execute("INSERT OR IGNORE INTO folds VALUES (?)", _fold(path)) == 0

    def _is_restored(self, entry: Entry) -> bool:
        """Whether a cold object was brought back for a while; unknown counts as no."""
        if not isinstance(self._source, Describer):
            return False
        try:
            return 'ongoing-request="false"' in str(self._source.describe(entry).host.get("restore", ""))
        except ConnectorError:
            return False

    def _has_history(self, thing: Thing) -> bool:
        """Whether the key has more than one line, or nothing but a marker: then its order is part of what must be kept."""
        if self._history[0] != thing.key:
            rows = self._ledger.query(
                "SELECT count(*) > 1 OR max(kind) = 'delete_marker' AND min(kind) = 'delete_marker' FROM things WHERE key = ?",
                key_bytes(thing.key),
            )
            self._history = (thing.key, bool(rows[0][0]))
        return self._history[1]

    def _is_latest(self, thing: Thing) -> bool:
        return bool(thing.overlay.get("latest", thing.claim.latest))

    def _file_above(self, path: str) -> str | None:
        """The planned object that stands where the path needs a folder. Keys come in order, so it was decided before."""
        folder = path.rpartition("/")[0]
        missing = []
        while folder and folder not in self._folders:
            missing.append(folder)
            folder = folder.rpartition("/")[0]
        if missing:
            self._write_decided()  # what was decided before is what may stand there
        for folder in missing:
            rows = self._ledger.query(
                "SELECT 1 FROM things WHERE ifnull(path, key) = ? AND action IN ('copy', 'chain') AND kind != 'directory' LIMIT 1",
                key_bytes(folder),
            )
            if rows:
                return folder
        if len(self._folders) > 10_000:  # a bound on memory; what falls out is asked for again
            self._folders.clear()
        self._folders.update(missing)
        return None

    def write(self, thing: Thing, decision: Decision) -> None:
        self._decided.append((thing, decision))
        self._written += 1
        if self._written % PAGE == 0:
            self.end()

    def _write_decided(self) -> None:
        if not self._open:
            self._ledger.execute("BEGIN IMMEDIATE")
            self._open = True
        decided, self._decided = self._decided, []
        self._ledger.execute_many(
            "UPDATE things SET action = ?, reason = ?, detail = ?, path = ?, losses = ?, state = ?, salt = ?, evidence = ?, "
            "received_at = ?, replace = ?, replaces = ?, by_content = ?, elsewhere = ? WHERE id = ?",
            [self._row(thing, decision) for thing, decision in decided if not self._carried(thing, decision)],
        )

    def _row(self, thing: Thing, decision: Decision) -> tuple[Any, ...]:
        parked = decision.action in {"park", "skip"}
        return (
            decision.action,
            decision.reason,
            decision.detail,
            key_bytes(decision.path) if decision.path is not None else None,
            _json(decision.losses),
            "moved" if parked else "planned",
            new_salt() if parked else None,
            # Kept only as a line: it counts as read once the written manifest was read back (archive-format.md 3.7).
            "read" if decision.action == "park" else "listed" if parked else "none",
            self._listed_at if parked else None,
            *self._put_before(thing, decision),
            decision.by_content,
            json.dumps(dict(decision.elsewhere)) if decision.elsewhere else None,
            thing.id,
        )

    def end(self) -> None:
        self._write_decided()
        self._ledger.execute("COMMIT")
        self._open = False

    def close(self) -> None:
        self.end()
        self._stack.close()

    # -- a delta run ----------------------------------------------------------------------------------------------

    def _carried(self, thing: Thing, decision: Decision) -> bool:
        """Take the receipt of the run before if the thing, its claim and its place are the same; it is proved again."""
        if decision.action not in {"copy", "chain"} or not self._ledger.has_before:
            return False
        return bool(
            self._ledger.execute(
                "UPDATE things SET action = ?, path = before.path, losses = before.losses, state = 'moved', facts = before.facts, "
                "sha256 = before.sha256, bytes = before.bytes, attempts = before.attempts, received_at = before.received_at, "
                "salt = ?, adopted = before.adopted, evidence = 'none', checked = 0, carried = 1 FROM before "
                "WHERE things.id = ? AND before.key = things.key AND before.ord = things.ord AND before.mark = things.mark "
                "AND before.kind = things.kind AND before.state = 'moved' AND before.action = ? "
                "AND before.evidence != 'none' "  # what the last look did not find whole is brought again
                "AND ifnull(before.path, before.key) = ? AND (before.kind != 'object' OR before.sha256 IS NOT NULL)",
                decision.action,
                new_salt(),
                thing.id,
                decision.action,
                key_bytes(decision.path if decision.path is not None else thing.key),
            )
        )

    def _put_before(self, thing: Thing, decision: Decision) -> tuple[bool, str | None]:
        """Whether an earlier run of this job put something at that place, and its SHA-256: only that may be replaced."""
        if decision.action != "copy" or not self._ledger.has_before:
            return False, None
        path = key_bytes(decision.path if decision.path is not None else thing.key)
        rows = self._ledger.query(
            "SELECT kind != 'object' OR sha256 IS NOT NULL, sha256 FROM before WHERE ifnull(path, key) = ? "
            "AND state = 'moved' AND action = 'copy' LIMIT 1",
            path,
        )
        return (bool(rows[0][0]), rows[0][1]) if rows else (False, None)


def kept_version(thing: Thing) -> str:
    """Where an old version stands at a destination that keeps none: decided by key and order alone."""
    digest = hashlib.sha256(key_bytes(thing.key)).hexdigest()
    return f"{KEPT_VERSIONS}/{digest[:2]}/{digest[:32]}.{thing.ord}"


def _fold(path: str) -> str:
    return fold(path).encode("utf-8", "backslashreplace").decode()


def _json(losses: tuple[Loss, ...]) -> str | None:
    return json.dumps(losses) if losses else None


def _look_at_destination(job: Job, ledger: Ledger) -> None:
    """What the destination holds already: things that are not in the plan are remembered by name."""
    destination = link(job.destination)
    try:
        for _ in ledger.replace_there(destination.list(), versions=False):
            ledger.touch()
    except NotFoundError:
        if not isinstance(destination, Preparer):  # a bucket must be there; a folder will be made
            raise
    with ledger.transaction():
        ledger.execute(
            "UPDATE things SET present = NOT present WHERE action = 'copy' AND by_content IS NULL "
            "AND present != (ifnull(path, key) IN (SELECT key FROM there))"
        )
        # What the run before put and the destination does not list any more is brought again.
        ledger.execute(
            "UPDATE things SET state = 'planned', carried = 0, sha256 = NULL WHERE carried = 1 AND action = 'copy' "
            "AND ifnull(path, key) NOT IN (SELECT key FROM there)"
        )
        ledger.execute("DELETE FROM other")
        ledger.execute(
            "INSERT INTO other SELECT key FROM there WHERE json_extract(entry, '$.kind') IS NOT 'directory' AND key NOT IN "
            "(SELECT ifnull(path, key) FROM things WHERE action IN ('copy', 'chain'))"
        )
        if ledger.has_before:
            ledger.execute(
                "DELETE FROM other WHERE key IN (SELECT ifnull(path, key) FROM before WHERE state = 'moved')"
            )


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
        for thing in _first(ledger, "action = 'skip' AND reason != 'excluded'")
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


def _first(ledger: Ledger, where: str) -> list[Thing]:
    found: list[Thing] = []
    for thing in ledger.things(where):
        found.append(thing)
        if len(found) == _SHOWN:
            break
    return found


def _counts(ledger: Ledger, where: str) -> Counts:
    return Counts(
        things=ledger.count(where),
        bytes=ledger.total("size", f"({where}) AND kind = 'object'"),
        unsized=ledger.count(f"({where}) AND kind = 'object' AND size IS NULL"),
        kinds=ledger.tally("kind", where),
    )

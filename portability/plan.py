"""The plan: what will happen to each thing, decided and written down before the first byte moves."""

from __future__ import annotations

import json
from typing import Any

from connectors import NotFoundError, Preparer
from connectors.keys import key_bytes
from manifests.census import CensusTally
from manifests.receipt import new_salt
from portability.decision import COPIED, Decider, Decision
from portability.fidelity import Loss
from portability.job import Job
from portability.ledger import Ledger
from portability.links import link
from portability.progress import Progress
from portability.thing import Thing


def make(job: Job, ledger: Ledger, progress: Progress) -> None:
    """The plan phase: decide every thing, freeze the census over the kinds that the lines will have.

    The connector's errors pass; a killed plan starts again.
    """
    progress.phase("plan", ledger.count())
    with ledger.transaction():
        ledger.unplan()
        ledger.execute("CREATE TEMP TABLE IF NOT EXISTS folds (fold TEXT PRIMARY KEY)")
        ledger.execute("DELETE FROM folds")
    plan = _Plan(ledger)
    tally = CensusTally()
    with Decider(job, ledger, plan.settle) as decider:
        for page in ledger.pages():
            for thing in page:
                decision = decider.decide(thing)
                kind = "skipped" if decision.action == "skip" else thing.kind
                tally.add(thing.key, kind, size=thing.size, order=thing.order)
                plan.add(thing, decision)
            plan.end_page()
            progress.step(len(page))
    with ledger.transaction():
        ledger.set_json("census", tally.census(ledger.get("census_at")).to_dict())
    _look_at_destination(job, ledger)
    progress.done()


class _Plan:
    """What was decided, on its way into the ledger: all of a page at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._listed_at = ledger.get("census_at")
        self._decided: list[tuple[Thing, Decision]] = []
        self._open = False

    def add(self, thing: Thing, decision: Decision) -> None:
        if decision is not COPIED or self._ledger.has_before:
            self._decided.append((thing, decision))

    def settle(self) -> None:
        """Write what was decided, so that those who ask the ledger find it."""
        if not self._decided:
            return
        if not self._open:
            self._ledger.execute("BEGIN IMMEDIATE")
            self._open = True
        decided, self._decided = self._decided, []
        self._ledger.execute_many(
            "UPDATE things SET action = ?, reason = ?, detail = ?, path = ?, losses = ?, state = ?, salt = ?, evidence = ?, "
            "received_at = ?, replace = ?, replaces = ?, by_content = ?, elsewhere = ? WHERE id = ?",
            [self._row(thing, decision) for thing, decision in decided if not self._carried(thing, decision)],
        )

    def end_page(self) -> None:
        self.settle()
        if self._open:
            self._ledger.execute("COMMIT")
            self._open = False

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

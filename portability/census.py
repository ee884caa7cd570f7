"""The census: the sealed list of what the source holds, made before the first byte moves; and the closing listing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connectors import Entry, UnsupportedError, Versioned
from connectors.keys import key_bytes
from manifests.canonical import time_text
from manifests.census import CensusTally
from manifests.manifest import ManifestReader
from manifests.receipt import Receipt
from portability.errors import RefusedError
from portability.evidence import open_evidence
from portability.fidelity import parked
from portability.job import Job
from portability.ledger import PAGE, Ledger, pages
from portability.links import in_sequence, link
from portability.lock import FolderLock
from portability.outcome import CensusSummary, Counts
from portability.progress import Progress, Silent
from portability.receipts import entry_of, lost, stored_path
from portability.thing import UNVERSIONED, Thing, dump, mark

KEPT_VERSIONS = ".portability-versions"
"""Folder of old versions at a destination that keeps none."""


def census(job: Job, *, progress: Progress | None = None, keep: bool = True) -> CensusSummary:
    """List the source and say what it holds. With `keep` a later migration into the same evidence folder goes on from here."""
    watched = progress or Silent()
    if keep:
        job.evidence.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FolderLock(job.evidence):
            return _in_folder(job, job.evidence, watched)
    with tempfile.TemporaryDirectory(prefix="portability-") as folder:
        return _in_folder(job, Path(folder), watched)


def _in_folder(job: Job, folder: Path, progress: Progress) -> CensusSummary:
    ledger = Ledger(folder)
    try:
        ledger.claim(job.identity)
        if ledger.get("phase") in {"", "census"}:
            take(job, ledger, progress)
            ledger.set("phase", "plan")
        return summary(job, ledger)
    finally:
        ledger.close()


def take(job: Job, ledger: Ledger, progress: Progress) -> None:
    """The census phase: everything the source lists, in the ledger. A killed census starts again.

    RefusedError if the source holds nothing; the connector's errors pass.
    """
    progress.phase("census")
    with ledger.transaction():
        ledger.unindex()
        ledger.execute("DELETE FROM things")
        ledger.set("census_began", time_text(datetime.now(UTC)))
    entries, versioned = listing(job)
    for page in pages(entries):
        with ledger.transaction():
            ledger.add_claims(page)
            ledger.touch()
        progress.step(len(page), sum(entry.size or 0 for entry in page))
    with ledger.transaction():
        if versioned and _has_history(ledger):
            ledger.rank()
        ledger.index()
        if job.using:
            _enrich(job.using, ledger)
        if ledger.count() == 0:
            raise RefusedError(
                f"{job.source} holds nothing" + (f" under {job.selection.prefix}" if job.selection.prefix else ""),
                hint="an empty source proves nothing: check the url, the prefix and the rights of the credentials",
            )
        ledger.set("census_at", time_text(datetime.now(UTC)))
        ledger.set("versioned", "1" if versioned else "")
    progress.done()


def listing(job: Job, *, sequential: bool = False) -> tuple[Iterator[Entry], bool]:
    """What the source lists under the job's selection, and whether old versions are among it (newest first for each key)."""
    source: Any = (in_sequence if sequential else link)(job.source)
    keeps_versions = isinstance(source, Versioned)
    prefix = job.selection.prefix
    if job.selection.versions == "all" and keeps_versions:
        try:
            entries: Iterator[Entry] = source.list_versions(prefix)
            first = next(entries, None)
        except UnsupportedError:
            return source.list(prefix), False
        return _chained(first, entries), True
    return source.list(prefix), False


def _chained(first: Entry | None, rest: Iterator[Entry]) -> Iterator[Entry]:
    if first is not None:
        yield first
        yield from rest


def _has_history(ledger: Ledger) -> bool:
    """A bucket that never kept versions lists one "null" version of each key: that is no history."""
    return bool(
        ledger.query(
            "SELECT 1 FROM things WHERE kind = 'delete_marker' "
            "OR instr(claim, '\"latest\": false') AND json_extract(claim, '$.latest') = 0 "
            "OR instr(claim, '\"version\": ') AND ifnull(json_extract(claim, '$.version'), 'null') != 'null' LIMIT 1"
        )
    )


def summary(job: Job, ledger: Ledger) -> CensusSummary:
    """Counts and root of what was listed; kinds are those that the lines will have as far as the census can tell."""
    tally = CensusTally()
    leaves_out = job.selection.excludes if job.selection.restricts else None
    for key, order, kind, size in ledger.names():
        skipped = kind == "other" or (leaves_out is not None and leaves_out(key))
        tally.add(key, "skipped" if skipped else kind, size=size, order=order)
    # As `thing.dump` writes it; what else may spell the same is asked to be sure.
    noncurrent = "kind = 'object' AND instr(claim, '\"latest\": false') AND json_extract(claim, '$.latest') = 0"
    block = tally.census(ledger.get("census_at"))
    return CensusSummary(
        source=job.source.url,
        at=block.at,
        counts=Counts(things=block.lines, bytes=block.bytes, unsized=block.unsized, kinds=dict(block.kinds)),
        root=block.root,
        noncurrent=ledger.count(noncurrent),
        largest=ledger.largest(),
    )


# -- earlier evidence ---------------------------------------------------------------------------------------------


def _enrich(using: str, ledger: Ledger) -> None:
    """Give things their earlier names, order and parked attributes back; add what only the earlier manifest holds.

    Things that the earlier manifest says are stored and that the source does not list any more become lines with the
    reason "gone": nothing disappears quietly.
    """
    ledger.execute("DELETE FROM earlier")
    with open_evidence(using, "manifest.jsonl") as stream:
        for told in ManifestReader(stream, name=using):
            if told.kind != "skipped":
                ledger.execute(
                    "INSERT OR REPLACE INTO earlier VALUES (?, ?, ?)",
                    _place(told),
                    _order(told),
                    told.to_line().decode(),
                )
    ledger.execute(
        "CREATE TEMP TABLE renamed (id INTEGER PRIMARY KEY, key BLOB, ord INTEGER, overlay TEXT, expect TEXT)"
    )
    histories = ledger.count("ord > 0") > 0
    for thing in ledger.things():
        # A place that grew a history of its own has its own order; one that keeps none has the newest of each path.
        alone = not histories or ledger.count("key = ?", key_bytes(thing.key)) == 1
        line = _line_for(thing, ledger, alone=alone)
        if line is None or thing.kind != line.kind:
            continue
        # Another size is new content: it has its name back, and the attributes that it has now.
        same = thing.size == line.size
        values = parked(entry_of(line), lost(line)) if same else {}
        if line.order is not None:
            values |= {"version": line.version, "latest": line.latest}
        ledger.execute(
            "INSERT INTO renamed VALUES (?, ?, ?, ?, ?)",
            thing.id,
            key_bytes(line.key),
            _order(line),
            json.dumps(values) if values else None,
            line.sha256 if same else None,
        )
        ledger.execute("DELETE FROM earlier WHERE path = ? AND ord = ?", _place(line), _order(line))
    ledger.unindex()  # names change places: on the way two things may have one name
    ledger.execute(
        "UPDATE things SET key = renamed.key, ord = renamed.ord, overlay = renamed.overlay, expect = renamed.expect "
        "FROM renamed WHERE renamed.id = things.id"
    )
    ledger.execute("DROP TABLE renamed")
    _add_what_is_left(ledger)
    ledger.index()


def _add_what_is_left(ledger: Ledger) -> None:
    """Lines of the earlier manifest that nothing at the source answers to."""
    last: tuple[bytes, int] = (b"", UNVERSIONED - 1)
    while rows := ledger.query(
        "SELECT path, ord, line FROM earlier WHERE (path, ord) > (?, ?) ORDER BY path, ord LIMIT ?", *last, PAGE
    ):
        for _, _, text in rows:
            line = Receipt.from_line(text.encode())
            entry = entry_of(line)
            gone = _is_stored(line)
            ledger.execute(
                "INSERT INTO things (key, ord, kind, size, claim, origin, mark, action, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                key_bytes(line.key),
                _order(line),
                entry.kind,
                entry.size,
                dump(entry),
                b"",  # no origin: the closing listing does not look for it
                mark(entry),
                "skip" if gone else "copy",
                "gone" if gone else None,
            )
        last = rows[-1][:2]


def _order(line: Receipt) -> int:
    return UNVERSIONED if line.order is None else line.order


def _place(line: Receipt) -> bytes:
    return stored_path(line) if _is_stored(line) else key_bytes(line.key)


def _is_stored(line: Receipt) -> bool:
    """Whether the earlier destination held it, or only the manifest did."""
    return line.kind == "object" or not {"directory", "link", "delete_marker"} & lost(line)


def _line_for(thing: Thing, ledger: Ledger, *, alone: bool) -> Receipt | None:
    """The earlier line of a thing: of a key with a history here that very order, otherwise the newest under its path."""
    rows = ledger.query(
        "SELECT line FROM earlier WHERE path = ? AND (? OR ord = ?) ORDER BY ord DESC LIMIT 1",
        key_bytes(thing.claim.key),
        alone,
        thing.ord,
    )
    return Receipt.from_line(rows[0][0].encode()) if rows else None


# -- the closing listing ------------------------------------------------------------------------------------------


def close(job: Job, ledger: Ledger, progress: Progress, stopped: Callable[[], bool]) -> int:
    """List the source again and find what changed since the census; the number of changes."""
    progress.phase("closing listing", ledger.count())
    ledger.execute("CREATE TEMP TABLE IF NOT EXISTS again (key BLOB, mark TEXT)")
    ledger.execute("DELETE FROM again")
    same = _AsBefore(ledger)
    # Fetched in another way than the census may have been: a key that a host hid from one of them shows in the other.
    entries, _ = listing(job, sequential=True)
    for page in pages(entries):
        rows = [(key_bytes(entry.key), mark(entry)) for entry in page]
        if not same.goes_on(rows):
            with ledger.transaction():
                ledger.execute_many("INSERT INTO again VALUES (?, ?)", rows)
        progress.step(len(page))
        if stopped():
            return 0
    same.end()
    ledger.execute("CREATE INDEX IF NOT EXISTS temp.again_key ON again (key)")
    with ledger.transaction():
        ledger.clear_findings("closing")
        changes = ledger.execute(
            "INSERT INTO findings (phase, key, problem, expected, found, depth) "
            "SELECT 'closing', key, problem, 'as at the census', '', 'listed' FROM ("
            "SELECT origin AS key, iif(EXISTS (SELECT 1 FROM again WHERE again.key = origin), 'source-changed', 'source-gone') AS problem "
            "FROM things WHERE id > ? AND origin != x'' "
            "AND NOT EXISTS (SELECT 1 FROM again WHERE again.key = things.origin AND again.mark = things.mark) "
            # IN, because a correlated EXISTS would read all things once for each thing: `origin` has no index.
            "UNION SELECT key, iif(key IN (SELECT origin FROM things), 'source-changed', 'source-appeared') FROM again "
            "WHERE (key, mark) NOT IN (SELECT origin, mark FROM things)) ORDER BY key, problem",
            same.last,
        )
    progress.done()
    return changes


class _AsBefore:
    """How far a listing tells what the census was told, in the same order: of so much nothing needs to be kept to compare it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._over = False
        self.last = 0
        """Number of the last thing that was listed again as it was."""

    def goes_on(self, rows: list[tuple[bytes, str]]) -> bool:
        """Whether these are the next things of the census; after the first that are not, none are."""
        if self._over:
            return False
        known = self._ledger.query(
            "SELECT id, origin, mark FROM things WHERE id > ? AND origin != x'' ORDER BY id LIMIT ?",
            self.last,
            len(rows),
        )
        if [(origin, told) for _, origin, told in known] == rows:
            self.last = known[-1][0]
            return True
        self._over = True
        return False

    def end(self) -> None:
        """Keys of what is left may have versions among them, in whatever order a place tells those: they are compared together."""
        if self._ledger.count("id > ?", self.last):
            self._ledger.execute(
                "INSERT INTO again SELECT origin, mark FROM things "
                "WHERE id <= ? AND origin IN (SELECT origin FROM things WHERE id > ?)",
                self.last,
                self.last,
            )

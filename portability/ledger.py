"""The job's memory: one SQLite file in the evidence folder; only the driver writes it, one transaction for each batch."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from connectors import Entry
from connectors.entry import from_dict
from connectors.keys import key_bytes, key_text
from manifests.canonical import time_text
from portability.errors import PlaceError, UsageError
from portability.outcome import Finding
from portability.store import Store
from portability.tasks import Begun, Failure, Moved, PartMoved
from portability.thing import COLUMNS, UNVERSIONED, Thing, dump, mark

NAME = "ledger.sqlite"
FORMAT = "portability-ledger/1"
PAGE = 1000
"""Rows held in memory at once."""

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE things (
  id INTEGER PRIMARY KEY, key BLOB NOT NULL, ord INTEGER NOT NULL, kind TEXT NOT NULL, size INTEGER, claim TEXT NOT NULL,
  origin BLOB NOT NULL, mark TEXT NOT NULL, overlay TEXT, expect TEXT,
  action TEXT DEFAULT 'copy', reason TEXT, detail TEXT, path BLOB, by_content TEXT, elsewhere TEXT, replace INTEGER NOT NULL DEFAULT 0, replaces TEXT,
  present INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'planned',
  facts TEXT, sha256 TEXT, bytes INTEGER, losses TEXT, attempts INTEGER NOT NULL DEFAULT 0, received_at TEXT, salt TEXT,
  adopted INTEGER NOT NULL DEFAULT 0, stored TEXT, problem TEXT, message TEXT, expected TEXT, found TEXT,
  evidence TEXT NOT NULL DEFAULT 'none', checked INTEGER NOT NULL DEFAULT 0, carried INTEGER NOT NULL DEFAULT 0);
CREATE TABLE uploads (thing INTEGER PRIMARY KEY, token TEXT NOT NULL, part_size INTEGER NOT NULL, facts TEXT NOT NULL);
CREATE TABLE parts (thing INTEGER, number INTEGER, size INTEGER NOT NULL, sha256 TEXT NOT NULL, tag TEXT NOT NULL,
  PRIMARY KEY (thing, number)) WITHOUT ROWID;
CREATE TABLE there (key BLOB, ord INTEGER, entry TEXT NOT NULL, PRIMARY KEY (key, ord)) WITHOUT ROWID;
CREATE TABLE other (key BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE earlier (path BLOB, ord INTEGER, line TEXT NOT NULL, PRIMARY KEY (path, ord)) WITHOUT ROWID;
CREATE TABLE findings (id INTEGER PRIMARY KEY, phase TEXT NOT NULL, key BLOB NOT NULL, ord INTEGER, problem TEXT NOT NULL,
  expected TEXT NOT NULL, found TEXT NOT NULL, depth TEXT NOT NULL);
CREATE INDEX findings_by_key ON findings (key);
CREATE TABLE events (id INTEGER PRIMARY KEY, event TEXT NOT NULL);
"""
_INDEXES = """
CREATE UNIQUE INDEX IF NOT EXISTS by_key ON things (key, ord);
CREATE INDEX IF NOT EXISTS by_path ON things (ifnull(path, key)) WHERE action IN ('copy', 'chain');
"""
_THING = ", ".join(COLUMNS)
_THERE = (
    # Of a chain that very version, otherwise the newest.
    "iif(action = 'chain', (SELECT entry FROM there WHERE there.key = ifnull(path, things.key) AND there.ord = things.ord), "
    "(SELECT entry FROM there WHERE there.key = ifnull(path, things.key) ORDER BY there.ord DESC LIMIT 1))"
)


class Ledger(Store):
    """Opened for one run. EvidenceError if the file is no ledger of ours or is damaged."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        super().__init__(folder / NAME, form=FORMAT, schema=_SCHEMA, read_only=read_only)
        self.has_before = bool(self.query("SELECT 1 FROM sqlite_master WHERE name = 'before'"))
        """Whether this is a delta run, with the things of the run before in the table `before`."""

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Make the folder this job's, or UsageError if it is another's: its evidence must not be mixed with ours."""
        known = self.get_json("identity")
        if known is not None and known != identity and not self._sent_nothing():
            told = ", ".join(f"{name} {value}" for name, value in known.items() if value)
            raise UsageError(
                f"the evidence folder {self.folder} belongs to another job ({told})",
                hint="use that job's own command, or another --evidence folder",
            )
        if known != identity:
            with self.transaction():
                if known is not None:
                    self.set("phase", "census")  # what was listed for the other job is listed again
                    self.set("job", "")
                self.set_json("identity", identity)

    def _sent_nothing(self) -> bool:
        """Whether the run came to nothing before anything was moved, as with a mistyped url, and none was finished before."""
        return self.get("phase") in {"", "census", "plan"} and not self.has_before

    def touch(self) -> None:
        self.set("updated", time_text(datetime.now(UTC)))

    def add_event(self, event: Mapping[str, Any]) -> None:
        self.execute("INSERT INTO events (event) VALUES (?)", json.dumps(event))

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(event) for (event,) in self.query("SELECT event FROM events ORDER BY id")]

    # -- listings -------------------------------------------------------------------------------------------------

    def add_claims(self, entries: Iterable[Entry]) -> int:
        """Listed things, as they come; `rank` gives versions their order afterwards."""
        rows = (
            (key_bytes(entry.key), UNVERSIONED, entry.kind, entry.size, dump(entry), key_bytes(entry.key), mark(entry))
            for entry in entries
        )
        return self.execute_many(
            "INSERT INTO things (key, ord, kind, size, claim, origin, mark) VALUES (?, ?, ?, ?, ?, ?, ?)", rows
        )

    def rank(self) -> None:
        """Order 0 for the oldest version of each key; the listing had them newest first."""
        self.execute(
            "UPDATE things SET ord = ranked.place FROM (SELECT id, row_number() OVER "
            "(PARTITION BY key ORDER BY id DESC) - 1 AS place FROM things) AS ranked WHERE ranked.id = things.id"
        )

    def unplan(self) -> None:
        """Before a plan is made: everything is to be copied, as a census leaves it, but for what is gone."""
        self.execute(
            "UPDATE things SET action = 'copy', reason = NULL, detail = NULL, path = NULL, losses = NULL, state = 'planned', "
            "salt = NULL, evidence = 'none', received_at = NULL, replace = 0, replaces = NULL, by_content = NULL, elsewhere = NULL "
            "WHERE reason IS NOT 'gone' AND (action IS NOT 'copy' OR path IS NOT NULL OR losses IS NOT NULL OR salt IS NOT NULL "
            "OR replace != 0 OR replaces IS NOT NULL OR by_content IS NOT NULL OR elsewhere IS NOT NULL)"
        )

    def unindex(self) -> None:
        """Before names or many rows change."""
        self.execute("DROP INDEX IF EXISTS by_key")
        self.execute("DROP INDEX IF EXISTS by_path")

    def index(self) -> None:
        """After the census: keys are unique from here on. PlaceError if the host listed a thing twice."""
        try:
            for statement in filter(str.strip, _INDEXES.split(";")):
                self._db.execute(statement)
        except sqlite3.IntegrityError as error:
            raise PlaceError("the source listed a thing twice: its listing cannot be trusted") from error

    def replace_there(self, entries: Iterable[Entry], *, versions: bool) -> Iterator[int]:
        """The destination's listing, in place of the one before; yields the number of things after each page."""
        with self.transaction():
            self.execute("DELETE FROM there")
        count = 0
        for page in pages(entries):
            with self.transaction():
                places = map(self._older_than_all, page) if versions else [UNVERSIONED] * len(page)
                try:
                    self._db.executemany(
                        "INSERT INTO there (key, ord, entry) VALUES (?, ?, ?)",
                        ((key_bytes(entry.key), place, dump(entry)) for entry, place in zip(page, places, strict=True)),
                    )
                except sqlite3.IntegrityError as error:
                    raise PlaceError("the destination listed a thing twice: its listing cannot be trusted") from error
            count += len(page)
            yield count
        if versions:
            with self.transaction():
                self.execute(
                    "CREATE TEMP TABLE lowest AS SELECT key, min(ord) AS low FROM there GROUP BY key HAVING low < -1"
                )
                self.execute("UPDATE there SET ord = 0 WHERE key NOT IN (SELECT key FROM lowest)")
                self.execute(
                    "UPDATE there SET ord = ord - (SELECT low FROM lowest WHERE lowest.key = there.key) "
                    "WHERE key IN (SELECT key FROM lowest)"
                )
                self.execute("DROP TABLE lowest")

    def _older_than_all(self, entry: Entry) -> int:
        """A place before those that its key has: listings have the newest first, and are turned round afterwards."""
        (lowest,) = self.query("SELECT min(ord) FROM there WHERE key = ?", key_bytes(entry.key))[0]
        return (lowest or 0) - 1

    # -- things ---------------------------------------------------------------------------------------------------

    def things(self, where: str = "1", *values: Any) -> Iterator[Thing]:
        """Things in line order (key bytes, then order), a page at a time: the ledger may be written between two pages."""
        return map(Thing, chain.from_iterable(self._pages(_THING, where, values)))

    def pages(self, where: str = "1") -> Iterator[list[Thing]]:
        """As `things`, page by page."""
        return ([Thing(row) for row in rows] for rows in self._pages(_THING, where, ()))

    def listed(self, where: str) -> Iterator[tuple[Thing, str | None]]:
        """Things in line order, each with what the destination's listing says of it (as `dump` writes it), None: nothing."""
        rows = chain.from_iterable(self._pages(f"{_THING}, {_THERE}", where, ()))
        return ((Thing(row), row[-1]) for row in rows)

    def names(self) -> Iterator[tuple[str, int | None, str, int | None]]:
        """Key, order, kind and size of all things in line order: what a census is made of."""
        for _, key, place, kind, size in chain.from_iterable(self._pages("id, key, ord, kind, size", "1", ())):
            yield key_text(key), None if place == UNVERSIONED else place, kind, size

    def _pages(self, columns: str, where: str, values: tuple[Any, ...]) -> Iterator[list[tuple[Any, ...]]]:
        last = (b"", -2)
        while True:
            rows = self.query(
                f"SELECT {columns} FROM things WHERE (key, ord) > (?, ?) AND ({where}) ORDER BY key, ord LIMIT {PAGE}",  # noqa: S608 - our own text
                *last,
                *values,
            )
            if rows:
                yield rows
            if len(rows) < PAGE:
                return
            last = (rows[-1][1], rows[-1][2])

    def thing(self, number: int) -> Thing:
        return Thing(self.query(f"SELECT {_THING} FROM things WHERE id = ?", number)[0])  # noqa: S608 - our own columns

    def count(self, where: str = "1", *values: Any) -> int:
        return int(self.query(f"SELECT count(*) FROM things WHERE {where}", *values)[0][0])  # noqa: S608 - our own text

    def total(self, column: str, where: str = "1", *values: Any) -> int:
        return int(self.query(f"SELECT ifnull(sum({column}), 0) FROM things WHERE {where}", *values)[0][0])  # noqa: S608 - our own text

    def largest(self) -> int:
        """Bytes of the largest thing."""
        return int(self.query("SELECT ifnull(max(size), 0) FROM things")[0][0])

    def tally(self, column: str, where: str = "1", *values: Any) -> dict[str, int]:
        rows = self.query(f"SELECT {column}, count(*) FROM things WHERE {where} GROUP BY 1 ORDER BY 1", *values)  # noqa: S608 - our own text
        return {str(name): int(count) for name, count in rows}

    # -- outcomes -------------------------------------------------------------------------------------------------

    def settle_moved(self, *answers: Moved) -> None:
        self.execute_many(
            "UPDATE things SET state = 'moved', facts = nullif(?, claim), sha256 = ?, bytes = ?, losses = ?, attempts = attempts + ?, "
            "received_at = ?, salt = ?, adopted = ?, stored = ?, problem = NULL, message = NULL, evidence = 'none', checked = 0 WHERE id = ?",
            (
                (
                    answer.facts,
                    answer.sha256,
                    answer.size,
                    json.dumps(answer.losses) if answer.losses else None,
                    answer.attempts,
                    answer.received_at,
                    answer.salt,
                    answer.adopted,
                    json.dumps(answer.stored) if answer.stored else None,
                    answer.id,
                )
                for answer in answers
            ),
        )
        # A statement of its own: one that names `path` writes an index, whatever it says.
        told = [(key_bytes(answer.path), answer.id) for answer in answers if answer.path is not None]
        if told:
            self.execute_many("UPDATE things SET path = ? WHERE id = ?", told)
        if self.query("SELECT 1 FROM uploads UNION ALL SELECT 1 FROM parts LIMIT 1"):
            self.execute_many("DELETE FROM uploads WHERE thing = ?", ((answer.id,) for answer in answers))
            # Of a large object they are what the read-back is held against.
            whole = ((answer.id,) for answer in answers if answer.sha256 is not None)
            self.execute_many("DELETE FROM parts WHERE thing = ?", whole)

    def settle_failure(self, answer: Failure) -> None:
        self.execute(
            "UPDATE things SET state = 'failed', attempts = attempts + ?, problem = ?, message = ?, reason = ?, "
            "expected = ?, found = ? WHERE id = ?",
            answer.attempts,
            answer.problem,
            answer.message,
            answer.refused or None,
            answer.expected,
            answer.found,
            answer.id,
        )

    def settle_begun(self, answer: Begun) -> None:
        self.execute(
            "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?)",
            answer.id,
            answer.token,
            answer.part_size,
            json.dumps(answer.facts),
        )
        self.execute("DELETE FROM parts WHERE thing = ?", answer.id)

    def settle_part(self, answer: PartMoved) -> None:
        self.execute(
            "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?)",
            answer.id,
            answer.number,
            answer.size,
            answer.sha256,
            answer.tag,
        )

    def upload(self, number: int) -> tuple[str, int, Entry] | None:
        """Token, part size and described entry of a large object under way."""
        rows = self.query("SELECT token, part_size, facts FROM uploads WHERE thing = ?", number)
        return (rows[0][0], rows[0][1], from_dict(json.loads(rows[0][2]))) if rows else None

    def parts(self, number: int) -> list[tuple[int, int, str, str]]:
        """Number, size, SHA-256 and tag of the parts that are there, in order."""
        return [
            (row[0], row[1], row[2], row[3])
            for row in self.query("SELECT number, size, sha256, tag FROM parts WHERE thing = ? ORDER BY number", number)
        ]

    def forget_upload(self, number: int) -> None:
        self.execute("DELETE FROM uploads WHERE thing = ?", number)
        self.execute("DELETE FROM parts WHERE thing = ?", number)

    # -- a further run over the same places -----------------------------------------------------------------------

    def begin_delta(self) -> None:
        """Keep what the finished run put as `before`, and make room for a new census. Inside a transaction.

        What it did not put (it failed, or is gone from the source) is as the runs before left it, and still ours.
        """
        put = "FROM things WHERE action IN ('copy', 'chain') AND state = 'moved'"
        columns = "key, ord, kind, mark, action, path, state, facts, sha256, bytes, losses, attempts, received_at, adopted, evidence"
        self.execute(f"CREATE TABLE IF NOT EXISTS before AS SELECT {columns} {put} AND 0")
        self.execute("CREATE INDEX IF NOT EXISTS before_key ON before (key, ord)")
        self.execute("CREATE INDEX IF NOT EXISTS before_path ON before (ifnull(path, key))")
        self.execute(f"DELETE FROM before WHERE (ifnull(path, key), ord) IN (SELECT ifnull(path, key), ord {put})")  # noqa: S608 - our own text
        # The next census has another claim: what this one meant by "the same as the claim" is written out.
        kept = columns.replace("facts", "ifnull(facts, claim)")
        self.execute(f"INSERT INTO before SELECT {kept} {put}")
        for table in ("things", "uploads", "parts", "there", "findings", "earlier", "events"):
            self.execute(f"DELETE FROM {table}")  # noqa: S608 - our own tables
        self.has_before = True

    # -- findings -------------------------------------------------------------------------------------------------

    def clear_findings(self, phase: str) -> None:
        self.execute("DELETE FROM findings WHERE phase = ?", phase)

    def add_finding(self, phase: str, finding: Finding) -> None:
        self.execute(
            "INSERT INTO findings (phase, key, ord, problem, expected, found, depth) VALUES (?, ?, ?, ?, ?, ?, ?)",
            phase,
            key_bytes(finding.key),
            finding.order,
            finding.problem,
            finding.expected,
            finding.found,
            finding.depth,
        )

    def findings(self, limit: int = -1) -> Iterator[Finding]:
        """In key order; all of them by default."""
        last, left = (b"", -1), limit
        while left:
            rows = self.query(
                "SELECT key, id, ord, problem, expected, found, depth FROM findings WHERE (key, id) > (?, ?) "
                "ORDER BY key, id LIMIT ?",
                *last,
                PAGE if left < 0 else min(PAGE, left),
            )
            for key, _, order, problem, expected, found, depth in rows:
                yield Finding(
                    key=key_text(key), problem=problem, expected=expected, found=found, depth=depth, order=order
                )
            if not rows:
                return
            last, left = (rows[-1][0], rows[-1][1]), left - len(rows)

    def finding_count(self) -> int:
        return int(self.query("SELECT count(*) FROM findings")[0][0])


def pages(entries: Iterable[Entry], size: int = PAGE) -> Iterator[list[Entry]]:
    page: list[Entry] = []
    for entry in entries:
        page.append(entry)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page

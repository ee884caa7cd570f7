"""The job's memory: one SQLite file in the evidence folder; only the driver writes it, one transaction for each batch."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connectors import Entry
from connectors.entry import from_dict, to_dict
from connectors.keys import key_bytes, key_text
from manifests.canonical import time_text
from portability.errors import EvidenceError, PlaceError, UsageError
from portability.fidelity import Loss
from portability.move import Begun, Failure, Moved, PartMoved
from portability.outcome import Finding

NAME = "ledger.sqlite"
FORMAT = "portability-ledger/1"
UNVERSIONED = -1
"""`ord` of a thing whose source keeps no versions."""
PAGE = 1000
"""Rows held in memory at once."""

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE things (
  id INTEGER PRIMARY KEY, key BLOB NOT NULL, ord INTEGER NOT NULL, kind TEXT NOT NULL, size INTEGER, claim TEXT NOT NULL,
  origin BLOB NOT NULL, mark TEXT NOT NULL, overlay TEXT, expect TEXT,
  action TEXT, reason TEXT, detail TEXT, path BLOB, by_content TEXT, elsewhere TEXT, replace INTEGER NOT NULL DEFAULT 0, replaces TEXT,
  present INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'planned',
  facts TEXT, sha256 TEXT, bytes INTEGER, losses TEXT, attempts INTEGER NOT NULL DEFAULT 0, received_at TEXT, salt TEXT,
  adopted INTEGER NOT NULL DEFAULT 0, stored TEXT, problem TEXT, message TEXT, expected TEXT, found TEXT,
  evidence TEXT NOT NULL DEFAULT 'none', checked INTEGER NOT NULL DEFAULT 0, carried INTEGER NOT NULL DEFAULT 0);
CREATE TABLE uploads (thing INTEGER PRIMARY KEY, token TEXT NOT NULL, part_size INTEGER NOT NULL, facts TEXT NOT NULL);
CREATE TABLE parts (thing INTEGER, number INTEGER, size INTEGER NOT NULL, sha256 TEXT NOT NULL, tag TEXT NOT NULL,
  PRIMARY KEY (thing, number)) WITHOUT ROWID;
CREATE TABLE there (key BLOB, ord INTEGER, entry TEXT NOT NULL, seen INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (key, ord)) WITHOUT ROWID;
CREATE TABLE other (key BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE earlier (path BLOB, ord INTEGER, line TEXT NOT NULL, PRIMARY KEY (path, ord)) WITHOUT ROWID;
CREATE TABLE findings (id INTEGER PRIMARY KEY, phase TEXT NOT NULL, key BLOB NOT NULL, ord INTEGER, problem TEXT NOT NULL,
  expected TEXT NOT NULL, found TEXT NOT NULL, depth TEXT NOT NULL);
CREATE TABLE events (id INTEGER PRIMARY KEY, event TEXT NOT NULL);
"""
_INDEXES = """
CREATE UNIQUE INDEX IF NOT EXISTS by_key ON things (key, ord);
CREATE INDEX IF NOT EXISTS by_path ON things (ifnull(path, key)) WHERE action IN ('copy', 'chain');
"""
_COLUMNS = (
    "id, key, ord, kind, size, claim, overlay, expect, action, reason, detail, path, by_content, elsewhere, replace, replaces, present, state, facts, sha256, bytes, "
    "losses, attempts, received_at, salt, adopted, stored, problem, message, expected, found, evidence, checked"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One row: what was listed, what is planned, what became of it."""

    id: int
    key: str
    ord: int
    kind: str
    size: int | None
    claim: Entry
    """As listed; its key is the source's, which differs from `key` when earlier evidence gave the name back."""
    overlay: Mapping[str, Any]
    expect: str | None
    action: str | None
    """copy, chain (a destination that keeps versions), park (a line only), skip."""
    reason: str | None
    detail: str | None
    path: str
    """The destination's key."""
    by_content: str | None
    """The destination's folder in which the bytes stand under their own SHA-256; `path` follows when they have passed."""
    elsewhere: Mapping[str, Any] | None
    """Another archive's place and SHA-256 of the bytes that this thing had there."""
    replace: bool
    replaces: str | None
    """SHA-256 of what an earlier run put there."""
    present: bool
    """The destination listed something there when the plan was made."""
    state: str
    """planned, moved, failed."""
    facts: Entry | None
    sha256: str | None
    bytes: int | None
    losses: tuple[Loss, ...]
    attempts: int
    received_at: str | None
    salt: str | None
    adopted: bool
    stored: Mapping[str, Any] | None
    """Size and SHA-256 of what the destination holds, where that is not what passed."""
    problem: str | None
    message: str | None
    expected: str | None
    found: str | None
    evidence: str
    checked: bool

    @property
    def order(self) -> int | None:
        return None if self.ord == UNVERSIONED else self.ord


def _thing(row: tuple[Any, ...]) -> Thing:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    key = key_text(values["key"])
    values["key"] = key
    values["claim"] = from_dict(json.loads(values["claim"]))
    values["overlay"] = json.loads(values["overlay"]) if values["overlay"] else {}
    values["path"] = key_text(values["path"]) if values["path"] is not None else key
    for name in ("stored", "elsewhere"):
        values[name] = json.loads(values[name]) if values[name] else None
    values["facts"] = from_dict(json.loads(values["facts"])) if values["facts"] else None
    values["losses"] = tuple((name, parked) for name, parked in json.loads(values["losses"] or "[]"))
    for name in ("replace", "present", "adopted", "checked"):
        values[name] = bool(values[name])
    return Thing(**values)


class Ledger:
    """Opened for one run. EvidenceError if the file is no ledger of ours or is damaged."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder = folder
        self._path = folder / NAME
        fresh = not self._path.exists()
        if read_only and fresh:
            raise EvidenceError(f"{folder} holds no ledger: no run was started there")
        try:
            if fresh:
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            mode = "ro" if read_only else "rw"
            self._db = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise PlaceError(f"the evidence folder {folder} cannot be used: {error}") from error
        try:
            self._begin(read_only)
        except BaseException:
            self._db.close()
            raise
        self.has_before = bool(self.query("SELECT 1 FROM sqlite_master WHERE name = 'before'"))
        """Whether this is a delta run, with the things of the run before in the table `before`."""

    def _begin(self, read_only: bool) -> None:
        tables = {name for (name,) in self.query("SELECT name FROM sqlite_master")}
        if tables and "meta" not in tables:
            raise EvidenceError(f"{self._path} is another program's database")
        if not tables and read_only:
            raise EvidenceError(f"{self._path} is empty: the run was stopped before it began")
        if not read_only:
            self.query("PRAGMA journal_mode=WAL")
            self.query("PRAGMA synchronous=FULL")
        if not tables:
            with self.transaction():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._db.execute(statement)
                self.set("format", FORMAT)
        if self.get("format") != FORMAT:
            raise EvidenceError(f"{self._path} is no ledger that this version knows")

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise PlaceError(
                    f"the disk of the evidence folder {self.folder} is full",
                    hint="make room, then run the same command again",
                ) from error
            raise PlaceError(f"{self._path}: {error}", hint="run the same command again") from error
        except sqlite3.DatabaseError as error:
            raise EvidenceError(f"{self._path} is damaged: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk when the block ends."""
        with self._guard():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a bounded answer."""
        with self._guard():
            return self._db.execute(sql, values).fetchall()

    def execute(self, sql: str, *values: Any) -> int:
        """One statement; the number of rows it changed."""
        with self._guard():
            return self._db.execute(sql, values).rowcount

    def close(self) -> None:
        self._db.close()

    # -- facts about the run --------------------------------------------------------------------------------------

    def get(self, name: str, default: str = "") -> str:
        rows = self.query("SELECT value FROM meta WHERE name = ?", name)
        return str(rows[0][0]) if rows else default

    def set(self, name: str, value: str) -> None:
        self.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value
        )

    def get_json(self, name: str) -> Any:
        return json.loads(self.get(name, "null"))

    def set_json(self, name: str, value: Any) -> None:
        self.set(name, json.dumps(value))

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Make the folder this job's, or UsageError if it is another's: its evidence must not be mixed with ours."""
        known = self.get_json("identity")
        if known is not None and known != identity:
            told = ", ".join(f"{name} {value}" for name, value in known.items() if value)
            raise UsageError(
                f"the evidence folder {self.folder} belongs to another job ({told})",
                hint="use that job's own command, or another --evidence folder",
            )
        if known is None:
            self.set_json("identity", identity)

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
        with self._guard():
            return self._db.executemany(
                "INSERT INTO things (key, ord, kind, size, claim, origin, mark) VALUES (?, ?, ?, ?, ?, ?, ?)", rows
            ).rowcount

    def rank(self) -> None:
        """Order 0 for the oldest version of each key; the listing had them newest first."""
        self.execute(
            "UPDATE things SET ord = ranked.place FROM (SELECT id, row_number() OVER "
            "(PARTITION BY key ORDER BY id DESC) - 1 AS place FROM things) AS ranked WHERE ranked.id = things.id"
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
                for entry in page:
                    # Newest first in the listing: negative places are turned round below.
                    place = UNVERSIONED
                    if versions:
                        place = self._db.execute(
                            "SELECT min(ord) FROM there WHERE key = ?", (key_bytes(entry.key),)
                        ).fetchone()[0]
                        place = (0 if place is None else place) - 1
                    try:
                        self._db.execute(
                            "INSERT INTO there (key, ord, entry) VALUES (?, ?, ?)",
                            (key_bytes(entry.key), place, dump(entry)),
                        )
                    except sqlite3.IntegrityError as error:
                        raise PlaceError(
                            "the destination listed a thing twice: its listing cannot be trusted"
                        ) from error
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

    # -- things ---------------------------------------------------------------------------------------------------

    def things(self, where: str = "1", *values: Any, after: tuple[bytes, int] = (b"", -2)) -> Iterator[Thing]:
        """Things in line order (key bytes, then order), a page at a time: the ledger may be written between two pages."""
        last = after
        while True:
            rows = self.query(
                f"SELECT {_COLUMNS} FROM things WHERE (key, ord) > (?, ?) AND ({where}) ORDER BY key, ord LIMIT {PAGE}",  # noqa: S608 - `where` is our own text
                *last,
                *values,
            )
            for row in rows:
                yield _thing(row)
            if len(rows) < PAGE:
                return
            last = (rows[-1][1], rows[-1][2])

    def thing(self, number: int) -> Thing:
        return _thing(self.query(f"SELECT {_COLUMNS} FROM things WHERE id = ?", number)[0])  # noqa: S608 - our own columns

    def count(self, where: str = "1", *values: Any) -> int:
        return int(self.query(f"SELECT count(*) FROM things WHERE {where}", *values)[0][0])  # noqa: S608 - our own text

    def total(self, column: str, where: str = "1", *values: Any) -> int:
        return int(self.query(f"SELECT ifnull(sum({column}), 0) FROM things WHERE {where}", *values)[0][0])  # noqa: S608 - our own text

    def tally(self, column: str, where: str = "1", *values: Any) -> dict[str, int]:
        rows = self.query(f"SELECT {column}, count(*) FROM things WHERE {where} GROUP BY 1 ORDER BY 1", *values)  # noqa: S608 - our own text
        return {str(name): int(count) for name, count in rows}

    # -- outcomes -------------------------------------------------------------------------------------------------

    def settle_moved(self, answer: Moved) -> None:
        self.execute(
            "UPDATE things SET state = 'moved', facts = ?, sha256 = ?, bytes = ?, losses = ?, attempts = attempts + ?, "
            "received_at = ?, salt = ?, adopted = ?, stored = ?, path = ifnull(?, path), problem = NULL, message = NULL, evidence = 'none', checked = 0 WHERE id = ?",
            json.dumps(answer.facts),
            answer.sha256,
            answer.size,
            json.dumps(answer.losses),
            answer.attempts,
            answer.received_at,
            answer.salt,
            answer.adopted,
            json.dumps(answer.stored) if answer.stored else None,
            key_bytes(answer.path) if answer.path is not None else None,
            answer.id,
        )
        self.execute("DELETE FROM uploads WHERE thing = ?", answer.id)
        if answer.sha256 is not None:
            self.execute("DELETE FROM parts WHERE thing = ?", answer.id)

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
        self.execute(f"INSERT INTO before SELECT {columns} {put}")
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


def dump(entry: Entry) -> str:
    """The entry as the ledger keeps it (ASCII, odd bytes escaped)."""
    return json.dumps(to_dict(entry))


def mark(entry: Entry) -> str:
    """What must stay equal for a thing to be the same one in a later listing: a claim of the host, as precise as it gets."""
    target = entry.posix.target if entry.posix else None
    when = entry.posix.mtime_ns if entry.posix and entry.posix.mtime_ns is not None else entry.modified
    if entry.kind == "directory":
        when = None  # a folder's time changes with things beside it that come and go
    return json.dumps([entry.kind, entry.size, entry.version, dict(sorted(entry.digests.items())), str(when), target])

"""A database file in the evidence folder: opened for one run, one transaction at a time, its errors told as ours."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from portability.errors import EvidenceError, PlaceError

CACHE = 16 << 10
"""KiB of the file held in memory, whatever its size: the driver's whole bound but for pages of rows."""


class Store:
    """EvidenceError if the file is no store of this format or is damaged, PlaceError if it cannot be used."""

    def __init__(self, path: Path, *, form: str, schema: str, read_only: bool = False) -> None:
        self.folder = path.parent
        self._path, self._form = path, form
        fresh = not path.exists()
        if read_only and fresh:
            raise EvidenceError(f"{self.folder} holds no ledger: no run was started there")
        try:
            if fresh:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            mode = "ro" if read_only else "rw"
            self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise PlaceError(f"the evidence folder {self.folder} cannot be used: {error}") from error
        try:
            self._begin(schema, read_only)
        except BaseException:
            self._db.close()
            raise

    def _begin(self, schema: str, read_only: bool) -> None:
        tables = {name for (name,) in self.query("SELECT name FROM sqlite_master")}
        if tables and "meta" not in tables:
            raise EvidenceError(f"{self._path} is another program's database")
        if not tables and read_only:
            raise EvidenceError(f"{self._path} is empty: the run was stopped before it began")
        if not read_only:
            self.query("PRAGMA journal_mode=WAL")
            self.query("PRAGMA synchronous=FULL")
        self.query(f"PRAGMA cache_size=-{CACHE}")
        if not tables:
            with self.transaction():
                for statement in filter(str.strip, schema.split(";")):
                    self._db.execute(statement)
                self.set("format", self._form)
        if self.get("format") != self._form:
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

    def execute_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> int:
        """One statement for each row of values; the number of rows they changed."""
        with self._guard():
            return self._db.executemany(sql, rows).rowcount

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

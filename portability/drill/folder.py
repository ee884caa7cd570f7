"""The drills folder: the hash-chained history, a folder for each drill, and which drill is not finished."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from manifests.errors import FormatError, ManifestError
from manifests.files import create_private
from manifests.history import FIRST, Entry, append, read_history
from portability.drill import record as records
from portability.drill.record import History, Record
from portability.errors import EvidenceError

HISTORY = "history.jsonl"
STATE = "state.json"
"""In a drill's folder as long as the drill is not finished."""
_ID = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_RESULT = re.compile(r"(?:proven|not proven) (\d{8}T\d{6}Z) sha256:([0-9a-f]{64})", re.ASCII)


class Drills:
    """What was rehearsed so far."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def history(self) -> Path:
        return self.path / HISTORY

    def entries(self) -> list[Entry]:
        """The chain, oldest first. EvidenceError where it is broken."""
        try:
            with self.history.open("rb") as lines:
                return list(read_history(lines, str(self.history)))
        except FileNotFoundError:
            return []
        except FormatError as error:
            raise EvidenceError(
                f"the history of drills is broken: {error}",
                hint="compare the newest line's SHA-256 with the one on paper; restore the file from a backup, "
                "or put it aside to begin a new history",
            ) from error

    def records(self) -> list[Record]:
        """The records of the chain's drills whose folders are still there, oldest first. EvidenceError for an altered one."""
        return [found for _, found in self._told() if found is not None]

    def last(self) -> Record | None:
        """The newest drill. EvidenceError if its record is gone or altered."""
        told = list(self._told(newest=True))
        if not told:
            return None
        name, found = told[0]
        if found is None:
            raise EvidenceError(
                f"the record of the newest drill {name} is gone from {self.path}", hint="restore it from a backup"
            )
        return found

    def _told(self, *, newest: bool = False) -> Iterator[tuple[str, Record | None]]:
        lines = [one for one in self.entries() if one.type == "drill"]
        for one in lines[-1:] if newest else lines:
            match = _RESULT.fullmatch(one.result)
            if match is None:
                raise EvidenceError(
                    f"line {one.seq + 1} of {self.history} tells of a drill and names no record of one",
                    hint="restore the file from a backup",
                )
            yield match[1], self._record(match[1], match[2])

    def _record(self, name: str, sha256: str) -> Record | None:
        path = self.path / name / records.NAME
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise EvidenceError(f"{path} is not the record that the history names", hint="restore it from a backup")
        try:
            return Record.from_bytes(data)
        except ManifestError as error:
            raise EvidenceError(f"{path}: {error}", hint="use the version of the toolkit that wrote it") from error

    def unfinished(self) -> list[Path]:
        """Folders of drills that were interrupted, oldest first."""
        if not self.path.is_dir():
            return []
        return sorted(one for one in self.path.iterdir() if _ID.fullmatch(one.name) and (one / STATE).is_file())

    def chain(self) -> History:
        """Length and head of the history."""
        entries = self.entries()
        return History(length=len(entries), head=entries[-1].sha256 if entries else FIRST)

    def remember(self, folder: Path, *, archive: str | None) -> Entry:
        """Add the line of the drill whose record lies in this folder; a run that was killed just afterwards has done it."""
        data = (folder / records.NAME).read_bytes()
        record, sha256 = Record.from_bytes(data), hashlib.sha256(data).hexdigest()
        entries = self.entries()
        for entry in entries:
            if entry.result.endswith(f" {record.id} sha256:{sha256}"):
                return entry
        word = "proven" if record.verdict.proven else "not proven"
        entries.append(
            append(
                entries[-1] if entries else None,
                type="drill",
                result=f"{word} {record.id} sha256:{sha256}",
                time=record.ended,
                archive=archive,
            )
        )
        part = self.history.with_name(f"{HISTORY}.part")
        with create_private(part) as out:
            out.writelines(entry.to_line() + b"\n" for entry in entries)
            out.flush()
            os.fsync(out.fileno())
        part.replace(self.history)
        return entries[-1]

"""history.jsonl: exports, drills, restores and erasures in a chain where every line fixes all lines before it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from manifests import canonical
from manifests.errors import FormatError

TYPES = ("export", "drill", "restore", "erasure", "key")
FIRST = "0" * 64
"""`prev` of the first line."""

_ARCHIVE = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line: something that happened to the practice's data set."""

    archive: str | None
    """Archive id, `sha256:…`; None where no archive was made."""
    prev: str
    """SHA-256 of the line before, without LF."""
    result: str
    seq: int
    time: str
    """RFC 3339."""
    type: str

    def to_line(self) -> bytes:
        """The canonical line without its LF."""
        if (
            self.type not in TYPES
            or type(self.seq) is not int
            or not (self.archive is None or _ARCHIVE.fullmatch(self.archive))
        ):
            raise FormatError("an unknown type, not a number, or not an archive id", rule="10")
        canonical.time_of(self.time)
        members = ("archive", "prev", "result", "seq", "time", "type")
        return canonical.dumps({name: getattr(self, name) for name in members})

    @classmethod
    def from_line(cls, data: bytes) -> Entry:
        """The entry in this line (without LF)."""
        plain = canonical.load_object(data)
        match plain:
            case {"archive": str() | None, "prev": str(), "result": str(), "seq": int(), "time": str(), "type": str()}:
                entry = cls(**plain) if len(plain) == 6 else None
            case _:
                entry = None
        if entry is None:
            raise FormatError("not a line of a history", rule="10")
        entry.to_line()
        return entry

    @property
    def sha256(self) -> str:
        """What the practice notes on paper, and the next line's `prev`."""
        return hashlib.sha256(self.to_line()).hexdigest()


def append(last: Entry | None, *, type: str, result: str, time: str, archive: str | None = None) -> Entry:  # noqa: A002 - the name of the member
    """The line that follows `last`."""
    return Entry(
        archive=archive,
        prev=last.sha256 if last else FIRST,
        result=result,
        seq=last.seq + 1 if last else 0,
        time=time,
        type=type,
    )


def read_history(lines: Iterable[bytes], name: str = "history.jsonl") -> Iterator[Entry]:
    """The entries of lines that end with LF; FormatError at the first one that breaks the chain."""
    prev = FIRST
    for seq, data in enumerate(lines):
        try:
            entry = Entry.from_line(data.removesuffix(b"\n"))
        except FormatError as error:
            raise FormatError(error.message, file=name, line=seq + 1, rule=error.rule) from error
        if entry.seq != seq or entry.prev != prev or not data.endswith(b"\n"):
            raise FormatError("the chain is broken here", file=name, line=seq + 1, rule="10")
        prev = entry.sha256
        yield entry

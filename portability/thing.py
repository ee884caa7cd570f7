"""One row of the ledger: what was listed, what is planned, what became of it; and the form in which a claim is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from connectors import Entry
from connectors.entry import from_dict, to_json
from connectors.keys import key_text
from portability.fidelity import Loss

UNVERSIONED = -1
"""`ord` of a thing whose source keeps no versions."""
COLUMNS = (
    "id", "key", "ord", "kind", "size", "claim", "overlay", "expect", "action", "reason", "detail", "path", "by_content",
    "elsewhere", "replace", "replaces", "present", "state", "facts", "sha256", "bytes", "losses", "attempts", "received_at",
    "salt", "adopted", "stored", "problem", "message", "expected", "found", "evidence", "checked",
)  # fmt: skip


def _column(name: str) -> Any:
    at = COLUMNS.index(name)
    return property(lambda thing: thing.row[at])


def _flag(name: str) -> Any:
    at = COLUMNS.index(name)
    return property(lambda thing: bool(thing.row[at]))


def _json(name: str) -> Any:
    at = COLUMNS.index(name)
    return property(lambda thing: json.loads(thing.row[at]) if thing.row[at] else None)


class Thing:
    """A row, decoded only where it is looked at: each phase reads all things, and most of them read little of each."""

    __slots__ = ("_claim", "row")

    def __init__(self, row: tuple[Any, ...]) -> None:
        self.row = row
        self._claim: Entry | None = None

    id: int = _column("id")
    ord: int = _column("ord")
    kind: str = _column("kind")
    size: int | None = _column("size")
    claim_text: str = _column("claim")
    """The claim as the ledger keeps it."""
    expect: str | None = _column("expect")
    action: str | None = _column("action")
    """copy, chain (a destination that keeps versions), park (a line only), skip."""
    reason: str | None = _column("reason")
    detail: str | None = _column("detail")
    by_content: str | None = _column("by_content")
    """The destination's folder in which the bytes stand under their own SHA-256; `path` follows when they have passed."""
    elsewhere: Mapping[str, Any] | None = _json("elsewhere")
    """Another archive's place and SHA-256 of the bytes that this thing had there."""
    replace: bool = _flag("replace")
    replaces: str | None = _column("replaces")
    """SHA-256 of what an earlier run put there."""
    present: bool = _flag("present")
    """The destination listed something there when the plan was made."""
    state: str = _column("state")
    """planned, moved, failed."""
    sha256: str | None = _column("sha256")
    bytes: int | None = _column("bytes")
    attempts: int = _column("attempts")
    received_at: str | None = _column("received_at")
    salt: str | None = _column("salt")
    adopted: bool = _flag("adopted")
    stored: Mapping[str, Any] | None = _json("stored")
    """Size and SHA-256 of what the destination holds, where that is not what passed."""
    problem: str | None = _column("problem")
    message: str | None = _column("message")
    expected: str | None = _column("expected")
    found: str | None = _column("found")
    evidence: str = _column("evidence")
    checked: bool = _flag("checked")

    @property
    def key(self) -> str:
        return key_text(self.row[_KEY])

    @property
    def path(self) -> str:
        """The destination's key."""
        path = self.row[_PATH]
        return key_text(self.row[_KEY] if path is None else path)

    @property
    def claim(self) -> Entry:
        """As listed; its key is the source's, which differs from `key` when earlier evidence gave the name back."""
        if self._claim is None:
            self._claim = entry_of(self.claim_text)
        return self._claim

    @property
    def facts_text(self) -> str:
        """What the source said of it when it was moved, as the ledger keeps it; until then, and where that is no more, the claim."""
        facts: str | None = self.row[_FACTS]
        return self.claim_text if facts is None else facts

    @property
    def facts(self) -> Entry:
        return self.claim if self.row[_FACTS] is None else entry_of(self.facts_text)

    @property
    def overlay(self) -> Mapping[str, Any]:
        overlay = self.row[_OVERLAY]
        return json.loads(overlay) if overlay else {}

    @property
    def losses(self) -> tuple[Loss, ...]:
        return _losses(self.row[_LOSSES] or "[]")

    @property
    def order(self) -> int | None:
        return None if self.ord == UNVERSIONED else self.ord


@lru_cache(maxsize=256)  # a destination loses the same of all things that are alike
def _losses(text: str) -> tuple[Loss, ...]:
    return tuple((name, parked) for name, parked in json.loads(text))


_KEY, _PATH, _FACTS, _OVERLAY, _LOSSES = map(COLUMNS.index, ("key", "path", "facts", "overlay", "losses"))


def dump(entry: Entry) -> str:
    """The entry as the ledger keeps it (ASCII, odd bytes escaped)."""
    return to_json(entry)


def entry_of(text: str) -> Entry:
    """The entry that `dump` wrote."""
    return from_dict(plain_of(text))


def plain_of(text: str) -> dict[str, Any]:
    """What `dump` wrote as plain values."""
    try:
        plain, end = _scan(text, 0)
    except StopIteration:
        end = -1
    if end != len(text):
        plain = json.loads(text)  # which says what is wrong with it
    values: dict[str, Any] = plain
    return values


_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # typeshed does not list it
"""What `json.loads` comes down to: what it does around it costs as much as this."""


def mark(entry: Entry) -> str:
    """What must stay equal for a thing to be the same one in a later listing: a claim of the host, as precise as it gets."""
    target = entry.posix.target if entry.posix else None
    when = entry.posix.mtime_ns if entry.posix and entry.posix.mtime_ns is not None else entry.modified
    if entry.kind == "directory":
        when = None  # a folder's time changes with things beside it that come and go
    digests = sorted(entry.digests.items()) if len(entry.digests) > 1 else entry.digests.items()
    # Half of all that a listing is worth is spent here: json.dumps of a list says the same at three times the cost.
    told = ", ".join([f"{_quoted(name)}: {_quoted(value)}" for name, value in digests])
    return (
        f"[{_quoted(entry.kind)}, {_or_null(entry.size)}, {_or_null(entry.version)}, {{{told}}}, {_quoted(str(when))}, "
        f"{_or_null(target)}]"
    )


def _or_null(value: str | int | None) -> str:
    return "null" if value is None else _quoted(value) if isinstance(value, str) else str(value)

"""Drift: what appeared, changed or disappeared at the source since the last drill; two listings read side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from manifests.canonical import text_of
from manifests.digests import file_sha256
from portability.drill import listing
from portability.drill.record import Amount, Drift, Folder
from portability.errors import EvidenceError
from portability.outcome import printable

Change = Literal["appeared", "changed", "attributes", "disappeared"]
Line = Mapping[str, Any]
Found = Callable[[Change, str, str, str], None]
"""Told of each difference: what, the key, what was expected, what was found."""


@dataclass(slots=True)
class _Tally:
    changes: dict[Change, list[int]] = field(default_factory=dict)
    folders: dict[str, dict[Change, list[int]]] = field(default_factory=dict)
    digests: bool = True

    def add(self, change: Change, key: str, octets: int) -> None:
        top, slash, _ = key.partition("/")
        name = printable(top) + "/" if slash else ""
        for counts in (self.changes, self._folder(name)):
            pair = counts.setdefault(change, [0, 0])
            pair[0] += 1
            pair[1] += octets

    def _folder(self, name: str) -> dict[Change, list[int]]:
        if name not in self.folders and len(self.folders) >= 1000:
            name = "…"
        return self.folders.setdefault(name, {})

    def amount(self, change: Change) -> Amount:
        return listing.amount(self.changes.get(change, [0, 0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftResult:
    drift: Drift
    folders: Mapping[str, Mapping[Change, list[int]]]


def compare(
    before: Path, now: Path, *, since: str, was: Amount, sha256: str, found: Found = lambda *_: None
) -> DriftResult:
    """The differences between two listings, in bounded memory. EvidenceError if the earlier one is gone or altered."""
    if not before.exists():
        raise EvidenceError(
            f"the listing of the last drill is gone: {before}",
            hint="restore it from a backup, or put the history aside to begin a new one",
        )
    if file_sha256(before) != sha256:
        raise EvidenceError(f"{before} is not what its drill wrote", hint="restore it from a backup")
    tally = _Tally()
    with before.open("rb") as one, now.open("rb") as other:
        for key, first, second in _beside(listing.read(one, str(before)), listing.read(other, str(now))):
            _key(key.decode("utf-8", "surrogateescape"), first, second, tally, found)
    drift = Drift(
        since=since,
        before=was,
        appeared=tally.amount("appeared"),
        changed=tally.amount("changed"),
        attributes=tally.amount("attributes"),
        disappeared=tally.amount("disappeared"),
        compared="contents" if tally.digests else "listing",
    )
    return DriftResult(drift=drift, folders=tally.folders)


def _beside(
    first: Iterator[tuple[bytes, list[dict[str, Any]]]], second: Iterator[tuple[bytes, list[dict[str, Any]]]]
) -> Iterator[tuple[bytes, list[dict[str, Any]], list[dict[str, Any]]]]:
    """Both sides by key; a side that does not have it gives no lines."""
    one, other = next(first, None), next(second, None)
    while one is not None or other is not None:
        if one is not None and (other is None or one[0] < other[0]):
            yield one[0], one[1], []
            one = next(first, None)
        elif other is not None and (one is None or other[0] < one[0]):
            yield other[0], [], other[1]
            other = next(second, None)
        elif one is not None and other is not None:
            yield one[0], one[1], other[1]
            one, other = next(first, None), next(second, None)


def _key(key: str, first: list[dict[str, Any]], second: list[dict[str, Any]], tally: _Tally, found: Found) -> None:
    """What became of the thing that a key names, and of the old versions that its host kept."""
    before, now = _current(first), _current(second)
    kept = {_version(line) for line in second}
    for line in first:
        if line is not before and line["kind"] == "object" and _version(line) not in kept:
            tally.add("disappeared", key, line.get("size", 0))
            found("disappeared", key, f"the version of {line.get('modified', 'before')}", "nothing")
    if before is None and now is not None:
        tally.add("appeared", key, now.get("size", 0))
        found("appeared", key, "", _what(now))
    elif before is not None and now is None:
        tally.add("disappeared", key, before.get("size", 0))
        found("disappeared", key, _what(before), "nothing")
    elif before is not None and now is not None and (change := _change(before, now, tally)):
        tally.add(change, key, now.get("size", 0))
        found(change, key, _what(before), _what(now))


def _current(lines: list[dict[str, Any]]) -> dict[str, Any] | None:
    newest = next((line for line in reversed(lines) if line.get("latest", True)), None)
    return None if newest is None or newest["kind"] == "delete_marker" else newest


def _version(line: Line) -> str:
    told = line.get("version")
    return str(told) if told not in {None, "null"} else str(line.get("sha256", line.get("order")))


def _change(before: Line, now: Line, tally: _Tally) -> Change | None:
    if before["kind"] != now["kind"] or before.get("size") != now.get("size"):
        return "changed"
    if now["kind"] == "link":
        return "changed" if text_of(before, "target") != text_of(now, "target") else None
    if now["kind"] != "object":
        return None
    if "sha256" in before and "sha256" in now:
        if before["sha256"] != now["sha256"]:
            return "changed"
        both = "attributes" in before and "attributes" in now
        return "attributes" if both and before["attributes"] != now["attributes"] else None
    tally.digests = False  # one of the two drills did not draw it
    same = (before.get("modified"), before.get("version")) == (now.get("modified"), now.get("version"))
    return None if same else "changed"


def _what(line: Line) -> str:
    if line["kind"] != "object":
        return str(line["kind"]).replace("_", " ")
    return f"{line.get('size', 'unknown')} bytes, sha256 {line.get('sha256', 'not read')}"


def with_changes(folders: tuple[Folder, ...], result: DriftResult) -> tuple[Folder, ...]:
    """The folders of a record with what changed in each; folders that went are among the rest, if not shown."""
    names = {folder.name for folder in folders}
    rest: dict[Change, list[int]] = {}
    for name, changes in result.folders.items():
        if name not in names:
            for change, pair in changes.items():
                total = rest.setdefault(change, [0, 0])
                total[0], total[1] = total[0] + pair[0], total[1] + pair[1]
    if rest and None not in names:
        folders = (*folders, Folder(name=None))
    return tuple(
        _told(folder, result.folders.get(folder.name, {}) if folder.name is not None else rest) for folder in folders
    )


def _told(folder: Folder, changes: Mapping[Change, list[int]]) -> Folder:
    told = {name: listing.amount(changes.get(name, [0, 0])) for name in ("appeared", "changed", "disappeared")}
    return folder.model_copy(update=told)

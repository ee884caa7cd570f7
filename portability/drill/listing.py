"""What the source held at a drill, one line for each thing: what the next drill is compared with (`listing.jsonl`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from manifests import canonical
from manifests.digests import file_sha256
from manifests.errors import FormatError
from manifests.files import create_private
from manifests.receipt import key_bytes
from portability.draw import Draw
from portability.drill.record import Amount, Folder
from portability.errors import EvidenceError
from portability.job import Selection
from portability.ledger import Ledger
from portability.outcome import printable
from portability.thing import Thing

NAME = "listing.jsonl"
FORMAT = "portability-drill-listing/1"
SHOWN_FOLDERS = 20
NOT_WHOLE = "state != 'moved' OR (action = 'copy' AND evidence = 'none')"
"""Things that an export has not brought out, as the ledger says it."""
_COUNTED_FOLDERS = 1000
"""Top-level folders counted by name; a source may have millions of them."""


@dataclass(slots=True, kw_only=True)
class Facts:
    """The numbers of a listing; plain, so that they survive a kill in the drill's state."""

    found: list[int] = field(default_factory=lambda: [0, 0])
    """Things and bytes: everything that the source listed."""
    whole: list[int] = field(default_factory=lambda: [0, 0])
    """Those that the patterns of the job leave: what would have to leave."""
    asked: list[int] = field(default_factory=lambda: [0, 0])
    """Those of them that the drill had to prove."""
    moved: list[int] = field(default_factory=lambda: [0, 0])
    failed: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    keys: int = 0
    """Keys that a sample is drawn from."""
    drawn: int = 0
    covered: int = 0
    """Keys that this rotation has had in its windows."""
    changed_since: int = 0
    """Things that changed at the source after the census."""
    folders: dict[str, list[int]] = field(default_factory=dict)
    other_folders: list[int] = field(default_factory=lambda: [0, 0])
    census_root: str = ""
    sha256: str = ""
    """Of the listing's file."""

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def amount(pair: Iterable[int]) -> Amount:
    objects, octets = pair
    return Amount(objects=objects, bytes=octets)


def write(
    ledger: Ledger, path: Path, *, drill: str, selection: Selection, accepted: frozenset[str], covered: Draw | None
) -> Facts:
    """Write the listing of a ledger whose things were moved or were not, and count it. What is there is replaced."""
    facts = Facts(changed_since=int(ledger.get("changed_since", "0")))
    facts.census_root = (ledger.get_json("census") or {}).get("root", "")
    part = path.with_name(f"{path.name}.part")
    with create_private(part) as out:
        out.write(canonical.dumps({"format": FORMAT, "drill": drill}) + b"\n")
        last = None
        for thing in ledger.things():
            out.write(canonical.dumps(_line(thing)) + b"\n")
            _count(facts, thing, selection, accepted)
            if thing.key != last:
                _draw(facts, thing.key, selection, covered)
            last = thing.key
    part.replace(path)
    facts.sha256 = file_sha256(path)
    return facts


def _line(thing: Thing) -> dict[str, Any]:
    entry = thing.facts or thing.claim
    posix = entry.posix
    told: dict[str, Any] = {
        "kind": thing.kind,
        "order": thing.order,
        "latest": entry.latest if thing.order is not None else None,
        "version": entry.version if thing.order is not None else None,
        "size": thing.size if thing.bytes is None else thing.bytes,
        "sha256": thing.sha256,
        "modified": canonical.time_text(entry.modified) if entry.modified and thing.kind == "object" else None,
        "attributes": None,
    }
    if thing.state == "moved" and thing.action != "skip":
        mode = posix.mode if posix else None
        said = [entry.media_type, dict(entry.headers), dict(entry.metadata), dict(entry.tags), mode]
        told["attributes"] = hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    line = {name: value for name, value in told.items() if value is not None}
    line.update(canonical.text_members("key", thing.key))
    if posix is not None and posix.target is not None and thing.kind == "link":
        line.update(canonical.text_members("target", posix.target))
    return line


def _count(facts: Facts, thing: Thing, selection: Selection, accepted: frozenset[str]) -> None:
    octets = (thing.size if thing.bytes is None else thing.bytes) or 0
    octets = octets if thing.kind == "object" else 0
    _add(facts.found, octets)
    if thing.action == "skip":
        reason = thing.reason or "other"
        facts.skipped[reason] = facts.skipped.get(reason, 0) + 1
    if thing.action != "skip" or thing.reason not in accepted:
        _add(facts.asked, octets)
    if not selection.leaves_out(thing.key):
        _add(facts.whole, octets)
    whole = thing.state == "moved" and not (thing.action == "copy" and thing.evidence == "none")
    facts.failed += not whole
    if whole and thing.action != "skip":
        _add(facts.moved, octets)
    top, slash, _ = thing.key.partition("/")
    name = printable(top) + "/" if slash else ""
    if name in facts.folders or len(facts.folders) < _COUNTED_FOLDERS:
        _add(facts.folders.setdefault(name, [0, 0]), octets)
    else:
        _add(facts.other_folders, octets)


def _draw(facts: Facts, key: str, selection: Selection, covered: Draw | None) -> None:
    """Count the keys of the random sample; those that belong to it by name are no part of it."""
    sample = selection.sample
    if sample is None or covered is None or key in sample.also or selection.leaves_out(key):
        return
    facts.keys += 1
    facts.drawn += sample.holds(key)
    facts.covered += covered.holds(key)


def _add(pair: list[int], octets: int) -> None:
    pair[0] += 1
    pair[1] += octets


def folders(facts: Facts) -> tuple[Folder, ...]:
    """The largest by number of things, the rest as one."""
    ordered = sorted(facts.folders.items(), key=lambda one: (-one[1][0], one[0]))
    rest = [list(facts.other_folders), *(pair for _, pair in ordered[SHOWN_FOLDERS:])]
    shown = [Folder(name=name, found=amount(pair)) for name, pair in ordered[:SHOWN_FOLDERS]]
    left = amount([sum(pair[0] for pair in rest), sum(pair[1] for pair in rest)])
    return (*shown, Folder(name=None, found=left)) if left.objects else tuple(shown)


def read(stream: BinaryIO, name: str) -> Iterator[tuple[bytes, list[dict[str, Any]]]]:
    """Each key with its lines, oldest version first. EvidenceError for what is no listing."""
    try:
        if canonical.load_object(stream.readline().removesuffix(b"\n")).get("format") != FORMAT:
            raise EvidenceError(f"{name} is not a listing that this version knows")
        lines = (canonical.load_object(line.removesuffix(b"\n")) for line in stream)
        for key, group in groupby(lines, key=key_bytes):
            yield key, list(group)
    except (FormatError, KeyError) as error:
        raise EvidenceError(f"{name} is damaged: {error}", hint="restore it from a backup") from error

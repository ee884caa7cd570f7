"""What came out of it: the restore's own manifest, read line by line and held against the archive's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors import Location
from manifests.files import create_private
from manifests.manifest import ManifestReader
from portability.archive.diff import diff
from portability.drill.canary import Aviary, Flock, State
from portability.drill.listing import NOT_WHOLE
from portability.ledger import Ledger
from portability.outcome import printable
from portability.seal import MANIFEST

KEPT = "not-whole.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Counted over the lines of the second place that were not left out."""

    things: int
    bytes: int
    """Of the lines whose bytes were read back at the second place."""
    archived: int
    """Lines of the archive that were not left out."""
    differing: int
    """Lines that are not the archive's: other bytes, left out, missing, too many."""
    wrong: int
    """Those of them that were read back at the second place, and are counted in `things`."""
    lossy: int
    """Lines that lost an attribute at the second place; the manifest holds what could be parked."""
    lost: Mapping[str, int]
    levels: Mapping[str, int]
    census_root: str
    """Of what the archive says was listed."""
    root: str
    sha256: str


def prove(archive: Location, evidence: Path) -> Proof:
    """Compare what was restored with what the archive holds. ManifestError if either manifest is damaged."""
    place = archive.path if archive.scheme == "file" else archive.url
    compared = diff(place, str(evidence), credentials=(archive.credentials, None))
    changes = compared.tally.things
    left_out = sum(compared.second.skipped.values()) - sum(compared.first.skipped.values())
    things = octets = lossy = 0
    with (evidence / MANIFEST).open("rb") as stream:
        reader = ManifestReader(stream, str(evidence))
        for line in reader.lines():
            if line["kind"] == "skipped":
                continue
            lossy += bool(line.get("losses"))
            if line["evidence"] == "read":
                things += 1
                octets += line.get("size", 0) if line["kind"] == "object" else 0
        summary = reader.summary
    return Proof(
        things=things,
        bytes=octets,
        archived=compared.first.count - sum(compared.first.skipped.values()),
        differing=changes["bytes"] + changes["appeared"] + changes["disappeared"],
        wrong=max(0, changes["bytes"] + changes["appeared"] - max(0, left_out)),
        lossy=lossy,
        lost=dict(summary.losses),
        levels=dict(summary.evidence),
        census_root=compared.first.census_root,
        root=summary.root,
        sha256=summary.sha256,
    )


def canaries_in(listing: Iterator[tuple[bytes, list[dict[str, Any]]]], aviary: Aviary) -> Flock:
    """The canaries as they came out: by the digests of the current things under their keys."""
    wanted = {canary.key.encode(): canary for canary in aviary.newest.canaries} if aviary.newest else {}
    states: dict[str, State] = {canary.key: "missing" for canary in wanted.values()}
    for key, lines in listing:
        if canary := wanted.get(key):
            newest = next((line for line in reversed(lines) if line.get("latest", True)), {"kind": "delete_marker"})
            if newest["kind"] == "object":
                sha256 = newest.get("sha256")
                states[canary.key] = aviary.state(canary, sha256) if sha256 else "unreadable"
    return Flock(states=states)


class FindingsFile:
    """findings.csv under way: `problem,key,expected,found`; for its owner's eyes, safe to open in a spreadsheet."""

    def __init__(self, path: Path) -> None:
        self._text = io.TextIOWrapper(create_private(path), "utf-8", newline="")
        self._out = csv.writer(self._text)
        self._out.writerow(("problem", "key", "expected", "found"))

    def add(self, problem: str, key: str, expected: str = "", found: str = "") -> None:
        self._out.writerow([_cell(text) for text in (problem, key, expected, found)])

    def __enter__(self) -> FindingsFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()


def _cell(text: str) -> str:
    shown = printable(text)
    return f"'{shown}" if shown[:1] in {"=", "+", "-", "@"} else shown  # a key must not be a formula


def write_not_whole(ledger: Ledger, folder: Path, accepted: Collection[str]) -> None:
    """Keep what did not come out, or is left out, until findings.csv is written."""
    with create_private(folder / KEPT) as out:
        for thing in ledger.things(f"({NOT_WHOLE}) OR (action = 'skip' AND reason != 'excluded')"):
            if thing.action != "skip":
                told = {
                    "problem": "failed",
                    "expected": thing.problem or "",
                    "found": thing.message or "not read back whole",
                }
            elif thing.reason not in accepted:
                told = {"problem": "skipped", "expected": thing.reason or "", "found": thing.detail or ""}
            else:
                continue
            out.write(json.dumps({**told, "key": printable(thing.key)}).encode() + b"\n")


def add_not_whole(folder: Path, out: FindingsFile) -> None:
    """What `write_not_whole` kept."""
    for told in _lines(folder / KEPT):
        out.add(told["problem"], told["key"], told["expected"], told["found"])


def add_restored(evidence: Path, out: FindingsFile) -> None:
    """What the restore's verification found."""
    for told in _lines(evidence / "findings.jsonl"):
        out.add(f"restore: {told['problem']}", told["key"], told["expected"], told["found"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        with path.open("rb") as lines:
            for line in lines:
                yield json.loads(line)

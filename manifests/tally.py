"""What a manifest's lines amount to, counted the same way by writer and readers, line by line or slice by slice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from manifests import canonical, tree
from manifests.census import census_leaf_of
from manifests.errors import FormatError, SealError
from manifests.header import Header
from manifests.receipt import check_line, key_bytes

LONGEST = 4 << 20
"""Bytes of a line."""
SEAL = b'{"seal":'

Place = tuple[bytes, int]
"""What lines are sorted by: key bytes, then order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a whole manifest says, counted and recomputed from its lines; it exists only for a valid seal."""

    header: Header
    count: int
    """Receipt lines."""
    bytes: int
    """Sum of the sizes of all objects, versions included."""
    root: str
    """Of the tree over the lines."""
    census_root: str
    """Of the tree over what the lines say was listed, to be compared with `header.census.root`."""
    kinds: Mapping[str, int]
    evidence: Mapping[str, int]
    """Lines by evidence level, skipped ones left out."""
    skipped: Mapping[str, int]
    """Skipped lines by reason."""
    losses: Mapping[str, int]
    """Losses by name."""
    sha256: str
    """Of the whole file."""

    @property
    def checkpoint(self) -> tree.Checkpoint:
        """The root in portable form."""
        return tree.Checkpoint(job=self.header.job, count=self.count, root=self.root)


@dataclass(slots=True, kw_only=True)
class Counts:
    """Numbers over some receipt lines."""

    bytes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    evidence: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)

    def add(self, line: Mapping[str, Any]) -> None:
        """Count one line that passed `check_line`."""
        kind = line["kind"]
        self.kinds[kind] += 1
        if kind == "skipped":
            self.skipped[line["reason"]] += 1
        else:
            self.evidence[line["evidence"]] += 1
            if kind == "object":
                self.bytes += line["size"]
        if "losses" in line:
            self.losses.update(loss["name"] for loss in line["losses"])

    def join(self, other: Counts) -> None:
        """Add what was counted elsewhere."""
        self.bytes += other.bytes
        self.kinds += other.kinds
        self.evidence += other.evidence
        self.skipped += other.skipped
        self.losses += other.losses


@dataclass(slots=True, kw_only=True)
class Slice:
    """What a run of receipt lines says; plain data that crosses to other processes."""

    first: int
    """Number of its first receipt from 0."""
    count: int
    counts: Counts
    begin: Place
    end: Place
    root: list[tuple[bytes, int]]
    """Its part of the tree: `tree.subtrees`."""
    census: list[tuple[bytes, int]]
    stored: bytes
    """`<digest>  <path>` and LF for each line of an archive whose bytes are in it, as the payload list has them."""
    elsewhere: dict[str, bytes]
    """The same for what other archives hold, by archive id."""


class Tally:
    """Everything that is counted and recomputed over a whole manifest."""

    def __init__(self, header: Header, line: bytes) -> None:
        self.header = header
        self.sha256 = hashlib.sha256(line + b"\n")
        self.root = tree.Root()
        self.census = tree.Root()
        self.counts = Counts()
        self._last: Place = b"", -1
        self._archive = header.archive

    def add(self, line: Mapping[str, Any], data: bytes) -> None:
        """The next line; FormatError if it breaks a rule."""
        check_line(line, archive=self._archive)
        place = place_of(line)
        self._follow(place, place)
        self.sha256.update(data + b"\n")
        self.root.add(data)
        self.census.add(census_leaf_of(line))
        self.counts.add(line)

    def join(self, part: Slice) -> None:
        """The next slice, whose bytes were hashed already; FormatError if it does not follow the last."""
        self._follow(part.begin, part.end)
        for node, height in part.root:
            self.root.add_hash(node, height)
        for node, height in part.census:
            self.census.add_hash(node, height)
        self.counts.join(part.counts)

    def _follow(self, begin: Place, end: Place) -> None:
        if begin <= self._last:
            raise FormatError("out of order, or twice there", rule="3.4, order")
        self._last = end

    def seal(self) -> bytes:
        """The seal that fits the lines so far."""
        return canonical.dumps(
            {
                "seal": {
                    "bytes": self.counts.bytes,
                    "count": self.root.count,
                    "root": self.root.digest().hex(),
                    "sha256": self.sha256.hexdigest(),
                }
            }
        )

    def summary(self, seal: bytes) -> Summary:
        """What all lines say, with this seal below them; SealError if it does not fit."""
        if seal != self.seal():
            raise SealError("the seal does not fit the lines above it", rule="3.5")
        whole = self.sha256.copy()
        whole.update(seal + b"\n")
        counts = self.counts
        return Summary(
            header=self.header,
            count=self.root.count,
            bytes=counts.bytes,
            root=self.root.digest().hex(),
            census_root=self.census.digest().hex(),
            kinds=dict(counts.kinds),
            evidence=dict(counts.evidence),
            skipped=dict(counts.skipped),
            losses=dict(counts.losses),
            sha256=whole.hexdigest(),
        )


def place_of(line: Mapping[str, Any]) -> Place:
    """Where a line stands among others."""
    return key_bytes(line), line.get("order", 0)

"""The evidence inside an archive: manifest, checkpoint and payload list agree line by line (V19, V20, delta archives)."""

from __future__ import annotations

import hashlib
import os
import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from manifests.digests import Readable, stream_sha256
from manifests.errors import FormatError, ManifestError
from manifests.manifest import ManifestReader, Summary
from manifests.slices import Slices, read_slice
from manifests.tally import Slice
from manifests.tree import Checkpoint
from portability.archive.verifier_findings import Findings
from portability.archive.verifier_tree import Tree
from portability.archive.verifier_workers import Task, Workers

MANIFEST, CHECKPOINT = "metadata/manifest.jsonl", "metadata/checkpoint.txt"
_CRATE = b"  data/ro-crate-metadata.json"
"""The one payload file that no line names."""

_PART = 500_000

Decrypt = Callable[[BinaryIO], BinaryIO]
"""Ciphertext to plaintext; what cannot be opened is an OSError, at once or while reading. It crosses to other processes."""


class Marks:
    """64 bits for each line of digest and path: a million of them fit into memory where a million paths do not.

    They are keyed: nobody can prepare two lines with one mark.
    """

    def __init__(self) -> None:
        self._secret = b"" if _HASH_IS_STRONG and _HASH_IS_KEYED else os.urandom(8).hex().encode()

    def of(self, lines: bytes) -> array[int]:
        """The mark of each of these lines."""
        if not lines:
            return array("q")
        lines = lines[:-1]
        if secret := self._secret:
            lines = secret + lines.replace(b"\n", b"\n" + secret)
        return array("q", map(hash if _HASH_IS_STRONG else _blake, lines.split(b"\n")))


_HASH_IS_STRONG = sys.hash_info.algorithm.startswith("siphash") and (sys.hash_info.width, sys.hash_info.cutoff) == (
    64,
    0,
)
"""Python's own hash of bytes is SipHash nearly everywhere, and ten times as fast as any other."""
_HASH_IS_KEYED = os.environ.get("PYTHONHASHSEED", "random") == "random"
"""By a secret of this process, unless whoever started it chose one."""


def _blake(line: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "little", signed=True)


@dataclass(slots=True, kw_only=True)
class Scan:
    """What a manifest says, and where it says that its bytes are."""

    summary: Summary | None = None
    error: ManifestError | None = None
    stored: array[int] = field(default_factory=lambda: array("q"))
    """Marks of what is stored in this archive."""
    elsewhere: dict[str, array[int]] = field(default_factory=dict)
    """Marks of what is stored in other archives, by archive id."""


class Scanning:
    """Reads a manifest strictly while other work is done: a few of its slices at a time are with the workers."""

    def __init__(self, stream: BinaryIO, marks: Marks, workers: Workers, *, encrypted: bool, beside: bool) -> None:
        self._marks, self._workers = marks, workers
        self._encrypted, self._beside = encrypted, beside
        self._found = Scan()
        self._under_way: deque[Task[Slice]] = deque()
        self._stream = stream
        self._slices: Slices | None = None
        self._left: Iterator[tuple[bytes, int]] = iter(())
        self._guarded(self._begin)

    def _begin(self) -> None:
        self._slices = Slices(self._stream, MANIFEST)
        if not self._slices.header.archive:  # its lines would not have to say where their bytes are
            raise FormatError("the manifest of a migration, not of an archive", line=1, rule="3.3, destination")
        self._left = iter(self._slices)

    def go_on(self) -> None:
        """Settle what is read and give away more, as far as it goes without waiting."""
        if self._beside and self._found.error is None:
            self._guarded(self._refill)

    def finish(self) -> Scan:
        """What the whole manifest says."""
        if self._found.error is None:
            self._guarded(self._finish)
        self._stream.close()
        return self._found

    def _finish(self) -> None:
        if self._slices is None:
            return
        if self._beside:
            self._refill()
            while self._under_way:
                self._settle(self._under_way.popleft().result())
                self._refill()
        for data, first in self._left:
            self._settle(self._slices.read(data, first, encrypted=self._encrypted))
        self._found.summary = self._slices.summary()

    def _refill(self) -> None:
        while self._under_way and self._under_way[0].done():
            self._settle(self._under_way.popleft().result())
        read = partial(read_slice, archive=True, encrypted=self._encrypted)
        while len(self._under_way) < 2 * self._workers.count + 2 and (piece := next(self._left, None)) is not None:
            self._under_way.append(self._workers.submit(read, *piece))

    def _settle(self, part: Slice) -> None:
        if self._slices is not None:
            self._slices.add(part)
        self._found.stored.extend(self._marks.of(part.stored))
        for archive, lines in part.elsewhere.items():
            self._found.elsewhere.setdefault(archive, array("q")).extend(self._marks.of(lines))

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except ManifestError as error:
            self._found.error = error
        except OSError as error:  # a ciphertext that another key opens, or that was cut
            self._found.error = ManifestError(f"cannot be read: {error}", rule="8")


class PayloadMarks:
    """Marks of the payload list, gathered while it passes by."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self.found = array("q")

    def add(self, lines: bytes) -> None:
        """Lines of SHA-256 and path."""
        self.found.extend(self._marks.of(without_crate(lines)))


def without_crate(lines: bytes) -> bytes:
    """Lines of the payload list without the one file that no line of a manifest names."""
    if _CRATE + b"\n" not in lines:
        return lines
    return b"".join([line + b"\n" for line in lines.split(b"\n")[:-1] if line[64:] != _CRATE])


def compare(
    scanned: Scan,
    listed: array[int],
    marks: Marks,
    again: Callable[[], BinaryIO],
    list_again: Callable[[], Iterator[bytes]],
    findings: Findings,
    *,
    encrypted: bool,
) -> None:
    """V20: lines and payload list name the same files with the same digests. What differs is looked up in a second pass."""
    if scanned.stored == listed:
        return
    difference: set[int] = set()
    parts = (len(scanned.stored) + len(listed)) // _PART + 1
    for part in range(parts):  # one part at a time: sets of all would be the verifier's largest memory
        stored = {found for found in scanned.stored if found % parts == part}
        difference |= stored.symmetric_difference([found for found in listed if found % parts == part])
    if not difference:
        return
    with again() as stream:
        slices = Slices(stream, MANIFEST)
        for data, first in slices:
            lines = slices.read(data, first, encrypted=encrypted).stored
            if difference.isdisjoint(marks.of(lines)):
                continue
            for number, line in enumerate(data.split(b"\n")[:-1], first):
                lines = slices.read(line + b"\n", number, encrypted=encrypted).stored
                for path, digest in _differing(lines, marks, difference):
                    message = "the manifest names a file which the payload list does not have with this digest"
                    findings.add("V20", message, path, line=number + 2, expected=digest)
    for lines in list_again():
        for path, digest in _differing(without_crate(lines), marks, difference):
            findings.add("V20", "no line of the manifest names this payload file with this digest", path, found=digest)


def _differing(lines: bytes, marks: Marks, difference: set[int]) -> Iterator[tuple[str, str]]:
    for found, line in zip(marks.of(lines), lines.split(b"\n"), strict=False):
        if found in difference:
            digest, _, path = line.decode().partition("  ")
            yield path, digest


def sealed_batches(stream: Readable) -> Iterator[list[tuple[str, str]]]:
    """Paths of ciphertexts and the digests of their plaintexts, some files or megabytes at a time."""
    batch: list[tuple[str, str]] = []
    octets = 0
    for line in ManifestReader(stream).lines():
        if "age" in line and "path" in line:
            batch.append((line["path"], line["sha256"]))
            octets += line["size"]
            if len(batch) >= 200 or octets >= 64 << 20:
                yield batch
                batch, octets = [], 0
    if batch:
        yield batch


def check_plaintexts(tree: Tree, decrypt: Decrypt, items: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Decrypt to nowhere, hash: path, expected and found digest (or why there is none) of what differs."""
    wrong = []
    for path, expected in items:
        try:
            with decrypt(tree.open(path)) as stream:
                found = stream_sha256(stream)[0]
        except OSError as error:
            found = str(error)
        if found != expected:
            wrong.append((path, expected, found))
    return wrong


def check_checkpoint(data: bytes | None, summary: Summary, findings: Findings) -> None:
    """V19: the root in portable form is the root of the lines."""
    if data is None:
        findings.add("V19", "the checkpoint is missing", CHECKPOINT)
        return
    try:
        stated = Checkpoint.from_bytes(data)
    except ManifestError as error:
        findings.add("V19", error.message, CHECKPOINT)
        return
    if stated != summary.checkpoint:
        found = f"{stated.count} lines, root {stated.root}"
        expected = f"{summary.checkpoint.count} lines, root {summary.checkpoint.root}"
        findings.add("V19", "the checkpoint is not that of the manifest", CHECKPOINT, expected=expected, found=found)


def missing_from(wanted: array[int], base: Iterator[bytes], marks: Marks) -> int:
    """How many of the marks the payload list of a base archive does not have."""
    left = set(wanted)
    for lines in base:
        left.difference_update(marks.of(lines))
    return len(left)

"""The evidence inside an archive: manifest, checkpoint and payload list agree line by line (V19, V20, delta archives)."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from manifests.digests import Readable, stream_sha256
from manifests.errors import FormatError, ManifestError
from manifests.manifest import ManifestReader, Summary
from manifests.tree import Checkpoint
from portability.archive.verifier_findings import Findings
from portability.archive.verifier_tree import LocalTree, Tree

MANIFEST, CHECKPOINT = "metadata/manifest.jsonl", "metadata/checkpoint.txt"
CRATE = "data/ro-crate-metadata.json"
"""The one payload file that no line names."""

_PARTS = 4

Decrypt = Callable[[BinaryIO], BinaryIO]
"""Ciphertext to plaintext; what cannot be opened is an OSError, at once or while reading. It crosses to other processes."""


def new_secret() -> bytes:
    """For marks: with a fresh one nobody can prepare two places with one mark."""
    return os.urandom(16)


def mark(path: str, digest: str, secret: bytes) -> int:
    """64 bits that stand for a path and its digest: a million of them fit into memory where a million paths do not."""
    data = hashlib.blake2b(f"{digest} {path}".encode(), digest_size=8, salt=secret).digest()
    return int.from_bytes(data, "little")


@dataclass(slots=True, kw_only=True)
class Scan:
    """What a manifest says, and where it says that its bytes are."""

    summary: Summary | None = None
    error: ManifestError | None = None
    stored: array[int] = field(default_factory=lambda: array("Q"))
    """Marks of what is stored in this archive."""
    elsewhere: dict[str, array[int]] = field(default_factory=dict)
    """Marks of what is stored in other archives, by archive id."""


def scan_local(root: Path, name: str, secret: bytes) -> Scan:
    """Read the clear manifest of a local archive; runs in a process of its own."""
    with LocalTree(root).open(name) as stream:
        return scan(stream, secret)


def scan(stream: Readable, secret: bytes, *, encrypted: bool = False) -> Scan:
    """Read a manifest strictly, to its end."""
    found = Scan()
    try:
        reader = ManifestReader(stream)
        if not reader.header.archive:  # its lines would not have to say where their bytes are
            raise FormatError("the manifest of a migration, not of an archive", line=1, rule="3.3, destination")
        for line in reader.lines():
            for archive, path, digest in places(line, encrypted):
                marks = found.stored if archive is None else found.elsewhere.setdefault(archive, array("Q"))
                marks.append(mark(path, digest, secret))
        found.summary = reader.summary
    except ManifestError as error:
        found.error = error
    except OSError as error:  # a ciphertext that another key opens, or that was cut
        found.error = ManifestError(f"cannot be read: {error}", rule="8")
    return found


def places(line: Mapping[str, Any], encrypted: bool) -> Iterator[tuple[str | None, str, str]]:
    """Archive id (None: this one), path and digest of the bytes which a line says are stored."""
    if "stored_in" in line:
        there = line["stored_in"]
        yield str(there.get("archive")), str(there.get("path")), line.get("sha256", "")
    elif "path" in line:
        # Only an encrypted manifest speaks of ciphertexts: elsewhere such a member must not stand in for the digest.
        digest = line.get("age", {}).get("sha256", "") if encrypted else line.get("sha256", "")
        yield None, line["path"], str(digest)


class PayloadMarks:
    """Marks of the payload list, gathered while it passes by."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.marks = array("Q")

    def add(self, path: str, digest: str) -> None:
        if path != CRATE:
            self.marks.append(mark(path, digest, self.secret))


def compare(
    scanned: Scan,
    listed: PayloadMarks,
    again: Callable[[], BinaryIO],
    list_again: Callable[[], Iterator[tuple[str, str]]],
    findings: Findings,
    *,
    encrypted: bool,
) -> None:
    """V20: lines and payload list name the same files with the same digests. What differs is looked up in a second pass."""
    difference: set[int] = set()
    for part in range(_PARTS):  # one part at a time: sets of all would be the verifier's largest memory
        stored = {found for found in scanned.stored if found % _PARTS == part}
        difference |= stored.symmetric_difference(found for found in listed.marks if found % _PARTS == part)
    if not difference:
        return
    with again() as stream:
        for number, line in enumerate(ManifestReader(stream).lines(), 2):
            for archive, path, digest in places(line, encrypted):
                if archive is None and mark(path, digest, listed.secret) in difference:
                    message = "the manifest names a file which the payload list does not have with this digest"
                    findings.add("V20", message, path, line=number, expected=digest)
    for path, digest in list_again():
        if path != CRATE and mark(path, digest, listed.secret) in difference:
            findings.add("V20", "no line of the manifest names this payload file with this digest", path, found=digest)


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


def missing_from(wanted: array[int], base: Iterator[tuple[str, str]], secret: bytes) -> int:
    """How many of the marks the payload list of a base archive does not have."""
    left = set(wanted)
    for path, digest in base:
        left.discard(mark(path, digest, secret))
    return len(left)

"""The lists of an archive: every payload file, and every file that describes it, with its digest."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connectors import Entry, Location, connect
from connectors.keys import key_bytes, key_text
from manifests import bagit, crate
from manifests.digests import file_sha256
from manifests.files import create_private, publish, write_private
from portability.errors import EvidenceError
from portability.ledger import Ledger


def write_once(path: Path, data: bytes) -> None:
    """A file of ours in the staging folder, left alone where a killed run has made it."""
    if not path.exists():
        write_private(path, data)


def payload(ledger: Ledger, staging: Path) -> Iterator[tuple[str, str, int]]:
    """Path, SHA-256 and size of every payload file, each once, in the order of path bytes."""
    ours = staging / crate.NAME
    described = [(crate.NAME, file_sha256(ours), ours.stat().st_size)] if ours.exists() else []
    return heapq.merge(moved(ledger), described, key=lambda file: key_bytes(file[0]))


def moved(ledger: Ledger) -> Iterator[tuple[str, str, int]]:
    """The same without our own description of the whole."""
    last = b""
    while True:
        rows = ledger.query(
            "SELECT ifnull(path, key), ifnull(json_extract(stored, '$.sha256'), sha256), "
            "ifnull(json_extract(stored, '$.size'), bytes) FROM things "
            "WHERE action IN ('copy', 'chain') AND action = 'copy' AND state = 'moved' "  # the first is the index's own
            "AND json_extract(stored, '$.archive') IS NULL "
            "AND ifnull(path, key) > ? GROUP BY 1 ORDER BY 1 LIMIT 1000",
            last,
        )
        for path, sha256, size in rows:
            yield key_text(path), sha256, size
        if not rows:
            return
        last = rows[-1][0]


def write_payload_list(staging: Path, ledger: Ledger) -> str:
    """SHA-256 of every payload file, as the ledger knows it from the bytes that were read back; the name of the list."""
    name = "manifest-sha256.txt"
    path = staging / name
    if not path.exists():
        part = path.with_name(f"{name}.part")
        with create_private(part) as out:
            for file, sha256, _ in payload(ledger, staging):
                out.write(bagit.list_line(sha256, file))
            publish(out, part, path)
    return name


def write_payload_list_512(staging: Path, ledger: Ledger, place: Location) -> str:
    """SHA-512 of every payload file, read back once more for it."""
    name = "manifest-sha512.txt"
    path = staging / name
    if path.exists():
        return name
    host = connect(place)
    part = path.with_name(f"{name}.part")
    try:
        with create_private(part) as out:
            for file, expected, size in payload(ledger, staging):
                sha512, sha256 = hashlib.sha512(), hashlib.sha256()
                own = file == crate.NAME  # which is not published yet
                body: Any = (staging / file).open("rb") if own else host.open(Entry(key=file, size=size))
                try:
                    while piece := body.read(1 << 20):
                        sha512.update(piece)
                        sha256.update(piece)
                finally:
                    body.close()
                if sha256.hexdigest() != expected:
                    raise EvidenceError(f"{file} changed while the archive was closed")
                out.write(bagit.list_line(sha512.hexdigest(), file))
            publish(out, part, path)
    finally:
        host.close()
    return name


def write_tag_lists(staging: Path, files: list[str], *, sha512: bool) -> list[str]:
    """The lists of what stands outside data/, in closing order."""
    names = ["tagmanifest-sha256.txt"]  # which lists no tag list, as RFC 8493 section 2.2.1 has it
    lines = [bagit.list_line(file_sha256(staging / name), name) for name in sorted(files, key=str.encode)]
    write_once(staging / names[0], b"".join(lines))
    if sha512:
        names.insert(0, "tagmanifest-sha512.txt")
        lines = [bagit.list_line(_sha512(staging / name), name) for name in sorted(files, key=str.encode)]
        write_once(staging / names[0], b"".join(lines))
    return names


def _sha512(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()

"""Sealing: receipts out of the ledger into the manifest and the files that follow from it, then everything read back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from manifests.canonical import time_of, time_text
from manifests.census import Census
from manifests.errors import FormatError
from manifests.files import create_private, publish, write_private
from manifests.manifest import Header, ManifestReader, ManifestWriter, Summary, read_manifest
from manifests.provenance import Agent, Event, Place, write_provenance
from manifests.sums import write_sums
from portability import __version__
from portability.errors import EvidenceError, PlaceError
from portability.job import Job
from portability.ledger import Ledger
from portability.progress import Progress
from portability.receipts import line_of

MANIFEST = "manifest.jsonl"
SUMS = "SHA256SUMS"
FILES = (MANIFEST, "checkpoint.txt", SUMS, "provenance.json")
"""The evidence folder of a migration (archive-format.md 3.10)."""


def seal(job: Job, ledger: Ledger, progress: Progress, *, archive: str = "") -> Summary:
    """Write the evidence and read it back. A manifest that an interrupted run has sealed already is taken as it is.
    `archive`: the identifier (urn:uuid) of the one that is restored; where it lies on this machine is nobody's business.

    EvidenceError if the folder holds another run's manifest or what was written reads back differently.
    """
    folder = job.evidence
    path = folder / MANIFEST
    progress.phase("seal", ledger.count("state = 'moved'"))
    try:
        if path.exists():
            summary = _taken_as_it_is(path, folder / SUMS, ledger)
        else:
            first = header(job, ledger, source=archive, destination=job.destination.url)
            summary = _write(path, folder / SUMS, first, ledger, progress)
        _once(folder / "checkpoint.txt", summary.checkpoint.to_bytes())
        _once(folder / "provenance.json", _events(job, ledger, summary, archive))
    except OSError as error:
        raise PlaceError(
            f"the evidence cannot be written to {folder}: {error.strerror or error}",
            hint="make room or rights there, then run the same command again",
        ) from error
    progress.done()
    return summary


def header(job: Job, ledger: Ledger, *, destination: str, source: str = "", names: str | None = None) -> Header:
    """The first line of the manifest of this run."""
    return Header(
        job=ledger.get("job"),
        source=source or job.source.url,
        destination=destination,
        names=names,
        created=time_text(datetime.now(UTC)),
        tool={"name": "portability", "version": __version__},
        census=Census.from_dict(ledger.get_json("census")),
        demands=job.demands,
        accepts=tuple(sorted(job.accepted)),
        selection=job.selection.statement(),
        previous=ledger.get("previous") or None,
    )


def write_manifest(path: Path, first: Header, ledger: Ledger, progress: Progress) -> Summary:
    """Stream the receipts of a ledger into a sealed manifest."""
    with ManifestWriter(path, first) as writer:
        for _ in _lines(writer, ledger, progress):
            pass
        return writer.seal()


def _lines(writer: ManifestWriter, ledger: Ledger, progress: Progress) -> Iterator[dict[str, Any]]:
    """The receipts of a ledger, each when it is written."""
    # A line without evidence, or a large object that could not be read back, has no receipt: the count then tells.
    for page in ledger.pages(
        "state = 'moved' AND evidence != 'none' AND (kind != 'object' OR action = 'skip' OR sha256 IS NOT NULL)"
    ):
        lines = [line_of(thing) for thing in page]
        try:
            writer.add_lines(lines)
        except FormatError as error:
            raise EvidenceError(f"a receipt cannot be written: {error}") from error
        yield from lines
        progress.step(len(lines))


def read_back(path: Path) -> Summary:
    """What a sealed manifest says; ManifestError if it is not one."""
    with path.open("rb") as stream:
        return read_manifest(stream, str(path))


def _write(path: Path, sums: Path, first: Header, ledger: Ledger, progress: Progress) -> Summary:
    """The manifest, and SHA256SUMS from the very lines that were written, once they were read back the same."""
    part = sums.with_name(f"{sums.name}.part")
    with ManifestWriter(path, first) as writer, create_private(part) as out:
        left_out = write_sums(_lines(writer, ledger, progress), out)
        written = writer.seal()
        if read_back(path) != written:
            raise EvidenceError(f"{path} reads back differently from what was written", hint="is the disk sound?")
        publish(out, part, sums)
    ledger.set("sums_left_out", str(left_out))
    return written


def _taken_as_it_is(path: Path, sums: Path, ledger: Ledger) -> Summary:
    """What the manifest of an interrupted run says; SHA256SUMS, if that run left none, is written from what is read."""
    with path.open("rb") as stream, ExitStack() as stack:
        reader = ManifestReader(stream, str(path))
        if reader.header.job != ledger.get("job"):
            raise EvidenceError(
                f"{path} belongs to another run ({reader.header.job})", hint="use another evidence folder"
            )
        if sums.exists():
            for _ in reader.lines():
                pass
            return reader.summary
        part = sums.with_name(f"{sums.name}.part")
        out = stack.enter_context(create_private(part))
        left_out = write_sums(reader.lines(), out)
        summary = reader.summary
        publish(out, part, sums)
    ledger.set("sums_left_out", str(left_out))
    return summary


def _once(path: Path, data: bytes) -> None:
    if not path.exists():
        write_private(path, data)


def _events(job: Job, ledger: Ledger, summary: Summary, archive: str) -> bytes:
    if not archive:
        return events(job, ledger, summary, kind="transfer")
    return events(job, ledger, summary, kind="restore", source=Place(uri=archive, type="archive"))


def events(job: Job, ledger: Ledger, summary: Summary, *, kind: str, source: Place | None = None) -> bytes:
    """provenance.json: what this run did; `kind` is transfer, export or restore."""
    agent = Agent(role="mover", software={"name": "portability", "version": __version__})
    census = ledger.get_json("census")
    source = replace(source or Place(uri=job.source.url, type=job.source.scheme), listed_at=ledger.get("census_at"))
    destination = Place(uri=job.destination.url, type=job.destination.scheme)
    failed = ledger.count("state IN ('failed', 'planned')")
    now = datetime.now(UTC)

    def moment(name: str) -> datetime:
        text = ledger.get(name)
        return time_of(text) if text else now

    moved = {
        "listed": census["lines"],
        "copied": ledger.count("state = 'moved' AND action IN ('copy', 'chain')"),
        "skipped": ledger.count("action = 'skip'"),
        "delete_markers": ledger.count("kind = 'delete_marker'"),
        "failed": failed,
        "bytes": summary.bytes,
    }
    findings = ledger.finding_count()
    told = [
        Event(
            type="inventory",
            start=moment("census_began"),
            end=moment("census_at"),
            agent=agent,
            outcome="success",
            source=source,
            counts={"listed": census["lines"], "bytes": census["bytes"]},
        ),
        Event(
            type=kind,
            start=moment("transfer_began"),
            end=moment("transfer_ended"),
            agent=agent,
            outcome="fail" if failed else "success",
            source=source,
            destination=destination,
            counts=moved,
            warnings=(f"{failed} things could not be moved",) if failed else (),
        ),
        Event(
            type="verification",
            start=moment("verify_started"),
            end=moment("verify_ended"),
            agent=agent,
            outcome="fail" if findings else "success",
            destination=destination,
            counts={"listed": summary.count, "failed": findings},
            warnings=(f"{findings} differences found",) if findings else (),
        ),
    ]
    return write_provenance(told)

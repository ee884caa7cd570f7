"""A report of whatever a person names: evidence, an archive or a drill."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath

from connectors import Location
from manifests.canonical import time_text
from portability.drill import record
from portability.drill.folder import HISTORY, Drills
from portability.errors import PlaceError, UsageError
from portability.evidence import local_folder
from portability.ledger import NAME
from portability.outcome import printable
from portability.report.details import Pseudonyms, Row, Sink, nowhere
from portability.report.model import Report, Verdict
from portability.report.of_archive import of_archive
from portability.report.of_drill import of_drill, without_names
from portability.report.of_evidence import MANIFEST, of_evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a report is about, and how much it shows."""

    place: str
    """A folder, a file or a url."""
    archive: Location | None = None
    """Where that is an archive or a bag: its location."""
    credentials: str | None = None
    signer: str | None = None
    identity: str | None = None
    bases: tuple[Location, ...] = ()
    workers: int | None = None
    names: bool = False
    """Show folders by their names."""
    pseudonyms: Pseudonyms | None = None


def gather(request: Request, now: datetime, sink: Sink = nowhere) -> Report:
    """The report; `sink` gets the details. PlaceError, UsageError for a place that holds nothing to report on; ManifestError,
    EvidenceError for damage that leaves nothing to be said.
    """
    report = _no_less_than_read(_gathered(request, time_text(now), sink))
    for folder in report.folders:
        if folder.name is not None:
            label = str(folder.number)
            sink(Row(type="folder", name=label, key=folder.name, found=f"{folder.things} things, {folder.bytes} bytes"))
    if request.pseudonyms is not None:
        hidden = request.pseudonyms
        return replace(
            report,
            folders=tuple(
                replace(one, name=None if one.name is None else hidden.of(one.name)) for one in report.folders
            ),
        )
    if request.names:
        return replace(
            report,
            folders=tuple(
                replace(one, name=None if one.name is None else printable(one.name)) for one in report.folders
            ),
        )
    return without_names(report)


def _no_less_than_read(report: Report) -> Report:
    """A job may demand less than bytes that were read back; no report prints that as proven."""
    below = {level: report.levels[level] for level in ("listed", "reported") if report.levels.get(level)}
    if not report.verdict.proven or not below:
        return report
    told = ", ".join(f"{count} {level}" for level, count in sorted(below.items()))
    return replace(report, verdict=Verdict(state="not-proven", exit_code=3, reasons=(f"evidence below read: {told}",)))


def _gathered(request: Request, made: str, sink: Sink) -> Report:
    text, subject = request.place, _subject(request.place)
    if request.archive is not None:
        return of_archive(
            request.archive,
            text,
            made=made,
            sink=sink,
            subject=subject,
            signer=request.signer,
            identity=request.identity,
            bases=request.bases,
            workers=request.workers,
        )
    folder = local_folder(text)
    if folder is not None:
        if not folder.exists():
            raise PlaceError(
                f"{printable(text)}: there is nothing there",
                hint="name the folder of a migration's evidence, of a drill, or an archive",
            )
        drill = _drill_in(folder)
        if drill is not None:
            return of_drill(drill, made=made, sink=sink)
        if folder.is_dir() and not any(
            path.name == NAME or path.name.startswith(MANIFEST) for path in folder.iterdir()
        ):
            raise UsageError(
                f"{printable(text)} is neither evidence nor a drill nor an archive",
                hint=f"evidence holds {MANIFEST} or {NAME}, a drill {record.NAME}, a folder of drills {HISTORY}, an archive bagit.txt",
            )
    return of_evidence(text, credentials=request.credentials, made=made, sink=sink, subject=subject)


def _drill_in(folder: Path) -> Path | None:
    """The drill that this folder is, or the newest of those that lie in it."""
    if (folder / record.NAME).is_file():
        return folder
    if not (folder / HISTORY).is_file():
        return None
    newest = Drills(folder).last()
    return folder / newest.id if newest else None


def _subject(text: str) -> str:
    name = PurePosixPath(text.split("?", 1)[0].rstrip("/")).name if "://" in text else Path(text).absolute().name
    return printable(name)

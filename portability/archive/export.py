"""Exports: migrations whose destination is an archive, which is closed when its payload was read back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from connectors import Configured, Location, connect
from manifests.bagit import TAG_LIST, archive_id, folder_name
from manifests.canonical import time_text
from manifests.digests import file_sha256
from manifests.errors import FormatError
from manifests.files import create_private, write_private
from manifests.history import Entry, append, read_history
from manifests.manifest import Summary
from manifests.verdict import judge
from portability.archive import place
from portability.archive.closing import Signer, SourceChangedError, Terms, close, staged
from portability.archive.encryption import check_recipients
from portability.archive.transport import pack
from portability.archive.verification import verify_archive
from portability.archive.verifier_tree import LocalTree
from portability.census import census
from portability.errors import EvidenceError, PlaceError, UsageError
from portability.job import Job, Policy, Selection, overlap
from portability.ledger import NAME as LEDGER
from portability.ledger import Ledger
from portability.lock import FolderLock
from portability.migrate import migrate
from portability.outcome import CensusSummary, Outcome, printable
from portability.progress import Progress
from portability.seal import MANIFEST, read_back
from portability.shell import command_line
from portability.verify import describe

STATE = "archive.json"
Form = Literal["tar", "zip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What an export is asked to do."""

    source: Location
    to: Location
    """The place under which the archive gets a folder of its own."""
    practice: str = ""
    """Name of the practice in bag-info.txt and in the archive's name; by default the source's last name."""
    selection: Selection = field(default_factory=Selection)
    policy: Policy = field(default_factory=Policy)
    accepts: tuple[str, ...] = ()
    names: str = "utf8"
    path_limit: int = 240
    recipients: tuple[str, ...] = ()
    sha512: bool = False
    ro_crate: bool = False
    """Also describe the archive as RO-Crate 1.3 does."""
    signer: Signer | None = None
    timestamp: str | None = None
    """Address of a time-stamping authority that stamps the signature."""
    history: Path | None = None
    """The practice's history.jsonl; the archive carries a copy."""
    delta_from: Location | None = None
    """A full archive, in clear: what it holds unchanged is a line here, and no bytes."""
    form: Form | None = None
    """Also pack the closed archive into one file beside it; its place must be a folder of this machine."""
    work: Path | None = None
    """Folder in which the ledger lies while the export runs; by default beside the archive, or the current folder."""
    look: Callable[[Ledger], None] | None = None
    """Shown the ledger before the archive is closed, or is not because something is missing; the ledger goes afterwards."""


def export(asked: Export, *, progress: Progress | None = None) -> Outcome:
    """Write a closed archive, read back file by file, and say where it is. The same call goes on after any interruption.

    The errors of `migrate` pass; RefusedError if the payload could not be made whole: then nothing was closed.
    """
    job, terms = _prepared(asked)
    work = job.evidence
    try:
        outcome = finished(job) or migrate(job, progress=progress, sealer=partial(_close, terms, asked.look))
    except SourceChangedError:
        _drop(work)  # its census is of a source that is no more
        raise
    changed = _changed_since(work)
    if asked.form:
        _pack(terms.inner, terms.name, asked.form)
    if asked.history:
        _remember(asked.history, work, outcome)
    _drop(work)  # the archive holds all the evidence; the ledger has served
    shown = terms.inner.path if terms.inner.scheme == "file" else terms.inner.url
    return replace(
        outcome, evidence=shown, destination=terms.inner.url, next_step=_next_step(outcome, shown, changed, asked)
    )


def count(asked: Export, *, progress: Progress | None = None) -> CensusSummary:
    """List the source, and nothing more; `export` goes on from this listing, which lies in the work folder."""
    job, _ = _prepared(asked)
    return census(job, progress=progress)


def _prepared(asked: Export) -> tuple[Job, Terms]:
    """The work folder of this export, made or found, as the job and the terms that it stands for."""
    _check(asked)
    full = _full_archive(asked.delta_from, asked.policy.workers) if asked.delta_from else None
    work = work_folder(asked)
    try:
        work.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise PlaceError(
            f"the work folder {work} cannot be made: {error.strerror}", hint="choose one: --work"
        ) from error
    state = _state(asked, work)
    inner = below(asked.to, state["name"])
    destination = place.outer(
        inner,
        id=state["identifier"],
        names=asked.names,
        path_limit=str(asked.path_limit),
        recipients=",".join(asked.recipients),
        delta_from=asked.delta_from.url if asked.delta_from else "",
        delta_id=full or "",
    )
    job = Job(
        source=asked.source,
        destination=destination,
        evidence=work,
        selection=asked.selection,
        policy=asked.policy,
        accepts=asked.accepts,
    )
    terms = Terms(
        practice=practice(asked),
        name=state["name"],
        identifier=state["identifier"],
        inner=inner,
        names=asked.names,
        recipients=asked.recipients,
        sha512=asked.sha512,
        ro_crate=asked.ro_crate,
        signer=asked.signer,
        timestamp=asked.timestamp,
        history=asked.history,
        delta_of=full,
        settings=partial(settings, asked.source),
    )
    return job, terms


def _check(asked: Export) -> None:
    """What can be known to be wrong before anything is contacted. UsageError."""
    if overlap(asked.source, asked.to):  # before the work folder: nothing may be written into the source
        raise UsageError(
            f"--from and --to overlap: {asked.source} and {asked.to}", hint="export to a place outside of the source"
        )
    if asked.recipients:
        check_recipients(asked.recipients)
    if asked.form and asked.to.scheme != "file":
        raise UsageError(
            f"--{asked.form} writes one file, which no {asked.to.scheme} place takes as it comes",
            hint="export to a folder of this machine, then copy the file there",
        )
    if asked.delta_from and asked.recipients:
        raise UsageError("a delta cannot be encrypted: it would tell what did not change", hint="export a full archive")
    if asked.history:
        _history(asked.history)


def _full_archive(base: Location, workers: int | None) -> str:
    """The id of an archive that a delta may refer to: intact, in clear, and full. UsageError, EvidenceError."""
    result = verify_archive(base, workers=workers)
    if not result.intact or result.archive_id is None:
        raise EvidenceError(
            f"{base.url} is altered or incomplete: no delta may refer to it",
            hint="portability verify names every finding",
        )
    if result.encrypted or result.mode != "archive":
        raise UsageError("a delta refers to an archive in clear", hint="export a full archive")
    if result.needs:
        raise UsageError(
            f"{base.url} is a delta itself: a delta refers to a full archive",
            hint=f"name the one that it refers to: {', '.join(result.needs)}",
        )
    return result.archive_id


def _history(path: Path) -> list[Entry]:
    try:
        with path.open("rb") as lines:
            return list(read_history(lines, str(path)))
    except FileNotFoundError:
        return []  # this archive is the first
    except (OSError, FormatError) as error:
        raise UsageError(f"the history {path} cannot be taken: {error}") from error


def _remember(path: Path, work: Path, outcome: Outcome) -> None:
    """Add this archive to the practice's own history; the archive carries the lines before it."""
    archive = archive_id(file_sha256(staged(work) / TAG_LIST))
    entries = _history(path)
    if any(entry.archive == archive for entry in entries):
        return  # a run that was killed just afterwards has done it
    last = entries[-1] if entries else None
    result = "proven" if outcome.proven else "not proven"
    entries.append(append(last, type="export", result=result, time=time_text(datetime.now(UTC)), archive=archive))
    part = path.with_name(f"{path.name}.part")
    with create_private(part) as out:
        out.writelines(entry.to_line() + b"\n" for entry in entries)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)


def _drop(work: Path) -> None:
    """Remove the work folder; killed half-way, what is left of it is taken for no one's work."""
    gone = work.with_name(f"{work.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    work.rename(gone)
    shutil.rmtree(gone)


def _close(
    terms: Terms, look: Callable[[Ledger], None] | None, job: Job, ledger: Ledger, progress: Progress
) -> Summary:
    # What changed at the source after the census is not of this snapshot: it is told, and does not spoil its proof.
    with ledger.transaction():
        changed = ledger.query("SELECT count(*) FROM findings WHERE phase = 'closing'")[0][0]
        if changed:
            ledger.set("changed_since", str(changed))
        ledger.clear_findings("closing")
    if look:
        look(ledger)
    return close(terms, replace(job, destination=terms.inner), ledger, progress)


def _changed_since(work: Path) -> int:
    ledger = Ledger(work, read_only=True)
    try:
        return int(ledger.get("changed_since", "0"))
    finally:
        ledger.close()


def finished(job: Job) -> Outcome | None:
    """How a run ended that was killed after it, before its work folder was gone."""
    if not (job.evidence / LEDGER).exists():
        return None
    with FolderLock(job.evidence):
        ledger = Ledger(job.evidence)
        try:
            if ledger.get("phase") != "finished":
                return None
            summary = read_back(job.evidence / MANIFEST)
            verdict = judge(summary, findings=ledger.finding_count())
            return describe(verdict, summary, ledger, dict(summary.evidence), "", job.destination.url, 0.0)
        finally:
            ledger.close()


def _pack(inner: Location, name: str, form: Form) -> None:
    folder = Path(inner.path)
    file = folder.with_name(f"{name}.{form}")
    if not file.exists():  # a run that was killed just afterwards has packed it: it appears whole or not at all
        pack(LocalTree(folder), name, form, file)


def _next_step(outcome: Outcome, shown: str, changed: int, asked: Export) -> str:
    if changed:
        things = "1 thing" if changed == 1 else f"{changed:,} things"
        return f"{things} at the source changed after the census: export once more when it is quiet"
    if not outcome.proven:
        return f"look at why: {_verify(shown, asked)}"
    kept = "the root value and the fingerprint" if asked.signer else "the root value"
    step = f"keep {kept} on paper; check at any time with: {_verify(shown, asked)}"
    if asked.delta_from is None:
        return step
    return f"{step}\n    this archive is complete only together with that one: keep both"


def _verify(shown: str, asked: Export) -> str:
    """The command that checks the archive, as a shell takes it."""
    words = ["portability", "verify", shown]
    if base := asked.delta_from:
        words += ["--base", base.path if base.scheme == "file" else base.url]
    if asked.to.scheme != "file" and asked.to.credentials:
        words += ["--evidence-credentials", asked.to.credentials]
    return command_line(*words)


def practice(asked: Export) -> str:
    """The practice's name on one line: bag-info.txt takes no other, and a folder may be named in any bytes."""
    told = asked.practice or asked.source.host or Path(asked.source.path).name
    return printable(" ".join(told.split())) or "practice"


def below(location: Location, name: str) -> Location:
    """A folder of this name under a place."""
    return replace(location, path=f"{location.path.rstrip('/')}/{name}".removeprefix("" if location.path else "/"))


def work_folder(asked: Export) -> Path:
    """One for each archive that would be another: what lies in it is gone on with."""
    said = [
        asked.source.url,
        asked.to.url,
        asked.selection.statement(),
        practice(asked),
        asked.names,
        asked.path_limit,
        asked.recipients,
        asked.sha512,
        asked.ro_crate,
        asked.delta_from.url if asked.delta_from else None,
        asked.signer.public.fingerprint if asked.signer else None,
    ]
    name = f".portability-export-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]}"
    if asked.work:
        return asked.work / name
    # The ledger is clear: it must not lie for a while on the medium that an encrypted archive is made for.
    return Path(asked.to.path) / name if asked.to.scheme == "file" and not asked.recipients else Path(name)


def _state(asked: Export, work: Path) -> dict[str, str]:
    """Name and identifier of the archive under way: chosen once, so that an interrupted export goes on with it."""
    path = work / STATE
    if not path.exists():
        identifier = uuid.uuid4().urn
        name = folder_name(practice(asked), datetime.now(UTC), identifier)
        write_private(path, json.dumps({"name": name, "identifier": identifier}).encode())
    try:
        state: dict[str, str] = json.loads(path.read_bytes())
        return {"name": state["name"], "identifier": state["identifier"]}
    except (ValueError, KeyError) as error:
        raise EvidenceError(f"{path} is damaged", hint="remove the work folder and start the export again") from error


def settings(source: Location) -> dict[str, Any]:
    """What the source host says of its own settings, for source.json: a claim."""
    host = connect(source)
    try:
        told = host.settings() if isinstance(host, Configured) else {}
        return {"uri": source.url, "listed_by": source.scheme, **told}
    finally:
        host.close()

"""Export into an archive and restore out of one: migrations whose destination, or source, is an archive."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from connectors import Location, connect
from manifests.bagit import folder_name
from manifests.files import write_private
from portability.archive import place
from portability.archive.closing import Signer, Terms, close
from portability.archive.encryption import check_recipients, decrypted
from portability.archive.remote import ConnectorTree, Raw
from portability.archive.verifier import VerifierResult, verify_bag, verify_tree
from portability.errors import EvidenceError, UsageError
from portability.job import Job, Policy, Selection
from portability.migrate import migrate
from portability.outcome import Outcome
from portability.progress import Progress

STATE = "archive.json"


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
    signer: Signer | None = None
    history: Path | None = None
    work: Path | None = None
    """Folder for the ledger while the export runs; by default beside the archive, or in the current folder."""


def export(asked: Export, *, progress: Progress | None = None) -> Outcome:
    """Write a closed archive, read back file by file, and say where it is. The same call goes on after any interruption.

    The errors of `migrate` pass; RefusedError if the payload could not be made whole: then nothing was closed.
    """
    if asked.recipients:
        check_recipients(asked.recipients)
    work = asked.work or _work_folder(asked)
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    state = _state(asked, work)
    inner = below(asked.to, state["name"])
    destination = place.outer(
        inner,
        id=state["identifier"],
        names=asked.names,
        path_limit=str(asked.path_limit),
        recipients=",".join(asked.recipients),
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
        signer=asked.signer,
        history=asked.history,
        settings=partial(settings, asked.source),
    )
    outcome = migrate(job, progress=progress, sealer=partial(_close, terms))
    if asked.work is None:
        shutil.rmtree(work)  # the archive holds all the evidence; the ledger has served
    shown = inner.path if inner.scheme == "file" else inner.url
    return replace(outcome, evidence=shown, destination=inner.url, next_step=_next_step(outcome, shown))


def _close(terms: Terms, job: Job, ledger: Any, progress: Progress) -> Any:
    # What changed at the source after the census is not of this snapshot: it is told, and does not spoil its proof.
    with ledger.transaction():
        ledger.set("changed_since", str(len(ledger.query("SELECT 1 FROM findings WHERE phase = 'closing'"))))
        ledger.clear_findings("closing")
    return close(terms, job, ledger, progress)


def _next_step(outcome: Outcome, shown: str) -> str:
    if not outcome.proven:
        return f"look at why: portability verify {shown}"
    return f"keep the root value and the fingerprint on paper; check at any time with: portability verify {shown}"


def practice(asked: Export) -> str:
    return asked.practice or asked.source.host or Path(asked.source.path).name or "practice"


def below(location: Location, name: str) -> Location:
    """A folder of this name under a place."""
    return replace(location, path=f"{location.path.rstrip('/')}/{name}".removeprefix("" if location.path else "/"))


def _work_folder(asked: Export) -> Path:
    said = json.dumps([asked.source.url, asked.to.url, asked.selection.statement(), asked.names, asked.recipients])
    name = f".portability-export-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    return Path(asked.to.path) / name if asked.to.scheme == "file" else Path(name)


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
    """What the source host says of its own settings, for source.json; a claim, restored only by hand."""
    host: Any = connect(source)
    try:
        told: Callable[[], dict[str, Any]] | None = getattr(host, "settings", None)
        return {"uri": source.url, "listed_by": source.scheme, **(told() if told else {})}
    finally:
        host.close()


def verify_archive(
    archive: Location,
    *,
    signer: str | None = None,
    bases: tuple[Location, ...] = (),
    identity: str | None = None,
    workers: int | None = None,
    sink: Callable[[Any], None] | None = None,
) -> VerifierResult:
    """The strict verification of section 11, of a local folder or of a place at a host."""
    decrypt = partial(_decrypt, identity) if identity else None
    if archive.scheme == "file" and all(base.scheme == "file" for base in bases):
        paths = [Path(base.path) for base in bases]
        return verify_bag(Path(archive.path), signer=signer, bases=paths, decrypt=decrypt, workers=workers, sink=sink)
    trees = [ConnectorTree(place_) for place_ in (archive, *bases)]
    try:
        return verify_tree(trees[0], signer=signer, bases=trees[1:], decrypt=decrypt, workers=workers, sink=sink)
    finally:
        for tree in trees:
            tree.close()


def _decrypt(identity: str, body: Any) -> Any:
    return io.BufferedReader(Raw(decrypted(body, identity, host="the archive", key="")), 1 << 20)


def restore(
    archive: Location,
    to: Location,
    evidence: Path,
    *,
    signer: str | None = None,
    identity: str | None = None,
    base: Location | None = None,
    merge: bool = False,
    accepts: tuple[str, ...] = (),
    policy: Policy | None = None,
    progress: Progress | None = None,
    verified: Callable[[VerifierResult], None] | None = None,
) -> Outcome:
    """Verify the archive, then move what it holds to a place, with a manifest and a verdict of its own (section 15).

    EvidenceError if the archive is not intact: nothing was written. `verified` is told the verification's result.
    """
    started = time.monotonic()
    result = verify_archive(
        archive,
        signer=signer,
        bases=(base,) if base else (),
        identity=identity,
        workers=policy.workers if policy else None,
    )
    if verified:
        verified(result)
    if not result.intact:
        worst = next((finding for finding in result.findings if finding.exit_code), None)
        what = (
            f"{worst.rule} {worst.path}: expected {worst.expected}, found {worst.found}"
            if worst
            else "it is not intact"
        )
        raise EvidenceError(
            f"nothing was restored: the archive is altered or incomplete ({what})",
            hint="portability verify names every finding",
        )
    if result.encrypted and not identity:
        raise UsageError("the archive is encrypted", hint="name the file with your age identity: --identity FILE")
    if result.needs and base is None:
        raise UsageError(
            f"the archive is a delta of {', '.join(result.needs)}", hint="name that full archive: --base ARCHIVE"
        )
    source = place.outer(archive, identity=identity or "", base=base.url if base else "")
    already = result.summary.header.accepts if result.summary else ()
    job = Job(
        source=source,
        destination=to,
        evidence=evidence,
        policy=policy or Policy(),
        accepts=tuple(sorted({*accepts, *already})),
        merge=merge,
    )
    outcome = migrate(job, progress=progress)
    return replace(outcome, seconds=time.monotonic() - started)

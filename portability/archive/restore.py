"""Archives restored: a migration whose source is an archive that was verified first."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from connectors import Location
from connectors.registry import options
from portability.archive import place
from portability.archive.settings import HostSettings, check_settable, ends, host_settings, record
from portability.archive.transport import PackedTree, unpack
from portability.archive.verification import verify_archive
from portability.archive.verifier import VerifierResult
from portability.errors import EvidenceError, PlaceError, RefusedError, UsageError
from portability.job import Job, Policy, check
from portability.links import link
from portability.migrate import migrate, plan
from portability.outcome import Outcome, PlanSummary, printable
from portability.progress import Progress
from portability.seal import seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """What a restore is asked to do."""

    archive: Location
    to: Location
    evidence: Path
    signer: str | None = None
    identity: str | None = None
    base: Location | None = None
    """The full archive that a delta refers to."""
    merge: bool = False
    accepts: tuple[str, ...] = ()
    applies: tuple[str, ...] = ()
    """owner, acl, lock, settings; without it they stay in the evidence and in the archive."""
    policy: Policy = field(default_factory=Policy)
    verified: Callable[[VerifierResult], None] | None = None
    """Told the verification's result."""


def restore(asked: Restore, *, progress: Progress | None = None) -> Outcome:
    """Verify the archive, then move what it holds to a place, with a manifest and a verdict of its own (section 15).

    EvidenceError if the archive is not intact: nothing was written.
    """
    started = time.monotonic()
    with _intact(asked, progress, keep=True) as (job, settings, identifier):
        if settings:
            _refuse_obstructed(job)
        ended = settings.before() if settings else []
        outcome = migrate(job, progress=progress, sealer=partial(seal, archive=identifier))
        if settings:
            ended = list(ends([*ended, *settings.after(proven=outcome.proven)]))
            record(asked.evidence, settings, ended)
    return replace(outcome, source=_told(asked.archive), settings=tuple(ended), seconds=time.monotonic() - started)


def foresee(asked: Restore, *, progress: Progress | None = None) -> tuple[Job, PlanSummary]:
    """What `restore` would do. Verifies the archive, looks at the destination, and writes nothing there."""
    with _intact(asked, progress, keep=False) as (job, settings, _):
        would = ends(settings.looked_at()) if settings else ()
        return job, replace(plan(job, progress=progress), source=_told(asked.archive), settings=would)


def _refuse_obstructed(job: Job) -> None:
    """RefusedError where the move itself would be refused: what is set before it cannot always be taken back."""
    check(job)
    if job.merge or not any(True for _ in link(job.destination).list()):
        return
    if obstacle := plan(job).obstacle:
        raise RefusedError(
            f"nothing was moved, and nothing was set: {obstacle}", hint="look first: the same command with --dry-run"
        )


def _told(archive: Location) -> str:
    return archive.path if archive.scheme == "file" else archive.url


@contextmanager
def _intact(asked: Restore, progress: Progress | None, *, keep: bool) -> Iterator[tuple[Job, HostSettings | None, str]]:
    """The move out of an archive that was verified, the settings that go with it, and the archive's identifier.

    What was unpacked is removed after it; after an error only if it is not to be kept for the next try. Who only looks leaves
    what another restore has unpacked to that one.
    """
    to = _applying(asked.to, asked.applies)
    _refuse_evidence(asked.archive)
    theirs = not keep and _unpacking(asked.evidence).exists()
    unpacked = _unpacked(asked.archive, asked.evidence)
    done = not keep
    try:
        archive = unpacked or asked.archive
        result = verify_archive(
            archive,
            signer=asked.signer,
            bases=(asked.base,) if asked.base else (),
            identity=asked.identity,
            workers=asked.policy.workers,
        )
        if asked.verified:
            asked.verified(result)
        _refuse_unless_intact(result, asked.identity, asked.base)
        already = result.summary.header.accepts if result.summary else ()
        job = Job(
            source=place.outer(archive, identity=asked.identity or "", base=asked.base.url if asked.base else ""),
            destination=to,
            evidence=asked.evidence,
            policy=asked.policy,
            accepts=tuple(sorted({*asked.accepts, *already})),
            merge=asked.merge,
        )
        settings = host_settings(job) if "settings" in asked.applies else None
        if settings and progress and not settings.wanted:
            progress.note("--apply settings: the archive records none that could be put back")
        yield job, settings, result.summary.header.destination if result.summary else ""
        done = True
    finally:
        if unpacked and done and not theirs:
            shutil.rmtree(Path(unpacked.path).parent)


def _applying(to: Location, names: tuple[str, ...]) -> Location:
    """The destination, told to set what else only the evidence keeps. UsageError where that kind of place has no such thing."""
    if "settings" in names:
        check_settable(to)
    names = tuple(name for name in names if name != "settings")
    for name in names:
        if name not in options(to.scheme):
            raise UsageError(
                f"--apply {name}: {to.scheme} places have none to set",
                hint="leave it out: it stays in the evidence of the restore",
            )
    return replace(to, options={**to.options, **dict.fromkeys(names, "keep")})


def _refuse_evidence(archive: Location) -> None:
    """UsageError for the evidence of a migration: it proves, and holds nothing to restore."""
    folder = Path(archive.path)
    if archive.scheme == "file" and not (folder / "bagit.txt").exists() and (folder / "manifest.jsonl").exists():
        raise UsageError(
            f"{folder} is the evidence of a migration, not an archive: it holds no data",
            hint="to move the data on, with the attributes that this evidence keeps: portability migrate --using "
            f"{folder}; what can be restored is made by portability export",
        )


def _unpacking(evidence: Path) -> Path:
    return (evidence / "unpacked").absolute()


def _unpacked(archive: Location, evidence: Path) -> Location | None:
    """A transport unpacked beside the evidence, whole or not at all; None for an archive that is a folder."""
    file = Path(archive.path)
    if archive.scheme != "file" or not file.is_file():
        return None
    with PackedTree(file) as tree:
        name = tree.name
    folder = _unpacking(evidence)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise PlaceError(
            f"{folder} cannot be made: {error.strerror}", hint="choose another --evidence folder"
        ) from error
    if not (folder / name).exists():  # an interrupted restore has unpacked it
        unpack(file, folder)
    return replace(archive, path=str(folder / name))


def _refuse_unless_intact(result: VerifierResult, identity: str | None, base: Location | None) -> None:
    if result.mode != "archive":
        if not result.counts.payload_listed and not result.counts.tag_listed:
            raise EvidenceError(
                "that is no archive: there is no list of checksums",
                hint="name the folder that holds bagit.txt, or a tar or zip of it",
            )
        raise EvidenceError(
            "a bag of another program says nothing about keys and attributes: there is nothing to restore by",
            hint="its files are under data/; move them with: portability migrate",
        )
    if not result.intact:
        worst = max(result.findings, key=lambda finding: finding.exit_code)
        told = ", ".join(
            part
            for part in (
                f"expected {worst.expected}" if worst.expected else "",
                f"found {worst.found}" if worst.found else "",
            )
            if part
        )
        raise EvidenceError(
            f"nothing was restored: the archive is altered or incomplete ({worst.rule} {printable(worst.path)}: "
            f"{worst.message}{f'; {printable(told)}' if told else ''})",
            hint="portability verify names every finding",
        )
    if result.encrypted and not identity:
        raise UsageError("the archive is encrypted", hint="name the file with your age identity: --identity FILE")
    if result.needs:
        raise UsageError(
            f"valid; the data set is complete only together with {', '.join(result.needs)}",
            hint="--base names another archive" if base else "name that full archive: --base ARCHIVE",
        )

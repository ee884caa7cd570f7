"""The report of an archive: the strict verification of all its bytes, and what its manifest says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from connectors import Location
from manifests import bagit
from manifests.bagit import Severity
from manifests.errors import ManifestError
from manifests.manifest import ManifestReader
from manifests.provenance import Event, parse_provenance
from portability import __version__
from portability.archive.held import open_manifest
from portability.archive.transport import PackedTree
from portability.archive.verification import verify_archive
from portability.archive.verifier_lists import read_small
from portability.errors import EvidenceError, PlaceError
from portability.evidence import open_evidence
from portability.outcome import printable
from portability.report.details import Row, Sink
from portability.report.model import Amount, Finding, Report, Signature, Verdict
from portability.report.of_evidence import counted, rows_of
from portability.report.tally import Tally

if TYPE_CHECKING:
    from portability.archive.verifier import VerifierResult
    from portability.archive.verifier_findings import Finding as Broken


def of_archive(
    place: Location,
    text: str,
    *,
    made: str,
    sink: Sink,
    subject: str,
    signer: str | None = None,
    identity: str | None = None,
    bases: tuple[Location, ...] = (),
    workers: int | None = None,
) -> Report:
    """Verify the archive at `place` (written as `text`), and count what it holds."""

    def found(one: Broken) -> None:
        sink(Row(type="finding", name=one.rule, key=one.path, expected=one.expected, found=one.found or one.message))

    result = verify_archive(place, signer=signer, identity=identity, bases=bases, workers=workers, sink=found)
    base = Report(
        kind="archive",
        made=made,
        tool=__version__,
        subject=subject,
        verdict=_verdict(result),
        checked=made,
        findings=_findings(result.totals),
        archive_id=result.archive_id or "",
        encrypted=result.encrypted,
        signature=_signature(result),
    )
    whole = _counted(base, result, text, place.credentials, sink)
    info = dict(bagit.parse_bag_info(_small(text, bagit.BAG_INFO, place.credentials) or b"", lambda _: None))
    return replace(whole, practice=printable(info.get("Source-Organization", "")))


def _counted(base: Report, result: VerifierResult, text: str, credentials: str | None, sink: Sink) -> Report:
    """The manifest's lines, where they can be read; what arrived is what the verification found intact."""
    if result.summary is None:
        files = Amount(things=result.counts.payload_listed, bytes=result.counts.payload_bytes)
        missing = result.counts.payload_listed - result.counts.payload_intact
        return replace(base, found=files, moved=files, not_proven=files, lost=max(0, missing))
    tally = Tally(min((event.start for event in _events(text, credentials) if event.type == "export"), default=None))
    if not result.encrypted:
        with open_manifest(text, credentials=credentials) as stream:
            for line in ManifestReader(stream).lines():
                tally.add(line)
                rows_of(line, sink)
    else:
        tally.levels = Counter(result.summary.evidence)
        tally.bytes = Counter({level: result.summary.bytes for level in result.summary.evidence if level == "read"})
    report = counted(base, result.summary, tally)
    broken = result.counts.payload_listed - result.counts.payload_intact
    if not broken or base.verdict.state != "altered":
        return report
    # What was proven when the archive was closed is not there any more; the lines of these files are not known one by one.
    things = max(0, report.proven.things - broken)
    octets = report.proven.bytes if result.encrypted else min(report.proven.bytes, result.counts.payload_bytes)
    left = Amount(things=report.found.things - things, bytes=report.found.bytes - octets)
    return replace(
        report,
        lost=report.lost + result.counts.missing,
        proven=Amount(things=things, bytes=octets),
        not_proven=left,
        levels={**report.levels, "read": things, "none": report.levels.get("none", 0) + report.proven.things - things},
    )


def _verdict(result: VerifierResult) -> Verdict:
    reasons = result.verdict.reasons if result.verdict else ()
    if result.mode == "bag":
        reason = "a bag of another program: its lists can be checked, and it says nothing of what was at the source"
        code = result.exit_code or 3
        return Verdict(state="altered" if result.exit_code else "not-proven", exit_code=code, reasons=(reason,))
    if not result.exit_code:
        return Verdict(state="proven", exit_code=0)
    if not reasons:
        encrypted = result.encrypted and result.summary is None
        reasons = ("encrypted: without a key it is intact at most",) if encrypted else ()
    return Verdict(
        state="not-proven" if result.exit_code == 3 else "altered", exit_code=result.exit_code, reasons=reasons
    )


def _findings(totals: Mapping[tuple[str, Severity], int]) -> tuple[Finding, ...]:
    ordered = sorted(totals.items(), key=lambda item: (item[0][1] is not Severity.REJECT, int(item[0][0][1:])))
    return tuple(
        Finding(problem=rule, count=count, fails=severity is Severity.REJECT) for (rule, severity), count in ordered
    )


def _signature(result: VerifierResult) -> Signature | None:
    if result.signature is None:
        return None
    return Signature(state=result.signature.state.value, fingerprint=result.signature.fingerprint or "")


def _events(text: str, credentials: str | None) -> tuple[Event, ...]:
    data = _small(text, "metadata/provenance.json", credentials)
    try:
        return parse_provenance(data) if data else ()
    except ManifestError:
        return ()  # the verification has named the altered file


def _small(text: str, name: str, credentials: str | None) -> bytes | None:
    path = Path(text)
    with ExitStack() as stack:
        if "://" not in text and path.is_file():
            return read_small(stack.enter_context(PackedTree(path)), name)
        try:
            file: BinaryIO = stack.enter_context(open_evidence(text, name, credentials=credentials))
        except (EvidenceError, PlaceError):
            return None
        return file.read(1 << 24)

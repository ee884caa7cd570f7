"""The report of a migration, from its evidence folder alone: sealed evidence is read strictly, unsealed is never proven."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from manifests import canonical
from manifests.canonical import text_of, time_text
from manifests.manifest import ManifestReader, Summary
from manifests.provenance import Event, parse_provenance
from manifests.sums import sums_agree
from manifests.tree import Checkpoint
from manifests.verdict import judge
from portability import __version__
from portability.errors import EvidenceError, PlaceError
from portability.evidence import local_folder, open_evidence
from portability.ledger import NAME, Ledger
from portability.report.details import Row, Sink
from portability.report.model import Amount, Finding, Report, Verdict
from portability.report.tally import Tally

MANIFEST = "manifest.jsonl"
DIFFERENCES = ("missing", "unexpected", "size", "digest", "metadata", "unreadable")
"""Problems that were seen at the destination; the others are of the source, or of the way."""


@dataclass(slots=True)
class Known:
    """What is known of the findings, beside the manifest."""

    problems: Counter[str] = field(default_factory=Counter)
    told: bool = False
    """Whether the end of a verification stands somewhere."""
    failed: int = 0
    """Findings that the provenance counts."""
    word: str = ""
    """The verdict in the ledger."""


def of_evidence(evidence: str, *, credentials: str | None, made: str, sink: Sink, subject: str) -> Report:
    """What the evidence folder of a run says. ManifestError, EvidenceError for damage; nothing at the places is looked at."""
    folder = local_folder(evidence)
    base = Report(
        kind="migration",
        made=made,
        tool=__version__,
        subject=subject,
        verdict=Verdict(state="unfinished", exit_code=3),
    )
    if folder is not None and (folder / NAME).is_file() and not _holds(evidence, MANIFEST, credentials):
        return _unfinished(base, Ledger(folder, read_only=True), sink)
    events = _events(evidence, credentials)
    moving = [event for event in events if event.type in {"transfer", "restore", "export"}]
    tally = Tally(min((event.start for event in moving), default=None))
    with open_evidence(evidence, MANIFEST, credentials=credentials) as stream:
        reader = ManifestReader(stream, MANIFEST)
        agree = _sums_agree(evidence, credentials, _watched(reader, tally, sink))
    known = _known(evidence, credentials, events, sink)
    disagree = _disagreement(evidence, credentials, reader.summary, agree)
    return _sealed_report(base, reader.summary, tally, known, events, disagree)


def rows_of(line: Mapping[str, Any], sink: Sink) -> None:
    """The details of a receipt: that it was skipped, and what it lost."""
    if line["kind"] == "skipped":
        sink(Row(type="skipped", name=line["reason"], key=text_of(line, "key")))
    for loss in line.get("losses", ()):
        sink(Row(type="loss", name=loss["name"], key=text_of(line, "key")))


def counted(base: Report, summary: Summary, tally: Tally) -> Report:
    """What every manifest tells, whoever holds it: amounts, levels, losses, folders, throughput, and the values for paper."""
    header, census = summary.header, summary.header.census
    found = Amount(things=census.lines, bytes=census.bytes)
    moved = tally.amount("read", "reported", "listed", "none")
    proven = tally.amount("read")
    missing = max(0, found.things - moved.things)
    return replace(
        base,
        job=header.job,
        source=header.source,
        destination=header.destination,
        created=header.created,
        counted=census.at,
        found=found,
        moved=moved,
        proven=proven,
        not_proven=Amount(things=max(0, found.things - proven.things), bytes=max(0, found.bytes - proven.bytes)),
        lost=missing,
        kinds=dict(census.kinds),
        selection="" if header.selection is None else canonical.dumps(dict(header.selection)).decode(),
        demands=header.demands,
        levels={**summary.evidence, **({"none": missing} if missing else {})},
        skipped=dict(summary.skipped),
        accepted=header.accepts,
        losses=dict(summary.losses),
        gone=dict(tally.gone),
        folders=tally.folders(),
        throughput=tally.throughput(),
        retries=tally.tries,
        root=summary.root,
        manifest_sha256=summary.sha256,
    )


def _holds(evidence: str, name: str, credentials: str | None) -> bool:
    folder = local_folder(evidence)
    if folder is not None and folder.is_file():
        return name == MANIFEST  # the manifest alone was named
    try:
        with open_evidence(evidence, name, credentials=credentials):
            return True
    except EvidenceError:
        return False
    except PlaceError:
        if folder is not None:
            raise
        return (
            False  # a web server answers so for what is not there; the manifest itself is opened without this question
        )


def _sealed_report(
    base: Report, summary: Summary, tally: Tally, known: Known, events: tuple[Event, ...], disagree: tuple[str, ...]
) -> Report:
    report = counted(base, summary, tally)
    findings = max(known.problems.total(), known.failed)
    verdict = judge(summary, findings=findings, unchecked=0 if known.told else summary.count)
    reasons, code = [*disagree, *verdict.reasons], verdict.exit_code
    if not known.told and not disagree:
        code = max(code, 3)
    if verdict.proven and known.word == "NOT PROVEN":
        reasons.append("the ledger beside the manifest says NOT PROVEN")
        code = 3
    if code == 4 and not any(known.problems[name] for name in DIFFERENCES) and known.problems:
        code = 3  # nothing differs at the destination; something did not get there
    if disagree:
        code = 6
    checked = max((event.end for event in events if event.type == "verification"), default=None)
    return replace(
        report,
        verdict=Verdict(
            state="proven" if not reasons else "altered" if code in {4, 6} else "not-proven",
            exit_code=code,
            reasons=tuple(reasons),
        ),
        checked=time_text(checked) if checked else "",
        findings=tuple(Finding(problem=name, count=count) for name, count in sorted(known.problems.items())),
    )


def _events(evidence: str, credentials: str | None) -> tuple[Event, ...]:
    data = _small(evidence, "provenance.json", credentials)
    return parse_provenance(data) if data is not None else ()


def _small(evidence: str, name: str, credentials: str | None) -> bytes | None:
    if not _holds(evidence, name, credentials):
        return None
    with open_evidence(evidence, name, credentials=credentials) as stream:
        return stream.read(1 << 24)


def _known(evidence: str, credentials: str | None, events: tuple[Event, ...], sink: Sink) -> Known:
    """Findings as the ledger has them, or else the findings file; never fewer than the provenance counts."""
    known = Known()
    for event in events:
        if event.type == "verification":
            known.told, known.failed = True, event.counts.get("failed", 0)
    folder = local_folder(evidence)
    if folder is not None and (folder / NAME).is_file():
        ledger = Ledger(folder, read_only=True)
        try:
            known.word = ledger.get("verdict")
            for finding in ledger.findings():
                known.problems[finding.problem] += 1
                sink(_row(finding.problem, finding.key, finding.expected, finding.found))
        finally:
            ledger.close()
        return known
    for plain in _findings_file(evidence, credentials):
        known.problems[str(plain.get("problem", "unreadable"))] += 1
        sink(_row(*(str(plain.get(name, "")) for name in ("problem", "key", "expected", "found"))))
    return known


def _row(problem: str, key: str, expected: str, found: str) -> Row:
    return Row(type="finding", name=problem, key=key, expected=expected, found=found)


def _findings_file(evidence: str, credentials: str | None) -> Iterator[dict[str, Any]]:
    if not _holds(evidence, "findings.jsonl", credentials):
        return
    with open_evidence(evidence, "findings.jsonl", credentials=credentials) as stream:
        for line in stream:
            try:
                plain = json.loads(line)
            except ValueError as error:
                raise EvidenceError("findings.jsonl is damaged: a line is not JSON") from error
            if not isinstance(plain, dict):
                raise EvidenceError("findings.jsonl is damaged: a line is not a finding")
            yield plain


def _watched(reader: ManifestReader, tally: Tally, sink: Sink) -> Iterator[dict[str, Any]]:
    """The lines, each counted as it passes: a million of them are read once."""
    for line in reader.lines():
        tally.add(line)
        rows_of(line, sink)
        yield line


def _sums_agree(evidence: str, credentials: str | None, lines: Iterator[dict[str, Any]]) -> bool:
    """Whether SHA256SUMS is that of the lines, or not there; the lines are read to their end."""
    if not _holds(evidence, "SHA256SUMS", credentials):
        deque(lines, maxlen=0)
        return True
    with open_evidence(evidence, "SHA256SUMS", credentials=credentials) as sums:
        return sums_agree(lines, sums)


def _disagreement(evidence: str, credentials: str | None, summary: Summary, sums: bool) -> tuple[str, ...]:
    """Files beside the manifest that say something else."""
    wrong = []
    told = _small(evidence, "checkpoint.txt", credentials)
    if told is not None and Checkpoint.from_bytes(told) != summary.checkpoint:
        wrong.append("checkpoint.txt is not the one of this manifest")
    if not sums:
        wrong.append("SHA256SUMS is not the one of this manifest")
    return tuple(wrong)


def _unfinished(base: Report, ledger: Ledger, sink: Sink) -> Report:
    """A run whose manifest was never sealed: what its ledger counts is reported, and nothing of it is proven."""
    try:
        identity: dict[str, Any] = ledger.get_json("identity") or {}
        census = ledger.get_json("census") or {}
        stored = "state = 'moved' AND action IN ('copy', 'chain', 'park')"
        moved = Amount(things=ledger.count(stored), bytes=ledger.total("bytes", stored))
        found = Amount(things=census.get("lines", ledger.count()), bytes=census.get("bytes", ledger.total("size")))
        for finding in ledger.findings():
            sink(_row(finding.problem, finding.key, finding.expected, finding.found))
        problems = dict(ledger.query("SELECT problem, count(*) FROM findings GROUP BY 1 ORDER BY 1"))
        return replace(
            base,
            verdict=Verdict(state="unfinished", exit_code=3, reasons=("the run was not finished: nothing was sealed",)),
            job=ledger.get("job"),
            source=str(identity.get("source", "")),
            destination=str(identity.get("destination", "")),
            counted=ledger.get("census_at"),
            found=found,
            moved=moved,
            not_proven=found,
            lost=max(0, found.things - moved.things),
            kinds=census.get("kinds", {}),
            skipped=ledger.tally("ifnull(reason, 'other')", "action = 'skip'"),
            findings=tuple(Finding(problem=name, count=count) for name, count in problems.items()),
        )
    finally:
        ledger.close()

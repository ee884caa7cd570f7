"""What a verification of an archive found, as text for people, verdict first, and as records for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from portability.cli.results import Row, block, fact_lines, listing, page
from portability.cli.words import number, size_text, table
from portability.outcome import printable

if TYPE_CHECKING:
    from portability.archive.verifier import VerifierResult
    from portability.archive.verifier_findings import Finding

_STATES = {"valid": "valid", "absent": "not signed: damage shows, forgery does not"}


def archive_text(result: VerifierResult, archive: str) -> str:
    """The verdict, what was counted, each finding with its rule, and the fingerprint with what it proves."""
    from portability.archive.verifier import FINGERPRINT_TEXT

    counts = result.counts
    rows: list[Row] = [
        ("description files", f"{number(counts.tag_intact)} of {number(counts.tag_listed)}", "", "intact"),
        (
            "data files",
            f"{number(counts.payload_intact)} of {number(counts.payload_listed)}",
            size_text(counts.payload_bytes),
            "intact",
        ),
        ("missing", number(counts.missing), "", ""),
        ("extra", number(counts.extra), "", ""),
    ]
    if counts.litter:
        rows.append(("left behind", number(counts.litter), "", "by a file manager; harmless"))
    if counts.recomposed:
        rows.append(("recomposed", number(counts.recomposed), "", "names whose accents are spelled otherwise now"))
    signature = result.signature
    facts = [("archive", archive), ("archive id", result.archive_id or ""), ("root", _root(result))]
    if signature is not None:
        told = _STATES.get(signature.state.value, signature.reason)
        facts.append(("signature", told))
        facts.append(("signed by", signature.fingerprint or ""))
    shown = list(FINGERPRINT_TEXT.values()) if signature is not None and signature.fingerprint else []
    return page(
        click.style(headline_of(result), fg="green" if not result.exit_code else "red", bold=True),
        sentence_of(result),
        table(rows),
        listing("Findings", [_row(finding) for finding in result.findings], sum(result.totals.values())),
        fact_lines(facts),
        block("About the fingerprint", [f"  {text}" for text in shown]),
    )


def archive_records(result: VerifierResult, archive: str) -> Iterator[dict[str, Any]]:
    """One record for the archive, then one for each finding."""
    counts = result.counts
    yield {
        "type": "archive",
        "archive": archive,
        "verdict": headline_of(result),
        "sentence": sentence_of(result),
        "proven": bool(result.verdict and result.verdict.proven and not result.exit_code),
        "intact": result.intact,
        "exit_code": result.exit_code,
        "mode": result.mode,
        "archive_id": result.archive_id,
        "root": _root(result) or None,
        "encrypted": result.encrypted,
        "needs": list(result.needs),
        "signature": result.signature.state.value if result.signature else None,
        "fingerprint": result.signature.fingerprint if result.signature else None,
        "counts": {name: getattr(counts, name) for name in type(counts).__dataclass_fields__},
        "finding_count": sum(result.totals.values()),
    }
    yield from (finding_record(finding) for finding in result.findings)


def finding_record(finding: Finding) -> dict[str, Any]:
    """A finding in JSON values, names without active characters."""
    return {
        "type": "finding",
        "rule": finding.rule,
        "severity": finding.severity.name.lower(),
        "path": printable(finding.path),
        "line": finding.line,
        "message": printable(finding.message),
        "expected": printable(finding.expected),
        "found": printable(finding.found),
    }


def headline_of(result: VerifierResult) -> str:
    """The verdict in a few words."""
    if not result.exit_code:
        return "INTACT AND PROVEN" if result.mode == "archive" else "INTACT"
    if result.exit_code == 3:
        return "INTACT, NOT PROVEN"
    rejecting = {rule for (rule, level), count in result.totals.items() if count and level.name == "REJECT"}
    return "NOT SIGNED AS DEMANDED" if rejecting == {"V22"} else "ALTERED OR INCOMPLETE"


def sentence_of(result: VerifierResult) -> str:
    """What the verdict rests on."""
    if result.needs and result.exit_code == 3:
        return f"valid; the data set is complete only together with {', '.join(result.needs)}"
    if result.encrypted and result.verdict is None and result.intact:
        return "encrypted: without its key (--identity) an archive is at most intact and signed"
    if result.exit_code > 3:
        return "do not restore from this copy; fetch another one"
    if result.mode == "bag":
        return (
            "a bag of another program: its files are those of its lists; it holds no evidence of where they come from"
        )
    if result.verdict is None:
        return ""
    return printable(str(result.verdict)).removeprefix(f"{result.verdict.word}: ")


def _root(result: VerifierResult) -> str:
    return result.summary.root if result.summary else ""


def _row(finding: Finding) -> tuple[str, str, str]:
    where = printable(finding.path) + (f":{finding.line}" if finding.line is not None else "")
    parts = (
        finding.message,
        f"expected {finding.expected}" if finding.expected else "",
        f"found {finding.found}" if finding.found else "",
    )
    return finding.rule, where, printable(", ".join(part for part in parts if part))

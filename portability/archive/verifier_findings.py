"""Findings of the verifier: which rule, where, what was expected and found; and the exit code that they amount to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from manifests.bagit import Mode, Problem, Severity, severity

KEPT = 1000
"""Findings kept in memory; all of them are counted, and all go to the sink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken rule of section 11 (V1 to V22). `path` can name a patient: it goes to the person, not into a log."""

    rule: str
    severity: Severity
    message: str
    path: str = ""
    """Relative to the archive; for a malformed line the list, for a line of the manifest the manifest."""
    line: int | None = None
    expected: str = ""
    found: str = ""

    @property
    def exit_code(self) -> int:
        """What this finding alone amounts to."""
        if self.severity is Severity.WARN:
            return 0
        if self.rule == "V21":
            return 3
        payload = self.rule == "V15" and self.path.startswith("data/")
        return 4 if payload or self.rule in {"V12", "V13"} else 6


class Findings:
    """Collects findings: counts all, keeps the first ones, hands each to a sink as it comes."""

    def __init__(self, mode: Mode, sink: Callable[[Finding], None] | None = None) -> None:
        self.mode: Mode = mode
        self.kept: list[Finding] = []
        self.counts: Counter[tuple[str, Severity]] = Counter()
        self.exit_code = 0
        self.payload = 0
        """Rejections of payload files: missing, different, too many."""
        self._sink = sink

    def add(
        self,
        rule: str,
        message: str,
        path: str = "",
        *,
        level: Severity | None = None,
        line: int | None = None,
        expected: str = "",
        found: str = "",
    ) -> None:
        """Count one; its severity is that of section 11 unless `level` says otherwise."""
        finding = Finding(
            rule=rule,
            severity=level or severity(rule, self.mode),
            message=message,
            path=path,
            line=line,
            expected=expected,
            found=found,
        )
        self.counts[rule, finding.severity] += 1
        self.exit_code = max(self.exit_code, finding.exit_code)
        self.payload += finding.exit_code == 4 and path.startswith("data/")
        if len(self.kept) < KEPT:
            self.kept.append(finding)
        if self._sink is not None:
            self._sink(finding)

    def problem(self, problem: Problem) -> None:
        """What the grammar of tag files found."""
        place = problem.path if problem.rule == "V15" else problem.file
        shown = repr(problem.path) if problem.path is not None else ""
        self.add(
            problem.rule, problem.message, place or problem.file, level=problem.severity, line=problem.line, found=shown
        )

    @property
    def rejected(self) -> int:
        """Number of findings that reject."""
        return sum(count for (_, level), count in self.counts.items() if level is Severity.REJECT)

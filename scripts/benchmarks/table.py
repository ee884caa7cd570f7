"""Measures as a table for people, on the terminal and in Markdown."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.contenders import LEVELS, RCLONE_FLAGS, Measure, versions

HEAD = ("case", "load", "who", "wall s", "CPU s", "peak MiB (largest)", "wall ratio", "CPU ratio", "goal")
READING = """\
Told as median [least - most] of whole processes in turn (A B A B). Ratio: our median by the contender's; below 1 we are \
ahead. Goal: our wall (and CPU) by the best peer's. CPU: user + system of the client's whole process tree. Peak: the sum \
of the resident memory of all its processes, shared pages counted each time, and the largest process."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured of one case: the first contender is ours."""

    case: Case
    load: str
    measures: Mapping[str, tuple[Measure, ...]]

    def ratios(self, peer: str) -> tuple[float | None, float | None]:
        """Our medians by a peer's: wall and CPU."""
        mine, other = (self.measures[name] for name in (next(iter(self.measures)), peer))
        return (
            _ratio([one.wall for one in mine], [one.wall for one in other]),
            _ratio([one.cpu for one in mine], [one.cpu for one in other]),
        )

    def goal(self) -> str:
        """The goal and whether it was met by the best peer's figures."""
        if self.case.wall is None:
            return ""
        ratios = [self.ratios(peer) for peer in list(self.measures)[1:]]
        said = []
        for at, (name, limit) in enumerate((("wall", self.case.wall), ("CPU", self.case.cpu))):
            found = max((ratio[at] for ratio in ratios if ratio[at] is not None), default=None)
            if limit is not None and found is not None:
                said.append(f"{name} {limit:.2f}: {'met' if found <= limit else f'missed by {found - limit:.2f}'}")
        return ", ".join(said)


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    lines = []
    for result in results:
        for number, (who, measures) in enumerate(result.measures.items()):
            if number == 0:
                lines.append((str(result.case), result.load, who, *told(measures), "", "", result.goal()))
            else:
                ratios = ("-" if ratio is None else f"{ratio:.2f}" for ratio in result.ratios(who))
                lines.append(("", "", who, *told(measures), *ratios, ""))
    return lines


def aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(results: Sequence[Result], notes: Sequence[str]) -> str:
    lines = ["| " + " | ".join(line) + " |" for line in (HEAD, ("---",) * len(HEAD), *rows(results))]
    return "\n".join(["# Measured in turn with its peers", "", *lines, "", *(f"- {note}" for note in notes), ""])


def notes(server: str, scratch: str, seconds: float, left_out: Sequence[str]) -> list[str]:
    """All that a reader needs to judge the numbers, and what was not measured."""
    load = f", load average {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    flags = "; ".join(f"{name}: {' '.join(words)}" for name, words in RCLONE_FLAGS.items())
    own = ", ".join(f"{name} {version(name)}" for name in ("portability-toolkit", "boto3", "paramiko"))
    machine = (
        f"{_processor()}, {os.cpu_count()} cores shared by client and servers, {platform.system()} {platform.release()}"
    )
    missing = ["a network's latency (see --latency)", "TLS", "the disks (where the scratch is in memory)", *left_out]
    return [
        f"Machine: {machine}{load}.",
        f"Versions: {own}, Python {platform.python_version()}; {'; '.join(versions())}.",
        f"S3 server: {server}. SFTP server: OpenSSH sshd. Scratch: {scratch}. Whole benchmark: {seconds:.0f} s.",
        f"rclone's flags: {flags}. The others and ours: the defaults, but OpenSSH with aes128-gcm.",
        *(f"Level `{name}`: {text}" for name, text in LEVELS.items()),
        READING,
        f"Not measured: {', '.join(missing)}.",
    ]


def told(measures: Sequence[Measure]) -> tuple[str, str, str]:
    peaks = [one.memory for one in measures if one.memory is not None]
    largest = [one.largest for one in measures if one.largest is not None]
    memory = f"{max(peaks) >> 20} ({max(largest) >> 20})" if peaks and largest else "-"
    return _spread([one.wall for one in measures]), _spread([one.cpu for one in measures]), memory


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.2f} [{min(known):.2f} - {max(known):.2f}]" if known else "-"


def _ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> float | None:
    mine = [value for value in ours if value is not None]
    yours = [value for value in theirs if value is not None]
    return statistics.median(mine) / statistics.median(yours) if mine and yours else None


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
        return next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()

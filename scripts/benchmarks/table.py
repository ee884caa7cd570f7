"""Measures as a table for people, on the terminal and in Markdown."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import servers

from benchmarks.contenders import OURS, PROOFS, RCLONE_FLAGS, Measure

HEAD = ("case", "load", "who", "wall s", "CPU s", "peak MiB (largest)", "wall ratio", "CPU ratio")
READING = """\
Told as median [least - most] of whole processes in turn (A B A B). Ratio: our median by rclone's; below 1 we are ahead. \
CPU: user + system of the client's whole process tree. Peak: the sum of the resident memory of all its processes, shared \
pages counted each time, and the largest process."""


@dataclass(frozen=True, kw_only=True)
class Result:
    case: str
    load: str
    ours: tuple[Measure, ...]
    rclone: tuple[Measure, ...]


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    lines = []
    for result in results:
        wall = _ratio([one.wall for one in result.ours], [one.wall for one in result.rclone])
        cpu = _ratio([one.cpu for one in result.ours], [one.cpu for one in result.rclone])
        lines.append((result.case, result.load, "portability", *_told(result.ours), wall, cpu))
        lines.append(("", "", "rclone", *_told(result.rclone), "", ""))
    return lines


def aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(results: Sequence[Result], notes: Sequence[str]) -> str:
    lines = ["| " + " | ".join(line) + " |" for line in (HEAD, ("---",) * len(HEAD), *rows(results))]
    return "\n".join(["# Measured against rclone", "", *lines, "", *(f"- {note}" for note in notes), ""])


def notes(server: str, scratch: str, proof: str, seconds: float) -> list[str]:
    """All that a reader needs to judge the numbers."""
    load = f", load average {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    flags = "; ".join(f"{name}: {' '.join(words)}" for name, words in RCLONE_FLAGS.items())
    rclone = subprocess.run([servers.program("rclone"), "version"], capture_output=True, text=True, check=True)
    versions = ", ".join(f"{name} {version(name)}" for name in ("portability-toolkit", "boto3", "paramiko"))
    machine = (
        f"{_processor()}, {os.cpu_count()} cores shared by client and servers, {platform.system()} {platform.release()}"
    )
    return [
        f"Machine: {machine}{load}.",
        f"Versions: {versions}, Python {platform.python_version()}, {rclone.stdout.splitlines()[0]}.",
        f"S3 server: {server}. SFTP server: OpenSSH sshd. Scratch: {scratch}. Whole benchmark: {seconds:.0f} s.",
        f"rclone's flags: {flags}. Ours: the defaults.",
        f"{OURS} {PROOFS[proof]}",
        READING,
        "Not measured: a network's latency, TLS, the disks (where the scratch is in memory), servers under other load.",
    ]


def _told(measures: Sequence[Measure]) -> tuple[str, str, str]:
    peaks = [one.memory for one in measures if one.memory is not None]
    largest = [one.largest for one in measures if one.largest is not None]
    memory = f"{max(peaks) >> 20} ({max(largest) >> 20})" if peaks and largest else "-"
    return _spread([one.wall for one in measures]), _spread([one.cpu for one in measures]), memory


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.2f} [{min(known):.2f} - {max(known):.2f}]" if known else "-"


def _ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> str:
    mine = [value for value in ours if value is not None]
    yours = [value for value in theirs if value is not None]
    return f"{statistics.median(mine) / statistics.median(yours):.2f}" if mine and yours else "-"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
        return next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()

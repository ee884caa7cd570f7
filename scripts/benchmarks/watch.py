"""Run one command and watch its whole process tree: wall time, CPU time, memory. `watch.py RESULT -- COMMAND …`."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

try:
    import resource
except ImportError:  # Windows: wall time only
    resource = None  # type: ignore[assignment]

EVERY = 0.1
_BECOME_REAPER = 36
"""Linux's PR_SET_CHILD_SUBREAPER."""


def adopt_orphans() -> None:
    """Make the children of children that end first ours: otherwise nobody would count a fork server's CPU time."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_BECOME_REAPER, 1, 0, 0, 0)


def resident(parent: int) -> tuple[int, int]:
    """Resident bytes of all processes beneath `parent`: their sum (shared pages counted each time), and the largest."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended just now
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    sizes = []
    for process in parents:
        above = process
        while above in parents and above != parent:
            above = parents[above]
        if above == parent and process != parent:
            with contextlib.suppress(OSError):
                pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
                sizes.append(pages * os.sysconf("SC_PAGE_SIZE"))
    return sum(sizes), max(sizes, default=0)


def watch(command: list[str]) -> dict[str, float | int | None]:
    """Run the command to its end and the end of all that it started."""
    adopt_orphans()
    ended = threading.Event()
    peaks = [0, 0]

    def sample() -> None:
        while not ended.wait(EVERY):
            peaks[:] = map(max, peaks, resident(os.getpid()))

    sampler = threading.Thread(target=sample, daemon=True)
    if sys.platform == "linux":
        sampler.start()
    began = time.monotonic()
    code = subprocess.Popen(command).wait()
    wall = time.monotonic() - began
    while hasattr(os, "waitpid"):
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    ended.set()
    cpu = None
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime
    return {"code": code, "wall": wall, "cpu": cpu, "sum": peaks[0] or None, "largest": peaks[1] or None}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(watch(sys.argv[3:])), "utf-8")

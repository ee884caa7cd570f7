"""How time, memory and evidence grow with the number of objects: every phase at 10^4, 10^5 and 10^6; `scripts/bench scale`.

Objects are tiny and made up (see `simulated`), so that what is measured is our own work and not a host's. `--tree` moves
files between folders instead; an export always writes a real folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent.parent
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
LIMIT = 256 << 20
"""Resident bytes that no process may exceed in any phase, however many objects there are."""
RATIO = 1.3
"""How much more time an object may take among the most than among the fewest."""


@dataclass
class Phase:
    """One phase of a run, as its own process (the driver) and the processes beneath it saw it."""

    name: str
    wall: float = 0.0
    driver: float = 0.0
    """CPU seconds of the driver."""
    workers: float = 0.0
    """CPU seconds of all others."""
    rss: int = 0
    """Largest resident size of the driver, bytes."""
    worker: int = 0
    """Largest resident size of any of the others."""


class Watch:
    """A progress that measures what it is told of instead of showing it."""

    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self._began = 0.0, 0.0
        self._below: dict[int, float] = {}
        self._open = False

    def phase(self, name: str, items: int | None = None, size: int | None = None) -> None:
        self.done()
        _forget_peak()
        self.phases.append(Phase(name=name))
        self._below = {process: cpu for process, cpu, _ in _descendants(os.getpid())}
        self._began = time.monotonic(), time.process_time()
        self._open = True

    def done(self) -> None:
        if not self._open:
            return
        self._open = False
        phase = self.phases[-1]
        phase.wall = time.monotonic() - self._began[0]
        phase.driver = time.process_time() - self._began[1]
        below = _descendants(os.getpid())
        phase.workers = sum(cpu - self._below.get(process, 0.0) for process, cpu, _ in below)
        phase.rss = _peak("self")
        phase.worker = max((peak for process, cpu, peak in below if cpu > self._below.get(process, 0.0)), default=0)

    def step(self, items: int = 0, size: int = 0) -> None: ...

    def note(self, text: str) -> None: ...


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    except OSError:
        pass  # not Linux: peaks are of the run so far


def _peak(process: str) -> int:
    try:
        told = Path(f"/proc/{process}/status").read_text("ascii", "replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in told.splitlines() if line.startswith("VmHWM")), 0)


def _descendants(parent: int) -> list[tuple[int, float, int]]:
    """Number, CPU seconds and peak bytes of the processes beneath. A phase's workers are still there when it is done."""
    found: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").iterdir() if Path("/proc").exists() else ():
        if entry.name.isdecimal():
            try:
                told = (entry / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
            except OSError:
                continue
            found[int(entry.name)] = int(told[1]), (int(told[11]) + int(told[12])) / _TICK
    below = []
    for process, (above, cpu) in found.items():
        while above in found and above != parent:
            above = found[above][0]
        if above == parent and process != parent:
            below.append((process, cpu, _peak(str(process))))
    return below


# -- one run, in a process of its own -------------------------------------------------------------------------------


def run(what: str, count: int, folder: Path, *, tree: bool) -> dict[str, Any]:
    """Do it in this process and tell what each phase took."""
    from connectors.location import Location
    from portability.job import Job

    watch = Watch()
    if tree:
        source, destination = Location.parse(str(folder / "source")), Location.parse(str(folder / "destination"))
    else:
        state = folder / "state"
        source = Location.parse(f"simulated:///source?count={count}")
        destination = Location.parse(f"simulated:///destination?count={count}&state={state}")
        if not state.exists():
            with state.open("wb") as file:
                file.truncate(count)
    began = time.monotonic(), time.process_time()
    sizes: dict[str, int] = {}
    if what == "migrate":
        from portability.migrate import migrate

        outcome = migrate(Job(source=source, destination=destination, evidence=folder / "evidence"), progress=watch)
        assert outcome.proven, outcome.reasons
        sizes = {path.name: path.stat().st_size for path in (folder / "evidence").iterdir() if path.is_file()}
    elif what == "verify":
        from portability.verify import verify

        assert verify(str(folder / "evidence"), progress=watch).proven
    elif what == "export":
        from portability.archive.export import Export, export

        asked = Export(source=source, to=Location.parse(str(folder / "exports")), practice="scale")
        assert export(asked, progress=watch).proven
        (archive,) = (folder / "exports").glob("portability-*")
        sizes = {name: (archive / name).stat().st_size for name in ("metadata/manifest.jsonl", "manifest-sha256.txt")}
    else:
        from portability.archive.verifier import verify_bag

        (archive,) = (folder / "exports").glob("portability-*")
        watch.phase("verify the archive")
        assert verify_bag(archive).exit_code == 0
        watch.done()
    wall, cpu = time.monotonic() - began[0], time.process_time() - began[1]
    return {
        "what": what,
        "count": count,
        "wall": wall,
        "driver": cpu,
        "phases": [vars(phase) for phase in watch.phases],
        "sizes": sizes,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench scale", description=__doc__)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--what", nargs="+", default=["migrate", "verify", "export", "archive"])
    parser.add_argument("--tree", action="store_true", help="files in folders at both ends, not a simulated host")
    parser.add_argument("--scratch", type=Path, help="a folder in memory, so that no disk is measured")
    chosen = parser.parse_args()
    if chosen.run:
        print(json.dumps(run(chosen.run, chosen.count[0], chosen.folder, tree=chosen.tree)))
        return 0
    for count in chosen.count:
        with tempfile.TemporaryDirectory(prefix="portability-scale-", dir=chosen.scratch) as name:
            folder = Path(name)
            sys.path[:0] = [str(HERE / "scripts"), str(HERE)]
            from benchmarks import simulated

            environment = {**os.environ, **simulated.install(folder)}
            for what in chosen.what:
                command = [sys.executable, __file__, "--run", what, "--count", str(count), "--folder", name]
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
                told = json.loads(done.stdout.splitlines()[-1])
                print(what, count, f"wall {told['wall']:.1f} driver cpu {told['driver']:.1f}", told["sizes"])
                for phase in told["phases"]:
                    each = [1e6 * phase[name] / count for name in ("wall", "driver", "workers")]
                    print(
                        f"  {phase['name']:22} {phase['wall']:7.2f} s; each: wall {each[0]:5.0f} us, driver CPU {each[1]:5.0f}, others {each[2]:5.0f};"
                        f"  {phase['rss'] >> 20:4} MiB {phase['worker'] >> 20:4} MiB"
                    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

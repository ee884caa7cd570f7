"""How memory, time and evidence grow with the number of objects: each phase at 10^4, 10^5, 10^6; `scripts/bench scale`.

Objects are tiny and made up (see `simulated`), so that what is measured is our own work and not a host's. With `--tree`
they are files, moved from folder to folder. An export always writes a real folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(HERE / "scripts"), str(HERE / "tests"), str(HERE)]

LIMIT = 256
"""MiB that no process may hold in any phase, however many objects there are."""
RATIO = 1.3
"""How many times the CPU time of an object among the fewest it may take among the most."""
ORDER = ("migrate", "verify", "export", "archive")
_HEAD = ("what", "phase", "objects", "s", "us each", "driver CPU", "workers' CPU", "driver MiB", "worker MiB", "ratio")
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


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
        self._began = 0.0, 0.0, 0.0
        self._below: dict[int, float] = {}
        self._open = False

    def phase(self, name: str, items: int | None = None, size: int | None = None) -> None:
        self.done()
        _forget_peak()
        self.phases.append(Phase(name=name))
        self._below = {process: cpu for process, cpu, _ in _descendants(os.getpid())}
        self._began = time.monotonic(), time.process_time(), _ended()
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
        phase.workers += _ended() - self._began[2]
        phase.rss = _peak("self")
        peaks = [peak for process, cpu, peak in below if cpu > self._below.get(process, 0.0)]
        phase.worker = max(peaks) if peaks else _largest_ended()

    def step(self, items: int = 0, size: int = 0) -> None: ...

    def note(self, text: str) -> None: ...


def _ended() -> float:
    """CPU seconds of our own children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _largest_ended() -> int:
    """Largest resident size of any of our own children that have ended: the verifier's workers go before it returns."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1 << 10)


def _forget_peak() -> None:
    with contextlib.suppress(OSError):  # not Linux: no peaks
        Path("/proc/self/clear_refs").write_text("5", "ascii")


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
    """Do it in this process; what each phase took, and the sizes of the evidence."""
    watch = Watch()
    WORK[what](folder, count, watch, tree)
    kept = folder.glob(_WRITING[what]) if what in _WRITING else ()
    sizes = {path.name: path.stat().st_size for place in kept for path in place.iterdir() if path.is_file()}
    return {"what": what, "count": count, "phases": [asdict(phase) for phase in watch.phases], "sizes": sizes}


def places(folder: Path, count: int, *, tree: bool) -> tuple[Any, Any]:
    """Source and destination."""
    from connectors.location import Location  # late: the parent needs none of it

    if tree:
        return Location.parse(str(folder / "source")), Location.parse(str(folder / "destination"))
    state = folder / "state"
    if not state.exists():
        with state.open("wb") as file:
            file.truncate(count)
    source, destination = "simulated:///source?count={0}", "simulated:///destination?count={0}&state={1}"
    return Location.parse(source.format(count)), Location.parse(destination.format(count, state))


def migrate(folder: Path, count: int, watch: Watch, tree: bool) -> None:
    from portability.job import Job
    from portability.migrate import migrate as move

    source, destination = places(folder, count, tree=tree)
    outcome = move(Job(source=source, destination=destination, evidence=folder / "evidence"), progress=watch)
    _demand(outcome.proven, "; ".join(outcome.reasons))


def verify(folder: Path, count: int, watch: Watch, tree: bool) -> None:
    from portability.verify import verify as check

    outcome = check(str(folder / "evidence"), progress=watch)
    _demand(outcome.proven and outcome.counts.things == count, "; ".join(outcome.reasons))


def export(folder: Path, count: int, watch: Watch, tree: bool) -> None:
    from connectors.location import Location
    from portability.archive.export import Export
    from portability.archive.export import export as write

    source, _ = places(folder, count, tree=tree)
    outcome = write(Export(source=source, to=Location.parse(str(folder / "exports")), practice="scale"), progress=watch)
    _demand(outcome.proven, "; ".join(outcome.reasons))


def archive(folder: Path, count: int, watch: Watch, tree: bool) -> None:
    from portability.archive.verifier import verify_bag

    (bag,) = (folder / "exports").glob("portability-*")
    watch.phase("verify the archive")
    result = verify_bag(bag)
    watch.done()
    _demand(result.exit_code == 0, f"exit code {result.exit_code}")


def _demand(held: bool, reason: str) -> None:
    if not held:
        raise SystemExit(f"nothing was measured, because the run did not end well: {reason}")


WORK = dict(zip(ORDER, (migrate, verify, export, archive), strict=True))
_WRITING = {"migrate": "evidence", "export": "exports/portability-*/metadata"}
"""Where what a work leaves behind lies."""


# -- all runs, and what they say ------------------------------------------------------------------------------------


def measure(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Each work at each number of objects, one after another, each in a process of its own."""
    from benchmarks import simulated  # here and below, because a run's own process loads only what it measures
    from benchmarks.places import memory_folder

    told = []
    for count in sorted(chosen.count):
        with tempfile.TemporaryDirectory(
            prefix="portability-scale-", dir=chosen.scratch or memory_folder(count << 13)
        ) as name:
            folder = Path(name)
            environment = {**os.environ, **simulated.install(folder)}
            if chosen.tree:
                simulated.write_tree(folder / "source", count)
            for what in chosen.only:
                command = [sys.executable, __file__, "--run", what, "--count", str(count), "--scratch", name]
                done = subprocess.run(
                    [*command, *(["--tree"] if chosen.tree else [])],
                    env=environment,
                    stdout=subprocess.PIPE,
                    check=True,
                    text=True,
                )
                told.append(json.loads(done.stdout.splitlines()[-1]))
                took = sum(phase["wall"] for phase in told[-1]["phases"])
                print(f"{what}, {count:,} objects: {took:.0f} s", file=sys.stderr)
                if chosen.keep:
                    chosen.keep.write_text("".join(json.dumps(one) + "\n" for one in told), "utf-8")
    return told


def rows(told: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[str, ...]], list[str]]:
    """The table, and what in it breaks a limit."""
    lines, broken = [], []
    fewest: dict[tuple[str, str], float] = {}
    for one in sorted(told, key=lambda run: (ORDER.index(run["what"]), run["count"])):
        every = {"wall": 0.0, "driver": 0.0, "workers": 0.0, "rss": 0, "worker": 0}
        for phase in one["phases"]:
            for name in every:
                every[name] = max(every[name], phase[name]) if name in {"rss", "worker"} else every[name] + phase[name]
        for phase in [*one["phases"], {"name": "all of it", **every}]:
            each = [1e6 * phase[name] / one["count"] for name in ("wall", "driver", "workers")]
            cpu = each[1] + each[2]
            first = fewest.setdefault((one["what"], phase["name"]), cpu)
            peaks = [phase["rss"] / (1 << 20), phase["worker"] / (1 << 20)]
            lines.append(
                (
                    one["what"],
                    phase["name"],
                    f"{one['count']:,}",
                    f"{phase['wall']:.1f}",
                    *(f"{value:.0f}" for value in (*each, *peaks)),
                    f"{cpu / first:.2f}",
                )
            )
            if max(peaks) > LIMIT:
                broken.append(f"{one['what']}, {phase['name']}, {one['count']:,} objects: {max(peaks):.0f} MiB")
        if cpu > RATIO * first:
            broken.append(f"{one['what']}, {one['count']:,} objects: an object takes {cpu / first:.2f} times as long")
    return sorted(lines, key=lambda line: [ORDER.index(line[0])]), broken


def sizes(told: Sequence[Mapping[str, Any]]) -> list[str]:
    """Bytes of the evidence for each object."""
    return [
        f"{one['what']}, {one['count']:,} objects: "
        + ", ".join(
            f"{name} {size / one['count']:.0f}" for name, size in sorted(one["sizes"].items()) if size > one["count"]
        )
        + " bytes for each"
        for one in told
        if one["sizes"]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench scale", description=__doc__)
    parser.add_argument(
        "--count",
        type=int,
        nargs="+",
        default=[10_000, 100_000],
        help="numbers of objects (default 10000 100000; 1000000 takes half an hour)",
    )
    parser.add_argument(
        "--only", nargs="+", choices=ORDER, default=list(ORDER), help="verify needs migrate, archive needs export"
    )
    parser.add_argument("--tree", action="store_true", help="files in folders at both ends, not a simulated host")
    parser.add_argument(
        "--scratch", type=Path, metavar="DIR", help="where it is done (default: in memory where there is room)"
    )
    parser.add_argument("--keep", type=Path, metavar="FILE", help="also write what was measured there, as JSON lines")
    parser.add_argument(
        "--read", type=Path, nargs="+", metavar="FILE", help="measure nothing; tell what such files say"
    )
    parser.add_argument("--run", choices=ORDER, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run:
        print(json.dumps(run(chosen.run, chosen.count[0], chosen.scratch, tree=chosen.tree)))
        return 0
    if chosen.read:
        told = [json.loads(line) for file in chosen.read for line in file.read_text("utf-8").splitlines()]
    else:
        told = measure(chosen)
    from benchmarks import table

    lines, broken = rows(told)
    print(table.aligned([_HEAD, *lines]))
    print(
        "\n".join(
            ["", *sizes(told), "ratio: CPU time of an object, of all processes, by that among the fewest objects"]
        )
    )
    print(
        "\n".join(f"MISSED: {one}" for one in broken) or f"every process within {LIMIT} MiB, every ratio within {RATIO}"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

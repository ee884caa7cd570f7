"""A Dask cluster on this machine against as many worker processes of our own, in turn; `scripts/bench dask`."""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import servers

from benchmarks import table
from benchmarks.contenders import BenchError, Measure, Run, confirm, ours
from benchmarks.places import Load, Stage, memory_folder, warm

GOAL = 0.9
"""Our own wall time by that over Dask."""
QUIET = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "500ms",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
}
"""What README advises: nobody looks at the profile that Dask makes of its workers a hundred times a second."""


@contextlib.contextmanager
def scheduler(folder: Path, workers: int) -> Iterator[tuple[str, list[int]]]:
    """A scheduler and so many workers of one thread, started as README advises: what `--engine` takes, and their processes."""
    dask = servers.program("dask")
    common = ("--host", "127.0.0.1", "--no-dashboard")
    with (
        servers.running(
            lambda port: [dask, "scheduler", "--port", str(port), *common], folder / "scheduler.log"
        ) as port,
        contextlib.ExitStack() as ending,
        (folder / "workers.log").open("wb") as log,
    ):
        from distributed import Client  # late, because only this benchmark needs it

        address = f"tcp://127.0.0.1:{port}"
        processes: list[int] = []
        for _ in range(workers):
            command = [
                dask,
                "worker",
                address,
                *common,
                "--nthreads",
                "1",
                "--no-nanny",
                "--preload",
                "portability.parcel",
                "--local-directory",
                str(folder),
            ]
            process = subprocess.Popen(
                command, env={**os.environ, **QUIET}, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
            ending.callback(servers.stop, process)
            processes.append(process.pid)
        with Client(address, timeout=60) as client:
            client.wait_for_workers(workers, timeout=60)
            told = client.run_on_scheduler(os.getpid)
        yield f"dask://127.0.0.1:{port}", [told, *processes]


def spent(process: int) -> float:
    """Seconds of processor time of one process so far; 0 where the system does not tell."""
    try:
        told = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench dask", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="objects of 16 KiB, S3 to S3 (default 10,000)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="of either kind (default: one a core)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each (default 3)")
    parser.add_argument("--mems3", type=Path, metavar="BINARY", help="another S3 server, as for scripts/bench")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="folder for all data (default: in memory)")
    chosen = parser.parse_args()
    load = Load(name="small", count=chosen.count, size=16 << 10, bytes=chosen.count << 14)
    found: dict[str, list[Measure]] = {"own workers": [], "Dask workers": []}
    cluster: dict[str, list[tuple[float, float]]] = {who: [] for who in found}
    try:
        with contextlib.ExitStack() as stack:
            memory = chosen.scratch or memory_folder(4 * load.bytes)
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory)))
            stage = Stage(scratch, chosen.mems3.resolve() if chosen.mems3 else None)
            source = stack.enter_context(stage.source("s3", load))
            # Both sides' credentials are variables that `Stage` sets, so that workers started now know the source's only.
            for number in range(chosen.rounds):
                order = list(found) if number % 2 else list(reversed(found))
                for who in order:
                    warm(scratch, load.bytes)
                    with tempfile.TemporaryDirectory(dir=scratch) as name, stage.destination("s3") as destination:
                        with scheduler(Path(name), chosen.workers) as (engine, processes):
                            options = ("--engine", engine) if who == "Dask workers" else ()
                            (Path(name) / "run").mkdir()
                            run = Run(
                                source=source,
                                destination=destination,
                                folder=Path(name) / "run",
                                load=load,
                                options=("--workers", str(chosen.workers), *options),
                            )
                            before = [spent(process) for process in processes]
                            found[who].append(ours(run))
                            used = [spent(process) - was for process, was in zip(processes, before, strict=True)]
                            cluster[who].append((used[0], sum(used[1:])))
                        confirm(who, destination, load)
    except BenchError as error:
        print(f"nothing can be compared: {error}", file=sys.stderr)
        return 1
    lines = [("S3 to S3, read", str(load), "wall s", "client CPU s", "peak MiB (largest)")]
    lines += [("", who, *table.told(measures)) for who, measures in found.items()]
    print(table.aligned(lines))
    own, dask = (statistics.median(one.wall for one in measures) for measures in found.values())
    for who, times in cluster.items():
        head, crew = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"CPU of the cluster beside {who}: scheduler {head:.2f} s, its workers {crew:.2f} s.")
    print(f"\nEfficiency of {chosen.workers} workers, our own time by that over Dask: {own / dask:.2f} (goal {GOAL}).")
    idle, busy = (statistics.median(head for head, _ in times) for times in cluster.values())
    share = max(0.0, busy - idle) / (os.cpu_count() or 1)
    print(f"By reckoning, not measured: {own / (dask - share):.2f} if the scheduler had a machine of its own.")
    print(
        "The workers and the scheduler run in both cases, on the same cores, and are there before the time begins. "
        "CPU in the table: of our own processes, of the driver alone where Dask works."
    )
    return 0

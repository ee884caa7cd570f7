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


@contextlib.contextmanager
def scheduler(folder: Path, workers: int) -> Iterator[str]:
    """A scheduler and so many workers of one thread; as `--engine` takes it."""
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
        for _ in range(workers):
            command = [
                dask,
                "worker",
                address,
                *common,
                "--nthreads",
                "1",
                "--no-nanny",
                "--local-directory",
                str(folder),
            ]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            ending.callback(servers.stop, process)
        with Client(address, timeout=60) as client:
            client.wait_for_workers(workers, timeout=60)
        yield f"dask://127.0.0.1:{port}"


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
                        with scheduler(Path(name), chosen.workers) as engine:
                            options = ("--engine", engine) if who == "Dask workers" else ()
                            (Path(name) / "run").mkdir()
                            run = Run(
                                source=source,
                                destination=destination,
                                folder=Path(name) / "run",
                                load=load,
                                options=("--workers", str(chosen.workers), *options),
                            )
                            found[who].append(ours(run))
                        confirm(who, destination, load)
    except BenchError as error:
        print(f"nothing can be compared: {error}", file=sys.stderr)
        return 1
    lines = [("S3 to S3, read", str(load), "wall s", "client CPU s", "peak MiB (largest)")]
    lines += [("", who, *table.told(measures)) for who, measures in found.items()]
    print(table.aligned(lines))
    own, dask = (statistics.median(one.wall for one in measures) for measures in found.values())
    print(f"\nEfficiency of {chosen.workers} workers, our own time by that over Dask: {own / dask:.2f} (goal {GOAL}).")
    print(
        "The workers and the scheduler run in both cases, on the same cores. CPU: of the driver alone where Dask works."
    )
    return 0

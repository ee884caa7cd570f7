"""Listing a large bucket, against rclone and s5cmd, in turn on one server; `scripts/bench list`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import servers

from benchmarks import table
from benchmarks.contenders import BenchError, Measure, installed, measured
from benchmarks.places import Load, Place, Stage, memory_folder, open_credentials, place
from connectors.location import Location

GOAL = (0.6, 0.5)
"""Ours by rclone's: wall and CPU. Ours is the listing alone; a census also keeps every claim in a ledger and seals them all."""


_LIST = """
import sys
from connectors import Location, connect
place = connect(Location.parse(sys.argv[1], credentials=sys.argv[2]))
sys.stdout.writelines(f"{entry.key};{entry.size}\\n" for entry in place.list())
"""


def ours(source: Place, folder: Path, count: int) -> Measure:
    location = source.location
    command = [sys.executable, "-c", _LIST, location.url, location.credentials or "anonymous"]
    return _of_lines(measured("portability", command, folder, {}), "portability", folder, count)


def census(source: Place, folder: Path, count: int) -> Measure:
    command = [sys.executable, "-m", "portability", "census", "--quiet", "--json", "--versions", "latest"]
    command += ["--from", source.location.url, "--from-credentials", source.location.credentials or "anonymous"]
    one = measured("portability", command, folder, {})
    told = [json.loads(line) for line in (folder / "output.log").read_text("utf-8").splitlines() if line[:1] == "{"]
    if not any(line.get("counts", {}).get("kinds", {}).get("object") == count for line in told):
        raise BenchError(f"portability did not count {count:,} objects: {told}")
    return one


def rclone(source: Place, folder: Path, count: int) -> Measure:
    command = [servers.program("rclone"), "--config", os.devnull, "lsf", "-R", "--files-only", "--format", "ps"]
    one = measured("rclone", [*command, "--fast-list", source.remote], folder, source.settings)
    return _of_lines(one, "rclone", folder, count)


def s5cmd(source: Place, folder: Path, count: int) -> Measure:
    location = source.location
    command = [installed("s5cmd"), "--endpoint-url", location.option("endpoint"), "ls", f"s3://{location.host}/*"]
    return _of_lines(measured("s5cmd", command, folder, open_credentials(location)), "s5cmd", folder, count)


def _of_lines(one: Measure, who: str, folder: Path, count: int) -> Measure:
    with (folder / "output.log").open("rb") as output:
        found = sum(1 for _ in output)
    if found != count:
        raise BenchError(f"{who} listed {found:,} of {count:,} objects")
    return one


CONTENDERS = {"portability": ours, "portability census": census, "rclone lsf": rclone, "s5cmd ls": s5cmd}


@contextlib.contextmanager
def sources(chosen: argparse.Namespace, scratch: Path) -> Iterator[Place]:
    """A bucket of so many objects of one byte, a hundred to a folder; or somebody's own."""
    if chosen.source:
        yield place(Location.parse(chosen.source, credentials=chosen.source_credentials), "source")
        return
    load = Load(name="listing", count=chosen.count, size=1, bytes=chosen.count)
    with Stage(scratch, chosen.mems3.resolve() if chosen.mems3 else None, chosen.latency).source("s3", load) as source:
        yield source


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench list", description=__doc__)
    parser.add_argument("--count", type=int, default=200_000, help="objects in the bucket (default 200,000)")
    parser.add_argument(
        "--source", metavar="URL", help="list what is there instead (--count: how many objects that is)"
    )
    parser.add_argument("--source-credentials", metavar="REF", help="reference, as for `portability census`")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each contender (default 3)")
    parser.add_argument("--latency", type=float, default=0, metavar="MS", help="round trip of the line (default none)")
    parser.add_argument("--mems3", type=Path, metavar="BINARY", help="another S3 server, as for scripts/bench")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="folder for the objects (default: in memory)")
    chosen = parser.parse_args()
    found: dict[str, list[Measure]] = {name: [] for name in CONTENDERS}
    try:
        with (
            tempfile.TemporaryDirectory(dir=chosen.scratch or memory_folder(chosen.count << 12)) as name,
            sources(chosen, Path(name)) as source,
        ):
            for number in range(chosen.rounds):
                order = list(CONTENDERS.items())
                for who, contender in (
                    order[number % len(order) :] + order[: number % len(order)]
                ):  # each goes first in turn
                    with tempfile.TemporaryDirectory(dir=name) as folder:
                        found[who].append(contender(source, Path(folder), chosen.count))
    except BenchError as error:
        print(f"nothing can be compared: {error}", file=sys.stderr)
        return 1
    lines = [("list", f"{chosen.count:,} keys", "wall s", "CPU s", "peak MiB (largest)", "wall ratio", "CPU ratio")]
    mine = found["portability"]
    for who, measures in found.items():
        ratios = [_ratio([one.wall for one in mine], [one.wall for one in measures])]
        ratios.append(_ratio([one.cpu or 0 for one in mine], [one.cpu or 0 for one in measures]))
        lines.append(
            ("", who, *table.told(measures), *(("", "") if measures is mine else map("{:.2f}".format, ratios)))
        )
    print(table.aligned(lines))
    wall, cpu = lines[1 + list(found).index("rclone lsf")][-2:]
    print(f"\nOur median by rclone's: wall {wall} (goal {GOAL[0]}), CPU {cpu} (goal {GOAL[1]}). All counted every key.")
    print(table.READING)
    return 0


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(ours) / statistics.median(theirs) if any(theirs) else float("nan")

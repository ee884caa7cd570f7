"""The verifier of archives against sha256sum and bagit, in turn on one archive; `python -m benchmarks.verification`."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(HERE / "tests"), str(HERE)]

import archives  # noqa: E402 - found only once the path above is set

_VERIFY = "import sys, pathlib; from portability.archive.verifier import verify_bag as v; sys.exit(v(pathlib.Path(sys.argv[1]), mode=sys.argv[2]).exit_code)"
_BAGIT = "import sys, warnings; warnings.simplefilter('ignore'); import bagit; sys.exit(not bagit.Bag(sys.argv[1]).is_valid(processes=2))"


def build(folder: Path, count: int, size: int) -> Path:
    """An archive of `count` files of `size` bytes each, every one different, a hundred to a folder."""
    block = random.Random(2026).randbytes(size)

    def things() -> Iterator[archives.Thing]:
        for number in range(count):
            mark = b"%012d" % number
            data = mark + block[len(mark) :]
            members = {"media_type": "application/pdf", "modified": "2026-11-10T10:00:00Z"}
            yield archives.Thing(key=f"p{number // 100:05d}/document {number:07d}.pdf", data=data, members=members)

    return archives.build(folder, things(), sign_with=archives.key())


def commands(folder: Path) -> dict[str, list[str]]:
    """Who verifies, and how. The first checks every rule and the manifest; the second checks what the others check."""
    return {
        "portability, archive": [sys.executable, "-c", _VERIFY, str(folder), "archive"],
        "portability, as a bag": [sys.executable, "-c", _VERIFY, str(folder), "bag"],
        "sha256sum -c": ["sha256sum", "--strict", "--quiet", "-c", "tagmanifest-sha256.txt", "manifest-sha256.txt"],
        "bagit, 2 processes": [sys.executable, "-c", _BAGIT, str(folder)],
    }


def measure(folder: Path, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of each, in turn."""
    measured: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for name, command in commands(folder).items():
            if shutil.which(command[0]) is None:
                continue
            before, start = os.times(), time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": str(HERE)}, stderr=subprocess.DEVNULL)  # fmt: skip
            wall, after = time.perf_counter() - start, os.times()
            cpu = after.children_user + after.children_system - before.children_user - before.children_system
            measured.setdefault(name, []).append((wall, cpu))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=8192, help="bytes of each file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="a folder in memory, so that no disk is measured")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as scratch:
        folder = build(Path(scratch) / "archive", chosen.count, chosen.size)
        measured = measure(folder, chosen.rounds)
    print(f"{chosen.count:,} files of {chosen.size:,} bytes, median of {chosen.rounds}; load {os.getloadavg()[0]:.1f}")
    medians = {name: [statistics.median(values) for values in zip(*found, strict=True)] for name, found in measured.items()}  # fmt: skip
    wall, cpu = medians.get("sha256sum -c", [1.0, 1.0])
    for name, (mine, mine_cpu) in medians.items():
        print(f"{name:24} wall {mine:6.2f} s ({mine / wall:4.2f})  CPU {mine_cpu:6.2f} s ({mine_cpu / cpu:4.2f})")


if __name__ == "__main__":
    main()

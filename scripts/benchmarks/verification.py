"""The verifier of archives against sha256sum, bagit and OpenSSL, in turn on one archive; `scripts/bench verify`."""

from __future__ import annotations

import argparse
import os
import random
import resource
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

_VERIFY = """
import resource, sys, pathlib
from portability.archive.verifier import verify_bag
code = verify_bag(pathlib.Path(sys.argv[1]), mode=sys.argv[2]).exit_code
print(*(resource.getrusage(whose).ru_maxrss for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
sys.exit(code)
"""
"""Ours also tell the largest size of the driver and of any worker."""
_BAGIT = "import sys, warnings; warnings.simplefilter('ignore'); import bagit; sys.exit(not bagit.Bag(sys.argv[1]).is_valid(processes=2))"


def built(folder: Path, count: int, size: int) -> Path:
    """`build` in another process."""
    command = [sys.executable, __file__, "--build", str(folder), "--count", str(count), "--size", str(size)]
    subprocess.run(command, check=True)
    return folder


def build(folder: Path, count: int, size: int) -> Path:
    """An archive of `count` files of `size` bytes each, every one different, a hundred to a folder."""
    import archives  # late, in a process of its own: whoever measures stays small

    piece = random.Random(2026).randbytes(min(size, 1 << 20))  # it cannot give 256 MiB at once
    block = (piece * (size // max(len(piece), 1) + 1))[:size]

    def things() -> Iterator[archives.Thing]:
        for number in range(count):
            mark = b"%012d" % number
            data = mark + block[len(mark) :]
            members = {"media_type": "application/pdf", "modified": "2026-11-10T10:00:00Z"}
            yield archives.Thing(key=f"p{number // 100:05d}/document {number:07d}.pdf", data=data, members=members)

    return archives.build(folder, things(), sign_with=archives.key())


def commands(folder: Path, *, large: bool) -> dict[str, list[str]]:
    """Who verifies, and how. The first checks every rule and the manifest; the second checks what the others check."""
    files = (
        [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()] if large else []
    )
    all_of_them = {
        "portability, archive": [sys.executable, "-c", _VERIFY, str(folder), "archive"],
        "sha256sum -c": ["sha256sum", "--strict", "--quiet", "-c", "tagmanifest-sha256.txt", "manifest-sha256.txt"],
        "openssl, one core": ["openssl", "dgst", "-sha256", *files] if large else [],
        "portability, as a bag": [sys.executable, "-c", _VERIFY, str(folder), "bag"],
        "bagit, 2 processes": [sys.executable, "-c", _BAGIT, str(folder)],
    }
    return {name: command for name, command in all_of_them.items() if command and shutil.which(command[0])}


_UNIT = 1 << 20 if sys.platform == "darwin" else 1 << 10
Measured = tuple[float, float, float, float]
"""Wall and CPU seconds, and MB of the process itself and of the largest one beneath it, or of the larger of both."""


def run(command: list[str], folder: Path) -> Measured:
    """Run it once. What it is told to be large is at least as large as this process, from which it begins as a copy."""
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    start = time.perf_counter()
    with tempfile.TemporaryFile() as told:
        with subprocess.Popen(command, cwd=folder, env=environment, stdout=told, stderr=subprocess.DEVNULL) as started:
            _, status, used = os.wait4(started.pid, 0)
            started.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        if started.returncode:
            raise subprocess.CalledProcessError(started.returncode, command)
        told.seek(0)
        sizes = told.read(100).split() if _VERIFY in command else [used.ru_maxrss, 0]
    own, beneath = (int(size) / _UNIT for size in sizes)
    return wall, used.ru_utime + used.ru_stime, own, beneath


def measure(folder: Path, rounds: int, *, large: bool, only: str) -> dict[str, list[Measured]]:
    """Each in turn."""
    measured: dict[str, list[Measured]] = {}
    for _ in range(rounds):
        for name, command in commands(folder, large=large).items():
            if only in name:
                measured.setdefault(name, []).append(run(command, folder))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench verify", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=8192, help="bytes of each file")
    parser.add_argument("--large", type=int, metavar="MIB", help="4 files of so many MiB instead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", metavar="TEXT", help="those whose name has this in it")
    parser.add_argument("--archive", type=Path, help="an archive that exists, instead of one that is made")
    parser.add_argument("--scratch", type=Path, help="a folder in memory, so that no disk is measured")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.build:
        build(chosen.build, chosen.count, chosen.size)
        return
    count, size = (4, chosen.large << 20) if chosen.large else (chosen.count, chosen.size)
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as scratch:
        folder = chosen.archive.resolve() if chosen.archive else built(Path(scratch) / "archive", count, size)
        measured = measure(folder, chosen.rounds, large=bool(chosen.large), only=chosen.only)
    what = str(chosen.archive) if chosen.archive else f"{count:,} files of {size:,} bytes"
    print(f"{what}, median of {chosen.rounds}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _UNIT
    base = measured.get("sha256sum -c") or next(iter(measured.values()))
    for name, found in measured.items():
        wall, cpu, own, beneath = (statistics.median(values) for values in zip(*found, strict=True))
        size = f"{own:.0f} MB" if own > floor else f"up to {floor:.0f} MB"
        size += f", workers {beneath:.0f}" if beneath else ""
        # Both of a round ran side by side: their ratio holds where seconds do not.
        walls = statistics.median(mine[0] / other[0] for mine, other in zip(found, base, strict=True))
        cpus = statistics.median(mine[1] / other[1] for mine, other in zip(found, base, strict=True))
        print(f"{name:24} wall {wall:6.2f} s ({walls:4.2f})  CPU {cpu:6.2f} s ({cpus:4.2f})  {size}")
    ours, limit = measured.get("portability, archive"), measured.get("openssl, one core")
    if ours and limit:
        cores = os.cpu_count() or 1
        ratios = [[mine[column] / other[column] for mine, other in zip(ours, limit, strict=True)] for column in (0, 1)]
        wall, cpu = (statistics.median(values) for values in ratios)
        print(f"archive by OpenSSL on {cores} cores: wall {wall * cores:.2f}, CPU {cpu:.2f} (goal: 1.15)")
    print("in brackets: median of the ratios to sha256sum -c, or to the first line, round by round")
    print("MB: the driver and its largest worker (with the driver's pages that it shares), or the largest process")


if __name__ == "__main__":
    main()

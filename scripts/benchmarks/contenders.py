"""Who is measured: the command lines of both, what makes them equal, and the check that everything arrived."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import servers

from benchmarks.places import Load, Place

OURS = """\
We: census, copy with SHA-256 on the way, the destination listed anew and every object read back and hashed, a closing \
listing of the source, sealed manifest, verdict PROVEN: evidence level `read`."""
PROOFS = {
    "hashsum": "rclone: `copy`, then `hashsum sha256 --download` of both sides and a comparison of the two lists: "
    "the same evidence level, though it keeps no ledger and looks for no changes.",
    "check": "rclone: `copy`, then `check --download`, which reads both sides and compares the bytes: the same evidence "
    "level without any digest or manifest to keep, so it does less.",
}

RCLONE_FLAGS = {
    "small": ["--transfers", "16", "--checkers", "32"],
    "large": ["--transfers", "4", "--checkers", "8"],
    "s3": ["--s3-no-check-bucket", "--s3-use-unsigned-payload", "true"],
    "s3-small": ["--s3-no-head"],
    "s3-large": ["--s3-chunk-size", "16M", "--s3-upload-concurrency", "8"],
    "sftp": [
        *("--sftp-ciphers", "aes128-gcm@openssh.com", "--sftp-chunk-size", "255k", "--sftp-concurrency", "64"),
        *("--sftp-disable-hashcheck", "--transfers", "16"),
    ],
}


LARGE = 16 << 20
"""Mean bytes of an object above which somebody's own data is measured with the flags for large objects."""


class BenchError(Exception):
    """A contender failed or did not move everything: there is nothing to compare."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One whole run. CPU and memory are of the client's process tree; None where the system does not tell."""

    wall: float
    cpu: float | None
    memory: int | None
    """Peak of the sum over all processes; pages that they share count several times."""
    largest: int | None


def ours(source: Place, destination: Place, folder: Path, more: list[str]) -> Measure:
    command = [sys.executable, "-m", "portability", "migrate", "--quiet", "--evidence", str(folder / "evidence")]
    command += ["--from", source.location.url, "--to", destination.location.url, *more]
    for side, location in (("from", source.location), ("to", destination.location)):
        if location.credentials:
            command += [f"--{side}-credentials", location.credentials]
    return _measured("portability", command, folder, {})


def rclone(source: Place, destination: Place, folder: Path, flags: list[str], proof: str) -> Measure:
    settings = {**source.settings, **destination.settings}
    base = [servers.program("rclone"), "--config", os.devnull]
    sides = (source.remote, destination.remote)
    steps = [_measured("rclone copy", [*base, "copy", *sides, *flags], folder, settings)]
    if proof == "check":
        steps.append(_measured("rclone check", [*base, "check", "--download", *sides, *flags], folder, settings))
    else:
        sums = [folder / "source.sums", folder / "destination.sums"]
        for side, file in zip(sides, sums, strict=True):
            command = [*base, "hashsum", "sha256", "--download", "--output-file", str(file), side, *flags]
            steps.append(_measured("rclone hashsum", command, folder, settings))
        one, other = (sorted(file.read_text("utf-8").splitlines()) for file in sums)
        if one != other or not one:
            raise BenchError("rclone's two lists of digests differ")
    return Measure(
        wall=sum(step.wall for step in steps),
        cpu=None if None in (times := [step.cpu for step in steps]) else sum(filter(None, times)),
        memory=max(filter(None, (step.memory for step in steps)), default=None),
        largest=max(filter(None, (step.largest for step in steps)), default=None),
    )


def rclone_flags(source: str, destination: str, load: str) -> list[str]:
    """The best flags we know for this route; a flag that comes later wins."""
    names = [
        load,
        *(
            name
            for scheme in ("s3", "sftp")
            if scheme in {source, destination}
            for name in (scheme, f"{scheme}-{load}")
        ),
    ]
    return [flag for name in names for flag in RCLONE_FLAGS.get(name, [])]


def confirm(who: str, destination: Place, load: Load) -> None:
    """BenchError unless the destination holds exactly what was to be moved, by a listing that is not the contender's own."""
    found = _size(destination)
    if found != (load.count, load.bytes):
        raise BenchError(f"{who} moved {found[0]} objects and {found[1]} bytes of {load}")


def holds(source: Place) -> Load:
    """What lies at somebody's own source."""
    count, size = _size(source)
    if not count:
        raise BenchError(f"{source.location.url} holds nothing to move")
    return Load(name="large" if size / count > LARGE else "small", count=count, size=size // count, bytes=size)


def remove(made: Place) -> None:
    """Remove a folder that this benchmark made."""
    command = [servers.program("rclone"), "--config", os.devnull, "purge", made.remote]
    subprocess.run(command, env={**os.environ, **made.settings}, capture_output=True, check=False)


def _size(where: Place) -> tuple[int, int]:
    command = [servers.program("rclone"), "--config", os.devnull, "size", "--json", where.remote]
    answer = subprocess.run(command, env={**os.environ, **where.settings}, capture_output=True, check=False)
    if answer.returncode:
        raise BenchError(f"{where.location.url} cannot be listed: {answer.stderr.decode('utf-8', 'replace')[-500:]}")
    told = json.loads(answer.stdout)
    return told["count"], told["bytes"]


def _measured(who: str, command: list[str], folder: Path, settings: Mapping[str, str]) -> Measure:
    result, log = folder / "result.json", folder / "output.log"
    wrapped = [sys.executable, str(Path(__file__).with_name("watch.py")), str(result), "--", *command]
    with log.open("wb") as output:
        subprocess.run(wrapped, env={**os.environ, **settings}, stdout=output, stderr=subprocess.STDOUT, check=True)
    told = json.loads(result.read_text("utf-8"))
    if told["code"]:
        raise BenchError(f"{who} ended with exit code {told['code']}:\n{log.read_text('utf-8', 'replace')[-3000:]}")
    return Measure(wall=told["wall"], cpu=told["cpu"], memory=told["sum"], largest=told["largest"])

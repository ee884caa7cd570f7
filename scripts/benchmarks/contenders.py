"""Who is measured: the command lines of all, what makes them equal, and the check that everything arrived."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import servers

from benchmarks.places import Load, Place, open_credentials

LEVELS = {
    "read": "Equal evidence. portability: census, copy with SHA-256 on the way, the destination listed anew and every object "
    "read back and hashed, a closing listing of the source, sealed manifest, verdict PROVEN (level `read`). rclone: `copy`, "
    "then `hashsum sha256 --download` of both sides and a comparison of the two lists: the same level, though it keeps no "
    "ledger and looks for no changes. With --proof check: `check --download` instead, which leaves no digests behind.",
    "copy": "The copy alone. portability with `--demand listed`: the same run without the read-back, still with the SHA-256 of "
    "every object in a sealed manifest. The others copy; they leave no manifest and prove nothing. rclone into a folder: "
    "`copy`, then `hashsum sha256` of what arrived, where the goal says so (large objects).",
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


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run of a contender is given."""

    source: Place
    destination: Place
    folder: Path
    """Empty, the contender's own."""
    load: Load
    options: tuple[str, ...] = ()
    """Further options of `portability migrate`."""
    proof: str = "hashsum"


Contender = Callable[[Run], Measure]


def ours(run: Run) -> Measure:
    """Equal evidence: everything read back."""
    return _migrate(run)


def ours_copying(run: Run) -> Measure:
    """The copy and the manifest, no read-back."""
    return _migrate(run, "--demand", "listed")


def rclone(run: Run) -> Measure:
    """Equal evidence: a copy, and SHA-256 of both sides (or a comparison of their bytes)."""
    flags, sides = _rclone_flags(run), (run.source.remote, run.destination.remote)
    steps = [_rclone(run, "copy", *sides, *flags)]
    if run.proof == "check":
        steps.append(_rclone(run, "check", "--download", *sides, *flags))
        return _together(steps)
    sums = [run.folder / "source.sums", run.folder / "destination.sums"]
    for side, file in zip(sides, sums, strict=True):
        steps.append(_rclone(run, "hashsum", "sha256", "--download", "--output-file", str(file), side, *flags))
    one, other = (sorted(file.read_text("utf-8").splitlines()) for file in sums)
    if one != other or not one:
        raise BenchError("rclone's two lists of digests differ")
    return _together(steps)


def rclone_copying(run: Run) -> Measure:
    """A copy, nothing proven."""
    return _rclone(run, "copy", run.source.remote, run.destination.remote, *_rclone_flags(run))


def rclone_copying_hashed(run: Run) -> Measure:
    """A copy into a folder, and the SHA-256 of what arrived."""
    sums = str(run.folder / "destination.sums")
    return _together(
        [rclone_copying(run), _rclone(run, "hashsum", "sha256", "--output-file", sums, run.destination.remote)]
    )


def s5cmd(run: Run) -> Measure:
    """A copy between a folder and S3."""
    place = run.source if run.source.location.scheme == "s3" else run.destination
    remote = f"s3://{place.location.host}/{place.location.path}"
    folder = {True: run.destination, False: run.source}[place is run.source].location.path
    ways = ["cp", f"{remote}*", f"{folder}/"] if place is run.source else ["cp", f"{folder}/", remote]
    command = [installed("s5cmd"), "--log", "error", "--endpoint-url", place.location.option("endpoint"), *ways]
    return measured("s5cmd", command, run.folder, open_credentials(place.location))


def openssh(run: Run) -> Measure:
    """A copy by OpenSSH's own `sftp -r`, with GCM as for all."""
    getting = run.source.location.scheme == "sftp"
    location = (run.source if getting else run.destination).location
    folder = (run.destination if getting else run.source).location.path
    batch = run.folder / "batch"
    away, here = f'"{location.path}"', f'"{folder}"'
    batch.write_text(f"get -r {away}/* {here}\n" if getting else f"put -r {here}/* {away}\n", "utf-8")
    said = open_credentials(location)
    command = ["sftp", "-q", "-c", "aes128-gcm@openssh.com", "-b", str(batch), "-P", str(location.port or 22)]
    for name, value in (
        ("IdentityFile", said["key_file"]),
        ("UserKnownHostsFile", location.option("known_hosts")),
        ("IdentitiesOnly", "yes"),
        ("StrictHostKeyChecking", "yes"),
    ):
        command += ["-o", f"{name}={value}"]
    return measured("sftp", [*command, f"{location.user}@{location.host}"], run.folder, {})


CONTENDERS: Mapping[str, Mapping[str, Contender]] = {
    "read": {"portability": ours, "rclone": rclone},
    "copy": {
        "portability": ours_copying,
        "rclone": rclone_copying,
        "rclone + hashsum": rclone_copying_hashed,
        "s5cmd": s5cmd,
        "sftp -r": openssh,
    },
}


def installed(name: str) -> str:
    """A peer's program, from our environment or the system."""
    found = shutil.which(name, path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
    if found is None:
        raise BenchError(f"{name} is not installed; it comes with: pip install 'portability-toolkit[bench]'")
    return found


def versions() -> list[str]:
    """What each peer says of itself."""
    asked = {"rclone": ["version"], "s5cmd": ["version"], "ssh": ["-V"]}
    said = []
    for name, words in asked.items():
        try:
            answer = subprocess.run([installed(name), *words], capture_output=True, text=True, check=True, timeout=60)
        except BenchError:
            continue
        line = (answer.stdout or answer.stderr).splitlines()[0]
        said.append(line if name in line.lower() else f"{name} {line}")
    return said


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


def _migrate(run: Run, *more: str) -> Measure:
    command = [sys.executable, "-m", "portability", "migrate", "--quiet", "--evidence", str(run.folder / "evidence")]
    command += ["--from", run.source.location.url, "--to", run.destination.location.url, *more, *run.options]
    for side, location in (("from", run.source.location), ("to", run.destination.location)):
        if location.credentials:
            command += [f"--{side}-credentials", location.credentials]
    return measured("portability", command, run.folder, {})


def _rclone(run: Run, verb: str, *words: str) -> Measure:
    settings = {**run.source.settings, **run.destination.settings}
    command = [servers.program("rclone"), "--config", os.devnull, verb, *words]
    return measured(f"rclone {verb}", command, run.folder, settings)


def _rclone_flags(run: Run) -> list[str]:
    """The best flags we know for this route; a flag that comes later wins."""
    used = {run.source.location.scheme, run.destination.location.scheme}
    schemes = [scheme for scheme in ("s3", "sftp") if scheme in used]
    names = [run.load.name, *(name for scheme in schemes for name in (scheme, f"{scheme}-{run.load.name}"))]
    return [flag for name in names for flag in RCLONE_FLAGS.get(name, [])]


def _together(steps: list[Measure]) -> Measure:
    return Measure(
        wall=sum(step.wall for step in steps),
        cpu=None if None in (times := [step.cpu for step in steps]) else sum(filter(None, times)),
        memory=max(filter(None, (step.memory for step in steps)), default=None),
        largest=max(filter(None, (step.largest for step in steps)), default=None),
    )


def _size(where: Place) -> tuple[int, int]:
    command = [servers.program("rclone"), "--config", os.devnull, "size", "--json", where.remote]
    answer = subprocess.run(command, env={**os.environ, **where.settings}, capture_output=True, check=False)
    if answer.returncode:
        raise BenchError(f"{where.location.url} cannot be listed: {answer.stderr.decode('utf-8', 'replace')[-500:]}")
    told = json.loads(answer.stdout)
    return told["count"], told["bytes"]


def measured(who: str, command: list[str], folder: Path, settings: Mapping[str, str]) -> Measure:
    result, log = folder / "result.json", folder / "output.log"
    wrapped = [sys.executable, str(Path(__file__).with_name("watch.py")), str(result), "--", *command]
    with log.open("wb") as output:
        subprocess.run(wrapped, env={**os.environ, **settings}, stdout=output, stderr=subprocess.STDOUT, check=True)
    told = json.loads(result.read_text("utf-8"))
    if told["code"]:
        raise BenchError(f"{who} ended with exit code {told['code']}:\n{log.read_text('utf-8', 'replace')[-3000:]}")
    return Measure(wall=told["wall"], cpu=told["cpu"], memory=told["sum"], largest=told["largest"])

"""A migration killed anywhere, as often as one likes, goes on with the same command and ends PROVEN."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import servers
from killing import Killer, killer, soon
from places import a_job, content, fill, lines

from connectors import Location, connect
from connectors.keys import PARTIAL_FOLDER
from portability.demo.practice import Thing
from portability.job import Job, Policy
from portability.verify import verify

if sys.platform == "win32":
    pytest.skip("Windows has neither kill -9 nor process groups to send Ctrl-C to", allow_module_level=True)

KILLED = -signal.SIGKILL
BIG = "scans/big.bin"
PHASES = ("begin", "census", "plan", "transfer", "closing listing", "destination listing", "verify", "seal", "end")


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    with killer(tmp_path_factory.mktemp("killer")) as made:
        yield made


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Small files, an empty one, and one that goes by three parts."""
    rng = random.Random(2026)
    made = {f"patients/{n % 12:02}/lettre {n}.txt": rng.randbytes(n * 7) for n in range(180)}
    return {**made, BIG: rng.randbytes(33 << 20)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, practice: dict[str, bytes]) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for key, data in practice.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)
    return folder


@pytest.fixture
def letters(practice: dict[str, bytes], tmp_path: Path) -> Path:
    """The small files alone."""
    folder = tmp_path / "letters"
    for key in practice.keys() - {BIG}:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(practice[key])
    return folder


@pytest.fixture
def jobs(source: Path, tmp_path: Path) -> Iterator[Job]:
    """As many fresh migrations of the practice into a folder as a test wants."""
    return (local_job(source, tmp_path / f"new{n}", tmp_path / f"evidence{n}") for n in count())


def local_job(source: Path, destination: Path, evidence: Path) -> Job:
    destination.mkdir()
    places = (Location.parse(str(place)) for place in (source, destination))
    return a_job(*places, evidence, policy=Policy(workers=1, retries=1, part_above=1 << 20))


def files(folder: Path) -> dict[str, Path]:
    """What a person sees in a folder; unfinished files are hidden from them in a folder of their own."""
    found = (Path(top) / name for top, _, names in os.walk(folder) for name in names)
    return {path.relative_to(folder).as_posix(): path for path in found if PARTIAL_FOLDER not in path.parts}


def ledger_rows(job: Job, sql: str) -> list[tuple[Any, ...]]:
    path = job.evidence / "ledger.sqlite"
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        try:
            return db.execute(sql).fetchall()
        except sqlite3.OperationalError:  # killed before its tables were made
            return []


def phase_of(job: Job) -> str:
    return "".join(value for (value,) in ledger_rows(job, "SELECT value FROM meta WHERE name = 'phase'"))


@dataclass
class Watch:
    """What was seen after each death, and must stay."""

    job: Job
    folder: Path
    practice: dict[str, bytes]
    published: dict[str, tuple[int, int]] = field(default_factory=dict)
    settled: dict[bytes, tuple[Any, ...]] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)

    def look(self) -> None:
        for key, path in files(self.folder).items():
            status = path.stat()
            if key not in self.checked:  # no partial object, ever
                assert path.read_bytes() == self.practice[key], key
                self.checked.add(key)
            assert self.published.setdefault(key, (status.st_ino, status.st_mtime_ns)) == (
                status.st_ino,
                status.st_mtime_ns,
            )
        for key, *receipt in ledger_rows(
            self.job,
            "SELECT key, received_at, salt, sha256, attempts, adopted FROM things WHERE state = 'moved' AND sha256 IS NOT NULL",
        ):
            assert self.settled.setdefault(key, tuple(receipt)) == tuple(receipt)

    def end(self) -> None:
        """Everything is there once, nothing else is, nothing was sent twice, and the evidence proves it."""
        self.look()
        assert set(self.published) == set(self.practice)
        assert not (self.folder / PARTIAL_FOLDER).exists()
        credentials = self.job.destination.credentials
        assert verify(str(self.job.evidence), credentials=credentials, policy=Policy(workers=1)).proven
        assert {line.key for line in lines(self.job.evidence)} == set(self.practice)


def test_a_migration_killed_anywhere_goes_on_and_ends_proven(
    deaths: Killer, jobs: Iterator[Job], practice: dict[str, bytes]
) -> None:
    """Five dozen deaths, each before a statement to the ledger or a change of a file drawn by lot, in every phase."""
    rng = random.Random(2026)
    whole = deaths.run(next(jobs))
    assert whole.code == 0, whole.said
    assert tuple(whole.points) == PHASES
    killed: list[str] = []
    while len(killed) < 60:
        job = next(jobs)
        watch = Watch(job, Path(job.destination.path), practice)
        # Each phase once or twice, in their order, so that a run is killed again and again on its way.
        for phase in sorted(rng.choices(PHASES, k=9), key=PHASES.index):
            ended = deaths.run(job, at=(phase, rng.randint(1, whole.points[phase])))
            if ended.code != KILLED:  # so little was left to do in this phase that the point was not reached
                break
            killed.append(phase)
            watch.look()
            if phase_of(job) == "finished":  # the next run is a delta: its receipts are new ones
                watch.settled.clear()
        else:
            ended = deaths.run(job)
        assert ended.code == 0, ended.said
        watch.end()
    assert set(killed) == set(PHASES)


def test_a_killed_run_leaves_no_worker_behind_and_its_workers_publish_nothing_half(
    deaths: Killer, jobs: Iterator[Job], practice: dict[str, bytes]
) -> None:
    rng = random.Random(2027)
    for phase, most in (("transfer", 300), ("verify", 300)):
        job = next(jobs)
        watch = Watch(job, Path(job.destination.path), practice)
        for _ in range(3):
            doomed = deaths.start(job, processes=2, at=(phase, rng.randint(1, most)))
            ended = doomed.end()
            soon(lambda doomed=doomed: not doomed.processes())
            watch.look()
            if ended.code != KILLED:
                break
        else:
            ended = deaths.run(job, processes=2)
        assert ended.code == 0, ended.said
        watch.end()


def test_a_killed_worker_process_is_replaced_in_the_same_run(
    deaths: Killer, letters: Path, tmp_path: Path, practice: dict[str, bytes]
) -> None:
    job = local_job(letters, tmp_path / "new", tmp_path / "evidence")
    run = deaths.start(job, processes=2, bandwidth="60k")
    victim = soon(lambda: moving(job) and run.workers())[0]
    os.kill(victim, signal.SIGKILL)
    ended = run.end()

    assert ended.code == 0, ended.said
    assert set(files(tmp_path / "new")) == practice.keys() - {BIG}
    soon(lambda: not run.processes())


def moving(job: Job) -> bool:
    return phase_of(job) == "transfer"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_that_the_same_command_finishes(
    deaths: Killer, letters: Path, tmp_path: Path, number: signal.Signals
) -> None:
    job = local_job(letters, tmp_path / "new", tmp_path / "evidence")
    run = deaths.start(job, processes=2, bandwidth="60k")
    soon(lambda: moving(job) and run.workers())
    os.killpg(run.pid, number) if number == signal.SIGINT else os.kill(
        run.pid, number
    )  # Ctrl-C reaches the workers too
    ended = run.end()

    assert (ended.code, "stopped" in ended.said) == (130, True), ended.said
    soon(lambda: not run.processes())
    assert deaths.run(job).code == 0


def test_a_run_ends_with_its_window_and_goes_on_in_the_next(deaths: Killer, letters: Path, tmp_path: Path) -> None:
    job = local_job(letters, tmp_path / "new", tmp_path / "evidence")
    soon_enough = (datetime.now().astimezone() + timedelta(seconds=2)).strftime("%H:%M:%S")

    assert deaths.run(job, bandwidth="30k", until=soon_enough).code == 130
    assert deaths.run(job).code == 0


def test_only_the_missing_parts_of_a_large_object_are_sent_again(deaths: Killer, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "big.bin").write_bytes(random.Random(4).randbytes((200 << 12) + 5))
    job = local_job(tmp_path / "old", tmp_path / "new", tmp_path / "evidence")
    job = a_job(
        job.source,
        Location(scheme="parted", path=job.destination.path),
        job.evidence,
        policy=Policy(part_above=1 << 16),
    )
    log = tmp_path / "new.parts"

    assert deaths.run(job, at=("transfer", 130)).code == KILLED
    settled = {str(number) for (number,) in ledger_rows(job, "SELECT number FROM parts")}
    sent = log.read_text("ascii").split()
    ended = deaths.run(job)

    assert ended.code == 0, ended.said
    sent_again = log.read_text("ascii").split()[len(sent) :]
    assert len(settled) >= 64
    assert not settled & set(sent_again)
    assert {*sent, *sent_again} == {str(number) for number in range(1, 202)}
    assert (tmp_path / "new" / "big.bin").read_bytes() == (tmp_path / "old" / "big.bin").read_bytes()


def test_a_delta_run_killed_while_it_begins_still_knows_the_run_before(deaths: Killer, tmp_path: Path) -> None:
    """At every one of its points: a delta that forgot would refuse the changed object, or take ours for another's."""
    old = tmp_path / "old"
    old.mkdir()
    for name in ("one", "two", "changed"):
        (old / name).write_bytes(name.encode())
    first = local_job(old, tmp_path / "new", tmp_path / "evidence")
    assert deaths.run(first).code == 0
    (old / "changed").write_bytes(b"something else by now")
    (old / "added").write_bytes(b"new")

    for point in count(1):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(tmp_path / "evidence", tmp_path / "copy" / "evidence")
        shutil.copytree(tmp_path / "new", tmp_path / "copy" / "new", copy_function=shutil.copy2)
        job = a_job(first.source, first.destination, tmp_path / "evidence", policy=first.policy)
        ended = deaths.run(job, at=("begin", point))
        whole = ended.code != KILLED
        if not whole:
            ended = deaths.run(job)
        assert ended.code == 0, (point, ended.said)
        assert (tmp_path / "new" / "changed").read_bytes() == b"something else by now"
        if whole:
            return
        for name in ("evidence", "new"):
            shutil.rmtree(tmp_path / name)
            shutil.copytree(tmp_path / "copy" / name, tmp_path / name, copy_function=shutil.copy2)


@pytest.mark.parametrize("pair", ["s3 to sftp", "local to s3"])
def test_runs_between_hosts_are_killed_and_end_proven_with_everything_sent_once(
    deaths: Killer,
    moto: servers.S3Server,
    sshd: servers.SftpServer,
    tmp_path: Path,
    practice: dict[str, bytes],
    pair: str,
) -> None:
    few = {key: data for key, data in practice.items() if key.endswith("1.txt")}
    if pair == "s3 to sftp":
        job = a_job(moto.place(prefix="cabinet"), sshd.place(), tmp_path / "evidence")
        watch = Watch(job, sshd.on_disk(job.destination), few)
    else:
        (tmp_path / "old").mkdir()
        job = a_job(Location.parse(str(tmp_path / "old")), moto.place(versioned=True), tmp_path / "evidence")
        watch = Watch(job, tmp_path / "nothing", few)
    fill(job.source, [Thing(key=key, data=data) for key, data in few.items()])

    rng, deadly = random.Random(2028), 0
    for phase in ("transfer", "transfer", "transfer", "verify", "verify"):
        deadly += deaths.run(job, at=(phase, rng.randint(1, 20))).code == KILLED
        watch.look()
    ended = deaths.run(job)

    assert ended.code == 0, ended.said
    assert deadly >= 4
    if pair == "s3 to sftp":
        watch.end()
    else:  # the bucket keeps all that it was ever sent
        host = connect(job.destination)
        assert Counter(entry.key for entry in host.list_versions()) == Counter(few.keys())
        assert content(job.destination) == few
        host.close()


def test_a_large_object_survives_a_death_at_every_single_point(deaths: Killer, tmp_path: Path) -> None:
    """Also between the publishing of the object and the ledger's knowing of it."""
    data = random.Random(5).randbytes((2 << 12) + 5)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "big.bin").write_bytes(data)
    for point in count(1):
        job = local_job(tmp_path / "old", tmp_path / f"new{point}", tmp_path / f"evidence{point}")
        place = Location(scheme="parted", path=job.destination.path)
        job = a_job(job.source, place, job.evidence, policy=Policy(part_above=1))
        first = deaths.run(job, at=("transfer", point))
        ended = deaths.run(job) if first.code == KILLED else first
        assert ended.code == 0, (point, ended.said)
        assert {key: path.read_bytes() for key, path in files(Path(place.path)).items()} == {"big.bin": data}
        assert not (Path(place.path) / PARTIAL_FOLDER).exists(), point
        if first.code == 0:
            assert point > 20
            return


def test_a_history_survives_a_death_between_its_versions_without_one_too_many(
    deaths: Killer, moto: servers.S3Server, tmp_path: Path
) -> None:
    history = [Thing(key="lettre.txt", data=text) for text in (b"one", b"two", b"three")]
    history.append(Thing(key="lettre.txt", deleted=True))
    source = moto.place(versioned=True)
    fill(source, history)
    for point in count(2, 5):
        job = a_job(source, moto.place(versioned=True), tmp_path / f"evidence{point}")
        first = deaths.run(job, at=("transfer", point))
        ended = deaths.run(job) if first.code == KILLED else first
        assert ended.code == 0, (point, ended.said)
        host = connect(job.destination)
        try:
            assert Counter(entry.key for entry in host.list_versions()) == {"lettre.txt": 4}
        finally:
            host.close()
        if first.code == 0:
            assert point > 10, point
            return

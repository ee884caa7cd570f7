"""Migrations by the workers of a Dask cluster: real schedulers and workers on 127.0.0.1, some of which are killed."""

from __future__ import annotations

import contextlib
import getpass
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import servers
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from killing import soon
from places import a_job, content, lines, put

from connectors import Location
from connectors.credentials import settle
from portability.cli import main
from portability.cluster import Scheduler, connected, examine, on_dask
from portability.errors import PlaceError, UsageError, exit_code
from portability.job import Job, Policy
from portability.migrate import migrate
from portability.move import move
from portability.parcel import Needs, Parcel, carry, marked, needs, unfit
from portability.tasks import Batch
from portability.throttle import Timetable
from portability.verify import verify

COUNT = 400


class Cluster:
    """A scheduler, and workers that the test starts and kills."""

    def __init__(self, folder: Path, *tls: str) -> None:
        self._folder, self._tls = folder, tls
        self._processes: list[subprocess.Popen[bytes]] = []
        self.scheduler, said = self._start("scheduler", "--port", "0", says=r"Scheduler at: *(\S+)")
        self._address = said
        self.engine = re.sub("^tcp", "dask", re.sub("^tls", "dask+tls", said))

    def worker(self) -> subprocess.Popen[bytes]:
        """One more, which has joined when this returns."""
        more = (
            "--nthreads",
            "1",
            "--no-nanny",
            "--local-directory",
            str(self._folder),
            "--preload",
            "portability.parcel",
        )
        return self._start("worker", self._address, *more, says=r"(Registered) to:")[0]

    def end_workers(self) -> None:
        while len(self._processes) > 1:
            gone(self._processes.pop())

    def end(self) -> None:
        self.end_workers()
        gone(self.scheduler)

    def _start(self, *command: str, says: str) -> tuple[subprocess.Popen[bytes], str]:
        log = self._folder / f"{len(self._processes)}-{command[0]}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [servers.program("dask"), *command, "--host", "127.0.0.1", "--no-dashboard", *self._tls],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(process)

        def said() -> re.Match[str] | None:
            assert process.poll() is None, log.read_text("utf-8", "replace")
            return re.search(says, log.read_text("utf-8", "replace"))

        return process, soon(said)[1]


@contextlib.contextmanager
def a_cluster(folder: Path, *tls: str) -> Iterator[Cluster]:
    made = Cluster(folder, *tls)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with a_cluster(tmp_path_factory.mktemp("dask")) as made:
        yield made


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    """The scheduler of all tests, with no worker yet."""
    yield shared
    shared.end_workers()


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("practice")
    rng = random.Random(2026)
    for number in range(COUNT):
        path = folder / f"patients/p{number % 20:02}/lettre {number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(8 << 10))
    return folder


class Watching:
    """A progress that acts once, in the midst of a phase, and keeps the notes."""

    def __init__(self, phase: str, act: Callable[[], object]) -> None:
        self._at, self._act = phase, act
        self._phase, self._items, self.acted = "", 0, False
        self.notes: list[str] = []

    def phase(self, name: str, items: int | None = None, size: int | None = None) -> None:
        self._phase, self._items = name, 0

    def step(self, items: int = 0, size: int = 0) -> None:
        self._items += items
        if self._phase == self._at and self._items >= COUNT // 10 and not self.acted:
            self.acted = True
            self._act()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def done(self) -> None: ...


def dask_job(cluster: Cluster, source: Path, folder: Path, *, bandwidth: str = "") -> Job:
    """Slow, where something is to happen in its midst."""
    timetable = Timetable.parse(bandwidth) if bandwidth else Timetable()
    policy = Policy(retries=1, engine=cluster.engine, bandwidth=timetable)
    places = (Location.parse(str(place)) for place in (source, folder / "new"))
    return a_job(*places, folder / "evidence", policy=policy)


def gone(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)


def test_a_worker_killed_in_mid_run_costs_nothing_but_time(cluster: Cluster, practice: Path, tmp_path: Path) -> None:
    doomed, _ = cluster.worker(), cluster.worker()
    job = dask_job(cluster, practice, tmp_path, bandwidth="4M")
    watching = Watching("transfer", lambda: gone(doomed))
    outcome = migrate(job, progress=watching)
    assert watching.acted
    assert outcome.proven, outcome.sentence
    assert content(job.destination) == content(job.source)
    assert len({line.key for line in lines(job.evidence) if line.kind == "object"}) == COUNT
    assert any("went away" in note for note in watching.notes), watching.notes


def test_all_workers_may_die_and_others_go_on(cluster: Cluster, practice: Path, tmp_path: Path) -> None:
    doomed = cluster.worker()

    def replaced() -> None:
        gone(doomed)
        cluster.worker()

    job = dask_job(cluster, practice, tmp_path, bandwidth="4M")
    watching = Watching("verify", replaced)
    outcome = migrate(job, progress=watching)
    assert watching.acted
    assert outcome.proven, outcome.sentence


def test_workers_resolve_credentials_and_verify_from_evidence_alone(
    cluster: Cluster, moto: servers.S3Server, tmp_path: Path
) -> None:
    source = moto.place()
    for number in range(20):
        put(source, f"letters/{number}", b"%d" % number, tags={"kind": "letter"})
    cluster.worker()
    policy = Policy(retries=1, engine=cluster.engine)
    job = a_job(source, Location.parse(str(tmp_path / "new")), tmp_path / "evidence", policy=policy)
    assert migrate(job).proven
    assert verify(str(job.evidence), policy=policy).proven
    victim = next(path for path in (tmp_path / "new").rglob("*") if path.is_file())
    victim.write_bytes(b"?" * victim.stat().st_size)
    assert verify(str(job.evidence), policy=policy).exit_code == 4


def test_a_worker_without_the_credentials_is_named_before_anything_is_done(
    cluster: Cluster, moto: servers.S3Server, practice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.worker()  # its environment is that of now
    monkeypatch.setenv("LATER_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("LATER_SECRET_ACCESS_KEY", "a secret of nine words")
    place = moto.place()
    destination = Location.parse(place.url, credentials="env:LATER")
    policy = Policy(retries=1, engine=cluster.engine)
    with pytest.raises(PlaceError, match=r"worker tcp://\S+ cannot take part: .*env:LATER") as caught:
        migrate(a_job(Location.parse(str(practice)), destination, tmp_path / "evidence", policy=policy))
    assert "nine words" not in str(caught.value)
    assert not (tmp_path / "evidence").exists()
    assert content(place) == {}


def test_a_folder_that_a_worker_does_not_share_is_named(cluster: Cluster, tmp_path: Path) -> None:
    cluster.worker()
    wanted = Needs(version=needs(()).version, places=(), folders=((str(tmp_path), ("what this machine sees",)),))
    with (
        connected(Scheduler.parse(cluster.engine)) as client,
        pytest.raises(PlaceError, match="mount one shared folder under the same path"),
    ):
        examine(client, wanted)


def test_a_worker_that_was_started_as_advised_has_all_loaded_before_its_first_batch(cluster: Cluster) -> None:
    cluster.worker()
    with connected(Scheduler.parse(cluster.engine)) as client:
        (loaded,) = client.run(lambda: set(sys.modules)).values()
    assert loaded >= {"portability.move", "portability.check", "connectors.s3.connector", "connectors.sftp.connector"}


def test_folders_are_known_by_what_is_in_them_or_by_a_mark(practice: Path, tmp_path: Path) -> None:
    source, new = (Location.parse(str(folder)) for folder in (practice, tmp_path / "new"))
    for made in (False, True):
        if made:
            (tmp_path / "new").mkdir()
        with marked(new) as mark:
            wanted = needs((source, new), mark)
            assert unfit(wanted) == ""
        assert "is not the folder that this machine means" in unfit(wanted)  # as where nothing was marked
    assert list((tmp_path / "new").iterdir()) == []
    other = tmp_path / "other"
    other.mkdir()
    (other / "lettre").touch()
    wanted = needs((Location.parse(str(other)),))
    shutil.rmtree(other)
    other.mkdir()
    assert str(other) in unfit(wanted)


def test_a_file_that_a_place_needs_must_be_at_the_worker(tmp_path: Path) -> None:
    place = Location.parse(f"sftp://host/?known_hosts={tmp_path}/known_hosts")
    wanted = needs((place,))
    assert unfit(wanted) == f"it cannot read {tmp_path}/known_hosts: put that file there too"


def test_a_worker_with_another_version_takes_no_part() -> None:
    other = Needs(version="0.0.1", places=())
    assert "install the same on all machines" in unfit(other)
    with pytest.raises(PlaceError, match="another version"):
        carry(Parcel(b"cportability.parcel\nAbsent\n.", b""))  # a pickle of something that this version has not


def test_a_parcel_shows_nothing_of_what_it_carries() -> None:
    assert repr(Parcel(b"needs", b"patients/name")) == "Parcel(13 bytes)"


def test_a_scheduler_that_dies_ends_the_run_which_goes_on_without_it(practice: Path, tmp_path: Path) -> None:
    with a_cluster(tmp_path) as cluster:
        cluster.worker()
        job = dask_job(cluster, practice, tmp_path, bandwidth="4M")
        watching = Watching("transfer", lambda: gone(cluster.scheduler))
        with pytest.raises(PlaceError, match="has gone; everything done so far is on disk") as caught:
            migrate(job, progress=watching)
        assert exit_code(caught.value) == 5
    here = a_job(job.source, job.destination, job.evidence)
    assert migrate(here).proven
    assert content(here.destination) == content(here.source)


def test_a_phase_gives_up_when_no_worker_comes(cluster: Cluster, practice: Path) -> None:
    notes: list[str] = []
    place = Location.parse(str(practice))

    def phase(executor: Executor, shares: int, window: Callable[[], int]) -> None:
        executor.submit(move, Batch(source=place, destination=place, tasks=())).result()

    with pytest.raises(PlaceError, match="no Dask worker came"):
        on_dask(phase, Scheduler.parse(cluster.engine), (place,), limit=4, note=notes.append, patience=0.1)
    assert notes == ["no Dask worker is there; waiting for one"]


def certificate(folder: Path) -> list[str]:
    """A certificate for 127.0.0.1 that is its own authority, and its key; as Dask's options."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cluster")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(secret)
    pem = str(folder / "cert.pem")
    return ["--tls-ca-file", pem, "--tls-cert", pem, "--tls-key", str(folder / "key.pem")]


def test_a_cluster_is_reached_over_tls(practice: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    few = tmp_path / "few"
    shutil.copytree(practice / "patients/p00", few)
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    with a_cluster(tmp_path, *certificate(tmp_path)) as cluster:
        cluster.worker()
        arguments = ["migrate", "--quiet", "--from", str(few), "--to", str(tmp_path / "new")]
        arguments += ["--evidence", str(tmp_path / "evidence"), "--engine"]
        assert main([*arguments, cluster.engine.replace("dask+tls", "dask")]) == 5
        assert "no Dask scheduler answers" in capfd.readouterr().err
        assert main([*arguments, cluster.engine]) == 2
        assert "names certificates" in capfd.readouterr().err
        assert main([*arguments, f"{cluster.engine}?ca={pem}&cert={pem}&key={key}"]) == 0


def test_a_wrong_address_is_told_apart_from_a_slow_one(
    cluster: Cluster, practice: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["migrate", "--quiet", "--from", str(practice), "--to", str(tmp_path / "new")]
    arguments += ["--evidence", str(tmp_path / "evidence"), "--engine"]
    assert main([*arguments, f"dask://127.0.0.1:{servers.free_port()}"]) == 5
    assert "no Dask scheduler answers at dask://127.0.0.1:" in capfd.readouterr().err
    assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("ray://host", '"ray://host" is not the address of an engine'),
        ("dask://", "is not the address of an engine"),
        ("dask://user@host", "is not the address of an engine"),
        ("dask://host:eight", "is not the address of an engine"),
        ("dask://host?ca=x", "certificates are for dask+tls://"),
        ("dask+tls://host?token=x", 'an engine has no option "token"'),
    ],
)
def test_an_address_that_is_none_is_refused(engine: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Scheduler.parse(engine)
    assert said in str(caught.value)
    assert "dask://HOST:8786" in caught.value.hint


def test_addresses_become_those_of_dask() -> None:
    assert Scheduler.parse("dask://head.example").address == "tcp://head.example:8786"
    assert Scheduler.parse("dask://[::1]:99").address == "tcp://[::1]:99"
    assert Scheduler.parse("dask+tls://head.example:1?ca=/ca.pem").files == (("ca", "/ca.pem"),)


def test_without_dask_the_command_says_how_to_install_it(
    practice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    places = ["--from", str(practice), "--to", str(tmp_path / "new"), "--evidence", str(tmp_path / "evidence")]
    assert main(["migrate", *places, "--engine", "dask://127.0.0.1:8786"]) == 2
    assert "pip install 'portability-toolkit[dask]'" in capfd.readouterr().err


def test_what_only_this_process_knows_cannot_be_given_to_a_cluster(
    practice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy(engine="dask://127.0.0.1:8786")
    source = Location.parse(str(practice))
    with pytest.raises(UsageError, match="in this process's memory"):
        migrate(a_job(source, Location.parse("memory://new"), tmp_path / "evidence", policy=policy))
    monkeypatch.setattr(getpass, "getpass", lambda text: "typed")
    typed = settle("prompt", "sftp", "sftp://host/")
    with pytest.raises(UsageError, match="prompt stays in this process"):
        migrate(a_job(source, Location.parse("sftp://host/", credentials=typed), tmp_path / "evidence", policy=policy))

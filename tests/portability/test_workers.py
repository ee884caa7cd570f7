"""The workers of a run: the same ones for all of its phases, and new ones only after one died."""

from __future__ import annotations

import os
import pickle
import signal
import socketserver
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import ClassVar

import pytest
from places import a_job, put

from connectors import ConnectorError, Entry, Location, Stream
from connectors.memory import Memory
from connectors.registry import register
from portability.check import Checked, Difference
from portability.errors import PlaceError
from portability.job import Policy
from portability.lock import is_held
from portability.migrate import migrate
from portability.pool import OwnWorkers
from portability.progress import Silent
from portability.tasks import Moved


def here(_: object) -> int:
    return os.getpid()


def ended(_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def workers() -> Iterator[tuple[OwnWorkers, list[str]]]:
    told: list[str] = []
    own = OwnWorkers(1, processes=True, renewed=lambda: told.append("renewed"))
    try:
        yield own, told
    finally:
        own.close()


def seen_by(own: OwnWorkers) -> list[int]:
    seen: list[int] = []
    own.run(lambda executor, count: seen.extend(executor.map(here, range(count))))
    return seen


def test_what_was_begun_early_does_the_work_of_all_phases() -> None:
    with workers() as (own, told):
        own.begin(here, None)
        own.begin(here, None)  # asked twice, begun once
        assert seen_by(own) == seen_by(own) != [os.getpid()]
        assert not told


def test_a_worker_that_was_killed_between_two_phases_is_made_anew() -> None:
    with workers() as (own, told):
        (first,) = seen_by(own)
        os.kill(first, signal.SIGTERM)
        (second,) = seen_by(own)
        assert second != first
        assert told in ([], ["renewed"])


def test_workers_that_keep_dying_are_given_up() -> None:
    def deadly(executor: Executor, count: int) -> None:
        list(executor.map(ended, range(count)))

    with workers() as (own, told):
        with pytest.raises(PlaceError, match="keep dying"):
            own.run(deadly)
        assert told == ["renewed"] * 3
        assert len(seen_by(own)) == 1


class Refusing(socketserver.BaseRequestHandler):
    """Hangs up on everyone, after a while in which others may come too."""

    callers: ClassVar[list[object]] = []

    def handle(self) -> None:
        self.callers.append(self.client_address)
        self.request.settimeout(0.5)
        with suppress(OSError):
            while self.request.recv(1024):
                pass


def test_a_place_that_refuses_is_asked_by_nobody_but_the_driver(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "letter.txt").write_bytes(b"Bonjour")
    (tmp_path / "known_hosts").touch()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        to = Location(
            scheme="sftp",
            host="127.0.0.1",
            port=server.server_address[1],
            user="nobody",
            path="/x",
            options={"known_hosts": str(tmp_path / "known_hosts")},
        )
        job = a_job(Location.parse(str(source)), to, tmp_path / "evidence", policy=Policy(workers=4, retries=1))
        with pytest.raises(ConnectorError):
            migrate(job)
        server.shutdown()
    assert len(Refusing.callers) == 1


def test_nobody_else_begins_while_workers_of_a_run_that_ended_early_still_put_what_they_hold(tmp_path: Path) -> None:
    evidence, broken, held = tmp_path / "evidence", threading.Event(), list[bool]()

    class Breaking(Silent):
        def phase(self, name: str, items: int | None = None, size: int | None = None) -> None:
            self.breaks = name == "transfer"

        def step(self, items: int = 0, size: int = 0) -> None:
            if self.breaks:
                broken.set()
                raise RuntimeError("the terminal is gone")

    class Slow(Memory):
        def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
            if entry.key == "last.txt":
                assert broken.wait(30)
                until = time.monotonic() + 0.3
                while is_held(evidence) and time.monotonic() < until:
                    pass
                held.append(is_held(evidence))
            return super().open(entry, start, stop)

    source = Location(scheme="memory", host=uuid.uuid4().hex)
    for name in (*map(str, range(15)), "last"):  # two batches
        put(source, f"{name}.txt", b"Bonjour")
    register(scheme := f"slow{uuid.uuid4().hex}+memory", Slow)
    job = a_job(replace(source, scheme=scheme), Location(scheme="memory", host=uuid.uuid4().hex), evidence)
    with pytest.raises(RuntimeError, match="the terminal is gone"):
        migrate(job, progress=Breaking())
    assert held == [True]
    assert not is_held(evidence)


def test_a_place_that_only_this_process_knows_is_opened_by_no_other(tmp_path: Path) -> None:
    source = Location(scheme="memory", host=uuid.uuid4().hex)
    put(source, "letter.txt", b"Bonjour")
    register(scheme := f"tried{uuid.uuid4().hex}", Memory)
    job = a_job(replace(source, scheme=scheme), Location.parse(str(tmp_path / "new")), tmp_path / "evidence")
    assert migrate(job).proven
    assert (tmp_path / "new" / "letter.txt").read_bytes() == b"Bonjour"


@pytest.mark.parametrize(
    "answer",
    [
        Moved(
            id=1,
            facts="{}",
            size=2,
            sha256="ab",
            losses=(("modified", "/modified"),),
            attempts=1,
            received_at="",
            salt="",
        ),
        Checked(id=1, level="none", differences=(Difference(problem="size", expected="1", found="2", depth="read"),)),
    ],
)
def test_an_answer_that_travelled_is_the_same_and_as_frozen(answer: Moved | Checked) -> None:
    arrived = pickle.loads(pickle.dumps(answer))
    assert arrived == answer
    assert hash(arrived) == hash(answer)
    assert replace(arrived, id=2) == replace(answer, id=2) != answer
    with pytest.raises(FrozenInstanceError):
        arrived.id = 2


def outcome_of(program: str, *arguments: object) -> str:
    """What a process of one thread says, which a process that runs tests may not be."""
    told = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=True
    )
    return told.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are never copies")
def test_workers_are_copies_of_a_process_only_while_it_has_one_thread_and_no_open_place() -> None:
    told = outcome_of(
        """
import os, threading
from portability.pool import OwnWorkers

def parents(*, alone):
    own = OwnWorkers(2, processes=True, renewed=print)
    try:
        own.start({"file"}, alone=alone)
        found = set()
        own.run(lambda executor, count: found.add(executor.submit(os.getppid).result()))
        return found == {os.getpid()}
    finally:
        own.close()

print(parents(alone=True), parents(alone=False))
over = threading.Event()
threading.Thread(target=over.wait).start()
print(parents(alone=True))
over.set()
"""
    )
    assert told.split() == ["True", "False", "False"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are never copies")
def test_workers_are_no_copies_where_a_hosts_module_starts_a_thread_when_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "restless.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    installed = tmp_path / "restless-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: restless\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[portability.connectors]\nrestless = restless:connect\n")
    told = outcome_of(
        """
import os, sys
sys.path.append(sys.argv[1])
from portability.pool import OwnWorkers

own = OwnWorkers(1, processes=True, renewed=print)
own.start({"restless"}, alone=True)
own.run(lambda executor, count: print("restless" in sys.modules, executor.submit(os.getppid).result() == os.getpid()))
own.close()
""",
        tmp_path,
    )
    assert told.split() == ["True", "False"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no copies of processes here")
def test_a_copy_of_a_process_holds_none_of_its_locks(tmp_path: Path) -> None:
    told = outcome_of(
        """
import os, signal, sys
from pathlib import Path
from portability.lock import FolderLock, is_held

with FolderLock(Path(sys.argv[1])):
    begun, tell = os.pipe()
    child = os.fork()
    if not child:
        os.write(tell, b"1")
        signal.pause()
    os.read(begun, 1)
    print(is_held(Path(sys.argv[1])))
print(is_held(Path(sys.argv[1])))
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
""",
        tmp_path,
    )
    assert told.split() == ["True", "False"]

"""The verifier's workers: every answer arrives, whatever its size, and nobody waits for the dead."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import archives
import pytest

from manifests.errors import FormatError
from portability.archive.verifier import verify_bag
from portability.archive.verifier_findings import Findings
from portability.archive.verifier_hashing import BATCH, Hashed, Run
from portability.archive.verifier_match import Counts, Listed, Matcher
from portability.archive.verifier_tree import LocalTree
from portability.archive.verifier_workers import Task, Workers

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere the workers are those of the standard library"
)


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(2, processes=True)
    yield made
    made.close()


def _echo(data: bytes) -> bytes:
    return data


def _refuse(text: str) -> None:
    raise FormatError(text, line=7, rule="3.1")


def test_tasks_and_answers_larger_than_any_pipe_pass_each_other(workers: Workers) -> None:
    pieces = [bytes([number]) * (3 << 20) for number in range(12)]
    tasks = [workers.submit(_echo, piece) for piece in pieces]
    assert [task.result() for task in tasks] == pieces


def test_answers_of_many_items_keep_their_order(workers: Workers) -> None:
    assert list(workers.each(_echo, (b"%d" % number for number in range(100)))) == [b"%d" % n for n in range(100)]


def test_tasks_are_told_as_soon_as_one_is_done(workers: Workers) -> None:
    left = {workers.submit(_echo, b"%d" % number) for number in range(20)}
    while left:
        done = workers.wait(left)
        assert done
        assert all(task.done() for task in done)
        left -= set(done)


_LONG = """
import time
from portability.archive.verifier_workers import Workers
workers = Workers(2, processes=True)
long = workers.submit(time.sleep, 600, alone=True)
print(workers.submit(abs, -7, alone=True).result())
print(sum(task.result() for task in [workers.submit(abs, -1) for number in range(20)]), long.done())
workers.close()
"""


def test_nothing_waits_behind_a_task_that_may_take_long_and_nobody_for_its_end() -> None:
    assert _alone(_LONG) == "7\n20 False\n"


def test_what_a_task_raises_is_raised_here(workers: Workers) -> None:
    with pytest.raises(FormatError) as caught:
        workers.submit(_refuse, "not so").result()
    assert (caught.value.message, caught.value.line) == ("not so", 7)
    assert workers.submit(_echo, b"still there").result() == b"still there"


_KILLED = """
import os, signal, threading
from portability.archive.verifier_workers import Workers
from portability.errors import PlaceError
stop = threading.Event()
if {threads}:
    threading.Thread(target=stop.wait).start()
workers = Workers(2, processes=True)
os.kill(workers.submit(os.getpid).result(), signal.SIGKILL)
try:
    list(workers.each(len, [bytes(1000)] * 100))
except PlaceError as error:
    print(error.hint)
workers.close()
stop.set()
"""


@pytest.mark.parametrize("threads", [False, True])
def test_a_killed_worker_is_a_sentence_and_no_wait_without_end(threads: bool) -> None:
    assert "--workers 1" in _alone(_KILLED.format(threads=threads))


_FORBIDDEN = """
import resource
from portability.archive.verifier_workers import Workers
from portability.errors import PlaceError
resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))
try:
    Workers(4, processes=True).submit(abs, -7)
except PlaceError as error:
    print(error.message)
"""


def test_processes_that_cannot_be_started_are_no_damage_of_the_archive() -> None:
    assert "no processes can be started" in _alone(_FORBIDDEN)


_IGNORING = """
import signal
from portability.archive.verifier_workers import Workers
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
workers = Workers(2, processes=True)
print(workers.submit(abs, -7).result())
workers.close()
"""


def test_workers_end_where_nobody_waits_for_children() -> None:
    assert _alone(_IGNORING) == "7\n"


def _alone(program: str) -> str:
    """What this prints in a process of its own: the one that runs the tests has threads, beside which nothing is forked."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


class Forgetful(Workers):
    """Workers who say of every task that it is done, and have done nothing."""

    def submit(self, work: Callable[..., Any], *arguments: Any, alone: bool = False) -> Task[Any]:
        return super().submit(partial(Hashed, payload=True))


def test_files_that_nobody_read_are_never_intact(tmp_path: Path) -> None:
    names = [f"{number:04}" for number in range(BATCH)]
    (tmp_path / "data").mkdir()
    for name in names:
        (tmp_path / "data" / name).touch()
    tree, digest = LocalTree(tmp_path), hashlib.sha256().hexdigest()

    def verified(crew: Workers) -> Counts:
        matcher = Matcher(tree, Findings("archive"), crew, lambda _: "V12")
        try:
            matcher.run(tree.runs(), iter([Listed(("sha256",), Run("data", names, [digest] * len(names)))]))
            matcher.finish()
        finally:
            crew.close()
        return matcher.counts

    assert verified(Workers(2, processes=True)).payload_intact == len(names)
    with pytest.raises(AssertionError, match=f"{BATCH} listed files"):
        verified(Forgetful(2, processes=True))


_DRIVER = """
import os, time
from portability.archive.verifier_workers import Workers
workers = Workers(2, processes=True)
busy = [workers.submit(time.sleep, 60) for _ in range(2)]
print(os.getpid(), *(worker.process for worker in workers._crew._workers), flush=True)
os.read(0, 1)
"""


def test_workers_end_with_a_driver_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        _, *workers = map(int, driver.stdout.readline().split())
        assert len(workers) == 2
        driver.kill()
        driver.wait(timeout=30)
    deadline = time.monotonic() + 30
    while any(_runs(worker) for worker in workers):
        assert time.monotonic() < deadline, "they go on without their driver"
        time.sleep(0.01)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("alteration", [None, "payload changed"])
def test_beside_another_thread_nothing_is_forked_and_the_verdict_is_the_same(
    tmp_path: Path, alteration: str | None
) -> None:
    folder = archives.build(tmp_path / "archive", {f"{number:05}": b"%d" % number for number in range(2500)})
    if alteration:
        (folder / "data/files/00007").write_bytes(b"8")
    alone = verify_bag(folder, workers=2)
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        beside = verify_bag(folder, workers=2)
    finally:
        stop.set()
        other.join()
    assert (alone.exit_code, alone.counts, alone.totals) == (beside.exit_code, beside.counts, beside.totals)
    assert alone.exit_code == (4 if alteration else 0)


def test_large_empty_and_small_files_of_one_folder_are_all_hashed(tmp_path: Path) -> None:
    sizes = [0, 1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 300_000, 5 << 20]
    contents = {f"{number:04}": b"x" * sizes[number % len(sizes)] for number in range(60)}
    folder = archives.build(tmp_path / "archive", contents)
    whole = verify_bag(folder, workers=2)
    assert (whole.exit_code, whole.counts.payload_bytes) == (0, sum(map(len, contents.values())))
    spoiled = [f"data/files/{number:04}" for number in range(13)]
    for path in spoiled:
        data = (folder / path).read_bytes()
        (folder / path).write_bytes(data[:-1] + b"y" if data else b"y")
    result = verify_bag(folder, workers=2)
    assert result.exit_code == 4
    assert sorted(finding.path for finding in result.findings if finding.rule == "V15") == spoiled
    assert result.counts.payload_intact == whole.counts.payload_intact - len(spoiled)

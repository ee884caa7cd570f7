"""Drills that die at any point: the same command goes on, the scratch places end empty, the history has one line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from drills import a_drill_job, drilled, drills, left_in, with_terms

from connectors import Location
from portability.drill.folder import STATE
from portability.job import Job

FILES = {f"f/{number}.txt": f"text {number}".encode() for number in range(6)}
_STEPS = frozenset({"os.rename", "os.link", "os.remove", "os.rmdir", "shutil.rmtree"})


@dataclass(frozen=True, kw_only=True)
class Ended:
    code: int
    points: int
    said: str


class Killer:
    """Starts drills in forks of a process that has imported everything once."""

    def __init__(self, server: subprocess.Popen[str], result: Path) -> None:
        self._server, self._result = server, result

    def run(self, folder: Path, *, at: int | str = 0, share: int | None = None) -> Ended:
        """Drill, killed at the `at`-th change of a file, or when the file of this name gets it; 0: not killed."""
        order = {"folder": str(folder), "at": at, "share": share, "result": str(self._result)}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        told = json.loads(self._result.read_text("utf-8")) if self._result.exists() else {"points": 0, "said": ""}
        self._result.unlink(missing_ok=True)
        return Ended(code=code, points=told["points"], said=told["said"])


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    if os.name != "posix":
        pytest.skip("needs fork and SIGKILL")
    server = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    try:
        yield Killer(server, tmp_path_factory.mktemp("result") / "result.json")
    finally:
        assert server.stdin is not None
        server.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(60)
        server.kill()
        assert server.stdout is not None
        server.stdout.close()


def job_in(folder: Path) -> Job:
    source = folder / "source"
    for key, data in FILES.items():
        path = source / key
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return a_drill_job(Location.parse(str(source)), folder)


def is_clean(job: Job, folder: Path) -> None:
    assert left_in(Location.parse(str(folder / "scratch"))) == []
    assert left_in(Location.parse(str(folder / "second"))) == []
    assert drills(job).unfinished() == []


def test_a_drill_killed_at_any_point_goes_on_and_is_remembered_once(deaths: Killer, tmp_path: Path) -> None:
    whole = deaths.run(tmp_path / "whole")
    assert whole.code == 0, whole.said
    killed, steps = 0, set()
    for at in (*range(1, whole.points, max(1, whole.points // 8)), "drill.json", "history.jsonl"):
        folder = tmp_path / str(at)
        first = deaths.run(folder, at=at)
        assert first.code == -signal.SIGKILL, (at, first)
        job = job_in(folder)
        for unfinished in drills(job).unfinished():
            steps.add(json.loads((unfinished / STATE).read_bytes())["step"])
        killed += 1

        second = deaths.run(folder)

        assert second.code == 0, (at, second.said)
        is_clean(job, folder)
        (entry,) = drills(job).entries()
        assert entry.result.startswith("proven "), at
        last = drills(job).last()
        assert last is not None
        assert last.proven.objects == len(FILES), at
    assert killed > 8
    assert steps == {"export", "restore", "record", "finish"}


def test_another_drill_after_a_killed_one_removes_what_that_left(deaths: Killer, tmp_path: Path) -> None:
    whole = deaths.run(tmp_path / "whole").points
    assert deaths.run(tmp_path / "x", at=whole // 2).code == -signal.SIGKILL
    job = job_in(tmp_path / "x")
    assert left_in(Location.parse(str(tmp_path / "x" / "scratch"))) != []

    told = drilled(job, 1, share=900_000, seed="s").record

    assert told.verdict.proven, told.verdict.reasons
    assert [(one.problem, one.count, one.fails) for one in told.findings] == [("unfinished", 1, False)]
    is_clean(job, tmp_path / "x")
    assert len(drills(job).entries()) == 1


def test_a_drill_into_other_places_removes_what_a_killed_one_left_in_the_places_that_it_had(
    deaths: Killer, tmp_path: Path
) -> None:
    whole = deaths.run(tmp_path / "whole").points
    assert deaths.run(tmp_path / "x", at=whole // 2).code == -signal.SIGKILL
    job = job_in(tmp_path / "x")
    elsewhere = Location.parse(str(tmp_path / "elsewhere"))
    told = drilled(with_terms(job, scratch=elsewhere, restore_to=elsewhere), 1).record
    assert [one.problem for one in told.findings] == ["unfinished"]
    is_clean(job, tmp_path / "x")
    assert left_in(elsewhere) == []


def test_a_sampled_drill_that_was_killed_draws_the_same_sample(deaths: Killer, tmp_path: Path) -> None:
    whole = deaths.run(tmp_path / "whole", share=600_000).points
    assert deaths.run(tmp_path / "x", at=whole // 3, share=600_000).code == -signal.SIGKILL
    job = job_in(tmp_path / "x")
    (unfinished,) = drills(job).unfinished()
    seed = json.loads((unfinished / STATE).read_bytes())["turn"]["seed"]
    assert deaths.run(tmp_path / "x", share=600_000).code == 0
    last = drills(job).last()
    assert last is not None
    assert last.scope.sample is not None
    assert last.scope.sample.seed == seed


# -- the process that drills ------------------------------------------------------------------------------------------


class _Points:
    def __init__(self, at: int | str) -> None:
        self._at, self.count = at, 0

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _STEPS:
            self.count += 1
            named = event in {"os.link", "os.rename"} and str(arguments[1]).endswith(f"/{self._at}")
            if self.count == self._at or named:
                os.kill(os.getpid(), signal.SIGKILL)


def _run(order: dict[str, Any]) -> int:
    folder = Path(order["folder"])
    job = job_in(folder)
    points = _Points(order["at"])
    sys.addaudithook(points.audit)
    said, code = "", 1
    try:
        code = drilled(job, share=order["share"]).record.verdict.exit_code
    except BaseException as error:
        said = repr(error)
    Path(order["result"]).write_text(json.dumps({"points": points.count, "said": said}), "utf-8")
    return code


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(_run(json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()

"""Migrations that die: a process which runs each one in a fork of itself and kills it at a counted point, or tells its id."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from connectors import Entry, Location, Stream
from connectors.local.host import Local
from connectors.registry import factory, register
from portability.errors import exit_code
from portability.job import Job, Policy
from portability.migrate import migrate
from portability.throttle import Timetable

T = TypeVar("T")
WITHIN = 60.0
"""Seconds for anything that must happen; only a broken program takes them."""
_STEPS = frozenset({"os.rename", "os.link", "os.remove", "os.rmdir", "os.truncate", "os.utime", "http.client.send"})


@dataclass(frozen=True, kw_only=True)
class Ended:
    code: int
    """Of the run: its exit code, or minus the number of the signal that ended it."""
    points: Mapping[str, int]
    """How many points each phase passed through, in order; only of a run that came to its end."""
    said: str
    """The sentence or the error."""


class Doomed:
    """The test's end of a run under way."""

    def __init__(self, server: subprocess.Popen[str], result: Path) -> None:
        self._server, self._result = server, result
        self.pid = int(self._line())

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()

    def end(self) -> Ended:
        code = int(self._line())
        told = json.loads(self._result.read_text("utf-8")) if self._result.exists() else {"points": {}, "said": ""}
        self._result.unlink(missing_ok=True)
        return Ended(code=code, points=told["points"], said=told["said"])

    def processes(self) -> dict[int, int]:
        """The living processes of the run, each with its parent's id."""
        listed = subprocess.run(["ps", "-eo", "pid=,ppid=,pgid=,stat="], stdout=subprocess.PIPE, check=True).stdout
        rows = [line.split() for line in listed.decode("ascii").splitlines()]
        return {
            int(pid): int(parent)
            for pid, parent, group, state in rows
            if int(group) == self.pid and not state.startswith("Z")
        }

    def workers(self) -> list[int]:
        """The worker processes: the run's own copies, or a fork server's children."""
        return [pid for pid in self.processes() if pid != self.pid]


def soon(what: Callable[[], T]) -> T:
    """The first true answer; an AssertionError if none comes."""
    deadline = time.monotonic() + WITHIN
    while time.monotonic() < deadline:
        if answer := what():
            return answer
        time.sleep(0.02)  # between two looks
    raise AssertionError(f"nothing within {WITHIN} seconds")


class Killer:
    """Starts runs; see the module."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server, self._result = server, folder / "result.json"

    def start(
        self,
        job: Job,
        *,
        at: tuple[str, int] | None = None,
        processes: int = 0,
        bandwidth: str = "",
        until: str | None = None,
    ) -> Doomed:
        """`at`: the phase and the number of the point in it that kills; `processes`: workers, 0 for threads of the run itself."""
        places = [(side.url, side.credentials) for side in (job.source, job.destination)]
        order = {
            "places": places,
            "evidence": str(job.evidence),
            "part_above": job.policy.part_above,
            "at": at,
            "processes": processes,
            "bandwidth": bandwidth,
            "until": until,
            "environment": {name: value for name, value in os.environ.items() if name.startswith("TEST_")},
            "result": str(self._result),
        }
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return Doomed(self._server, self._result)

    def run(self, job: Job, **how: Any) -> Ended:
        return self.start(job, **how).end()


@contextmanager
def killer(folder: Path) -> Iterator[Killer]:
    """A process to start runs in: it has imported everything once, so that a run costs what the run costs."""
    server = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    try:
        yield Killer(server, folder)
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(WITHIN)
        assert server.stdout is not None
        server.stdout.close()


# -- the other process ------------------------------------------------------------------------------------------------


class Parted(Local):
    """A folder that takes large objects in many small parts, and writes down which part came."""

    def part_size(self, size: int) -> int:
        return 1 << 12

    def put_part(self, entry: Entry, token: str, number: int, body: Stream, size: int) -> str:
        with Path(f"{self._location.path}.parts").open("a", encoding="ascii") as log:
            log.write(f"{number}\n")
        return super().put_part(entry, token, number, body, size)


class _Points:
    """Counts statements, changes of files and requests by phase; a Progress tells the phase. Dies at the point that was ordered."""

    def __init__(self, at: tuple[str, int] | None) -> None:
        self._at = at
        self._phase = "begin"
        self.counts: dict[str, int] = {}

    def pass_one(self) -> None:
        count = self.counts[self._phase] = self.counts.get(self._phase, 0) + 1
        if self._at == (self._phase, count):
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _STEPS:
            self.pass_one()

    def phase(self, name: str, items: int | None = None, size: int | None = None) -> None:
        self._phase = name

    def step(self, items: int = 0, size: int = 0) -> None: ...

    def note(self, text: str) -> None: ...

    def done(self) -> None:
        if self._phase == "seal":
            self._phase = "end"


def _counting(points: _Points) -> Callable[..., sqlite3.Connection]:
    connect = sqlite3.connect

    class Connection(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            points.pass_one()
            return super().execute(*arguments)

    return lambda *arguments, **named: connect(*arguments, factory=Connection, **named)


def _run(order: dict[str, Any]) -> int:
    os.setpgid(0, 0)
    os.environ.update(order["environment"])  # credentials of servers that were started after this process
    source, destination = (Location.parse(url, credentials=credentials) for url, credentials in order["places"])
    job = Job(
        source=source,
        destination=destination,
        evidence=Path(order["evidence"]),
        policy=Policy(
            workers=order["processes"] or 1,
            retries=1,
            part_above=order["part_above"],
            until=order["until"],
            bandwidth=Timetable.parse(order["bandwidth"]) if order["bandwidth"] else Timetable(),
        ),
    )
    points = _Points(tuple(order["at"]) if order["at"] else None)
    sys.addaudithook(points.audit)
    sqlite3.connect = _counting(points)  # type: ignore[assignment]  # the same function, with connections that count
    executor = None if order["processes"] else ThreadPoolExecutor(2)
    try:
        outcome = migrate(job, progress=points, executor=executor)
        code, said = outcome.exit_code, outcome.sentence
    except BaseException as error:
        code, said = exit_code(error), repr(error)
    Path(order["result"]).write_text(json.dumps({"points": points.counts, "said": said}), "utf-8")
    return code


def main() -> None:
    register("parted", lambda location: Parted(replace(location, path=f"/{location.path}")))
    for scheme in ("s3", "sftp"):
        factory(scheme)  # imports it, so that no run needs to
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(_run(json.loads(line)))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()

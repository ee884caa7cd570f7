"""Runs the verifier's work on all cores: by processes forked from this one where that is safe, else by executors."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from portability.errors import PlaceError

if TYPE_CHECKING:  # late: where processes are forked nobody needs them, and they take a tenth of a short verification
    from concurrent.futures import Executor, Future

Result = TypeVar("Result")
_Result = TypeVar("_Result", covariant=True)

_AHEAD = 3
"""Tasks that a worker holds: the one that it does, and those that it finds when that is done."""
_ENDING = (signal.SIGINT, signal.SIGTERM)
_PIPE = 1 << 20  # so that what a worker holds fits: who has nothing to read must wait for the driver


class Task(Protocol[_Result]):
    """Work that is done elsewhere."""

    def done(self) -> bool: ...

    def result(self) -> _Result:
        """What came of it, once it is done; what it raised is raised."""


class Workers:
    """Runs work on all cores. Where it is Python's own work: processes; where it mostly waits for a host: threads."""

    def __init__(self, count: int | None, *, processes: bool) -> None:
        self.count = count or os.cpu_count() or 1
        self._processes = processes
        self._crew: _Forked | _Executed | None = None
        self.meanwhile: Callable[[], object] = lambda: None
        """Called now and then while work is made: other work that goes to the same workers."""

    def submit(self, work: Callable[..., Result], *arguments: Any, alone: bool = False) -> Task[Result]:
        """Start this elsewhere. `alone`: it may take long, so that nothing else is to wait behind it for its worker."""
        if self._crew is None:
            forks = self._processes and sys.platform == "linux" and threading.active_count() == 1
            self._crew = _Forked(self.count) if forks else _Executed(self.count, processes=self._processes)
        return self._crew.submit(work, *arguments, alone=alone)

    def wait(self, tasks: Iterable[Task[Result]]) -> Sequence[Task[Result]]:
        """Those of these tasks that are done, as soon as one is."""
        return self._crew.wait(tasks) if self._crew is not None else ()

    def each(self, work: Callable[..., Result], items: Iterable[Any]) -> Iterator[Result]:
        """What comes of each item, in order, with a bounded number of them under way."""
        under_way: deque[Task[Result]] = deque()
        for item in items:
            under_way.append(self.submit(work, item))
            if len(under_way) > 2 * self.count:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

    def close(self) -> None:
        """End them; what is not done yet is not done."""
        if self._crew is not None:
            self._crew.close()


class _Executed:
    """Workers of the standard library: threads, or processes on systems and in programs where a fork is not safe."""

    def __init__(self, count: int, *, processes: bool) -> None:
        from concurrent.futures import ThreadPoolExecutor
        from multiprocessing import active_children

        self._processes, self._others = processes, set(active_children())
        self._executor: Executor = _pool(count) if processes else ThreadPoolExecutor(max(count, 8))

    def submit(self, work: Callable[..., Result], *arguments: Any, alone: bool) -> Task[Result]:
        del alone  # here everything waits for whoever is free first
        with _dying_told():
            return _Awaited(self._executor.submit(work, *arguments))

    def wait(self, tasks: Iterable[Any]) -> Sequence[Any]:
        from concurrent.futures import FIRST_COMPLETED, wait

        tasks = list(tasks)
        wait((task.future for task in tasks), return_when=FIRST_COMPLETED)
        return [task for task in tasks if task.done()]

    def close(self) -> None:
        from multiprocessing import active_children

        # A pool of processes that broke while it started one would wait for that one for ever.
        self._executor.shutdown(wait=not self._processes, cancel_futures=True)
        for child in set(active_children()) - self._others if self._processes else ():
            child.kill()  # it only reads: nothing is lost
            child.join()


class _Awaited:
    """A task of an executor."""

    def __init__(self, future: Future[Any]) -> None:
        self.future = future

    def done(self) -> bool:
        return self.future.done()

    def result(self) -> Any:
        with _dying_told():
            return self.future.result()


@contextmanager
def _dying_told() -> Iterator[None]:
    from concurrent.futures import BrokenExecutor

    try:
        yield
    except BrokenExecutor:
        raise _died() from None


def _pool(count: int) -> Executor:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    from portability import forks

    method = "forkserver" if forks.offered() else "spawn"
    if method == "forkserver":
        forks.start([f"portability.archive.verifier_{part}" for part in ("hashing", "manifest")])
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context(method), initializer=_begin)


def _begin() -> None:
    from multiprocessing import parent_process

    # Ctrl-C reaches the whole terminal: the driver decides. A killed driver cannot tell its workers: they watch it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.join,), daemon=True).start()


def _end_after(wait: Callable[[], object]) -> NoReturn:
    wait()
    os._exit(1)


class _Given:
    """A task of a forked worker."""

    def __init__(self, crew: _Forked, work: tuple[Any, ...], *, alone: bool) -> None:
        self._crew = crew
        self.work = work
        self.alone = alone
        self.finished = False
        self.answer: tuple[bool, Any] = False, None

    def done(self) -> bool:
        if not self.finished:
            self._crew.turn(wait=False)
        return self.finished

    def result(self) -> Any:
        while not self.finished:
            self._crew.turn(wait=True)
        good, value = self.answer
        if good:
            return value
        raise value


class _Worker:
    """One process, and the ends of its two pipes that are ours."""

    def __init__(self, process: int, given: int, told: int) -> None:
        self.process, self.given, self.told = process, given, told
        self.held: deque[_Given] = deque()
        self.unsent = memoryview(b"")

    def room(self, task: _Given) -> int:
        """How many more tasks it might hold, if it may hold this one."""
        if self.held and (task.alone or self.held[-1].alone):
            return 0
        return _AHEAD - len(self.held)

    def take(self, task: _Given) -> None:
        self.held.append(task)
        self.unsent = memoryview(bytes(self.unsent) + pickle.dumps(task.work, pickle.HIGHEST_PROTOCOL))

    def send(self) -> None:
        """As much as its pipe has room for."""
        try:
            self.unsent = self.unsent[os.write(self.given, self.unsent) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            raise _died() from None

    def hear(self) -> None:
        """The answer that it begins to give."""
        task = self.held.popleft()
        task.answer = pickle.loads(self._exactly(int.from_bytes(self._exactly(8))))  # noqa: S301 - from our own fork
        task.finished = True

    def _exactly(self, count: int) -> bytes:
        pieces = []
        while count:
            piece = os.read(self.told, count)
            if not piece:
                raise _died()
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)


def _died() -> PlaceError:
    return PlaceError(
        "a process of the verification was killed (for want of memory?)",
        hint="run the same command again, with --workers 1",
    )


class _Forked:
    """Processes forked from this one, and nothing beside it: no thread that would ask for the interpreter, no queue.

    A fork is ten times faster than any other start, and safe while no other thread holds a lock. Every worker has a pipe
    for its tasks and one for its answers. We read an answer whole, but write only what a pipe has room for: so neither
    side ever waits for a side that waits for it.
    """

    def __init__(self, count: int) -> None:
        self._waiting: deque[_Given] = deque()
        self._workers: list[_Worker] = []
        try:
            self._life, self._alive = os.pipe()
            try:
                for _ in range(count):
                    self._workers.append(self._fork())
            except OSError:
                self.close()
                raise
            finally:
                os.close(self._life)
        except OSError as error:  # not to be taken for one of the archive
            raise PlaceError(
                f"no processes can be started for the verification: {error.strerror or error}",
                hint="run the same command again when less else is running, or with --workers 1",
            ) from error

    def submit(self, work: Callable[..., Any], *arguments: Any, alone: bool) -> Task[Any]:
        task = _Given(self, (work, arguments), alone=alone)
        self._waiting.append(task)
        self.turn(wait=False)
        return task

    def wait(self, tasks: Iterable[Any]) -> Sequence[Any]:
        while not (done := [task for task in tasks if task.finished]):
            self.turn(wait=True)
        return done

    def turn(self, *, wait: bool) -> None:
        """Take the answers that are there, or wait for one; give tasks to whoever has room."""
        import select  # here, because its `poll` is not for every system

        looked = select.poll()
        self._give()
        for worker in self._workers:
            if worker.held:
                looked.register(worker.told, select.POLLIN)
            if worker.unsent:
                looked.register(worker.given, select.POLLOUT)
        ready = {handle for handle, _ in looked.poll(None if wait else 0)}
        for worker in self._workers:
            if worker.told in ready:
                worker.hear()
            elif worker.given in ready:
                worker.send()
        self._give()

    def _give(self) -> None:
        while self._waiting:
            task = self._waiting[0]
            freest = max(self._workers, key=lambda worker: worker.room(task))
            if not freest.room(task):
                break
            freest.take(self._waiting.popleft())
        for worker in self._workers:
            if worker.unsent:
                worker.send()

    def close(self) -> None:
        os.close(self._alive)
        for worker in self._workers:
            os.close(worker.given)
            os.close(worker.told)
            with suppress(ChildProcessError, ProcessLookupError):  # whoever started us may have SIGCHLD ignored
                if worker.held:  # it only reads: nothing is lost
                    os.kill(worker.process, signal.SIGKILL)
                os.waitpid(worker.process, 0)
        self._workers = []

    def _fork(self) -> _Worker:
        tasks, given = os.pipe()
        told, answers = os.pipe()
        ours = [end for worker in self._workers for end in (worker.given, worker.told)]
        # A signal must not find the copy where it still looks like this process, and would go on as such.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            process = os.fork()
            if not process:
                _serve(tasks, answers, self._life, [*ours, given, told, self._alive])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(tasks)
        os.close(answers)
        os.set_blocking(given, False)
        _widen(given)
        _widen(told)
        return _Worker(process, given, told)


def _widen(pipe: int) -> None:
    import fcntl  # here, because it is not for every system

    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    except OSError:
        return  # a user's pipes have a limit together: then work waits a little longer for its driver


def _serve(tasks: int, answers: int, life: int, others: Iterable[int]) -> NoReturn:
    """The life of a forked worker; it never returns into the program that it is a copy of."""
    try:
        # Ctrl-C reaches the whole terminal: the driver decides. A killed driver cannot tell its workers: its end of `life`
        # closes with it, unless they hold it as well.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        for end in others:
            os.close(end)
        threading.Thread(target=_end_after, args=(lambda: os.read(life, 1),), daemon=True).start()
        with open(tasks, "rb") as given, open(answers, "wb") as told:
            while True:
                work, arguments = pickle.load(given)  # noqa: S301 - from the process of which this is a copy
                try:
                    answer = pickle.dumps((True, work(*arguments)), pickle.HIGHEST_PROTOCOL)
                except Exception as error:  # noqa: BLE001 - the driver raises it
                    answer = pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
                told.write(len(answer).to_bytes(8) + answer)
                told.flush()
    finally:
        os._exit(0)

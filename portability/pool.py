"""Executors: a given one is only asked to `submit`; the default is one process for each core, or threads."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from typing import TypeVar

from connectors.registry import names
from portability import forks
from portability.errors import PlaceError

_RENEWALS = 3
"""Times that a broken pool is made anew in one phase."""
_FEWEST, _MOST = 8, 128
"""Things of a batch."""
_WORK = ("portability.pool", "portability.move", "portability.check")
"""What every worker needs; not what the driver needs besides: models of job files, the ledger."""
_DEAD = (BrokenExecutor, BrokenPipeError, ConnectionResetError, EOFError)
"""What a dead worker looks like. The last three: one that was killed before it had read what it is to be."""
log = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")


def stream(
    executor: Executor,
    work: Callable[[Item], Result],
    next_item: Callable[[], Item | None],
    window: Callable[[], int],
) -> Iterator[tuple[Item, Result | BaseException]]:
    """Results as they come, with at most `window()` items under way.

    `next_item` is asked whenever there is room; None means "none now": it is asked again after the next result, because
    a result may be what makes the next item. The stream ends when nothing is under way and there is no next item.
    """
    under_way: dict[Future[Result], Item] = {}
    while True:
        while len(under_way) < window():
            item = next_item()
            if item is None:
                break
            under_way[executor.submit(work, item)] = item
        if not under_way:
            return
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            item = under_way.pop(future)
            error = future.exception()
            yield item, future.result() if error is None else error


def batch_of(items: int, window: int) -> int:
    """How many small things make a batch: many, because each batch costs a message and a transaction, but so that a few
    hundred of them still keep all workers busy, and that a kill loses seconds."""
    return max(_FEWEST, min(_MOST, -(-items // max(window, 1))))


class OwnWorkers:
    """Workers of this machine, the same for all that is run on them, made anew when one of them was killed.

    Processes, because signing, parsing and encrypting are Python's own work and one interpreter has one lock; a thread
    where the places live in this process's memory, or nobody else knows who serves them. `renewed` is told of each new start.
    """

    def __init__(self, workers: int | None, *, processes: bool, renewed: Callable[[], None]) -> None:
        self.count = (workers or os.cpu_count() or 1) if processes else 1
        self._processes, self._renewed = processes, renewed
        self._executor: Executor | None = None
        self._others: set[multiprocessing.process.BaseProcess] = set()
        self._starting: threading.Thread | None = None
        self._ending: threading.Thread | None = None

    def start(self, schemes: Iterable[str], *, alone: bool) -> None:
        """Have them there, or on their way, before anyone needs them. `schemes`: the places that they will open; `alone`: this
        process has opened none."""
        if not self._processes or self._executor is not None:
            return
        # Copies of this process start at once and load nothing; they must be made before it has threads, clients or locks.
        # Asked twice, because somebody's module may start a thread when it is loaded.
        if alone and forks.copyable() and _loaded(schemes) and forks.copyable():
            try:
                with forks.undisturbed():
                    self._made(multiprocessing.get_context("fork")).submit(os.getpid)
            except OSError as error:
                log.info("workers could not be forked: %s", type(error).__name__)
                self._dismiss()
            else:
                return
        _preload(schemes)

    def begin(self, ready: Callable[[Item], object], item: Item) -> None:
        """Start them beside what the caller does next, each with `ready(item)`, which is to raise nothing."""
        if self._processes and self._starting is None:
            # Here, because a fork server's start changes the environment for a moment, which the caller reads meanwhile.
            context = _context() if self._executor is None else None
            self._starting = threading.Thread(target=self._begin, args=(context, ready, item), name="worker-start")
            self._starting.start()

    def run(self, work: Callable[[Executor, int], None]) -> None:
        """Run `work(executor, number of workers)`, which can go on where it stopped. PlaceError when workers keep dying."""
        for _ in range(_RENEWALS):
            try:
                work(self._started(), self.count)
            except _DEAD:
                self._dismiss()
                self._renewed()
            else:
                return
        raise PlaceError(
            "worker processes keep dying (killed for want of memory?)",
            hint="run the same command again, with --workers 1 or fewer --connections",
        )

    def release(self) -> None:
        """Begin to end them, beside what the caller does next without them."""
        if self._processes and self._executor is not None and self._ending is None:
            self._ending = threading.Thread(target=self._executor.shutdown, name="worker-end")
            self._ending.start()
            self._executor = None

    def close(self) -> None:
        """End them, when they have done what they hold."""
        for thread in (self._starting, self._ending):
            if thread is not None:
                thread.join()
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def _begin(
        self, context: multiprocessing.context.BaseContext | None, ready: Callable[[Item], object], item: Item
    ) -> None:
        try:
            executor = self._executor or self._made(context or _context())
            for _ in range(self.count):  # the pool starts one for each thing that nobody is free for
                executor.submit(ready, item)
        except (OSError, *_DEAD) as error:
            # Whoever needs them meets it again, and says so.
            log.info("workers could not be started early: %s", type(error).__name__)

    def _started(self) -> Executor:
        if self._starting is not None:
            self._starting.join()
        return self._executor or self._made(_context())

    def _made(self, context: multiprocessing.context.BaseContext) -> Executor:
        if not self._processes:
            self._executor = ThreadPoolExecutor(1)
            return self._executor
        self._others = set(multiprocessing.active_children())
        self._executor = ProcessPoolExecutor(
            self.count,
            mp_context=context,
            initializer=_begin_worker,
            initargs=(log.getEffectiveLevel(), dict(os.environ)),
        )
        return self._executor

    def _dismiss(self) -> None:
        """End the workers of a broken pool. The pool terminates those that it knew when it broke, then waits for all: one
        that was being started at that moment would be waited for, for ever."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
        for child in set(multiprocessing.active_children()) - self._others:
            child.terminate()
            child.join()


def _needed(schemes: Iterable[str]) -> list[str]:
    """The modules that workers need for these places."""
    known = names()
    return [*_WORK, *(known[scheme].partition(":")[0] for scheme in schemes if scheme in known)]


def _loaded(schemes: Iterable[str]) -> bool:
    """Load here what workers will need, and what a host's module has to read first (its `warm`). False where a module cannot
    be loaded: whoever opens such a place says why."""
    try:
        for name in _needed(schemes):
            warm = getattr(importlib.import_module(name), "warm", None)
            if warm is not None:
                warm()
    except ImportError:
        return False
    return True


def _preload(schemes: Iterable[str]) -> None:
    """Begin to load what workers will need where they cannot be copies of this process, beside what the caller does next."""
    if forks.offered():
        # Of what this process has loaded only the command's own module: each worker runs the start of the program once more.
        forks.start([*_needed(schemes), *(name for name in ("portability.cli",) if name in sys.modules)])


def _context() -> multiprocessing.context.BaseContext:
    # A fork would copy locks that other threads hold, and TLS states; a fork server is clean and starts fast.
    if not forks.offered():
        return multiprocessing.get_context("spawn")
    _preload(())
    return multiprocessing.get_context("forkserver")


def _begin_worker(level: int, environment: dict[str, str]) -> None:
    logging.basicConfig(level=level)
    # A fork server keeps the environment of its first use; credentials that were set since are resolved here all the same.
    os.environ.update(environment)
    forks.settle()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent,), daemon=True, name="parent-watch").start()


def _die_with(parent: object) -> None:
    # A killed driver cannot tell its workers; without this they would go on moving, then wait for ever.
    parent.join()  # type: ignore[attr-defined]  # typeshed types parent_process() as its private class
    os._exit(1)

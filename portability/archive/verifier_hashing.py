"""Reads and hashes the files of a tree on all cores: many small ones in batches, each large one by itself."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from portability import forks
from portability.archive.verifier_tree import (
    _BY_HANDLE,
    LocalTree,
    NotAFileError,
    Tree,
    joined,
    open_folder,
    open_name,
    regular_size,
)

BATCH = 1000
LARGE = 4 << 20
"""A file of this size is handed back and gets a batch of its own, so that no core waits for another's queue."""

_BUFFER = 1 << 18  # fits a core's cache
_SMALL = 1 << 16
Result = TypeVar("Result")


class Run(NamedTuple):
    """Files of one folder, in order, and the digests which they must have, one for each algorithm, separated by blanks."""

    folder: str
    names: list[str]
    digests: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Files to be hashed together."""

    algorithms: tuple[str, ...]
    payload: bool
    runs: list[Run]
    whole: bool = False
    """Whether large files are hashed too, not handed back."""


@dataclass(slots=True, kw_only=True)
class Hashed:
    """What was found."""

    payload: bool
    octets: int = 0
    files: int = 0
    """Files whose digests are right, and their bytes."""
    wrong: list[tuple[str, str, str]] = field(default_factory=list)
    """Path, expected and found digests."""
    missing: list[str] = field(default_factory=list)
    unsafe: list[str] = field(default_factory=list)
    """A link or a special file took the file's place since it was listed."""
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    large: list[tuple[str, str]] = field(default_factory=list)


def hash_local(root: Path, batch: Batch) -> Hashed:
    """Hash a batch of a local folder; each folder in it is opened once."""
    if not _BY_HANDLE:
        return hash_tree(LocalTree(root), batch)
    found = Hashed(payload=batch.payload)
    reader = _Reader(batch)
    for folder, names, digests in batch.runs:
        try:
            handle = open_folder(root, folder)
        except OSError as error:
            for name in names:
                _refused(found, joined(folder, name), error)
            continue
        try:
            for name, expected in zip(names, digests, strict=True):
                try:
                    digest, size = reader.read(handle, name)
                except OSError as error:
                    _refused(found, joined(folder, name), error)
                    continue
                if digest == expected:
                    found.files += 1
                    found.octets += size
                elif digest:
                    found.wrong.append((joined(folder, name), expected, digest))
                else:
                    found.large.append((joined(folder, name), expected))
        finally:
            os.close(handle)
    return found


class _Reader:
    """Reads files by name in an open folder: four calls to the system for a small one."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._only = getattr(hashlib, batch.algorithms[0]) if len(batch.algorithms) == 1 else None
        self._piece = bytearray(_SMALL)
        self._pieces = [self._piece]
        self._view = memoryview(self._piece)

    def read(self, folder: int, name: str) -> tuple[str, int]:
        """Digests and size; no digest for a large file that is to be handed back."""
        file = open_name(folder, name)
        try:
            try:
                count = os.readv(file, self._pieces)
                # As many bytes as the end is far: a regular file, read whole. FIFOs and sockets cannot seek, folders not be
                # read, and the end of a device is at zero or beyond the piece. Asking `fstat` would take four times as long.
                whole = 0 < count < _SMALL and os.lseek(file, 0, os.SEEK_END) == count
            except OSError:
                whole = False
            if whole and self._only is not None:
                return self._only(self._view[:count], usedforsecurity=False).hexdigest(), count
            if regular_size(file) >= LARGE and not self._batch.whole:
                return "", 0
            os.lseek(file, 0, os.SEEK_SET)
            buffer = bytearray(_BUFFER)
            buffers = [buffer]
            return _long(self._batch.algorithms, lambda: os.readv(file, buffers), memoryview(buffer))
        finally:
            os.close(file)


def hash_tree(tree: Tree, batch: Batch) -> Hashed:
    """The same for any tree, through its `open`."""
    found = Hashed(payload=batch.payload)
    buffer = bytearray(_BUFFER)
    view = memoryview(buffer)
    for folder, names, digests in batch.runs:
        for name, expected in zip(names, digests, strict=True):
            path = joined(folder, name)
            try:
                with tree.open(path) as stream:
                    read: Callable[[Any], int] = getattr(stream, "readinto")  # noqa: B009 - typeshed has it on subclasses only
                    digest, size = _long(batch.algorithms, lambda: read(buffer), view)  # noqa: B023 - called at once
            except OSError as error:
                _refused(found, path, error)
                continue
            if digest == expected:
                found.files += 1
                found.octets += size
            else:
                found.wrong.append((path, expected, digest))
    return found


def _long(algorithms: tuple[str, ...], read: Callable[[], int], view: memoryview) -> tuple[str, int]:
    hashers = [hashlib.new(name, usedforsecurity=False) for name in algorithms]
    size = 0
    while count := read():
        size += count
        for hasher in hashers:
            hasher.update(view[:count])
    return " ".join(hasher.hexdigest() for hasher in hashers), size


def _refused(found: Hashed, path: str, error: OSError) -> None:
    if isinstance(error, NotAFileError):
        found.unsafe.append(path)
    elif isinstance(error, FileNotFoundError):
        found.missing.append(path)
    else:
        found.unreadable.append((path, error.strerror or type(error).__name__))


class Workers:
    """Runs work on all cores, or here and now while there is little of it. For local folders: processes, as opening ten
    thousand files a second is Python's own work; for other trees: threads, as they mostly wait."""

    def __init__(self, tree: Tree, count: int | None) -> None:
        self._tree = tree
        self._local = isinstance(tree, LocalTree)
        self.count = count or os.cpu_count() or 1
        self._executor: Executor | None = None
        self.meanwhile: Callable[[], object] = lambda: None
        """Called now and then while batches are made: other work that goes to the same processes."""

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Start this elsewhere."""
        return self.executor.submit(work, *arguments)

    @property
    def executor(self) -> Executor:
        """Where work runs; it starts when it is first asked for."""
        if self._executor is None:
            self._executor = _processes(self.count) if self._local else ThreadPoolExecutor(max(self.count, 8))
        return self._executor

    def hash(self, batch: Batch) -> Future[Hashed]:
        """Hash a batch elsewhere."""
        return self.submit(*self._work(batch))

    def hash_here(self, batch: Batch) -> Hashed:
        """Hash a batch in this thread."""
        work, *arguments = self._work(batch)
        hashed: Hashed = work(*arguments)
        return hashed

    def _work(self, batch: Batch) -> tuple[Any, ...]:
        if isinstance(self._tree, LocalTree):
            return hash_local, self._tree.folder, batch
        return hash_tree, self._tree, batch

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)


class Hashing:
    """Gathers files into batches and settles what comes back, with a bounded number of batches under way."""

    def __init__(self, workers: Workers, settle: Callable[[Hashed], None]) -> None:
        self._workers = workers
        self._settle = settle
        self._gathered: dict[tuple[tuple[str, ...], bool], tuple[list[Run], int]] = {}
        self._under_way: dict[Future[Hashed], Batch] = {}

    def add(self, path: str, algorithms: tuple[str, ...], digests: str, payload: bool) -> None:
        """One file."""
        folder, _, name = path.rpartition("/")
        self.add_run(Run(folder, [name], [digests]), algorithms, payload)

    def add_run(self, run: Run, algorithms: tuple[str, ...], payload: bool) -> None:
        """Files of one folder."""
        kind = algorithms, payload
        at = 0
        while at < len(run.names):
            runs, count = self._gathered.get(kind, ([], 0))
            stop = at + BATCH - count
            part = Run(run.folder, run.names[at:stop], run.digests[at:stop])
            at, count = at + len(part.names), count + len(part.names)
            if runs and runs[-1].folder == part.folder:
                runs[-1].names.extend(part.names)
                runs[-1].digests.extend(part.digests)
            else:
                runs.append(part)
            if count < BATCH:
                self._gathered[kind] = runs, count
            else:
                self._gathered.pop(kind, None)
                self._submit(Batch(algorithms=algorithms, payload=payload, runs=runs))

    def finish(self) -> None:
        """Hash what is left and wait for everything."""
        for (algorithms, payload), (runs, _) in self._gathered.items():
            self._submit(Batch(algorithms=algorithms, payload=payload, runs=runs), last=True)
        self._gathered = {}
        while self._under_way:
            self._settle_some()

    def _submit(self, batch: Batch, *, last: bool = False) -> None:
        if last and not self._under_way:  # few files altogether: no process starts for them
            self._settled(self._workers.hash_here(batch), batch)
            return
        self._workers.meanwhile()
        while len(self._under_way) > 3 * self._workers.count:
            self._settle_some()
        self._under_way[self._workers.hash(batch)] = batch

    def _settle_some(self) -> None:
        for future in wait(self._under_way, return_when=FIRST_COMPLETED).done:
            self._settled(future.result(), self._under_way.pop(future))

    def _settled(self, hashed: Hashed, batch: Batch) -> None:
        self._settle(hashed)
        for path, digests in hashed.large:
            folder, _, name = path.rpartition("/")
            runs = [Run(folder, [name], [digests])]
            alone = Batch(algorithms=batch.algorithms, payload=batch.payload, runs=runs, whole=True)
            if len(hashed.large) == 1 and not self._under_way:
                self._settle(self._workers.hash_here(alone))
            else:
                self._under_way[self._workers.hash(alone)] = alone


def _processes(count: int) -> Executor:
    # A fork is ten times faster than any other start, and safe while no other thread holds a lock.
    if sys.platform == "linux" and threading.active_count() == 1:
        method = "fork"
    else:
        method = "forkserver" if forks.offered() else "spawn"
    if method == "forkserver":
        forks.start([__name__])
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context(method), initializer=_begin)


def _begin() -> None:
    # Ctrl-C reaches the whole terminal: the driver decides. A killed driver cannot tell its workers: they watch it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)

"""Reads and hashes the files of a tree on all cores: many small ones in batches, each large one by itself."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat, tee
from operator import getitem
from pathlib import Path
from typing import Any, NamedTuple

from portability.archive.verifier_tree import (
    _BY_HANDLE,
    FILE_FLAGS,
    LocalTree,
    NotAFileError,
    Tree,
    joined,
    open_folder,
    open_name,
    regular_size,
)
from portability.archive.verifier_workers import Task, Workers

BATCH = 1000
LARGE = 4 << 20
"""A file of this size is handed back and gets a batch of its own, so that no core waits for another's queue."""

_BUFFER = 1 << 18  # fits a core's cache
_SMALL = 1 << 16
_TOGETHER = 50
"""Files of a folder that are open at once: some systems allow 256."""


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
    reader = _Reader(batch)
    for folder, names, digests in batch.runs:
        try:
            handle = open_folder(root, folder)
        except OSError as error:
            for name in names:
                _refused(reader.found, joined(folder, name), error)
            continue
        try:
            for at in range(0, len(names), _TOGETHER):
                reader.read(handle, folder, names[at : at + _TOGETHER], digests[at : at + _TOGETHER])
        finally:
            os.close(handle)
    return reader.found


class _Reader:
    """Reads files by name in an open folder: four calls to the system for a small one, and hardly a step of Python."""

    def __init__(self, batch: Batch) -> None:
        self.found = Hashed(payload=batch.payload)
        self._batch = batch
        self._piece = bytearray(_SMALL)
        self._view = memoryview(self._piece)

    def read(self, handle: int, folder: str, names: list[str], digests: list[str]) -> None:
        """Files of an open folder, few enough to be open at once."""
        found, sizes = self._small(handle, names)
        if found == digests:
            self.found.files += len(sizes)
            self.found.octets += sum(sizes)
            return
        for name, expected, digest, size in zip(names, digests, found, sizes, strict=True):
            path = joined(folder, name)
            try:
                self._settle(path, expected, *((digest, size) if digest else self._one(handle, name)))
            except OSError as error:
                _refused(self.found, path, error)

    def _small(self, handle: int, names: list[str]) -> tuple[list[str], list[int]]:
        """Digests and sizes; no digest where a file must be looked at by itself."""
        unknown = [""] * len(names), [0] * len(names)
        if len(self._batch.algorithms) > 1 or not hasattr(os, "preadv"):
            return unknown
        files: list[int] = []
        try:
            files.extend(map(partial(os.open, flags=FILE_FLAGS, dir_fd=handle), names))
            ends = list(map(os.lseek, files, repeat(0), repeat(os.SEEK_END)))
            if min(ends) > 0 and max(ends) < _SMALL:
                return self._digests(files, ends), ends
            # What is large, and what is empty: perhaps a device.
            small = [index for index, end in enumerate(ends) if 0 < end < _SMALL]
            found = self._digests([files[index] for index in small], [ends[index] for index in small])
        except OSError:
            return unknown
        finally:
            deque(map(os.close, files), maxlen=0)
        for index, digest in zip(small, found, strict=True):
            unknown[0][index] = digest
        return unknown[0], ends

    def _digests(self, files: list[int], ends: list[int]) -> list[str]:
        # As many bytes as the end is far: a regular file, read whole. FIFOs and sockets cannot seek, folders not be read, and
        # the end of a device is at zero or beyond the piece. Asking `fstat` would take four times as long.
        counts, sizes = tee(map(os.preadv, files, repeat([self._piece]), repeat(0)))
        pieces = map(getitem, repeat(self._view), map(slice, counts))  # each is hashed before the next one is read
        found = [hasher.hexdigest() for hasher in map(_constructor(self._batch.algorithms[0]), pieces)]
        told = list(sizes)
        return found if told == ends else [digest if told[at] == ends[at] else "" for at, digest in enumerate(found)]

    def _one(self, handle: int, name: str) -> tuple[str, int]:
        """Digests and size; no digest for a large file that is to be handed back."""
        file = open_name(handle, name)
        try:
            if regular_size(file) >= LARGE and not self._batch.whole:
                return "", 0
            buffer = bytearray(_BUFFER)
            buffers = [buffer]
            return _long(self._batch.algorithms, lambda: os.readv(file, buffers), memoryview(buffer))
        finally:
            os.close(file)

    def _settle(self, path: str, expected: str, digest: str, size: int) -> None:
        found = self.found
        if digest == expected:
            found.files += 1
            found.octets += size
        elif digest:
            found.wrong.append((path, expected, digest))
        else:
            found.large.append((path, expected))


def _constructor(algorithm: str) -> Callable[[Any], Any]:
    if algorithm == "sha256":  # a call without the name of an option is shorter, and nobody forbids this one
        return hashlib.sha256
    return partial(hashlib.new, algorithm, usedforsecurity=False)


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


class Hashing:
    """Gathers files into batches and settles what comes back, with a bounded number of batches under way."""

    def __init__(self, tree: Tree, workers: Workers, settle: Callable[[Hashed], None]) -> None:
        self._work = partial(hash_local, tree.folder) if isinstance(tree, LocalTree) else partial(hash_tree, tree)
        self._workers = workers
        self._settle = settle
        self._gathered: dict[tuple[tuple[str, ...], bool], tuple[list[Run], int]] = {}
        self._under_way: dict[Task[Hashed], Batch] = {}

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

    def flush(self) -> None:
        """Hash what is left."""
        for (algorithms, payload), (runs, _) in self._gathered.items():
            self._submit(Batch(algorithms=algorithms, payload=payload, runs=runs), last=True)
        self._gathered = {}

    def finish(self) -> None:
        """Wait for everything."""
        while self._under_way:
            self._settle_some()

    def _submit(self, batch: Batch, *, last: bool = False) -> None:
        if last and not self._under_way:  # few files altogether: no process starts for them
            self._settled(self._work(batch), batch)
            return
        self._workers.meanwhile()
        while len(self._under_way) > 3 * self._workers.count:
            self._settle_some()
        self._under_way[self._workers.submit(self._work, batch)] = batch

    def _settle_some(self) -> None:
        for task in self._workers.wait(self._under_way):
            self._settled(task.result(), self._under_way.pop(task))
        self._workers.meanwhile()

    def _settled(self, hashed: Hashed, batch: Batch) -> None:
        self._settle(hashed)
        for path, digests in hashed.large:
            folder, _, name = path.rpartition("/")
            runs = [Run(folder, [name], [digests])]
            alone = Batch(algorithms=batch.algorithms, payload=batch.payload, runs=runs, whole=True)
            if len(hashed.large) == 1 and not self._under_way:
                self._settle(self._work(alone))
            else:
                self._under_way[self._workers.submit(self._work, alone, alone=True)] = alone

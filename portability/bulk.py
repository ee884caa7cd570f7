"""The bulk lane of the worker: a first try for many small objects at once, where a host offers it.

What is an ordinary success here is what the plain way would have answered. Everything else is tried in the plain way, after
the error of this first try where there was one.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from connectors import (
    BulkDestination,
    BulkForeseer,
    BulkRead,
    BulkSource,
    ConnectorError,
    Entry,
)
from connectors.streams import BytesStream
from portability.copying import body_of, described, moved, wanted_of
from portability.links import link
from portability.tasks import Batch, Moved, Step
from portability.trying import BULK_BYTES, bulk_share_of, pool_of

log = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")
_PLAIN = 4 << 20
"""Bytes of the largest object that a host without a bulk lane is asked for beside one that has one."""


def first_tries(batch: Batch) -> dict[int, Moved | ConnectorError]:
    """By step: what a first try in bulk ended in. What was not tried is left out."""
    tried: dict[int, Moved | ConnectorError] = {}
    if batch.work.bandwidth.slots:
        return tried  # a narrow line is no faster for it, and would see bursts
    try:
        source, destination = link(batch.source), link(batch.destination)
        width = max(bulk_share_of(batch.work, side.capabilities) for side in (source, destination))
        limit = min(_limit(source, destination), BULK_BYTES // width)
        steps = [task for task in batch.tasks if isinstance(task, Step) and _is_plain(task, limit)]
        if steps:
            _Bulk(source, destination, steps, batch, tried).run()
    except ConnectorError:
        pass  # the plain way meets it as well, and answers with it
    except Exception as error:  # noqa: BLE001 - a bug of the lane must not take the batch with it: the plain way does the rest
        log.error("unexpected error in the bulk lane: %s", type(error).__name__)  # noqa: TRY400 - its text may be a body's
    return tried


def _limit(source: Any, destination: Any) -> int:
    """Bytes of the largest object for which the lane is worth while; 0 where neither side has one."""
    sides = ((source, BulkSource), (destination, BulkDestination))
    offered = [side.bulk_bytes for side, ability in sides if isinstance(side, ability)]
    return min([_PLAIN, *(size for size in offered if size)]) if any(offered) else 0


def _is_plain(step: Step, limit: int) -> bool:
    """Whether the step is to put one small object where nothing is known to be."""
    return (
        step.entry.kind == "object"
        and step.entry.size is not None
        and step.entry.size <= limit
        and not (step.by_content or step.elsewhere or step.replace or step.replaces or step.present)
    )


class _Bulk:
    """One batch on its way from lane to lane."""

    def __init__(
        self,
        source: Any,
        destination: Any,
        steps: list[Step],
        batch: Batch,
        tried: dict[int, Moved | ConnectorError],
    ) -> None:
        self._source, self._destination, self._steps = source, destination, steps
        self._batch, self._tried = batch, tried
        self._sent: list[tuple[Step, Entry, int, str]] = []

    def run(self) -> None:
        for number, stored in self._put(self._items()):
            step, wanted, size, sha256 = self._sent[number]
            if isinstance(stored, Entry) and stored.size in {None, size}:
                self._tried[step.id] = moved(step, wanted, stored, size, sha256)
            elif isinstance(stored, ConnectorError):
                self._failed(step, stored)

    def _items(self) -> Iterator[tuple[Entry, bytes]]:
        """What is to be put, as it has been read and compared with what is known of it."""
        states = "sha256" in self._source.capabilities.digests
        for number, read in self._read():
            step = self._steps[number]
            if not isinstance(read, BulkRead):
                self._failed(step, read)
                continue
            digest = hashlib.sha256(read.body).hexdigest()
            expect = step.expect or (read.entry.digests.get("sha256") if states else None)
            if len(read.body) != step.entry.size or (expect is not None and expect != digest):
                continue  # the plain way says what is wrong
            wanted = wanted_of(read.entry, step)
            self._sent.append((step, wanted, len(read.body), digest))
            yield wanted, read.body

    def _width(self, side: Any) -> int:
        return bulk_share_of(self._batch.work, side.capabilities)

    def _failed(self, step: Step, error: ConnectorError | None) -> None:
        # Only a try that may be repeated is one: the plain way meets any other error itself, and knows what to make of it.
        if error is not None and error.retryable:
            self._tried[step.id] = error

    def _read(self) -> Iterator[tuple[int, BulkRead | ConnectorError | None]]:
        if isinstance(self._source, BulkSource) and self._source.bulk_bytes:
            return self._source.read_many((step.entry for step in self._steps), self._width(self._source))
        return _ahead(self._read_one, self._steps, self._width(self._source))

    def _put(self, items: Iterable[tuple[Entry, bytes]]) -> Iterator[tuple[int, Entry | ConnectorError | None]]:
        if isinstance(self._destination, BulkDestination) and self._destination.bulk_bytes:
            if self._batch.work.read_back and isinstance(self._destination, BulkForeseer):
                return self._destination.put_many_foreseen(items, self._width(self._destination))
            return self._destination.put_many(items, self._width(self._destination))
        return _ahead(self._put_one, items, self._width(self._destination))

    def _read_one(self, step: Step) -> BulkRead | ConnectorError | None:
        try:
            source = link(self._batch.source)
            entry = described(source, step)
            body = body_of(source, entry, self._batch)
            try:
                return BulkRead(entry=entry, body=b"".join(iter(lambda: body.read(_PLAIN), b"")))
            finally:
                body.close()
        except ConnectorError as error:
            return error

    def _put_one(self, item: tuple[Entry, bytes]) -> Entry | ConnectorError | None:
        entry, body = item
        try:
            stored: Entry = link(self._batch.destination).put(entry, BytesStream(body))
        except ConnectorError as error:
            return error
        return stored


def _ahead(work: Callable[[Item], Result], items: Iterable[Item], width: int) -> Iterator[tuple[int, Result]]:
    """Number and result of each item in order, at most `width` under way in threads."""
    pool = pool_of(width)
    under_way: deque[Future[Result]] = deque()
    done = 0
    for item in items:
        under_way.append(pool.submit(work, item))
        if len(under_way) >= width:
            yield done, under_way.popleft().result()
            done += 1
    for future in under_way:
        yield done, future.result()
        done += 1

"""How a worker tries: several things at once, each again while its host says so, within the bandwidth."""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from connectors import Capabilities, ColdError, ConnectorError, Location
from portability.links import link, unlink
from portability.tasks import Answer, Batch, Failure, Moved, PartMoved, Work
from portability.throttle import Bucket, Timetable

log = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")


class DifferentContentError(ConnectorError):
    """The destination holds another content under this key."""

    def __init__(self, message: str = "", *, expected: str = "", found: str = "", **context: Any) -> None:
        super().__init__(message, **context)
        self.expected, self.found = expected, found


def width_of(batch: Batch) -> int:
    """How many tasks run at once here, in threads: what both hosts like, shared with the other worker processes."""
    try:
        sides = (link(batch.source), link(batch.destination))
        return share_of(batch.work, min(side.capabilities.connections for side in sides))
    except ConnectorError:
        return 1  # the tasks will meet the same error, and answer with it


def share_of(work: Work, most: int) -> int:
    """This process's share of what is tried, as far as it was asked for, or else as a host bears `most` at once."""
    most = work.connections or most
    return max(1, -(-min(work.width or most, most) // work.shares))


def bulk_share_of(work: Work, able: Capabilities) -> int:
    """The same for a bulk lane, which has a connection for each operation and nothing else."""
    return share_of(work, able.most or able.connections if work.width else able.connections)


BULK_BYTES = 32 << 20
"""Of the objects that a worker has under way at once in a bulk lane: more of them must be smaller."""

_threads: dict[int, ThreadPoolExecutor] = {}


def overlap(work: Callable[[Item], Result], items: Sequence[Item], width: int) -> list[Result]:
    """`work` over `items` in order, `width` at once, in threads that live as long as the process (so do their links)."""
    if width <= 1 or len(items) <= 1:
        return [work(item) for item in items]
    return list(pool_of(width).map(work, items))


def pool_of(width: int) -> ThreadPoolExecutor:
    """The threads of this process for `width` things at once."""
    pool = _threads.get(width)
    if pool is None:
        pool = _threads[width] = ThreadPoolExecutor(width, thread_name_prefix="worker")
    return pool


_buckets: dict[tuple[Timetable, int], Bucket] = {}


def bucket_for(work: Work) -> Bucket | None:
    """This process's bucket for the policy's bandwidth; None where nothing is capped."""
    if not work.bandwidth.slots:
        return None
    return _buckets.setdefault((work.bandwidth, work.shares), Bucket(work.bandwidth, work.shares))


def settled(number: int, batch: Batch, work: Callable[[], Answer], failed: ConnectorError | None = None) -> Answer:
    """The answer of `work`, tried again while the host says "ask again"; a Failure when it does not help.

    `failed`: what a first try in bulk has ended in.
    """
    tries = 0 if failed is None else 1

    def counted() -> Answer:
        nonlocal tries
        tries += 1
        return work()

    try:
        answer = retrying(counted, batch.work, (batch.source, batch.destination), failed)
    except DifferentContentError as error:
        return Failure(
            id=number,
            problem="AlreadyExists",
            message=str(error),
            attempts=tries,
            expected=error.expected,
            found=error.found,
        )
    except ColdError as error:
        return Failure(id=number, problem="Cold", message=str(error), attempts=tries, refused="cold")
    except ConnectorError as error:
        problem = type(error).__name__.removesuffix("Error")
        return Failure(id=number, problem=problem, message=str(error), attempts=tries)
    except Exception as error:  # one object's bug must not take the others with it; it is a failure, hence not proven
        log.exception("unexpected error in a worker")
        return Failure(id=number, problem=type(error).__name__, message=f"a bug: {error}", attempts=tries)
    return replace(answer, attempts=tries) if isinstance(answer, Moved | PartMoved) else answer


def retrying(
    work: Callable[[], Result],
    policy: Work,
    places: tuple[Location, ...],
    failed: ConnectorError | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[float, float], float] = random.uniform,
) -> Result:
    """The one retry loop: back-off with jitter, never shorter than the host's Retry-After. The last error passes.

    `failed`: what a first try in bulk has ended in; `work` makes the second.
    """
    for attempt in itertools.count(1):
        try:
            if failed is not None and attempt == 1:
                raise failed
            return work()
        except ConnectorError as error:
            if not error.retryable or attempt > policy.retries:
                raise
            if error.retry_after is None:
                for place in places:  # the connection may be what is broken
                    unlink(place)
            backoff = min(30.0, policy.pause * 2 ** (attempt - 1)) * jitter(0.5, 1.0)
            sleep(max(backoff, error.retry_after or 0.0))
    raise AssertionError("unreachable")

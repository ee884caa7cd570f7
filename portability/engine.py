"""Where the work is done: by workers of this machine, by a Dask cluster's, or by any executor that is given."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from types import TracebackType
from typing import TYPE_CHECKING, Self

from connectors import Location
from connectors.registry import is_registered
from portability.errors import UsageError
from portability.job import Policy
from portability.links import any_open, link, ready
from portability.parcel import marked, needs
from portability.pool import OwnWorkers
from portability.progress import Progress

if TYPE_CHECKING:
    from portability.cluster import Scheduler

_GIVEN_WINDOW = 64
"""Batches under way on an executor of which we do not know how many workers it has."""

_PROMPTED = "env:PORTABILITY_PROMPT_"
"""How `connectors.credentials.settle` begins the references to what a person typed."""

Phase = Callable[[Executor, int, Callable[[], int]], None]
"""A phase's work: on this executor, whose workers share the hosts so many ways, with as many batches under way as asked."""


def prepare(policy: Policy, places: tuple[Location, Location]) -> None:
    """Look, before anything is done, whether the workers of an engine can do it.

    `places` are the source and the destination. UsageError, PlaceError.
    """
    if not policy.engine:
        return
    from portability import cluster  # here and below: with asyncio, it is a twentieth of all that a run loads

    scheduler = _scheduler(policy.engine, places)
    with marked(places[1]) as mark, cluster.connected(scheduler) as client:
        cluster.examine(client, needs(places, mark))


class Workers:
    """The workers of one run, the same for all of its phases; a context, with which they end.

    It is entered first of all: workers of our own are best made from a process that holds nothing yet.
    """

    def __init__(
        self, policy: Policy, places: tuple[Location, ...], *, given: Executor | None, progress: Progress
    ) -> None:
        self._policy, self._places, self._given, self._progress = policy, places, given, progress
        self._own = OwnWorkers(
            policy.workers,
            processes=not any(_in_memory(place) or is_registered(place.scheme) for place in places),
            renewed=lambda: progress.note("a worker process died; going on with new ones"),
        )

    def __enter__(self) -> Self:
        if self._given is None and not self._policy.engine:
            self._own.start({place.scheme for place in self._places}, alone=not any_open())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End them, when they have done what they hold; also before the end of the context, while what keeps others out is held."""
        self._own.close()

    def begin(self) -> None:
        """Have workers of our own open the places, beside what the caller does next."""
        if self._given is None and not self._policy.engine:
            self._own.begin(ready, self._places)

    def release(self) -> None:
        """Nothing is run on them any more: those of our own may end beside what the caller does next."""
        self._own.release()

    def run(self, work: Phase) -> None:
        """Run a phase that can go on where it stopped. PlaceError when its workers are gone and none come back."""
        policy, places = self._policy, self._places
        if self._given is not None:
            work(self._given, policy.workers or 1, lambda: _GIVEN_WINDOW)
        elif policy.engine:
            from portability import cluster

            scheduler = _scheduler(policy.engine, places)
            cluster.on_dask(work, scheduler, places, limit=_limit(policy, places), note=self._progress.note)
        else:
            self._own.run(lambda executor, count: work(executor, count, lambda: 4 * count))


def _scheduler(engine: str, places: tuple[Location, ...]) -> Scheduler:
    """The engine's address, if its workers can open these places. UsageError."""
    from portability import cluster

    scheduler = cluster.Scheduler.parse(engine)
    for place in places:
        if _in_memory(place):
            raise UsageError(
                f"{place} is in this process's memory, where no worker of {engine} can read it",
                hint="leave --engine out, or name a place that every worker can open",
            )
        if (place.credentials or "").startswith(_PROMPTED):
            raise UsageError(
                f"the answer to prompt stays in this process, where no worker of {engine} can use it",
                hint="give a reference that each worker resolves for itself: env:PREFIX, file:PATH, profile:NAME or agent",
            )
    return scheduler


def _limit(policy: Policy, places: tuple[Location, ...]) -> int:
    """Operations at once that all places like. The connectors' errors pass."""
    return policy.connections or min(link(place).capabilities.connections for place in places)


def _in_memory(place: Location) -> bool:
    return place.scheme.rpartition("+")[2] == "memory"

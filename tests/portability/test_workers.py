"""The workers of a run: the same ones for all of its phases, and new ones only after one died."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

import pytest

from portability.errors import PlaceError
from portability.pool import OwnWorkers


def here(_: object) -> int:
    return os.getpid()


def ended(_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def workers() -> Iterator[tuple[OwnWorkers, list[str]]]:
    told: list[str] = []
    own = OwnWorkers(1, processes=True, renewed=lambda: told.append("renewed"))
    try:
        yield own, told
    finally:
        own.close()


def seen_by(own: OwnWorkers) -> list[int]:
    seen: list[int] = []
    own.run(lambda executor, count: seen.extend(executor.map(here, range(count))))
    return seen


def test_what_was_begun_early_does_the_work_of_all_phases() -> None:
    with workers() as (own, told):
        own.begin(here, None)
        own.begin(here, None)  # asked twice, begun once
        assert seen_by(own) == seen_by(own) != [os.getpid()]
        assert not told


def test_a_worker_that_was_killed_between_two_phases_is_made_anew() -> None:
    with workers() as (own, told):
        (first,) = seen_by(own)
        os.kill(first, signal.SIGTERM)
        (second,) = seen_by(own)
        assert second != first
        assert told in ([], ["renewed"])


def test_workers_that_keep_dying_are_given_up() -> None:
    def deadly(executor: Executor, count: int) -> None:
        list(executor.map(ended, range(count)))

    with workers() as (own, told):
        with pytest.raises(PlaceError, match="keep dying"):
            own.run(deadly)
        assert told == ["renewed"] * 3
        assert len(seen_by(own)) == 1

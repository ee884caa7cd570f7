"""The width of a phase against simulated hosts: near and far, quick and slow, patient and strict."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from portability.concurrency import Concurrency

BATCH = 32
QUEUE = 8


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(kw_only=True)
class Host:
    """Answers after `latency` seconds, at most `rate` operations a second; puts off what is more than `patience` at once."""

    latency: float
    rate: float
    patience: int = 10_000

    def moves(self, width: int) -> float:
        """Operations a second at this width."""
        return min(width / self.latency, self.rate)


@dataclass
class Told:
    widths: list[int]
    operations: int = 0
    put_off: int = 0
    seconds: float = 0.0


def run(host: Host, concurrency: Concurrency, clock: Clock, batches: int) -> Told:
    """Batches through a queue, as the driver hands them out: a new width shows only when the queue has moved on."""
    told = Told([])
    queue = deque([concurrency.width] * QUEUE)
    for _ in range(batches):
        width = queue.popleft()
        seconds = BATCH / host.moves(min(width, host.patience))
        refused = max(0, width - host.patience) * BATCH // width
        clock.now += seconds
        told.operations += BATCH
        told.put_off += refused
        told.seconds += seconds
        concurrency.saw(width, BATCH, 0, refused)
        told.widths.append(concurrency.width)
        queue.append(concurrency.width)
    return told


latencies = st.sampled_from([0.0005, 0.005, 0.02, 0.1, 0.4])
rates = st.floats(20, 5000)
starts = st.integers(1, 32)


@given(latency=latencies, rate=rates, start=starts, most=st.integers(1, 256), patience=st.integers(1, 300))
def test_the_width_stays_between_one_and_the_hosts_limit(
    latency: float, rate: float, start: int, most: int, patience: int
) -> None:
    clock = Clock()
    concurrency = Concurrency(start, most, clock=clock)
    told = run(Host(latency=latency, rate=rate, patience=patience), concurrency, clock, 400)
    assert all(1 <= width <= most for width in told.widths)


@given(latency=latencies, rate=rates, start=st.integers(8, 32))
def test_it_finds_most_of_what_the_line_can_carry(latency: float, rate: float, start: int) -> None:
    clock, host = Clock(), Host(latency=latency, rate=rate)
    concurrency = Concurrency(start, 128, clock=clock)
    run(host, concurrency, clock, 1500)
    later = run(host, concurrency, clock, 1500)
    assert later.operations / later.seconds >= 0.75 * host.moves(128)


@given(latency=latencies, start=st.integers(8, 32))
def test_it_does_not_ask_for_what_brings_nothing(latency: float, start: int) -> None:
    clock, host = Clock(), Host(latency=latency, rate=start / latency)  # the start is all the host can do
    concurrency = Concurrency(start, 256, clock=clock)
    told = run(host, concurrency, clock, 3000)
    usual = sorted(told.widths)[len(told.widths) * 3 // 4]
    assert usual <= 2 * start


@given(latency=st.sampled_from([0.02, 0.1, 0.4]), patience=st.integers(4, 100), start=st.integers(8, 32))
def test_a_host_that_puts_off_is_given_room_and_still_used(latency: float, patience: int, start: int) -> None:
    clock, host = Clock(), Host(latency=latency, rate=100_000, patience=patience)
    concurrency = Concurrency(start, 256, clock=clock)
    run(host, concurrency, clock, 500)
    later = run(host, concurrency, clock, 4000)
    assert later.put_off <= 0.1 * later.operations
    assert later.operations / later.seconds >= 0.4 * patience / latency


def test_one_wave_of_refusals_halves_the_width_once() -> None:
    concurrency = Concurrency(64, 128, clock=Clock())
    for _ in range(QUEUE):  # all of them were under way before the first answer
        concurrency.saw(64, BATCH, 0, BATCH)
    assert concurrency.width == 32


def test_a_single_refusal_is_no_reason() -> None:
    concurrency = Concurrency(16, 128, clock=Clock())
    concurrency.saw(16, BATCH, 0, 1)
    assert concurrency.width == 16


def test_a_line_that_gets_longer_gets_more() -> None:
    clock, host = Clock(), Host(latency=0.01, rate=1600)
    concurrency = Concurrency(16, 128, clock=clock)
    run(host, concurrency, clock, 1000)
    host.latency = 0.05  # the same rate needs five times as many at once
    later = run(host, concurrency, clock, 6000)
    assert max(later.widths[-1000:]) >= 48

"""What passed when: bounded, complete, and the same after it was saved in the middle."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from portability.rate import STEPS, Rate

EVENTS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**9)), max_size=60)


@given(EVENTS, st.integers(0, 60))
def test_nothing_is_lost_however_long_it_takes_and_wherever_it_was_saved(
    events: list[tuple[int, int]], cut: int
) -> None:
    rate = Rate()
    for moment, octets in events[:cut]:
        rate.add(moment, things=1, bytes_=octets)
    rate = Rate(json.loads(json.dumps(rate.plain())))
    for moment, octets in events[cut:]:
        rate.add(moment, things=1, bytes_=octets)

    told = rate.told()
    assert len(told) <= STEPS
    assert sum(octets for octets, _ in told) == sum(octets for _, octets in events)
    assert sum(things for _, things in told) == len(events)
    if events:
        assert rate.began <= min(moment for moment, _ in events) < rate.began + rate.step


def test_an_interruption_is_a_gap() -> None:
    rate = Rate()
    for moment in (100, 101, 105):
        rate.add(moment, things=1, bytes_=7)
    assert rate.told() == [(7, 1), (7, 1), (0, 0), (0, 0), (0, 0), (7, 1)]
    assert (rate.began, rate.step) == (100, 1)


def test_nothing_passed_is_nothing() -> None:
    assert (Rate().told(), Rate(None).began) == ([], 0)

"""Bandwidth and run windows: what the timetable says at each hour, and how long bytes wait for it."""

from __future__ import annotations

from datetime import datetime

import pytest

from connectors.streams import BytesStream
from portability.errors import UsageError
from portability.throttle import Bucket, Throttled, Timetable, deadline

MORNING = datetime(2026, 11, 21, 9, 30).astimezone()
NIGHT = datetime(2026, 11, 21, 3, 0).astimezone()


@pytest.mark.parametrize(
    ("text", "at", "rate"),
    [
        ("512k", MORNING, 512 * 1024),
        ("10M", NIGHT, 10 << 20),
        ("1.5M", NIGHT, 3 << 19),
        ("off", MORNING, None),
        ("08:00,512k 20:00,off", MORNING, 512 * 1024),
        ("08:00,512k 20:00,off", NIGHT, None),  # before the day's first slot yesterday's last one holds
        ("20:00,off 08:00,512k", MORNING, 512 * 1024),
    ],
)
def test_a_timetable_says_the_rate_of_the_hour(text: str, at: datetime, rate: int | None) -> None:
    assert Timetable.parse(text).rate(at) == rate


@pytest.mark.parametrize("text", ["", "fast", "-1k", "0", "08:00", "08:00,fast", "25:00,1M", "08:00,1M 08:00,2M"])
def test_a_timetable_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Timetable.parse(text)


def test_bytes_wait_so_that_the_rate_is_kept_by_all_workers_together() -> None:
    clock = [100.0]
    bucket = Bucket(
        Timetable.parse("1k"),
        shares=2,
        now=lambda: MORNING,
        monotonic=lambda: clock[0],
        sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds),
    )
    body = Throttled(BytesStream(bytes(4096)), bucket)

    while body.read(512):
        pass

    assert clock[0] - 100 == pytest.approx(8, abs=0.01)  # 4 KiB at half of 1 KiB a second


def test_reading_all_at_once_gives_all() -> None:
    body = Throttled(BytesStream(b"x" * 200_000), Bucket(Timetable()))
    assert body.read() == b"x" * 200_000


def test_a_window_ends_at_the_next_such_hour() -> None:
    assert deadline("06:00", NIGHT) == NIGHT.replace(hour=6)
    assert deadline("06:00", MORNING).day == 22
    with pytest.raises(UsageError):
        deadline("soon", MORNING)

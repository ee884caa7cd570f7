"""Time to leave: the drill's own throughput projected to everything, as an interval, over the line's timetable."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from portability.drill import deadlines
from portability.drill.record import Amount, Record, TimeToLeave
from portability.job_drill import DrillTerms
from portability.throttle import Timetable

_ALONE = (0.8, 1.5)
"""With fewer than three drills nothing is known of how the line varies: the interval is wide by rule."""
_MEASURED = 3
_MARGIN = 1.1


def project(
    *,
    whole: Amount,
    moved: Amount,
    census_seconds: float,
    export_seconds: float,
    earlier: Sequence[Record],
    timetable: Timetable,
    now: datetime,
    terms: DrillTerms,
) -> TimeToLeave | None:
    """How long it takes to have everything out of this host and read back; None if nothing was moved."""
    if not moved.objects or export_seconds <= 0:
        return None
    rate = moved.bytes / export_seconds
    # What a sample's time grows with, things or bytes, is not known: the truth lies between.
    factors = [whole.objects / moved.objects, *([whole.bytes / moved.bytes] if moved.bytes else [])]
    shortest, longest = (census_seconds + export_seconds * factor for factor in (min(factors), max(factors)))
    likely = (shortest + longest) / 2
    if timetable.slots and rate:
        likely = max(likely, census_seconds + elapsed(timetable, now.astimezone(), whole.bytes, rate))
        longest = max(longest, likely)
    rates = [one.time_to_leave.bytes_per_second for one in earlier if one.time_to_leave and one.moved.bytes]
    if len(rates) + 1 >= _MEASURED and rate:
        low, high = shortest * rate / max(rate, *rates), longest * rate / max(1, min(rate, *rates)) * _MARGIN
    else:
        low, high = shortest * _ALONE[0], longest * _ALONE[1]
    return TimeToLeave(
        low_seconds=round(min(low, likely)),
        likely_seconds=round(likely),
        high_seconds=-int(-max(high, likely) // 1),
        objects=whole.objects,
        bytes=whole.bytes,
        bytes_per_second=round(rate),
        drills=len(rates) + 1,
        deadlines=deadlines.deadlines(low, high, own=terms.deadlines, today=now.date()),
        notice=terms.notice.isoformat() if terms.notice else None,
        calendar=deadlines.calendar(terms.notice, terms.deadlines) if terms.notice else (),
    )


def elapsed(timetable: Timetable, start: datetime, count: float, rate: float) -> float:
    """Seconds until so many bytes have passed at `rate`, or slower where the timetable caps it."""
    moment, left = start, count
    edges = sorted(begins for begins, _ in timetable.slots)
    while left > 0:
        cap = timetable.rate(moment)
        pace = rate if cap is None else min(rate, cap)
        today = [
            moment.replace(hour=edge.hour, minute=edge.minute, second=edge.second, microsecond=0) for edge in edges
        ]
        end = min((edge for edge in today if edge > moment), default=today[0] + timedelta(days=1))
        room = pace * (end - moment).total_seconds()
        if room >= left:
            return (moment - start).total_seconds() + left / pace
        if len(edges) == 1:  # one pace all day: no need to walk through the days
            return (moment - start).total_seconds() + left / pace
        moment, left = end, left - room
    return (moment - start).total_seconds()

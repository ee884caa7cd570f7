"""The legal clock and the contract's own dates: which limits a projected exit fits, and the calendar after a notice."""

from __future__ import annotations

import tomllib
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path

from portability.drill.record import Day, Deadline, Fits
from portability.job_drill import OwnDeadline

_FILE = Path(__file__).with_name("deadlines.toml")
_DAY = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A line of the data file."""

    id: str
    en: str
    fr: str
    source: str
    version: str
    grade: str
    on: str
    since: str
    days: int = 0
    months: int = 0


@cache
def rules() -> tuple[Rule, ...]:
    plain = tomllib.loads(_FILE.read_text("utf-8"))
    return tuple(Rule(since=one.pop("from"), **one) for one in plain["rule"])


def deadlines(low: float, high: float, *, own: Sequence[OwnDeadline], today: date) -> tuple[Deadline, ...]:
    """Every limit, with whether a transfer of `low` to `high` seconds fits it."""
    told = [
        Deadline(
            id=rule.id,
            en=rule.en,
            fr=rule.fr,
            source=rule.source,
            version=rule.version,
            grade=rule.grade,
            limit_days=rule.days or None,
            fits=_fits(low, high, rule.days * _DAY) if rule.on == "transfer" else None,
        )
        for rule in rules()
    ]
    for number, one in enumerate(own, 1):
        limit = [one.days * _DAY] if one.days is not None else []
        limit += [max(0, (one.day - today).days) * _DAY] if one.day is not None else []
        told.append(
            Deadline(
                id=f"contract-{number}",
                en=one.name,
                fr=one.name,
                source="job file",
                version=today.isoformat(),
                grade="contract",
                limit_days=one.days,
                limit_date=one.day.isoformat() if one.day else None,
                fits=_fits(low, high, min(limit)) if limit else None,
            )
        )
    return tuple(told)


def _fits(low: float, high: float, limit: float) -> Fits:
    return "yes" if high <= limit else "no" if low > limit else "unsure"


def calendar(notice: date, own: Sequence[OwnDeadline] = ()) -> tuple[Day, ...]:
    """The last days that follow from a notice, in order: each limit taken in full."""
    latest_start = _plus_months(notice, 2)
    transition_end = latest_start + timedelta(days=30)
    bases = {"notice": notice, "start": latest_start, "transition": transition_end}
    days = [
        Day(
            date=(_plus_months(bases[rule.since], rule.months) + timedelta(days=rule.days)).isoformat(),
            id=rule.id,
            en=rule.en,
            fr=rule.fr,
            source=rule.source,
            version=rule.version,
        )
        for rule in rules()
    ]
    for number, one in enumerate(own, 1):
        day = one.day or latest_start + timedelta(days=one.days or 0)
        days.append(
            Day(
                date=day.isoformat(),
                id=f"contract-{number}",
                en=one.name,
                fr=one.name,
                source="job file",
                version=notice.isoformat(),
            )
        )
    return tuple(sorted(days, key=lambda one: (one.date, one.id)))


def _plus_months(day: date, months: int) -> date:
    """The same day of a later month, or that month's last (règlement (CEE, Euratom) n° 1182/71, art. 3)."""
    month = day.month - 1 + months
    year, month = day.year + month // 12, month % 12 + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))

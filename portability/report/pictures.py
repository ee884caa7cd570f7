"""The charts of a report: which values are drawn, how they are called, and what is said to who cannot see them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from manifests.canonical import time_of, time_text
from portability.report import charts
from portability.report.charts import BAR, FAIR, GOOD, POOR, Bar, Tick
from portability.report.language import N_, Words
from portability.report.model import Folder, Point, Report, Throughput
from portability.report.vocabulary import ATTRIBUTES, LEVELS, PHASES, named

_COLORS = {"read": GOOD, "reported": FAIR, "listed": FAIR, "none": POOR}


def pictures(report: Report, words: Words, colors: Mapping[str, str]) -> dict[str, Markup]:
    """Every chart that has something to show, by name."""
    drawn: dict[str, Markup] = {}
    if report.levels:
        drawn["levels"] = _levels(report, words, colors)
    if len(report.folders) > 1:
        drawn["folder_bytes"] = _folders(report.folders, words, colors, by_bytes=True)
        drawn["folder_things"] = _folders(report.folders, words, colors, by_bytes=False)
    if report.throughput and len(report.throughput.bytes) > 1:
        drawn["throughput"] = _throughput(report.throughput, words, colors)
    if report.losses:
        drawn["losses"] = _losses(report, words, colors)
    if report.drill and report.drill.phases:
        drawn["phases"] = _phases(report, words, colors)
    if len(report.trend) > 1:
        drawn["trend"] = _trend(report, words, colors)
        drawn["trend_time"] = _trend_time(report, words, colors)
    return drawn


def folder_name(folder: Folder, words: Words) -> str:
    """What a folder is called in a report that shows no names."""
    if folder.name is not None:
        return folder.name
    if folder.number == 0:
        return words.text(N_("all other folders"))
    if folder.number < 0:
        return words.text(N_("in no folder"))
    return words.text(N_("Folder %(number)s"), number=words.number(folder.number))


def _levels(report: Report, words: Words, colors: Mapping[str, str]) -> Markup:
    rows = [
        Bar(label=words.text(LEVELS[level][0]), value=count, shown=words.number(count), color=_COLORS[level])
        for level in ("read", "reported", "listed", "none")
        if (count := report.levels.get(level, 0)) or level == "read"
    ]
    return charts.bars("levels", words.text(N_("Things by level of evidence")), _told(rows), rows, colors)


def _folders(folders: Sequence[Folder], words: Words, colors: Mapping[str, str], *, by_bytes: bool) -> Markup:
    rows = [
        Bar(
            label=folder_name(one, words),
            value=one.bytes if by_bytes else one.things,
            shown=words.size(one.bytes) if by_bytes else words.number(one.things),
        )
        for one in folders
    ]
    title = words.text(N_("Size by folder")) if by_bytes else words.text(N_("Number of things by folder"))
    return charts.bars("folder-bytes" if by_bytes else "folder-things", title, _told(rows), rows, colors)


def _losses(report: Report, words: Words, colors: Mapping[str, str]) -> Markup:
    ordered = sorted(report.losses.items(), key=lambda item: (-item[1], item[0]))[:12]
    rows = [
        Bar(label=named(words, ATTRIBUTES, name), value=count, shown=words.number(count), color=FAIR)
        for name, count in ordered
    ]
    return charts.bars("losses", words.text(N_("Things that lack an attribute now")), _told(rows), rows, colors)


def _phases(report: Report, words: Words, colors: Mapping[str, str]) -> Markup:
    told = report.drill.phases if report.drill else ()
    rows = [
        Bar(
            label=named(words, PHASES, one.name),
            value=one.milliseconds,
            shown=words.duration(one.milliseconds / 1000),
            color=BAR,
        )
        for one in told
    ]
    return charts.bars("phases", words.text(N_("Duration of each phase")), _told(rows), rows, colors)


def _throughput(told: Throughput, words: Words, colors: Mapping[str, str]) -> Markup:
    rates = [octets / told.step_seconds for octets in told.bytes]
    began, top = time_of(told.began), max(rates)
    whole = len(rates) * told.step_seconds
    seconds = whole < 300
    ticks = []
    for place in (0, len(rates) / 2, len(rates)):
        try:
            moment = began + timedelta(seconds=round(place * told.step_seconds))
        except OverflowError:  # what stated its times may have stated the last there is
            moment = datetime(9999, 12, 30, tzinfo=UTC)
        ticks.append(Tick(at=place, shown=words.clock(time_text(moment), seconds=seconds)))
    description = words.text(
        N_("From %(began)s, for %(duration)s; at most %(top)s a second, on average %(mean)s a second."),
        began=words.moment(told.began),
        duration=words.duration(whole),
        top=words.size(top),
        mean=words.size(sum(told.bytes) / whole),
    )
    y_ticks = [Tick(at=at, shown=f"{words.size(at)}/s" if at else "0") for at in _round(top)]
    return charts.steps(
        "throughput", words.text(N_("Throughput over time")), description, rates, ticks, y_ticks, colors
    )


def _trend(report: Report, words: Words, colors: Mapping[str, str]) -> Markup:
    values = [(one.completeness or 0.0, one.proven) for one in report.trend]
    low = math.floor(min(value for value, _ in values) / 10) * 10 if min(value for value, _ in values) < 100 else 90
    y_ticks = [Tick(at=at, shown=words.percent(at)) for at in (low, (low + 100) / 2, 100)]
    return charts.points(
        "trend",
        words.text(N_("Completeness of each drill")),
        "; ".join(
            f"{words.day(_date(one.id))}: {words.percent(one.completeness or 0)} ({_word(one, words)})"
            for one in report.trend
        ),
        values,
        _dates(report, words),
        y_ticks,
        colors,
    )


def _trend_time(report: Report, words: Words, colors: Mapping[str, str]) -> Markup:
    values = [(one.milliseconds / 1000, one.proven) for one in report.trend]
    y_ticks = [
        Tick(at=at, shown=words.duration(at) if at else "0") for at in _round_time(max(value for value, _ in values))
    ]
    return charts.points(
        "trend-time",
        words.text(N_("Duration of each drill")),
        "; ".join(f"{words.day(_date(one.id))}: {words.duration(one.milliseconds / 1000)}" for one in report.trend),
        values,
        _dates(report, words),
        y_ticks,
        colors,
    )


def _dates(report: Report, words: Words) -> list[Tick]:
    days = {words.short_day(_date(one.id)): place for place, one in reversed(list(enumerate(report.trend)))}
    places = sorted(days.values())
    ends = {places[0], places[-1]}
    return [Tick(at=place, shown=day) for day, place in sorted(days.items(), key=lambda one: one[1]) if place in ends]


def _word(point: Point, words: Words) -> str:
    return words.text(N_("PROVEN") if point.proven else N_("NOT PROVEN"))


def _date(drill: str) -> str:
    return f"{drill[:4]}-{drill[4:6]}-{drill[6:8]}"


def _round(top: float) -> list[float]:
    """Zero, half and all of the first round number at or above `top`."""
    if top <= 0:
        return [0, 1]
    power = 10 ** math.floor(math.log10(top))
    high = next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= top)
    return [0, high / 2, high]


def _round_time(top: float) -> list[float]:
    """The same in seconds, minutes, hours and days."""
    steps = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
    half = next((step for step in steps if 2 * step >= top), math.ceil(top / 172_800) * 86_400)
    return [0, half, 2 * half]


def _told(rows: Sequence[Bar]) -> str:
    return "; ".join(f"{row.label}: {row.shown}" for row in rows)

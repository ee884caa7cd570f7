"""The tables of a job file, checked by pydantic: a place, [drill], its deadlines, [prices]."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from datetime import time as clock_time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from connectors import Location
from portability.job_drill import DrillTerms, OwnDeadline, Prices, share_ppm

_EVERY = re.compile(r"([1-9]\d{0,3})([dw])", re.ASCII)


def _every(text: str) -> str:
    if not _EVERY.fullmatch(text):
        raise ValueError('write days or weeks: "90d" or "13w"')
    return text


def _share(text: str) -> str:
    share_ppm(text)
    return text


def _threshold(value: str | int) -> str | int:
    if isinstance(value, str) and re.fullmatch(r"\d+", value, re.ASCII):
        return int(value)
    if isinstance(value, str) and not re.fullmatch(r"0(\.0+)?\s?%", value):  # none may disappear: that is a threshold
        share_ppm(value)
    return value


def _clock(text: str) -> str:
    try:
        clock_time.fromisoformat(text)
    except ValueError:
        raise ValueError(f'"{text}" is not a time of day such as 20:00') from None
    return text


def _command(words: list[str]) -> list[str]:
    if not words or not words[0]:
        raise ValueError('name a program and its arguments: ["/usr/local/bin/alert", "drill"]; no shell reads it')
    return words


def _amount(value: Any) -> str:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount < 10**9:
        raise ValueError("a price is a number that is not negative")
    return str(amount)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Place(BaseModel):
    """One place. `url` is a url or a path; other names are the options that its connector knows (endpoint, region, …)."""

    model_config = ConfigDict(extra="allow", frozen=True)
    url: Annotated[
        str, Field(min_length=1, description="s3://bucket/prefix, sftp://user@host/path, file:///path or a path")
    ]
    credentials: Annotated[
        str | None, Field(description="a reference: env:PREFIX, profile:NAME, file:PATH, agent, …")
    ] = None

    def location(self) -> Location:
        extra = self.model_extra or {}
        options = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in extra.items()}
        return Location.parse(self.url, credentials=self.credentials, options=options)


class PricesTable(Strict):
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="EUR")] = "EUR"
    egress_gb: Annotated[str, BeforeValidator(_amount), Field(description="for 1,000,000,000 bytes that leave")] = "0"
    requests_1000: Annotated[str, BeforeValidator(_amount), Field(description="for 1,000 requests")] = "0"

    def prices(self) -> Prices:
        return Prices(
            currency=self.currency, egress_gb=Decimal(self.egress_gb), requests_1000=Decimal(self.requests_1000)
        )


class DeadlineTable(Strict):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    days: Annotated[int | None, Field(ge=0, le=36500, description="from the start of leaving")] = None
    day: Annotated[date | None, Field(description="a date, 2027-01-31")] = None


class DrillTable(Strict):
    every: Annotated[
        str | None, AfterValidator(_every), Field(description='how often: "90d" or "13w"; without it nothing is due')
    ] = None
    at: Annotated[str, AfterValidator(_clock), Field(description="time of day at which a schedule looks")] = "20:00"
    folder: Annotated[str, Field(description="folder of the history, relative to the job file")] = "drills"
    scratch: Annotated[
        Place | str | None,
        Field(description="where the scratch archive goes; by default a folder in the drills folder"),
    ] = None
    restore_to: Annotated[Place | str | None, Field(description="the second place; by default beside it")] = None
    sample: Annotated[str | None, AfterValidator(_share), Field(description='a share: "5%"; without it all')] = None
    threshold: Annotated[
        Annotated[int, Field(ge=0)] | str,
        AfterValidator(_threshold),
        Field(description='things that may disappear between two drills: a number, or a share: "1%"'),
    ] = "1%"
    baseline: Annotated[
        str,
        Field(
            pattern=r"^(\d{8}T\d{6}Z)?$",
            description="id of a drill: what had disappeared until then was meant to, and is compared with no more",
        ),
    ] = ""
    notice: Annotated[
        date | None, Field(description="the day on which the contract was, or would be, given notice")
    ] = None
    deadline: list[DeadlineTable] = []
    notify: Annotated[
        list[str] | None,
        AfterValidator(lambda words: words if words is None else _command(words)),
        Field(description="a program and its arguments; gets the record as JSON on stdin"),
    ] = None
    metrics: Annotated[str | None, Field(description="file for the Prometheus textfile collector")] = None
    sign: Annotated[str | None, Field(description="key file, .pub file or agent:SHA256:…")] = None
    passphrase: Annotated[str | None, Field(description="a reference: env:VARIABLE")] = None

    def terms(self, base: Path) -> DrillTerms:
        """The values, paths taken from the folder of the job file."""
        folder = base / self.folder
        scratch = _place(self.scratch, base) or Location.parse(str((folder / "scratch").absolute()))
        every = _EVERY.fullmatch(self.every) if self.every else None
        given: Mapping[str, Any] = (
            {"threshold": self.threshold}
            if isinstance(self.threshold, int)
            else {"threshold_share": round(Decimal(self.threshold.rstrip(" %")) * 10_000)}
        )
        return DrillTerms(
            folder=folder,
            scratch=scratch,
            restore_to=_place(self.restore_to, base) or scratch,
            every=timedelta(days=int(every[1]) * (7 if every[2] == "w" else 1)) if every else None,
            at=clock_time.fromisoformat(self.at),
            sample=share_ppm(self.sample) if self.sample else None,
            baseline=self.baseline,
            notice=self.notice,
            deadlines=tuple(OwnDeadline(name=one.name, days=one.days, day=one.day) for one in self.deadline),
            notify=tuple(self.notify or ()),
            metrics=base / self.metrics if self.metrics else None,
            sign=_key(self.sign, base),
            passphrase=self.passphrase,
            **given,
        )


def _place(told: Place | str | None, base: Path) -> Location | None:
    if told is None:
        return None
    place = Place(url=told) if isinstance(told, str) else told
    if "://" in place.url:
        return place.location()
    return Place(**{**place.model_dump(), "url": str((base / Path(place.url).expanduser()).absolute())}).location()


def _key(sign: str | None, base: Path) -> str | None:
    """A key file is looked for beside the job file; a reference stays as it is."""
    return sign if sign is None or sign.startswith("agent:") else str(base / Path(sign).expanduser())

"""What the tables [drill] and [prices] of a job file say, as plain values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from datetime import time as clock_time
from decimal import Decimal
from pathlib import Path

from connectors import Location
from portability.draw import WHOLE

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)\s?%", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What the source's host charges for leaving."""

    currency: str
    egress_gb: Decimal = Decimal(0)
    """For 1,000,000,000 bytes that leave the host."""
    requests_1000: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDeadline:
    """A limit of the practice's own contract: days from the start of leaving, or a day."""

    name: str
    days: int | None = None
    day: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillTerms:
    """What the [drill] table says."""

    folder: Path
    """Where the history and the records lie."""
    scratch: Location
    """Where the archive is written."""
    restore_to: Location
    """The second place."""
    every: timedelta | None = None
    at: clock_time = clock_time(20)
    """Time of day at which a schedule looks whether a drill is due."""
    sample: int | None = None
    """Parts in a million; None: everything."""
    threshold: int | None = None
    """Things that may disappear between two drills; None: see `threshold_share`."""
    threshold_share: int = WHOLE // 100
    """The same as parts in a million of what was there."""
    baseline: str = ""
    """Id of a drill: what had disappeared until then is accepted."""
    notice: date | None = None
    deadlines: tuple[OwnDeadline, ...] = ()
    notify: tuple[str, ...] = ()
    metrics: Path | None = None
    sign: str | None = None
    passphrase: str | None = None

    def allowed(self, before: int) -> int:
        """Things that may be gone out of so many."""
        return self.threshold if self.threshold is not None else before * self.threshold_share // WHOLE


def share_ppm(text: str) -> int:
    """ "5%" -> 50000. ValueError says how to write it, and that nothing is proven by drawing nothing."""
    match = _SHARE.fullmatch(text.strip())
    ppm = round(Decimal(match[1]) * 10_000) if match else -1
    if ppm == 0:
        raise ValueError("a sample of zero proves nothing: write a share such as 5%, or leave it out")
    if not 0 < ppm <= WHOLE:
        raise ValueError(f'"{text}" is not a share between 0.0001% and 100%: write 5%')
    return ppm

"""A quote before the run: requests, bytes that leave the source's host, room, time, and money where prices are known."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal

from portability.drill import scratch
from portability.drill.context import terms_of
from portability.drill.record import Quote, Record
from portability.job import Job, Selection
from portability.job_drill import Prices
from portability.ledger import Ledger

_PAGE = 1000
"""Keys that a listing gives at once."""
_PART = 64 << 20
_FOR_EACH = {"s3": 3}
"""Requests for one object: its attributes, its tags, its bytes. A session protocol is not charged by request."""


def quote(
    scheme: str,
    *,
    objects: int,
    bytes_: int,
    listed: int | None = None,
    disk: int = 0,
    seconds: float | None = None,
    prices: Prices | None = None,
) -> Quote:
    """What moving so much costs at a source of this scheme; `listed` things are listed, twice, also those not moved."""
    things = objects if listed is None else listed
    requests = 2 * max(1, -(-things // _PAGE)) + objects * _FOR_EACH.get(scheme, 1) + bytes_ // _PART
    egress = bytes_
    money = {}
    if prices is not None:
        total = prices.egress_gb * egress / 10**9 + prices.requests_1000 * requests / 1000
        money = {prices.currency: str(Decimal(total).quantize(Decimal("0.01"), ROUND_UP))}
    return Quote(
        objects=objects,
        bytes=bytes_,
        requests=requests,
        egress_bytes=egress,
        disk_bytes=disk,
        seconds=None if seconds is None else round(seconds),
        money=money,
    )


def counted(ledger: Ledger, chosen: Selection) -> tuple[int, int, int]:
    """Things that a census listed; things and bytes of those that a selection leaves."""
    listed = ledger.count()
    if not (chosen.include or chosen.exclude or chosen.sample):
        return listed, listed, ledger.total("size", "kind = 'object'")
    objects = octets = 0
    for thing in ledger.things():
        if not chosen.excludes(thing.key):
            objects += 1
            octets += (thing.size or 0) if thing.kind == "object" else 0
    return listed, objects, octets


def quote_of(job: Job, *, objects: int, bytes_: int, listed: int, last: Record | None = None) -> Quote:
    """What a drill of so much costs. PlaceError if there is too little room."""
    terms = terms_of(job)
    needed = scratch.need(terms, objects=listed, bytes_=bytes_)
    scratch.check_room(terms, needed)
    seconds = None
    if last is not None and last.moved.bytes:
        seconds = last.score.milliseconds / 1000 * max(bytes_ / last.moved.bytes, objects / last.moved.objects)
    return quote(
        job.source.scheme,
        objects=objects,
        bytes_=bytes_,
        listed=listed,
        disk=sum(needed.values()),
        seconds=seconds,
        prices=job.prices,
    )

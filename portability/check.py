"""The worker of verification: reads things back at the destination, hashes them, and says what differs."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from connectors import BulkRead, BulkSource, ConnectorError, Describer, Entry, Location, NotFoundError, Stream
from connectors.entry import altered
from connectors.streams import read_into
from portability.copying import room_here
from portability.fidelity import losses, must_be_found, without
from portability.light import light
from portability.links import link
from portability.outcome import Problem
from portability.tasks import Work
from portability.thing import entry_of
from portability.throttle import Throttled
from portability.trying import BULK_BYTES, bucket_for, bulk_share_of, overlap, retrying, share_of

log = logging.getLogger(__name__)
Level = Literal["listed", "reported", "read"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing to look at. The texts are entries as the ledger keeps them: the driver hands them on unread."""

    id: int
    listing: str
    """What the destination's listing says of it."""
    facts: str
    """What it must be, but for what is `lost`."""
    path: str
    """The destination's key."""
    size: int | None
    sha256: str | None
    lost: frozenset[str] = frozenset()
    parts: tuple[tuple[int, str], ...] = ()
    """Size and SHA-256 of each part, where the whole digest is not known yet."""

    @cached_property
    def there(self) -> Entry:
        return entry_of(self.listing)

    @cached_property
    def wanted(self) -> Entry:
        return altered(without(entry_of(self.facts), self.lost), key=self.path, size=self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckBatch:
    destination: Location
    checks: tuple[Check, ...]
    demands: Level = "read"
    work: Work = field(default_factory=Work)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    problem: Problem
    expected: str
    found: str
    depth: Level


@light
@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was seen: the evidence level reached, and every difference. `sha256` and `size` are of the bytes read back."""

    id: int
    level: Literal["none", "listed", "reported", "read"]
    sha256: str | None = None
    size: int = 0
    differences: tuple[Difference, ...] = ()
    put_off: bool = False
    """The host had to be asked again."""


def check(batch: CheckBatch) -> list[Checked]:
    """Look at every thing of the batch, several at once. What cannot be looked at is a difference, never a match."""
    try:
        width = share_of(batch.work, link(batch.destination).capabilities.connections)
    except ConnectorError:
        width = 1
    tried = _first_tries(batch)

    done = [first for first in tried.values() if isinstance(first, Checked)]
    seen = {checked.id for checked in done}

    def checked(one: Check) -> Checked:
        first = tried.get(one.id)
        return _check(one, batch, first if isinstance(first, ConnectorError) else None)

    return done + overlap(checked, [one for one in batch.checks if one.id not in seen], width)


def _first_tries(batch: CheckBatch) -> dict[int, Checked | ConnectorError]:
    """By check: what a first try in bulk saw, or the error after which the plain way tries again."""
    tried: dict[int, Checked | ConnectorError] = {}
    try:
        destination = link(batch.destination)
        width = bulk_share_of(batch.work, destination.capabilities)
        if batch.demands != "read" or batch.work.bandwidth.slots or not isinstance(destination, BulkSource):
            return tried
        limit = min(destination.bulk_bytes, BULK_BYTES // width)
        checks = [
            one for one in batch.checks if not one.parts and _is_small(one.there, limit) and _obstacle(one) is None
        ]
        for number, read in destination.read_many((one.there for one in checks), width):
            one = checks[number]
            if isinstance(read, BulkRead):
                digest = hashlib.sha256(read.body).hexdigest()
                tried[one.id] = _judged(one, batch, destination, read.entry, (digest, len(read.body)))
            elif read is not None and read.retryable:
                tried[one.id] = read
    except ConnectorError:
        pass  # the plain way meets it as well, and answers with it
    except Exception as error:  # noqa: BLE001 - a bug of the lane must not take the batch with it: the plain way looks at the rest
        log.error("unexpected error in the bulk lane: %s", type(error).__name__)  # noqa: TRY400 - its text may be a body's
    return tried


def _is_small(entry: Entry, limit: int) -> bool:
    return entry.kind == "object" and entry.size is not None and entry.size <= limit


def _check(one: Check, batch: CheckBatch, failed: ConnectorError | None) -> Checked:
    tries = 0 if failed is None else 1

    def counted() -> Checked:
        nonlocal tries
        tries += 1
        return _look(one, batch)

    try:
        answer = retrying(counted, batch.work, (batch.destination,), failed)
        return replace(answer, put_off=True) if tries > 1 else answer
    except NotFoundError as error:
        difference = Difference(
            problem="unreadable", expected="", found=f"listed, but not there: {error}", depth="listed"
        )
    except ConnectorError as error:
        difference = Difference(problem="unreadable", expected="", found=str(error), depth="listed")
    except Exception as error:  # one thing's bug must not take the others with it; it was not checked
        log.exception("unexpected error in a verifying worker")
        difference = Difference(problem="unreadable", expected="", found=f"a bug: {error}", depth="listed")
    return Checked(id=one.id, level="none", differences=(difference,), put_off=tries > 1)


def _look(one: Check, batch: CheckBatch) -> Checked:
    if (obstacle := _obstacle(one)) is not None:
        return Checked(id=one.id, level="none", differences=(obstacle,))
    if batch.demands == "listed" and not one.parts:
        return Checked(id=one.id, level="listed")
    destination = link(batch.destination)
    entry: Entry = destination.describe(one.there) if isinstance(destination, Describer) else one.there
    return _judged(one, batch, destination, entry)


def _obstacle(one: Check) -> Difference | None:
    """What the listing alone shows to be another thing."""
    if one.there.kind != one.wanted.kind:
        return _difference("digest", one.wanted.kind, one.there.kind, "listed")
    if one.wanted.kind == "object" and one.there.size is not None and one.there.size != one.wanted.size:
        return _difference("size", f"{one.wanted.size} bytes", f"{one.there.size} bytes", "listed")
    return None


def _judged(
    one: Check, batch: CheckBatch, destination: Any, entry: Entry, bulk: tuple[str, int] | None = None
) -> Checked:
    """Compare what is there with what was put. `bulk`: digest and size of the bytes, where they were read already."""
    if one.wanted.kind == "delete_marker":
        return Checked(id=one.id, level="read")
    differences: list[Difference] = []
    needs_reading = batch.demands == "read" or bool(one.parts)
    level: Literal["listed", "reported", "read"] = "listed"
    sha256, size_read = None, 0
    if one.wanted.kind == "object" and needs_reading:
        sha256, size_read, part = (*bulk, None) if bulk else _read(destination, entry, one, batch)
        if part:
            differences.append(part)
        elif one.sha256 is None and not one.parts:
            differences.append(_difference("unreadable", "a digest of what was sent", "none is known", "read"))
        elif one.sha256 is not None and sha256 != one.sha256:
            differences.append(_difference("digest", one.sha256, sha256, "read"))
        elif size_read != one.wanted.size:
            differences.append(_difference("size", f"{one.wanted.size} bytes", f"{size_read} bytes", "read"))
        level = "read"
    elif one.wanted.kind == "object":
        stated = entry.digests.get("sha256") if "sha256" in destination.capabilities.digests else None
        if stated is not None and stated != one.sha256:
            differences.append(_difference("digest", one.sha256 or "", stated, "reported"))
        level = "listed" if stated is None else "reported"
    elif needs_reading:
        level = "read"
        if (
            one.wanted.posix
            and one.wanted.kind == "link"
            and (entry.posix is None or entry.posix.target != one.wanted.posix.target)
        ):
            differences.append(_difference("digest", "the link's text", "another link text", "read"))
    depth: Level = "read" if level == "read" else "listed"
    for name, _ in losses(one.wanted, entry):
        if must_be_found(name, one.wanted, entry, batch.destination.options):
            differences.append(
                _difference("metadata", f"{name}: {_value(one.wanted, name)}", f"{name}: {_value(entry, name)}", depth)
            )
    return Checked(
        id=one.id,
        level="none" if any(found.problem != "metadata" for found in differences) else level,
        sha256=sha256,
        size=size_read,
        differences=tuple(differences),
    )


def _read(destination: Any, entry: Entry, one: Check, batch: CheckBatch) -> tuple[str, int, Difference | None]:
    """The whole digest and size of the bytes read back; with parts, the first part that differs from the source's."""
    bucket = bucket_for(batch.work)
    body: Stream = destination.open(entry)
    if bucket is not None:
        body = Throttled(body, bucket)
    whole, count, room = hashlib.sha256(), 0, room_here()
    wrong: Difference | None = None
    try:
        if not one.parts:
            while got := read_into(body, room):
                whole.update(room[:got])
                count += got
            return whole.hexdigest(), count, None
        for number, (size, expected) in enumerate(one.parts, 1):
            part, left = hashlib.sha256(), size
            while left and (got := read_into(body, room[:left])):
                whole.update(room[:got])
                part.update(room[:got])
                left -= got
                count += got
            if wrong is None and (left or part.hexdigest() != expected):
                wrong = _difference(
                    "digest", f"part {number}: {expected}", f"part {number}: {part.hexdigest()}", "read"
                )
        while got := read_into(body, room):
            count += got
        return whole.hexdigest(), count, wrong
    finally:
        body.close()


def _difference(problem: Problem, expected: str, found: str, depth: Level) -> Difference:
    return Difference(problem=problem, expected=expected, found=found, depth=depth)


def _value(entry: Entry, name: str) -> str:
    head, _, field = name.partition(".")
    value: Any = getattr(entry, head, entry.host.get(head))
    if field:
        value = getattr(value, field, None)
    return str(dict(value) if hasattr(value, "items") else value)[:200]

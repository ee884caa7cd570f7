"""One object through a worker: described, read once for the destination and the digest, put, compared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from connectors import AlreadyExistsError, ChangedError, CorruptedError, Describer, Entry, NotFoundError, Stream
from connectors.entry import altered
from connectors.streams import BytesStream
from manifests.canonical import time_text
from manifests.digests import Digesting
from manifests.receipt import new_salt
from portability.fidelity import losses, overlay
from portability.links import link
from portability.tasks import Batch, Moved, Step
from portability.thing import dump
from portability.throttle import Throttled
from portability.trying import DifferentContentError, bucket_for

READ = 1 << 20
"""Bytes asked of a stream at once: large enough that no host's window runs dry between two reads."""
_local = threading.local()


def room_here() -> memoryview:
    """This thread's memory for bytes that are only looked at; whoever asks next overwrites them."""
    room: memoryview | None = _local.__dict__.get("room")
    if room is None:
        room = _local.room = memoryview(bytearray(READ))
    return room


def described(source: Any, step: Step) -> Entry:
    """The source's full description of the very thing in the step; ChangedError if its size is not the census' any more."""
    entry: Entry = source.describe(step.entry) if isinstance(source, Describer) else step.entry
    if step.entry.size is not None and entry.size is not None and entry.size != step.entry.size:
        raise ChangedError(
            f"it has {entry.size} bytes now, {step.entry.size} at the census; run again to bring the new content over",
            host=source.uri,
            key=step.entry.key,
        )
    return entry


def wanted_of(entry: Entry, step: Step) -> Entry:
    """What we ask of the destination: the source's attributes, parked ones put back, under the destination's key."""
    wanted = overlay(entry, step.overlay)
    return wanted if wanted.key == step.path else altered(wanted, key=step.path)


def body_of(source: Any, entry: Entry, batch: Batch, start: int = 0, stop: int | None = None) -> Stream:
    body: Stream = source.open(entry, start, stop) if entry.kind == "object" else BytesStream()
    bucket = bucket_for(batch.work)
    return Throttled(body, bucket) if bucket else body


class _Expecting:
    """A stream that fails before its last byte if the bytes have not the digest that earlier evidence knows."""

    def __init__(self, body: Digesting, size: int | None, sha256: str, place: str, key: str) -> None:
        self._body, self._size, self._sha256, self._place, self._key = body, size, sha256, place, key

    def read(self, size: int = -1, /) -> bytes:
        piece = self._body.read(size)
        self._check(end=not piece)
        return piece

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._body.readinto(buffer)
        self._check(end=not count)
        return count

    def _check(self, *, end: bool) -> None:
        if (end or self._body.count == self._size) and self._body.sha256 != self._sha256:
            raise CorruptedError(
                "the source's bytes are not those that its evidence knows: damaged or changed since",
                host=self._place,
                key=self._key,
            )

    def close(self) -> None:
        self._body.close()


def copy_one(step: Step, batch: Batch) -> Moved:
    source, destination = link(batch.source), link(batch.destination)
    entry = described(source, step)
    if step.elsewhere or step.by_content:  # read twice: only when the bytes have passed is it known where they go
        digest, size = digest_of(body_of(source, entry, batch))
        if step.elsewhere and step.elsewhere["sha256"] == digest:
            there = {name: step.elsewhere[name] for name in ("archive", "path")}
            wanted = wanted_of(entry, step)
            return moved(step, wanted, replace(wanted, host={**wanted.host, "stored": there}), size, digest)
    if step.by_content:
        step = replace(step, path=f"{step.by_content}/{digest[:2]}/{digest}", expect=step.expect or digest)
    wanted = wanted_of(entry, step)
    replaces = may_replace(destination, step, batch)
    if (step.present or step.replaces) and not replaces:
        try:
            return adopt(source, destination, entry, wanted, step, batch)
        except NotFoundError:
            pass  # it went away since: there is nothing to put over
    try:
        stored, body = put_one(
            source,
            entry,
            wanted,
            step,
            batch,
            lambda asked, stream: destination.put(asked, stream, replace=replaces),
        )
    except AlreadyExistsError:
        return adopt(source, destination, entry, wanted, step, batch)
    return moved(step, wanted, stored, body.count, body.sha256)


def put_one(
    source: Any, entry: Entry, wanted: Entry, step: Step, batch: Batch, put: Callable[[Entry, Stream], Entry]
) -> tuple[Entry, Digesting]:
    """One read of the source feeds the destination and the digest."""
    body = Digesting(body_of(source, entry, batch))
    try:
        stream: Stream = body
        # What a source states and is true by its own capabilities, or what earlier evidence says, must hold before publishing.
        stated = entry.digests.get("sha256") if "sha256" in source.capabilities.digests else None
        expect = step.expect or stated
        if expect is not None and entry.kind == "object":
            stream = _Expecting(body, entry.size, expect, source.uri, entry.key)
        stored = put(wanted, stream)
    finally:
        body.close()
    if entry.kind == "object" and stored.size is not None and stored.size != body.count:
        raise CorruptedError(
            f"the destination says {stored.size} bytes after {body.count} were sent",
            host=batch.destination.url,
            key=step.path,
        )
    return stored, body


def moved(step: Step, wanted: Entry, stored: Entry, size: int, sha256: str | None, *, adopted: bool = False) -> Moved:
    is_object = wanted.kind == "object"
    return Moved(
        id=step.id,
        facts=dump(wanted if wanted.key == step.entry.key else altered(wanted, key=step.entry.key)),
        size=size if is_object else None,
        sha256=sha256 if is_object else None,
        losses=losses(wanted, stored),
        attempts=1,
        received_at=time_text(datetime.now(UTC)),
        salt=new_salt(),
        adopted=adopted,
        path=step.path if step.by_content else None,
        stored=stored.host.get("stored"),
    )


def adopt(source: Any, destination: Any, entry: Entry, wanted: Entry, step: Step, batch: Batch) -> Moved:
    """Something is there already: equal content is adopted, different content is a failure with both digests."""
    stored: Entry = destination.stat(step.path)
    if stored.kind != wanted.kind:
        raise DifferentContentError(
            f"the destination holds a {stored.kind} there", expected=wanted.kind, found=stored.kind
        )
    if wanted.kind == "link" and (
        stored.posix is None or wanted.posix is None or stored.posix.target != wanted.posix.target
    ):
        raise DifferentContentError("the destination holds a link with another target there")
    if wanted.kind != "object":
        return moved(step, wanted, stored, 0, None, adopted=True)
    mine = digest_of(body_of(source, entry, batch))
    theirs = digest_of(body_of(destination, stored, batch))
    if mine != theirs or (step.expect is not None and mine[0] != step.expect):
        raise DifferentContentError(
            "the destination holds another content under this key; move it away, or choose an empty destination",
            expected=mine[0],
            found=theirs[0],
        )
    return moved(step, wanted, stored, mine[1], mine[0], adopted=True)


def may_replace(destination: Any, step: Step, batch: Batch) -> bool:
    """Whether what stands at the step's path is what an earlier run put there, and may give way to the new content."""
    if not step.replace or not step.replaces:
        return step.replace
    try:
        there: Entry = destination.stat(step.path)
    except NotFoundError:
        return False
    return there.kind == "object" and digest_of(body_of(destination, there, batch))[0] == step.replaces


def digest_of(body: Stream) -> tuple[str, int]:
    """SHA-256 in hex and size of what a stream gives; the stream is closed."""
    digesting, room = Digesting(body), room_here()
    try:
        while digesting.readinto(room):
            pass
    finally:
        digesting.close()
    return digesting.sha256, digesting.count

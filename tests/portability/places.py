"""What the engine's tests share: places filled with the synthetic practice, jobs between them, manifests to compare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from connectors import Entry, Location, connect
from connectors.streams import BytesStream
from manifests.manifest import ManifestReader
from manifests.receipt import Receipt
from portability.demo.practice import Thing, generate, write_tree
from portability.job import Job, Policy


def small_practice() -> list[Thing]:
    """The synthetic practice, small enough for many tests, with its versions, marker, tags and awkward names."""
    return list(generate(patients=4, large=3 << 20))


def fill(location: Location, things: Iterable[Thing]) -> None:
    """Put the things, in their order, as versions where the place keeps them."""
    host = connect(location)
    versions = "versions" in host.capabilities.preserves
    try:
        for thing in things:
            entry = Entry(
                key=thing.key,
                size=len(thing.data),
                media_type=thing.media_type,
                headers=dict(thing.headers),
                metadata=dict(thing.metadata),
                tags=dict(thing.tags),
            )
            if thing.deleted:
                host.put_marker(Entry(key=thing.key, kind="delete_marker"))
            elif versions:
                host.put_version(entry, BytesStream(thing.data))
            else:
                host.put(entry, BytesStream(thing.data), replace=True)
    finally:
        host.close()


def put(location: Location, key: str, data: bytes, *, replace: bool = False, **attributes: Any) -> None:
    host = connect(location)
    try:
        host.put(Entry(key=key, size=len(data), **attributes), BytesStream(data), replace=replace)
    finally:
        host.close()


def delete(location: Location, key: str) -> None:
    host = connect(location)
    try:
        host.delete(key)
    finally:
        host.close()


def content(location: Location) -> dict[str, bytes]:
    """Every current object of a place, read past the engine."""
    host = connect(location)
    try:
        found = {}
        for entry in host.list():
            if entry.kind == "object":
                body = host.open(entry)
                found[entry.key] = body.read()
                body.close()
        return found
    finally:
        host.close()


def a_job(source: Location, destination: Location, evidence: Path, **changes: Any) -> Job:
    policy = changes.pop("policy", Policy(workers=1, retries=1))
    return Job(source=source, destination=destination, evidence=evidence, policy=policy, **changes)


def lines(evidence: Path) -> Iterator[Receipt]:
    with (evidence / "manifest.jsonl").open("rb") as stream:
        yield from ManifestReader(stream)


def essence(evidence: Path) -> list[dict[str, Any]]:
    """What two manifests of the same things must agree on, whatever hosts held them."""
    return [
        {
            "key": line.key,
            "kind": line.kind,
            "size": line.size,
            "sha256": line.sha256,
            "order": line.order,
            "latest": line.latest,
            "media_type": line.media_type,
            "headers": line.headers,
            "metadata": line.metadata,
            "tags": line.tags,
            "target": line.target,
            "posix": line.posix,
            "modified": line.modified,
        }
        for line in lines(evidence)
    ]


__all__ = ["a_job", "content", "delete", "essence", "fill", "lines", "put", "small_practice", "write_tree"]

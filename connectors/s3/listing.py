"""Listing pages: read with a streaming parser in the order in which the host wrote them, and checked against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from urllib.parse import unquote_plus
from xml.parsers import expat

from connectors.entry import Entry
from connectors.errors import CorruptedError, UnsupportedError
from connectors.keys import key_bytes

_ITEMS = {"Contents", "Version", "DeleteMarker"}
Fetch = Callable[..., bytes]
"""(operation, **parameters) -> the page as the host sent it."""


@dataclass(slots=True, kw_only=True)
class Page:
    """One page: its items in document order, each a dict of texts, and the texts beside them."""

    items: list[dict[str, str]] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def key(self, text: str) -> str:
        # Not every host honours encoding-type; one that does says so.
        return unquote_plus(text, errors="surrogateescape") if self.facts.get("EncodingType") == "url" else text


def objects(fetch: Fetch, root: str, prefix: str, host: str) -> Iterator[Entry]:
    """The current objects under root + prefix, keys relative to the root. ListObjectsV2, or V1 where that is all there is."""
    started = False
    try:
        for entry in _pages(fetch, "list_objects_v2", root, prefix, host, _after_v2):
            started = True
            yield entry
    except UnsupportedError:
        if started:
            raise
        yield from _pages(fetch, "list_objects", root, prefix, host, _after_v1)


def versions(fetch: Fetch, root: str, prefix: str, host: str, *, trusted: bool) -> Iterator[Entry]:
    """Versions and delete markers under root + prefix, keys relative to the root; those of one key newest first.

    `trusted`: the host is known to list versions and markers in their common order.
    """
    yield from _pages(
        fetch, "list_object_versions", root, prefix, host, _after_version, None if trusted else in_true_order
    )


def in_true_order(page: list[Entry]) -> list[Entry]:
    """One page's versions by key, those of one key newest first.

    The host's order is the true one, except where it wrote all versions before all markers (moto does, page by page):
    there its own times decide. Nowhere else, for the time of an object sent in parts is when its upload began.
    """
    ordered: list[Entry] = []
    for _, group in groupby(sorted(page, key=lambda entry: key_bytes(entry.key)), key=lambda entry: entry.key):
        kept = list(group)
        if [kind for kind, _ in groupby(entry.kind for entry in kept)] == ["object", "delete_marker"]:
            kept.sort(key=lambda entry: (not entry.latest, -entry.modified.timestamp() if entry.modified else 0.0))
        ordered += kept
    return ordered


def read_page(data: bytes, host: str) -> Page:
    """Parse one page. CorruptedError if it is not a listing."""
    page = Page()
    path: list[str] = []
    text: list[str] = []
    item: dict[str, str] | None = None

    def start(name: str, _: dict[str, str]) -> None:
        nonlocal item
        path.append(name)
        text.clear()
        if len(path) == 2 and name in _ITEMS:
            item = {"": name}

    def end(name: str) -> None:
        nonlocal item
        if len(path) == 2 and item is not None:
            page.items.append(item)
            item = None
        elif len(path) == 2:
            page.facts[name] = "".join(text)
        elif len(path) == 3 and item is not None:
            item[name] = "".join(text)
        path.pop()
        text.clear()

    def doctype(*_: Any) -> None:
        raise CorruptedError("a listing page declares a document type, which no S3 host does", host=host)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise CorruptedError("a listing page is unreadable", host=host, cause=str(error)) from error
    if "IsTruncated" not in page.facts:
        raise CorruptedError("a listing page does not say whether it is the last", host=host)
    return page


def _pages(
    fetch: Fetch,
    operation: str,
    root: str,
    prefix: str,
    host: str,
    after: Callable[[Page], dict[str, str]],
    arrange: Callable[[list[Entry]], list[Entry]] | None = None,
) -> Iterator[Entry]:
    where: dict[str, str] = {}
    seen: set[tuple[str, ...]] = set()
    first: dict[str, str] | None = None
    while True:
        page = read_page(fetch(operation, Prefix=root + prefix, EncodingType="url", **where), host)
        if page.items and page.items[0] == first:
            raise CorruptedError("the host sent the same listing page twice", host=host)
        first = page.items[0] if page.items else first
        entries = [_entry(page, item, root, prefix, host) for item in page.items]
        for entry in arrange(entries) if arrange else entries:
            # The empty object named like the root itself is how consoles show the folder that this place is.
            if entry.key or entry.size:
                yield entry
        if page.facts["IsTruncated"].strip().lower() != "true":
            return
        where = after(page)
        if not where or not all(where.values()):
            raise CorruptedError("a listing page says that more follows, but not where", host=host)
        if tuple(where.values()) in seen:
            raise CorruptedError("the listing goes round in circles", host=host)
        seen.add(tuple(where.values()))


def _after_v2(page: Page) -> dict[str, str]:
    return {"ContinuationToken": page.facts.get("NextContinuationToken", "")}


def _after_v1(page: Page) -> dict[str, str]:
    # Without a delimiter hosts leave NextMarker out: the last key is the marker.
    last = page.facts.get("NextMarker") or (page.items[-1].get("Key", "") if page.items else "")
    return {"Marker": page.key(last)}


def _after_version(page: Page) -> dict[str, str]:
    where = {"KeyMarker": page.key(page.facts.get("NextKeyMarker", ""))}
    if page.facts.get("NextVersionIdMarker"):
        where["VersionIdMarker"] = page.facts["NextVersionIdMarker"]
    return where


def _entry(page: Page, item: dict[str, str], root: str, prefix: str, host: str) -> Entry:
    try:
        key = page.key(item["Key"])
        if not key.startswith(root + prefix):
            raise CorruptedError("the host listed a key outside of the prefix that was asked for", host=host)
        marker = item[""] == "DeleteMarker"
        modified = datetime.fromisoformat(item["LastModified"]) if item.get("LastModified") else None
        if modified and not modified.tzinfo:
            modified = modified.replace(tzinfo=UTC)
        return Entry(
            key=key[len(root) :],
            size=None if marker else int(item["Size"]),
            modified=modified,
            digests={"etag": item["ETag"]} if item.get("ETag") else {},
            storage_class=item.get("StorageClass") or None,
            version=item.get("VersionId") or None,
            latest=item.get("IsLatest", "true") == "true",
            kind="delete_marker" if marker else "object",
        )
    except (KeyError, ValueError) as error:
        raise CorruptedError(
            "a listing page has an item without key, size or date", host=host, cause=repr(error)[:200]
        ) from error

"""Listing pages: read in the order in which the host wrote them, the next one fetched meanwhile, and checked against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import groupby

from connectors.entry import Entry, listed
from connectors.errors import CorruptedError, UnsupportedError
from connectors.keys import key_bytes
from connectors.s3.page import Page, Row, read_page

Fetch = Callable[..., bytes]
"""(operation, **parameters) -> the page as the host sent it."""


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


def _pages(
    fetch: Fetch,
    operation: str,
    root: str,
    prefix: str,
    host: str,
    after: Callable[[Page], dict[str, str]],
    arrange: Callable[[list[Entry]], list[Entry]] | None = None,
) -> Iterator[Entry]:
    seen: set[tuple[str, ...]] = set()
    first: Row | None = None
    beside = ThreadPoolExecutor(1, thread_name_prefix="listing")
    try:
        coming = beside.submit(fetch, operation, Prefix=root + prefix, EncodingType="url")
        while True:
            page = read_page(coming.result(), host)
            if page.rows and page.rows[0] == first:
                raise CorruptedError("the host sent the same listing page twice", host=host)
            first = page.rows[0] if page.rows else first
            if operation == "list_object_versions" and page.root == "ListBucketResult":
                raise UnsupportedError("the host lists no versions", host=host)
            where = _onward(page, after, seen, host)
            if where:  # the host writes the next page while this one is used
                coming = beside.submit(fetch, operation, Prefix=root + prefix, EncodingType="url", **where)
            entries = _entries(page, root, prefix, host)
            for entry in arrange([*entries]) if arrange else entries:
                # The empty object named like the root itself is how consoles show the folder that this place is.
                if entry.key or entry.size:
                    yield entry
            if not where:
                return
    finally:
        beside.shutdown(wait=False, cancel_futures=True)


def _onward(
    page: Page, after: Callable[[Page], dict[str, str]], seen: set[tuple[str, ...]], host: str
) -> dict[str, str]:
    """The parameters that ask for the page after this one; empty if it is the last."""
    said = page.facts["IsTruncated"].strip().lower()
    if said not in {"true", "false"}:
        raise CorruptedError("a listing page does not say whether more follows", host=host)
    if said == "false":
        if page.facts.get("NextContinuationToken"):
            raise CorruptedError("a listing page says that nothing follows, and where", host=host)
        return {}
    where = after(page)
    if not where or not all(where.values()):
        raise CorruptedError("a listing page says that more follows, but not where", host=host)
    if tuple(where.values()) in seen:
        raise CorruptedError("the listing goes round in circles", host=host)
    seen.add(tuple(where.values()))
    return where


def _after_v2(page: Page) -> dict[str, str]:
    return {"ContinuationToken": page.facts.get("NextContinuationToken", "")}


def _after_v1(page: Page) -> dict[str, str]:
    # Without a delimiter hosts leave NextMarker out: the last key is the marker.
    last = page.facts.get("NextMarker") or (page.rows[-1][1] if page.rows else "")
    return {"Marker": page.key(last)}


def _after_version(page: Page) -> dict[str, str]:
    where = {"KeyMarker": page.key(page.facts.get("NextKeyMarker", ""))}
    if page.facts.get("NextVersionIdMarker"):
        where["VersionIdMarker"] = page.facts["NextVersionIdMarker"]
    return where


def _entries(page: Page, root: str, prefix: str, host: str) -> Iterator[Entry]:
    within, skipped = root + prefix, len(root)
    encoded = page.facts.get("EncodingType") == "url"
    try:
        for tag, text, modified, etag, size, storage_class, version, latest in page.rows:
            key = page.key(text) if encoded and ("%" in text or "+" in text) else text
            if not key.startswith(within):
                raise CorruptedError("the host listed a key outside of the prefix that was asked for", host=host)
            marker = tag == "DeleteMarker"
            when = datetime.fromisoformat(modified) if modified else None
            if when is not None and when.tzinfo is None:
                when = when.replace(tzinfo=UTC)
            if not text or not (marker or size.isdecimal()):
                raise _incomplete(host, "no key, or no size")
            yield listed(
                key[skipped:],
                None if marker else int(size),
                when,
                {"etag": etag} if etag else {},
                storage_class or None,
                version or None,
                latest in {"true", ""},
                "delete_marker" if marker else "object",
            )
    except ValueError as error:
        raise _incomplete(host, repr(error)[:200]) from error


def _incomplete(host: str, cause: str) -> CorruptedError:
    return CorruptedError("a listing page has an item without key, size or date", host=host, cause=cause)

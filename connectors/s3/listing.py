"""Listings: which operation, with which parameters, and the entries that its items are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby, repeat

from connectors.entry import Entry, listed
from connectors.errors import CorruptedError, UnsupportedError
from connectors.keys import key_bytes
from connectors.s3.page import Page
from connectors.s3.stretches import Stretches, Where

Fetch = Callable[..., bytes]
"""(operation, **parameters) -> the page as the host sent it."""


def objects(fetch: Fetch, root: str, prefix: str, host: str, *, width: int = 1) -> Iterator[Entry]:
    """The current objects under root + prefix, keys relative to the root. ListObjectsV2, or V1 where that is all there is.

    `width`: pages that may be asked for at once, where the line is slow.
    """
    started = False
    try:
        for entries in _pages(fetch, "list_objects_v2", root, prefix, host, _after_v2, begin="StartAfter", width=width):
            started = True
            yield from entries
    except UnsupportedError:
        if started:
            raise
        for entries in _pages(fetch, "list_objects", root, prefix, host, _after_v1):
            yield from entries


def versions(fetch: Fetch, root: str, prefix: str, host: str, *, trusted: bool, width: int = 1) -> Iterator[Entry]:
    """Versions and delete markers under root + prefix, keys relative to the root; those of one key newest first.

    `trusted`: the host is known to list versions and markers in their common order.
    """
    arrange, begin = (None, "KeyMarker") if trusted else (in_true_order, "")
    for entries in _pages(
        fetch, "list_object_versions", root, prefix, host, _after_version, arrange, begin=begin, width=width
    ):
        yield from entries


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
    after: Callable[[Page], Where],
    arrange: Callable[[list[Entry]], list[Entry]] | None = None,
    *,
    begin: str = "",
    width: int = 1,
) -> Iterator[Iterator[Entry]]:
    """The entries of page after page. `begin`: the parameter that says after which key to begin."""
    stretches = Stretches(
        lambda where: fetch(operation, Prefix=root + prefix, EncodingType="url", **where),
        after,
        (lambda text: {begin: text}) if begin else None,
        within=root + prefix,
        host=host,
        width=width,
    )
    for page in stretches.pages():
        if operation == "list_object_versions":
            _must_list_versions(page, host)
        entries = _entries(page, root, prefix, host)
        if arrange is not None:
            entries = iter(arrange([*entries]))
        # The empty object named like the root itself is how consoles show the folder that this place is.
        yield (entry for entry in entries if entry.key or entry.size) if root else entries


def _after_v2(page: Page) -> Where:
    return {"ContinuationToken": page.facts.get("NextContinuationToken", "")}


def _after_v1(page: Page) -> Where:
    # Without a delimiter hosts leave NextMarker out: the last key is the marker.
    last = page.facts.get("NextMarker") or (page.rows[-1][1] if page.rows else "")
    return {"Marker": page.key(last)}


def _must_list_versions(page: Page, host: str = "") -> None:
    if page.root == "ListBucketResult":  # the host ignores what it was asked for
        raise UnsupportedError("the host lists no versions", host=host)


def _after_version(page: Page) -> Where:
    _must_list_versions(page)
    where = {"KeyMarker": page.key(page.facts.get("NextKeyMarker", ""))}
    if page.facts.get("NextVersionIdMarker"):
        where["VersionIdMarker"] = page.facts["NextVersionIdMarker"]
    return where


def _entries(page: Page, root: str, prefix: str, host: str) -> Iterator[Entry]:
    """What a page's items are. Column by column, because a listing has millions of them, and not before all are sound."""
    if not page.rows:
        return iter(())
    tags, texts, modified, etags, sizes, classes, versions, latest = zip(*page.rows, strict=True)
    keys = page.keys(texts)
    within, skipped = root + prefix, len(root)
    if within and not all(key.startswith(within) for key in keys):
        raise CorruptedError("the host listed a key outside of the prefix that was asked for", host=host)
    markers = [tag == "DeleteMarker" for tag in tags] if "DeleteMarker" in tags else None
    sized = sizes if markers is None else [size for size, marker in zip(sizes, markers, strict=True) if not marker]
    if not all(texts) or not all(map(str.isdecimal, sized)):
        raise _incomplete(host, "no key, or no size")
    try:
        numbers = iter([*map(int, sized)])
    except ValueError as error:  # thousands of digits
        raise _incomplete(host, repr(error)[:200]) from error
    return map(
        listed,
        [key[skipped:] for key in keys] if skipped else keys,
        numbers if markers is None else [None if marker else next(numbers) for marker in markers],
        _moments(modified, host),
        ({"etag": etag} if etag else {} for etag in etags),
        _or_none(classes),
        _or_none(versions),
        (text in {"true", ""} for text in latest) if any(latest) else repeat(True),
        repeat("object") if markers is None else ["delete_marker" if marker else "object" for marker in markers],
    )


def _or_none(column: Sequence[str]) -> Sequence[str | None]:
    return column if all(column) else [text or None for text in column]


def _moments(column: Sequence[str], host: str) -> Sequence[datetime | None]:
    try:
        moments = [datetime.fromisoformat(text) if text else None for text in column]
    except ValueError as error:
        raise _incomplete(host, repr(error)[:200]) from error
    return [when.replace(tzinfo=UTC) if when and when.tzinfo is None else when for when in moments]


def _incomplete(host: str, cause: str) -> CorruptedError:
    return CorruptedError("a listing page has an item without key, size or date", host=host, cause=cause)

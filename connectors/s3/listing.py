"""Listing pages: read in the order in which the host wrote them, the next one fetched meanwhile, and checked against each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from connectors.entry import Entry
from connectors.errors import CorruptedError, UnavailableError, UnsupportedError
from connectors.keys import key_bytes

_ITEMS = {"Contents", "Version", "DeleteMarker"}
_PLAIN = re.compile(rb"\s*<(?:\?xml(?![^>]*encoding\s*=\s*[\"'](?!utf-8[\"']))|[A-Za-z])", re.IGNORECASE)
"""How a page in UTF-8 begins."""
Fetch = Callable[..., bytes]
"""(operation, **parameters) -> the page as the host sent it."""


_USUAL_ITEM = re.compile(
    rb"(<Key>([^<&]+)</Key><LastModified>([^<&]*)</LastModified><ETag>((?:&#34;|&quot;)?[0-9a-fA-F-]*(?:&#34;|&quot;)?|"
    rb'"[0-9a-fA-F-]*")</ETag><Size>([0-9]+)</Size><StorageClass>([A-Z_]+)</StorageClass>)'
)
_BETWEEN = len(b"</Contents><Contents>")


@dataclass(slots=True, kw_only=True)
class Page:
    """One page: its items in document order, each a dict of texts, and the texts beside them."""

    root: str = ""
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
    """Parse one page. UnavailableError if it is cut, CorruptedError if it is no listing."""
    if (usual := _usual(data, host)) is not None:
        return usual
    if b"<!" in data or not _PLAIN.match(data):  # a document type could not be seen in another encoding
        raise CorruptedError("a listing page declares a document type or an encoding, which no S3 host does", host=host)
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - entities need a document type, which was just refused
    except ElementTree.ParseError as error:
        raise UnavailableError("a listing page is unreadable or cut", host=host, cause=str(error)) from error
    page = Page(root=_name(root.tag))
    names: dict[str, str] = {}  # a tag carries its namespace, and there are a dozen of them
    for element in root:
        tag = names.get(element.tag) or names.setdefault(element.tag, _name(element.tag))
        if tag not in _ITEMS:
            page.facts[tag] = element.text or ""
            continue
        item = {"": tag}
        for inner in element:
            item[names.get(inner.tag) or names.setdefault(inner.tag, _name(inner.tag))] = inner.text or ""
        page.items.append(item)
    if "IsTruncated" not in page.facts:
        raise CorruptedError("a listing page does not say whether it is the last", host=host)
    return page


def _usual(data: bytes, host: str) -> Page | None:
    """A page in the very form that AWS and most others write, at a third of a parser's cost; None if it is any other."""
    head, first, rest = data.partition(b"<Contents>")
    body, last, tail = rest.rpartition(b"</Contents>")
    if not (first and last):
        return None
    found = _USUAL_ITEM.findall(body)
    # Whatever is not matched leaves a gap: then the pieces do not make up the whole.
    if len(found) != body.count(b"<Contents>") + 1 or sum(map(len, map(itemgetter(0), found))) + _BETWEEN * (
        len(found) - 1
    ) != len(body):
        return None
    frame = read_page(head + tail, host)
    try:
        for _, key, modified, etag, size, storage_class in found:
            frame.items.append(
                {
                    "": "Contents",
                    "Key": key.decode(),
                    "LastModified": modified.decode(),
                    "ETag": etag.decode().replace("&#34;", '"').replace("&quot;", '"'),
                    "Size": size.decode(),
                    "StorageClass": storage_class.decode(),
                }
            )
    except UnicodeDecodeError:
        return None
    return frame


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]


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
    first: dict[str, str] | None = None
    beside = ThreadPoolExecutor(1, thread_name_prefix="listing")
    try:
        coming = beside.submit(fetch, operation, Prefix=root + prefix, EncodingType="url")
        while True:
            page = read_page(coming.result(), host)
            if page.items and page.items[0] == first:
                raise CorruptedError("the host sent the same listing page twice", host=host)
            first = page.items[0] if page.items else first
            if operation == "list_object_versions" and page.root == "ListBucketResult":
                raise UnsupportedError("the host lists no versions", host=host)
            where = _onward(page, after, seen, host)
            if where:  # the host writes the next page while this one is used
                coming = beside.submit(fetch, operation, Prefix=root + prefix, EncodingType="url", **where)
            entries = [_entry(page, item, root, prefix, host) for item in page.items]
            for entry in arrange(entries) if arrange else entries:
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

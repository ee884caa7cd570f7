"""Which keys are free, by one page of a listing for many keys instead of one question for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from connectors.errors import ConnectorError
from connectors.keys import key_bytes
from connectors.s3.page import is_plain

SECONDS = 5.0
"""How long a page is believed: others may put something at any time, and only the host's own refusal is free of races."""
_PAGE = 256
_WORTH = 16
"""Keys that a page must have answered for before another is asked: where a place is dense, single questions cost less."""


class Vacancy:
    """What pages say of the keys that are about to be put, in about their order.

    A key is free only where a page covers it: one in the order of S3 that neither begins before nor breaks off. Some hosts
    have another order, which a page may not show: a key has to be covered in theirs too. Anything odd, and any error,
    answers nothing.
    """

    def __init__(self, fetch: Callable[..., bytes], root: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._root, self._clock = fetch, root, clock
        self._until = 0.0
        self._bounds: list[tuple[Callable[[str], bytes], bytes, bytes | None]] = []
        self._taken: set[str] = set()
        self._answered = _WORTH

    def has(self, key: str) -> bool:
        """Whether the key was seen to be free a moment ago. It is free for one asker only."""
        full = self._root + key
        if not self._covers(full):
            if self._answered < _WORTH:
                return False
            self._ask(full)
            if not self._covers(full):
                return False
        if full in self._taken:
            return False
        self._taken.add(full)
        self._answered += 1
        return True

    def _covers(self, full: str) -> bool:
        if self._clock() >= self._until:
            return False
        for order, after, before in self._bounds:
            place = order(full)
            if place <= after or (before is not None and place >= before):
                return False
        return True

    def _ask(self, first: str) -> None:
        self._answered, self._until = 0, 0.0
        until = self._clock() + SECONDS
        after = first[:-1]  # a beginning of the key stands before it
        where = {"StartAfter": after} if after else {}
        try:
            page = self._fetch("list_objects_v2", Prefix=self._root, EncodingType="url", MaxKeys=_PAGE, **where)
        except ConnectorError:  # and no other: what goes on meanwhile on the same wire keeps its own
            return
        try:
            found = _read(page)
        except (ElementTree.ParseError, LookupError, ValueError):  # the latter two: of odd encodings
            return
        if found is None:
            return
        keys, more = found
        if all(key_bytes(one) < key_bytes(other) for one, other in zip([after, *keys], keys, strict=False)):
            self._bounds = [(order, order(after), order(keys[-1]) if more else None) for order in _ORDERS]
            self._taken, self._until = set(keys), until


_ORDERS: tuple[Callable[[str], bytes], ...] = (
    key_bytes,
    lambda key: key.encode("utf-16-be", "surrogatepass"),
    lambda key: key_bytes(key.replace("/", "\0")),  # folder by folder
)


def _read(data: bytes) -> tuple[list[str], bool] | None:
    """The keys of a page, and whether more follow; None if it is anything but such a page."""
    if not is_plain(data):
        return None
    page = ElementTree.fromstring(data)  # noqa: S314 - entities need a document type, which was just refused
    if page.tag.rpartition("}")[2] != "ListBucketResult":
        return None
    texts = {element.tag.rpartition("}")[2]: element.text or "" for element in page}
    read = unquote_plus if texts.get("EncodingType") == "url" else str
    keys = [read(key.text or "") for item in page.iter() for key in item if key.tag.rpartition("}")[2] == "Key"]
    more = texts.get("IsTruncated", "").strip().lower()
    return (keys, more == "true") if more == "false" or (more == "true" and keys) else None

"""The pages of a listing in the host's own order; where the line is slow, later ones are fetched meanwhile and joined where they meet.

A stretch is a run of pages that the host's own tokens hold together. The first one begins where the listing does; others
begin after a text of our choice, further on. Only the first in the row is ever used: what comes after it is a guess until it has led, by
its tokens, to the very item with which the next one begins, and shown the same items behind it. Whatever does not fit is
thrown away, and the listing goes on by its own tokens: a guess can cost a request, never a key.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from connectors.errors import ConnectorError, CorruptedError
from connectors.keys import key_bytes
from connectors.s3.page import Page, Row, read_page

PATIENCE = 0.02
"""Seconds of waiting for a page, on average, above which others are fetched beside it."""
_PAGES = 96
"""Pages held at most: half a megabyte each."""
_FUTILE = 3
"""Guesses in vain after which a stretch is not divided until `_AGAIN` more pages are there."""
_AGAIN = 16
_STEPS = 4
Where = dict[str, str]
"""Parameters that say where a page begins."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Stretch:
    """Pages that were fetched and not used yet, and how to ask for the next."""

    after: bytes | None = None
    """Where we chose to begin; None: where the listing begins."""
    where: Where | None
    """None: nothing follows."""
    low: bytes = b""
    """The first key; until it is known, `after`."""
    first: Row | None = None
    last: bytes = b""
    pages: deque[Page] = field(default_factory=deque)
    coming: Future[bytes] | None = None
    seen: set[tuple[str, ...]] = field(default_factory=set)
    steps: list[str] = field(default_factory=list)
    """Where others may begin, near ones first."""
    futile: int = 0
    fetched: int = 0


class Stretches:
    """One listing. `begin`: how to ask for what comes after a text; None: this listing cannot."""

    def __init__(
        self,
        ask: Callable[[Where], bytes],
        after: Callable[[Page], Where],
        begin: Callable[[str], Where] | None,
        *,
        within: str,
        host: str,
        width: int = 1,
    ) -> None:
        self._ask, self._after, self._begin = ask, after, begin
        self._within, self._host, self._width = within, host, width
        self._row = [_Stretch(where={})]
        self._pool = ThreadPoolExecutor(width, thread_name_prefix="listing")
        self._guesses = begin is not None and width > 1
        self._wide = self._joined = self._strays = False
        self._pages = self._items = 0
        self._digest = hashlib.sha256()
        self._waited = 0.0
        self._last = ""
        self._nothing: bytes | None = None  # after it there is nothing

    def pages(self) -> Iterator[Page]:
        """Each page once; of one on which two stretches meet, what comes before."""
        previous: Row | None = None
        try:
            while (page := self._next()) is not None:
                if page.rows and page.rows[0] == previous:
                    raise CorruptedError("the host sent the same listing page twice", host=self._host)
                previous = page.rows[0] if page.rows else previous
                if self._meets(page):
                    previous = None
                self._count(page)
                yield page
            yield from self._end()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    # -- the first stretch ----------------------------------------------------------------------------------------

    def _next(self) -> Page | None:
        front = self._row[0]
        self._pump()
        while self._strays or not front.pages:
            if self._strays or (front.where is None and front.coming is None):
                return None
            coming = [one.coming for one in self._row if one.coming is not None]
            if not coming:  # nobody fetches what the first one needs
                self._give_up()
            began = time.monotonic()
            wait(coming, return_when=FIRST_COMPLETED)
            if self._pages:  # the first page also waits for the connection
                self._waited += time.monotonic() - began
            self._pump()
        page = front.pages.popleft()
        self._pages += 1
        self._wide = self._wide or (self._guesses and self._pages > 4 and self._waited >= PATIENCE * self._pages)
        self._pump()
        return page

    def _meets(self, page: Page) -> bool:
        """Whether the next stretch goes on from this page, which then ends where that begins."""
        while page.rows and len(self._row) > 1:
            following = self._row[1]
            if following.first is not None and following.first in page.rows:
                at = page.rows.index(following.first)
                common = min(len(page.rows) - at, len(following.pages[0].rows))
                if page.rows[at : at + common] == following.pages[0].rows[:common]:
                    page.rows = page.rows[:at]
                    self._forget(self._row.pop(0))
                    self._joined = True
                    return True
                self._give_up()
            elif self._bytes(page, page.rows[-1]) < following.low:
                return False
            elif following.first is None:
                self._drop(following)
            else:  # what it began with is gone, or the host has another order than that of the bytes
                self._give_up()
        return False

    def _count(self, page: Page) -> None:
        if page.rows:
            self._last = page.key(page.rows[-1][1])
            self._items += len(page.rows)
            self._digest.update(_told(page.rows))

    def _end(self) -> Iterator[Page]:
        """The first stretch says that nothing follows: what the others know, or what one more question answers, must agree."""
        more = self._strays or any(one.first is not None for one in self._row[1:])
        if not self._joined:
            if more:
                raise CorruptedError("the host says that nothing follows, and lists more when asked", host=self._host)
            return
        if not more and self._begin is not None:
            page = read_page(self._ask(self._begin(self._last)), self._host)
            more = bool(page.rows) or bool(self._onward(page, set()))
        if more:
            yield from self._again()

    def _again(self) -> Iterator[Page]:
        """The rest by a listing without guesses, which must begin with all that was listed already."""
        left, digest = self._items, hashlib.sha256()
        for page in Stretches(self._ask, self._after, None, within=self._within, host=self._host).pages():
            if left:
                digest.update(_told(page.rows[:left]))
                page.rows, left = page.rows[left:], max(0, left - len(page.rows))
                if not left and digest.digest() != self._digest.digest():
                    break
            if not left:
                yield page
        else:
            if not left:
                return
        raise CorruptedError("the host lists one thing from the beginning and another from further on", host=self._host)

    # -- all stretches --------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Take what has come, and ask for more: for the first stretches first."""
        for stretch in list(self._row):
            if stretch in self._row and stretch.coming is not None and stretch.coming.done():
                self._take(stretch)
        free = (self._width if self._wide else 1) - sum(one.coming is not None for one in self._row)
        held = sum(len(one.pages) for one in self._row)
        for at, stretch in enumerate(self._row):
            closed = at + 1 < len(self._row) and stretch.last >= self._row[at + 1].low
            wanted = held < _PAGES if self._wide and (at or stretch.pages) else not stretch.pages
            if free > 0 and stretch.coming is None and stretch.where is not None and wanted and not closed:
                self._fetch(stretch)
                free -= 1
        while self._wide and self._guesses and free > 0 and held < _PAGES // 2 and self._divide():
            free -= 1

    def _fetch(self, stretch: _Stretch) -> None:
        stretch.coming = self._pool.submit(self._ask, stretch.where or {})

    def _take(self, stretch: _Stretch) -> None:
        coming, stretch.coming = stretch.coming, None
        if coming is None:
            return
        try:
            page = read_page(coming.result(), self._host)
            stretch.where = self._onward(page, stretch.seen) or None
            fits = stretch.after is None or stretch.first is not None or self._begins(stretch, page)
        except ConnectorError:
            if stretch is self._row[0]:
                raise
            self._give_up()
            return
        if not fits:
            return
        if page.rows:
            low, high = self._bytes(page, page.rows[0]), self._bytes(page, page.rows[-1])
            if not stretch.last <= low <= high:
                self._give_up()  # no order in which a place further on could be named
                # Where a guess has been joined already, what follows it may be no more than where its tokens stray.
                self._strays = self._joined and stretch is self._row[0]
            stretch.last = high
            further = _further(page.key(page.rows[0][1]), page.key(page.rows[-1][1]), len(self._within))
            stretch.fetched += 1
            if stretch.fetched % _AGAIN == 0:
                stretch.futile = 0
            if self._guesses and stretch.futile < _FUTILE:
                ahead = [text for text in {*further, *stretch.steps} if key_bytes(text) > high]
                stretch.steps = sorted(ahead, key=key_bytes)
        stretch.pages.append(page)

    def _begins(self, stretch: _Stretch, page: Page) -> bool:
        """Whether a stretch may stay that began where we chose to, now that its first page is there."""
        at = self._row.index(stretch)
        following = self._row[at + 1] if at + 1 < len(self._row) else None
        if not page.rows:
            if stretch.where is None:
                self._nothing = min(self._nothing or stretch.low, stretch.low)
                self._drop(stretch)
            else:
                self._give_up()
            return False
        low = self._bytes(page, page.rows[0])
        if low <= stretch.low:  # the host does not begin where it is asked to
            self._give_up()
            return False
        if low <= self._row[at - 1].last or (following and low >= following.low):
            self._drop(stretch)
            return False
        stretch.first, stretch.low = page.rows[0], low
        return True

    def _divide(self) -> bool:
        """Begin another stretch, as near to the front as there is room for one."""
        for at, stretch in enumerate(self._row):
            following = self._row[at + 1].after if at + 1 < len(self._row) else self._nothing
            while stretch.futile < _FUTILE and stretch.steps:
                text = stretch.steps.pop(0)
                low = key_bytes(text)
                if low <= stretch.last:
                    continue
                if following is not None and low >= following:
                    stretch.steps.clear()
                    break
                new = _Stretch(after=low, low=low, where=self._begin(text) if self._begin else {}, steps=stretch.steps)
                stretch.steps = []
                self._row.insert(at + 1, new)
                self._fetch(new)
                return True
        return False

    def _drop(self, stretch: _Stretch) -> None:
        before = self._row[self._row.index(stretch) - 1]
        before.steps += stretch.steps
        before.futile += 1
        self._row.remove(stretch)
        self._forget(stretch)

    def _give_up(self) -> None:
        """No more guesses: the first stretch goes on by itself."""
        self._guesses = self._wide = False
        for stretch in self._row[1:]:
            self._forget(stretch)
        del self._row[1:]

    @staticmethod
    def _forget(stretch: _Stretch) -> None:
        if stretch.coming is not None:
            stretch.coming.cancel()

    def _bytes(self, page: Page, row: Row) -> bytes:
        return key_bytes(page.key(row[1]))

    def _onward(self, page: Page, seen: set[tuple[str, ...]]) -> Where:
        """What asks for the page after this one; empty if it is the last."""
        said = page.facts["IsTruncated"].strip().lower()
        if said not in {"true", "false"}:
            raise CorruptedError("a listing page does not say whether more follows", host=self._host)
        if said == "false":
            if page.facts.get("NextContinuationToken"):
                raise CorruptedError("a listing page says that nothing follows, and where", host=self._host)
            return {}
        where = self._after(page)
        if not where or not all(where.values()):
            raise CorruptedError("a listing page says that more follows, but not where", host=self._host)
        if tuple(where.values()) in seen:
            raise CorruptedError("the listing goes round in circles", host=self._host)
        seen.add(tuple(where.values()))
        return where


def _told(rows: list[Row]) -> bytes:
    return "".join([f"{row[1]}\n{row[6]}\n" for row in rows]).encode("utf-8", "surrogateescape")


def _further(first: str, last: str, within: int) -> list[str]:
    """Texts that come after all keys which share so many characters with the last one of a page: each a step further."""
    common = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    if common >= len(last):
        return []
    # Where a page goes through many characters of one place, those of the place before it change with each page.
    many = abs(ord(last[common]) - ord(first[common] if common < len(first) else "\0")) >= 4
    steps: list[str] = []
    for at in range(max(common - (2 if many else 1), within), within - 1, -1):
        text = last[:at] + chr(min(ord(last[at]) + 1, 0x10FFFF))
        # After the end of a name comes what comes after its last letter.
        if text.isprintable() and last[at].isalnum():
            steps.append(text)
    return steps[:_STEPS]

"""One page of a listing as rows of texts: by shapes learned from its items, or by a parser."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from connectors.errors import CorruptedError, UnavailableError

_ITEMS = {"Contents", "Version", "DeleteMarker"}
_FIRST = re.compile(rb"<(?:Contents|Version|DeleteMarker)>")
_TEXTS = ("Key", "LastModified", "ETag", "Size", "StorageClass", "VersionId", "IsLatest")
"""What is read of an item."""
_PLAIN = re.compile(rb"\s*<(?:\?xml(?![^>]*encoding\s*=\s*[\"'](?!utf-8[\"']))|[A-Za-z])", re.IGNORECASE)
"""How a page in UTF-8 begins."""
_TAIL = 16 << 10
_TAG = re.compile(r"<(/?)(\w+)>([^<]*)")
Row = tuple[str, ...]
"""An item: its element's name, then the texts of `_TEXTS`, "" for one that is not there."""
_EMPTY: Row = ("Contents", *[""] * len(_TEXTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """Items of the same elements in the same order."""

    tag: str
    pattern: re.Pattern[str]
    """Of one item. Its groups: the texts in their order here, and last the empty one of what is not there."""
    where: tuple[int, ...]
    """Which group is which of `_TEXTS`, from 0."""
    marks: int
    """How often an item holds "<", which no text does."""


@dataclass(slots=True, kw_only=True)
class Page:
    """One page: its items in document order, and the texts beside them."""

    root: str = ""
    rows: list[Row] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def key(self, text: str) -> str:
        return self.keys([text])[0]

    def keys(self, texts: Sequence[str]) -> Sequence[str]:
        """What is meant. Not every host honours encoding-type; one that does says so."""
        lines = "\n".join(texts)
        if self.facts.get("EncodingType") != "url" or not ("%" in lines or "+" in lines):
            return texts
        # One call for a page is five times as fast, and the same where no key holds what stands between them.
        whole = unquote_plus(lines, errors="surrogateescape").split("\n")
        return whole if len(whole) == len(texts) else [unquote_plus(text, errors="surrogateescape") for text in texts]


def read_page(data: bytes, host: str) -> Page:
    """Parse one page. UnavailableError if it is cut, CorruptedError if it is no listing."""
    first = _FIRST.search(data)
    if first:
        # What comes after the last item is short.
        end = max(data.rfind(f"</{name}>".encode(), -_TAIL) + len(name) + 3 for name in _ITEMS)
        rows = _rows(data[first.start() : end])
        if rows:
            page = _parsed(data[: first.start()] + b"<Contents/>" + data[end:], host)
            if page.rows == [_EMPTY]:  # else they stand inside of something, or beside items of another form
                page.rows = rows
                return page
    return _parsed(data, host)


def is_plain(data: bytes) -> bool:
    """Whether it is UTF-8 and declares no document type, which could hold entities and not be seen in another encoding."""
    return b"<!" not in data and _PLAIN.match(data) is not None


def _parsed(data: bytes, host: str) -> Page:
    if not is_plain(data):
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
        texts = {
            names.get(inner.tag) or names.setdefault(inner.tag, _name(inner.tag)): inner.text or "" for inner in element
        }
        page.rows.append((tag, *[texts.get(name, "") for name in _TEXTS]))
    if "IsTruncated" not in page.facts:
        raise CorruptedError("a listing page does not say whether it is the last", host=host)
    return page


def _rows(data: bytes) -> list[Row] | None:
    """Items that follow each other without a gap, each of a shape learned from one like it: at a sixth of a parser's cost.

    None: anything else."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    text = text.replace("&#34;", '"').replace("&quot;", '"')
    if "\r" in text or "&" in text:  # which a parser turns into other characters
        return None
    first = _learned(text, 0)
    if first is None:
        return None
    rows = first.pattern.findall(text)
    if not _fills(first, len(rows), text):
        return _of_shapes(text, first)
    columns = [*zip(*rows, strict=True)]
    return [*zip(repeat(first.tag), *[columns[at] for at in first.where])]


def _fills(shape: _Shape, count: int, text: str) -> bool:
    """Whether so many items, found one after another, are the whole text: no mark lies outside of them, and no text between."""
    return (
        text.count("<") == count * shape.marks
        and text.count(f"</{shape.tag}><{shape.tag}>") == count - 1
        and text.startswith(f"<{shape.tag}>")
        and text.endswith(f"</{shape.tag}>")
    )


def _of_shapes(text: str, first: _Shape) -> list[Row] | None:
    """The items of a page on which there are several shapes: each begins where the one before it ends."""
    rows: list[Row] = []
    shapes = [first]
    shape, at, end = first, 0, len(text)
    while at < end:
        found = shape.pattern.match(text, at)
        if found is None:
            known = next((one for one in shapes if one.pattern.match(text, at)), None) or _learned(text, at)
            if known is None or len(shapes) > _SHAPES or not known.pattern.match(text, at):
                return None
            if known not in shapes:
                shapes.append(known)
            shape = known
            continue
        texts = found.groups()
        rows.append((shape.tag, *[texts[at] for at in shape.where]))
        at = found.end()
    return rows


_SHAPES = 8
"""Shapes of items on one page; with more a parser is no slower."""


def _learned(text: str, at: int) -> _Shape | None:
    """The shape of the item that begins here: elements in its order, of which some may hold others. None: it is no such thing."""
    shape: list[str] = []
    inside: list[str] = []
    wanted: list[str] = []
    while tag := _TAG.match(text, at):
        ends, name, value = tag.groups()
        at = tag.end()
        if ends:
            if not inside or inside.pop() != name or (inside and value):
                return None
            shape.append(f"</{name}>")
            if inside:
                continue
            if not wanted:
                return None
            where = tuple(wanted.index(one) if one in wanted else len(wanted) for one in _TEXTS)
            return _Shape(tag=name, pattern=re.compile("".join(shape) + "()"), where=where, marks=len(shape))
        empty = text.startswith("</", at)  # of elements; where there are some, there must be no text besides
        if not inside:
            if name not in _ITEMS or empty:
                return None
        elif len(inside) == 1 and name in _TEXTS:
            if name in wanted or not empty:
                return None
            wanted.append(name)
        if value and not empty:
            return None
        inside.append(name)
        shape.append(
            f"<{name}>"
            if not empty
            else f"<{name}>([^<]*)"
            if len(inside) == 2 and name in _TEXTS
            else f"<{name}>[^<]*"
        )
    return None


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]

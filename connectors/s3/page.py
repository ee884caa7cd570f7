"""One page of a listing as rows of texts: by shapes learned from its items, or by a parser."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
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
_TAG = re.compile(r"<(/?)(\w+)>([^<&]*)")
Row = tuple[str, ...]
"""An item: its element's name, then the texts of `_TEXTS`, "" for one that is not there."""
_Shape = tuple[Callable[[str, int], re.Match[str] | None], tuple[int, ...]]
"""What matches an item, and which groups of it make the row."""


@dataclass(slots=True, kw_only=True)
class Page:
    """One page: its items in document order, and the texts beside them."""

    root: str = ""
    rows: list[Row] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def key(self, text: str) -> str:
        # Not every host honours encoding-type; one that does says so.
        return unquote_plus(text, errors="surrogateescape") if self.facts.get("EncodingType") == "url" else text


def read_page(data: bytes, host: str) -> Page:
    """Parse one page. UnavailableError if it is cut, CorruptedError if it is no listing."""
    first = _FIRST.search(data)
    if first:
        # What comes after the last item is short.
        end = max(data.rfind(f"</{name}>".encode(), -_TAIL) + len(name) + 3 for name in _ITEMS)
        rows = _rows(data[first.start() : end])
        if rows:
            page = _parsed(data[: first.start()] + data[end:], host)
            page.rows = rows
            return page
    return _parsed(data, host)


def _parsed(data: bytes, host: str) -> Page:
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
        texts = {
            names.get(inner.tag) or names.setdefault(inner.tag, _name(inner.tag)): inner.text or "" for inner in element
        }
        page.rows.append((tag, *[texts.get(name, "") for name in _TEXTS]))
    if "IsTruncated" not in page.facts:
        raise CorruptedError("a listing page does not say whether it is the last", host=host)
    return page


def _rows(data: bytes) -> list[Row] | None:
    """Items that follow each other without a gap, each like one before it: at a third of a parser's cost. None: anything else."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    text = text.replace("&#34;", '"').replace("&quot;", '"')
    if "\r" in text:  # which a parser turns into another character
        return None
    rows: list[Row] = []
    shapes: list[_Shape] = []
    at, end = 0, len(text)
    matches, groups = _NOTHING
    while at < end:
        found = matches(text, at)
        if found is None:
            known = next((shape for shape in shapes if shape[0](text, at)), None)
            shape = known or _learned(text, at)
            if shape is None or len(shapes) > _SHAPES or not shape[0](text, at):
                return None
            if known is None:
                shapes.append(shape)
            matches, groups = shape
            continue
        rows.append(found.group(*groups))
        at = found.end()
    return rows


_SHAPES = 8
"""Shapes of items on one page; with more a parser is no slower."""
_NOTHING: _Shape = (re.compile(r"(?!)").match, ())


def _learned(text: str, at: int) -> _Shape | None:
    """The shape of the item that begins here: elements in its order, of which some may hold others. None: it is no such thing."""
    shape: list[str] = []
    inside: list[str] = []
    where: dict[str, int] = {}
    count = 2
    while tag := _TAG.match(text, at):
        ends, name, value = tag.groups()
        at = tag.end()
        if ends:
            if not inside or inside.pop() != name:
                return None
            shape.append(f"</{name}>")
            if not inside:
                return re.compile("".join(shape)).match, (2, *[where.get(name, 1) for name in _TEXTS])
            if value:
                return None
        elif not inside:
            if name not in _ITEMS or value:
                return None
            inside.append(name)
            shape.append(f"()<({name})>")  # the first group is what is not there
        elif text.startswith("</", at):
            inside.append(name)
            shape.append(f"<{name}>([^<&]*)")
            count += 1
            if len(inside) == 2 and where.setdefault(name, count) != count:
                return None
        else:
            if value:
                return None
            inside.append(name)
            shape.append(f"<{name}>")
    return None


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]

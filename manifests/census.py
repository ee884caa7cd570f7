"""The census: what the source listed, counted when the plan was frozen, before any byte moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any

from manifests import canonical
from manifests.errors import FormatError
from manifests.paths import path_bytes
from manifests.tree import Root, leaf_hash, subtrees

_AT_ONCE = 1024
"""Leaves that are put into the tree together, at half the cost of one by one."""
_MEMBERS = {"at": str, "bytes": int, "kinds": dict, "lines": int, "root": str, "unsized": int}


def census_leaf(key: str, kind: str, order: int | None = None) -> bytes:
    """The canonical object `{"key","kind","order"}` of a listed thing, a leaf of the census root."""
    leaf: dict[str, Any] = {**canonical.text_members("key", key), "kind": kind}
    if order is not None:
        leaf["order"] = order
    return canonical.dumps(leaf)


def census_leaf_of(line: Mapping[str, Any]) -> bytes:
    """The leaf of a receipt line; the same bytes as `census_leaf`, four times as fast, for a million lines."""
    spelled = f',"key_b64":"{line["key_b64"]}"' if "key_b64" in line else ""
    order = f',"order":{line["order"]}' if "order" in line else ""
    return f'{{"key":{encode_basestring(line["key"])}{spelled},"kind":"{line["kind"]}"{order}}}'.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """The census block of a manifest's header."""

    at: str
    """RFC 3339."""
    lines: int
    bytes: int
    """Sum of the sizes stated by the source, over objects."""
    unsized: int
    """Objects whose size was not stated."""
    kinds: Mapping[str, int]
    root: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The block as it stands in the header."""
        return {**self.extra, **{name: getattr(self, name) for name in _MEMBERS}, "kinds": dict(self.kinds)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Census:
        """The census in this block; FormatError if a member is missing or of the wrong type."""
        if not all(type(plain.get(name)) is expected for name, expected in _MEMBERS.items()):
            raise FormatError("the census needs at, lines, bytes, unsized, kinds and root", rule="3.3, census")
        known = {name: plain[name] for name in _MEMBERS}
        return cls(**known, extra={name: value for name, value in plain.items() if name not in _MEMBERS})


class CensusTally:
    """A census under way: things are added in line order (key bytes, then order)."""

    def __init__(self) -> None:
        self._root = Root()
        self._leaves: list[bytes] = []
        self._kinds: Counter[str] = Counter()
        self._bytes = 0
        self._unsized = 0
        self._last: tuple[bytes, int] | None = None

    def add(self, key: str, kind: str, *, size: int | None = None, order: int | None = None) -> None:
        """Count one thing; `kind` is the kind of the line it will have, `skipped` included."""
        place = (path_bytes(key), order or 0)
        if self._last is not None and place <= self._last:
            raise FormatError("things are not in line order, or twice there", rule="3.4, order")
        self._last = place
        ordered = "" if order is None else f',"order":{order}'
        try:
            leaf = f'{{"key":{encode_basestring(key)},"kind":"{kind}"{ordered}}}'.encode()
        except UnicodeEncodeError:
            line = {**canonical.text_members("key", key), "kind": kind}
            leaf = census_leaf_of(line if order is None else {**line, "order": order})
        self._leaves.append(leaf_hash(leaf))
        if len(self._leaves) == _AT_ONCE:
            self._plant()
        self._kinds[kind] += 1
        if kind == "object":
            if size is None:
                self._unsized += 1
            else:
                self._bytes += size

    def _plant(self) -> None:
        leaves, self._leaves = self._leaves, []
        for node, height in subtrees(self._root.count, leaves):
            self._root.add_hash(node, height)

    def census(self, at: str) -> Census:
        """The block, taken at this time (RFC 3339)."""
        self._plant()
        return Census(
            at=at,
            lines=self._root.count,
            bytes=self._bytes,
            unsized=self._unsized,
            kinds=dict(self._kinds),
            root=self._root.digest().hex(),
        )

"""Shapes of receipt lines: a line that was read strictly teaches a pattern, and what the pattern matches needs no parsing.

A manifest has a million lines and a handful of shapes. The pattern of a shape is built from a line that passed every rule:
the same members in the same order, numbers and texts in their only spelling, and for each member that has a rule of its own
something at least as strict. What matches (and is UTF-8, which is asked of many lines at once) would therefore pass as well;
what does not match proves nothing and is read strictly.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from manifests import canonical

LONGEST = 4096
"""Bytes of a line that is learned from."""

# Texts without their quotes, as canonical lines spell them. Everything is possessive: nothing ever backtracks.
_PLAIN = rb'[^"\\\x00-\x1f]'
_TEXT = rb'"%b*+(?:\\["\\bfnrt]%b*+)*+"' % (_PLAIN, _PLAIN)
_CAUGHT = rb'"(%b++)"' % _PLAIN
_NUMBER = rb"(?:0|-?[1-9][0-9]{0,14})"  # 15 digits are always below 2^53
_COUNT = rb"(0|[1-9][0-9]{0,14})"
_SHA256 = rb'"([0-9a-f]{64})"'
_SALT = rb'"[A-Za-z0-9+/]{21}[AQgw]=="'
# Below data/: no segment that is empty or begins with a dot, no control character. In UTF-8 those above U+007F, and only
# they and some signs, begin with the byte C2, which is never anything but the beginning of a character.
_PATH = rb'"(data(?:/(?!\.)[ !#-.0-\[\]-~\x80-\xc1\xc3-\xff]++)++)"'

_OF_BYTES = frozenset({"age", "path", "sha256", "size", "stored_in"})


class Row(NamedTuple):
    """What is compared or summed of a line, as its bytes spell it; empty where a line has no such member."""

    sealed: bytes
    """`age.sha256`"""
    key: bytes
    order: bytes
    path: bytes
    sha256: bytes
    size: bytes
    archive: bytes
    there: bytes
    """`stored_in.archive` and `stored_in.path`"""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shape:
    """One shape; `pattern` matches whole lines without their LF, and its groups are a Row."""

    pattern: re.Pattern[bytes]
    kind: str
    evidence: str
    reason: str | None
    losses: Counter[str]


def shape_of(line: Mapping[str, Any], data: bytes, *, archive: bool) -> Shape | None:
    """The shape of a line, its members and its bytes, that passed every rule; None if its like is better read strictly."""
    kind = line["kind"]
    if len(data) > LONGEST or any(name.endswith("_b64") for name in line):
        return None
    if kind != "object" and not _OF_BYTES.isdisjoint(line):
        return None
    try:
        pattern = re.compile(_pattern(line, archive))
    except RecursionError:
        return None
    if pattern.fullmatch(data) is None:  # a text with an escape, or of another type, where a row cannot have it
        return None
    return Shape(
        pattern=pattern,
        kind=kind,
        evidence=line["evidence"],
        reason=line.get("reason"),
        losses=Counter(loss["name"] for loss in line.get("losses", ())),
    )


_CATCH: dict[tuple[str, ...], tuple[int, bytes]] = {
    place: (Row._fields.index(field), pattern)
    for place, field, pattern in (
        (("age", "sha256"), "sealed", _CAUGHT),
        (("key",), "key", _CAUGHT),
        (("order",), "order", _COUNT),
        (("path",), "path", _PATH),
        (("sha256",), "sha256", _SHA256),
        (("size",), "size", _COUNT),
        (("stored_in", "archive"), "archive", _CAUGHT),
        (("stored_in", "path"), "there", _PATH),
    )
}
"""Members that a row is made of: which group they are, and what they look like. Sorted members make sorted groups."""
_EXACT = frozenset({("kind",), ("evidence",), ("reason",), ("losses",)})
"""What is counted or has a list of values: the same in every line of a shape."""


def _pattern(line: Mapping[str, Any], archive: bool) -> bytes:
    groups = 0

    def of(value: Any, place: tuple[str, ...] = ()) -> bytes:
        nonlocal groups
        if place in _CATCH and (archive or place != ("path",)):
            number, pattern = _CATCH[place]
            absent, groups = number - groups, number + 1
            return b"()" * absent + pattern
        if place == ("salt",):
            return _SALT
        if isinstance(value, dict):
            members = (re.escape(canonical.dumps(name)) + b":" + of(value[name], (*place, name)) for name in value)
            return rb"\{" + b",".join(members) + rb"\}"
        if isinstance(value, list) and place not in _EXACT:
            return rb"\[" + b",".join(of(item, (*place, "")) for item in value) + rb"\]"
        if isinstance(value, str) and place not in _EXACT:
            return _TEXT
        if type(value) is int:
            return _NUMBER
        return re.escape(canonical.dumps(value))

    return of(line) + b"()" * (len(Row._fields) - groups)

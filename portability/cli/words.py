"""Numbers, sizes, durations and aligned tables as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_NAMES = {"delete_marker": "delete marker", "directory": "folder"}


def number(value: int) -> str:
    """1204 -> "1,204"."""
    return f"{value:,}"


def size_text(count: float) -> str:
    """Bytes: 3670016 -> "3.5 MiB"."""
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError  # the loop always returns


def duration(seconds: float) -> str:
    """3725 -> "1 h 02 min"; 0.42 -> "0.4 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def each(values: Mapping[str, int]) -> str:
    """{"object": 2, "delete_marker": 1} -> "2 objects, 1 delete marker", the largest first."""
    ordered = sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{number(count)} {_plural(_NAMES.get(name, name), count)}" for name, count in ordered if count)


def table(rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset({1, 2})) -> list[str]:
    """Lines with aligned columns, two spaces in from the left; the columns in `right` end under one another."""
    kept = [tuple(row) for row in rows]
    if not kept:
        return []
    columns = max(len(row) for row in kept)
    widths = [max((len(row[column]) for row in kept if column < len(row)), default=0) for column in range(columns)]
    return [
        "  "
        + "  ".join(
            cell.rjust(widths[column]) if column in right else cell.ljust(widths[column])
            for column, cell in enumerate(row)
        ).rstrip()
        for row in kept
    ]


def _plural(name: str, count: int) -> str:
    known = {"object": "objects", "folder": "folders", "link": "links", "delete marker": "delete markers"}
    return name if count == 1 else known.get(name, name)

"""What appeared, disappeared or changed between two manifests: both are read once, side by side, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from manifests.canonical import text_of
from manifests.files import create_private
from manifests.manifest import ManifestReader, Summary
from manifests.receipt import key_bytes
from portability.archive.held import open_manifest
from portability.outcome import printable

Change = Literal["appeared", "disappeared", "bytes", "attributes"]
CHANGES: tuple[Change, ...] = ("appeared", "disappeared", "bytes", "attributes")

SHOWN = 20
FOLDERS = 1000
"""Top-level folders counted by name; a source may have millions of them."""

_CONTENT = frozenset({"kind", "reason", "sha256", "size", "target", "target_b64"})
# What a run adds to a thing, what follows from other lines, and what no other host can keep.
_RUN = frozenset(
    {"age", "attempts", "evidence", "key", "key_b64", "latest", "losses", "order", "path", "path_b64"}
    | {"received_at", "salt", "source_digests", "stored_in", "version"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not alike. `key` is personal data."""

    change: Change
    key: str
    kind: str
    order: int | None = None
    size: int | None = None
    before: int | None = None
    """Size in the first manifest, where the thing is in both."""
    members: tuple[str, ...] = ()
    """What differs, by name."""

    def plain(self) -> dict[str, Any]:
        """JSON values; what is not known is absent."""
        whole = {
            "change": self.change,
            "key": printable(self.key),
            "kind": self.kind,
            "order": self.order,
            "size": self.size,
            "before": self.before,
            "members": list(self.members) or None,
        }
        return {name: value for name, value in whole.items() if value is not None}


@dataclass(slots=True)
class Tally:
    """Things and bytes by change; of what disappeared the bytes that went, otherwise those that are there now."""

    things: dict[Change, int] = field(default_factory=lambda: dict.fromkeys(CHANGES, 0))
    octets: dict[Change, int] = field(default_factory=lambda: dict.fromkeys(CHANGES, 0))

    def add(self, one: Difference) -> None:
        self.things[one.change] += 1
        self.octets[one.change] += one.size or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffResult:
    """How two manifests differ."""

    first: Summary
    second: Summary
    same: int
    tally: Tally
    folders: Mapping[str, Tally]
    """By top-level folder; "" is what stands in none, "…" all folders beyond the first thousand."""
    differences: tuple[Difference, ...]
    """The first of them."""

    @property
    def equal(self) -> bool:
        return not any(self.tally.things.values())

    @property
    def exit_code(self) -> int:
        return 0 if self.equal else 4


Sink = Callable[[Difference], None]


def diff(
    first: str,
    second: str,
    *,
    ignore: Collection[str] = (),
    findings: Path | None = None,
    credentials: tuple[str | None, str | None] = (None, None),
) -> DiffResult:
    """Compare the manifests of two places; members of lines named in `ignore` may differ.

    All differences go to the file `findings`, which is there only if both manifests were whole. ManifestError for one that
    is not: half a comparison is none.
    """
    if findings is None:
        return _diff(first, second, frozenset(ignore), lambda _: None, credentials)
    part = findings.with_name(f"{findings.name}.part")
    try:
        with create_private(part) as out:
            result = _diff(first, second, frozenset(ignore), lambda one: _write(out, one), credentials)
        part.replace(findings)
    finally:
        part.unlink(missing_ok=True)
    return result


def _write(out: Any, one: Difference) -> None:
    out.write(json.dumps({"type": "difference", **one.plain()}).encode() + b"\n")


def _diff(
    first: str, second: str, ignore: frozenset[str], sink: Sink, credentials: tuple[str | None, str | None]
) -> DiffResult:
    tally, folders, shown, same = Tally(), dict[str, Tally](), list[Difference](), 0
    with (
        open_manifest(first, credentials=credentials[0]) as one,
        open_manifest(second, credentials=credentials[1]) as other,
    ):
        readers = ManifestReader(one, first), ManifestReader(other, second)
        for difference in _merged(readers[0].lines(), readers[1].lines(), ignore):
            if difference is None:
                same += 1
                continue
            sink(difference)
            tally.add(difference)
            _folder(folders, difference.key).add(difference)
            if len(shown) < SHOWN:
                shown.append(difference)
        return DiffResult(
            first=readers[0].summary,
            second=readers[1].summary,
            same=same,
            tally=tally,
            folders=folders,
            differences=tuple(shown),
        )


def _folder(folders: dict[str, Tally], key: str) -> Tally:
    top, slash, _ = key.partition("/")
    name = f"{top}/" if slash else ""
    if name not in folders and len(folders) >= FOLDERS:
        name = "…"
    return folders.setdefault(name, Tally())


def _merged(
    first: Iterator[dict[str, Any]], second: Iterator[dict[str, Any]], ignore: frozenset[str]
) -> Iterator[Difference | None]:
    """The differences in key order; None for a thing that is alike. Both sides are read to their ends, seals included."""
    one, other = next(first, None), next(second, None)
    while one is not None or other is not None:
        if one is not None and (other is None or _place(one) < _place(other)):
            yield _difference("disappeared", one)
            one = next(first, None)
        elif other is not None and (one is None or _place(other) < _place(one)):
            yield _difference("appeared", other)
            other = next(second, None)
        elif one is not None and other is not None:
            yield _compared(one, other, ignore)
            one, other = next(first, None), next(second, None)


def _place(line: Mapping[str, Any]) -> tuple[bytes, int]:
    return key_bytes(line), line.get("order", 0)


def _compared(one: dict[str, Any], other: dict[str, Any], ignore: frozenset[str]) -> Difference | None:
    names = (one.keys() | other.keys()) - _RUN - ignore
    differing = sorted(name for name in names if one.get(name) != other.get(name))
    if not differing:
        return None
    change: Change = "attributes" if _CONTENT.isdisjoint(differing) else "bytes"
    return _difference(change, other, before=one.get("size"), members=tuple(differing))


def _difference(change: Change, line: dict[str, Any], **more: Any) -> Difference:
    key = text_of(line, "key")
    return Difference(change=change, key=key, kind=line["kind"], order=line.get("order"), size=line.get("size"), **more)

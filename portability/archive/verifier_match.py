"""What is listed against what is there: a merge of two sorted streams, in either mode and of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from manifests.bagit import Severity
from portability.archive.verifier_findings import Findings
from portability.archive.verifier_hashing import Hashed, Hashing, Workers
from portability.archive.verifier_names import Strays, is_litter
from portability.archive.verifier_tree import FILE, LINK, SPECIAL, Node

_ODD = {LINK: "a link", SPECIAL: "a device, FIFO or socket"}


class Listed(NamedTuple):
    """A line of the lists: a path and its digest by each algorithm, separated by blanks."""

    path: str
    algorithms: tuple[str, ...]
    digests: str


@dataclass(slots=True, kw_only=True)
class Counts:
    """What was listed and found; `intact` files are there and have the right digests."""

    payload_listed: int = 0
    payload_intact: int = 0
    payload_bytes: int = 0
    """Of intact payload files."""
    tag_listed: int = 0
    tag_intact: int = 0
    missing: int = 0
    extra: int = 0
    litter: int = 0
    """Left by a file manager."""
    recomposed: int = 0
    """Found under another spelling of the same accents."""


class Matcher:
    """Compares lists with a tree, has every listed file hashed, and reports what differs."""

    def __init__(self, findings: Findings, workers: Workers, unlisted: Callable[[str], str | None]) -> None:
        self.counts = Counts()
        self._findings = findings
        self._hashing = Hashing(workers, self._settle)
        self._unlisted = unlisted
        self._strays = Strays()

    def run(self, nodes: Iterable[Node], listed: Iterator[Listed]) -> None:
        """Both in path order. Code points and UTF-8 bytes sort alike."""
        add = self._hashing.add
        wanted = next(listed, None)
        for path, kind, _ in nodes:
            if not (path.isascii() or _is_utf8(path)):  # no list can name it, and it would upset the order
                self._findings.add("V11", "a name that is not UTF-8", path)
                continue
            while wanted is not None and wanted[0] < path:
                self._missing(wanted)
                wanted = next(listed, None)
            if kind != FILE:
                self._odd(path, kind)
            if wanted is not None and wanted[0] == path:
                payload = self._count(path)
                if kind == FILE:
                    add(path, wanted[1], wanted[2], payload)
                wanted = next(listed, None)
            elif kind == FILE:
                self._found_unlisted(path)
        while wanted is not None:
            self._missing(wanted)
            wanted = next(listed, None)
        self._match_strays()
        self._hashing.finish()
        self._strays.close()

    def _count(self, path: str) -> bool:
        payload = path.startswith("data/")
        if payload:
            self.counts.payload_listed += 1
        else:
            self.counts.tag_listed += 1
        return payload

    def _found_unlisted(self, path: str) -> None:
        if is_litter(path):
            self.counts.litter += 1
            self._findings.add("V18", "left by a file manager, not listed", path)
        elif path.isascii():
            self._extra(path)
        else:
            self._strays.unlisted(path)

    def _odd(self, path: str, kind: str) -> None:
        if kind in _ODD:
            self._findings.add("V11", "neither a file nor a folder", path, expected="a file", found=_ODD[kind])
        else:
            self._findings.add("V11", "a folder that cannot be listed", path)

    def _missing(self, listed: Listed) -> None:
        self._count(listed.path)
        if listed.path.isascii():
            self._report_missing(listed.path, listed.digests)
        else:
            self._strays.missing(listed.path, " ".join(listed.algorithms), listed.digests)

    def _report_missing(self, path: str, digests: str) -> None:
        self.counts.missing += 1
        self._findings.add("V15", "listed, but not there", path, expected=digests)

    def _extra(self, path: str) -> None:
        rule = self._unlisted(path)
        if rule is None:
            return
        self.counts.extra += 1
        self._findings.add(rule, "there, but not listed", path)

    def _match_strays(self) -> None:
        for path, algorithms, digests, found in self._strays.matched():
            if not found:
                self._report_missing(path, digests)
                continue
            if len(found) > 1:
                self._findings.add("V17", "twins: several files whose names are spelled alike", path, level=Severity.REJECT, found="; ".join(found))  # fmt: skip
                continue
            self.counts.recomposed += 1
            self._findings.add("V17", "found under a recomposed name", path, level=Severity.WARN, found=found[0])
            self._hashing.add(found[0], tuple(algorithms.split()), digests, path.startswith("data/"))
        for path in self._strays.left():
            self._extra(path)

    def _settle(self, hashed: Hashed) -> None:
        counts, add = self.counts, self._findings.add
        if hashed.payload:
            counts.payload_intact += hashed.files
            counts.payload_bytes += hashed.octets
        else:
            counts.tag_intact += hashed.files
        for path, expected, found in hashed.wrong:
            add("V15", "the content is not what was listed", path, expected=expected, found=found)
        for path in hashed.missing:
            counts.missing += 1
            add("V15", "went away while it was verified", path)
        for path, reason in hashed.unreadable:
            add("V15", f"cannot be read: {reason}", path)
        for path in hashed.unsafe:
            add("V11", "became a link or a special file while it was verified", path)


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True

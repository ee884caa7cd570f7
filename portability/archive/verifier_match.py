"""What is listed against what is there: a merge of two sorted streams, in either mode and of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from manifests.bagit import Severity
from portability.archive.verifier_findings import Findings
from portability.archive.verifier_hashing import Hashed, Hashing, Run
from portability.archive.verifier_names import Strays, is_litter
from portability.archive.verifier_tree import FILE, LINK, SPECIAL, Leaves, Node, Tree, joined
from portability.archive.verifier_workers import Workers

_ODD = {LINK: "a link", SPECIAL: "a device, FIFO or socket"}


class Listed(NamedTuple):
    """Lines of the lists that stand together: names in one folder, in order, and their digests by each algorithm."""

    algorithms: tuple[str, ...]
    files: Run


class _Ahead:
    """What is listed, seen from its front: whole runs while everything is as listed, else file by file."""

    def __init__(self, runs: Iterator[Listed]) -> None:
        self._runs = runs
        self._at = 0
        self.listed: Listed | None = None
        self.path: str | None = None
        self.next_run()

    def next_run(self) -> None:
        """On to the next run; `path` is None when there is none."""
        self.listed = next(self._runs, None)
        self._at = -1
        self.path = None
        if self.listed is not None:
            self.next()

    def next(self) -> None:
        """On to the next file."""
        if self.listed is None:
            return
        folder, names, _ = self.listed.files
        self._at += 1
        if self._at < len(names):
            self.path = joined(folder, names[self._at])
        else:
            self.next_run()

    def run(self, folder: str) -> Run | None:
        """The run in front, if it is one of this folder and none of it was passed yet."""
        listed = self.listed
        return listed.files if listed is not None and not self._at and listed.files.folder == folder else None

    @property
    def digests(self) -> str:
        return self.listed.files.digests[self._at] if self.listed is not None else ""

    @property
    def algorithms(self) -> tuple[str, ...]:
        return self.listed.algorithms if self.listed is not None else ()


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

    def __init__(self, tree: Tree, findings: Findings, workers: Workers, unlisted: Callable[[str], str | None]) -> None:
        self.counts = Counts()
        self._findings = findings
        self._hashing = Hashing(tree, workers, self._settle)
        self._unlisted = unlisted
        self._strays = Strays()

    def run(self, nodes: Iterable[Node | Leaves], listed: Iterator[Listed]) -> None:
        """Both in path order. Code points and UTF-8 bytes sort alike. The last files may still be being hashed."""
        ahead = _Ahead(listed)
        for found in nodes:
            if isinstance(found, Leaves):
                rest = self._together(found, ahead)
                for name in found.names[rest:]:
                    self._one(joined(found.folder, name), FILE, ahead)
            else:
                self._one(found.path, found.kind, ahead)
        while ahead.path is not None:
            self._missing(ahead)
        self._match_strays()
        self._strays.close()
        self._hashing.flush()

    def finish(self) -> None:
        """Wait until everything is hashed. Where nothing is found wrong, all that is listed must have been: none got lost."""
        self._hashing.finish()
        counts = self.counts
        listed, intact = counts.payload_listed + counts.tag_listed, counts.payload_intact + counts.tag_intact
        if listed != intact and not self._findings.rejected:
            raise AssertionError(f"{listed - intact} listed files are neither intact nor among the findings")

    def _together(self, found: Leaves, ahead: _Ahead) -> int:
        """Pass the files of a folder that are listed just like that; how many there were."""
        at = 0
        while (run := ahead.run(found.folder)) is not None and at < len(found.names):
            if found.names[at : at + len(run.names)] != run.names:
                break
            self._hashing.add_run(run, ahead.algorithms, self._count(found.folder + "/", len(run.names)))
            at += len(run.names)
            ahead.next_run()
        return at

    def _one(self, path: str, kind: str, ahead: _Ahead) -> None:
        if not (path.isascii() or _is_utf8(path)):  # no list can name it, and it would upset the order
            self._findings.add("V11", "a name that is not UTF-8", path)
            return
        while ahead.path is not None and ahead.path < path:
            self._missing(ahead)
        if kind != FILE:
            self._odd(path, kind)
        if ahead.path == path:
            payload = self._count(path)
            if kind == FILE:
                self._hashing.add(path, ahead.algorithms, ahead.digests, payload)
            ahead.next()
        elif kind == FILE:
            self._found_unlisted(path)

    def _count(self, path: str, number: int = 1) -> bool:
        payload = path.startswith("data/")
        if payload:
            self.counts.payload_listed += number
        else:
            self.counts.tag_listed += number
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

    def _missing(self, ahead: _Ahead) -> None:
        path, digests = ahead.path or "", ahead.digests
        self._count(path)
        if path.isascii():
            self._report_missing(path, digests)
        else:
            self._strays.missing(path, " ".join(ahead.algorithms), digests)
        ahead.next()

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


def in_runs(lines: Iterable[tuple[str, tuple[str, ...], str]]) -> Iterator[Listed]:
    """Paths in order with their algorithms and digests, gathered by folder."""
    for (folder, algorithms), group in groupby(lines, key=lambda line: (line[0].rpartition("/")[0], line[1])):
        start = len(folder) + 1 if folder else 0
        members = list(group)
        yield Listed(
            algorithms, Run(folder, [path[start:] for path, _, _ in members], [digests for _, _, digests in members])
        )


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True

"""The lists of one of our archives, streamed: payload and tag lists of one or two algorithms as one sorted stream."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import BinaryIO

from manifests import bagit
from portability.archive.verifier_findings import Findings
from portability.archive.verifier_match import Listed
from portability.archive.verifier_names import Folds, broken_name, merged
from portability.archive.verifier_tree import Tree

ALGORITHMS = ("sha256", "sha512")
SIGNATURE = "signatures/tagmanifest-sha256.txt.sig"

_SIGNATURES = re.compile(
    r"signatures/(?:allowed_signers|tagmanifest-sha256\.txt\.(?:sig(?:\.tsr|\.crt)?|p7s)|statements/\d{4}-[a-z0-9-]+\.json(?:\.sig)?)"
)
_NEEDS = frozenset(
    {"bagit.txt", bagit.BAG_INFO, "metadata/checkpoint.txt", "metadata/manifest.jsonl", "metadata/manifest.jsonl.age"}
    | {f"manifest-{name}.txt" for name in ALGORITHMS}
)
"""What the tag list of an archive must name."""

_LINE = 1 << 16


def unlisted_rule(path: str) -> str | None:
    """The rule that a file which no list names breaks; None where it may stand, or has a rule of its own."""
    if path.startswith("data/"):
        return "V12"
    if path in {"fetch.txt", *(f"tagmanifest-{name}.txt" for name in ALGORITHMS)} or _SIGNATURES.fullmatch(path):
        return None
    return "V13"


class Lists:
    """The lists of an archive; every line is checked while it passes by for the first time."""

    def __init__(self, tree: Tree, findings: Findings) -> None:
        self._tree = tree
        self._findings = findings
        self._folds = Folds()
        self.payload = [name for name in ALGORITHMS if is_there(tree, f"manifest-{name}.txt")]
        self.tags = [name for name in ALGORITHMS if is_there(tree, f"tagmanifest-{name}.txt")]

    def listed(self, payload: Callable[[str, str], None]) -> Iterator[Listed]:
        """Every listed file in path order; `payload` is told path and SHA-256 of each payload file."""
        named: dict[str, set[str]] = {name: set() for name in self.tags}
        tags = self._joined(self.tags, "tagmanifest")
        tag = next(tags, None)
        while tag is not None and tag.path < "data/":
            yield self._noted(tag, named)
            tag = next(tags, None)
        for line in self._joined(self.payload, "manifest"):
            if len(line.algorithms) != len(self.payload):
                self._findings.add("V7", "the payload lists name different files", line.path)
            self._check_name(line.path)
            payload(line.path, line.digests[:64])
            yield line
        while tag is not None:
            yield self._noted(tag, named)
            tag = next(tags, None)
        lists = {f"manifest-{name}.txt": () for name in self.payload}
        bagit.check_lists(lists, {f"tagmanifest-{name}.txt": paths for name, paths in named.items()}, "archive", self._findings.problem)  # fmt: skip

    def again(self) -> Iterator[tuple[str, str]]:
        """Path and SHA-256 of the payload list once more, its defects no longer reported."""
        if "sha256" in self.payload:
            yield from self._read("manifest-sha256.txt", lambda _: None)

    def check_merged(self) -> None:
        """V17 over all payload paths, once all of them passed by."""
        if suspects := self._folds.suspects():
            for one, other in merged((path for path, _ in self.again()), suspects):
                self._findings.add("V17", "two names that some file system takes for one", other, found=one)

    def _check_name(self, path: str) -> None:
        self._folds.add(path)
        if broken := broken_name(path):
            rule, level = broken
            self._findings.add("V17", f"a name that some system refuses or changes ({rule})", path, level=level)

    def _noted(self, line: Listed, named: dict[str, set[str]]) -> Listed:
        # Only what check_lists asks for is remembered: a hostile tag list may be as long as it likes.
        if line.path in _NEEDS:
            for name in line.algorithms:
                named[name].add(line.path)
        return line

    def _joined(self, algorithms: list[str], kind: str) -> Iterator[Listed]:
        files = [(name, f"{kind}-{name}.txt") for name in algorithms]
        if len(files) == 1:
            only = (files[0][0],)
            return (Listed(path, only, digest) for path, digest in self._read(files[0][1], self._findings.problem))
        return _grouped(heapq.merge(*(self._labelled(name, file) for name, file in files)))

    def _labelled(self, algorithm: str, file: str) -> Iterator[tuple[str, str, str]]:
        return ((path, algorithm, digest) for path, digest in self._read(file, self._findings.problem))

    def _read(self, file: str, report: bagit.Report) -> Iterator[tuple[str, str]]:
        with self._tree.open(file) as stream:
            yield from bagit.read_list(lines_of(stream), file, report)


def _grouped(lines: Iterator[tuple[str, str, str]]) -> Iterator[Listed]:
    for path, group in groupby(lines, key=lambda line: line[0]):
        members = list(group)
        yield Listed(path, tuple(name for _, name, _ in members), " ".join(digest for _, _, digest in members))


def lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """Lines with their LF; one that is far too long comes in pieces, none of which is a line."""
    return iter(partial(stream.readline, _LINE), b"")


def is_there(tree: Tree, path: str) -> bool:
    try:
        tree.open(path).close()
    except OSError:
        return False
    return True


def read_small(tree: Tree, path: str, limit: int = 1 << 20) -> bytes | None:
    """A small file whole; None if it is not there, no file, or larger than such a file can be."""
    try:
        with tree.open(path) as stream:
            data = stream.read(limit + 1)
    except OSError:
        return None
    return data if len(data) <= limit else None

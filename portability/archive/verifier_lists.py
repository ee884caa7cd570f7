"""The lists of one of our archives, streamed: payload and tag lists of one or two algorithms as one sorted stream."""

from __future__ import annotations

import heapq
import io
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import groupby, islice, takewhile
from operator import lt
from typing import BinaryIO, NamedTuple

from manifests import bagit
from portability.archive.verifier_findings import Findings
from portability.archive.verifier_hashing import Run
from portability.archive.verifier_match import Listed, in_runs
from portability.archive.verifier_names import PLAIN, Folds, broken_name, merged
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
_READ = 1 << 18
_TOGETHER = 1000
"""Lines of two lists that are looked at together."""

_RUN = 200
"""Files of one folder that are looked at together."""

_PLAIN_LINES = re.compile(rf"(?:.{{64}}  data(?:/{PLAIN})++\n)++")
_HEX = b"0123456789abcdef"
_Labelled = tuple[str, tuple[str, ...], str]
"""Path, algorithms, digests."""


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

    def listed(self, payload: Callable[[bytes], object]) -> Iterator[Listed]:
        """Every listed file in path order; `payload` is told the lines of the payload list, as SHA-256 and path."""
        named: dict[str, set[str]] = {name: set() for name in self.tags}
        tags = self._joined(self.tags, "tagmanifest")
        tag = next(tags, None)
        while tag is not None and tag[0] < "data/":
            yield from in_runs([self._noted(tag, named)])
            tag = next(tags, None)
        yield from self._payload(payload)
        while tag is not None:
            yield from in_runs([self._noted(tag, named)])
            tag = next(tags, None)
        lists = {f"manifest-{name}.txt": () for name in self.payload}
        bagit.check_lists(lists, {f"tagmanifest-{name}.txt": paths for name, paths in named.items()}, "archive", self._findings.problem)  # fmt: skip

    def again(self) -> Iterator[bytes]:
        """The lines of the payload list once more, as SHA-256 and path, many at a time; defects are no longer reported."""
        if "sha256" in self.payload:
            for block in self._blocks(lambda _: None):
                yield block.lines

    def check_merged(self) -> None:
        """V17 over all payload paths, once all of them passed by."""
        if suspects := self._folds.suspects():
            paths = (path for block in self._blocks(lambda _: None) for path in block.paths)
            for one, other in merged(paths, suspects):
                self._findings.add("V17", "two names that some file system takes for one", other, found=one)

    def _payload(self, told: Callable[[bytes], object]) -> Iterator[Listed]:
        if self.payload == ["sha256"]:
            for block in self._blocks(self._findings.problem):
                yield from self._checked(block, ("sha256",), told)
            return
        lines = self._joined(self.payload, "manifest")
        while some := list(islice(lines, _TOGETHER)):
            for algorithms, group in groupby(some, key=lambda line: line[1]):
                members = list(group)
                if len(algorithms) != len(self.payload):
                    for path, _, _ in members:
                        self._findings.add("V7", "the payload lists name different files", path)
                block = _Block.of([(path, digests) for path, _, digests in members])
                yield from self._checked(block, algorithms, told)

    def _checked(self, block: _Block, algorithms: tuple[str, ...], told: Callable[[bytes], object]) -> Iterator[Listed]:
        """Marks and names (V17) of lines that pass by; then the lines by folder."""
        told(block.lines)
        if not block.plain:
            self._check_names(block.paths)
        runs = list(_by_folder(block.paths))
        self._folds.add(block.paths, [folder for folder, _, _ in runs])
        for folder, at, names in runs:
            yield Listed(algorithms, Run(folder, names, block.digests[at : at + len(names)]))

    def _check_names(self, paths: list[str]) -> None:
        for path in paths:
            if broken := broken_name(path):
                rule, level = broken
                self._findings.add("V17", f"a name that some system refuses or changes ({rule})", path, level=level)

    def _noted(self, line: _Labelled, named: dict[str, set[str]]) -> _Labelled:
        # Only what check_lists asks for is remembered: a hostile tag list may be as long as it likes.
        if line[0] in _NEEDS:
            for name in line[1]:
                named[name].add(line[0])
        return line

    def _joined(self, algorithms: list[str], kind: str) -> Iterator[_Labelled]:
        """Path, algorithms and digests of each line of several lists, in path order."""
        lines = heapq.merge(*(self._labelled(name, f"{kind}-{name}.txt") for name in algorithms))
        for path, group in groupby(lines, key=lambda line: line[0]):
            members = list(group)
            yield path, tuple(name for _, name, _ in members), " ".join(digest for _, _, digest in members)

    def _labelled(self, algorithm: str, file: str) -> Iterator[tuple[str, str, str]]:
        with self._tree.open(file) as stream:
            for path, digest in bagit.read_list(lines_of(stream), file, self._findings.problem):
                yield path, algorithm, digest

    def _blocks(self, report: bagit.Report) -> Iterator[_Block]:
        """The lines of the payload list, many at a time."""
        number, last = 0, b""
        with self._tree.open(bagit.PAYLOAD_LIST) as stream:
            for data in _blocks_of(stream):
                block = _plain_block(data, last)
                if block is not None:
                    number += len(block.paths)
                else:
                    lines = list(lines_of(io.BytesIO(data)))
                    block = _slow_block(lines, number, last, report)
                    number += len(lines)
                if block.paths:
                    last = block.lines[block.lines.rfind(b"\n", 0, -1) + 1 :]
                    yield block


class _Block(NamedTuple):
    """Good lines of the payload list, in order."""

    paths: list[str]
    digests: list[str]
    lines: bytes
    """SHA-256 and path of each, as the list spells them."""
    plain: bool = False
    """Whether it is known already that all names keep S1 to S9."""

    @classmethod
    def of(cls, lines: list[tuple[str, str]]) -> _Block:
        spelled = "".join([f"{digests[:64]}  {path}\n" for path, digests in lines])
        return cls([path for path, _ in lines], [digests for _, digests in lines], spelled.encode())


def _plain_block(data: bytes, last: bytes) -> _Block | None:
    """Lines of which one look shows that all of them keep every rule; None if that is not so certain."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if _PLAIN_LINES.fullmatch(text) is None:
        return None
    lines = text.split("\n")
    lines.pop()
    digests = [line[:64] for line in lines]
    if "".join(digests).encode().translate(None, _HEX):
        return None
    paths = [line[66:] for line in lines]
    if paths[0].encode() <= last[66:-1] or not all(map(lt, paths, islice(paths, 1, None))):
        return None
    return _Block(paths, digests, data, plain=True)


def _slow_block(lines: list[bytes], number: int, last: bytes, report: bagit.Report) -> _Block:
    """The good ones among these lines; `number` stand above them, the last good one of those is `last`."""
    before = [last] if last else []

    def placed(problem: bagit.Problem) -> None:
        report(replace(problem, line=(problem.line or 0) + number - len(before)))

    read = bagit.read_list([*before, *lines], bagit.PAYLOAD_LIST, placed)
    return _Block.of(list(islice(read, len(before), None)))


def _by_folder(paths: list[str]) -> Iterator[tuple[str, int, list[str]]]:
    """Neighbours in one folder: the folder, the number of the first path, the names."""
    at = 0
    while at < len(paths):
        folder = paths[at][: paths[at].rfind("/")]
        start = len(folder) + 1
        # What begins with the folder and a slash ends before the folder and what follows a slash.
        stop = min(bisect_left(paths, f"{folder}0", at), at + _RUN)
        names = [path[start:] for path in paths[at:stop]]
        if "/" in "".join(names):  # a folder inside
            names = list(takewhile(lambda name: "/" not in name, names))
        yield folder, at, names
        at += len(names)


def _blocks_of(stream: BinaryIO) -> Iterator[bytes]:
    """Whole lines; only what follows the last LF, or belongs to a line that is far too long, has no LF at its end."""
    held = b""
    while data := stream.read(_READ):
        end = data.rfind(b"\n") + 1
        if end or len(held) >= _LINE:
            yield held + data[:end]
            held = data[end:]
        else:
            held += data
    if held:
        yield held


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

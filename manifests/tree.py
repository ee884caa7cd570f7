"""The Merkle tree of RFC 6962 over lines: root, inclusion proofs, and the checkpoint that carries a root."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from manifests import canonical
from manifests.errors import FormatError

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_URN = "urn:uuid:"


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf: of a line without its LF."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two neighbouring subtrees."""
    return sha256(b"\1" + left + right).digest()


class Root:
    """The root over leaves that come one by one, in memory of the logarithm of their number."""

    def __init__(self) -> None:
        self.count = 0
        self._peaks: list[bytes] = []  # roots of the complete subtrees so far, largest first

    def add(self, data: bytes) -> None:
        """Append a leaf."""
        self.add_hash(sha256(b"\0" + data).digest())

    def add_hash(self, node: bytes, height: int = 0) -> None:
        """Append a leaf that is already hashed, or a complete subtree of 2^height leaves that stands where one can."""
        count, peaks = self.count >> height, self._peaks
        if count << height != self.count:
            raise ValueError("a subtree of this height cannot begin here")
        while count & 1:
            node = sha256(b"\1" + peaks.pop() + node).digest()
            count >>= 1
        peaks.append(node)
        self.count += 1 << height

    def digest(self) -> bytes:
        """The root over the leaves so far."""
        if not self._peaks:
            return sha256().digest()
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node


def subtrees(start: int, leaves: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
    """The complete subtrees over leaf hashes that begin at leaf `start` of a tree, with their heights, for `Root.add_hash`.

    Whole levels at once: half the time of adding leaves one by one, and other processes can do it.
    """
    at, end = start, start + len(leaves)
    while at < end:
        height = (end - at).bit_length() - 1
        if at:
            height = min(height, (at & -at).bit_length() - 1)
        level = leaves[at - start : at - start + (1 << height)]
        while len(level) > 1:
            nodes = iter(level)
            level = [sha256(b"\1" + left + right).digest() for left, right in zip(nodes, nodes, strict=True)]
        yield level[0], height
        at += 1 << height


def inclusion_path(index: int, size: int, leaves: Iterable[bytes]) -> list[bytes]:
    """The audit path of leaf `index` among the `size` leaf hashes, read once, in memory of the logarithm of `size`."""
    if not 0 <= index < size:
        raise IndexError("no such leaf")
    return _path(index, size, iter(leaves))


def _path(index: int, size: int, leaves: Iterator[bytes]) -> list[bytes]:
    if size == 1:
        next(leaves)
        return []
    split = 1 << ((size - 1).bit_length() - 1)
    if index < split:
        return [*_path(index, split, leaves), _root_of(leaves, size - split)]
    left = _root_of(leaves, split)
    return [*_path(index - split, size - split, leaves), left]


def _root_of(leaves: Iterator[bytes], size: int) -> bytes:
    root = Root()
    for _ in range(size):
        root.add_hash(next(leaves))
    return root.digest()


def root_from(leaf: bytes, index: int, size: int, path: Iterable[bytes]) -> bytes | None:
    """The root to which `path` leads from this leaf hash (RFC 9162, section 2.1.3.2); None if it cannot be such a path."""
    if not 0 <= index < size:
        return None
    here, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if here & 1 or here == last:
            node = node_hash(sibling, node)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        here, last = here >> 1, last >> 1
    return node if last == 0 else None


def is_included(leaf: bytes, index: int, size: int, path: Iterable[bytes], root: bytes) -> bool:
    """Whether `path` leads from this leaf hash to `root`."""
    return root_from(leaf, index, size, path) == root


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """`checkpoint.txt`: the root of a manifest in the form of a C2SP tlog-checkpoint body."""

    job: str
    """`urn:uuid:…`"""
    count: int
    root: str
    """Lower-case hex."""

    def to_bytes(self) -> bytes:
        """Three lines: origin, number of leaves, root in base64."""
        root = base64.b64encode(bytes.fromhex(self.root)).decode("ascii")
        return f"portability/{self.job.removeprefix(_URN)}\n{self.count}\n{root}\n".encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """The checkpoint with these bytes; FormatError if they are anything else than what `to_bytes` writes."""
        try:
            origin, count, root, end = data.decode("ascii").split("\n")
            checkpoint = cls(
                job=_URN + origin.removeprefix("portability/"),
                count=int(count),
                root=canonical.exact_bytes(root, "root").hex(),
            )
        except ValueError as error:
            raise FormatError("not three lines of origin, number and root", rule="9, checkpoint") from error
        if end or len(checkpoint.root) != 64 or checkpoint.count < 0 or checkpoint.to_bytes() != data:
            raise FormatError("not three lines of origin, number and root", rule="9, checkpoint")
        return checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """That one line stands in a manifest, without showing any other."""

    index: int
    """Number of the receipt line from 0."""
    line: bytes
    """The exact line without its LF."""
    path: tuple[str, ...]
    size: int

    def to_bytes(self) -> bytes:
        """The canonical document, without LF."""
        return canonical.dumps(
            {
                "format": "portability-proof/1",
                "index": self.index,
                "line": self.line.decode(),
                "path": list(self.path),
                "size": self.size,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Proof:
        """The proof in this document."""
        plain = canonical.load_object(data)
        match plain:
            case {"format": "portability-proof/1", "index": index, "line": str(line), "path": list(path), "size": size}:
                hashes = all(isinstance(node, str) and _HASH.fullmatch(node) for node in path)
                if len(plain) == 5 and type(index) is int and type(size) is int and hashes:
                    return cls(index=index, line=line.encode(), path=tuple(path), size=size)
        raise FormatError("not a proof", rule="9, proof")

    @property
    def root(self) -> str | None:
        """The root of the manifest in which the line would stand, in hex; None if there can be none."""
        path = [bytes.fromhex(node) for node in self.path]
        root = root_from(leaf_hash(self.line), self.index, self.size, path)
        return None if root is None else root.hex()

    def holds(self, checkpoint: Checkpoint) -> bool:
        """Whether the line is part of what the checkpoint fixes."""
        return self.size == checkpoint.count and self.root == checkpoint.root

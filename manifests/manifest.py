"""The manifest: header, receipts, seal; written beside and sealed, read strictly, both in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from manifests import canonical, tree
from manifests.digests import BLOCK, Readable
from manifests.errors import FormatError, ManifestError, SealError
from manifests.files import create_private, publish
from manifests.header import Header
from manifests.receipt import Receipt
from manifests.slices import read_manifest, read_slice
from manifests.tally import LONGEST, SEAL, Summary, Tally

__all__ = ["LONGEST", "Header", "ManifestReader", "ManifestWriter", "Summary", "prove_line", "read_manifest"]


class ManifestWriter:
    """Streams a manifest into `<path>.part`; only `seal` gives it its name, and never over an existing file.

    A `.part` left by a killed run is unfinished work and is written anew.
    """

    def __init__(self, path: Path, header: Header) -> None:
        line = header.to_line()
        if path.exists():
            raise FileExistsError(f"{path} exists already and a manifest is never overwritten")
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._tally = Tally(header, line)
        self._file: BinaryIO = create_private(self._part)
        self._file.write(line + b"\n")

    def add(self, receipt: Receipt) -> None:
        """Append a receipt; FormatError if it is out of order or a reader would refuse it."""
        self.add_line(receipt.to_dict())

    def add_line(self, line: Mapping[str, Any]) -> None:
        """Append a line given by its members, unknown ones included: for copies and filters."""
        data = canonical.dumps(line if type(line) is dict else dict(line))
        if len(data) > LONGEST:
            raise FormatError("a line is at most 4 MiB", rule="3.1")
        self._tally.add(line, data)
        self._file.write(data + b"\n")

    def add_lines(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Append many lines, made from JSON texts: spelled first, then read as strictly as any reader does. FormatError."""
        data = b"".join([canonical.spelled(line) + b"\n" for line in lines])
        if data:
            self._tally.join(read_slice(data, self._tally.root.count, archive=self._tally.header.archive))
            self._tally.sha256.update(data)
            self._file.write(data)

    def seal(self) -> Summary:
        """Write the seal, bring everything to stable storage, give the file its name."""
        seal = self._tally.seal()
        self._file.write(seal + b"\n")
        publish(self._file, self._part, self._path)
        return self._tally.summary(seal)

    def close(self) -> None:
        """Let go of the file; without `seal` it stays unfinished."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class ManifestReader:
    """Reads a manifest strictly, once; nothing it yields is evidence until `summary` is there, after the last line."""

    def __init__(self, stream: Readable, name: str = "manifest.jsonl") -> None:
        self._name = name
        self._number = 0
        self._lines = self._split(stream)
        self._summary: Summary | None = None
        first = next(self._lines, None)
        if first is None:
            raise self._placed(SealError("empty", rule="3.6, seal"))
        try:
            self.header = Header.from_line(first)
        except ManifestError as error:
            raise self._placed(error) from error
        self._tally = Tally(self.header, first)

    def lines(self) -> Iterator[dict[str, Any]]:
        """The receipts as their members: the fast way through a million lines."""
        tally, load = self._tally, canonical.load_object
        for data in self._lines:
            try:
                if data.startswith(SEAL):
                    self._finish(data)
                    return
                line = load(data)
                tally.add(line, data)
            except ManifestError as error:
                raise self._placed(error) from error
            yield line
        self._number += 1
        raise self._placed(SealError("ends without a seal: unfinished or cut", rule="3.6, seal"))

    def __iter__(self) -> Iterator[Receipt]:
        return (Receipt.from_dict(line) for line in self.lines())

    @property
    def summary(self) -> Summary:
        """What the manifest says; SealError before all of it was read."""
        if self._summary is None:
            raise SealError("not read to its end", file=self._name, rule="3.6, seal")
        return self._summary

    def _finish(self, data: bytes) -> None:
        summary = self._tally.summary(data)
        if next(self._lines, None) is not None:
            raise SealError("something follows the seal", rule="3.6, seal")
        self._summary = summary

    def _split(self, stream: Readable) -> Iterator[bytes]:
        tail = b""
        while block := stream.read(BLOCK):
            pieces = (tail + block).split(b"\n")
            tail = pieces.pop()
            for piece in pieces:
                self._number += 1
                if len(piece) > LONGEST:
                    raise self._placed(FormatError("longer than 4 MiB", rule="3.1"))
                yield piece
            if len(tail) > LONGEST:
                self._number += 1
                raise self._placed(FormatError("longer than 4 MiB", rule="3.1"))
        if tail:
            self._number += 1
            raise self._placed(SealError("the last line has no end: unfinished or cut", rule="3.1"))

    def _placed(self, error: ManifestError) -> ManifestError:
        return type(error)(error.message, file=self._name, line=self._number, rule=error.rule)


def prove_line(
    open_stream: Callable[[], AbstractContextManager[Readable]], wanted: Callable[[Mapping[str, Any]], bool]
) -> tree.Proof | None:
    """The proof of the first receipt that is wanted, or None; the manifest is read twice, in bounded memory."""
    found = None
    with open_stream() as stream:
        reader = ManifestReader(stream)
        for index, line in enumerate(reader.lines()):
            if found is None and wanted(line):
                found = index, canonical.dumps(line)
        size = reader.summary.count
    if found is None:
        return None
    index, data = found
    with open_stream() as stream:
        leaves = (tree.leaf_hash(canonical.dumps(line)) for line in ManifestReader(stream).lines())
        path = tree.inclusion_path(index, size, leaves)
    return tree.Proof(index=index, line=data, path=tuple(node.hex() for node in path), size=size)

"""A manifest read in slices: runs of whole lines that other processes can read, put together in order.

What is accepted is what `ManifestReader` accepts, and what is found is the same; only the way there is shorter. Whatever the
short way does not know for certain is read line by line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import islice
from operator import lt
from typing import Any, NoReturn

from manifests import canonical
from manifests.census import census_leaf_of
from manifests.digests import Readable
from manifests.errors import FormatError, ManifestError, SealError
from manifests.header import Header
from manifests.receipt import check_line
from manifests.shapes import Row, Shape, shape_of
from manifests.tally import LONGEST, SEAL, Counts, Place, Slice, Summary, Tally, place_of
from manifests.tree import subtrees

SIZE = 1 << 18  # what is made of it fits the cache of a core
"""Bytes of a slice, about; it is longer only for a line that is."""

_SHAPES = 16
"""Shapes that a process knows at once; a line of yet another one is read strictly."""
_ALIKE = 32
"""Lines of a slice read strictly before one more shape is learned: to compile a pattern costs as much as a hundred."""


class Slices:
    """Gives away the receipt lines of a manifest in slices, and takes back what each says, in order."""

    def __init__(self, stream: Readable, name: str = "manifest.jsonl") -> None:
        self._stream = stream
        self._name = name
        self._held = b""
        self._above = 0  # lines that are no longer held
        line = self._first_line()
        try:
            self.header = Header.from_line(line)
        except ManifestError as error:
            raise self._placed(error, 1) from error
        self._tally = Tally(self.header, line)
        self._seal: bytes | None = None

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        """Whole lines, and the number of the first of them from 0, for `read_slice`."""
        more = True
        while more:
            more = self._read_on()
            last = self._held.rfind(b"\n")
            end = self._held.rfind(b"\n", 0, last) + 1 if last > 0 else 0
            if end and (not more or last >= SIZE):  # the last line may be the seal
                yield self._give(end)
        line, end_of_line, tail = self._held.partition(b"\n")
        is_seal = line.startswith(SEAL)
        if end_of_line and not is_seal:
            yield self._give(len(line) + 1)  # what is wrong with it is said first
        if tail or not end_of_line:
            left = bool(tail or line)
            reason = "the last line has no end: unfinished or cut" if left else "ends without a seal: unfinished or cut"
            error = SealError(reason, rule="3.1" if left else "3.6, seal")
            raise self._placed(error, self._above + (2 if tail and is_seal else 1))
        if not is_seal:
            raise self._placed(SealError("ends without a seal: unfinished or cut", rule="3.6, seal"), self._above + 1)
        self._seal = line

    def read(self, data: bytes, first: int, *, encrypted: bool = False) -> Slice:
        """Read a slice here and now; ManifestError with file and line."""
        try:
            return read_slice(data, first, archive=self.header.archive, encrypted=encrypted)
        except ManifestError as error:
            raise self._placed(error, error.line) from error

    def add(self, part: Slice) -> None:
        """What the next slice says; ManifestError if it cannot follow the last."""
        try:
            self._tally.join(part)
        except ManifestError as error:
            raise self._placed(error, part.first + 2) from error

    def summary(self) -> Summary:
        """What the manifest says, once all slices were added; SealError if the seal does not fit them."""
        if self._seal is None:
            raise self._placed(SealError("not read to its end", rule="3.6, seal"), None)
        try:
            return self._tally.summary(self._seal)
        except ManifestError as error:
            raise self._placed(error, self._above + 1) from error

    def _first_line(self) -> bytes:
        while b"\n" not in self._held and self._read_on():
            pass
        line, end_of_line, self._held = self._held.partition(b"\n")
        if not line and not end_of_line:
            raise self._placed(SealError("empty", rule="3.6, seal"), 0)
        if len(line) > LONGEST:
            raise self._placed(FormatError("longer than 4 MiB", rule="3.1"), 1)
        if not end_of_line:
            raise self._placed(SealError("the last line has no end: unfinished or cut", rule="3.1"), 1)
        self._above = 1
        return line

    def _read_on(self) -> bool:
        block = self._stream.read(SIZE)
        self._held += block
        if len(self._held) - self._held.rfind(b"\n") - 1 > LONGEST:  # memory stays bounded, whatever comes
            number = self._above + self._held.count(b"\n") + 1
            raise self._placed(FormatError("longer than 4 MiB", rule="3.1"), number)
        return bool(block)

    def _give(self, end: int) -> tuple[bytes, int]:
        data, self._held = self._held[:end], self._held[end:]
        first = self._above - 1
        self._above += data.count(b"\n")
        self._tally.sha256.update(data)
        return data, first

    def _placed(self, error: ManifestError, line: int | None) -> ManifestError:
        return type(error)(error.message, file=self._name, line=line, rule=error.rule)


def read_slice(data: bytes, first: int, *, archive: bool, encrypted: bool = False) -> Slice:
    """What these whole lines say; `first` is the number of the first receipt among them.

    ManifestError, with the number of the line, for what `ManifestReader` refuses. `encrypted`: they are the lines of an
    encrypted archive, whose payload list knows the ciphertexts.
    """
    lines = data.split(b"\n")
    lines.pop()
    try:
        rows, census, counts = _read(lines, data, archive)
        columns = list(zip(*rows, strict=True))
        begin, end = _ends(columns)
    except ManifestError:
        _refuse(lines, first + 2, archive)
    digest = Row._fields.index("sealed" if encrypted else "sha256")
    if archive and all(columns[_PATH]) and not any(columns[_ARCHIVE]):  # nearly always, and three times as fast
        spelled = [b"", b"  ", b"", b"\n"] * len(rows)
        spelled[0::4], spelled[2::4] = columns[digest], columns[_PATH]
        stored = b"".join(spelled)
    else:
        here = (row for row in rows if archive and row[_PATH] and not row[_ARCHIVE])
        stored = b"".join([b"%b  %b\n" % (row[digest], row[_PATH]) for row in here])
    elsewhere: dict[str, list[bytes]] = {}
    for row in rows if any(columns[_ARCHIVE]) else ():
        if row[_ARCHIVE]:
            elsewhere.setdefault(row[_ARCHIVE].decode(), []).append(b"%b  %b\n" % (row[_SHA256], row[_THERE]))
    return Slice(
        first=first,
        count=len(lines),
        counts=counts,
        begin=begin,
        end=end,
        root=list(subtrees(first, [sha256(b"\0" + line).digest() for line in lines])),
        census=list(subtrees(first, [sha256(leaf).digest() for leaf in census])),
        stored=stored,
        elsewhere={archive_id: b"".join(places) for archive_id, places in elsewhere.items()},
    )


_Rows = list[tuple[bytes, ...]]
_KEY, _ORDER, _PATH, _SHA256, _SIZE, _ARCHIVE, _THERE = range(1, len(Row._fields))
_known: dict[bool, list[Shape]] = {True: [], False: []}
"""Shapes which this process has learned, for archives and for migrations; the one last seen most often first."""


def _read(lines: list[bytes], data: bytes, archive: bool) -> tuple[_Rows, list[bytes], Counts]:
    """The row of each line (see `shapes.Row`), its leaf in the census, and what is counted."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise FormatError("not valid UTF-8", rule="3.2") from error
    if len(data) > LONGEST and max(map(len, lines)) > LONGEST:
        raise FormatError("longer than 4 MiB", rule="3.1")
    reading = _Reading(lines, archive)
    known = _known[archive]
    tried = 0
    while reading.left:
        for shape in known[tried:]:
            reading.match(shape)
        tried = len(known)
        last = reading.strictly(_ALIKE if tried < _SHAPES else len(lines))
        if last is not None and tried < _SHAPES:
            learned = shape_of(*last, archive=archive)
            known.extend([learned] if learned else ())
    known.sort(key=lambda shape: -reading.hits[shape])
    return reading.rows, reading.census, reading.counts


class _Reading:
    """Lines that are being read, by one shape after the other, and strictly."""

    def __init__(self, lines: list[bytes], archive: bool) -> None:
        self._lines = lines
        self._archive = archive
        self.left = list(range(len(lines)))
        self.rows: _Rows = [()] * len(lines)
        self.census = [b""] * len(lines)
        self.counts = Counts()
        self.hits: Counter[Shape] = Counter()

    def match(self, shape: Shape) -> None:
        """Read the lines of this shape."""
        lines = [self._lines[index] for index in self.left] if len(self.left) < len(self._lines) else self._lines
        matches = list(map(shape.pattern.fullmatch, lines))
        indexes, missed = self.left, []
        if None in matches:
            missed = [index for index, match in zip(self.left, matches, strict=True) if match is None]
            indexes = [index for index, match in zip(self.left, matches, strict=True) if match is not None]
        rows = [match.groups() for match in matches if match is not None]
        columns = list(zip(*rows, strict=True)) or [()] * len(Row._fields)
        head, kind, end = b'\0{"key":"', b'","kind":"%b"' % shape.kind.encode(), b"}"
        if any(columns[_ORDER]):
            places = zip(columns[_KEY], columns[_ORDER], strict=True)
            leaves = [head + key + kind + b',"order":' + order + end for key, order in places]
        else:
            kind += end
            leaves = [head + key + kind for key in columns[_KEY]]
        if len(rows) == len(self._lines):
            self.rows, self.census = rows, leaves
        else:
            for index, row, leaf in zip(indexes, rows, leaves, strict=True):
                self.rows[index], self.census[index] = row, leaf
        octets = sum(map(int, filter(None, columns[_SIZE])))
        if hits := len(self.left) - len(missed):
            self.hits[shape] = hits
            self.counts.bytes += octets
            self.counts.kinds[shape.kind] += hits
            if shape.kind == "skipped":
                self.counts.skipped[shape.reason or ""] += hits
            else:
                self.counts.evidence[shape.evidence] += hits
            for name, count in shape.losses.items():
                self.counts.losses[name] += count * hits
        self.left = missed

    def strictly(self, limit: int) -> tuple[dict[str, Any], bytes] | None:
        """Read the next lines by the letter, at most so many; the last one if there were that many."""
        indexes, self.left = self.left[:limit], self.left[limit:]
        line: dict[str, Any] = {}
        for index in indexes:
            data = self._lines[index]
            line = canonical.load_object(data)
            check_line(line, archive=self._archive)
            self.counts.add(line)
            self.rows[index] = _row_of(line)
            self.census[index] = b"\0" + census_leaf_of(line)
        return (line, data) if len(indexes) == limit else None


def _row_of(line: Mapping[str, Any]) -> tuple[bytes, ...]:
    key, order = place_of(line)
    there = line.get("stored_in", {})
    texts = {
        "sealed": line.get("age", {}).get("sha256", ""),
        "order": order if "order" in line else "",
        "path": line.get("path", ""),
        "sha256": line.get("sha256", ""),
        "archive": there.get("archive", "") or "?" if there else "",
        "there": there.get("path", ""),
    }
    # A text with a LF is no path and no digest: it must not look like two of them.
    spelled = (str(texts.get(name, "")).replace("\n", "\\n").encode() for name in Row._fields)
    return tuple(key if name == "key" else text for name, text in zip(Row._fields, spelled, strict=True))


def _ends(columns: _Rows) -> tuple[Place, Place]:
    """The places of the first line and the last; FormatError unless all of them are in order."""
    keys, orders = columns[_KEY], columns[_ORDER]
    if not all(map(lt, keys, islice(keys, 1, None))):
        places = list(zip(keys, [int(order or b"0") for order in orders], strict=True))
        if not all(map(lt, places, islice(places, 1, None))):
            raise FormatError("out of order, or twice there", rule="3.4, order")
    return (keys[0], int(orders[0] or b"0")), (keys[-1], int(orders[-1] or b"0"))


def _refuse(lines: list[bytes], number: int, archive: bool) -> NoReturn:
    """Something is wrong with these lines: find the first of them, and say what."""
    last: Place = b"", -1
    for data in lines:
        try:
            if len(data) > LONGEST:
                raise FormatError("longer than 4 MiB", rule="3.1")
            if data.startswith(SEAL):
                raise SealError("something follows the seal", rule="3.6, seal")
            line = canonical.load_object(data)
            check_line(line, archive=archive)
            place = place_of(line)
            if place <= last:
                raise FormatError("out of order, or twice there", rule="3.4, order")
        except ManifestError as error:
            raise type(error)(error.message, line=number, rule=error.rule) from error
        last = place
        number += 1
    raise AssertionError("refused as a slice, accepted line by line")


def read_manifest(stream: Readable, name: str = "manifest.jsonl") -> Summary:
    """Read a manifest to its end and return what it says; any refusal is a ManifestError with line and rule."""
    slices = Slices(stream, name)
    for data, first in slices:
        slices.add(slices.read(data, first))
    return slices.summary()

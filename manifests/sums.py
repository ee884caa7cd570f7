"""SHA256SUMS: a manifest's current objects for people with `sha256sum -c`; a projection that is never itself evidence."""

from __future__ import annotations

import heapq
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import IO, Any, Protocol

from manifests import canonical
from manifests.digests import BLOCK, Readable
from manifests.errors import FormatError
from manifests.paths import is_file_path, path_bytes

_LINE = re.compile(rb"(\\?)([0-9a-f]{64})  ([^\n]+)\n")
_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}
_PLAIN = {escaped: plain for plain, escaped in _ESCAPES.items()}
_RUN = 4 << 20
"""Bytes of lines sorted in memory at once."""


class Writable(Protocol):
    """Whatever takes bytes in order."""

    def write(self, data: bytes, /) -> object: ...


def sums_line(path: str, sha256: str) -> bytes:
    r"""One line with its LF, escaped as coreutils do: `\`, LF and CR in the path, and then a `\` before the digest."""
    raw = path_bytes(path)
    escaped = re.sub(rb"[\\\n\r]", lambda match: _ESCAPES[match[0]], raw)
    return (b"\\" if escaped != raw else b"") + sha256.encode() + b"  " + escaped + b"\n"


def parse_sums_line(data: bytes) -> tuple[bytes, str]:
    """Path bytes and digest of a line that `sums_line` could have written; FormatError otherwise."""
    match = _LINE.fullmatch(data)
    if match:
        path = match[3]
        if match[1]:
            path = re.sub(rb"\\[\\nr]", lambda found: _PLAIN[found[0]], path)
        sha256 = match[2].decode()
        if sums_line(path.decode("utf-8", "surrogateescape"), sha256) == data:
            return path, sha256
    raise FormatError("not a checksum line", rule="3.10, SHA256SUMS")


def write_sums(lines: Iterable[Mapping[str, Any]], out: Writable) -> int:
    """Write the sums of the current objects among these receipt lines, sorted by path bytes, in bounded memory.

    Returns the number of current objects left out because their key cannot be a file path.
    """
    with ExitStack() as stack:
        sorting = _Sorting(stack)
        for line in lines:
            if line["kind"] == "object" and line.get("latest", True):
                sorting.add(line)
        last = b""
        for _, sums in sorting.merged():
            if sums != last:  # the names of a hard link share a path
                out.write(sums)
            last = sums
    return sorting.left_out


class _Sorting:
    """Lines in the order of their paths. A manifest is in the order of its keys: one that is at its key's path is in order."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._in_order = stack.enter_context(_file())
        self._last = b""
        self._run: list[tuple[bytes, bytes]] = []
        self._size = 0
        self._runs: list[Iterable[tuple[bytes, bytes]]] = []
        self.left_out = 0

    def add(self, line: Mapping[str, Any]) -> None:
        moved = "path" in line
        path = canonical.text_of(line, "path" if moved else "key")
        if not is_file_path(path):
            self.left_out += 1
            return
        raw, sums = path_bytes(path), sums_line(path, line["sha256"])
        if not moved and raw >= self._last:
            self._last = raw
            self._in_order.write(sums)
            return
        self._run.append((raw, sums))
        self._size += len(raw) + len(sums)
        if self._size >= _RUN:
            self._run.sort()
            file = self._stack.enter_context(_file())
            file.writelines(sums for _, sums in self._run)
            self._runs.append(_read(file))
            self._run, self._size = [], 0

    def merged(self) -> Iterator[tuple[bytes, bytes]]:
        self._run.sort()
        others = [*self._runs, self._run] if self._run else self._runs
        return heapq.merge(_read(self._in_order), *others) if others else _read(self._in_order)


def _file() -> IO[bytes]:
    return tempfile.TemporaryFile()


def _read(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    file.seek(0)
    for sums in file:
        # Where nothing is escaped the path is what follows the digest and two spaces.
        yield parse_sums_line(sums)[0] if sums.startswith(b"\\") else sums[66:-1], sums


def sums_agree(lines: Iterable[Mapping[str, Any]], stream: Readable) -> bool:
    """Whether a SHA256SUMS is, byte for byte, the one of these receipt lines."""
    comparing = _Comparing(stream)
    write_sums(lines, comparing)
    return comparing.finish()


class _Comparing:
    """Takes what is written and compares it with what a stream holds."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._ahead = b""
        self.equal = True

    def write(self, data: bytes, /) -> None:
        while self.equal and len(self._ahead) < len(data):
            block = self._stream.read(BLOCK)
            if not block:
                break
            self._ahead += block
        self.equal = self.equal and self._ahead.startswith(data)
        self._ahead = self._ahead[len(data) :]

    def finish(self) -> bool:
        """Whether all of it was equal and nothing is left."""
        return self.equal and not self._ahead and not self._stream.read(1)

"""SHA256SUMS: a manifest's current objects for people with `sha256sum -c`; a projection that is never itself evidence."""

from __future__ import annotations

import heapq
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Protocol

from manifests import canonical
from manifests.digests import BLOCK, Readable
from manifests.errors import FormatError
from manifests.paths import is_file_path, path_bytes

_LINE = re.compile(rb"(\\?)([0-9a-f]{64})  ([^\n]+)\n")
_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}
_PLAIN = {escaped: plain for plain, escaped in _ESCAPES.items()}
_RUN = 100_000
"""Lines sorted in memory at once; a million of them are ten sorted runs on disk."""


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
    left_out = 0
    with ExitStack() as stack:
        runs: list[Iterable[tuple[bytes, bytes]]] = []
        run: list[tuple[bytes, bytes]] = []
        for line in lines:
            if line["kind"] != "object" or not line.get("latest", True):
                continue
            path = canonical.text_of(line, "path" if "path" in line else "key")
            if not is_file_path(path):
                left_out += 1
                continue
            run.append((path_bytes(path), sums_line(path, line["sha256"])))
            if len(run) == _RUN:
                runs.append(_spill(run, stack))
                run = []
        run.sort()
        last = b""
        for _, sums in heapq.merge(*runs, run):
            if sums != last:  # the names of a hard link share a path
                out.write(sums)
            last = sums
    return left_out


def _spill(run: list[tuple[bytes, bytes]], stack: ExitStack) -> Iterator[tuple[bytes, bytes]]:
    run.sort()
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it after the merge
    file.writelines(sums for _, sums in run)
    file.seek(0)
    return ((parse_sums_line(sums)[0], sums) for sums in file)


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

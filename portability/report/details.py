"""What a report never shows: keys and names of folders, in a file for their owner's eyes; and pseudonyms that stand for them."""

from __future__ import annotations

import base64
import csv
import hashlib
import hmac
import io
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from connectors.keys import key_bytes, key_text
from manifests.files import create_private, publish, write_private
from manifests.receipt import key_bytes as line_key
from portability.errors import PlaceError, UsageError
from portability.outcome import printable
from portability.shell import command_line

COLUMNS = ("type", "name", "key", "expected", "found")
SHORTEST = 32
"""Bytes of a pseudonym key."""

_PSEUDONYM = re.compile(r"P-[A-Z2-7]{4}(-[A-Z2-7]{4}){3}", re.ASCII)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the details. `name` is the problem, reason, attribute or the number of a folder in the report."""

    type: Literal["finding", "skipped", "loss", "folder"]
    name: str
    key: str
    expected: str = ""
    found: str = ""


Sink = Callable[[Row], None]


def nowhere(row: Row) -> None:
    """The sink of a report without details."""


class Pseudonyms:
    """Names that only who holds the key can lead back: the same key gives the same name in every report."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, key: str | bytes) -> str:
        """`P-XXXX-XXXX-XXXX-XXXX`, 80 bits of an HMAC-SHA256 over the exact bytes."""
        data = key if isinstance(key, bytes) else key_bytes(key)
        text = base64.b32encode(hmac.digest(self._key, data, hashlib.sha256)[:10]).decode("ascii")
        return "P-" + "-".join(text[at : at + 4] for at in range(0, 16, 4))

    def resolve(self, wanted: Iterable[str], lines: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
        """Pseudonym and key of every thing and folder that is meant, by going through a manifest. UsageError for no pseudonym."""
        sought = {text.strip().upper() for text in wanted}
        for text in sought:
            if not _PSEUDONYM.fullmatch(text):
                raise UsageError(
                    f"{printable(text)} is not a pseudonym", hint="as in the report: P-ABCD-EFGH-IJKL-MNOP"
                )
        last: bytes | None = None
        before: list[bytes] = []
        for line in lines:
            key = line_key(line)
            if key == last:
                continue
            last = key
            parts = key.split(b"/")
            folders = [b"/".join(parts[:depth]) + b"/" for depth in range(1, len(parts))]
            for name in (*(folder for folder in folders if folder not in before), key):
                if (pseudonym := self.of(name)) in sought:
                    yield pseudonym, key_text(name)
            before = folders


def load_key(path: Path) -> Pseudonyms:
    """The pseudonyms of a key file; a new one is made where none is. PlaceError, UsageError."""
    try:
        if not path.exists():
            write_private(path, f"{secrets.token_hex(SHORTEST)}\n".encode())
        with path.open("rb") as file:
            mode, data = os.fstat(file.fileno()).st_mode, file.read(4096).strip()
    except OSError as error:
        raise PlaceError(f"the key file {path} cannot be used: {error.strerror or error}") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PlaceError(f"the key file {path} can be read by others", hint=command_line("chmod", "600", path))
    if len(data) < SHORTEST:
        raise UsageError(
            f"the key file {path} holds fewer than {SHORTEST} bytes",
            hint="name a file that does not exist yet: it is made, with a key that nobody can guess",
        )
    return Pseudonyms(data)


@contextmanager
def details(path: Path | None, pseudonyms: Pseudonyms | None) -> Iterator[Sink]:
    """Where the rows go: a CSV file (mode 0600), never over another one; it is there only if the report was made whole."""
    if path is None:
        yield nowhere
        return
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already", hint="name another file: nothing is overwritten")
    part = path.with_name(f"{path.name}.part")
    try:
        file = create_private(part)
    except OSError as error:
        raise PlaceError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with file:
            text = io.TextIOWrapper(file, "utf-8-sig", newline="")  # the mark tells spreadsheets that it is UTF-8
            writer = csv.writer(text)
            writer.writerow(COLUMNS)

            def write(row: Row) -> None:
                values = [row.key, row.expected, row.found]
                if pseudonyms is not None:  # what was found can hold names too
                    values = [pseudonyms.of(row.key), _counts_only(row.expected), _counts_only(row.found)]
                writer.writerow([row.type, row.name, *map(_cell, values)])

            yield write
            text.detach()  # flushed, and the file stays open for its publication
            publish(file, part, path)
    except FileExistsError as error:
        raise UsageError(f"{path} exists already", hint="name another file: nothing is overwritten") from error
    finally:
        part.unlink(missing_ok=True)


def _counts_only(text: str) -> str:
    """Sizes and digests stay, as they name nobody; other words may quote a key."""
    return (
        text
        if re.fullmatch(
            r"\d+ bytes(, sha256 [0-9a-f]{64})?|[0-9a-f]{32,128}|nothing|something|\d+ things, \d+ bytes", text
        )
        else "…"
        if text
        else ""
    )


def _cell(text: str) -> str:
    """Text that a spreadsheet shows and does not compute."""
    plain = printable(text)
    return f"'{plain}" if plain.startswith(_FORMULA) else plain

"""Names in an archive: keys keep their name where every file system can hold it, and get another one where not."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from manifests.paths import path_bytes

FILES = "data/files/"
VERSIONS = "data/versions/"
LONG = "_long"
LIMIT = 240
"""UTF-16 units of a path relative to the archive (P1)."""

_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"
}
_LITTER = {
    ".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information",
    ".spotlight-v100", ".trashes", ".fseventsd", ".temporaryitems", ".appledouble",
}  # fmt: skip
_FORBIDDEN = re.compile(r'[<>:"\\|?*%]')
_SHORT = re.compile(r"(?=[^.]{2,8}(?:\.|\Z))[^.]*~[0-9]+(?:\.[^.]{0,3})?\Z")
_LETTERS = str.maketrans({"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"})  # fmt: skip
_OUTSIDE = re.compile(r"[^A-Za-z0-9 ._()+,=@!-]")
_EXTENSION = re.compile(r"(?s)(.*)(\.[A-Za-z0-9]{1,8})\Z")

Mode = Literal["utf8", "ascii"]


def fold(path: str) -> str:
    """What two paths share that some file system takes for the same (P2)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def utf16_units(path: str) -> int:
    """The length of a path as Windows counts it."""
    return len(path.encode("utf-16-le")) // 2


def broken_rule(segment: str, mode: Mode = "utf8") -> str | None:
    """The first of S1 to S10 that a segment breaks, or None if it keeps its name (FORMAT.md, section 4)."""
    try:
        length = len(segment.encode())
    except UnicodeEncodeError:
        return "S1"
    if not segment.isascii() and not unicodedata.is_normalized("NFC", segment):
        return "S1"
    if segment in {"", ".", ".."}:
        return "S2"
    categories = [unicodedata.category(character) for character in segment]
    if _FORBIDDEN.search(segment) or any(found[0] == "C" or found in {"Zl", "Zp"} for found in categories):
        return "S3"
    if "Zs" in {categories[0], categories[-1]} or segment.endswith("."):
        return "S4"
    if _is_device(segment):
        return "S5"
    if _is_litter(segment):
        return "S6"
    if _SHORT.match(segment):
        return "S7"
    if length > 200:
        return "S8"
    if segment.casefold() == LONG:
        return "S9"
    return "S10" if mode == "ascii" and not segment.isascii() else None


def _is_device(segment: str) -> bool:
    return segment.split(".", 1)[0].rstrip(" ").casefold() in _DEVICES


def _is_litter(segment: str) -> bool:
    return segment.casefold() in _LITTER or segment.startswith("._")


def ascii_text(text: str) -> str:
    """Latin letters without their accents, in ASCII as far as they have one (renaming, steps 1 and 2)."""
    text = "".join("_" if 0xD800 <= ord(character) <= 0xDFFF else character for character in text)
    text = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(character for character in text if not unicodedata.combining(character))


def _plain(segment: str) -> str:
    """Steps 1 to 3 of renaming: a name in ASCII that every file system holds."""
    text = re.sub(" +", " ", _OUTSIDE.sub("_", ascii_text(segment))).lstrip(" ").rstrip(" .")
    if text.startswith("."):
        text = f"_{text[1:]}"
    if _is_device(text) or _is_litter(text):
        text = f"_{text}"
    return text or "_"


def _split_extension(name: str) -> tuple[str, str]:
    match = _EXTENSION.fullmatch(name)
    return (match[1], match[2]) if match and match[1] else (name, "")


@dataclass(frozen=True, slots=True)
class _Folder:
    key: bytes  # bytes of the key up to and including the slash
    path: str  # its path, with a slash at its end


class Names:
    """Gives every key of an archive its path; keys come in byte order, each once.

    What is taken is remembered on disk, so that a folder of a million names costs no memory.
    """

    def __init__(self, mode: Mode = "utf8", limit: int = LIMIT) -> None:
        if not 120 <= limit <= LIMIT:
            raise ValueError("the path limit lies between 120 and 240")
        self._mode: Mode = mode
        self._limit = limit
        self._taken = sqlite3.connect("")  # a temporary file that goes with the connection
        self._taken.execute("CREATE TABLE taken (fold TEXT PRIMARY KEY) WITHOUT ROWID")
        self._folders: list[_Folder] = []
        self._last: bytes | None = None
        self.longest = 0
        """UTF-16 units of the longest path so far."""

    def path(self, key: str) -> str:
        """The path of this key, relative to the archive."""
        exact = path_bytes(key)
        if self._last is not None and exact <= self._last:
            raise ValueError("keys are not in byte order, or twice there")
        self._last = exact
        *folders, last = exact.split(b"/")
        # All keys of a folder stand together in byte order: a folder that is left never comes back.
        while self._folders and not exact.startswith(self._folders[-1].key):
            self._folders.pop()
        for segment in folders[len(self._folders) :]:
            parent = self._folders[-1] if self._folders else _Folder(b"", FILES)
            inside = parent.key + segment
            path = self._claim(parent.path, segment, sha256(b"D" + inside).hexdigest())
            self._folders.append(_Folder(inside + b"/", f"{path}/"))
        parent_path = self._folders[-1].path if self._folders else FILES
        digits = sha256(b"F" + exact).hexdigest()
        path = self._claim(parent_path, last, digits)
        if utf16_units(path) > self._limit:
            stem, extension = _split_extension(_plain(last.decode("utf-8", "surrogateescape")))
            path = self._claim_with(f"{FILES}{LONG}/{digits[:2]}/{stem[:40]}", digits, 16, extension)
        self.longest = max(self.longest, utf16_units(path))
        return path

    def _claim(self, parent: str, exact: bytes, digits: str) -> str:
        segment = exact.decode("utf-8", "surrogateescape")
        if broken_rule(segment, self._mode) is None and self._is_free(parent + segment):
            return parent + segment
        stem, extension = _split_extension(_plain(segment))
        return self._claim_with(parent + stem, digits, 8, extension, longest=len(parent) + 80)

    def _claim_with(self, stem: str, digits: str, count: int, extension: str, longest: int | None = None) -> str:
        while True:
            ending = f"~{digits[:count]}{extension}"
            path = (stem if longest is None else stem[: longest - len(ending)]) + ending
            if self._is_free(path):
                return path
            if count >= len(digits):
                raise ValueError("no free name")  # two keys with one SHA-256
            count += 4

    def _is_free(self, path: str) -> bool:
        """Whether nothing has this path or one that folds alike; from now on something has."""
        return self._taken.execute("INSERT OR IGNORE INTO taken VALUES (?)", (fold(path),)).rowcount == 1

    def close(self) -> None:
        """Forget what is taken."""
        self._taken.close()


@contextmanager
def naming(mode: Mode = "utf8", limit: int = LIMIT) -> Iterator[Names]:
    """Names for one archive."""
    names = Names(mode, limit)
    try:
        yield names
    finally:
        names.close()


def version_path(digest: str) -> str:
    """Where the bytes of non-current versions lie, stored once."""
    return f"{VERSIONS}{digest[:2]}/{digest}"

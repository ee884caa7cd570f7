"""Names of payload files: those that some file system merges or refuses (V17), and files that were recomposed on the way."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

from manifests.bagit import Severity
from manifests.names import broken_rule, fold

# Not at the beginning: blanks and dots, devices, what file managers leave, our own folder. Not at the end: blanks and dots.
_DOUBTFUL = (
    r"[ .]|(?:[Cc][Oo](?:[Nn]|[Mm][0-9])|[Pp][Rr][Nn]|[Aa][Uu][Xx]|[Nn][Uu][Ll]|[Ll][Pp][Tt][0-9]) *+(?:[./\n]|\Z)"
    r"|[TtEe][Hh][A-Za-z]*+[.][Dd][Bb]|[Dd][Ee][Ss][Kk][Tt][Oo][Pp][.]|[Ss][Yy][Ss][Tt][Ee][Mm] |_[Ll][Oo][Nn][Gg]|__"
)
PLAIN = rf"(?!{_DOUBTFUL})[A-Za-z0-9À-ÖØ-öø-ÿ _.,=()'+-]{{1,99}}+(?<![ .])"
"""Segments that keep S1 to S9, most of those there are. None of these characters composes with another."""

_PLAIN = re.compile(PLAIN)
_PART = 250_000
_LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


def is_litter(path: str) -> bool:
    """Whether a file manager left this file behind (V18)."""
    name = path.rpartition("/")[2]
    return name in _LITTER or name.startswith("._")


def nfc(path: str) -> str:
    return unicodedata.normalize("NFC", path)


def broken_name(path: str) -> tuple[str, Severity] | None:
    """The first of S1 to S9 that a path below data/ breaks, and how bad that is."""
    folder, _, name = path.rpartition("/")
    if _PLAIN.fullmatch(name) is None and (rule := _broken(name)):
        return rule
    return _broken_folder(folder)


@lru_cache(maxsize=4096)
def _broken_folder(folder: str) -> tuple[str, Severity] | None:
    segments = folder.split("/")
    if segments[:3] == ["data", "files", "_long"]:
        del segments[2]  # where the writer itself puts what is too long
    return next((rule for segment in segments if (rule := _broken(segment))), None)


def _broken(segment: str) -> tuple[str, Severity] | None:
    rule = broken_rule(segment)
    if rule is None:
        return None
    # Which code points are unassigned depends on the version of Unicode: a newer writer may have known them.
    assigned = "".join("x" if unicodedata.category(character) == "Cn" else character for character in segment)
    return rule, Severity.WARN if assigned != segment and broken_rule(assigned) is None else Severity.REJECT


def in_parts(values: array[int]) -> Iterator[list[int]]:
    """The values by some of their bits, equal ones together: sets of all of them would be the verifier's largest memory."""
    parts = len(values) // _PART + 1
    for part in range(parts):
        yield [value for value in values if value % parts == part] if parts > 1 else list(values)


class Folds:
    """Finds paths that fold alike, in 8 bytes a path: equal folds have equal hashes, the few suspects are looked at again."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._folder = ""

    def add(self, paths: list[str], folders: Iterable[str]) -> None:
        """Payload paths in order, and the folders that they are in, so that every folder is entered once."""
        self._hashes.extend(map(hash, fold("\n".join(paths)).split("\n")))
        for folder in folders:
            if folder != self._folder:
                self._hashes.extend(map(_hash, _entered(folder, self._folder)))
                self._folder = folder

    def suspects(self) -> frozenset[int]:
        """Hashes that came more than once."""
        found: set[int] = set()
        for ordered in in_parts(self._hashes):
            if len(set(ordered)) < len(ordered):
                ordered.sort()
                found.update(one for one, other in pairwise(ordered) if one == other)
        return frozenset(found)


def _entered(folder: str, before: str) -> Iterator[str]:
    """The folder and those above it that do not hold the folder before."""
    segments = folder.split("/")
    for depth in range(1, len(segments) + 1):
        part = "/".join(segments[:depth])
        if not f"{before}/".startswith(f"{part}/"):
            yield part


def _hash(path: str) -> int:
    return hash(fold(path))


def merged(paths: Iterator[str], suspects: frozenset[int]) -> Iterator[tuple[str, str]]:
    """Pairs of different paths (or folders) that fold alike, among the suspects."""
    seen: dict[str, str] = {}
    for path in paths:
        segments = path.split("/")
        for depth in range(1, len(segments) + 1):
            part = "/".join(segments[:depth])
            if _hash(part) in suspects:
                other = seen.setdefault(fold(part), part)
                if other != part:
                    yield other, part


class Strays:
    """Listed paths without a file and files without a listing, to be matched by their NFC form; kept on disk."""

    def __init__(self) -> None:
        self._scratch = sqlite3.connect("")  # a temporary file that goes with the connection
        self._scratch.execute("CREATE TABLE listed (path TEXT, nfc TEXT, algorithms TEXT, digests TEXT)")
        self._scratch.execute("CREATE TABLE found (path TEXT, nfc TEXT)")
        self._scratch.execute("CREATE INDEX by_nfc ON found (nfc)")

    def missing(self, path: str, algorithms: str, digests: str) -> None:
        self._scratch.execute("INSERT INTO listed VALUES (?, ?, ?, ?)", (path, nfc(path), algorithms, digests))

    def unlisted(self, path: str) -> None:
        self._scratch.execute("INSERT INTO found VALUES (?, ?)", (path, nfc(path)))

    def matched(self) -> Iterator[tuple[str, str, str, list[str]]]:
        """Each listed path with its digests and the files that may be it."""
        for path, form, algorithms, digests in self._scratch.execute("SELECT * FROM listed ORDER BY rowid"):
            found = [row[0] for row in self._scratch.execute("SELECT path FROM found WHERE nfc = ? LIMIT 3", (form,))]
            yield path, algorithms, digests, found

    def left(self) -> Iterator[str]:
        """Files that no listed path is."""
        rows = self._scratch.execute("SELECT path FROM found WHERE nfc NOT IN (SELECT nfc FROM listed) ORDER BY rowid")
        return (row[0] for row in rows)

    def close(self) -> None:
        self._scratch.close()

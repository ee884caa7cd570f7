"""The worked example of FORMAT.md: its files, and the table from which they follow."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent / "data"

CONTENTS: dict[tuple[str, int], bytes | None] = {
    ("100%.txt", 0): b"cent\n",
    ("CON", 0): b"console\n",
    ("patients//dossier 0042/Écho rénale.pdf", 0): b"%PDF-1.7\n",
    ("patients/A", 0): b"majuscule\n",
    ("patients/a", 0): b"ancienne\n",
    ("patients/a", 1): None,
    ("patients/a", 2): b"minuscule\n",
    ("patients/a/b", 0): b"fils\n",
    (b"r\xe9sum\xe9.txt".decode("utf-8", "surrogateescape"), 0): b"latin-1\n",
    ("x/../../etc/passwd", 0): b"hostile\n",
}
"""(key, order) to content; None is a delete marker."""


def read(name: str) -> bytes:
    """One of the example's files."""
    return (DATA / name).read_bytes()


def lines() -> list[bytes]:
    """The lines of the example's manifest, without LF."""
    return read("manifest.jsonl").split(b"\n")[:-1]

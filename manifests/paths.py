"""What may stand where a path stands: in a list of checksums, and inside an archive."""

from __future__ import annotations

import re

# V4: absolute, empty, "." or ".." segment, leading "~", drive letter, backslash, control character.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\]|\A(?:~|/|[A-Za-z]:)|(?:\A|/)\.{0,2}(?:/|\Z)")


def path_bytes(path: str) -> bytes:
    """The exact bytes of a path or key (surrogateescape for what is not UTF-8); lists are sorted by them."""
    return path.encode("utf-8", "surrogateescape")


def is_file_path(key: str) -> bool:
    """Whether a key can be the path of a file below a folder: no empty, "." or ".." segment, no NUL."""
    return "\0" not in key and not any(segment in {"", ".", ".."} for segment in key.split("/"))


def is_archive_path(path: str) -> bool:
    """Whether a path inside an archive obeys V4 (FORMAT.md, "Paths in an archive"): it cannot lead anywhere else."""
    if _UNSAFE.search(path):
        return False
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True

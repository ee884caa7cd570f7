"""Keys: exact, hostile until checked, personal always."""

from __future__ import annotations

import unicodedata

from connectors.errors import InvalidKeyError

PARTIAL_FOLDER = ".portability-partial"
"""Hosts without hidden uploads keep unfinished files in this folder of their root; no listing shows it."""


def key_bytes(key: str) -> bytes:
    """The exact bytes of a key; the order of keys is the order of these bytes."""
    return key.encode("utf-8", "surrogateescape")


def key_text(data: bytes) -> str:
    """The key with these exact bytes."""
    return data.decode("utf-8", "surrogateescape")


def fold(key: str) -> str:
    """What two names share that a file system blind to case or normal form would merge (archive-format.md, section 4, P2)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", key).casefold())


def file_path_problem(key: str) -> str | None:
    """Why a key cannot be a relative path of a POSIX file system, or None if it can.

    A leading or trailing slash, an empty segment, "." and ".." would be dropped or would leave the root; NUL ends a name.
    """
    if not key:
        return "the key is empty"
    if "\0" in key:
        return "a NUL byte cannot be in a file name"
    segments = key.split("/")
    if segments[0] == PARTIAL_FOLDER:
        return f"the folder {PARTIAL_FOLDER} is kept for unfinished files"
    for segment in segments:
        if segment == "":
            return "an empty segment (leading, trailing or doubled slash) cannot be a file path"
        if segment in {".", ".."}:
            return f'a "{segment}" segment cannot be a file path'
        if len(key_bytes(segment)) > 255:
            return "a segment is longer than 255 bytes"
    return None


def check_file_path(key: str, host: str) -> None:
    """InvalidKeyError if the key cannot be a relative path of a POSIX file system."""
    problem = file_path_problem(key)
    if problem:
        raise InvalidKeyError(f"{problem}; rename it at the source, or exclude it", host=host, key=key)

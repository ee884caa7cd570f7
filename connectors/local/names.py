"""Keys and the names of this file system: exact both ways, and what must be refused before anything is written."""

from __future__ import annotations

import os
import posixpath
import re
import sys

from connectors.keys import PARTIAL_FOLDER, file_path_problem, fold, key_bytes, key_text

CASE_SENSITIVE = sys.platform not in {"win32", "darwin"}
"""What the platform's own file systems are. A volume may differ; a name that meets its twin there is `AlreadyExistsError`."""

_KEYS_ARE_NAMES = sys.platform == "win32" or sys.getfilesystemencoding() == "utf-8"
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\..*)?", re.IGNORECASE)
_WINDOWS_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"\\|?*]')


def native(key: str) -> str:
    """The text with which Python names the file whose name has the key's exact bytes."""
    return key if _KEYS_ARE_NAMES else os.fsdecode(key_bytes(key))


def exact(name: str) -> str:
    """The inverse of `native`."""
    return name if _KEYS_ARE_NAMES else key_text(os.fsencode(name))


def name_problem(key: str, platform: str = sys.platform) -> str | None:
    """Why a key cannot be a path below the root on this platform, or None if it can."""
    try:
        problem = file_path_problem(key)
    except UnicodeEncodeError:
        return "the key holds half of a surrogate pair"
    if problem:
        return problem
    if platform == "darwin":
        try:
            key.encode()
        except UnicodeEncodeError:
            return "a name that is not UTF-8 cannot be kept on macOS"
    if platform in {"darwin", "win32"} and fold(key.split("/")[0]) == PARTIAL_FOLDER:
        return f"the folder {PARTIAL_FOLDER} is kept for unfinished files"
    return _windows_problem(key) if platform == "win32" else None


def link_problem(key: str, target: str | None, *, anywhere: bool) -> str | None:
    """Why a link must not be made, or None. By its text alone: nothing is followed."""
    if not target or "\0" in target:
        return "the link has no target"
    if len(key_bytes(target)) > 4095:
        return "the target of the link is longer than 4095 bytes"
    if anywhere:
        return None
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(key), target))
    if reached.startswith("/") or reached.split("/")[0] == "..":
        return "the target of the link leaves the root; the option links=any makes it all the same"
    return None


def _windows_problem(key: str) -> str | None:
    for segment in key.split("/"):
        if _WINDOWS_FORBIDDEN.search(segment):
            return 'a control character or one of <>:"\\|?* cannot be in a Windows file name'
        if segment.endswith((" ", ".")):
            return "Windows drops a space or dot at the end of a file name"
        if _WINDOWS_DEVICE.fullmatch(segment):
            return "the name is that of a Windows device"
    return None

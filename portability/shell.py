"""Command lines as a person can copy them into the shell of this machine."""

from __future__ import annotations

import os
import re
import shlex
import subprocess

_HARMLESS = re.compile(r"[A-Za-z0-9_@+=:.,/\\~-]+")


def command_line(*words: object) -> str:
    """The words, each quoted where a shell would take it for something else."""
    told = [str(word) for word in words]
    return " ".join(map(_for_windows, told)) if os.name == "nt" else shlex.join(told)


def _for_windows(word: str) -> str:
    # list2cmdline quotes for the program that is started; the shell before it would take an & for the end of the command.
    told = subprocess.list2cmdline([word])
    if told.startswith('"') or _HARMLESS.fullmatch(word):
        return told
    ending = word[len(word.rstrip("\\")) :]  # a backslash before our quote would make it one of the word's own
    return f'"{told}{ending}"'

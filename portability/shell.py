"""Command lines as a person can copy them into the shell of this machine."""

from __future__ import annotations

import os
import re
import shlex

_HARMLESS = re.compile(r"[A-Za-z0-9_+=:./\\-]+")
_EXPANDED = re.compile("[$`\u201c\u201d\u201e]")
"""What PowerShell does not take as it is between double quotes; typographic quotes end them there."""
_CONTROLS = {"\n": "`n", "\r": "`r", "\t": "`t", "\0": "`0"}


def command_line(*words: object) -> str:
    """The words, each quoted where a shell would take it for something else."""
    told = [str(word) for word in words]
    return " ".join(map(_for_windows, told)) if os.name == "nt" else shlex.join(told)


def _for_windows(word: str) -> str:
    """As PowerShell reads it, in the quotes that cmd knows too, so that in neither a name ends the command or runs another.

    A name that takes PowerShell's backtick is another name to cmd, which knows no way to write it: nothing is there.
    """
    if _HARMLESS.fullmatch(word):
        return word
    # Both take "" for a quote and stay between quotes. The program takes a backslash before any quote for its escape.
    told = re.sub(r'(\\*)("|\Z)', lambda found: found[1] * 2 + found[2] * 2, word)
    told = _EXPANDED.sub(r"`\g<0>", told)
    return '"' + "".join(_CONTROLS.get(character, character) for character in told) + '"'

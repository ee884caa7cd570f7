"""Commands that a person copies: no name in them ends a command or begins another, in whichever shell."""

from __future__ import annotations

import os
import re
import shlex

import pytest

from portability.shell import _for_windows, command_line

FOR_POWERSHELL = [
    "$(calc)",
    "$name",
    "a $env:USERNAME b",
    "`calc`",
    "a`",
    "a&b'c$d",
    "l\u201c; calc; \u201d",
    "\u201e",
    "x\ny",
    "\r\t",
]
"""What it would run, or replace, even between quotes. cmd, which cannot have them written, gets another name."""
NAMES = [
    *("a&calc", "a|b", "a;b", "a b&c", "it's", "(a)", "a<b>c", "^", "", "{a}", "#a", "@a", "a,b", "~"),
    *("C:\\drills\\a&b\\", 'a"&b', 'a\\"&b', '"', 'a" "b', 'a\\\\"', "l\u2019\u00e9t\u00e9", "%PATH%"),
    *FOR_POWERSHELL,
]


def powershell(line: str) -> str:
    """The word that PowerShell makes of a line which is one string in double quotes; fails if it would be anything else."""
    found = re.fullmatch(r'"((?:`.|""|[^"`$\u201c\u201d\u201e\r\n])*)"', line)
    assert found, line
    controls = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}
    return re.sub('`(.)|""', lambda one: controls.get(one[1], one[1]) if one[1] else '"', found[1])


def cmd_ends_nothing(line: str) -> bool:
    """Whether cmd takes every character that is its own for text: between quotes, of which it knows no other form."""
    outside = "".join(line.split('"')[::2])
    return not re.search(r"[&|<>^()\s;,=]", outside) and "\n" not in line and "\r" not in line


def program(word: str) -> str:
    """The argument that a C program makes of one word in double quotes."""
    assert word.startswith('"')
    text, at, quoted = "", 1, True
    while at < len(word):
        slashes = len(word[at:]) - len(word[at:].lstrip("\\"))
        at += slashes
        if word[at : at + 1] != '"':
            text += "\\" * slashes + word[at : at + 1]
        else:
            text += "\\" * (slashes // 2)
            if slashes % 2 or (quoted and word[at : at + 2] == '""'):
                text += '"'
                at += not slashes % 2
            else:
                quoted = not quoted
        at += 1
    assert not quoted
    return text


@pytest.mark.skipif(os.name == "nt", reason="the shells of POSIX")
@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_one_word(name: str) -> None:
    assert shlex.split(command_line("portability", "verify", name)) == ["portability", "verify", name]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_one_word_in_the_shells_of_windows(name: str) -> None:
    told = _for_windows(name)
    # What a backslash before a quote becomes is the program's matter, and the same for both shells.
    assert powershell(told) == re.sub(r'(\\+)(?="|\Z)', r"\1\1", name)
    assert cmd_ends_nothing(told)
    if name not in FOR_POWERSHELL:
        assert program(told) == name


@pytest.mark.parametrize("name", ["C:\\drills\\cabinet.toml", "--job", "s3://cabinet/2026", "exit-2026"])
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert _for_windows(name) == name


def test_a_backslash_at_the_end_does_not_take_the_quote_with_it() -> None:
    assert _for_windows("C:\\a&b\\") == '"C:\\a&b\\\\"'
    assert _for_windows('a"&b') == '"a""&b"'

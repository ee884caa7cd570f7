"""Commands that a person copies: no name in them ends a command or begins another, in whichever shell."""

from __future__ import annotations

import os
import shlex

import pytest

from portability.shell import _for_windows, command_line

NAMES = ["a&calc", "a|b", "a;b", "$(id)", "`id`", "a b&c", "it's", "x\ny", "(a)", "a<b>c", "^", "", "C:\\drills\\a&b\\"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_one_word(name: str) -> None:
    if os.name != "nt":
        assert shlex.split(command_line("portability", "verify", name)) == ["portability", "verify", name]
    told = _for_windows(name)
    assert told.startswith('"')
    assert told.endswith('"')


@pytest.mark.parametrize("name", ["C:\\drills\\cabinet.toml", "--job", "s3://cabinet/2026", "exit-2026"])
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert _for_windows(name) == name


def test_a_backslash_at_the_end_does_not_take_the_quote_with_it() -> None:
    assert _for_windows("C:\\a&b\\") == '"C:\\a&b\\\\"'
    assert _for_windows('a"&b') == '"a\\"&b"'

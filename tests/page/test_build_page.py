"""The built page: made of its sources, one file, with the licences of what it contains."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from portability.archive.page import verify_html, verify_sh

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "portability" / "archive" / "page"


def test_the_page_in_the_package_is_what_its_sources_make() -> None:
    built = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "build-page"), "--check"], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr


def test_the_page_names_nothing_outside_itself() -> None:
    page = verify_html().decode()
    assert not re.search(r"(?:src|href|action)\s*=\s*[\"']", re.sub(r"/\*.*?\*/", "", page, flags=re.DOTALL))
    assert "@import" not in page
    assert "url(" not in page.split("<script", 1)[0]


def test_the_page_carries_the_licences_of_its_parts() -> None:
    page = verify_html().decode()
    for name in ("hash-wasm-4.13.0-LICENSE.txt", "noble-ed25519-3.2.0-LICENSE.txt"):
        assert (PAGE / "vendor" / name).read_text("utf-8").strip() in page


def test_both_languages_have_the_same_texts() -> None:
    french, english = (PAGE / "page" / "texts.js").read_text("utf-8").split("\n  en: {", 1)
    names = re.compile(r"^    (?:  )?(\w+):", re.MULTILINE)
    assert names.findall(french) == names.findall(english.split("\n};", 1)[0])


def test_the_script_in_the_package_is_the_one_in_the_tree() -> None:
    assert verify_sh() == (PAGE / "verify.sh").read_bytes()
    assert verify_sh().startswith(b"#!/bin/sh\n")

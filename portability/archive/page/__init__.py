"""What an archive carries so that anybody can check it: verify.html, verify.sh and README.txt, as bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

_CHOICE = re.compile(r"\[\[(if|unless) (\w+)\]\]\n(.*?)\[\[end\]\]\n", re.DOTALL)
_VALUE = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What README.txt says about this one archive."""

    practice: str
    created: str
    """RFC 3339."""
    files: int
    """Objects in the manifest, versions included."""
    fingerprint: str | None
    """Of the key that signs; None for an archive without a signature."""
    encrypted: bool
    root: str
    """Of the tree over the manifest's lines, in hex."""
    sha512: bool = False
    """Whether there is a second pair of lists."""
    delta_of: str | None = None
    """The archive without which this one is incomplete."""
    longest: int | None = None
    """Of the paths with the archive's own folder name, as Windows counts."""


def verify_html() -> bytes:
    """The page that checks an archive in a browser; `scripts/build-page` assembles it."""
    return _read("verify.html")


def verify_sh() -> bytes:
    """The script that checks an archive with stock tools."""
    return _read("verify.sh")


def readme(facts: Facts) -> bytes:
    """README.txt, in French and then in English."""
    given = {
        "practice": _plain(facts.practice),
        "created": f"{facts.created[:10]} {facts.created[11:16]} UTC",
        "files": str(facts.files),
        "fingerprint": facts.fingerprint or "",
        "root": facts.root,
        "delta_of": facts.delta_of or "",
        "longest": str(facts.longest or ""),
        "encrypted": "yes" if facts.encrypted else "",
        "sha512": "yes" if facts.sha512 else "",
        "age": ".age" if facts.encrypted else "",
    }
    return b"\n".join(_fill(_read(f"readme.{language}.txt").decode(), given).encode() for language in ("fr", "en"))


def _fill(text: str, given: dict[str, str]) -> str:
    for system in ("linux", "macos", "windows"):
        text = text.replace(f"{{{{{system}}}}}\n", _read(f"commands.{system}.txt").decode())
    text = _CHOICE.sub(lambda found: found[3] if bool(given[found[2]]) is (found[1] == "if") else "", text)
    return _VALUE.sub(lambda found: given[found[1]], text)


def _plain(text: str) -> str:
    """A person's text on one line, without characters that a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def _read(name: str) -> bytes:
    return files(__name__).joinpath(name).read_bytes()

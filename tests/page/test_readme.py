"""README.txt of an archive: both languages, only what is true of this archive, and commands that work as printed."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from archives import ALTERATIONS, build, close, fingerprint, key

from portability.archive.page import Facts, readme

FACTS = Facts(
    practice="Cabinet Exemple", created="2026-11-21T09:05:00Z", files=7, fingerprint=fingerprint(), encrypted=False, root="ab" * 32
)  # fmt: skip


def _commands(text: str, system: str) -> str:
    found = re.findall(rf"^--- {system} \([A-Za-z]+\)\n(.*?)^---", text, re.MULTILINE | re.DOTALL)
    assert len(found) == 2
    assert found[0] == found[1]
    return str(found[0])


def _run(folder: Path, commands: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", commands], cwd=folder, capture_output=True, text=True, check=False)


INTACT = ["every listed file is intact", "nothing missing, nothing added"]


@pytest.mark.parametrize("sha512", [False, True])
@pytest.mark.parametrize("system", ["Linux", "macOS"])
def test_the_commands_do_what_is_said(tmp_path: Path, system: str, sha512: bool) -> None:
    folder = build(tmp_path / "archive", sha512=sha512, sign_with=key())
    (folder / "README.txt").write_bytes(readme(replace(FACTS, sha512=sha512)))
    close(folder, sign_with=key())
    commands = _commands((folder / "README.txt").read_text("utf-8"), system)
    answer = _run(folder, commands).stdout.splitlines()
    assert answer[:2] == INTACT
    assert answer[2] == f'Good "portability-archive-v1" signature with ED25519 key {fingerprint()}'
    for name in ("payload changed", "payload removed", "payload added", "tag file added", "signature of other bytes"):
        altered = tmp_path / "altered"
        shutil.copytree(folder, altered)
        ALTERATIONS[name](altered)
        said = _run(altered, commands).stdout.splitlines()
        assert not {*INTACT, answer[2]} <= set(said), name
        shutil.rmtree(altered)


def test_the_script_is_started_as_said(tmp_path: Path) -> None:
    folder = build(tmp_path / "archive", sign_with=key())
    assert "sh verify.sh\n" in readme(FACTS).decode()
    assert _run(folder, "sh verify.sh").stdout.splitlines()[-1] == "RESULT: VALID"


def test_the_windows_commands_check_lists_set_and_signature() -> None:
    commands = _commands(readme(FACTS).decode(), "Windows")
    for part in ("Get-FileHash -LiteralPath", "NOT LISTED", "DIFFERENT OR MISSING", "cmd /c", "-cne 'tagmanifest"):
        assert part in commands
    assert "tagmanifest-sha*.txt" in _commands(readme(replace(FACTS, sha512=True)).decode(), "Windows")


def test_only_what_is_true_of_the_archive_is_said() -> None:
    plain = readme(FACTS).decode()
    assert fingerprint() in plain
    assert "DÉCHIFFRER" not in plain
    assert "DECRYPTING" not in plain
    assert "metadata/manifest.jsonl\n" in plain
    encrypted = readme(replace(FACTS, encrypted=True)).decode()
    for part in ("DÉCHIFFRER", "DECRYPTING", "age, rage, typage", "metadata/manifest.jsonl.age"):
        assert part in encrypted
    unsigned = readme(replace(FACTS, fingerprint=None)).decode()
    assert "ssh-keygen" not in unsigned
    assert "un dommage se voit, une falsification ne se" in unsigned
    assert "longest path has 231 characters" in readme(replace(FACTS, longest=231)).decode()
    assert "sha256:77" in readme(replace(FACTS, delta_of="sha256:77")).decode()


def test_nothing_of_the_template_is_left_and_names_stay_on_their_line() -> None:
    for facts in (FACTS, replace(FACTS, encrypted=True, fingerprint=None, sha512=True, longest=9, delta_of="sha256:1")):
        text = readme(replace(facts, practice="Cabinet\n{{root}}\x1b[31m")).decode()
        assert "    Cabinet {{root}} [31m\n" in text
        rest = text.replace("{{root}}", "")
        assert not re.search(r"\{\{|\}\}|\[\[(?:if|unless|end)", rest)
    prose = [
        line for line in readme(FACTS).decode().splitlines() if not re.match(r"[a-z$}\"(]|  |\s*portability", line)
    ]
    assert max(map(len, prose)) <= 80

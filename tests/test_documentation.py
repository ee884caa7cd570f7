"""What README says can be typed: its commands parse, its job file loads, its links lead somewhere, its tables are current."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from portability.cli.app import application
from portability.cli.screen import Screen
from portability.job_file import load

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", README, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.strip().startswith("portability ")]


@pytest.mark.parametrize("line", commands())
def test_every_command_in_the_readme_is_one_that_the_program_understands(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    if words == ["--help"]:
        return
    command = application.get_command(click.Context(application), words[0])
    assert command is not None, f"there is no command {words[0]}"
    command.make_context(words[0], words[1:], obj=Screen())


def test_the_job_files_in_the_readme_are_such(tmp_path: Path) -> None:
    migration, rehearsal = blocks("toml")
    (tmp_path / "cabinet.toml").write_text(migration, "utf-8")
    job = load(tmp_path / "cabinet.toml")
    assert job.source.credentials == "env:OLD"
    assert job.destination.scheme == "sftp"
    (tmp_path / "cabinet.toml").write_text(re.sub(r"^(\s*)# ", r"\1", rehearsal, flags=re.MULTILINE), "utf-8")
    drill = load(tmp_path / "cabinet.toml", drill=True).drill
    assert drill is not None
    assert drill.restore_to.credentials == "env:NEW"
    assert drill.notice is not None
    assert len(drill.deadlines) == 1


def test_links_in_the_readme_lead_to_files_of_the_project() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_generated_parts_of_the_documents_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "generate"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

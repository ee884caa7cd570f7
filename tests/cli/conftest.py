"""Running the command line: in this process for what is cheap, as a real program for what a shell sees."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from commands import Ended, Run, command

from portability.cli import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def go(*arguments: object) -> Ended:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        return Ended(code=code, out=written.out, err=written.err)

    return go


@pytest.fixture
def program() -> Run:
    """Run a command as a process of its own."""

    def go(*arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ended:
        done = subprocess.run(
            command(*arguments),
            capture_output=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONUTF8": "1", **(env or {})},
            cwd=cwd,
            timeout=120,
            check=False,
        )
        return Ended(code=done.returncode, out=done.stdout, err=done.stderr)

    return go

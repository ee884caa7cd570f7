"""Programs that are not ours, for tests: where they are, and what becomes of a test whose program is not installed."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest


def program(name: str) -> str:
    """The full path of a program: of this virtual environment first. Its absence is an error, never a skip."""
    found = _found(name)
    if not found:
        raise FileNotFoundError(f"{name} is not installed; run scripts/test, which installs what the tests need")
    return found


def needs(*names: str) -> pytest.MarkDecorator:
    """Skips a test on a machine without these programs. Where scripts/test installs them, in CI, none is skipped: it fails."""
    missing = [name for name in names if not _found(name)]
    installed = sys.platform == "linux" and os.environ.get("CI") == "true"
    return pytest.mark.skipif(bool(missing) and not installed, reason=f"not installed: {', '.join(missing)}")


def _found(name: str) -> str | None:
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    return shutil.which(name, path=os.pathsep.join(places))

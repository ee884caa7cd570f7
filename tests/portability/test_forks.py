"""Worker processes: what they load, and from where."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path


def test_a_folder_named_like_us_in_the_current_folder_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "here" / "portability"
    trap.mkdir(parents=True)
    for name in ("__init__", "pool", "move", "check"):
        (trap / f"{name}.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w').close()\n")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "letter.txt").write_text("letter")
    program = Path(sysconfig.get_path("scripts")) / "portability"
    told = subprocess.run(
        [program, "migrate", "--from", tmp_path / "source", "--to", tmp_path / "new", "--evidence", tmp_path / "kept"],
        cwd=trap.parent,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("PROVEN")
    assert not (tmp_path / "sprung").exists()
    assert "Traceback" not in told.stderr

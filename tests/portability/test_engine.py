"""Migrations on an executor that is given: the example of the README, as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from places import content

from connectors import Location

README = Path(__file__).parents[2] / "README.md"


def test_the_readmes_example_runs_on_an_executor_of_its_own(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (tmp_path / "old").mkdir()
    for number in range(100):
        (tmp_path / "old" / f"lettre {number}").write_bytes(b"x" * number)
    (tmp_path / "cabinet.toml").write_text(
        'evidence = "exit"\n[source]\nurl = "old"\n[destination]\nurl = "new"\n[policy]\nworkers = 2\n', "utf-8"
    )
    (tmp_path / "script.py").write_text(example, "utf-8")
    run = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("PROVEN")
    new, old = (content(Location.parse(str(tmp_path / name))) for name in ("new", "old"))
    assert new == old

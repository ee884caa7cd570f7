"""The layers of the three packages hold, and each package can be imported on its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_imports_keep_to_the_layers() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("package", ["connectors", "manifests"])
def test_a_package_loads_without_the_others(package: str) -> None:
    script = (
        f"import sys, {package}; "
        "others = {'portability', 'connectors', 'manifests'} - {sys.argv[1]}; "
        "sys.exit(len(others & {name.partition('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", script, package], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_checking_digests_needs_a_bare_python() -> None:
    """The manifest can be checked where nothing but Python is installed."""
    script = "import manifests.manifest, manifests.verdict, manifests.sums, manifests.tree, manifests.receipt"
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    run = subprocess.run(
        [sys.base_prefix + "/bin/python3", "-S", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr

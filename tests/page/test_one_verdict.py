"""Hostile bags: the script and the page say what our verifier is tested to say of each."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from archives import build, key
from browser import Checker
from playwright.sync_api import Browser

UNSEEN_BY_SCRIPT = {"recomposed on the way"}
"""It matches names exactly and refers to the page."""
UNSEEN_BY_PAGE = {"name that is not UTF-8"}
"""A browser leaves such a file out, as it does with links; the page says so."""


def _probes() -> dict[str, Any]:
    path = Path(__file__).parents[1] / "portability" / "test_probe_bags.py"
    spec = importlib.util.spec_from_file_location("probes_of_the_verifier", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.PROBES)


@pytest.fixture(scope="module")
def checker(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Checker:
    home = build(tmp_path_factory.mktemp("home") / "archive")
    return Checker(chromium.new_context().new_page(), (home / "verify.html").as_uri())


def test_every_probe_bag_gets_one_verdict(tmp_path: Path, checker: Checker) -> None:
    wrong = {}
    intact = build(tmp_path / "intact", sign_with=key())
    for name, (change, expected, *_) in _probes().items():
        folder = tmp_path / "probe"
        shutil.copytree(intact, folder)
        change(folder)
        script = subprocess.run(["sh", str(folder / "verify.sh")], capture_output=True, check=False)
        if script.returncode != expected and name not in UNSEEN_BY_SCRIPT:
            wrong["script", name] = (expected, script.returncode, script.stdout)
        answer = checker.check(folder)
        if answer.exit_code != expected and name not in UNSEEN_BY_PAGE:
            wrong["page", name] = (expected, answer)
        shutil.rmtree(folder)
    assert not wrong
    assert checker.errors == []

"""One Chromium for all tests of the page; without one they fail, because a page nobody opened proves nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Checker
from playwright.sync_api import Browser, BrowserContext, sync_playwright

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "Chromium is not installed; scripts/test installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A fresh profile; no test leaves anything to the next."""
    context = chromium.new_context()
    yield context
    context.close()


@pytest.fixture
def open_page(context: BrowserContext) -> Any:
    """Open the page of this folder, after running a script that takes something away from the browser."""

    def open_it(folder: Path, *, without: str = "") -> Checker:
        page = context.new_page()
        if without:
            page.add_init_script(without)
        return Checker(page, (folder / "verify.html").as_uri())

    return open_it

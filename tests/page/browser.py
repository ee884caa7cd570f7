"""The page in a tab, as a person uses it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the page says of a folder."""

    exit_code: int
    verdict: str | None
    """intact, unproven or altered; None for a folder that is no archive."""
    text: str
    where: str | None
    """worker or page."""


class Checker:
    """An open page and what it asked for."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.goto(address)

    @property
    def state(self) -> str | None:
        return self.page.locator("body").get_attribute("data-state")

    def check(self, folder: Path, timeout: float = 60) -> Answer:
        """Choose this folder and wait for the result."""
        if self.state != "start":
            self.page.locator(".again:visible").click()
        self.page.set_input_files("#files", str(folder), timeout=timeout * 1000)
        return self.result(timeout)

    def result(self, timeout: float = 60) -> Answer:
        self.page.wait_for_selector("body[data-state=result], body[data-state=stranger]", timeout=timeout * 1000)
        archive = self.state == "result"
        return Answer(
            exit_code=self.exit_code,
            verdict=self.page.locator("#verdict").get_attribute("data-verdict") if archive else None,
            text=self.page.locator("#text").input_value() if archive else "",
            where=self.page.locator("html").get_attribute("data-where"),
        )

    @property
    def exit_code(self) -> int:
        return int(self.page.locator("html").get_attribute("data-exit") or -1)

    def paper(self, fingerprint: str) -> int:
        """Type a fingerprint and return the exit code that follows."""
        self.page.fill("#paper", fingerprint)
        return self.exit_code

    def line(self, name: str) -> str:
        """A line of the result, with plain blanks."""
        return self.page.locator(f"[data-line={name}] p").first.inner_text().replace("\u00a0", " ").replace("\n", " ")

    def heading(self) -> str:
        return self.page.locator("h2:visible").first.inner_text().replace("\u00a0", " ")

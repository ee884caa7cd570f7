"""Reports in a real Chromium: what is seen first, on any screen and on paper, and that nothing is asked of anyone."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import archives
import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect
from report_samples import Drilled, Line, drill, evidence, many

from connectors import Location
from manifests.receipt import Loss
from portability.drill import record as drills
from portability.report.gather import Request, gather
from portability.report.language import Language
from portability.report.model import Report
from portability.report.render import report_html, runbook_html
from portability.report.runbook import read

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)
DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
Scheme = Literal["light", "dark"]
HOSTILE = (
    Line(key="<script>window.bad=1</script>/a", size=5),
    Line(key="<img src=x onerror=window.bad=1>/b", size=6, losses=(Loss(name="<b>bold</b>", parked=None),)),
    Line(key="日本 $x^2$/\u202ea", size=8),
    Line(key="\"'>&amp;\x1b]0;x\x07/\udcff", size=7),
)
JOB = """
name = "Cabinet <i>Exemple</i>"
evidence = "exit-2026"
[source]
url = "s3://cabinet"
endpoint = "https://s3.old.example"
credentials = "env:OLD"
[destination]
url = "sftp://cabinet@new.example/home/cabinet"
credentials = "agent"
[drill]
every = "90d"
sample = "5%"
"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """One of each kind, by name."""
    base = tmp_path_factory.mktemp("reports")
    finding = drills.Finding(problem="disappeared", count=12, facts={"allowed": 5})
    cover = drills.Cover(drills=1, of_drills=20, covered=50, of=1000)
    sample = drills.Sample(share_ppm=50_000, seed="s", drawn=50, of=1000, damaged=0, fewer_than=57, cover=cover)
    archive = archives.build(base / "archive", sign_with=archives.key())
    places: dict[str, tuple[Path, dict[str, Any]]] = {
        "three": (evidence(base / "three"), {}),
        "many": (evidence(base / "many", many(600, folders=300)), {}),
        "unproven": (evidence(base / "unproven", [Line(key="a"), Line(key="b", size=None, reason="cold")]), {}),
        "hostile": (
            evidence(base / "<b>hostile", HOSTILE, source="s3://<script>window.bad=1</script>"),
            {"names": True},
        ),
        "archive": (archive, {"archive": Location.parse(str(archive)), "workers": 1}),
        "drill": (
            drill(
                base / "drills",
                Drilled(id="20260822T013000Z"),
                Drilled(id="20261122T013000Z", proven=False, findings=(finding,)),
            ),
            {},
        ),
        "sampled": (drill(base / "sampled", Drilled(more={"scope": drills.Scope(kind="sample", sample=sample)})), {}),
    }
    return {name: gather(Request(place=str(place), **asked), NOW) for name, (place, asked) in places.items()}


KINDS = ("three", "many", "unproven", "hostile", "archive", "drill", "sampled")


class Shown:
    """A page from the disk, what it asked for, and what it complained about."""

    def __init__(self, browser: Browser, html: str, folder: Path, **how: Any) -> None:
        (folder / "page.html").write_text(html, "utf-8")
        self._context = browser.new_context(**{"viewport": DESK, **how})
        self.page: Page = self._context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.goto((folder / "page.html").as_uri())

    def close(self) -> None:
        self._context.close()


@pytest.fixture(scope="module")
def opened(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory, reports: dict[str, Report]
) -> Iterator[Callable[..., Shown]]:
    """Each page is opened once and looked at by many tests; whoever changes the window asks for it by `show`."""

    there: list[Shown] = []

    @functools.cache
    def go(name: str, language: Language = "fr") -> Shown:
        there.append(Shown(chromium, report_html(reports[name], language), tmp_path_factory.mktemp("page")))
        return there[-1]

    yield go
    for one in there:
        one.close()


@pytest.fixture
def show(opened: Callable[..., Shown]) -> Callable[..., Shown]:
    """The page in a window of this size, in these colours, on a screen."""

    def go(name: str, language: Language = "fr", viewport: ViewportSize = DESK, scheme: Scheme = "light") -> Shown:
        shown = opened(name, language)
        shown.page.emulate_media(media="screen", color_scheme=scheme)
        shown.page.set_viewport_size(viewport)
        return shown

    return go


@pytest.mark.parametrize("name", KINDS)
def test_nothing_leaves_the_page_and_nothing_in_it_runs(show: Callable[..., Shown], name: str) -> None:
    shown = show(name)
    assert [url.rpartition("/")[2] for url in shown.requests] == ["page.html"]
    assert shown.errors == []
    assert shown.page.evaluate("window.bad") is None
    assert shown.page.locator("script, link, iframe, img, object, form, a[href]").count() == 0
    policy = shown.page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content") or ""
    assert policy.startswith("default-src 'none';")
    assert "script" not in policy


@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", KINDS)
def test_the_verdict_is_seen_without_scrolling(show: Callable[..., Shown], name: str, screen: dict[str, int]) -> None:
    for language in ("fr", "en") if name in {"three", "unproven"} else ("fr",):
        page = show(name, language, viewport=screen).page
        box = page.locator(".verdict").bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= screen["height"] / 2
        proven = page.locator(".amounts").bounding_box()
        assert proven is not None
        assert proven["y"] + proven["height"] <= screen["height"]


@pytest.mark.parametrize("name", KINDS)
def test_a_phone_never_scrolls_sideways(show: Callable[..., Shown], name: str) -> None:
    page = show(name, viewport=PHONE).page
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("name", KINDS)
def test_there_is_one_first_heading_and_no_level_is_left_out(show: Callable[..., Shown], name: str) -> None:
    levels = show(name).page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => +h.tagName[1])")
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))


def test_title_language_and_verdict_agree(show: Callable[..., Shown]) -> None:
    for name, language, word in (
        ("three", "fr", "PROUVÉ"),
        ("three", "en", "PROVEN"),
        ("unproven", "fr", "NON PROUVÉ"),
        ("unproven", "en", "NOT PROVEN"),
        ("sampled", "fr", "PROUVÉ SUR ÉCHANTILLON"),
    ):
        page = show(name, language).page
        assert page.title().startswith(f"{word} · ")
        expect(page.locator("html")).to_have_attribute("lang", language)
        expect(page.locator("h1 .word")).to_have_text(word)


# What is printed must be readable: WCAG 2 AA asks for 4.5, and 3 for large letters.
_CONTRAST = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
  const ground = node => { for (; node; node = node.parentElement) {
    const c = parse(getComputedStyle(node).backgroundColor); if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  const poor = [];
  for (const node of document.querySelectorAll('body *')) {
    const text = [...node.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join('');
    if (!text || node.closest('.unseen, title, desc') ) continue;
    const style = getComputedStyle(node), svg = node.closest('svg');
    const [a, b] = [light(parse(svg ? style.fill : style.color)), light(ground(svg || node))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.push([text.slice(0, 40), ratio.toFixed(2)]);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["many", "unproven", "drill"])
def test_every_word_has_contrast(show: Callable[..., Shown], name: str, scheme: str) -> None:
    page = show(name, scheme=scheme).page
    assert page.evaluate(_CONTRAST) == []


def test_charts_say_what_they_show_to_who_cannot_see_them(show: Callable[..., Shown]) -> None:
    for name in ("many", "drill"):
        page = show(name).page
        charts = page.locator("figure svg[role=img]")
        assert charts.count() >= 4
        for at in range(charts.count()):
            titled = (charts.nth(at).get_attribute("aria-labelledby") or "").split()
            said = [page.locator(f"[id='{one}']").text_content() or "" for one in titled]
            assert len(said) == 2
            assert all(said)
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", ["unproven", "drill"])
def test_why_it_is_not_proven_is_seen_without_scrolling(
    show: Callable[..., Shown], name: str, screen: ViewportSize
) -> None:
    shown = show(name, viewport=screen)
    first = shown.page.locator(".why li").first
    expect(first).to_be_visible()
    box = first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= screen["height"]


def test_a_table_with_many_words_stands_line_under_line_on_a_phone(show: Callable[..., Shown]) -> None:
    """Columns so narrow that words break inside are what it replaces."""
    shown = show("drill", viewport=PHONE)
    row = shown.page.locator("table.stack tbody tr").first
    boxes = [cell.bounding_box() for cell in row.locator("> *").all() if cell.is_visible()]
    assert len({round(box["x"]) for box in boxes if box}) == 1
    assert row.locator("td[data-label]").count() >= 2


def test_a_hostile_name_is_only_text(show: Callable[..., Shown]) -> None:
    page = show("hostile").page
    text = page.locator("main").inner_text()
    assert "<script>window.bad=1<" in text
    assert "<b>bold</b>" in text
    assert "\\udcff" in text or "\\x1b" in text
    assert page.locator("main b, main i").count() == 0


@pytest.mark.parametrize("name", KINDS)
def test_the_certificate_prints_on_one_page_of_a4(show: Callable[..., Shown], name: str) -> None:
    shown = show(name)
    shown.page.emulate_media(media="print")
    shown.page.set_viewport_size({"width": 680, "height": 1000})  # 180 mm
    box = shown.page.locator(".certificate").bounding_box()
    assert box is not None
    assert box["height"] < 1017  # 269 mm
    pages = len(re.findall(rb"/Type\s*/Page\b", shown.page.pdf(prefer_css_page_size=True)))
    assert 2 <= pages <= 8


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_manual_of_a_job_stands_on_any_screen(chromium: Browser, tmp_path: Path, language: Language) -> None:
    (tmp_path / "cabinet.toml").write_text(JOB, "utf-8")
    manual = read(tmp_path / "cabinet.toml", tool="0.1.0", made="2026-11-22T02:00:00Z")
    shown = Shown(chromium, runbook_html(manual, language), tmp_path, viewport=PHONE)
    page = shown.page
    assert shown.errors == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.locator("h1").count() == 1
    assert page.locator("main i").count() == 0
    text = page.locator("main").inner_text()
    for word in (
        "Cabinet <i>Exemple</i>",
        "OLD_ACCESS_KEY_ID",
        "portability migrate --job cabinet.toml",
        "verify.sh",
        "ssh-keygen",
    ):
        assert word in text
    assert page.evaluate(_CONTRAST) == []
    shown.close()

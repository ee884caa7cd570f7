"""French and English in reports: nothing untranslated, figures and dates as each language writes them, every code named."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from babel.messages.pofile import read_po
from report_samples import Drilled, Line, drill, evidence

from manifests.bagit import Severity
from manifests.manifest import read_manifest
from manifests.receipt import Loss
from manifests.verdict import Signature, judge
from portability.drill import record as drills
from portability.errors import EXIT_CODES
from portability.outcome import Problem
from portability.report import runbook, vocabulary
from portability.report.advice import reasons
from portability.report.gather import Request, gather
from portability.report.language import LANGUAGES, Words
from portability.report.render import groups, report_html
from portability.report.shown import place

ROOT = Path(__file__).resolve().parent.parent.parent
NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)
FRENCH, ENGLISH = Words("fr"), Words("en")


@pytest.fixture(scope="module")
def catalogue_script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("catalogue_script", str(ROOT / "scripts" / "catalogue"))
    spec = importlib.util.spec_from_loader("catalogue_script", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_every_text_has_a_french_translation(catalogue_script: ModuleType) -> None:
    with catalogue_script.FILE.open("rb") as file:
        catalogue = read_po(file, locale="fr")
    assert len(catalogue_script.template()) > 300
    assert list(catalogue_script.lacking(catalogue)) == []


def test_a_text_without_translation_is_caught(catalogue_script: ModuleType) -> None:
    with catalogue_script.FILE.open("rb") as file:
        catalogue = read_po(file, locale="fr")
    catalogue["PROVEN"].string = ""
    catalogue.delete("NOT PROVEN")
    catalogue.add("said no more", "plus dit")
    assert sorted(catalogue_script.lacking(catalogue)) == [
        "no longer used: said no more",
        "not translated: NOT PROVEN",
        "not translated: PROVEN",
    ]


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def handle_data(self, data: str) -> None:
        self.said.add(" ".join(data.split()))


def test_a_french_page_has_no_english_sentence(tmp_path: Path) -> None:
    """Every text of the catalogue that differs in French must not stand in the French page in its English form."""
    lines = [Line(key="a/b", losses=(Loss(name="tags", parked="/tags"),)), Line(key="c", size=None, reason="cold")]
    report = gather(Request(place=str(evidence(tmp_path / "run", lines))), NOW)
    texts = _Texts()
    texts.feed(report_html(report, "fr").partition("</head>")[2])
    english = _Texts()
    english.feed(report_html(report, "en").partition("</head>")[2])
    same = {text for text in texts.said & english.said if any(letter.isalpha() for letter in text)}
    allowed = {"Source", "Date", "Signature", "Archive", "SHA-256"}
    assert {text for text in same if " " in text and "://" not in text and "portability " not in text} <= allowed, same


def test_french_writes_numbers_with_narrow_spaces_and_commas() -> None:
    assert FRENCH.number(1_234_567) == "1\u202f234\u202f567"
    assert FRENCH.percent(99.98) == "99,98\u202f%"
    assert FRENCH.size(3_200_000) == "3,2\u00a0Mo"
    assert FRENCH.size(999) == "999\u00a0o"
    assert FRENCH.duration(3725) == "1\u00a0h 02\u00a0min"
    assert FRENCH.duration(90_000) == "1\u00a0j 01\u00a0h"


def test_english_writes_numbers_with_commas_and_points() -> None:
    assert ENGLISH.number(1_234_567) == "1,234,567"
    assert ENGLISH.percent(99.98) == "99.98%"
    assert ENGLISH.size(3_200_000) == "3.2\u00a0MB"
    assert ENGLISH.size(0) == "0\u00a0B"
    assert ENGLISH.duration(0.42) == "0.4\u00a0s"


def test_dates_and_times_say_that_they_are_utc() -> None:
    assert FRENCH.moment("2026-11-22T01:30:00Z") == "22 novembre 2026 à 01:30\u00a0UTC"
    assert ENGLISH.moment("2026-11-22T01:30:00Z") == "22 November 2026 at 01:30\u00a0UTC"
    assert FRENCH.day("2027-01-01") == "1 janvier 2027"
    assert FRENCH.moment("") == ""


def test_french_texts_have_the_spaces_and_apostrophes_of_french() -> None:
    told = FRENCH.text("The archive is encrypted: without a key it can be intact at most, not proven.")
    assert told.startswith("L’archive est chiffrée\u00a0: ")
    values = FRENCH.text(
        "%(count)s things were left out, for reasons that the practice accepted in advance.", count="3"
    )
    assert values.startswith("3 éléments")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_that_the_program_uses_has_a_name(language: str) -> None:
    problems = {*Problem.__args__, *drills.Problem.__args__, *(f"V{number}" for number in range(1, 23))}
    assert problems <= set(vocabulary.PROBLEMS)
    assert {state.value for state in Signature} <= set(vocabulary.SIGNATURES)
    assert set(EXIT_CODES) == set(runbook.EXIT_CODES)
    assert {"read", "reported", "listed", "none"} == set(vocabulary.LEVELS)
    assert Severity.REJECT  # the rules above are those of the verifier


def test_every_reason_of_the_verdict_has_words(tmp_path: Path) -> None:
    """A new sentence in `judge` must get its French one."""
    folder = evidence(
        tmp_path / "run",
        [Line(key="a", evidence="listed"), Line(key="b", size=None, reason="cold")],
        census={"lines": 3, "bytes": 5, "kinds": {"object": 3}, "root": "00" * 32},
    )
    empty = evidence(tmp_path / "empty", [])
    skipped = evidence(tmp_path / "skipped", [Line(key="a", size=None)])
    reasons = []
    for place_, more in ((folder, {"evidence": {"read": 5}}), (folder, {}), (empty, {}), (skipped, {})):
        with (place_ / "manifest.jsonl").open("rb") as stream:
            verdict = judge(
                read_manifest(stream),
                findings=2,
                unchecked=1,
                signature=Signature.INVALID,
                signature_demanded=True,
                **more,  # type: ignore[arg-type]  # one of its parameters
            )
        reasons += verdict.reasons
    assert len(set(reasons)) >= 12
    for reason in reasons:
        french, english = vocabulary.reason(FRENCH, reason), vocabulary.reason(ENGLISH, reason)
        assert french, reason
        assert english, reason
        assert french != english


def test_findings_of_a_drill_are_told_with_their_facts(tmp_path: Path) -> None:
    finding = drills.Finding(problem="disappeared", count=12, facts={"allowed": 5, "bytes": 7_000_000, "cold": 3})
    folder = drill(tmp_path, Drilled(proven=False, findings=(finding,)))
    html = report_html(gather(Request(place=str(folder)), NOW), "fr")
    assert "admis\u00a0: 5 · volume\u00a0: 7\u00a0Mo · en stockage froid\u00a0: à réhydrater d’abord: 3" in html
    assert "NON PROUVÉ" in html


def test_long_values_come_in_groups_and_urls_without_options() -> None:
    assert groups("0123456789abcdef01") == ["01234567", "89abcdef", "01"]
    assert groups("SHA256:AbCdEfGhIj") == ["SHA256:", "AbCdEfGh", "Ij"]
    assert (
        place("s3://cabinet?endpoint=https://s3.old.example&region=fr-par") == "s3://cabinet (https://s3.old.example)"
    )
    assert place("sftp://cabinet@new.example/home") == "sftp://cabinet@new.example/home"
    assert place("urn:uuid:1") == "urn:uuid:1"


def test_money_is_written_as_each_language_does() -> None:
    assert FRENCH.money("1234.01", "EUR").replace("\u202f", " ").replace("\u00a0", " ") == "1 234,01 €"
    assert ENGLISH.money("0.01", "EUR") == "€0.01"


def test_each_reason_says_how_much_and_one_of_a_kind_is_not_counted(tmp_path: Path) -> None:
    found = (
        drills.Finding(problem="disappeared", count=1200, facts={"allowed": 5}),
        drills.Finding(problem="shrank", count=1, facts={"before_objects": 4000, "objects": 1200}),
    )
    report = gather(Request(place=str(drill(tmp_path, Drilled(proven=False, findings=found)))), NOW)
    assert [sentence for sentence, _ in reasons(report, ENGLISH)] == [
        "Disappeared from the source since the last drill, more than the threshold allows: 1,200 (admitted: 5).",
        "The source holds half of what it held, or less (before: 4,000, now: 1,200).",
    ]
    assert "au-delà du seuil admis : 1 200 (admis : 5)." in reasons(report, FRENCH)[0][0].replace(
        "\u202f", " "
    ).replace("\u00a0", " ")


def test_a_folder_is_shown_as_a_path_and_a_service_with_its_address() -> None:
    assert place("file:///media/chiffr%C3%A9%20disque") == "/media/chiffré disque"
    assert place("s3://cabinet?endpoint=https://s3.old.example&style=path") == "s3://cabinet (https://s3.old.example)"

"""A report as one HTML page that asks for nothing, and as PDF."""

from __future__ import annotations

import functools
import shlex
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from portability.archive.verifier import FINGERPRINT_TEXT
from portability.errors import PlaceError
from portability.report import vocabulary
from portability.report.advice import advice, headline, reasons, summary
from portability.report.charts import FAIR, GOOD, LIGHT, PAGE, POOR
from portability.report.language import Language, Words
from portability.report.model import Report
from portability.report.pictures import folder_name, pictures
from portability.report.runbook import EXIT_CODES, Runbook, reference_kind
from portability.report.shown import place

MARKS = {"good": GOOD, "fair": FAIR, "poor": POOR}


def report_html(report: Report, language: Language, *, paper: bool = False) -> str:
    """The page; with `paper` the drawings have colours of their own, because no style sheet reaches into them in a PDF."""
    words, colors = Words(language), LIGHT if paper else PAGE
    told = headline(report, words)
    return _page(
        "report.html.j2",
        words,
        report=report,
        headline=told,
        mark_color=colors[MARKS[told.mark]],
        summary=summary(report, words),
        advice=advice(report, words),
        charts=pictures(report, words, colors),
        folder_name=functools.partial(folder_name, words=words),
        reasons=reasons(report, words),
        fingerprint_text=FINGERPRINT_TEXT[language],
        facts=functools.partial(vocabulary.facts, words),
    )


def runbook_html(runbook: Runbook, language: Language) -> str:
    """The manual of one job."""
    return _page(
        "runbook.html.j2", Words(language), runbook=runbook, exit_codes=EXIT_CODES, reference_kind=reference_kind
    )


def pdf(html: str) -> bytes:
    """The page as a tagged PDF (PDF/UA-1). PlaceError if the library that writes it, or what that needs, is not there."""
    try:
        from weasyprint import HTML
    except ImportError as error:
        raise PlaceError(_NO_PDF, hint="pip install 'portability-toolkit[report]'") from error
    except OSError as error:  # it loads Pango from the system when it is imported
        raise PlaceError(
            f"{_NO_PDF}: {error}",
            hint="install Pango (Debian: apt install libpango-1.0-0 libpangoft2-1.0-0), or print the HTML page to PDF",
        ) from error
    written: bytes = HTML(string=html, url_fetcher=_fetch_nothing).write_pdf(pdf_variant="pdf/ua-1")
    return written


_NO_PDF = "a PDF needs WeasyPrint and the Pango library"


def _fetch_nothing(url: str, *arguments: Any, **options: Any) -> Any:
    raise ValueError(f"a report asks for nothing, and not for {url}")


def _page(template: str, words: Words, **values: Any) -> str:
    environment = _environment(words.language)
    return environment.get_template(template).render(
        words=words,
        lang=words.language,
        style=Markup(files(__package__).joinpath("templates", "style.css").read_text("utf-8")),  # noqa: S704 - our own file
        named=functools.partial(vocabulary.named, words),
        vocabulary=vocabulary,
        place=place,
        **values,
    )


@functools.cache
def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=True),
        extensions=["jinja2.ext.i18n"],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_translations(Words(language).translations, newstyle=True)  # type: ignore[attr-defined]  # the extension adds it
    environment.policies["ext.i18n.trimmed"] = True
    environment.filters["groups"] = groups
    environment.filters["quoted"] = quoted
    return environment


def quoted(word: str) -> str:
    """A word of a command on the page, as the shell of any Unix wants it; a page is read elsewhere than it was made."""
    return shlex.quote(word)


def groups(text: str, size: int = 8) -> list[str]:
    """A long value in pieces that a person can copy without losing the place."""
    kind, colon, rest = text.rpartition(":")
    return [f"{kind}{colon}"] * bool(colon) + [rest[at : at + size] for at in range(0, len(rest), size)]

"""French and English: translated texts, and numbers, sizes, dates and durations as each language writes them."""

from __future__ import annotations

import functools
import gettext
import io
import re
from datetime import date
from decimal import Decimal
from importlib.resources import files
from typing import Literal

from babel.core import Locale
from babel.dates import format_date, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, format_decimal

from manifests.canonical import time_of

Language = Literal["fr", "en"]
LANGUAGES: tuple[Language, ...] = ("fr", "en")

NARROW, WIDE = "\u202f", "\u00a0"
"""Spaces that no line is broken at."""

_UNITS = {"fr": ("o", "ko", "Mo", "Go", "To", "Po"), "en": ("B", "kB", "MB", "GB", "TB", "PB")}
_PAUSES = ((re.compile(r" (?=[;!?]|%(?!\())"), NARROW), (re.compile(r" (?=:(?:\s|$))"), WIDE), (re.compile(r"(?<=«) | (?=»)"), WIDE))  # fmt: skip
_APOSTROPHE = re.compile(r"(?<=\w)'(?=\w)")


def N_(text: str) -> str:  # noqa: N802 - the name that gettext's tools look for
    """Mark a text for the catalogue; it is translated where it is shown."""
    return text


@functools.cache
def catalogue(language: Language) -> gettext.NullTranslations:
    """The translations of a language: the texts in the code are the English ones."""
    if language == "en":
        return gettext.NullTranslations()
    with files(__package__).joinpath("locale", f"{language}.po").open("rb") as file:
        texts = read_po(file, locale=language)
    for message in texts:
        if message.string:
            several = isinstance(message.string, list | tuple)
            message.string = tuple(map(_spaced, message.string)) if several else _spaced(str(message.string))
    compiled = io.BytesIO()
    write_mo(compiled, texts)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _spaced(text: str) -> str:
    """French has spaces of its own before high punctuation, and a round apostrophe, which nobody types."""
    for pause, space in _PAUSES:
        text = pause.sub(space, text)
    return _APOSTROPHE.sub("’", text)


class Words:
    """One language's words and figures."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self.translations = catalogue(language)
        self._locale = Locale.parse("fr_FR" if language == "fr" else "en_GB")

    def text(self, message: str, **values: object) -> str:
        """A marked text in this language."""
        told = self.translations.gettext(message) if message else ""
        return told % values if values else told

    def number(self, value: int) -> str:
        """1234567 -> "1 234 567" with narrow no-break spaces, or "1,234,567"."""
        return format_decimal(value, locale=self._locale)

    def decimal(self, value: float, places: int = 2) -> str:
        """1.5 -> "1,5"."""
        return format_decimal(value, f"#,##0.{'#' * places}", locale=self._locale)

    def percent(self, value: float) -> str:
        """99.98 -> "99,98 %"."""
        return f"{self.decimal(value)}{NARROW if self.language == 'fr' else ''}%"

    def size(self, count: float) -> str:
        """Bytes in decimal units, as practices are sold them: 3200000 -> "3,2 Mo"."""
        units = _UNITS[self.language]
        step = 0
        while count >= 1000 and step < len(units) - 1:
            count, step = count / 1000, step + 1
        rounded = self.number(int(count)) if step == 0 else self.decimal(count, 0 if count >= 100 else 1)
        return f"{rounded}{WIDE}{units[step]}"

    def money(self, amount: str, currency: str) -> str:
        """ "0.01" and EUR -> "0,01 €"."""
        return format_currency(Decimal(amount), currency, locale=self._locale)

    def octets(self, count: int) -> str:
        """Bytes, all of them: "3 200 000 octets"."""
        told = self.translations.ngettext("%(count)s byte", "%(count)s bytes", count)
        return told % {"count": self.number(count)}

    def day(self, text: str) -> str:
        """ "2026-11-22" or an RFC 3339 time -> "22 novembre 2026"."""
        return format_date(date.fromisoformat(text[:10]), "long", locale=self._locale)

    def short_day(self, text: str) -> str:
        """ "2026-11-22" -> "22/11/2026"."""
        return format_date(date.fromisoformat(text[:10]), "dd/MM/yyyy", locale=self._locale)

    def moment(self, text: str) -> str:
        """An RFC 3339 time -> "22 novembre 2026 à 01:30 UTC"; empty for none."""
        if not text:
            return ""
        when = time_of(text)
        told = self.text(N_("%(day)s at %(time)s UTC"), day=self.day(text), time=format_time(when, "HH:mm", locale=self._locale))  # fmt: skip
        return told.replace(" UTC", f"{WIDE}UTC")

    def clock(self, text: str, *, seconds: bool = False) -> str:
        """An RFC 3339 time -> "01:30"."""
        return format_time(time_of(text), "HH:mm:ss" if seconds else "HH:mm", locale=self._locale)

    def duration(self, seconds: float) -> str:
        """3725 -> "1 h 02 min"."""
        if seconds < 10:
            return f"{self.decimal(seconds, 1)}{WIDE}s"
        whole = round(seconds)
        if whole < 60:
            return f"{whole}{WIDE}s"
        if whole < 3600:
            return f"{whole // 60}{WIDE}min {whole % 60:02}{WIDE}s"
        if whole < 86400:
            return f"{whole // 3600}{WIDE}h {whole % 3600 // 60:02}{WIDE}min"
        day = "j" if self.language == "fr" else "d"
        return f"{self.number(whole // 86400)}{WIDE}{day} {whole % 86400 // 3600:02}{WIDE}h"

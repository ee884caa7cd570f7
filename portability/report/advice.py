"""The words of the first page: the verdict, what it says in one sentence, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass

from portability.report.language import N_, Words
from portability.report.model import Finding, Report
from portability.report.vocabulary import PROBLEMS, facts, named, reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """`title` is what the page is, `word` its verdict, `mark` how it looks: good, fair or poor."""

    title: str
    word: str
    mark: str


_TITLES = {
    ("migration", True): N_("Certificate of migration"),
    ("migration", False): N_("Report of a migration"),
    ("archive", True): N_("Certificate of an archive"),
    ("archive", False): N_("Report of an archive"),
    ("drill", True): N_("Certificate of an exit drill"),
    ("drill", False): N_("Report of an exit drill"),
}


def headline(report: Report, words: Words) -> Headline:
    """Title and verdict."""
    verdict = report.verdict
    title = words.text(_TITLES[report.kind, verdict.proven])
    if verdict.proven:
        word = words.text(N_("PROVEN ON A SAMPLE") if _sampled(report) else N_("PROVEN"))
        return Headline(title=title, word=word, mark="good")
    return Headline(
        title=title, word=words.text(N_("NOT PROVEN")), mark="poor" if verdict.state == "altered" else "fair"
    )


def summary(report: Report, words: Words) -> list[str]:
    """What the verdict means, in a sentence or two."""
    return [words.text(text) % values for text, values in _summary(report, words)]


def _summary(report: Report, words: Words) -> list[tuple[str, dict[str, str]]]:
    state, kind = report.verdict.state, report.kind
    if state == "unfinished":
        return [(N_("The run was not finished. What follows is what it counted so far; nothing of it is proven."), {})]
    if kind == "drill" and not report.verdict.proven:
        return [
            (N_("This drill does not show that everything could leave this host today. The reasons stand below."), {})
        ]
    if state == "altered":
        if kind == "archive":
            return [(N_("The archive is altered or incomplete. Do not rely on this copy."), {})]
        return [(N_("Something differs from what the evidence says. Do not rely on this copy."), {})]
    if state == "not-proven" and kind == "archive":
        return [(N_("The archive is intact as far as it can be seen. It does not prove that everything is in it."), {})]
    if state == "not-proven":
        return [(N_("It is not shown that everything arrived. Do not close the account at the outgoing host."), {})]
    amount = {"things": words.number(report.proven.things), "size": words.size(report.proven.bytes)}
    told = [(_PROVEN[kind], amount)]
    if report.drill and report.drill.scope.sample:
        sample = report.drill.scope.sample
        told = [
            (
                N_(
                    "%(drawn)s of %(of)s things were drawn, exported, restored elsewhere, and are identical. With %(confidence)s "
                    "confidence fewer than %(fewer)s of all are damaged."
                ),
                {
                    "drawn": words.number(sample.drawn),
                    "of": words.number(sample.of),
                    "confidence": words.percent(sample.confidence_percent),
                    "fewer": words.number(sample.fewer_than),
                },
            )
        ]
    if report.selection:
        told.append((N_("This holds for a part of the source only, which the job chose."), {}))
    if report.lost:
        told.append(
            (
                N_("%(count)s things were left out, for reasons that the practice accepted in advance."),
                {"count": words.number(report.lost)},
            )
        )
    return told


_PROVEN = {
    "migration": N_("All that was carried, %(things)s things (%(size)s), was read back at the destination and is identical, byte for byte."),
    "archive": N_("All %(things)s things (%(size)s) that the archive holds are intact, and are what the source listed."),
    "drill": N_("All that came out, %(things)s things (%(size)s), was restored elsewhere and is identical, byte for byte."),
}  # fmt: skip


def advice(report: Report, words: Words) -> list[str]:
    """What to do next, in order."""
    proven, kind = report.verdict.proven, report.kind
    steps: tuple[str, ...]
    if report.verdict.state == "unfinished":
        steps = _UNFINISHED
    elif kind == "drill":
        steps = _DRILL_GOOD if proven else _DRILL_BAD
    elif proven:
        steps = _archive_good(report) if kind == "archive" else _MIGRATION_GOOD
    elif kind == "archive":
        steps = _ARCHIVE_BAD if report.verdict.state == "altered" else _ARCHIVE_UNPROVEN
    else:
        steps = _MIGRATION_BAD
    return [words.text(step) for step in steps]


def _archive_good(report: Report) -> tuple[str, ...]:
    signed = report.signature is not None and report.signature.fingerprint
    return (_COMPARE, *_ARCHIVE_GOOD) if signed else _ARCHIVE_GOOD


def reasons(report: Report, words: Words) -> list[tuple[str, bool]]:
    """Why it is not proven; with False a sentence of another program's, which stands in English."""
    if report.kind == "drill":
        return [(_finding(one, words), True) for one in report.findings if one.fails]
    told = [(sentence, reason(words, sentence)) for sentence in report.verdict.reasons]
    return [(sentence if known is None else known, known is not None) for sentence, known in told]


def _finding(one: Finding, words: Words) -> str:
    """What was found, how often where that says something, and what is known beside it."""
    what, said = named(words, PROBLEMS, one.problem), facts(words, one.facts)
    if one.problem not in _ONCE:
        what = words.text(N_("%(what)s: %(number)s"), what=what, number=words.number(one.count))
    return f"{what} ({', '.join(said)})." if said else f"{what}."


_ONCE = frozenset({"nothing-found", "shrank", "census", "clock"})
"""Findings that there can be one of."""


def _sampled(report: Report) -> bool:
    return report.drill is not None and report.drill.scope.kind == "sample"


_PAPER = N_("Copy the root value above on paper, with the date and a signature.")
_KEEP = N_("Keep the evidence in two places that neither host holds. It names patients: protect it like the data.")
_MIGRATION_GOOD = (
    _PAPER,
    _KEEP,
    N_("Have the handover statement signed by both hosts (last page)."),
    N_(
        "Open a few documents and images at the new host with the people who use them: bytes are proven here, not meaning."
    ),
    N_("Only then ask the outgoing host to erase its copies, and for its certificate of destruction."),
)
_MIGRATION_BAD = (
    N_("Do not close the account at the outgoing host, and do not ask it to erase anything."),
    N_("Read below why it is not proven; the details file names each thing."),
    N_("Mend what they name, then run the same command again: it brings what is missing."),
    N_("Then make this report again."),
)
_UNFINISHED = (
    N_("Run the same command again: it goes on where it stopped."),
    N_("Until then do not close the account at the outgoing host."),
    N_("Then make this report again."),
)
_COMPARE = N_("Compare the fingerprint above with the one on paper: only then is the origin of the archive shown.")
_ARCHIVE_GOOD = (
    _PAPER,
    N_(
        "Keep two copies in two places, and never with the signing key. An archive is as confidential as the record itself."
    ),
    N_("Check every copy once a year: verify.html in a browser is enough."),
)
_ARCHIVE_BAD = (
    N_("Do not rely on this copy, and do not erase any other one."),
    N_("Check the other copies; restore only from one that is intact."),
    N_("The details file names every file that differs."),
)
_ARCHIVE_UNPROVEN = (
    N_("Read below why it is not proven: a key or a base archive may be missing here, or things may be missing in it."),
    N_("Do not close the account at the outgoing host, and do not erase any other copy."),
    N_("Then make this report again."),
)
_DRILL_GOOD = (
    _PAPER,
    N_("Keep the record of this drill with those before it."),
    N_("Compare what disappeared with what the practice itself deleted."),
    N_("Hold the next drill when it is due: what is true today is not true for ever."),
)
_DRILL_BAD = (
    N_(
        "Look at each reason above, and ask the host about those that are its own; findings.csv beside the drill names each thing."
    ),
    N_("Until they are explained, close nothing and erase nothing."),
    N_("Hold the drill again as soon as they are mended."),
)

"""`portability report`: one page for the practice, detail for the auditor, and what a program needs, of evidence, archives, drills."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from portability.cli import options
from portability.cli.app import command as make
from portability.cli.results import headline
from portability.cli.screen import Screen
from portability.cli.words import number, table
from portability.outcome import printable

if TYPE_CHECKING:
    from portability.report.details import Pseudonyms
    from portability.report.language import Language
    from portability.report.model import Report


@make(
    "report",
    examples="""
        portability report ./exit-2026 --open
        portability report ./exit-2026 --lang en --pdf --details findings.csv
        portability report ./exit-2026 --statement handover.json
        portability report ./exports/portability-cabinet-20261121T090500Z-24e51ca2 --signer SHA256:…
        portability report ./exit-2026 --pseudonymise --key-file ./pseudonyms.key --details findings.csv
        portability report ./exit-2026 --key-file ./pseudonyms.key --resolve P-ABCD-EFGH-IJKL-MNOP
    """,
)
@click.argument("place", metavar="EVIDENCE|DRILL|ARCHIVE", required=False)
@click.option("--lang", "language", type=click.Choice(["fr", "en"]), default="fr", show_default=True, help="Language.")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Where the page goes.  [default: report-NAME-LANG.html here]")  # fmt: skip
@click.option("--pdf", is_flag=True, help="Also a PDF beside the page.")
@click.option("--open", "show", is_flag=True, help="Open the page in the browser.")
@click.option("--details", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="All keys behind the counts, as CSV, for your eyes only.")  # fmt: skip
@click.option(
    "--folder-names", is_flag=True, help="Show folders by name: only where no name of a folder names a person."
)
@click.option("--pseudonymise", is_flag=True, help="Keyed pseudonyms instead of keys and names of folders.")
@click.option("--key-file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Key of the pseudonyms; made if it is not there.")  # fmt: skip
@click.option("--resolve", multiple=True, metavar="PSEUDONYM", help="Only say what a pseudonym stands for. Repeatable.")
@click.option("--statement", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write the handover statement, or show who signed it.")  # fmt: skip
@click.option("--credentials", metavar="REF", help=f"Credentials of a url: {options.REFERENCE}")
@options.archive
@click.option("--workers", type=click.IntRange(1, 256), metavar="N", help="Worker processes that check an archive.")
@click.option("--schema", is_flag=True, help="Only print the JSON Schema of the report's JSON form.")
def command(
    screen: Screen,
    *,
    place: str | None,
    language: Language,
    out: Path | None,
    pdf: bool,
    show: bool,
    details: Path | None,
    resolve: tuple[str, ...],
    statement: Path | None,
    schema: bool,
    **flags: Any,
) -> int:
    """Make the report that a practice keeps and signs.

    Of a migration's evidence, of an archive, or of a drill: one HTML page that asks nothing of anyone, with the verdict and
    what to copy on paper first, then the detail. Beside it lies the same for programs, as JSON. It holds counts only; keys
    go into --details. An archive is verified for it; evidence and drills are read as they are. The exit code is the
    verdict's: 0 only if everything is proven.
    """
    if schema:
        return _print_schema(screen)
    if place is None:
        raise click.UsageError("Missing argument 'EVIDENCE|DRILL|ARCHIVE'.", click.get_current_context())
    need_the_extra()
    from portability.report.details import details as open_details
    from portability.report.gather import gather

    pseudonyms = _pseudonyms(flags["key_file"], wanted=flags["pseudonymise"] or bool(resolve))
    if resolve:
        return _resolve(screen, place, flags["credentials"], resolve, pseudonyms)
    progress = screen.progress()
    page = free_page(out, f"report-{Path(place.rstrip('/')).absolute().name}-{language}")
    progress.phase("read and check")
    with open_details(details, pseudonyms if flags["pseudonymise"] else None) as sink:
        report = gather(_request(place, pseudonyms, flags), datetime.now(UTC), sink)
    if statement is not None:
        report = _with_statement(report, statement)
    progress.phase("draw")
    files = write_report(report, language, page, pdf=pdf)
    progress.done()
    _tell(screen, report, [*files, *(file for file in (details, statement) if file is not None)])
    if show:
        click.launch(str(page))
    return report.verdict.exit_code


def _request(place: str, pseudonyms: Pseudonyms | None, flags: dict[str, Any]) -> Any:
    from portability.cli.verify import archive_at
    from portability.errors import EvidenceError
    from portability.report.gather import Request

    reference = options.evidence_credentials(place, flags["credentials"])
    archive = archive_at(place, reference)
    asked = [f"--{name}" for name in ("signer", "identity", "base") if flags[name]]
    if asked and archive is None:
        raise EvidenceError(f"{printable(place)} is no archive, and {', '.join(asked)} is for archives")
    return Request(
        place=place,
        archive=archive,
        credentials=reference,
        signer=flags["signer"],
        identity=flags["identity"],
        bases=(options.location(flags["base"], reference),) if flags["base"] else (),
        workers=flags["workers"],
        names=flags["folder_names"],
        pseudonyms=pseudonyms if flags["pseudonymise"] else None,
    )


def need_the_extra() -> None:
    """UsageError before any work if what draws and translates is not installed."""
    import importlib.util

    from portability.errors import UsageError

    missing = [name for name in ("babel", "jinja2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"reports need {', '.join(missing)}", hint="pip install 'portability-toolkit[report]'")


def _pseudonyms(key_file: Path | None, *, wanted: bool) -> Pseudonyms | None:
    from portability.errors import UsageError
    from portability.report.details import load_key

    if not wanted and key_file is None:
        return None
    if key_file is None:
        raise UsageError("pseudonyms need a key: add --key-file FILE", hint="it is made if it is not there; keep it")
    if not wanted:
        raise UsageError("--key-file is for --pseudonymise or --resolve", hint="add one of them")
    return load_key(key_file)


def _resolve(
    screen: Screen, place: str, credentials: str | None, wanted: tuple[str, ...], pseudonyms: Pseudonyms | None
) -> int:
    from manifests.manifest import ManifestReader
    from portability.archive.held import open_manifest

    assert pseudonyms is not None  # noqa: S101 - `wanted` made it necessary
    with open_manifest(place, credentials=credentials) as stream:
        found = [
            (pseudonym, printable(key)) for pseudonym, key in pseudonyms.resolve(wanted, ManifestReader(stream).lines())
        ]
    lines = table(found, right=frozenset())
    unknown = len({one.strip().upper() for one in wanted}) - len({pseudonym for pseudonym, _ in found})
    if unknown:
        lines.append(f"  {number(unknown)} of them stand for nothing here: another key file, or other evidence")
    screen.result("\n".join(lines), [{"type": "pseudonym", "pseudonym": one, "key": key} for one, key in found])
    return 3 if unknown else 0


def _with_statement(report: Report, path: Path) -> Report:
    from portability.report import handover

    data = handover.write_or_check(path, report)
    return replace(report, statement_sha256=handover.digest(data), signed=handover.signed(path))


def free_page(out: Path | None, name: str) -> Path:
    """The file for a page: UsageError if the one asked for is taken; without one the first free name in the current folder."""
    import os

    from portability.errors import UsageError

    if out is not None:
        taken = [path for path in _beside(out) if os.path.lexists(path)]
        if taken:
            raise UsageError(f"{taken[0]} exists already", hint="name another file: nothing is overwritten")
        if not out.absolute().parent.is_dir():
            raise UsageError(f"--out {out}: there is no such folder", hint="make the folder, or name another file")
        return out
    plain = "".join(one if one.isalnum() or one in "-_." else "-" for one in name)[:100]
    numbered = (Path(f"{plain}{f'-{count}' if count > 1 else ''}.html") for count in itertools.count(1))
    return next(path for path in numbered if not any(os.path.lexists(one) for one in _beside(path)))


def _beside(page: Path) -> tuple[Path, Path, Path]:
    return page, page.with_suffix(".json"), page.with_suffix(".pdf")


def write_report(report: Report, language: Language, page: Path, *, pdf: bool = False) -> list[Path]:
    """The page, the same as JSON and, if asked, as PDF, beside one another. PlaceError."""
    from portability.report import render

    html, values, paper = _beside(page)
    files: list[tuple[Path, bytes]] = [(html, render.report_html(report, language).encode())]
    if pdf:
        files.append((paper, render.pdf(render.report_html(report, language, paper=True))))
    files.append((values, report.to_json().encode()))
    return write_files(files)


def write_files(files: list[tuple[Path, bytes]]) -> list[Path]:
    """Files for their owner's eyes, never over others; all of them, or none. PlaceError."""
    from manifests.files import write_private
    from portability.errors import PlaceError

    written: list[Path] = []
    try:
        for path, data in files:
            write_private(path, data)
            written.append(path)
    except OSError as error:
        for path in written:
            with contextlib.suppress(OSError):
                path.unlink()
        raise PlaceError(f"{path} cannot be written: {error.strerror or error}", hint="name another file: --out FILE") from error  # fmt: skip
    return written


def _tell(screen: Screen, report: Report, files: list[Path]) -> None:
    from portability.report.advice import headline as words_of
    from portability.report.advice import reasons, summary
    from portability.report.language import Words

    english = Words("en")
    amounts = {"found": report.found, "carried": report.moved, "proven": report.proven, "not proven": report.not_proven}
    rows = [(label, number(amount.things)) for label, amount in amounts.items()]
    lines = [
        headline(report.verdict.proven, words_of(report, english).word, words_of(report, english).word),
        *summary(report, english),
        *(f"  · {sentence}" for sentence, _ in reasons(report, english)),
        "",
        *table([*rows, ("objects lost", number(report.lost))]),
        "",
        *table([("written", str(file)) for file in files], right=frozenset()),
        *table([("signed", f"{one.role}: {one.state}  {one.fingerprint}") for one in report.signed], right=frozenset()),
    ]
    screen.result("\n".join(lines), _records(report, files))


def _records(report: Report, files: list[Path]) -> Iterator[dict[str, Any]]:
    yield {"type": "report", **report.plain()}
    yield from ({"type": "file", "path": str(file)} for file in files)


def _print_schema(screen: Screen) -> int:
    from portability.report.model import dumps_schema
    from portability.report.model import schema as values

    screen.result(dumps_schema().rstrip(), [values()])
    return 0

"""`portability diff`: what appeared, disappeared or changed between two exports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from portability.cli import options
from portability.cli.app import command as make
from portability.cli.screen import Screen
from portability.cli.words import number, size_text, table

if TYPE_CHECKING:
    from portability.archive.diff import Difference, DiffResult

_NAMES = {"bytes": "other content", "attributes": "other attributes"}
_SHOWN_FOLDERS = 20


@make(
    "diff",
    examples="""
        portability diff ./exports/portability-cabinet-20261121T090500Z-24e51ca2 ./exports/cabinet-2027.zip
        portability diff ./exit-2026 s3://vault/exit-2027 --findings differences.jsonl
        portability diff ./before ./after --ignore modified --json
    """,
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--ignore",
    multiple=True,
    metavar="NAME",
    help="Do not compare this member of the lines, such as modified. Repeatable.",
)
@click.option(
    "--findings",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all differences here, as JSON lines.",
)
@click.option("--a-credentials", metavar="REF", help=f"Reference to the credentials of A: {options.REFERENCE}")
@click.option("--b-credentials", metavar="REF", help="The same, for B.")
def command(
    screen: Screen,
    *,
    first: str,
    second: str,
    ignore: tuple[str, ...],
    findings: Path | None,
    a_credentials: str | None,
    b_credentials: str | None,
) -> int:
    """Compare two archives by their manifests.

    A and B are archives (also packed or at a url), evidence folders or manifests. No object is read: verify both first.
    """
    from portability.archive.diff import diff
    from portability.errors import UsageError

    if findings and not findings.absolute().parent.is_dir():
        raise UsageError(
            f"--findings {findings}: there is no such folder", hint="make the folder, or name another file"
        )
    credentials = (
        options.evidence_credentials(first, a_credentials),
        options.evidence_credentials(second, b_credentials),
    )
    result = diff(first, second, ignore=ignore, findings=findings, credentials=credentials)
    screen.result(_text(result, first, second), _records(result, first, second))
    return result.exit_code


def _text(result: DiffResult, first: str, second: str) -> str:
    from portability.outcome import printable

    things, octets = result.tally.things, result.tally.octets
    head = (
        click.style("EQUAL", fg="green", bold=True) if result.equal else click.style("DIFFERENT", fg="red", bold=True)
    )
    compared = f"{number(result.same)} of {number(result.first.count)} things in A and {number(result.second.count)} in B are alike"
    blocks = [f"{head}\n{compared}"]
    blocks.append(
        "\n".join(table([(_NAMES.get(name, name), number(things[name]), size_text(octets[name])) for name in things]))
    )
    if result.folders:
        ordered = sorted(result.folders.items(), key=lambda pair: (-sum(pair[1].things.values()), pair[0]))
        rows = [
            (printable(name) or "(in no folder)", *(number(tally.things[change]) for change in tally.things))
            for name, tally in ordered[:_SHOWN_FOLDERS]
        ]
        heads = ("", *(_NAMES.get(name, name) for name in things))
        more = f", the first {_SHOWN_FOLDERS} of {number(len(ordered))}" if len(ordered) > _SHOWN_FOLDERS else ""
        lines = table([heads, *rows], right=frozenset(range(1, 5)))
        blocks.append("\n".join([click.style(f"Folders{more}", bold=True), *lines]))
        count = sum(things.values())
        shown = [_row(one) for one in result.differences]
        more = f", the first {len(shown)} of {number(count)}" if count > len(shown) else ""
        blocks.append("\n".join([click.style(f"Differences{more}", bold=True), *table(shown, right=frozenset())]))
    facts = [("A", printable(first)), ("B", printable(second))]
    facts += [
        (name, "only a selection of its source")
        for name, summary in (("A", result.first), ("B", result.second))
        if summary.header.selection is not None
    ]
    blocks.append("\n".join(table(facts, right=frozenset())))
    return "\n\n".join(blocks)


def _row(one: Difference) -> tuple[str, str, str]:
    from portability.outcome import printable

    version = f" (version {one.order})" if one.order is not None else ""
    if one.members:
        detail = ", ".join(map(printable, one.members))
    else:
        detail = size_text(one.size) if one.size is not None else one.kind.replace("_", " ")
    return _NAMES.get(one.change, one.change), printable(one.key) + version, detail


def _records(result: DiffResult, first: str, second: str) -> Iterator[dict[str, Any]]:
    def plain(tally: Any) -> dict[str, dict[str, int]]:
        return {name: {"things": tally.things[name], "bytes": tally.octets[name]} for name in tally.things}

    yield {
        "type": "diff",
        "verdict": "EQUAL" if result.equal else "DIFFERENT",
        "a": {"place": first, "lines": result.first.count, "manifest_sha256": result.first.sha256},
        "b": {"place": second, "lines": result.second.count, "manifest_sha256": result.second.sha256},
        "same": result.same,
        **plain(result.tally),
        "folders": {name: plain(tally) for name, tally in result.folders.items()},
    }
    yield from ({"type": "difference", **one.plain()} for one in result.differences)

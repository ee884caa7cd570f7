"""A job from one TOML file. Apart from the job itself: what checks a file takes longer to load than a small run takes."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.errors import LocationError
from portability.errors import UsageError
from portability.job import NOWHERE, Job, Level, Policy, Selection
from portability.job_tables import DrillTable, Place, PricesTable, Strict
from portability.throttle import Timetable


class _Selection(Strict):
    prefix: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    versions: Literal["all", "latest"] = "all"


class _Policy(Strict):
    retries: Annotated[int, Field(ge=0, le=100)] = 5
    connections: Annotated[int | None, Field(ge=1, le=256)] = None
    workers: Annotated[int | None, Field(ge=1, le=256)] = None
    engine: Annotated[str | None, Field(description="a Dask scheduler whose workers do it, dask://host:8786")] = None
    bwlimit: Annotated[str | None, Field(description='"512k", or "08:00,512k 20:00,off"')] = None
    until: Annotated[str | None, Field(description='a time of day at which the run stops, "06:00"')] = None


class JobFile(Strict):
    """A job file: TOML, checked against this model; `schema()` is its JSON Schema."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["destination", "evidence"]}, {"required": ["drill"]}]}
    )
    name: Annotated[str | None, Field(min_length=1, description="by default the name of the file")] = None
    source: Place
    destination: Place | None = None
    evidence: Annotated[
        str | None, Field(description="folder for the ledger and the evidence, relative to the job file")
    ] = None
    demands: Level = "read"
    accepts: tuple[str, ...] = ()
    merge: bool = False
    using: str | None = None
    selection: _Selection = _Selection()
    policy: _Policy = _Policy()
    drill: DrillTable | None = None
    prices: PricesTable | None = None


def schema() -> dict[str, Any]:
    """The JSON Schema of a job file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **JobFile.model_json_schema()}


def load(path: Path, *, drill: bool = False) -> Job:
    """The job in a TOML file. UsageError names the file, the line and the fix.

    With `drill` the file needs no destination and no evidence folder, but a table [drill].
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the job file cannot be read: {error}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    try:
        model = JobFile.model_validate(values)
    except ValidationError as error:
        raise UsageError(_explain(path, text, error)) from error
    policy = model.policy
    for name in ("drill",) if drill else ("destination", "evidence"):
        if getattr(model, name) is None:
            raise UsageError(f"{path}: {_LACKS[name][0]}", hint=_LACKS[name][1])
    try:
        return Job(
            name=model.name or path.stem,
            source=model.source.location(),
            destination=model.destination.location() if model.destination else NOWHERE,
            evidence=path.parent / (model.evidence or ""),
            selection=Selection(
                prefix=model.selection.prefix,
                include=model.selection.include,
                exclude=model.selection.exclude,
                versions=model.selection.versions,
            ),
            policy=Policy(
                retries=policy.retries,
                connections=policy.connections,
                workers=policy.workers,
                engine=policy.engine,
                bandwidth=Timetable.parse(policy.bwlimit) if policy.bwlimit else Timetable(),
                until=policy.until,
            ),
            demands=model.demands,
            accepts=model.accepts,
            merge=model.merge,
            using=model.using,
            drill=model.drill.terms(path.parent.absolute()) if model.drill else None,
            prices=model.prices.prices() if model.prices else None,
        )
    except (LocationError, UsageError) as error:
        raise UsageError(f"{path}: {error}") from error


_LACKS = {
    "drill": (
        "there is no table [drill], so this job file is for a migration only",
        'add a table [drill], with every = "90d" in it; its other keys: portability job-schema',
    ),
    "destination": (
        "there is no table [destination], so this job file says from where, and not to where",
        "add [destination] with a url; to rehearse only: portability drill --job FILE",
    ),
    "evidence": (
        '"evidence" is missing',
        'name the folder that keeps the proof: evidence = "exit-2026", above the tables',
    ),
}
"""What a job file may lack for what is asked of it, and what to write."""


def _explain(path: Path, text: str, error: ValidationError) -> str:
    """One line for each mistake: file, line, what is wrong, what to write."""
    lines = []
    for fault in error.errors(include_url=False, include_input=False):
        names = [str(name) for name in fault["loc"]]
        where = f"{path}:{_line(text, names)}"
        if fault["type"] == "extra_forbidden":
            known = _known(names[:-1])
            lines.append(f'{where}: unknown key "{".".join(names)}"; known here: {", ".join(known)}')
        elif fault["type"] == "missing":
            lines.append(f'{where}: "{".".join(names)}" is missing')
        else:
            lines.append(f'{where}: "{".".join(names)}": {fault["msg"]}')
    return "\n".join(lines)


def _known(table: list[str]) -> list[str]:
    model: Any = JobFile
    for name in table:
        if name in model.model_fields:
            model = next(filter(_is_table, _parts(model.model_fields[name].annotation)), model)
    return sorted(model.model_fields)


def _parts(annotation: Any) -> list[Any]:
    """An annotation and what it is made of: `DrillTable | None`, `list[DeadlineTable]`."""
    return [annotation, *(part for inner in get_args(annotation) for part in _parts(inner))]


def _is_table(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _line(text: str, names: list[str]) -> int:
    """The line of a key in TOML text, by its table header and its name; the table's or the first line if it is absent."""
    table, found, start = "", 1, ".".join(names[:-1])
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line)
        if header:
            table = header[1].replace('"', "")
            if table == start or table == ".".join(names):
                found = number
        elif table == start and re.match(rf'\s*"?{re.escape(names[-1])}"?\s*[=.]', line):
            return number
    return found


def dumps_schema() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"

"""Canaries: known objects planted at the old host, required in every later export; their list holds no secret."""

from __future__ import annotations

import hashlib
import io
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from connectors import AlreadyExistsError, ConnectorError, Entry, Location, NotFoundError, connect
from manifests.canonical import time_text
from manifests.digests import stream_sha256
from manifests.files import create_private
from portability.drill.record import Canaries
from portability.errors import EvidenceError, RefusedError, UsageError
from portability.job import overlap
from portability.shell import command_line

NAME = "canaries.json"
FORMAT = "portability-canaries/1"
FOLDER = "portability-canary"
"""Where they stand below a prefix; a practice that finds them reads in them what they are."""
State = Literal["intact", "missing", "changed", "stale", "unreadable"]
_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What was planted at one time. Everything in it follows from `seed`, `number` and `planted`."""

    number: int
    planted: str
    seed: str
    canaries: tuple[Canary, ...]
    complete: bool = False
    """Whether all of it was seen at the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aviary:
    """The recorded list: every generation that was planted at one place, oldest first."""

    place: str
    generations: tuple[Generation, ...] = ()
    format: str = FORMAT

    @property
    def newest(self) -> Generation | None:
        """The generation that must come out: the newest one that was ever complete."""
        return next((one for one in reversed(self.generations) if one.complete), None)

    @property
    def keys(self) -> list[str]:
        return [canary.key for canary in self.newest.canaries] if self.newest else []

    def state(self, canary: Canary, sha256: str | None) -> State:
        """What a digest found under a canary's key means."""
        if sha256 is None:
            return "missing"
        if sha256 == canary.sha256:
            return "intact"
        known = {old.sha256 for one in self.generations for old in one.canaries if old.key == canary.key}
        newer = {
            one.sha256
            for last in self.generations
            if not last.complete
            for one in last.canaries
            if one.key == canary.key
        }
        return "intact" if sha256 in newer else "stale" if sha256 in known else "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flock:
    """How the canaries were found; keys are ours, and no one's personal data."""

    states: Mapping[str, State] = field(default_factory=dict)

    def counts(self) -> Canaries:
        def of(*names: State) -> int:
            return sum(state in names for state in self.states.values())

        return Canaries(
            planted=len(self.states),
            intact=of("intact"),
            missing=of("missing", "unreadable"),
            changed=of("changed"),
            stale=of("stale"),
        )

    @property
    def well(self) -> bool:
        return all(state == "intact" for state in self.states.values())


def load(folder: Path, place: Location) -> Aviary:
    """The list kept in a drills folder; empty where none was planted. EvidenceError, UsageError for another place's."""
    path = folder / NAME
    try:
        plain = json.loads(path.read_bytes())
        aviary = Aviary(
            place=plain["place"],
            generations=tuple(
                Generation(**{**one, "canaries": tuple(Canary(**canary) for canary in one["canaries"])})
                for one in plain["generations"]
            ),
            format=plain["format"],
        )
    except FileNotFoundError:
        return Aviary(place=place.url)
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"the list of canaries {path} is damaged", hint="restore it from a backup") from error
    if aviary.format != FORMAT:
        raise EvidenceError(f"{path} is not a list of canaries that this version knows")
    if aviary.place != place.url and not overlap(Location.parse(aviary.place), place):
        raise UsageError(
            f"the canaries in {path} were planted at {aviary.place}, not at {place}",
            hint="use one drills folder for each source",
        )
    return aviary


def plant(
    place: Location,
    folder: Path,
    *,
    prefixes: Sequence[str] = ("",),
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Generation:
    """Put a new generation at the host, or complete the one that a killed run began. Only canaries are ever replaced.

    The list is on disk before the first byte goes out. RefusedError if something else stands under a canary's key.
    """
    aviary = load(folder, place)
    begun = aviary.generations[-1] if aviary.generations and not aviary.generations[-1].complete else None
    if begun is None:
        number = len(aviary.generations) + 1
        begun = _hatch(number, time_text(now().replace(microsecond=0)), secrets.token_hex(16), prefixes)
        aviary = replace(aviary, generations=(*aviary.generations, begun))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _save(aviary, folder)
    host: Any = connect(place)
    try:
        for canary in begun.canaries:
            _put(host, aviary, begun, canary)
    finally:
        host.close()
    done = replace(begun, complete=True)
    _save(replace(aviary, generations=(*aviary.generations[:-1], done)), folder)
    return done


def _put(host: Any, aviary: Aviary, generation: Generation, canary: Canary) -> None:
    there = _read(host, canary.key)
    if there == canary.sha256:
        return
    known = {old.sha256 for one in aviary.generations for old in one.canaries if old.key == canary.key}
    if there is not None and there not in known:
        raise RefusedError(
            f'something that is no canary of this drills folder stands at "{canary.key}" in {host.uri}; it was left as it is',
            hint="use the drills folder that planted it, move it away, or plant below another --prefix",
        )
    data = content(generation, canary.key)
    entry = Entry(key=canary.key, size=len(data), media_type="text/plain" if canary.key.endswith(".txt") else None)
    try:
        host.put(entry, io.BytesIO(data), replace=there is not None)
    except AlreadyExistsError as error:
        raise RefusedError(f'"{canary.key}" appeared in {host.uri} while canaries were planted') from error
    if _read(host, canary.key) != canary.sha256:
        raise RefusedError(f"{host.uri} does not give a planted canary back as it was sent")


def check(place: Location, folder: Path) -> Flock:
    """Read every canary at the host. The connector's errors pass if the host cannot be opened at all."""
    aviary = load(folder, place)
    newest = aviary.newest
    if newest is None:
        reference = ("--credentials", place.credentials) if place.credentials else ()
        plant_them = command_line("portability", "canary", "plant", place.url, *reference, "--drills", folder)
        raise UsageError(f"no canaries were planted at {place}", hint=plant_them)
    return look(place, aviary)


def look(place: Location, aviary: Aviary) -> Flock:
    """The state of the newest generation, read at the host."""
    host: Any = connect(place)
    try:
        states: dict[str, State] = {}
        for canary in aviary.newest.canaries if aviary.newest else ():
            try:
                states[canary.key] = aviary.state(canary, _read(host, canary.key))
            except ConnectorError:
                states[canary.key] = "unreadable"
        return Flock(states=states)
    finally:
        host.close()


def _read(host: Any, key: str) -> str | None:
    try:
        body = host.open(host.stat(key))
        try:
            return stream_sha256(body)[0]
        finally:
            body.close()
    except NotFoundError:
        return None


def _hatch(number: int, planted: str, seed: str, prefixes: Sequence[str]) -> Generation:
    empty = Generation(number=number, planted=planted, seed=seed, canaries=())
    keys = [
        f"{prefix}{FOLDER}/{name}"
        for prefix in dict.fromkeys(prefixes)
        for name in ("témoin de portabilité.txt", "temoin-64k.bin", "temoin-vide.txt")
    ]
    made = []
    for key in keys:
        data = content(empty, key)
        made.append(Canary(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest()))
    return replace(empty, canaries=tuple(made))


def content(generation: Generation, key: str) -> bytes:
    """The bytes of a canary: a text for people, 64 KiB that no compression shortens, or nothing at all."""
    if key.endswith("vide.txt"):
        return b""
    told = f"{generation.number}\n{generation.planted}\n{generation.seed}\n{key}"
    if key.endswith(".bin"):
        blocks = _BYTES // 32
        return b"".join(hashlib.sha256(f"{told}\n{block}".encode()).digest() for block in range(blocks))
    return (
        "Fichier témoin de portabilité : il ne contient aucune donnée de santé. Ne pas le modifier ni le supprimer :\n"
        "chaque exercice de réversibilité vérifie qu'il ressort intact de l'hébergement.\n\n"
        "A portability canary: it holds no health data. Please neither change nor remove it:\n"
        f"every exit drill checks that it comes out of this host intact.\n\n{told}\n"
    ).encode()


def _save(aviary: Aviary, folder: Path) -> None:
    part = folder / f"{NAME}.part"
    with create_private(part) as out:
        out.write(json.dumps(asdict(aviary), ensure_ascii=False, indent=2).encode() + b"\n")
    part.replace(folder / NAME)

"""A small synthetic practice: what the demo moves and the tests compare. No one in it exists.

The same seed gives the same bytes, as long as the libraries that write PDF, JPEG and gzip stay at their versions.
"""

from __future__ import annotations

import gzip
import os
import random
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from connectors.keys import file_path_problem
from portability.demo import documents

SURNAMES = ("ÉPREUVE", "ESSAI", "TÉMOIN", "EXEMPLE", "FICTIF", "MODÈLE", "SPÉCIMEN", "MAQUETTE")
FORENAMES = ("Zoé", "Noël", "Anaïs", "Loïc", "Maëlle", "Jérôme", "Inès", "Gaël", "Éloïse")
MEBIBYTE = 2**20
START = datetime(2024, 1, 8, 8, 30, tzinfo=UTC)

AWKWARD_NAMES = (
    unicodedata.normalize("NFC", "jumeau composé é.txt"),
    unicodedata.normalize("NFD", "jumeau composé é.txt"),  # the same to a person, another key
    "A.txt",
    "a.txt",
    "deux  espaces .txt",
    " espace devant.txt",
    "guillemets \"doubles\" et 'simples'.txt",
    "l'été.txt",
    "100 % et %20.txt",
    "a+b=c.txt",
    "n#1 & suite?.txt",
    "[crochets] {accolades} $HOME; ~.txt",
    "antislash\\milieu.txt",
    "dent 🦷.txt",
    "-tiret devant.txt",
    ".cache",
    "point final.",
    "l" + "o" * 190 + "ng.txt",
)
"""Names that every POSIX file system and S3 can hold."""

EXTREME_KEYS = ("a//b", "/lead", "trail/", "dir/../up", ".")
"""Keys that only S3 can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One state of one object. Things of one key follow one another, the oldest first."""

    key: str
    data: bytes = field(default=b"", repr=False)
    media_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    modified: datetime = START
    """What a file system shows; an object store knows the time of the upload only."""
    deleted: bool = False
    """A delete marker."""


def generate(
    seed: int = 2026, *, patients: int = 40, large: int = 24 * MEBIBYTE, extreme: bool = False
) -> Iterator[Thing]:
    """The things of the practice. `large` is the approximate size of the one big volume; 0 leaves it out.

    UnsupportedError if the packages of the extra `demo` are missing.
    """
    names = [f"{SURNAMES[index % len(SURNAMES)]} {FORENAMES[index % len(FORENAMES)]}" for index in range(patients)]
    for number, name in enumerate(names, 1):
        yield from _patient(seed, number, name)
    yield from _office(seed, names)
    yield from _history()
    if large:
        yield _volume(seed, large)
    for name in AWKWARD_NAMES:
        yield Thing(
            key=f"divers/{name}", data=f"Contenu de {name!r}\n".encode(), media_type="text/plain; charset=utf-8"
        )
    yield Thing(key="divers/vide.txt", media_type="text/plain")
    if extreme:
        for key in EXTREME_KEYS:
            yield Thing(key=key, data=b"" if key.endswith("/") else f"Contenu de {key!r}\n".encode())


def current(things: Iterable[Thing]) -> dict[str, Thing]:
    """Key -> its newest state, without the deleted ones."""
    newest = {thing.key: thing for thing in things}
    return {key: thing for key, thing in newest.items() if not thing.deleted}


def write_tree(folder: Path, things: Iterable[Thing]) -> list[str]:
    """Lay the current objects under `folder` (created), and beside them what only file systems have: a symbolic link, a hard
    link, an empty directory, an unusual mode, an old time.

    Returns the keys that this file system cannot hold: keys that are no path, twins where case or normal form is folded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    left_out = []
    held = current(things)
    for key, thing in held.items():
        if file_path_problem(key) or not _write(folder / key, thing):
            left_out.append(key)
    (folder / "dossier vide").mkdir(exist_ok=True)
    shown = folder / "cabinet" / "agenda.csv"
    (folder / "liens").mkdir(exist_ok=True)
    (folder / "liens" / "agenda en dur.csv").hardlink_to(shown)
    try:
        (folder / "liens" / "agenda.csv").symlink_to(Path("..", "cabinet", "agenda.csv"))
    except OSError:  # Windows keeps symbolic links for those who have the right
        left_out.append("liens/agenda.csv")
    settings = folder / "cabinet" / "configuration.json"
    settings.chmod(0o604)
    os.utime(settings, ns=(883_612_800_123_456_700, 883_612_800_123_456_700))  # 1998, below the second
    return left_out


def _write(path: Path, thing: Thing) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(thing.data)
    except FileExistsError:
        return False
    except OSError:
        if os.name == "posix":
            raise
        return False  # a name that Windows does not take
    stamp = int(thing.modified.timestamp())
    os.utime(path, (stamp, stamp))
    return True


def _dice(seed: int, *parts: object) -> random.Random:
    # One generator per thing: more patients do not change the bytes of the others.
    return random.Random("/".join(map(str, (seed, *parts))))  # noqa: S311  # repeatable, not secret


def _patient(seed: int, number: int, name: str) -> Iterator[Thing]:
    label = f"{number:04d}"
    folder = f"patients/patient-{label} {name}"
    dice = _dice(seed, "patient", number)
    visit = START + timedelta(days=3 * number, minutes=dice.randrange(480))
    metadata = {"patient": label, "source-system": "demo"}
    for index, subject in enumerate(("Lettre de liaison", "Compte rendu opératoire")[: 1 + number % 2]):
        title = f"{visit:%Y-%m-%d} {subject}.pdf"
        paragraphs = [
            f"Objet : {subject.lower()}, dossier n° {label}.",
            f"Cher confrère, j'ai reçu {name}, personne inventée, à propos d'une gêne légère.",
            " ".join(dice.choice(("Examen normal.", "Évolution favorable.", "À revoir à Noël.")) for _ in range(30)),
        ]
        yield Thing(
            key=f"{folder}/courriers/{title}",
            data=documents.pdf(f"{subject} - {name}", paragraphs, visit),
            media_type="application/pdf",
            headers={
                "content_disposition": f"attachment; filename*=UTF-8''{quote(title)}",
                "cache_control": "private, no-store",
                "content_language": "fr",
            },
            metadata={**metadata, "letter": str(index + 1)},
            tags={"classe": "courrier", "conservation": "20 ans"},
            modified=visit,
        )
    yield Thing(
        key=f"{folder}/labo/{label}.hl7",
        data=documents.laboratory(name, number, dice, visit),
        media_type="x-application/hl7-v2+er7",
        metadata=metadata,
        tags={"classe": "labo"},
        modified=visit,
    )
    yield Thing(
        key=f"{folder}/photos/IMG_{number:04d}.JPG",
        data=documents.jpeg(dice),
        media_type="image/jpeg",
        metadata=metadata,
        tags={"classe": "photo", "service": "Échographie"} if number % 5 == 0 else {"classe": "photo"},
        modified=visit,
    )
    for instance in range(1, 3 if number % 2 else 1):
        yield Thing(
            key=f"{folder}/imagerie/{documents.uid(number, 'ct', instance)}.dcm",
            data=documents.dicom(
                patient=name,
                number=number,
                study="ct",
                instance=instance,
                taken=visit,
                side=256,
                frames=1,
                pixels=dice.randbytes(256 * 256 * 2),
            ),
            media_type="application/dicom",
            metadata=metadata,
            tags={"classe": "imagerie"},
            modified=visit,
        )


def _office(seed: int, names: Sequence[str]) -> Iterator[Thing]:
    dice = _dice(seed, "office")
    yield Thing(key="cabinet/agenda.csv", data=documents.agenda_csv(names, dice, START), media_type="text/csv")
    yield Thing(key="cabinet/base.sql", data=documents.dump_sql(names, dice), media_type="application/sql")
    yield Thing(key="cabinet/réunions.ics", data=documents.calendar_ics(START), media_type="text/calendar")
    yield Thing(key="cabinet/configuration.json", data=documents.settings_json(), media_type="application/json")
    yield Thing(
        key="cabinet/journal.log",
        data=gzip.compress(b"2024-01-08 ouverture\n" * 500, mtime=0),
        media_type="text/plain",
        headers={"content_encoding": "gzip", "expires": "Mon, 08 Jan 2046 08:30:00 GMT"},
    )


def _history() -> Iterator[Thing]:
    rules = "cabinet/règlement.txt"
    for number, text in enumerate(("Première version.\n", "Deuxième version, corrigée.\n"), 1):
        yield Thing(
            key=rules,
            data=text.encode(),
            media_type="text/plain; charset=utf-8",
            metadata={"edition": str(number)},
            tags={"etat": "remplace" if number == 1 else "valide"},
            modified=START + timedelta(days=number),
        )
    draft = "cabinet/brouillon supprimé.txt"
    yield Thing(key=draft, data=b"Supprime, mais son ancienne version existe.\n", media_type="text/plain")
    yield Thing(key=draft, deleted=True)


def _volume(seed: int, size: int) -> Thing:
    """One study as a single big file: a cone beam volume, cheap to make and hard to compress."""
    side = 256
    block = _dice(seed, "volume").randbytes(side * side * 2)
    frames = max(2, size // len(block))
    # Each frame is the block turned by one more row, so that no two parts of the file are alike.
    turned = (block[step:] + block[:step] for step in ((frame * side * 2) % len(block) for frame in range(frames)))
    return Thing(
        key="imagerie/volume CBCT.dcm",
        data=documents.dicom(
            patient="ÉPREUVE Volume",
            number=9999,
            study="cbct",
            instance=1,
            taken=START,
            side=side,
            frames=frames,
            pixels=b"".join(turned),
        ),
        media_type="application/dicom",
        metadata={"patient": "9999"},
        tags={"classe": "imagerie"},
    )

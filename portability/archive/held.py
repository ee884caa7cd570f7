"""The manifest of whatever holds one: an archive, a tar or zip of one, an evidence folder, or the file itself, at any url."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

from portability.archive.transport import PackedTree, packed_form
from portability.archive.verifier_manifest import MANIFEST
from portability.errors import EvidenceError, PlaceError
from portability.evidence import local_folder, open_evidence

_FLAT = "manifest.jsonl"
_ENCRYPTED = f"{MANIFEST}.age"


@contextmanager
def open_manifest(place: str, *, credentials: str | None = None) -> Iterator[BinaryIO]:
    """The bytes of the manifest; EvidenceError if there is none that can be read, PlaceError if the place cannot be opened."""
    folder = local_folder(place)
    with ExitStack() as stack:
        if folder is None:
            try:
                stream = stack.enter_context(open_evidence(place, MANIFEST, credentials=credentials))
            except (EvidenceError, PlaceError):
                stream = stack.enter_context(open_evidence(place, _FLAT, credentials=credentials))
        elif folder.is_file() and packed_form(folder):
            tree = stack.enter_context(PackedTree(folder))
            try:
                stream = stack.enter_context(tree.open(MANIFEST))
            except FileNotFoundError as error:
                raise EvidenceError(f"{place} holds no {MANIFEST}", hint="name an archive, or a packed one") from error
        elif (folder / _ENCRYPTED).is_file():
            raise EvidenceError(
                f"{place} is encrypted",
                hint=f"decrypt its manifest (age -d -i KEY {_ENCRYPTED} > manifest.jsonl), then name that file",
            )
        else:
            name = MANIFEST if (folder / "metadata").is_dir() else _FLAT
            stream = stack.enter_context(open_evidence(place, name))
        yield stream

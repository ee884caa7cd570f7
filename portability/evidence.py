"""Evidence at any url: local folders, and whatever smart-open reads; hosts of ours are opened with our own checks."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from connectors import ConnectorError, Location, NotFoundError, Stream, connect
from portability.errors import EvidenceError, PlaceError, UsageError

_COMPRESSIONS = ("", ".gz", ".zst", ".bz2", ".xz")


class _Raw(io.RawIOBase):
    """A connector's stream as the file object that smart-open's decompression wants."""

    def __init__(self, body: Stream) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._body.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._body.close()
        super().close()


def is_url(text: str) -> bool:
    return "://" in text and not text.startswith("file://")


def local_folder(evidence: str) -> Path | None:
    """The folder of an evidence path or file url; None for other urls."""
    return None if is_url(evidence) else Path(Location.parse(evidence).path)


@contextmanager
def open_evidence(evidence: str, name: str, *, credentials: str | None = None) -> Iterator[BinaryIO]:
    """A file of an evidence folder for reading, also compressed (`manifest.jsonl.gz`). `evidence` may name the file itself.

    EvidenceError if it is not there, PlaceError if the place cannot be opened.
    """
    folder = local_folder(evidence)
    if folder is not None:
        with _local(folder, name) as stream:
            yield stream
        return
    scheme = evidence.split("://", 1)[0].lower()
    if scheme in {"http", "https"}:
        with _web(evidence, name) as stream:
            yield stream
        return
    location = Location.parse(evidence, credentials=credentials)
    base, file = (location.path.rpartition("/")[0], location.path.rpartition("/")[2])
    wanted = [f"{name}{ending}" for ending in _COMPRESSIONS]
    if file in wanted:
        wanted, location = [file], Location.parse(evidence.replace(f"/{file}", "", 1), credentials=credentials)
    del base
    host = connect(location)
    try:
        for candidate in wanted:
            try:
                entry = host.stat(candidate)
            except NotFoundError:
                continue
            raw = io.BufferedReader(_Raw(host.open(entry)), 1 << 20)
            with _decompressed(raw, candidate) as stream:
                yield stream
            return
        raise EvidenceError(f"{evidence} holds no {name}", hint="name the evidence folder of a finished run")
    except ConnectorError as error:
        if isinstance(error, NotFoundError):
            raise EvidenceError(f"{evidence} holds no {name}") from error
        raise
    finally:
        host.close()


@contextmanager
def _local(folder: Path, name: str) -> Iterator[BinaryIO]:
    candidates = [folder] if folder.is_file() else [folder / f"{name}{ending}" for ending in _COMPRESSIONS]
    for candidate in candidates:
        if candidate.is_file():
            try:
                with candidate.open("rb") as raw, _decompressed(raw, candidate.name) as stream:
                    yield stream
            except PermissionError as error:
                raise PlaceError(f"{candidate} cannot be read: {error.strerror}") from error
            return
    if (folder / "ledger.sqlite").exists():
        raise EvidenceError(
            f"{folder} holds an unfinished run: no {name} was sealed",
            hint="run the same migrate command again to finish it",
        )
    if not folder.exists():
        raise PlaceError(f"{folder} does not exist", hint="name an archive, or the evidence folder of a migration")
    if (folder / "bagit.txt").exists():
        raise EvidenceError(f"{folder} holds no {name}", hint="portability verify names every finding")
    raise EvidenceError(
        f"{folder} is neither an archive nor the evidence of a migration: it holds no bagit.txt and no {name}",
        hint="name the archive's own folder, or the evidence folder that the migration wrote",
    )


@contextmanager
def _web(url: str, name: str) -> Iterator[BinaryIO]:
    address = url if url.rstrip("/").endswith((name, f"{name}.gz")) else f"{url.rstrip('/')}/{name}"
    import smart_open  # late: it loads the SDK of every host that it knows, and most runs keep evidence in a folder

    try:
        stream = smart_open.open(address, "rb")
    except Exception as error:  # requests' whole tree of errors, and smart-open's own
        raise PlaceError(f"{address} cannot be opened: {type(error).__name__}") from error
    with stream:
        yield stream


@contextmanager
def _decompressed(raw: Any, name: str) -> Iterator[BinaryIO]:
    if not name.endswith(_COMPRESSIONS[1:]):
        yield raw
        return
    from smart_open import compression  # late, as in _web

    with cast("BinaryIO", compression.compression_wrapper(raw, "rb", filename=name)) as stream:
        yield stream


def copy_out(folder: Path, names: list[str], url: str, *, credentials: str | None = None) -> None:
    """Copy sealed evidence files to a second place (never over something else), and read each back."""
    if not is_url(url) and not url.startswith("file://"):
        url = Path(url).absolute().as_uri()
    location = Location.parse(url, credentials=credentials)
    if location.scheme in {"http", "https"}:
        raise UsageError("evidence cannot be copied to a web address; name an s3, sftp or file location")
    host = connect(location)
    try:
        if hasattr(host, "prepare"):
            host.prepare()
        for name in names:
            data = (folder / name).read_bytes()
            _copy(host, name, data)
    finally:
        host.close()


def _copy(host: Any, name: str, data: bytes) -> None:
    from connectors import AlreadyExistsError, Entry
    from connectors.streams import BytesStream

    try:
        host.put(Entry(key=name, size=len(data)), BytesStream(data))
    except AlreadyExistsError:
        pass
    body = host.open(host.stat(name))
    try:
        found = body.read()
    finally:
        body.close()
    if found != data:
        raise EvidenceError(f"{host.uri} holds another {name}; choose an empty place for the copy")

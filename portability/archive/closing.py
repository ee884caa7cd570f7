"""Closing an archive: the tag files, in the order in which no prefix of it is an archive (archive-format.md, section 5)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from connectors import AlreadyExistsError, Entry, Location, Preparer, Stream, connect
from manifests import bagit, crate, signing
from manifests.digests import file_sha256
from manifests.files import create_private, publish, write_private
from manifests.header import Header
from manifests.manifest import Summary
from manifests.provenance import parse_provenance
from portability import __version__
from portability.archive import encryption, lists, page, profile
from portability.archive.place import PRIVATE
from portability.archive.timestamp import stamp
from portability.errors import EvidenceError, PlaceError, RefusedError
from portability.job import Job
from portability.ledger import Ledger
from portability.progress import Progress
from portability.seal import MANIFEST, events, header, read_back, write_manifest

SIGNATURE = "signatures/tagmanifest-sha256.txt.sig"


class SourceChangedError(RefusedError):
    """Things were replaced or removed at the source after the census: this snapshot can never be whole."""


class Signer(Protocol):
    """Signs with the practice's key, wherever that is."""

    @property
    def public(self) -> signing.PublicKey: ...

    def sign(self, message: bytes, namespace: str) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an archive's owner decides."""

    practice: str
    name: str
    identifier: str
    """`urn:uuid:…`"""
    inner: Location
    names: str = "utf8"
    recipients: tuple[str, ...] = ()
    sha512: bool = False
    ro_crate: bool = False
    signer: Signer | None = None
    timestamp: str | None = None
    """Address of a time-stamping authority (RFC 3161)."""
    history: Path | None = None
    delta_of: str | None = None
    """Id of the full archive that holds what did not change."""
    settings: Callable[[], dict[str, Any]] | None = None
    """The source host's own settings, for source.json."""


def staged(work: Path) -> Path:
    """Where the description of an archive lies before it is published."""
    return work / "archive"


def close(terms: Terms, job: Job, ledger: Ledger, progress: Progress) -> Summary:
    """Write, read back and publish everything but the payload. The same call goes on where a killed one stopped.

    RefusedError if the payload is not whole: an archive is closed only over bytes that were all read back.
    """
    _refuse_unless_whole(ledger)
    staging = staged(job.evidence)
    (staging / "metadata").mkdir(parents=True, exist_ok=True, mode=0o700)
    (staging / "signatures").mkdir(exist_ok=True, mode=0o700)
    (staging / "data").mkdir(exist_ok=True, mode=0o700)
    progress.phase("close the archive", ledger.count("state = 'moved'"))
    manifest = staging / "metadata" / MANIFEST
    try:
        if not manifest.exists():
            write_manifest(manifest, _header(terms, job, ledger), ledger, progress)
        summary = read_back(manifest)
        if summary.header.job != ledger.get("job"):
            raise EvidenceError(f"{manifest} belongs to another run", hint="use another --work folder")
        files = list(_tag_files(terms, job, ledger, staging, summary))
        tag_list = lists.write_tag_lists(staging, files, sha512=terms.sha512)
    except OSError as error:
        raise PlaceError(
            f"the archive's description cannot be written to {staging}: {error.strerror or error}",
            hint="make room or rights there, then run the same command again",
        ) from error
    host = connect(terms.inner)
    try:
        if isinstance(host, Preparer):
            host.prepare()  # what a killed run was putting is litter beside the archive's own files
        # The lists last, the tag list last of all: without it there is no archive, only an unfinished folder.
        for name in (*([crate.NAME] if terms.ro_crate else []), *files, *tag_list):
            _publish(host, staging, name)
        for name in _signatures(terms, staging):
            _publish(host, staging, name)
    finally:
        host.close()
    if not (job.evidence / MANIFEST).exists():
        with manifest.open("rb") as clear:
            _copy(clear, job.evidence / MANIFEST)
    progress.done()
    return summary


def _refuse_unless_whole(ledger: Ledger) -> None:
    missing = ledger.count("state IN ('failed', 'planned')")
    wrong = int(ledger.query("SELECT count(*) FROM findings WHERE phase IN ('verify', 'listing')")[0][0])
    if not missing and not wrong:
        return
    if changed := ledger.count("state = 'failed' AND problem IN ('Changed', 'NotFound')"):
        raise SourceChangedError(
            f"the archive was not closed: {changed:,} things changed at the source while it was exported",
            hint="remove the unfinished archive, then run the same command again when the source is quiet",
        )
    failed = (thing.message or "not moved" for thing in ledger.things("state = 'failed'"))
    differing = (f"{finding.problem}: {finding.found}" for finding in ledger.findings(1))
    first = next(chain(failed, differing), "unknown")
    with ledger.transaction():  # the same command tries again what is missing, and looks at everything anew
        ledger.set("phase", "transfer")
        ledger.set("verify_began", "")
        ledger.execute(
            "UPDATE things SET state = 'planned', checked = 0 WHERE action = 'copy' AND (state = 'failed' OR evidence = 'none')"
        )
        ledger.execute("UPDATE things SET replace = 1 WHERE action = 'copy' AND state = 'planned'")
    raise RefusedError(
        f"the archive was not closed: {missing + wrong} things are not there whole (first: {first})",
        hint="run the same command again: it goes on from here",
    )


def _header(terms: Terms, job: Job, ledger: Ledger) -> Header:
    return header(job, ledger, destination=terms.identifier, names=terms.names)


def _tag_files(terms: Terms, job: Job, ledger: Ledger, staging: Path, summary: Summary) -> Iterator[str]:
    """The files outside data/ but the lists, in closing order: each is made once, then left alone."""

    def made(name: str, make: Callable[[], bytes]) -> str:
        if not (staging / name).exists():
            write_private(staging / name, make())
        return name

    def sealed(name: str) -> str:
        """In an encrypted archive nothing that may name a patient is clear."""
        if not terms.recipients:
            return name
        path = staging / f"{name}.age"
        if not path.exists():
            with (staging / name).open("rb") as clear, encryption.encrypted(_File(clear), terms.recipients) as body:
                _copy(body, path)
        return f"{name}.age"

    yield sealed(f"metadata/{MANIFEST}")
    yield made("metadata/manifest.schema.json", profile.manifest_schema)
    yield made("metadata/checkpoint.txt", summary.checkpoint.to_bytes)
    yield made("metadata/provenance.json", lambda: events(job, ledger, summary, kind="export"))
    if terms.ro_crate:  # before the files that count the payload
        made(crate.NAME, lambda: _crate(terms, ledger, staging, summary))
    yield made("metadata/history.jsonl", lambda: _history(terms))
    yield sealed(made("metadata/source.json", lambda: _json(_source(terms, ledger))))
    yield made("metadata/bagit-profile.json", profile.bagit_profile)
    if terms.recipients:
        yield made("metadata/recipients.txt", lambda: "".join(f"{one}\n" for one in terms.recipients).encode())
    yield made("bagit.txt", profile.declaration)
    yield made("bag-info.txt", lambda: _bag_info(terms, ledger, staging, summary))
    fingerprint = terms.signer.public.fingerprint if terms.signer else None
    yield made("README.txt", lambda: page.readme(_reader_facts(terms, ledger, staging, summary, fingerprint)))
    yield made("verify.sh", page.verify_sh)
    yield made("verify.html", page.verify_html)
    yield lists.write_payload_list(staging, ledger)
    if terms.sha512:
        yield lists.write_payload_list_512(staging, ledger, terms.inner)


def _source(terms: Terms, ledger: Ledger) -> dict[str, Any]:
    """What the host says of itself, and how much it listed."""
    census = ledger.get_json("census")
    listed = {name: census[name] for name in ("at", "lines", "bytes", "unsized", "kinds")}
    return {**(terms.settings() if terms.settings else {}), "listed": listed}


def _history(terms: Terms) -> bytes:
    return terms.history.read_bytes() if terms.history and terms.history.exists() else b""


def _reader_facts(terms: Terms, ledger: Ledger, staging: Path, summary: Summary, fingerprint: str | None) -> page.Facts:
    longest = max((len(path.encode("utf-16-le")) // 2 for path, _, _ in lists.payload(ledger, staging)), default=0)
    return page.Facts(
        practice=terms.practice,
        created=summary.header.created,
        files=summary.kinds.get("object", 0),
        fingerprint=fingerprint,
        encrypted=bool(terms.recipients),
        root=summary.root,
        sha512=terms.sha512,
        delta_of=terms.delta_of,
        longest=len(terms.name) + 1 + longest,
    )


def _crate(terms: Terms, ledger: Ledger, staging: Path, summary: Summary) -> bytes:
    """Written after what it speaks of, and published before it, with the payload."""
    names = [
        f"metadata/{MANIFEST}{'.age' if terms.recipients else ''}",
        "metadata/checkpoint.txt",
        "metadata/provenance.json",
    ]
    there = {f"{'/'.join(path.split('/', 2)[:2])}/" for path, _, _ in lists.moved(ledger)}
    return crate.write_crate(
        practice=terms.practice,
        identifier=terms.identifier,
        created=summary.header.created,
        lines=summary.count,
        octets=summary.bytes,
        folders=sorted(there),
        described_by={name: file_sha256(staging / name) for name in names},
        events=parse_provenance((staging / "metadata" / "provenance.json").read_bytes()),
        software={"name": "portability", "version": __version__},
    )


def _signatures(terms: Terms, staging: Path) -> list[str]:
    if terms.signer is None:
        return []
    signer = terms.signer
    allowed = signing.allowed_signers_line("practice", signer.public) + "\n"
    lists.write_once(staging / "signatures" / "allowed_signers", allowed.encode())
    if not (staging / SIGNATURE).exists():
        message = (staging / "tagmanifest-sha256.txt").read_bytes()
        write_private(staging / SIGNATURE, signer.sign(message, signing.ARCHIVE))
    names = ["signatures/allowed_signers", SIGNATURE]
    if terms.timestamp:
        reply, certificates = f"{SIGNATURE}.tsr", f"{SIGNATURE}.crt"
        if not (staging / reply).exists():
            told = stamp(terms.timestamp, (staging / SIGNATURE).read_bytes())
            lists.write_once(staging / certificates, told.certificates)
            write_private(staging / reply, told.reply)  # last: with it, both are there
        names += [certificates, reply]
    return names


def _bag_info(terms: Terms, ledger: Ledger, staging: Path, summary: Summary) -> bytes:
    octets = files = 0
    for _, _, size in lists.payload(ledger, staging):
        octets, files = octets + size, files + 1
    return bagit.write_bag_info(
        [
            ("BagIt-Profile-Identifier", bagit.PROFILE),
            ("Source-Organization", terms.practice),
            ("Bagging-Date", summary.header.created[:10]),
            ("External-Identifier", terms.identifier),
            ("Bag-Group-Identifier", bagit.slug(terms.practice)),
            ("Bag-Software-Agent", f"portability {__version__}"),
            ("Payload-Oxum", f"{octets}.{files}"),
        ]
    )


def _copy(body: Stream, path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    with create_private(part) as out:
        while piece := body.read(1 << 20):
            out.write(piece)
        publish(out, part, path)


def _publish(host: Any, staging: Path, name: str) -> None:
    """Put a file and read it back. What is there already must be the same bytes: nothing is ever replaced."""
    path = staging / name
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            host.put(Entry(key=name, size=size, posix=PRIVATE), _File(file))
        except AlreadyExistsError:
            pass  # a killed run put it, or somebody else did: the next lines tell
    body = host.open(host.stat(name))
    sha256 = hashlib.sha256()
    try:
        while piece := body.read(1 << 20):
            sha256.update(piece)
    finally:
        body.close()
    if sha256.hexdigest() != file_sha256(path):
        raise EvidenceError(
            f"{host.uri} holds another {name} than was written", hint="choose another place for the archive"
        )


class _File:
    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        data: bytes = self._file.read(size)
        return data

    def close(self) -> None:
        """The file is its owner's to close."""


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()

"""Archives for tests: a complete valid one written with `manifests` alone, the worked example, and every way to spoil one."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifests import bagit, provenance, signing
from manifests.census import CensusTally
from manifests.header import Header
from manifests.manifest import ManifestReader, ManifestWriter
from manifests.names import naming, version_path
from manifests.paths import path_bytes
from manifests.receipt import Receipt

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = Path(__file__).parent
PAGE = HERE.parent / "portability" / "archive" / "page"
EXAMPLE = HERE / "manifests" / "data"
SIGNATURE = "signatures/tagmanifest-sha256.txt.sig"
UUID = "urn:uuid:24e51ca2-5067-4598-935a-dac4e327d05a"
JOB = "urn:uuid:7d1b6c1e-0d8f-4d0e-9a55-3f1f2b6f9c11"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@functools.cache
def key(name: str = "portability example key, never use it") -> Ed25519PrivateKey:
    """A signing key that follows from a text; without one, the key of the worked example."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def fingerprint(signer: Ed25519PrivateKey | None = None) -> str:
    """What the practice keeps on paper."""
    return signing.public_key(signer or key()).fingerprint


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One receipt line and its bytes; None is a thing without any (`kind` says what it is)."""

    key: str
    data: bytes | None
    kind: str = "object"
    order: int | None = None
    latest: bool = True
    evidence: str = "read"
    members: Mapping[str, Any] = field(default_factory=dict)
    """More members of the line: tags, target, reason, …"""
    claims: Mapping[str, Any] = field(default_factory=dict)
    """Members that take the place of the true ones."""


def things(contents: Mapping[str, bytes]) -> list[Thing]:
    """Plain objects, in line order."""
    return [Thing(key=name, data=data) for name, data in sorted(contents.items(), key=lambda item: path_bytes(item[0]))]


PRACTICE = things(
    {
        "Résultats/Écho rénale.pdf": b"%PDF-1.7 echo\n",
        "Résultats/été.txt": b"ordonnance\n",
        "labo/0042.hl7": b"MSH|^~\\&|\n",
        "labo/vide": b"",
        "patients/Martin/lettre 1.txt": b"Cher confrere,\n",
        "patients/Martin/lettre 2.txt": b"Cher confrere, encore\n",
        "scanner/irm.dcm": bytes(range(256)) * 300,
    }
)
"""A few documents with accents and blanks."""


def build(
    folder: Path,
    contents: Mapping[str, bytes] | Iterable[Thing] = PRACTICE,
    *,
    sign_with: Ed25519PrivateKey | None = None,
    names: str = "utf8",
    sha512: bool = False,
    accepts: tuple[str, ...] = (),
    demands: str = "read",
    census: Mapping[str, Any] | None = None,
    stored_in: Mapping[str, tuple[str, str]] | None = None,
    seal: Callable[[bytes], bytes] | None = None,
    uuid: str = UUID,
) -> Path:
    """Write a complete archive into this folder (made if need be) and return it.

    `contents` are keys with their bytes, or things in line order. `census` overrides members of the census block.
    `stored_in` makes a delta: key to (archive id, path in it) of what is not stored here. `seal` encrypts.
    """
    listed = things(contents) if isinstance(contents, Mapping) else list(contents)
    (folder / "metadata").mkdir(parents=True)
    (folder / "data").mkdir()
    receipts, tally = [], CensusTally()
    with naming("ascii" if names == "ascii" else "utf8") as paths:
        current: dict[str, str] = {}
        for thing in listed:
            tally.add(thing.key, thing.kind, size=None if thing.data is None else len(thing.data), order=thing.order)
            members: dict[str, Any] = dict(thing.members)
            if thing.data is not None:
                digest = hashlib.sha256(thing.data).hexdigest()
                members |= {"size": len(thing.data), "sha256": digest}
                if stored_in and thing.key in stored_in:
                    archive, place = stored_in[thing.key]
                    members["stored_in"] = {"archive": archive, "path": place}
                else:
                    path = paths.path(thing.key) if thing.latest else version_path(digest)
                    data = thing.data
                    if seal is not None:
                        path, data = f"data/objects/00000/{len(current):08d}.age", seal(thing.data)
                        members["age"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                    current[path] = digest
                    members["path"] = path
                    _write(folder, path, data)
            if thing.order is not None:
                members |= {"order": thing.order, "latest": thing.latest, "version": f"v{thing.order + 1}"}
            salt = base64.b64encode(hashlib.md5(f"{thing.key!r}{thing.order}".encode()).digest()).decode()
            receipts.append(
                Receipt(
                    key=thing.key,
                    kind=thing.kind,
                    evidence=thing.evidence,
                    salt=salt,
                    attempts=1,
                    **{**members, **thing.claims},
                )
            )
    counted = tally.census("2026-11-21T09:01:58Z")
    header = Header(
        job=JOB,
        source="s3://s3.example/cabinet",
        destination=uuid,
        created="2026-11-21T09:05:00Z",
        tool={"name": "portability", "version": "0.1.0"},
        census=type(counted).from_dict({**counted.to_dict(), **(census or {})}),
        demands=demands,
        accepts=accepts,
        names=names,
    )
    with ManifestWriter(folder / "metadata" / "manifest.jsonl", header) as writer:
        for receipt in receipts:
            writer.add(receipt)
        summary = writer.seal()
    _write(folder, "metadata/checkpoint.txt", summary.checkpoint.to_bytes())
    octets = sum((folder / path).stat().st_size for path in current)
    members_of_bag = [
        ("BagIt-Profile-Identifier", bagit.PROFILE),
        ("Source-Organization", "Cabinet Exemple"),
        ("Bagging-Date", "2026-11-21"),
        ("External-Identifier", uuid),
        ("Bag-Group-Identifier", "cabinet-exemple"),
        ("Bag-Software-Agent", "portability 0.1.0"),
        ("Payload-Oxum", f"{octets}.{len(current)}"),
    ]
    _write(folder, "bag-info.txt", bagit.write_bag_info(members_of_bag))
    _fill(folder)
    if seal is not None:
        for name in ("metadata/manifest.jsonl", "metadata/source.json"):
            _write(folder, f"{name}.age", seal((folder / name).read_bytes()))
            (folder / name).unlink()
    close(folder, sign_with=sign_with, payload=True, sha512=sha512)
    return folder


def example(folder: Path, *, sign_with: Ed25519PrivateKey | None = None) -> Path:
    """The archive of the worked example (section 17 of the format), in this folder."""
    contents = [
        b"cent\n", b"console\n", b"%PDF-1.7\n", b"majuscule\n", b"ancienne\n", b"minuscule\n", b"fils\n", b"latin-1\n", b"hostile\n",
    ]  # fmt: skip
    by_digest = {hashlib.sha256(data).hexdigest(): data for data in contents}
    (folder / "metadata").mkdir(parents=True)
    for name in ("manifest.jsonl", "checkpoint.txt"):
        _write(folder, f"metadata/{name}", (EXAMPLE / name).read_bytes())
    for name in ("bag-info.txt", "manifest-sha256.txt"):
        _write(folder, name, (EXAMPLE / name).read_bytes())
    with (EXAMPLE / "manifest.jsonl").open("rb") as stream:
        for line in ManifestReader(stream).lines():
            if "path" in line:
                _write(folder, line["path"], by_digest[line["sha256"]])
    _fill(folder)
    close(folder, sign_with=sign_with)
    return folder


def _fill(folder: Path) -> None:
    """Every other file that stands in an archive."""
    event = provenance.Event(
        type="export",
        start=NOON,
        end=NOON,
        agent=provenance.Agent(role="processor", software={"name": "portability", "version": "0.1.0"}),
        outcome="success",
    )
    _write(folder, "bagit.txt", bagit.DECLARATION)
    _write(folder, "metadata/provenance.json", provenance.write_provenance([event]))
    _write(folder, "metadata/history.jsonl", b"")
    _write(folder, "metadata/source.json", b'{"region":"eu-west-3"}\n')
    profile = {"BagIt-Profile-Info": {"BagIt-Profile-Identifier": bagit.PROFILE}}
    _write(folder, "metadata/bagit-profile.json", json.dumps(profile).encode())
    _write(folder, "metadata/manifest.schema.json", b"{}\n")
    _write(folder, "README.txt", b"Archive d'exemple. Example archive.\n")
    for name in ("verify.sh", "verify.html"):
        real = PAGE / name
        _write(folder, name, real.read_bytes() if real.is_file() else b"placeholder\n")


def close(
    folder: Path, *, sign_with: Ed25519PrivateKey | None = None, payload: bool = False, sha512: bool = False
) -> None:
    """Write the tag manifest anew (the payload lists too, if asked) and sign it, as if nothing had happened."""
    algorithms = ("sha256", "sha512") if sha512 or (folder / "manifest-sha512.txt").exists() else ("sha256",)
    files = sorted(
        (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()),
        key=path_bytes,
    )
    for algorithm in algorithms:
        if payload:
            inside = [path for path in files if path.startswith("data/")]
            _write(folder, f"manifest-{algorithm}.txt", _lines(folder, inside, algorithm))
    outside = {path for path in files if not path.startswith(("data/", "signatures/", "tagmanifest-"))}
    outside |= {f"manifest-{algorithm}.txt" for algorithm in algorithms}
    for algorithm in algorithms:
        _write(folder, f"tagmanifest-{algorithm}.txt", _lines(folder, sorted(outside, key=path_bytes), algorithm))
    if sign_with is not None:
        _sign(folder, sign_with)


def archive_id(folder: Path) -> str:
    return bagit.archive_id(hashlib.sha256((folder / bagit.TAG_LIST).read_bytes()).hexdigest())


def files_in(folder: Path, under: str = "data") -> list[Path]:
    """The regular files below, in order."""
    return sorted(path for path in (folder / under).rglob("*") if path.is_file() and not path.is_symlink())


def _sign(folder: Path, signer: Ed25519PrivateKey) -> None:
    with (folder / bagit.TAG_LIST).open("rb") as stream:
        _write(folder, SIGNATURE, signing.sign(signer, stream, signing.ARCHIVE))
    line = signing.allowed_signers_line("practice", signing.public_key(signer))
    _write(folder, "signatures/allowed_signers", line.encode())


def _lines(folder: Path, paths: Iterable[str], algorithm: str) -> bytes:
    return b"".join(
        hashlib.new(algorithm, (folder / path).read_bytes()).hexdigest().encode() + b"  " + path_bytes(path) + b"\n"
        for path in paths
    )


def _write(folder: Path, path: str, data: bytes) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)


# Alterations: each spoils an archive that was built with `sign_with=key()`.


def _victim(folder: Path) -> Path:
    """A payload file with some bytes."""
    return next(path for path in files_in(folder) if path.stat().st_size > 4)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _append(path: Path, data: bytes) -> None:
    path.write_bytes(path.read_bytes() + data)


def _again(folder: Path, *, payload: bool = False) -> None:
    close(folder, sign_with=key(), payload=payload)


def _change_payload(folder: Path) -> None:
    _flip(_victim(folder))


def _shorten_payload(folder: Path) -> None:
    victim = _victim(folder)
    victim.write_bytes(victim.read_bytes()[:-1])


def _swap_payload(folder: Path) -> None:
    first, second = [path for path in files_in(folder) if path.stat().st_size > 4][:2]
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)


def _rename_payload(folder: Path) -> None:
    victim = _victim(folder)
    victim.rename(victim.with_name(f"{victim.name}.renamed"))


def _rewrite_payload_list(folder: Path) -> None:
    _change_payload(folder)
    _write(folder, bagit.PAYLOAD_LIST, _lines(folder, [p.relative_to(folder).as_posix() for p in files_in(folder)], "sha256"))  # fmt: skip


def _rewrite_both_lists(folder: Path) -> None:
    _change_payload(folder)
    close(folder, payload=True)


def _drop_line(folder: Path, name: str) -> None:
    lines = (folder / name).read_bytes().splitlines(keepends=True)
    (folder / name).write_bytes(b"".join(lines[1:]))


def _unsafe_line(folder: Path) -> None:
    _append(folder / bagit.PAYLOAD_LIST, b"0" * 64 + b"  data/../../../etc/passwd\n")
    _again(folder)


def _malformed_line(folder: Path) -> None:
    _append(folder / bagit.PAYLOAD_LIST, b"not a checksum line\n")
    _again(folder)


def _malformed_tag_line(folder: Path) -> None:
    _append(folder / bagit.TAG_LIST, b"0123  bagit.txt\n")
    _sign(folder, key())


def _line_of_the_other_list(folder: Path) -> None:
    listed = (folder / bagit.PAYLOAD_LIST).read_bytes().splitlines(keepends=True)
    lines = [*(folder / bagit.TAG_LIST).read_bytes().splitlines(keepends=True), listed[0]]
    (folder / bagit.TAG_LIST).write_bytes(b"".join(sorted(lines, key=lambda line: line[66:])))
    _sign(folder, key())


def _tag_list_omits_payload_list(folder: Path) -> None:
    lines = (folder / bagit.TAG_LIST).read_bytes().splitlines(keepends=True)
    (folder / bagit.TAG_LIST).write_bytes(b"".join(line for line in lines if b"  manifest-sha256.txt" not in line))
    _sign(folder, key())


def _change_manifest(folder: Path) -> None:
    path = folder / "metadata" / "manifest.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"attempts":1', b'"attempts":2', 1))
    _again(folder)


def _cut_manifest(folder: Path) -> None:
    path = folder / "metadata" / "manifest.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    _again(folder)


def _other_checkpoint(folder: Path) -> None:
    path = folder / "metadata" / "checkpoint.txt"
    origin, _, root, end = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([origin, b"9999", root, end]))
    _again(folder)


def _hide_a_line(folder: Path) -> None:
    """A payload file and its place in the list go, the manifest still names it."""
    _victim(folder).unlink()
    _fit_oxum(folder)
    _again(folder, payload=True)


def _smuggle(folder: Path) -> None:
    """A payload file that every list knows and no line of the manifest names."""
    _write(folder, "data/files/zzz-added.txt", b"added\n")
    _fit_oxum(folder)
    _again(folder, payload=True)


def _smuggle_beside_the_crate(folder: Path) -> None:
    """The same under a name that ends like the line of the one file which no manifest names."""
    _write(folder, "data/files/zzz  data/ro-crate-metadata.json", b"added\n")
    _fit_oxum(folder)
    _again(folder, payload=True)


def _fit_oxum(folder: Path) -> None:
    sizes = [path.stat().st_size for path in files_in(folder)]
    info = (folder / bagit.BAG_INFO).read_bytes().splitlines(keepends=True)[:-1]
    (folder / bagit.BAG_INFO).write_bytes(b"".join(info) + f"Payload-Oxum: {sum(sizes)}.{len(sizes)}\n".encode())


def _wrong_oxum(folder: Path) -> None:
    info = (folder / bagit.BAG_INFO).read_bytes().splitlines(keepends=True)[:-1]
    (folder / bagit.BAG_INFO).write_bytes(b"".join(info) + b"Payload-Oxum: 1.1\n")
    _again(folder)


def _replace_by_link(folder: Path) -> None:
    victim = _victim(folder)
    copy = folder.parent / f"{folder.name}-outside"
    victim.rename(copy)
    victim.symlink_to(copy)


def _forge(folder: Path) -> None:
    """Everything is rebuilt around other bytes and signed by another key."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()
    build(folder, {"patients/Martin/lettre 1.txt": b"falsifiee\n"}, sign_with=key("a forger"))


@dataclass(frozen=True, kw_only=True)
class Alteration:
    """One way to spoil an archive, and what its verification says."""

    change: Callable[[Path], object]
    exit_code: int
    """Without a fingerprint from outside."""
    rules: frozenset[str]
    """Rules of section 11 that are broken, warnings included; others may be in consequence."""
    demanded: int | None = None
    """With the fingerprint of `key()` demanded, where that differs."""
    stock: int | None = None
    """Of verify.sh and verify.html, which do not read the manifest, where that differs."""
    on_page: bool = True
    """Whether a browser can see it: links and special files are invisible there."""

    def __call__(self, folder: Path) -> None:
        self.change(folder)


def _is(exit_code: int, rules: str, change: Callable[[Path], object], **more: Any) -> Alteration:
    return Alteration(change=change, exit_code=exit_code, rules=frozenset(rules.split()), **more)


ALTERATIONS: dict[str, Alteration] = {
    "payload changed": _is(4, "V15", _change_payload),
    "payload shortened": _is(4, "V15", _shorten_payload),
    "payload emptied": _is(4, "V15", lambda folder: _victim(folder).write_bytes(b"")),
    "payload removed": _is(4, "V15", lambda folder: _victim(folder).unlink()),
    "payload added": _is(4, "V12", lambda folder: _write(folder, "data/files/added.txt", b"added\n")),
    "payload added beside data/files": _is(4, "V12", lambda folder: _write(folder, "data/added.txt", b"added\n")),
    "payload renamed": _is(4, "V12 V15", _rename_payload),
    "two payloads exchanged": _is(4, "V15", _swap_payload),
    "tag file changed": _is(6, "V15", lambda folder: _append(folder / "README.txt", b"more\n")),
    "tag file removed": _is(6, "V15", lambda folder: (folder / "README.txt").unlink()),
    "tag file added": _is(4, "V13", lambda folder: _write(folder, "added.txt", b"added\n")),
    "metadata file added": _is(4, "V13", lambda folder: _write(folder, "metadata/added.txt", b"added\n")),
    "unknown file among the signatures": _is(4, "V13", lambda folder: _write(folder, "signatures/added", b"added\n")),
    "manifest removed": _is(6, "V15", lambda folder: (folder / "metadata" / "manifest.jsonl").unlink()),
    "bagit.txt removed": _is(6, "V1 V15", lambda folder: (folder / "bagit.txt").unlink()),
    "bagit.txt changed": _is(6, "V1 V15", lambda folder: _append(folder / "bagit.txt", b"\n")),
    "bag-info.txt removed": _is(6, "V15", lambda folder: (folder / "bag-info.txt").unlink()),
    "payload list removed": _is(6, "V15", lambda folder: (folder / bagit.PAYLOAD_LIST).unlink()),
    "tag list removed": _is(6, "V8", lambda folder: (folder / bagit.TAG_LIST).unlink()),
    "payload list rewritten": _is(6, "V15 V20", _rewrite_payload_list),
    "both lists rewritten": _is(6, "V20 V22", _rewrite_both_lists),
    "line dropped from the payload list": _is(6, "V12 V15", lambda folder: _drop_line(folder, bagit.PAYLOAD_LIST)),
    "line dropped from the tag list": _is(6, "V22", lambda folder: _drop_line(folder, bagit.TAG_LIST)),
    "malformed line": _is(6, "V3", _malformed_line),
    "malformed line in the tag list": _is(6, "V3", _malformed_tag_line),
    "line that leads outside": _is(6, "V4", _unsafe_line),
    "line in the wrong list": _is(6, "V5", _line_of_the_other_list),
    "payload list not in the tag list": _is(6, "V9", _tag_list_omits_payload_list),
    "signature removed": _is(0, "V22", lambda folder: (folder / SIGNATURE).unlink(), demanded=6),
    "signature by another key": _is(0, "", lambda folder: _sign(folder, key("a forger")), demanded=6),
    "signature of other bytes": _is(6, "V22", lambda folder: _flip(folder / SIGNATURE)),
    "signature is no signature": _is(6, "V22", lambda folder: (folder / SIGNATURE).write_bytes(b"signed\n")),
    "forged as a whole by another key": _is(0, "", _forge, demanded=6),
    "link added": _is(6, "V11", lambda folder: (folder / "data" / "link").symlink_to("files"), on_page=False),
    "link added outside data": _is(6, "V11", lambda folder: (folder / "link").symlink_to("README.txt"), on_page=False),
    "payload replaced by a link": _is(6, "V11", _replace_by_link, on_page=False),
    "fifo added": _is(6, "V11", lambda folder: os.mkfifo(folder / "data" / "fifo"), on_page=False),
    "manifest changed, lists and signature renewed": _is(6, "V19", _change_manifest, stock=0),
    "manifest cut, lists and signature renewed": _is(6, "V19", _cut_manifest, stock=0),
    "checkpoint changed, lists and signature renewed": _is(6, "V19", _other_checkpoint, stock=0),
    "payload and its line of the list gone": _is(6, "V20", _hide_a_line, stock=0),
    "payload that no line of the manifest names": _is(6, "V20", _smuggle, stock=0),
    "payload that no line of the manifest names, beside the crate": _is(6, "V20", _smuggle_beside_the_crate, stock=0),
    "wrong Payload-Oxum": _is(6, "V14", _wrong_oxum, stock=0),
}
"""Name to alteration. T8: verify.sh, verify.html and our verifier agree on each."""

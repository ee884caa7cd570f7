"""Checks an archive or a foreign bag, strictly, offline and without writing to it: the rules V1 to V22 of the format.

Memory: an archive of a million lines needs about 100 MB in this process and 50 MB in each worker (measured); a foreign bag needs
its lists, about 1 KB a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

from manifests import bagit, signing
from manifests.bagit import Mode, Severity
from manifests.digests import stream_sha256
from manifests.errors import ManifestError
from manifests.manifest import Summary
from manifests.verdict import Signature, Verdict, judge
from portability.archive.verifier_bag import check_oxum, verify_foreign
from portability.archive.verifier_findings import Finding, Findings
from portability.archive.verifier_lists import SIGNATURE, Lists, is_there, read_small, unlisted_rule
from portability.archive.verifier_manifest import (
    CHECKPOINT,
    MANIFEST,
    Decrypt,
    Marks,
    PayloadMarks,
    Scan,
    Scanning,
    check_checkpoint,
    check_plaintexts,
    compare,
    missing_from,
    sealed_batches,
)
from portability.archive.verifier_match import Counts, Matcher
from portability.archive.verifier_records import Statements, check_history, check_label, check_provenance
from portability.archive.verifier_tree import LocalTree, Tree
from portability.archive.verifier_workers import Workers
from portability.errors import PlaceError, UsageError

ENCRYPTED = f"{MANIFEST}.age"
FINGERPRINT_TEXT = {
    "fr": "Cette empreinte ne prouve l'origine de l'archive que si elle est identique à celle que vous conservez hors de l'archive (rapport d'exercice, certificat, annexe du contrat).",
    "en": "This fingerprint proves where the archive comes from only if it equals the one you keep outside the archive (drill report, certificate, contract annex).",
}
"""To be shown with every fingerprint."""

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}", re.ASCII)
_BESIDE = 4 << 20
"""Bytes of a manifest from which on others read it while files are hashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierResult:
    """What was found. Verdict first: `exit_code` is 0 only if nothing rejects it and, for an archive, it is PROVEN."""

    mode: Mode
    exit_code: int
    """0; 3 not proven; 4 payload differs, or something is there too many; 6 the evidence is damaged, or not signed as demanded."""
    verdict: Verdict | None
    """None for a foreign bag, which holds no evidence, and for a manifest that could not be read."""
    signature: signing.Examined | None
    """None for a foreign bag."""
    archive_id: str | None
    counts: Counts
    findings: tuple[Finding, ...]
    """The first thousand."""
    totals: Mapping[tuple[str, Severity], int]
    """All findings by rule and severity."""
    encrypted: bool = False
    needs: tuple[str, ...] = ()
    """Ids of archives which a delta refers to and which were not given."""
    statements: int = 0
    """Claims made after closing: those about this archive whose signatures are valid, whoever signed."""
    summary: Summary | None = field(default=None, repr=False)

    @property
    def intact(self) -> bool:
        """Whether nothing rejects the bytes and their lists; it may still be not proven."""
        return self.exit_code in {0, 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Demands:
    signers: Collection[str] | None
    bases: Sequence[Tree]
    decrypt: Decrypt | None
    workers: int | None


def verify_bag(
    folder: Path,
    *,
    mode: Literal["auto", "archive", "bag"] = "auto",
    signer: str | None = None,
    bases: Sequence[Path] = (),
    decrypt: Decrypt | None = None,
    workers: int | None = None,
    sink: Callable[[Finding], None] | None = None,
) -> VerifierResult:
    """Verify the archive or bag in a local folder; see `verify_tree`. PlaceError if there is no such folder."""
    if not folder.is_dir():
        raise PlaceError(f"{folder} is not a folder", hint="name the folder that holds bagit.txt")
    trees = [LocalTree(base) for base in bases]
    return verify_tree(
        LocalTree(folder), mode=mode, signer=signer, bases=trees, decrypt=decrypt, workers=workers, sink=sink
    )


def verify_tree(
    tree: Tree,
    *,
    mode: Literal["auto", "archive", "bag"] = "auto",
    signer: str | None = None,
    bases: Sequence[Tree] = (),
    decrypt: Decrypt | None = None,
    workers: int | None = None,
    sink: Callable[[Finding], None] | None = None,
) -> VerifierResult:
    """Verify what a tree holds. OSError if it cannot be listed at all.

    `signer` demands a signature: a fingerprint (`SHA256:…`) or the path of an allowed-signers file, from outside the
    archive. `bases` are archives a delta may refer to. `decrypt` opens age ciphertexts. Every finding goes to `sink`.
    """
    demands = _Demands(signers=_signers(signer), bases=bases, decrypt=decrypt, workers=workers)
    # An archive that lost its evidence is a valid plain bag: whoever demands a signature does not want that.
    archive = mode == "archive" or (mode == "auto" and (signer is not None or _looks_like_archive(tree)))
    findings = Findings("archive" if archive else "bag", sink)
    crew = Workers(workers, processes=isinstance(tree, LocalTree))
    try:
        if archive:
            return _Archive(tree, findings, crew, demands).verify()
        if signer is not None:
            raise UsageError("a foreign bag has no signature to demand", hint="leave out the fingerprint, or the mode")
        counts = verify_foreign(tree, findings, crew)
    finally:
        crew.close()
    return VerifierResult(
        mode="bag",
        exit_code=findings.exit_code,
        verdict=None,
        signature=None,
        archive_id=None,
        counts=counts,
        findings=tuple(findings.kept),
        totals=dict(findings.counts),
    )


def _signers(signer: str | None) -> Collection[str] | None:
    if signer is not None and signer.startswith("SHA256:") and not _FINGERPRINT.fullmatch(signer):
        raise UsageError(
            f"{signer} is not a fingerprint: it has SHA256: and 43 letters, digits, + or /",
            hint="compare it with the paper",
        )
    if signer is None or signer.startswith("SHA256:"):
        return None if signer is None else {signer}
    try:
        return signing.allowed_fingerprints(Path(signer).read_text("utf-8"), signing.ARCHIVE)
    except (OSError, ValueError, ManifestError) as error:
        raise UsageError(
            "the signer is neither a fingerprint nor a readable allowed-signers file", hint="SHA256:… as on paper"
        ) from error


def _looks_like_archive(tree: Tree) -> bool:
    info = read_small(tree, bagit.BAG_INFO) or b""
    ours = ("BagIt-Profile-Identifier", bagit.PROFILE) in bagit.parse_bag_info(info, lambda _: None)
    return ours or any(_size(tree, path) is not None for path in (MANIFEST, ENCRYPTED, CHECKPOINT, SIGNATURE))


def _size(tree: Tree, path: str) -> int | None:
    try:
        with tree.open(path) as stream:
            return stream.seek(0, 2) if stream.seekable() else 0
    except OSError:
        return None


class _Archive:
    """One verification of an archive."""

    def __init__(self, tree: Tree, findings: Findings, workers: Workers, demands: _Demands) -> None:
        self._tree = tree
        self._findings = findings
        self._workers = workers
        self._demands = demands
        self._lists = Lists(tree, findings)
        self._marks = Marks()
        self._listed = PayloadMarks(self._marks)
        self._statements = Statements()
        self._signature_rejected = 0
        self._encrypted = False
        self._needs: tuple[str, ...] = ()

    def verify(self) -> VerifierResult:
        tree, findings = self._tree, self._findings
        bagit.parse_declaration(read_small(tree, "bagit.txt"), "archive", findings.problem)
        if "sha256" not in self._lists.payload:
            findings.add("V15", "the payload list is not there", bagit.PAYLOAD_LIST)
        if is_there(tree, "fetch.txt"):
            findings.add("V10", "an archive holds everything; nothing is ever fetched", "fetch.txt")
        scanning = self._start_scan()
        matcher = Matcher(tree, findings, self._workers, self._unlisted)
        matcher.run(tree.runs() if isinstance(tree, LocalTree) else tree.walk(), self._lists.listed(self._listed.add))
        self._lists.check_merged()  # here, and the signature, because the last files are still being hashed
        signature = self._examine_signature()
        matcher.finish()
        members = bagit.parse_bag_info(read_small(tree, bagit.BAG_INFO) or b"", findings.problem)
        check_oxum(members, matcher.counts, findings)
        summary = self._check_evidence(scanning.finish() if scanning else None)
        check_label(members, summary, findings)
        check_history(tree, findings)
        check_provenance(tree, findings)
        self._check_signature(signature)
        about = [archive.removeprefix("sha256:")] if (archive := _archive_id(tree)) else []
        self._statements.check(tree, [*about, *([summary.sha256] if summary else [])], findings)
        return self._result(matcher.counts, summary, signature)

    def _unlisted(self, path: str) -> str | None:
        self._statements.found(path)
        return unlisted_rule(path)

    def _start_scan(self) -> Scanning | None:
        """Begin to read the manifest; a long one is read while the files are hashed."""
        tree, size = self._tree, _size(self._tree, MANIFEST)
        if size is None:
            size = _size(tree, ENCRYPTED)
            self._encrypted = size is not None
            if not self._encrypted or self._demands.decrypt is None:
                return None
        try:
            stream = self._open_manifest()
        except OSError as error:
            self._findings.add("V19", f"the manifest cannot be read: {error}", MANIFEST)
            return None
        beside = isinstance(tree, LocalTree) and (size or 0) >= _BESIDE
        scanning = Scanning(stream, self._marks, self._workers, encrypted=self._encrypted, beside=beside)
        self._workers.meanwhile = scanning.go_on
        return scanning

    def _open_manifest(self) -> BinaryIO:
        if not self._encrypted:
            return self._tree.open(MANIFEST)
        if self._demands.decrypt is None:
            raise OSError("no key was given")
        return self._demands.decrypt(self._tree.open(ENCRYPTED))

    def _check_evidence(self, scanned: Scan | None) -> Summary | None:
        """V19, V20."""
        findings = self._findings
        if scanned is None:
            if not self._encrypted and not findings.counts["V19", Severity.REJECT]:
                findings.add("V19", "there is no manifest", MANIFEST)
            return None
        if scanned.summary is None:
            error = scanned.error or ManifestError()
            findings.add("V19", f"{error.message} (rule: {error.rule})", MANIFEST, line=error.line)
            return None
        check_checkpoint(read_small(self._tree, CHECKPOINT), scanned.summary, findings)
        compare(
            scanned,
            self._listed.found,
            self._marks,
            self._open_manifest,
            self._lists.again,
            findings,
            encrypted=self._encrypted,
        )
        self._needs = self._check_bases(scanned)
        if self._encrypted and self._demands.decrypt is not None:
            self._check_plaintexts(self._demands.decrypt)
        return scanned.summary

    def _check_plaintexts(self, decrypt: Decrypt) -> None:
        """The digests in the lines are those of the plaintexts: with a key they are compared too."""
        work = partial(check_plaintexts, self._tree, decrypt)
        with self._open_manifest() as stream:
            for wrong in self._workers.each(work, sealed_batches(stream)):
                for path, expected, digest in wrong:
                    self._findings.add(
                        "V15", "the plaintext is not what was exported", path, expected=expected, found=digest
                    )

    def _check_bases(self, scanned: Scan) -> tuple[str, ...]:
        """The archives a delta refers to: each must be given, intact, full, and hold what the lines say. The others are named."""
        given = dict(_identified(self._demands.bases)) if scanned.elsewhere else {}
        for archive, marks in scanned.elsewhere.items():
            base = given.get(archive)
            if base is None:
                continue
            problem = self._problem_of(base)
            if problem is None:
                lists = Lists(base, Findings("archive"))
                if count := missing_from(marks, lists.again(), self._marks):
                    problem = f"does not hold {count} of the files that are said to be there"
            if problem:
                self._findings.add("V20", f"the archive which this delta refers to {problem}", MANIFEST, found=archive)
        return tuple(sorted(set(scanned.elsewhere) - set(given)))

    def _problem_of(self, base: Tree) -> str | None:
        result = verify_tree(base, mode="archive", decrypt=self._demands.decrypt, workers=self._demands.workers)
        if not result.intact:
            return "is damaged"
        return "is a delta itself, or cannot be read" if result.summary is None or result.needs else None

    def _examine_signature(self) -> signing.Examined:
        armoured = read_small(self._tree, SIGNATURE)
        try:
            with self._tree.open(bagit.TAG_LIST) as stream:
                return signing.examine(armoured, stream, signing.ARCHIVE, self._demands.signers)
        except OSError:
            return signing.Examined(state=Signature.ABSENT, reason="there is no tag manifest to be signed")

    def _check_signature(self, examined: signing.Examined) -> None:
        """V22."""
        signers = self._demands.signers
        if examined.state is not Signature.VALID:
            harmless = signers is None and examined.state in {Signature.ABSENT, Signature.UNCHECKED}
            level = Severity.WARN if harmless else Severity.REJECT
            self._signature_rejected = int(not harmless)
            expected = ", ".join(sorted(signers)) if signers else ""
            self._findings.add(
                "V22", examined.reason, SIGNATURE, level=level, expected=expected, found=examined.fingerprint or ""
            )

    def _result(self, counts: Counts, summary: Summary | None, signature: signing.Examined) -> VerifierResult:
        findings, demanded = self._findings, self._demands.signers is not None
        verdict = None
        if summary is not None:
            unchecked = len(self._needs)
            # V21 asks what the manifest itself proves; the verdict counts what else was found as well.
            for reason in judge(summary).reasons:
                findings.add("V21", reason, MANIFEST)
            for archive in self._needs:
                findings.add("V21", "valid; the data set is complete only together with another archive", MANIFEST, expected=archive)  # fmt: skip
            verdict = judge(
                summary,
                findings=findings.rejected - findings.counts["V21", Severity.REJECT] - self._signature_rejected,
                unchecked=unchecked,
                signature=signature.state,
                signature_demanded=demanded,
            )
        elif self._encrypted and self._demands.decrypt is None:
            findings.add("V21", "encrypted: without a key it is intact at most, not proven", ENCRYPTED)
        return VerifierResult(
            mode="archive",
            exit_code=findings.exit_code,
            verdict=verdict,
            signature=signature,
            archive_id=_archive_id(self._tree),
            counts=counts,
            findings=tuple(findings.kept),
            totals=dict(findings.counts),
            encrypted=self._encrypted,
            needs=self._needs,
            statements=self._statements.valid,
            summary=summary,
        )


def _archive_id(tree: Tree) -> str | None:
    try:
        with tree.open(bagit.TAG_LIST) as stream:
            return bagit.archive_id(stream_sha256(stream)[0])
    except OSError:
        return None


def _identified(trees: Sequence[Tree]) -> Iterator[tuple[str, Tree]]:
    for tree in trees:
        archive = _archive_id(tree)
        if archive is not None:
            yield archive, tree

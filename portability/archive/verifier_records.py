"""What an archive says beside its bytes: history, provenance, label, and the statements that were added after closing."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from manifests import bagit, signing
from manifests.bagit import Severity
from manifests.errors import ManifestError
from manifests.history import read_history
from manifests.provenance import parse_provenance
from manifests.statement import Statement
from manifests.tally import Summary
from manifests.verdict import Signature
from portability.archive.verifier_findings import Findings
from portability.archive.verifier_lists import is_there, lines_of, read_small
from portability.archive.verifier_tree import Tree

HISTORY, PROVENANCE = "metadata/history.jsonl", "metadata/provenance.json"
STATEMENTS = "signatures/statements/"

_MOST = 1000
"""Statements that are looked at: an archive has a handful."""
_LARGEST = 16 << 20
_PROFILE = re.compile(r"portability:bagit-profile/.*")


def check_history(tree: Tree, findings: Findings) -> None:
    """V19: every line fixes all lines before it (section 10). An archive may stand at the beginning of its history."""
    if not is_there(tree, HISTORY):
        return
    try:
        with tree.open(HISTORY) as stream:
            for _ in read_history(lines_of(stream), HISTORY):
                pass
    except (OSError, ManifestError) as error:
        told = error if isinstance(error, ManifestError) else ManifestError(f"cannot be read: {error}", rule="10")
        findings.add("V19", f"{told.message} (rule: {told.rule})", HISTORY, line=told.line)


def check_provenance(tree: Tree, findings: Findings) -> None:
    """Section 6, a warning: nothing else is proved or disproved by it, and a later version may know other events."""
    if not is_there(tree, PROVENANCE):
        return
    try:
        parse_provenance(read_small(tree, PROVENANCE, _LARGEST) or b"")
    except ManifestError as error:
        message = f"{error.message} (rule: {error.rule})"
        findings.add("V19", message, PROVENANCE, level=Severity.WARN)


def check_label(members: Sequence[tuple[str, str]], summary: Summary | None, findings: Findings) -> None:
    """The bag's own description: a version of the profile which we know (V1), and the archive that the manifest names (V19)."""
    for label, value in members:
        if label == "BagIt-Profile-Identifier" and value != bagit.PROFILE and _PROFILE.fullmatch(value):
            message = "a version of the archive format that this program does not know; use a newer one"
            findings.add("V1", message, bagit.BAG_INFO, expected=bagit.PROFILE, found=value)
        elif label == "External-Identifier" and summary is not None and value != summary.header.destination:
            message = "the manifest is that of another archive"
            findings.add("V19", message, bagit.BAG_INFO, expected=summary.header.destination, found=value)


class Statements:
    """Claims made after closing: they stand outside the lists, so that only their signatures hold them (V22)."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self.valid = 0
        """About this archive, with a valid signature."""

    def found(self, path: str) -> None:
        """A file that stands where statements stand."""
        if path.startswith(STATEMENTS) and len(self._names) <= 2 * _MOST:
            self._names.append(path)

    def check(self, tree: Tree, digests: Sequence[str], findings: Findings) -> None:
        """Each one; `digests` are those of the tag manifest and of the manifest, which a statement may be about."""
        names = set(self._names)
        if len(names) > 2 * _MOST:
            findings.add("V22", "more statements than are ever made", STATEMENTS)
            return
        for path in sorted(names):
            claim = path.removesuffix(".sig")
            if claim != path:
                if claim not in names:
                    findings.add("V22", "a signature whose statement is not there", path, level=Severity.WARN)
                continue
            self._one(tree, path, digests, findings)

    def _one(self, tree: Tree, path: str, digests: Sequence[str], findings: Findings) -> None:
        data = read_small(tree, path)
        try:
            statement = Statement.from_bytes(data if data is not None else b"")
        except ManifestError as error:
            findings.add("V22", f"{error.message} (rule: {error.rule})", path)
            return
        about = any(statement.is_about(digest) for digest in digests)
        if not about:
            findings.add("V22", "a statement about something else than this archive", path, level=Severity.WARN)
        # Whose key it is depends on who states: the new host, a processor, the practice with its former key.
        examined = signing.examine(read_small(tree, f"{path}.sig"), io.BytesIO(data or b""), signing.STATEMENT)
        if examined.state is Signature.INVALID:
            findings.add("V22", f"the statement's signature: {examined.reason}", f"{path}.sig")
        elif examined.state is not Signature.VALID:
            findings.add("V22", f"the statement's signature: {examined.reason}", path, level=Severity.WARN)
        elif about:
            self.valid += 1

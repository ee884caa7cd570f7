"""Foreign bags: BagIt 0.93 to 1.0 as other programs write it, by the bag column of section 11.

Memory grows with the lists here: drafts allow any order in them.
"""

from __future__ import annotations

import re

from manifests import bagit
from manifests.bagit import Severity
from portability.archive.verifier_findings import Findings
from portability.archive.verifier_lists import read_small
from portability.archive.verifier_match import Counts, Matcher, in_runs
from portability.archive.verifier_names import Folds, broken_name, merged
from portability.archive.verifier_tree import FILE, Node, Tree
from portability.archive.verifier_workers import Workers

_LIST = re.compile(r"(tag)?manifest-[A-Za-z0-9]+\.txt")
_FETCH = re.compile(r"(\S+)[ \t]+(\d+|-)[ \t]+(\S.*)", re.DOTALL)
_LARGEST_LIST = 1 << 30


def verify_foreign(tree: Tree, findings: Findings, workers: Workers) -> Counts:
    """Check a foreign bag; what is wrong is among the findings."""
    declared = bagit.parse_declaration(read_small(tree, "bagit.txt"), "bag", findings.problem)
    declared = declared or bagit.Declaration(version="1.0", encoding="UTF-8")
    nodes = list(tree.walk())
    present = {node.path for node in nodes if node.kind == FILE}
    payload, tags = _read_lists(tree, nodes, present, declared, findings)
    bagit.check_lists(payload, tags, "bag", findings.problem, final=declared.final)
    listed = _by_path(payload) | _by_path(tags)
    if "fetch.txt" in present:
        _check_fetch(tree, declared, frozenset().union(*payload.values()), present, findings)
    _check_names(sorted(path for path in listed if path.startswith("data/")), findings)

    def unlisted(path: str) -> str | None:
        if path.startswith("data/"):
            return "V12"
        return "V13" if tags and not _LIST.fullmatch(path) and path != "fetch.txt" else None

    matcher = Matcher(tree, findings, workers, unlisted)
    matcher.run(nodes, in_runs((path, *listed[path]) for path in sorted(listed)))
    matcher.finish()
    counts = matcher.counts
    info = read_small(tree, bagit.BAG_INFO)
    if info is not None:
        members = bagit.parse_bag_info(info, findings.problem, declared.encoding)
        check_oxum(members, counts, findings)
    return counts


def check_oxum(members: list[tuple[str, str]], counts: Counts, findings: Findings) -> None:
    """V14. A payload that is already known to be spoiled is not counted against the Oxum once more."""
    octets, files = counts.payload_bytes, counts.payload_listed
    if findings.payload:
        stated = re.fullmatch(
            r"(\d{1,20})\.\d{1,20}", {label.lower(): value for label, value in members}.get("payload-oxum", "")
        )
        octets = int(stated[1]) if stated else octets
    bagit.check_oxum(members, octets, files, findings.mode, findings.problem)


def _read_lists(
    tree: Tree, nodes: list[Node], present: set[str], declared: bagit.Declaration, findings: Findings
) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """The payload lists and the tag lists: name to paths and digests."""
    payload: dict[str, dict[str, str]] = {}
    tags: dict[str, dict[str, str]] = {}
    for path, kind, _ in nodes:
        match = _LIST.fullmatch(path)
        data = read_small(tree, path, _LARGEST_LIST) if match and kind == FILE else None
        if match is None or data is None:
            continue
        listed = bagit.read_foreign_list(data, path, declared, findings.problem)
        if not declared.final:
            listed = _as_found(listed, present)
        (tags if match[1] else payload)[path] = listed
    if not payload:
        findings.add("V7", "there is no payload list", "manifest-sha256.txt")
    return payload, tags


def _as_found(listed: dict[str, str], present: set[str]) -> dict[str, str]:
    """Before 1.0 nobody said whether names are encoded: the raw name goes first."""
    found = {}
    for path, digest in listed.items():
        decoded = bagit.decode_percent(path, final=False)
        found[decoded if path not in present and decoded in present else path] = digest
    return found


def _by_path(lists: dict[str, dict[str, str]]) -> dict[str, tuple[tuple[str, ...], str]]:
    """Algorithms and digests of each path."""
    digests: dict[str, list[tuple[str, str]]] = {}
    for name, listed in sorted(lists.items()):
        algorithm = name.removesuffix(".txt").rpartition("-")[2].lower()
        for path, digest in listed.items():
            digests.setdefault(path, []).append((algorithm, digest))
    return {
        path: (tuple(name for name, _ in found), " ".join(digest for _, digest in found))
        for path, found in digests.items()
    }


def _check_fetch(
    tree: Tree, declared: bagit.Declaration, listed: frozenset[str], present: set[str], findings: Findings
) -> None:
    """V10: nothing is ever downloaded; what fetch.txt names must be listed and, by now, be there."""
    findings.add("V10", "fetch.txt names files to be downloaded; nothing was", "fetch.txt")
    data = read_small(tree, "fetch.txt", _LARGEST_LIST) or b""
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").split("\n"), 1):
        match = _FETCH.fullmatch(line)
        if match is None:
            if line.strip():
                findings.add("V10", "not a line of fetch.txt", "fetch.txt", line=number, level=Severity.REJECT)
            continue
        path = bagit.decode_percent(match[3], final=declared.final)
        if path not in listed:
            findings.add("V10", "to be downloaded, but not listed", path, line=number, level=Severity.REJECT)
        elif path not in present:
            findings.add("V10", "to be downloaded, and not there", path, line=number, level=Severity.REJECT)


def _check_names(paths: list[str], findings: Findings) -> None:
    """V17, which only warns here."""
    folds = Folds()
    folds.add(paths, (path.rpartition("/")[0] for path in paths))
    for path in paths:
        if broken := broken_name(path):
            findings.add("V17", f"a name that some system refuses or changes ({broken[0]})", path)
    if suspects := folds.suspects():
        for one, other in merged(iter(paths), suspects):
            findings.add("V17", "two names that some file system takes for one", other, found=one)

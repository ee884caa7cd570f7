"""BagIt 1.0 tag files (RFC 8493): written one way, read strictly for our archives and by the letter for foreign bags.

Pure functions over bytes and lines; nothing here walks a folder. What is wrong is reported, rule by rule, not raised: a
person wants to see all of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Literal

from manifests.errors import FormatError
from manifests.names import ascii_text
from manifests.paths import is_archive_path

DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
PAYLOAD_LIST, TAG_LIST, BAG_INFO = "manifest-sha256.txt", "tagmanifest-sha256.txt", "bag-info.txt"
PROFILE = "portability:bagit-profile/1"
DIGITS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}
"""Hex digits of the algorithms that foreign bags use."""

_NEEDED = ("bagit.txt", BAG_INFO, PAYLOAD_LIST, "metadata/checkpoint.txt")
_MANIFESTS = ("metadata/manifest.jsonl", "metadata/manifest.jsonl.age")
_VERSIONS = ("0.93", "0.94", "0.95", "0.96", "0.97", "1.0")
_OWN_LINES = {digits: re.compile(rb"([0-9a-f]{%d})  ([^\n]+)" % digits) for digits in (64, 128)}
# A payload line of which one look shows that it keeps every rule: most of them, and three times as fast.
_PLAIN_LINE = re.compile(rb"([0-9a-f]{64})  (data(?:/[A-Za-z0-9_-][A-Za-z0-9_. -]*)+)\n")
_LINE = re.compile(r"([0-9A-Fa-f]+)[ \t]+(\*?)(.+)", re.DOTALL)
_ENDS = re.compile(r"\r\n|\r|\n")
_LABEL = re.compile(r"([^:\s][^:]*):[ \t]?(.*)", re.DOTALL)
_OXUM = re.compile(r"(\d{1,20})\.(\d{1,20})", re.ASCII)

Mode = Literal["archive", "bag"]


class Severity(Enum):
    """What a broken rule means."""

    REJECT = "reject"
    WARN = "warn"


_R, _W = Severity.REJECT, Severity.WARN
_BAG_WARNS = frozenset({"V2", "V8", "V10", "V13", "V17"})
_BOTH_WARN = frozenset({"V18"})


def severity(rule: str, mode: Mode) -> Severity:
    """What breaking this rule of section 11 means for an archive or a foreign bag, where the table has one answer."""
    return _W if rule in _BOTH_WARN or (mode == "bag" and rule in _BAG_WARNS) else _R


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One broken rule of section 11. `path` can name a patient: it goes to the person, not into a log."""

    rule: str
    severity: Severity
    message: str
    file: str
    line: int | None = None
    path: str | None = None


Report = Callable[[Problem], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What bagit.txt says."""

    version: str
    encoding: str

    @property
    def final(self) -> bool:
        """Whether the rules of 1.0 hold, not those of the drafts before it."""
        return self.version == "1.0"


def parse_declaration(data: bytes | None, mode: Mode, report: Report) -> Declaration | None:
    """The content of bagit.txt (None: it is absent); V1 and V2."""

    def problem(rule: str, message: str) -> None:
        report(Problem(rule=rule, severity=severity(rule, mode), message=message, file="bagit.txt"))

    if data is None:
        problem("V1", "bagit.txt is missing")
        return None
    match = [re.fullmatch(r"([^:]*?)([ \t]*):[ \t]*(.*?)[ \t]*", line) for line in _lines(data, "UTF-8")]
    names = [found and found[1] for found in match]
    if names != ["BagIt-Version", "Tag-File-Character-Encoding"] or not match[0] or not match[1]:
        problem("V1", "bagit.txt is not the two lines that declare a bag")
        return None
    declared = Declaration(version=match[0][3], encoding=match[1][3])
    if declared.version not in _VERSIONS:
        problem("V1", "an unknown version of BagIt")
        return None
    if declared.final and (match[0][2] or match[1][2] or (mode == "archive" and data != DECLARATION)):
        problem("V1", "bagit.txt is not written as version 1.0 demands")
    if not declared.final:
        problem("V2", f"version {declared.version} is a draft of BagIt")
    return declared


def list_line(digest: str, path: str) -> bytes:
    """One line of a list, with its LF; our paths never need an escape."""
    if not is_archive_path(path) or "%" in path:
        raise FormatError("a path that no list can hold", rule="4")
    return f"{digest}  {path}\n".encode()


def read_list(lines: Iterable[bytes], file: str, report: Report) -> Iterator[tuple[str, str]]:
    """Path and digest of each line of one of our archive's lists, streamed; V3 to V6 and V16.

    Our lists are sorted by path bytes, so that a path listed twice is found without remembering all of them.
    """
    last = b""
    of_payload = not file.startswith("tag")
    form = _OWN_LINES[128 if file.endswith("-sha512.txt") else 64]
    plain = _PLAIN_LINE.fullmatch if file == PAYLOAD_LIST else None
    for number, data in enumerate(lines, 1):
        if plain is not None and (match := plain(data)) is not None:
            digest, exact = match.groups()
            if exact > last:
                last = exact
                yield exact.decode("ascii"), digest.decode("ascii")
                continue
        match = form.fullmatch(data.removesuffix(b"\n")) if data.endswith(b"\n") else None
        path = _utf8(match[2]) if match else None
        broken: tuple[str, str] | None = None
        if match is None:
            broken = "V3", "not a line of hex digits, two spaces and a path"
        elif path is None or not is_archive_path(path):
            broken = "V4", "a path that leads elsewhere"
        elif of_payload != path.startswith("data/"):
            broken = "V5", "a path that belongs into the other list"
        elif "%" in path:
            broken = "V16", "a percent sign, which programs decode in different ways"
        elif match[2] <= last:
            broken = ("V6", "listed twice") if match[2] == last else ("V3", "not sorted by path bytes")
        if broken:
            report(Problem(rule=broken[0], severity=_R, message=broken[1], file=file, line=number, path=path))
        if match and path is not None:
            last = max(last, match[2])
            if not broken:
                yield path, match[1].decode()


def read_foreign_list(data: bytes, file: str, declared: Declaration, report: Report) -> dict[str, str]:
    """Path and digest of each line of a foreign bag's list; V3 to V6. Percent signs of 1.0 are decoded here (V16).

    Before 1.0 the name in the list may be raw or encoded: the caller tries it as it is, then `decode_percent(…, False)`.
    """
    algorithm = file.removesuffix(".txt").rsplit("-", 1)[-1].lower()
    listed: dict[str, str] = {}

    def problem(rule: str, level: Severity, message: str, number: int, path: str | None = None) -> None:
        report(Problem(rule=rule, severity=level, message=message, file=file, line=number, path=path))

    for number, line in enumerate(_lines(data, declared.encoding), 1):
        match = _LINE.fullmatch(line)
        if not match or len(match[1]) != DIGITS.get(algorithm):
            problem("V3", _R, "not a checksum line", number)
            continue
        path = match[3]
        if match[2] or path.startswith("./"):
            problem("V3", _W, "a `*` or `./` before the path", number, path)
            path = path.removeprefix("./")
        if declared.final:
            path = decode_percent(path, final=True)
        if not _is_foreign_path(path):
            problem("V4", _R, "a path that leads elsewhere", number, path)
        elif file.startswith("tag") == path.startswith("data/"):
            problem("V5", _R, "a path that belongs into the other list", number, path)
        elif path in listed:
            same = listed[path] == match[1].lower() and not declared.final
            problem("V6", _W if same else _R, "listed twice", number, path)
        else:
            listed[path] = match[1].lower()
    return listed


def decode_percent(path: str, *, final: bool) -> str:
    """A listed path with `%0A`, `%0D` and, since 1.0, `%25` decoded, in any case of their digits."""
    if "%" not in path:
        return path
    codes = {"0a": "\n", "0d": "\r", **({"25": "%"} if final else {})}
    return re.sub("%(0[AaDd]|25)", lambda match: codes.get(match[1].lower(), match[0]), path)


def check_lists(payload: Mapping[str, Iterable[str]], tags: Mapping[str, Iterable[str]], mode: Mode, report: Report, *, final: bool = True) -> None:  # fmt: skip
    """What lists say about one another: V7, V8 and V9. Each mapping is the name of a list to the paths in it."""
    sets = {name: frozenset(paths) for name, paths in payload.items()}
    if final and len(set(sets.values())) > 1:
        report(Problem(rule="V7", severity=_R, message="the payload lists name different files", file=min(sets)))
    if not tags:
        report(Problem(rule="V8", severity=severity("V8", mode), message="there is no tag manifest", file=TAG_LIST))
    for name, paths in tags.items():
        listed = frozenset(paths)
        missing = [needed for needed in (*payload, *(_NEEDED if mode == "archive" else ())) if needed not in listed]
        if mode == "archive" and not listed.intersection(_MANIFESTS):
            missing.append(_MANIFESTS[0])
        for needed in dict.fromkeys(missing):
            report(Problem(rule="V9", severity=_R, message=f"{needed} is not listed", file=name))


def write_bag_info(members: Sequence[tuple[str, str]]) -> bytes:
    """bag-info.txt: labels and values in the order given, one line each."""
    for label, value in members:
        if (
            not _LABEL.fullmatch(f"{label}: {value}")
            or ":" in label
            or not (label + value).isprintable()
            or label != label.strip()
        ):
            raise FormatError("a label or value that does not fit on a line", rule="5, bag-info.txt")
    return "".join(f"{label}: {value}\n" for label, value in members).encode()


def parse_bag_info(data: bytes, report: Report, encoding: str = "UTF-8") -> list[tuple[str, str]]:
    """Labels and values, continuation lines joined; a line that is neither is reported as V3."""
    members: list[tuple[str, str]] = []
    for number, line in enumerate(_lines(data, encoding), 1):
        match = _LABEL.fullmatch(line)
        if line[:1] in {" ", "\t"} and members:
            label, value = members[-1]
            members[-1] = label, f"{value} {line.strip()}"
        elif match:
            members.append((match[1].rstrip(), match[2].strip()))
        else:
            report(Problem(rule="V3", severity=_R, message="not a label and a value", file=BAG_INFO, line=number))
    return members


def check_oxum(members: Sequence[tuple[str, str]], octets: int, files: int, mode: Mode, report: Report) -> None:
    """Payload-Oxum against what was counted: V14. A foreign bag may do without."""
    stated = [value for label, value in members if label.lower() == "payload-oxum"]
    if not stated and mode == "bag":
        return
    match = _OXUM.fullmatch(stated[0]) if len(stated) == 1 else None
    if not match or (int(match[1]), int(match[2])) != (octets, files):
        message = "Payload-Oxum is repeated" if len(stated) > 1 else "Payload-Oxum is wrong or missing"
        report(Problem(rule="V14", severity=_R, message=message, file=BAG_INFO))


def archive_id(tag_list_sha256: str) -> str:
    """The identity of an archive."""
    return f"sha256:{tag_list_sha256}"


def folder_name(practice: str, moment: datetime, identifier: str) -> str:
    """The name of an archive's folder: at most 60 characters of `A-Z a-z 0-9 -`."""
    digits = identifier.removeprefix("urn:uuid:")[:8]
    return f"portability-{slug(practice)}-{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digits}"


def slug(practice: str) -> str:
    """The practice in an archive's name, and the series that all its archives belong to."""
    return re.sub("[^a-z0-9]+", "-", ascii_text(practice).lower()).strip("-")[:22].strip("-") or "practice"


def _lines(data: bytes, encoding: str) -> list[str]:
    """Decoded first: a draft's tag files may be UTF-16. Bytes that do not decode become surrogates, which no rule accepts."""
    try:
        text = data.decode(encoding, "surrogateescape")
    except (ValueError, LookupError):
        text = data.decode("ascii", "surrogateescape")
    lines = _ENDS.split(text)
    return lines if lines[-1] else lines[:-1]


def _utf8(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _is_foreign_path(path: str) -> bool:
    # A foreign list may encode CR and LF; everything else that V4 forbids stays forbidden.
    return is_archive_path(path.replace("\r", "_").replace("\n", "_"))

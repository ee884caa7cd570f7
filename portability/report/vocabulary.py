"""What codes are called: evidence levels, problems, rules, reasons, attributes; each text marked for the catalogue."""

from __future__ import annotations

import re
from collections.abc import Mapping

from portability.outcome import printable
from portability.report.language import N_, Words

LEVELS: Mapping[str, tuple[str, str]] = {
    "read": (N_("Proven"), N_("read back and hashed by this program")),
    "reported": (N_("Declared"), N_("the host states a digest; nobody recomputed it")),
    "listed": (N_("Observed"), N_("name and size were seen in a listing; the content was not read")),
    "none": (N_("Nothing"), N_("not carried, or not there")),
}

KINDS: Mapping[str, str] = {
    "object": N_("files and their old versions"),
    "directory": N_("empty folders"),
    "link": N_("links"),
    "delete_marker": N_("delete markers"),
    "skipped": N_("things left out"),
    "other": N_("other things"),
}

REASONS: Mapping[str, str] = {
    "name": N_("the destination cannot hold this name"),
    "cold": N_("in a cold tier: to be restored there first"),
    "gone": N_("known from earlier evidence, no longer listed by the source"),
    "excluded": N_("excluded by the job"),
    "unsupported": N_("the destination cannot hold this kind of thing"),
    "socket": N_("a socket, which has no content"),
    "fifo": N_("a pipe, which has no content"),
    "device": N_("a device file"),
    "other": N_("another reason, named in the evidence"),
}

ATTRIBUTES: Mapping[str, str] = {
    "modified": N_("date of last change"),
    "media_type": N_("media type"),
    "headers": N_("headers"),
    "metadata": N_("user metadata"),
    "tags": N_("tags"),
    "storage_class": N_("storage class"),
    "acl": N_("access rights"),
    "lock": N_("retention lock"),
    "legal_hold": N_("legal hold"),
    "redirect": N_("web redirect"),
    "hardlink_to": N_("hard link"),
    "posix": N_("file-system attributes"),
    "posix.mode": N_("access mode"),
    "posix.uid": N_("owner number"),
    "posix.gid": N_("group number"),
    "posix.user": N_("owner name"),
    "posix.group": N_("group name"),
    "posix.mtime_ns": N_("exact date of change"),
    "posix.xattrs": N_("extended attributes"),
    "posix.target": N_("target of the link"),
    "version": N_("old version as such"),
    "link": N_("link as such"),
    "directory": N_("empty folder as such"),
    "delete_marker": N_("delete marker as such"),
}

PROBLEMS: Mapping[str, str] = {
    # differences found by a migration
    "missing": N_("Not there at the destination"),
    "unexpected": N_("At the destination, and not in the evidence"),
    "size": N_("Another size at the destination"),
    "digest": N_("Other content at the destination"),
    "metadata": N_("Other attributes at the destination"),
    "unreadable": N_("Could not be read, hence not checked"),
    "source-changed": N_("Changed at the source since the census"),
    "source-appeared": N_("Appeared at the source since the census"),
    "source-gone": N_("Gone from the source since the census"),
    "failed": N_("Could not be carried"),
    # findings of a drill
    "nothing-found": N_("The source listed nothing"),
    "shrank": N_("The source holds half of what it held, or less"),
    "disappeared": N_("Disappeared from the source since the last drill, more than the threshold allows"),
    "skipped": N_("Left out of the export without being accepted"),
    "archive": N_("The archive's own verification found something"),
    "restore": N_("Not restored as the archive holds it"),
    "census": N_("What was restored is not what the census listed"),
    "canary-missing": N_("A canary is missing"),
    "canary-changed": N_("A canary was changed"),
    "canary-stale": N_("A canary is of an earlier generation: the host serves an old state"),
    "late": N_("The projected time to leave does not fit a deadline"),
    "clock": N_("Something is dated later than this machine's clock"),
    "unfinished": N_("The drill before this one was given up"),
    # broken rules of an archive (manifests/FORMAT.md, section 11)
    "V1": N_("The declaration of the archive is absent or malformed"),
    "V2": N_("An old version of the archive format"),
    "V3": N_("A line of a list cannot be read"),
    "V4": N_("A path that leads out of the archive"),
    "V5": N_("A path in the wrong list"),
    "V6": N_("A path listed twice"),
    "V7": N_("The lists do not name the same files"),
    "V8": N_("The list of description files is absent"),
    "V9": N_("The list of description files is incomplete"),
    "V10": N_("The archive names files to be fetched from elsewhere"),
    "V11": N_("A link, a device or a name that is no text"),
    "V12": N_("A data file that no list names"),
    "V13": N_("A file that no list names"),
    "V14": N_("The announced total is wrong"),
    "V15": N_("A file is missing, or its digest differs"),
    "V16": N_("A path with a percent sign"),
    "V17": N_("Names that not every system can tell apart or hold"),
    "V18": N_("Left behind by a file manager; harmless"),
    "V19": N_("The manifest is refused: its seal or its root does not fit"),
    "V20": N_("Manifest and files do not fit each other"),
    "V21": N_("The manifest itself does not prove everything"),
    "V22": N_("The signature is absent, invalid or by another key"),
}

FACTS: Mapping[str, str] = {
    "of": N_("out of %(value)s"),
    "rule": N_("rule %(value)s"),
    "differing": N_("differing: %(value)s"),
    "left_out": N_("left out: %(value)s"),
    "before_objects": N_("before: %(value)s"),
    "before_bytes": N_("before: %(value)s"),
    "objects": N_("now: %(value)s"),
    "bytes": N_("size: %(value)s"),
    "allowed": N_("admitted: %(value)s"),
    "last": N_("dated %(value)s"),
    "low_seconds": N_("at least %(value)s"),
}

SIGNATURES: Mapping[str, str] = {
    "valid": N_("valid"),
    "absent": N_("absent: damage shows, forgery does not"),
    "invalid": N_("invalid"),
    "by another key": N_("by another key than the one demanded"),
    "not checked": N_("not checked by this report"),
}

ROLES: Mapping[str, str] = {
    "outgoing": N_("Outgoing host"),
    "practice": N_("Practice"),
    "incoming": N_("Incoming host"),
}

PHASES: Mapping[str, str] = {
    "census": N_("census"),
    "export": N_("export"),
    "verify": N_("verification"),
    "restore": N_("restore"),
    "compare": N_("comparison"),
}


GRADES: Mapping[str, str] = {
    "draft": N_("a draft text"),
    "secondary": N_("known from a secondary source"),
    "contract": N_("from the contract"),
}

# The sentences of manifests.verdict.judge and of the report itself, with the numbers in them.
_SENTENCES: tuple[tuple[str, str], ...] = (
    (r"the source listed nothing: there is nothing to prove", N_("The source listed nothing: there is nothing to prove.")),
    (r"nothing arrived: every line is a skip, or missing", N_("Nothing arrived: everything was left out, or is missing.")),
    (r"(?P<a>\d+) lines where the census counted (?P<b>\d+)", N_("The evidence holds %(a)s lines where the census counted %(b)s.")),
    (r"kinds of lines differ from the census", N_("The kinds of things differ from those of the census.")),
    (r"the lines are not the things which the census listed", N_("The lines are not the things which the census listed.")),
    (r"(?P<a>\d+) bytes where the census counted (?P<b>\d+)", N_("The evidence holds %(a)s bytes where the census counted %(b)s.")),
    (r"skipped without being accepted: (?P<list>.*)", N_("Left out without being accepted: %(list)s.")),
    (r"evidence below (?P<level>\w+): (?P<list>.*)", N_("Not read back: %(list)s.")),
    (r"evidence is known for (?P<a>\d+) of (?P<b>\d+) lines", N_("The level of evidence is known for %(a)s of %(b)s lines.")),
    (r"(?P<a>\d+) could not be checked", N_("Could not be checked: %(a)s.")),
    (r"(?P<a>\d+) differences found", N_("Differences found: %(a)s.")),
    (r"the signature is .*", N_("The signature is absent, invalid, or not by the key that was demanded.")),
    (r"the run was not finished: nothing was sealed", N_("The run was not finished: nothing was sealed.")),
    (r"the ledger beside the manifest says NOT PROVEN", N_("The ledger beside the manifest says NOT PROVEN.")),
    (r"checkpoint.txt is not the one of this manifest", N_("checkpoint.txt is not the one of this manifest: one of the two was changed.")),
    (r"SHA256SUMS is not the one of this manifest", N_("SHA256SUMS is not the one of this manifest: one of the two was changed.")),
    (r"a bag of another program: .*", N_("A bag of another program: its lists can be checked, and it says nothing of what was at the source.")),
    (r"encrypted: without a key it is intact at most", N_("The archive is encrypted: without a key it can be intact at most, not proven.")),
)  # fmt: skip


def reason(words: Words, sentence: str) -> str | None:
    """A verdict's reason in this language; None for one that this report has no words for."""
    for pattern, text in _SENTENCES:
        if match := re.fullmatch(pattern, sentence, re.DOTALL):
            values = {
                name: words.number(int(value)) if value.isdigit() else _listed(words, value)
                for name, value in match.groupdict().items()
            }
            return words.text(text, **values) if values else words.text(text)
    return None


def _listed(words: Words, text: str) -> str:
    """ "3 cold, 1 name" with each name in this language."""
    told = []
    for part in text.split(", "):
        count, _, name = part.partition(" ")
        if not count.isdigit():
            return text
        label = words.text(REASONS[name]) if name in REASONS else words.text(LEVELS[name][0]).lower() if name in LEVELS else name  # fmt: skip
        told.append(f"{words.number(int(count))} ({label})")
    return ", ".join(told)


def facts(words: Words, told: Mapping[str, str | int]) -> list[str]:
    """What a finding says beside its number, in this language."""
    said = []
    for name, value in told.items():
        if isinstance(value, int):
            shown = words.size(value) if "bytes" in name else words.duration(value) if "seconds" in name else words.number(value)  # fmt: skip
        else:
            shown = words.moment(value) if name == "last" else value
        text = FACTS.get(name)
        said.append(words.text(text, value=shown) if text else f"{named(words, REASONS, name)}: {shown}")
    return said


def named(words: Words, texts: Mapping[str, str], code: str) -> str:
    """What a code is called; a code of another program stays as it is."""
    return words.text(texts[code]) if code in texts else printable(code)

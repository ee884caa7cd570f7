"""What happens to one thing, and why: asked of the destination, of the things beside it, and of the job."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from connectors import ConnectorError, Describer, InvalidKeyError, UnsupportedError, VersionWriter
from connectors.entry import Entry
from connectors.keys import fold, key_bytes
from portability.census import KEPT_VERSIONS
from portability.fidelity import Loss
from portability.job import Job
from portability.layout import Layout, Naming
from portability.ledger import Ledger
from portability.links import link
from portability.thing import Thing

COLD = frozenset({"GLACIER", "DEEP_ARCHIVE", "ARCHIVE", "COLD_ARCHIVE"})
"""Storage classes whose bytes may need a restore at the host before they can be read (S3 and its dialects)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    action: str
    """copy, chain, park, skip."""
    reason: str | None = None
    detail: str | None = None
    path: str | None = None
    """The destination's key where it differs."""
    by_content: str | None = None
    """Its folder for bytes that stand under their own SHA-256."""
    elsewhere: Mapping[str, str] | None = None
    """Another archive that may hold the bytes already."""
    losses: tuple[Loss, ...] = ()


COPIED = Decision(action="copy")
"""What happens to nearly all things, and what the ledger says of each until something else is decided."""


class Decider:
    """Decides thing by thing in key order; keeps what a destination of folders needs to know about the ones before.

    `settle` brings what was decided so far into the ledger, where those that follow look for it.
    """

    def __init__(self, job: Job, ledger: Ledger, settle: Callable[[], None]) -> None:
        self._job, self._ledger, self._settle = job, ledger, settle
        self._source: Any = link(job.source)
        self._destination: Any = link(job.destination)
        kept = self._destination.capabilities
        self._preserves = kept.preserves
        self._case_sensitive = kept.case_sensitive
        self._hierarchical = kept.hierarchical
        self._replays = "versions" in self._preserves and isinstance(self._destination, VersionWriter)
        self._folders: set[str] = set()
        self._stack = ExitStack()
        self._layout = (
            self._stack.enter_context(self._destination.naming()) if isinstance(self._destination, Layout) else None
        )
        self._history: tuple[str, bool] = ("", False)
        self._selects = job.selection.restricts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def decide(self, thing: Thing) -> Decision:
        entry = thing.claim
        if thing.reason == "gone":
            return Decision(
                action="skip", reason="gone", detail="earlier evidence has it, the source does not list it any more"
            )
        if entry.kind == "other":
            return Decision(action="skip", reason=str(entry.host.get("special", "other")))
        key = thing.key
        if self._selects and self._job.selection.excludes(key):
            return Decision(action="skip", reason="excluded")
        if self._layout is not None:
            return self._laid_out(thing, self._layout)
        path = key
        losses: tuple[Loss, ...] = ()
        if thing.order is not None and self._has_history(thing):
            if self._replays:
                return self._refusal(thing, path) or Decision(action="chain")
            if entry.kind == "delete_marker":
                return Decision(action="park", losses=(("delete_marker", "/kind"),))
            losses = (("version", "/version"),)
            if not self._is_latest(thing):
                path = kept_version(thing)
        elif entry.kind in {"directory", "link", "delete_marker"}:
            parked = Decision(action="park", losses=((entry.kind, "/target" if entry.kind == "link" else "/kind"),))
            if entry.kind not in self._preserves:
                return parked
            try:
                self._destination.preflight(replace(entry, key=path))
            except (UnsupportedError, InvalidKeyError) as error:
                return replace(parked, detail=str(error))  # the line holds all there is of it
        if refused := self._refusal(thing, path):
            return refused
        if path == key and not losses:
            return COPIED
        return Decision(action="copy", path=path if path != key else None, losses=losses)

    def _laid_out(self, thing: Thing, naming: Naming) -> Decision:
        """In an archive: bytes have a place of its choosing, everything else is in the line."""
        if thing.kind != "object":
            return Decision(action="park")
        latest = thing.order is None or self._is_latest(thing)
        slot = naming.slot(thing.key, order=thing.order, latest=latest)
        return self._cold(thing) or Decision(
            action="copy", path=slot.path or None, by_content=slot.by_content or None, elsewhere=slot.stored_in
        )

    def _cold(self, thing: Thing) -> Decision | None:
        if thing.claim.storage_class not in COLD or self._is_restored(thing.claim):
            return None
        return Decision(
            action="skip",
            reason="cold",
            detail=f"in {thing.claim.storage_class}: restore it at the host, then run again",
        )

    def _refusal(self, thing: Thing, path: str) -> Decision | None:
        try:
            # A marker has no bytes to refuse: what is asked is whether its key can be held.
            entry = thing.claim
            kind = "object" if thing.kind == "delete_marker" else entry.kind
            same = entry.key == path and entry.kind == kind
            self._destination.preflight(entry if same else replace(entry, key=path, kind=kind))
        except InvalidKeyError as error:
            return Decision(action="skip", reason="name", detail=str(error))
        except UnsupportedError as error:
            return Decision(action="skip", reason="unsupported", detail=str(error))
        if cold := self._cold(thing):
            return cold
        if self._hierarchical and (taken := self._file_above(path)):
            return Decision(action="skip", reason="name", detail=f"a file is in the way of its folder: {taken}")
        if not self._case_sensitive and self._is_taken(path):
            return Decision(action="skip", reason="name", detail="another name differs only by case or normal form")
        return None

    def _is_taken(self, path: str) -> bool:
        return self._ledger.execute("INSERT OR IGNORE INTO folds VALUES (?)", _fold(path)) == 0

    def _is_restored(self, entry: Entry) -> bool:
        """Whether a cold object was brought back for a while; unknown counts as no."""
        if not isinstance(self._source, Describer):
            return False
        try:
            return 'ongoing-request="false"' in str(self._source.describe(entry).host.get("restore", ""))
        except ConnectorError:
            return False

    def _has_history(self, thing: Thing) -> bool:
        """Whether the key has more than one line, or nothing but a marker: then its order is part of what must be kept."""
        if self._history[0] != thing.key:
            rows = self._ledger.query(
                "SELECT count(*) > 1 OR max(kind) = 'delete_marker' AND min(kind) = 'delete_marker' FROM things WHERE key = ?",
                key_bytes(thing.key),
            )
            self._history = (thing.key, bool(rows[0][0]))
        return self._history[1]

    def _is_latest(self, thing: Thing) -> bool:
        return bool(thing.overlay.get("latest", thing.claim.latest))

    def _file_above(self, path: str) -> str | None:
        """The planned object that stands where the path needs a folder. Keys come in order, so it was decided before."""
        folder = path.rpartition("/")[0]
        missing = []
        while folder and folder not in self._folders:
            missing.append(folder)
            folder = folder.rpartition("/")[0]
        if missing:
            self._settle()  # what was decided before is what may stand there
        for folder in missing:
            rows = self._ledger.query(
                "SELECT 1 FROM things WHERE ifnull(path, key) = ? AND action IN ('copy', 'chain') AND kind != 'directory' LIMIT 1",
                key_bytes(folder),
            )
            if rows:
                return folder
        if len(self._folders) > 10_000:  # a bound on memory; what falls out is asked for again
            self._folders.clear()
        self._folders.update(missing)
        return None


def kept_version(thing: Thing) -> str:
    """Where an old version stands at a destination that keeps none: decided by key and order alone."""
    digest = hashlib.sha256(key_bytes(thing.key)).hexdigest()
    return f"{KEPT_VERSIONS}/{digest[:2]}/{digest[:32]}.{thing.ord}"


def _fold(path: str) -> str:
    return fold(path).encode("utf-8", "backslashreplace").decode()

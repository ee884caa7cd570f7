"""The S3 host: one bucket and prefix as source and destination, with versions, parts and everything HEAD knows."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from connectors.entry import Entry
from connectors.errors import (
    ChangedError,
    ConnectorError,
    CorruptedError,
    InvalidKeyError,
    LocationError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedError,
)
from connectors.keys import key_bytes
from connectors.location import Location
from connectors.protocols import Capabilities, Setting, Stream
from connectors.s3 import bucket, listing
from connectors.s3.applied import wished
from connectors.s3.attributes import bare_etag, from_head, grants, same_etag
from connectors.s3.body import Body
from connectors.s3.bulk import Bulk
from connectors.s3.client import Settings, client
from connectors.s3.errors import code_of, translated
from connectors.streams import BytesStream

KEY_BYTES = 1024


class S3(Bulk):
    """See the package. The bulk lane stands beside `describe`, `open` and `put`, which it never changes."""

    def __init__(self, location: Location, settings: Settings) -> None:
        self._location = location
        self._settings = settings
        self._listings = settings.connections
        self._client = client(settings)
        folder = location.path.removesuffix("/")
        self._prefix = f"{folder}/" if folder else ""
        self._payer = {"RequestPayer": "requester"} if location.option("requester_pays") == "true" else {}
        self._asks_acl = location.option("acl") != "ignore"
        self._wishes = wished(location)
        self._versioned: bool | None = None
        self._tags_claimed: bool | None = True if settings.aws else None
        self._unread: dict[str, str] = {}
        if not _is_text(self._prefix):
            raise LocationError("the prefix is not UTF-8, which S3 keys are", host=self.uri)

    def __repr__(self) -> str:
        return f"S3({self.uri})"

    @property
    def uri(self) -> str:
        return self._location.url

    @property
    def capabilities(self) -> Capabilities:
        preserves = {"media_type", "headers", "metadata"}
        if self._has_tags():
            preserves.add("tags")
        if self._has_versions():
            preserves.add("versions")
        return Capabilities(
            preserves=frozenset(preserves),
            # An ETag is an MD5 here and something else there: it is recorded, and never taken for a digest.
            digests=frozenset(),
            ranged=True,
            case_sensitive=True,
            connections=self._settings.connections,
            most=self._settings.most,
        )

    def stat(self, key: str) -> Entry:
        return self._look(key, None, latest=True)

    def close(self) -> None:
        """Nothing: the client belongs to the process."""

    def sequential(self) -> S3:
        other = copy.copy(self)
        other._listings = 1  # noqa: SLF001 - of our own class
        other._room = bytearray()  # noqa: SLF001 - the two may work side by side, and each fills its own
        return other

    def list(self, prefix: str = "") -> Iterator[Entry]:
        if not _is_text(prefix):
            return iter(())  # no S3 key begins like this
        return listing.objects(self._page, self._prefix, prefix, self.uri, width=self._listings)

    def list_versions(self, prefix: str = "") -> Iterator[Entry]:
        if not _is_text(prefix):
            return iter(())
        trusted = self._settings.aws
        return listing.versions(self._page, self._prefix, prefix, self.uri, trusted=trusted, width=self._listings)

    def describe(self, entry: Entry) -> Entry:
        if entry.kind != "object":
            return entry
        return self._look(entry.key, self._version(entry), latest=entry.latest, listed=entry)

    def open(self, entry: Entry, start: int = 0, stop: int | None = None) -> Stream:
        if entry.kind != "object":
            raise UnsupportedError(f"a {entry.kind} has no bytes", host=self.uri, key=entry.key)
        end = entry.size if stop is None else stop if entry.size is None else min(stop, entry.size)
        if (start and end is not None and start >= end) or (stop is not None and stop <= start):
            return BytesStream()
        ranged = start > 0 or stop is not None
        wanted: dict[str, Any] = {"Key": self._full(entry.key), **self._version(entry), **self._payer}
        if ranged:
            wanted["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        etag = entry.digests.get("etag")
        if etag:
            wanted["IfMatch"] = f'"{bare_etag(etag)}"'
        # Hosts other than AWS send the whole object's checksum with a part of it.
        lane = self._client if self._settings.aws or not ranged else client(self._settings, checked_reads=False)
        try:
            with translated(self.uri, entry.key):
                answer = lane.get_object(Bucket=self._location.host, **wanted)
        except ConnectorError as error:
            if code_of(error) in {"PreconditionFailed", "412"}:
                raise ChangedError(
                    "the object was replaced since it was listed", host=self.uri, key=entry.key, cause=error.cause
                ) from error
            raise
        length = answer.get("ContentLength")
        expected = length if end is None else end - start
        try:
            self._same(entry, answer.get("ETag"), None)
            if ranged and not str(answer.get("ContentRange", "")).startswith(f"bytes {start}-"):
                raise CorruptedError("the host sent another range than was asked for", host=self.uri, key=entry.key)
            if length is not None and expected is not None and length != expected:
                raise CorruptedError(
                    f"the host announces {length} bytes where {expected} were listed", host=self.uri, key=entry.key
                )
        except ConnectorError:
            answer["Body"].close()
            raise
        return Body(answer["Body"], expected, self.uri, entry.key)

    def settings(self) -> dict[str, Any]:
        """The bucket's own settings as the host states them, and where it is."""
        meta = self._client.meta
        return {"endpoint": meta.endpoint_url, "region": meta.region_name, **bucket.settings(self._call)}

    def fit_settings(self, recorded: Mapping[str, Any]) -> Sequence[Setting]:
        return tuple(bucket.fit(recorded, whole=not self._prefix, locks="lock" in self._wishes))

    def compare_setting(self, setting: Setting) -> Literal["equal", "free", "other"]:
        return bucket.state(self._call, setting)

    def put_setting(self, setting: Setting) -> None:
        bucket.put(self._call, setting)

    def delete(self, key: str) -> None:
        self._call("head_object", key)
        self._call("delete_object", key)

    def put_marker(self, entry: Entry) -> Entry:
        self._only_versioned(entry)
        answer = self._call("delete_object", entry.key)
        return Entry(key=entry.key, kind="delete_marker", version=answer.get("VersionId"))

    def _call(self, operation: str, key: str | None, /, **parameters: Any) -> dict[str, Any]:
        """One request about this bucket, and about `key` if there is one."""
        if key is not None:
            parameters["Key"] = self._full(key)
        if key is not None or operation.startswith("list_"):  # what is asked of a bucket itself has no payer
            parameters.update(self._payer)
        with translated(self.uri, key):
            answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self._location.host, **parameters)
        return answer

    def _look(self, key: str, version: dict[str, Any] | None, *, latest: bool, listed: Entry | None = None) -> Entry:
        """HEAD, tags and ACL of one version (or of the current object) as an entry."""
        version = version or {}
        head = self._call("head_object", key, ChecksumMode="ENABLED", **version)
        if listed is not None:
            self._same(listed, head.get("ETag"), head.get("ContentLength"))
        tags = self._aside("tags", "get_object_tagging", key, version)
        host = self._acl(key, version) if self._asks_acl else {}
        return self._described_by(key, head, tags, host, latest=latest, listed=listed)

    def _described_by(
        self,
        key: str,
        head: Mapping[str, Any],
        tags: Mapping[str, Any] | None,
        host: Mapping[str, Any],
        *,
        latest: bool,
        listed: Entry | None = None,
    ) -> Entry:
        """The entry of an object's headers and of what stands beside it."""
        if self._unread:
            host = {**host, "unread": {**self._unread, **host.get("unread", {})}}
        told = {tag["Key"]: tag["Value"] for tag in tags.get("TagSet", [])} if tags else {}
        return from_head(key, head, tags=told, beside=host, latest=latest, listed=listed)

    def _acl(self, key: str, version: dict[str, Any]) -> dict[str, Any]:
        """What `Entry.host` says of an object's ACL."""
        try:
            acl = self._aside("acl", "get_object_acl", key, version)
        except UnavailableError as error:
            # Some hosts fail on the ACL of certain objects for ever; the object itself must not wait for that.
            return {"unread": {"acl": code_of(error)}}
        return {} if acl is None else {"acl": grants(acl)}

    def _aside(self, what: str, operation: str, key: str, version: dict[str, Any]) -> dict[str, Any] | None:
        """What stands beside an object; None, said in `host["unread"]`, where the host has no such thing or hides it."""
        if what in self._unread:
            return None
        try:
            return self._call(operation, key, **version)
        except (UnsupportedError, PermissionDeniedError) as error:
            self._unread[what] = code_of(error)
            return None

    def _has_tags(self) -> bool:
        if self._tags_claimed is None:
            try:
                # A host that ignores ?tagging answers with something else, in which there is no TagSet.
                self._tags_claimed = bool(self._call("get_bucket_tagging", None).get("TagSet"))
            except NotFoundError as error:
                if code_of(error) == "NoSuchBucket":
                    raise
                self._tags_claimed = code_of(error) == "NoSuchTagSet"
            except UnsupportedError:
                self._tags_claimed = False
            except PermissionDeniedError:
                self._tags_claimed = True
        return bool(self._tags_claimed) and "tags" not in self._unread

    def _has_versions(self) -> bool:
        if self._versioned is None:
            try:
                self._versioned = self._call("get_bucket_versioning", None).get("Status") == "Enabled"
            except (UnsupportedError, PermissionDeniedError):
                self._versioned = False
        return self._versioned

    def _only_versioned(self, entry: Entry) -> None:
        if not self._has_versions():
            raise UnsupportedError("this bucket keeps no versions; enable versioning", host=self.uri, key=entry.key)

    def _same(self, entry: Entry, etag: str | None, size: int | None) -> None:
        """ChangedError unless what the host has now is what the entry describes."""
        known_size = entry.size if size is not None else None
        if not same_etag(entry.digests.get("etag"), etag) or (known_size is not None and known_size != size):
            raise ChangedError("the object was replaced since it was listed", host=self.uri, key=entry.key)

    @staticmethod
    def _version(entry: Entry) -> dict[str, Any]:
        """The parameter that names the entry's version. The current "null" version needs none, and some hosts refuse it."""
        return (
            {} if entry.version is None or (entry.version == "null" and entry.latest) else {"VersionId": entry.version}
        )

    def _full(self, key: str) -> str:
        problem = self._key_problem(key)
        if problem:
            raise InvalidKeyError(f"{problem}; rename it at the source, or exclude it", host=self.uri, key=key)
        return self._prefix + key

    def _key_problem(self, key: str) -> str | None:
        if not key:
            return "the key is empty"
        full = self._prefix + key
        if not full.isascii():
            if not _is_text(key):
                return "the key is not UTF-8, which S3 keys are"
            if len(key_bytes(full)) <= KEY_BYTES:
                return None
        elif len(full) <= KEY_BYTES:
            return None
        return f"with its prefix the key is longer than {KEY_BYTES} bytes"


def _is_text(key: str) -> bool:
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

"""The bulk lane: many small objects at once over libcurl, with the results that the plain way has.

Whatever is not an ordinary success is left to the plain way: a flow that returns None declines. Only "ask again" is an error
here, so that tries are counted alike in both.
"""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

from botocore.credentials import Credentials

from connectors.entry import Entry
from connectors.errors import ConnectorError, CorruptedError
from connectors.location import Location
from connectors.protocols import BulkRead
from connectors.s3.answers import Reader, checksum_differs, crc32
from connectors.s3.attributes import bare_etag, grants, same_etag, tags_held, to_put
from connectors.s3.client import credentials, is_open, line
from connectors.s3.errors import answered, unreached
from connectors.s3.flows import Conversations, Flow
from connectors.s3.kept import Kept
from connectors.s3.uploads import Uploads
from connectors.s3.vacancy import Vacancy
from connectors.s3.wire import Answer, Line, Request, available, wire

BULK = 4 << 20
"""Bytes of the largest object in the lane: above it the plain way is as fast."""
_ASIDE = 1 << 20  # bytes of tags or grants
_PAGE = 64 << 20  # bytes of a page of a listing
_ERROR = 64 << 10  # bytes of an error's text that may come instead of a small object
_PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*")
"""Keys that are written in urls as they are: what this says `quote` need not be asked."""
_DIGEST = "x-amz-content-sha256: "
_UNSIGNED = f"{_DIGEST}UNSIGNED-PAYLOAD"
_REFUSALS = 16
"""Refusals in a row (another region, a clock that is wrong, …) after which the lane is not asked any more."""


class Bulk(Uploads):
    """The bulk half of the connector, over its requests."""

    _location: Location
    _prefix: str
    _payer: dict[str, str]
    _asks_acl: bool
    _client: Any
    _ready: tuple[Line, Reader, Credentials | None] | None = None
    _prepared = False
    _signs_bodies = False
    _refused = 0
    _reads_tags = False
    _told: tuple[tuple[Any, ...], list[str] | None] | None = None
    """What was put last, and its headers."""
    _honours: bool | None = None
    """Whether the host refused to put an object of ours over itself; None: not tried yet."""

    @cached_property
    def _is_aws(self) -> bool:
        return self._settings.aws

    @cached_property
    def _kept(self) -> Kept:
        return Kept()

    @abstractmethod
    def _aside(self, what: str, operation: str, key: str, version: dict[str, Any]) -> dict[str, Any] | None: ...

    @abstractmethod
    def _acl(self, key: str, version: dict[str, Any]) -> dict[str, Any]: ...

    @abstractmethod
    def _described_by(
        self,
        key: str,
        head: Mapping[str, Any],
        tags: Mapping[str, Any] | None,
        host: Mapping[str, Any],
        *,
        latest: bool,
        listed: Entry | None = None,
    ) -> Entry: ...

    @abstractmethod
    def _has_versions(self) -> bool: ...

    @staticmethod
    @abstractmethod
    def _version(entry: Entry) -> dict[str, Any]: ...

    @property
    def bulk_bytes(self) -> int:
        return BULK if self._lane() else 0

    def read_many(self, entries: Iterable[Entry], width: int) -> Iterator[tuple[int, BulkRead | ConnectorError | None]]:
        lane = self._lane()
        if lane is None:
            return ((number, None) for number, _ in enumerate(entries))
        return Conversations[BulkRead | None](wire(), lane[0], width).results(self._reading(entry) for entry in entries)

    def put_many(
        self, items: Iterable[tuple[Entry, bytes]], width: int
    ) -> Iterator[tuple[int, Entry | ConnectorError | None]]:
        return self._put_all(items, width, None)

    def put_many_foreseen(
        self, items: Iterable[tuple[Entry, bytes]], width: int
    ) -> Iterator[tuple[int, Entry | ConnectorError | None]]:
        return self._put_all(items, width, self._kept)

    def _put_all(
        self, items: Iterable[tuple[Entry, bytes]], width: int, kept: Kept | None
    ) -> Iterator[tuple[int, Entry | ConnectorError | None]]:
        lane = self._lane()
        if lane is None:
            return ((number, None) for number, _ in enumerate(items))
        free = Vacancy(self._page, self._prefix)
        return Conversations[Entry | None](wire(), lane[0], width).results(
            self._putting(entry, body, free, kept) for entry, body in items
        )

    def _page(self, operation: str, **parameters: Any) -> bytes:
        """One page of a listing as the host sent it."""
        lane = self._lane()
        if lane is not None:
            flow = self._paging(lane[1].query(operation, parameters))
            for _, page in Conversations[bytes | None](wire(), lane[0], 1).results([flow]):
                if isinstance(page, bytes):
                    return page
        told: bytes | None = self._call(operation, None, **parameters).get("Page")
        if told is None:
            raise CorruptedError("the host answered a listing with a success that is no page", host=self.uri)
        return told

    def _paging(self, query: str) -> Flow[bytes | None]:
        request = self._request("GET", None, {}, [], limit=_PAGE)
        request.url = f"{request.url}?{query}"
        answer = yield request
        return answer.body if answer.status == 200 and not answer.broken else None

    def _lane(self) -> tuple[Line, Reader, Credentials | None] | None:
        """How the lane goes; None where there is none, or where it was refused too often."""
        if not self._prepared:
            self._prepared = True
            if available() and self._location.option("bulk") != "off":
                way, keys = line(self._settings, self._location.host), credentials(self._settings)
                self._signs_bodies = is_open(self._settings.endpoint)
                if way is not None and (keys is not None or not way.signing):
                    self._ready = way, Reader(self._client.meta.service_model), keys
        return self._ready if self._refused < _REFUSALS else None

    @property
    def _found(self) -> tuple[Line, Reader, Credentials | None]:
        if self._ready is None:
            raise ValueError("flows begin only where there is a lane")
        return self._ready

    # -- one object -----------------------------------------------------------------------------------------------

    def _reading(self, entry: Entry) -> Flow[BulkRead | None]:
        if entry.kind != "object" or entry.size is None or entry.size > BULK or not self._takes(entry.key):
            return None
        version = self._version(entry)
        headers = ["x-amz-checksum-mode: ENABLED"]
        if etag := entry.digests.get("etag"):
            headers.append(f'If-Match: "{bare_etag(etag)}"')
        answer = yield self._request("GET", entry.key, version, headers, limit=max(entry.size, _ERROR))
        if not self._success("GetObject", entry.key, answer):
            return None
        if (
            len(answer.body) != entry.size
            or answer.headers.get("content-length", str(entry.size)) != str(entry.size)
            or not same_etag(etag, answer.headers.get("etag"))
            or (self._settings.checksums == "when_supported" and checksum_differs(answer))
        ):
            return None
        found = yield from self._described(entry.key, answer, version, latest=entry.latest, listed=entry)
        return BulkRead(entry=found, body=answer.body) if found else None

    def _putting(self, entry: Entry, body: bytes, free: Vacancy, kept: Kept | None) -> Flow[Entry | None]:
        if entry.kind != "object" or len(body) > BULK or entry.size not in {None, len(body)}:
            return None
        if not self._takes(entry.key) or self._wishes & entry.host.keys():
            return None
        headers = self._headers(entry)
        if headers is None:
            return None
        # Others may ignore If-None-Match, always or for some keys: none is believed without having looked.
        if not self._is_aws and not (self._honours and self._conditions and free.has(entry.key)):
            answer = yield self._request("HEAD", entry.key, {}, [])
            if answer.status != 404 or answer.broken:
                self._success("HeadObject", entry.key, answer)
                return None
        if self._conditions:
            headers.append("If-None-Match: *")
        if self._settings.checksums == "when_supported":
            headers.append(crc32(body))
        answer = yield self._request("PUT", entry.key, {}, [*headers, "Expect:"], body=body)
        if not self._success("PutObject", entry.key, answer):
            return None
        made = answer.headers.get("x-amz-version-id", "null")
        if self._honours is None and self._conditions and not self._is_aws:
            self._honours = False  # one of many flows tries
            if made == "null" and self._keeps_none():
                # The same bytes over our own object: no harm where the host obeys, and none where it does not.
                again = yield self._request("PUT", entry.key, {}, [*headers, "Expect:"], body=body)
                self._honours = again.status == 412 and not again.broken
                made = again.headers.get("x-amz-version-id", made) if again.status == 200 else made
        version = {} if made == "null" else {"VersionId": made}
        if kept and (foreseen := kept.foreseen(entry, len(body), version.get("VersionId"))):
            return foreseen
        answer = yield self._request("HEAD", entry.key, version, ["x-amz-checksum-mode: ENABLED"])
        wanted = tags_held(entry.tags)
        found = None
        if answer.status == 200 and not answer.broken:
            found = yield from self._described(entry.key, answer, version, latest=True, untagged=not wanted)
        if found is None or ("tags" not in self._unread and found.tags != wanted):
            return self._stored(entry, version)
        if kept and found.size == len(body):
            kept.learn(entry, found)
        return found

    def _keeps_none(self) -> bool:
        """Whether the host says that putting twice leaves one version."""
        try:
            return not self._has_versions()
        except ConnectorError:
            return False

    def _described(
        self,
        key: str,
        answer: Answer,
        version: dict[str, Any],
        *,
        latest: bool,
        listed: Entry | None = None,
        untagged: bool = False,
    ) -> Flow[Entry | None]:
        """The entry of an answer's headers, with tags and ACL. `untagged`: it was just put without tags."""
        reader = self._found[1]
        try:
            head = reader.head(answer.headers)
        except (ValueError, OverflowError):
            return None
        tags: Mapping[str, Any] | None = None
        # Only what was just put without tags is known to have none: hosts leave their count of tags out of the headers
        # where the caller may not read those of this object, so that its absence says nothing.
        told = self._reads_tags and untagged
        if "tags" not in self._unread and not told:
            answer = yield self._request("GET", key, version, [], aside="tagging", limit=_ASIDE)
            tags = reader.body("GetObjectTagging", answer)
            if tags is None:
                tags = self._aside("tags", "get_object_tagging", key, version)
            self._reads_tags |= tags is not None
        host: Mapping[str, Any] = {}
        if self._asks_acl and "acl" not in self._unread:
            answer = yield self._request("GET", key, version, [], aside="acl", limit=_ASIDE)
            granted = reader.body("GetObjectAcl", answer)
            host = self._acl(key, version) if granted is None else {"acl": grants(granted)}
        return self._described_by(key, head, tags, host, latest=latest, listed=listed)

    def _headers(self, entry: Entry) -> list[str] | None:
        """The headers of a put; mostly those of the put before."""
        told = entry.media_type, entry.headers, entry.metadata, entry.tags
        if self._told is None or self._told[0] != told:
            self._told = told, self._found[1].headers(to_put(entry))
        headers = self._told[1]
        return None if headers is None else [*headers]

    # -- one exchange ---------------------------------------------------------------------------------------------

    def _takes(self, key: str) -> bool:
        """Whether the lane may be asked, and for exactly this key: libcurl takes dot segments for steps in a path."""
        if self._refused >= _REFUSALS or self._key_problem(key) is not None:
            return False
        full = f"/{self._prefix}{key}"
        return "/." not in full or {".", ".."}.isdisjoint(full.split("/"))

    def _request(
        self,
        method: str,
        key: str | None,
        version: Mapping[str, str],
        headers: list[str],
        *,
        aside: str = "",
        body: bytes = b"",
        limit: int = _ERROR,
    ) -> Request:
        way, _, keys = self._found
        # Without a key the bucket itself: its slash is part of the url only where nothing else comes after the host.
        url = way.bucket if key is None else way.base + _quoted(self._prefix + key)
        if aside or version:
            query = [f"{aside}="] if aside else []
            if version:
                query.append(urlencode({"versionId": version["VersionId"]}))
            url = f"{url}?{'&'.join(query)}"
        user = secret = ""
        frozen = keys.get_frozen_credentials() if keys is not None else None
        if frozen is not None:
            headers = [
                *headers,
                _UNSIGNED if not self._signs_bodies else f"{_DIGEST}{hashlib.sha256(body).hexdigest()}",
            ]
            if frozen.token:
                headers.append(f"x-amz-security-token: {frozen.token}")
            user, secret = frozen.access_key or "", frozen.secret_key or ""
        if self._payer:
            headers = [*headers, "x-amz-request-payer: requester"]
        return Request(method=method, url=url, headers=headers, limit=limit, body=body, user=user, secret=secret)

    def _success(self, operation: str, key: str, answer: Answer) -> bool:
        """Whether the answer is a plain 200. An error that may pass is raised; any other is the plain way's to meet."""
        if answer.status == 200 and not answer.broken:
            self._refused = 0
            return True
        if answer.refused:
            self._refused += 1
            return False
        if answer.broken:
            raise unreached(self.uri, key, f"libcurl {answer.broken}")
        if 200 <= answer.status < 300:  # a success that is none of ours; its body may be the object's
            self._refused += 1
            return False
        if answer.status not in {404, 412}:
            self._refused += 1
        error = answered(self._found[1].problem(answer), operation, self.uri, key)
        if error.retryable:
            self._refused = 0
            raise error
        return False


def _quoted(key: str) -> str:
    return key if _PLAIN.fullmatch(key) else quote(key, safe="/~")

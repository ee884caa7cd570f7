"""Between S3's headers and an Entry: what HEAD says, and what a put can hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from connectors.entry import Entry, filled

HEADERS = {
    "content_encoding": "ContentEncoding",
    "cache_control": "CacheControl",
    "content_disposition": "ContentDisposition",
    "content_language": "ContentLanguage",
}
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_TAG = re.compile(r"[\w\s+\-=.:/@]*")
_METADATA_BYTES = 2048
_LOCK = {
    "ObjectLockMode": "mode",
    "ObjectLockRetainUntilDate": "until",
}
_ENCRYPTION = {
    "ServerSideEncryption": "algorithm",
    "SSEKMSKeyId": "kms_key",
    "SSECustomerAlgorithm": "customer_algorithm",
}
_BESIDE = {
    "ObjectLockLegalHoldStatus": "legal_hold",
    "WebsiteRedirectLocation": "redirect",
    "PartsCount": "parts",
    "Restore": "restore",
    "ReplicationStatus": "replication",
}
_RARE = frozenset({*_LOCK, *_ENCRYPTION, *_BESIDE})
_TOLD = frozenset(HEADERS.values())


def from_head(
    key: str,
    head: Mapping[str, Any],
    *,
    tags: Mapping[str, str],
    beside: Mapping[str, Any],
    latest: bool,
    listed: Entry | None = None,
) -> Entry:
    """The entry that a HEAD or GET answer describes. `beside`: what `host` holds besides; `listed`: the listing's word."""
    headers = {}
    if not _TOLD.isdisjoint(head):
        headers = {name: head[field] for name, field in HEADERS.items() if head.get(field)}
    if head.get("ExpiresString"):
        headers["expires"] = head["ExpiresString"]
    host: dict[str, Any] = {}
    if not _RARE.isdisjoint(head):
        for name, fields in (("lock", _LOCK), ("encryption", _ENCRYPTION)):
            if found := {new: _plain(head[old]) for old, new in fields.items() if head.get(old)}:
                host[name] = found
        host.update({new: head[old] for old, new in _BESIDE.items() if head.get(old)})
    digests = {_snake(name): str(value) for name, value in head.items() if name.startswith("Checksum") and value}
    if head.get("ETag"):
        digests["etag"] = head["ETag"]
    version, storage_class = head.get("VersionId"), head.get("StorageClass")
    if listed is not None:
        version = version or listed.version
        # HEAD is silent about STANDARD, which listings spell out.
        storage_class = storage_class or (None if listed.storage_class == "STANDARD" else listed.storage_class)
    metadata = head.get("Metadata")
    if metadata:  # header names have no case, and some hosts capitalize them on the way
        metadata = {name.lower(): value for name, value in metadata.items()}
    told = head.get
    return filled(
        key, told("ContentLength"), told("LastModified"), told("ContentType") or None, headers, metadata or {}, tags,
        digests, version, latest, "object", storage_class, {**host, **beside} if beside else host, None, None,
    )  # fmt: skip


def to_put(entry: Entry) -> dict[str, Any]:
    """The parameters of PutObject and CreateMultipartUpload for what S3 can hold of the entry; the rest is left out,
    so that the entry which comes back shows the loss."""
    wanted: dict[str, Any] = {}
    if entry.media_type and _header(entry.media_type):
        wanted["ContentType"] = entry.media_type
    for name, field in HEADERS.items():
        if entry.headers.get(name) and _header(entry.headers[name]):
            wanted[field] = entry.headers[name]
    if entry.headers.get("expires") and _header(entry.headers["expires"]):
        wanted["ExpiresText"] = entry.headers["expires"]
    if metadata := metadata_held(entry.metadata):
        wanted["Metadata"] = metadata
    if tags := tags_held(entry.tags):
        wanted["Tagging"] = urlencode(tags)
    return wanted


def metadata_held(metadata: Mapping[str, str]) -> dict[str, str]:
    """What fits into headers: token names, printable ASCII without outer spaces, 2 KiB in all."""
    held: dict[str, str] = {}
    room = _METADATA_BYTES
    for name, value in sorted(metadata.items()):
        room_after = room - len(name) - len(value)
        if _TOKEN.fullmatch(name) and (not value or _header(value)) and room_after >= 0 and name.lower() not in held:
            held[name.lower()] = value
            room = room_after
    return held


def tags_held(tags: Mapping[str, str]) -> dict[str, str]:
    """What fits into S3 tags: ten of them, letters, digits, spaces and + - = . _ : / @."""
    fitting = [
        (name, value)
        for name, value in sorted(tags.items())
        if 1 <= len(name) <= 128 and len(value) <= 256 and _TAG.fullmatch(name) and _TAG.fullmatch(value)
    ]
    return dict(fitting[:10])


def same_etag(one: str | None, other: str | None) -> bool:
    """Whether two ETags may be one: hosts quote them here and not there. Absence contradicts nothing."""
    return one == other or not one or not other or bare_etag(one) == bare_etag(other)


def bare_etag(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def grants(acl: Mapping[str, Any]) -> dict[str, Any]:
    """An ACL as plain JSON values. Sorted: hosts list equal grants in any order."""
    granted = [
        {
            "grantee": grant.get("Grantee", {}).get("ID") or grant.get("Grantee", {}).get("URI"),
            "type": grant.get("Grantee", {}).get("Type"),
            "permission": grant.get("Permission"),
        }
        for grant in acl.get("Grants", [])
    ]
    granted.sort(key=lambda grant: (str(grant["grantee"]), str(grant["permission"])))
    return {"owner": acl.get("Owner", {}).get("ID"), "grants": granted}


def _header(value: str) -> bool:
    return bool(_PRINTABLE.fullmatch(value)) and value == value.strip(" ") and value != ""


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _snake(name: str) -> str:
    """ChecksumSHA256 -> checksum_sha256."""
    return f"checksum_{name.removeprefix('Checksum').lower()}"

"""From a location to a boto3 client: options, credentials, TLS, checksums; one client per process and settings."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from connectors.credentials import resolve
from connectors.errors import LocationError
from connectors.location import Location
from connectors.s3.errors import translated
from connectors.s3.models import models
from connectors.s3.wire import Line

_MOST = 128
"""Small operations at once that a service of unknown limits is asked at most, where that moves more."""
OPTIONS = {
    "endpoint": "url of the S3 service; absent: AWS, or what the AWS configuration says",
    "region": "region that signatures name; absent: the AWS configuration's, else us-east-1",
    "style": "path, virtual or auto: where the bucket stands in urls (default: path with an endpoint, else auto)",
    "ca": "file with the certificates of your own authority",
    "checksums": "when_required or when_supported (default: when_supported at AWS, else when_required)",
    "acl": "record (default) or ignore: read every object's ACL into the evidence; keep: also give it to objects put here",
    "lock": "keep: give objects put here the retention and legal hold that they had (the bucket needs object lock)",
    "bulk": "off: ask for each small object by itself, over botocore (default: on)",
    "connections": "operations at once at most (default 16, up to 128 small ones where the line is long)",
    "requester_pays": "true: agree to pay for a bucket whose owner does not",
    "allow_http": "true: allow http:// to another machine, where anyone on the way can read",
}
_SUMMED = (
    *("PutBucketVersioning", "PutBucketLifecycleConfiguration", "PutBucketCors", "PutBucketTagging"),
    *("PutBucketEncryption", "PutObjectLockConfiguration"),
    *("PutObjectTagging", "PutObjectRetention", "PutObjectLegalHold"),
)
CONNECT_SECONDS, READ_SECONDS = 10, 60
Style = Literal["path", "virtual", "auto"]
Checksums = Literal["when_required", "when_supported"]
_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^,]*/[0-9]{8}/(?P<region>[^/,]+)/s3/aws4_request,")
_lock = threading.RLock()
_capture = threading.local()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that makes one client differ from another."""

    endpoint: str | None
    region: str | None
    style: Style
    ca: str | None
    checksums: Checksums
    connections: int
    most: int
    reference: str | None
    access_key_id: str | None
    secret: str | None = field(repr=False)
    token: str | None = field(repr=False)
    profile: str | None
    anonymous: bool

    @property
    def aws(self) -> bool:
        """Whether AWS itself answers: it keeps promises that others only copy."""
        host = urlsplit(self.endpoint).hostname or "" if self.endpoint else "amazonaws.com"
        return host.endswith((".amazonaws.com", ".amazonaws.com.cn")) or host == "amazonaws.com"


def settings(location: Location) -> Settings:
    """Read a location's options and resolve its credentials. LocationError, PermissionDeniedError."""
    location.check_options(OPTIONS)

    def choice(name: str, *known: str) -> str:
        value = location.option(name, known[0])
        if value not in known:
            raise LocationError(f"{name}={value} is not one of {', '.join(known)}", host=location.url)
        return value

    if not location.host or location.user or location.port is not None:
        raise LocationError("write s3://bucket/prefix, and the service as ?endpoint=https://…", host=location.url)
    endpoint = (
        location.option("endpoint") or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    )
    if endpoint:
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.password:
            raise LocationError("endpoint= wants a url such as https://s3.example", host=location.url)
        if (
            parts.scheme == "http"
            and not _loopback(parts.hostname)
            and choice("allow_http", "false", "true") == "false"
        ):
            raise LocationError(
                f"{parts.hostname} would be spoken to without encryption; write https://, or allow_http=true if you must",
                host=location.url,
            )
    ca = location.option("ca") or None
    if ca and not Path(ca).is_file():
        raise LocationError(f"ca={ca}: there is no such file", host=location.url)
    choice("acl", "record", "ignore", "keep")
    choice("lock", "", "keep")
    choice("bulk", "on", "off")
    choice("requester_pays", "false", "true")
    connections = location.option("connections", "16")
    if not connections.isdecimal() or not 1 <= int(connections) <= 1024:
        raise LocationError("connections= wants a number from 1 to 1024", host=location.url)
    found = resolve(location.credentials)
    if found.password or found.key_file or found.agent or (found.access_key_id and not found.secret_access_key):
        raise LocationError(
            "S3 wants an access key id and a secret access key behind the credentials reference", host=location.url
        )
    plain = Settings(
        endpoint=endpoint or None,
        region=location.option("region") or None,
        style=cast("Style", choice("style", "path" if endpoint else "auto", "path", "virtual", "auto")),
        ca=ca,
        checksums="when_required",
        connections=int(connections),
        most=int(connections) if location.option("connections") else _MOST,
        reference=found.reference,
        access_key_id=found.access_key_id,
        secret=found.secret_access_key.reveal() if found.secret_access_key else None,
        token=found.session_token.reveal() if found.session_token else None,
        profile=found.profile,
        anonymous=found.anonymous,
    )
    default = "when_supported" if plain.aws else "when_required"
    checksums = cast("Checksums", choice("checksums", default, "when_required", "when_supported"))
    return replace(plain, checksums=checksums)


def client(wanted: Settings, *, checked_reads: bool = True) -> Any:
    """The process's client for these settings. `checked_reads`: let botocore compare the host's checksum on reading."""
    with _lock, translated(wanted.endpoint or "s3://"):
        return _client(wanted, checked_reads or wanted.checksums == "when_required", os.getpid(), _environment())


def line(wanted: Settings, bucket: str) -> Line | None:
    """How libcurl reaches the bucket as botocore would; None where botocore does what libcurl cannot."""
    built = client(wanted)
    _capture.requests = []
    try:
        with translated(wanted.endpoint or "s3://"):
            built.head_object(Bucket=bucket, Key="k")
        sent: AWSPreparedRequest = _capture.requests[0]
    finally:
        _capture.requests = None
    authorization = sent.headers.get("Authorization") or ""
    signed = _SCOPE.match(authorization if isinstance(authorization, str) else authorization.decode())
    if not sent.url.endswith("/k") or bool(signed) == wanted.anonymous:
        return None
    with _lock:
        chosen = _session(wanted.profile, os.getpid(), _environment())[1].get_config_variable("ca_bundle")
    return Line(
        base=sent.url.removesuffix("k"),
        ca=str(wanted.ca or chosen or get_cert_path(True)),
        proxy=get_environ_proxies(sent.url).get(urlsplit(sent.url).scheme, ""),
        signing=f"aws:amz:{signed['region']}:s3" if signed else "",
    )


def credentials(wanted: Settings) -> Credentials | None:
    """What freezes into the keys of a moment; providers that refresh do so then. None: anonymous, or not found."""
    if wanted.anonymous:
        return None
    if wanted.access_key_id and wanted.secret:
        return Credentials(wanted.access_key_id, wanted.secret, wanted.token)
    with _lock, translated(wanted.endpoint or "s3://"):
        found: Credentials | None = _session(wanted.profile, os.getpid(), _environment())[0].get_credentials()
    return found


def _environment() -> tuple[tuple[str, str], ...]:
    # The SDK's own chain reads the environment, and a forked process must not share its parent's sockets.
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


@lru_cache(maxsize=32)
def _client(wanted: Settings, checked_reads: bool, pid: int, environment: tuple[tuple[str, str], ...]) -> Any:
    session, _ = _session(wanted.profile, pid, environment)
    built = session.client(
        "s3",
        endpoint_url=wanted.endpoint,
        region_name=wanted.region or session.region_name or "us-east-1",
        verify=wanted.ca,
        aws_access_key_id=wanted.access_key_id,
        aws_secret_access_key=wanted.secret,
        aws_session_token=wanted.token,
        config=Config(
            signature_version=UNSIGNED if wanted.anonymous else None,
            # Where nobody on the way can change the bytes, hashing all of them once more for the signature proves nothing.
            s3={
                "addressing_style": wanted.style,
                "payload_signing_enabled": is_open(wanted.endpoint),
            },
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            # One silent repeat, for a kept connection that the host had closed; real retries are the caller's.
            retries={"mode": "standard", "total_max_attempts": 2},
            max_pool_connections=4 * wanted.connections,
            request_checksum_calculation=wanted.checksums,
            response_checksum_validation=wanted.checksums if checked_reads else "when_required",
            tcp_keepalive=True,
        ),
    )
    for operation in ("ListObjectsV2", "ListObjects", "ListObjectVersions"):
        built.meta.events.register(f"before-parse.s3.{operation}", _keep_page)
    for operation in ("GetObjectTagging", "GetObjectAcl"):
        built.meta.events.register(f"before-call.s3.{operation}", _ask_little)
        built.meta.events.register(f"before-parse.s3.{operation}", _refuse_object)
    for operation in ("PutObject", "CreateMultipartUpload"):
        built.meta.events.register(f"before-parameter-build.s3.{operation}", _take_expires)
        built.meta.events.register(f"before-call.s3.{operation}", _send_expires)
    for operation in _SUMMED if not wanted.aws else ():
        built.meta.events.register(f"before-call.s3.{operation}", _add_md5)
    built.meta.events.register("before-send.s3.HeadObject", _show)  # type: ignore[arg-type]  # the stubs know no handler that answers
    return built


@lru_cache(maxsize=8)
def _session(
    profile: str | None, pid: int, environment: tuple[tuple[str, str], ...]
) -> tuple[boto3.session.Session, botocore.session.Session]:
    beneath = botocore.session.Session(profile=profile)
    beneath.register_component("data_loader", models(beneath.get_config_variable("data_path")))
    return boto3.session.Session(botocore_session=beneath), beneath


def is_open(endpoint: str | None) -> bool:
    """Whether requests travel to another machine without encryption."""
    parts = urlsplit(endpoint or "https:")
    return parts.scheme == "http" and not _loopback(parts.hostname or "")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _keep_page(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    # botocore sorts versions and delete markers into two lists and loses their common order: we read the page ourselves.
    if response_dict["status_code"] == 200:
        customized_response_dict["Page"] = response_dict["body"]
        response_dict["body"] = b""


def _ask_little(params: dict[str, Any], **_: Any) -> None:
    # A host that does not know ?tagging or ?acl answers with the object itself, which may be larger than memory.
    params["headers"]["Range"] = "bytes=0-65535"


def _refuse_object(response_dict: dict[str, Any], **_: Any) -> None:
    # Tags and grants have no ETag and no range; 500 is what botocore made of a 200 that is no XML.
    status = response_dict["status_code"]
    if status == 416 or ("etag" in response_dict["headers"] and status in {200, 206, 500}):
        response_dict["status_code"] = 501
        response_dict["body"] = b""


def _take_expires(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    # botocore would write the date anew; the text is what was stored, and what must be stored again.
    if "ExpiresText" in params:
        context["expires_text"] = params.pop("ExpiresText")


def _send_expires(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    if "expires_text" in context:
        params["headers"]["Expires"] = context["expires_text"]


def _add_md5(params: dict[str, Any], **_: Any) -> None:
    # Many hosts refuse these requests without it; botocore has sent a CRC32 in its place since 1.36.
    body = params["body"]
    if isinstance(body, bytes):
        params["headers"]["Content-MD5"] = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _show(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
    # How botocore would send a request, without sending it.
    shown: list[AWSPreparedRequest] | None = getattr(_capture, "requests", None)
    if shown is None:
        return None
    shown.append(request)
    return AWSResponse(request.url, 200, HTTPHeaders(), _Empty())


class _Empty:
    def stream(self) -> Iterator[bytes]:
        return iter(())

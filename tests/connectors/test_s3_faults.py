"""What the S3 connector makes of hosts that throttle, cut, loop, lie, or are not who they say: scripted HTTP hosts."""

import base64
import contextlib
import datetime
import hashlib
import http.server
import ipaddress
import pickle
import socket
import ssl
import threading
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import servers
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connectors.entry import Entry
from connectors.errors import (
    AlreadyExistsError,
    ChangedError,
    CorruptedError,
    FullError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedError,
)
from connectors.location import Location
from connectors.protocols import Setting
from connectors.registry import connect
from connectors.streams import BytesStream
from connectors.testing.base import poured

SECRET = "fake-secret-0009"


class Host:
    """An S3 host of which a function says what it answers: (method, path, query, headers, body) -> (status, headers, body)."""

    def __init__(self, answer, context=None):
        self.requests = []
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path, _, query = self.path.partition("?")
                query = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
                host.requests.append((self.command, self.path))
                status, headers, data = answer(self.command, path, query, self.headers, body)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)
                if "Content-Length" in headers:
                    self.close_connection = True

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = respond  # noqa: N815 - names that http.server looks for

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a client that hangs up is no news
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.scheme = "https" if context else "http"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def place(self, path="", **options):
        endpoint = f"{self.scheme}://127.0.0.1:{self.server.server_address[1]}"
        credentials = servers.environment_reference(access_key_id="fake-key", secret_access_key=SECRET)
        return connect(
            Location(
                scheme="s3",
                host="cabinet",
                path=path,
                options={"endpoint": endpoint, **options},
                credentials=credentials,
            )
        )


def to_the_end(stream, size):
    while stream.read(size):
        pass


def error(status, code, **headers):
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, body


def page(*keys, token="", more=None, prefix=""):
    more = bool(token) if more is None else more
    items = "".join(
        f'<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>"e"</ETag>'
        f"<Size>1</Size></Contents>"
        for key in keys
    )
    follow = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return (
        200,
        {},
        (
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{follow}{items}</ListBucketResult>"
        ).encode(),
    )


@pytest.mark.parametrize(
    ("answer", "kind", "retry_after"),
    [
        (error(503, "SlowDown", Retry_After="7"), UnavailableError, 7),
        (error(429, "TooManyRequests", Retry_After="1"), UnavailableError, 1),
        (error(503, "ServiceUnavailable"), UnavailableError, None),
        (error(500, "InternalError"), UnavailableError, None),
        (error(409, "ConditionalRequestConflict"), UnavailableError, None),
        (error(403, "AccessDenied"), PermissionDeniedError, None),
        (error(403, "SignatureDoesNotMatch"), PermissionDeniedError, None),
        (error(400, "ExpiredToken"), PermissionDeniedError, None),
        (error(404, "NoSuchBucket"), NotFoundError, None),
        (error(507, "InsufficientStorage"), FullError, None),
        (error(403, "QuotaExceeded"), FullError, None),
        (error(412, "PreconditionFailed"), AlreadyExistsError, None),
        (error(501, "NotImplemented"), UnsupportedError, None),
    ],
)
def test_a_host_s_refusal_is_classed_by_what_can_be_done(answer, kind, retry_after):
    def host(method, path, query, headers, body):
        return (404, {}, b"") if method == "HEAD" else answer

    with Host(host) as fake, pytest.raises(kind) as caught:
        fake.place().put(Entry(key="a", size=1), BytesStream(b"1"))
    assert type(caught.value) is kind
    assert caught.value.retryable == (kind is UnavailableError)
    assert caught.value.retry_after == retry_after
    assert caught.value.key == "a"
    again = pickle.loads(pickle.dumps(caught.value))
    assert SECRET not in f"{caught.value!r}{caught.value}{again.cause}{again.host}"


def test_a_listing_that_breaks_on_page_3_raises_and_is_never_short():
    def host(method, path, query, headers, body):
        return {"": page("a", token="t1"), "t1": page("b", token="t2")}.get(
            query.get("continuation-token", ""), error(500, "InternalError")
        )

    with Host(host) as fake:
        seen = []
        with pytest.raises(UnavailableError):
            seen.extend(entry.key for entry in fake.place().list())


@pytest.mark.parametrize(
    ("pages", "says"),
    [
        ([page("a", more=True)], "not where"),
        ([page("a", token="t", more=False)], "nothing follows, and where"),
        *(([page("a", token="t", more=more)], "whether more follows") for more in ("1", "yes", "", " <x/> ")),
        ([page("a", token="t"), page("b", token="t"), page("c", token="t")], "circles"),
        ([page("a", token="t"), page("a", token="u")], "twice"),
        ([page("elsewhere/a")], "outside"),
        ([(200, {}, b"<ListBucketResult></ListBucketResult>")], "the last"),
        ([(200, {}, b"<!DOCTYPE x [<!ENTITY a 'b'>]><ListBucketResult>&a;</ListBucketResult>")], "document type"),
        ([(200, {}, page("a")[2].replace(b"<Size>1</Size>", b""))], "without key, size"),
    ],
)
def test_a_listing_that_cannot_be_true_is_refused(pages, says):
    left = list(pages)

    def host(method, path, query, headers, body):
        return left.pop(0) if len(left) > 1 else left[0]

    with Host(host) as fake, pytest.raises(CorruptedError, match=says):
        list(fake.place().list("a" if "outside" in says else ""))


def test_a_listing_cut_in_the_middle_of_its_page_raises():
    with Host(lambda *_: (200, {}, page("a", "b")[2][:-40])) as fake, pytest.raises(UnavailableError):
        list(fake.place().list())


@pytest.mark.parametrize("status", [204, 206, 299])
def test_a_listing_that_succeeds_in_another_way_is_refused_and_not_empty(status):
    body = b"" if status == 204 else page("a")[2]
    with Host(lambda *_: (status, {}, body)) as fake, pytest.raises(CorruptedError, match="no page"):
        list(fake.place().list())


def test_a_host_without_the_second_listing_is_listed_with_the_first():
    def host(method, path, query, headers, body):
        if "list-type" in query:
            return error(501, "NotImplemented")
        return page("b%01%2B+", "c") if query.get("marker") == "a é" else page("a+%C3%A9", more=True)

    with Host(host) as fake:
        assert [entry.key for entry in fake.place().list()] == ["a é", "b\x01+ ", "c"]


def test_a_body_shorter_than_announced_is_an_error_inside_read():
    def host(method, path, query, headers, body):
        return 200, {"Content-Length": "1000", "ETag": '"e"'}, b"x" * 600

    with Host(host) as fake:
        stream = fake.place().open(Entry(key="a", size=1000, digests={"etag": '"e"'}))
        with pytest.raises(UnavailableError) as caught:
            to_the_end(stream, 256)
        assert caught.value.key == "a"
        stream.close()
        with pytest.raises(UnavailableError):
            fake.place().open(Entry(key="a", size=1000)).read()
        with pytest.raises(UnavailableError):
            poured(fake.place().open(Entry(key="a", size=1000)), 256)


def test_another_length_than_listed_is_an_error_at_open():
    with Host(lambda *_: (200, {}, b"x" * 600)) as fake, pytest.raises(CorruptedError, match="600"):
        fake.place().open(Entry(key="a", size=1000))


def test_a_host_that_ignores_the_range_or_the_condition_is_caught():
    with Host(lambda *_: (200, {"ETag": '"new"'}, b"x" * 600)) as fake:
        with pytest.raises(CorruptedError, match="range"):
            fake.place().open(Entry(key="a", size=600), 100, 200)
        with pytest.raises(ChangedError):
            fake.place().open(Entry(key="a", size=600, digests={"etag": '"old"'}))


def test_a_checksum_that_the_bytes_do_not_have_is_found_at_the_end():
    wrong = base64.b64encode(b"\0\0\0\0").decode()
    with Host(lambda *_: (200, {"x-amz-checksum-crc32": wrong}, b"hello")) as fake:
        stream = fake.place(checksums="when_supported").open(Entry(key="a", size=5))
        with pytest.raises(CorruptedError, match="checksum"):
            to_the_end(stream, 3)
        stream.close()
        with pytest.raises(CorruptedError, match="checksum"):
            poured(fake.place(checksums="when_supported").open(Entry(key="a", size=5)), 3)


def test_an_error_inside_a_200_of_complete_is_an_error_and_the_upload_is_ended():
    calls = []

    def host(method, path, query, headers, body):
        calls.append((method, sorted(query)))
        if method == "HEAD":
            return 404, {}, b""
        if method == "POST" and "uploads" in query:
            return 200, {}, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        if method == "PUT":
            return 200, {"ETag": '"p"'}, b""
        return error(200 if method == "POST" else 204, "InternalError")

    size = (16 << 20) + 1
    with Host(host) as fake, pytest.raises(UnavailableError):
        fake.place().put(Entry(key="a", size=size), BytesStream(bytes(size)))
    assert calls[-1] == ("DELETE", ["uploadId"])


def test_a_host_that_answers_tags_with_the_object_never_gets_tags_put_and_says_so():
    stored = {}

    def host(method, path, query, headers, body):
        if method == "PUT":
            stored[path] = body
            return 200, {"ETag": '"e"'}, b""
        if path == "/cabinet":
            return 200, {}, b"<VersioningConfiguration/>"
        if path not in stored:
            return error(404, "NoSuchKey")
        return 200, {"ETag": '"e"', "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT"}, stored[path]

    with Host(host) as fake:
        place = fake.place()
        entry = place.put(Entry(key="a", size=5, tags={"dossier": "1"}), BytesStream(b"<Tag>"))
        assert entry.tags == {}
        assert entry.host["unread"] == {"tags": "501", "acl": "501"}
        assert "tags" not in place.capabilities.preserves
    assert list(stored.values()) == [b"<Tag>"]


def test_a_host_without_conditions_is_checked_by_looking_first():
    stored = {}

    def host(method, path, query, headers, body):
        if method == "PUT" and "If-None-Match" in headers:
            return error(501, "NotImplemented")
        if method == "PUT":
            stored[path] = body
            return 200, {"ETag": '"e"'}, b""
        if query or path not in stored:
            return error(501 if query else 404, "NotImplemented" if query else "NoSuchKey")
        return 200, {"ETag": '"e"'}, stored[path]

    with Host(host) as fake:
        place = fake.place()
        assert place.put(Entry(key="a", size=1), BytesStream(b"1")).size == 1
        with pytest.raises(AlreadyExistsError):
            place.put(Entry(key="a", size=1), BytesStream(b"2"))
    assert list(stored.values()) == [b"1"]


@pytest.mark.parametrize("key", ["a/../b", "./x", "/lead", "//x", "x/..", "..", "new\nline", "é +%#?&;=@", "t/"])
@pytest.mark.parametrize("prefix", ["", "cabinet/données"])
def test_keys_are_exact_on_the_wire(key, prefix):
    with Host(lambda *_: (404, {}, b"")) as fake:
        with pytest.raises(NotFoundError):
            fake.place(prefix).stat(key)
        path = urlsplit(f"http://h{fake.requests[0][1]}").path
    assert unquote(path) == f"/cabinet/{prefix}{'/' if prefix else ''}{key}"


def test_a_refused_connection_is_worth_retrying_and_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        options = {"endpoint": f"http://127.0.0.1:{unused.getsockname()[1]}"}
        place = connect(Location(scheme="s3", host="cabinet", options=options, credentials="anonymous"))
        with pytest.raises(UnavailableError, match="refused"):
            place.stat("a")


@contextlib.contextmanager
def tls_host(folder, answer=lambda *_: page("a")):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    with Host(answer, context) as fake:
        yield fake


def test_an_untrusted_certificate_is_refused_and_the_way_out_is_named(tmp_path):
    with tls_host(tmp_path) as fake:
        with pytest.raises(PermissionDeniedError, match=r"not trusted.*ca=PATH"):
            list(fake.place().list())
        assert [entry.key for entry in fake.place(ca=str(tmp_path / "ca.pem")).list()] == ["a"]


def version_page(*items, more="", encoded=True):
    """(key, version, latest, marker) in this order, and the key and version where the next page begins."""
    rows = "".join(
        f"<{kind}><Key>{key}</Key><VersionId>{version}</VersionId><IsLatest>{latest}</IsLatest>"
        f"<LastModified>2026-01-02T03:04:0{second}.000Z</LastModified>{'' if kind == 'DeleteMarker' else '<Size>1</Size>'}"
        f"</{kind}>"
        for key, version, latest, kind, second in items
    )
    follow = "".join(
        f"<Next{name}>{value}</Next{name}>" for name, value in zip(("KeyMarker", "VersionIdMarker"), more, strict=False)
    )
    encoding = "<EncodingType>url</EncodingType>" if encoded else ""
    return (
        200,
        {},
        f"<ListVersionsResult>{encoding}<IsTruncated>{str(bool(more)).lower()}</IsTruncated>{follow}{rows}"
        "</ListVersionsResult>".encode(),
    )


def test_the_order_of_versions_and_markers_is_the_host_s_even_against_its_times():
    first = version_page(
        ("a+b", "v3", "true", "Version", 1),
        ("a+b", "m2", "false", "DeleteMarker", 3),
        ("a+b", "v1", "false", "Version", 2),
        more=("a%2Bb", "v1"),
    )
    second = version_page(("a%2Bb", "m0", "false", "DeleteMarker", 0), ("c", "v0", "true", "Version", 0))
    asked = []

    def host(method, path, query, headers, body):
        asked.append((query.get("key-marker"), query.get("version-id-marker")))
        return second if "key-marker" in query else first

    with Host(host) as fake:
        found = [(entry.key, entry.version, entry.kind) for entry in fake.place().list_versions()]
    assert found == [
        ("a b", "v3", "object"),
        ("a b", "m2", "delete_marker"),
        ("a b", "v1", "object"),
        ("a+b", "m0", "delete_marker"),
        ("c", "v0", "object"),
    ]
    assert asked == [(None, None), ("a+b", "v1")]


def test_versions_that_a_host_lists_apart_from_markers_are_put_back_in_order():
    mixed = version_page(
        ("a", "v4", "true", "Version", 4),
        ("a", "v1", "false", "Version", 1),
        ("b", "v0", "true", "Version", 0),
        ("a", "m3", "false", "DeleteMarker", 3),
        encoded=False,
    )
    with Host(lambda *_: mixed) as fake:
        found = [(entry.key, entry.version) for entry in fake.place().list_versions()]
    assert found == [("a", "v4"), ("a", "m3"), ("a", "v1"), ("b", "v0")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("versioning", {"Status": "Enabled"}),
        ("lifecycle", {"Rules": [{"ID": "a", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 9}}]}),
        ("cors", {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}),
        ("tags", {"TagSet": [{"Key": "service", "Value": "dossiers"}]}),
        ("object_lock", {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}),
    ],
)
def test_a_setting_travels_with_the_md5_that_many_hosts_demand(name, value):
    def host(method, path, query, headers, body):
        given = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        return (200, {}, b"") if headers.get("Content-MD5") == given else error(400, "MissingContentMD5")

    with Host(host) as fake:
        fake.place().put_setting(Setting(name=name, value=value))

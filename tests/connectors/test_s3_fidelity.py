"""What the S3 connector carries, records and refuses, at moto and at `rclone serve s3`."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import servers

from connectors.entry import Entry
from connectors.errors import (
    AlreadyExistsError,
    ColdError,
    InvalidKeyError,
    LocationError,
    NotFoundError,
    PermissionDeniedError,
    UnsupportedError,
)
from connectors.location import Location
from connectors.registry import connect
from connectors.streams import BytesStream

RICH = {
    "media_type": "application/pdf",
    "headers": {
        "content_encoding": "gzip",
        "cache_control": "no-store",
        "content_disposition": 'attachment; filename="lettre.pdf"',
        "content_language": "fr",
        "expires": "Thu, 01 Jan 2037 00:00:01 GMT",
    },
    "metadata": {"dossier": "4711", "empty": "", "signs": "a=b; c/d"},
    "tags": {"durée": "20 ans", "type": "lettre/sortie"},
}


def next_second(moto):
    """Wait for moto's clock, which shows seconds: it lists versions apart from markers, and only time tells their order."""
    bucket = moto.place().host
    seen = set()
    deadline = time.monotonic() + 30
    with moto.client() as client:
        while len(seen) < 2 and time.monotonic() < deadline:
            client.put_object(Bucket=bucket, Key="clock", Body=b"")
            seen.add(client.head_object(Bucket=bucket, Key="clock")["LastModified"])


@pytest.mark.parametrize("size", [5, (16 << 20) + 1])
def test_headers_metadata_and_tags_come_back_as_they_were_put(moto, size):
    place = connect(moto.place())
    stored = place.put(Entry(key="a", size=size, **RICH), BytesStream(bytes(size)))
    assert {name: getattr(stored, name) for name in RICH} == RICH
    assert stored == place.stat("a")


def test_what_headers_cannot_hold_is_missing_from_the_returned_entry_and_the_rest_is_kept(moto):
    place = connect(moto.place())
    stored = place.put(
        Entry(
            key="a",
            size=1,
            headers={"content_disposition": "attachment; filename=é", "cache_control": "no-store"},
            metadata={
                "médecin": "x",
                "name": "Élodie",
                "space out": "1",
                "line": "a\nb",
                "big": "x" * 3000,
                "good": "1",
            },
            tags={**{f"t{n:02}": "v" for n in range(12)}, "bad#": "x", "long": "x" * 300},
        ),
        BytesStream(b"1"),
    )
    assert stored.headers == {"cache_control": "no-store"}
    assert stored.metadata == {"good": "1"}
    assert stored.tags == {f"t{n:02}": "v" for n in range(10)}


def test_versions_and_markers_of_several_keys_are_listed_in_true_order_over_pages(moto):
    location = moto.place(versioned=True)
    place = connect(location)
    made = [place.put_version(Entry(key="a", size=1, tags={"n": str(n)}), BytesStream(b"%d" % n)) for n in range(2)]
    next_second(moto)
    marker = place.put_marker(Entry(key="a", kind="delete_marker"))
    next_second(moto)
    newest = place.put_version(Entry(key="a", size=1), BytesStream(b"9"))
    place.put(Entry(key="é b", size=1), BytesStream(b"1"))
    found = list(place.list_versions())
    assert [(entry.key, entry.version, entry.kind, entry.latest) for entry in found if entry.key == "a"] == [
        ("a", newest.version, "object", True),
        ("a", marker.version, "delete_marker", False),
        ("a", made[1].version, "object", False),
        ("a", made[0].version, "object", False),
    ]
    assert [entry.key for entry in found][-1] == "é b"
    described = [place.describe(entry) for entry in found if entry.kind == "object" and entry.key == "a"]
    assert [entry.tags for entry in described] == [{}, {"n": "1"}, {"n": "0"}]
    assert [place.open(entry).read() for entry in described] == [b"9", b"1", b"0"]


def test_a_bucket_without_versions_lists_each_object_as_its_only_version(moto):
    place = connect(moto.place())
    place.put(Entry(key="a", size=1), BytesStream(b"1"))
    found = list(place.list_versions())
    assert [(entry.version, entry.latest) for entry in found] == [("null", True)]
    assert place.describe(found[0]).size == 1
    assert place.open(found[0]).read() == b"1"
    assert "versions" not in place.capabilities.preserves
    with pytest.raises(UnsupportedError, match="versions"):
        place.put_version(Entry(key="a", size=1), BytesStream(b"2"))


def test_a_host_that_knows_no_versions_says_so(rclone_s3):
    place = connect(rclone_s3.place())
    with pytest.raises(UnsupportedError):
        list(place.list_versions())
    assert place.capabilities.preserves == {"media_type", "headers", "metadata"}


def test_a_cold_object_is_listed_and_described_but_not_read(moto):
    location = moto.place()
    with moto.client() as client:
        client.put_object(Bucket=location.host, Key="cold", Body=b"1", StorageClass="GLACIER")
    place = connect(location)
    (entry,) = place.list()
    assert place.describe(entry).storage_class == "GLACIER"
    with pytest.raises(ColdError, match="restore") as caught:
        place.open(entry)
    assert not caught.value.retryable


def test_locks_redirects_and_grants_are_recorded(moto):
    bucket = f"b-lock-{os.getpid()}-{time.monotonic_ns()}"
    with moto.client() as client:
        client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        client.put_object(
            Bucket=bucket,
            Key="a",
            Body=b"1",
            ObjectLockMode="COMPLIANCE",
            ObjectLockRetainUntilDate="2037-01-01T00:00:00Z",
            ObjectLockLegalHoldStatus="ON",
            WebsiteRedirectLocation="/b",
            ServerSideEncryption="AES256",
            ChecksumAlgorithm="SHA256",
        )
    host = connect(moto.location(bucket)).stat("a").host
    assert host["lock"] == {"mode": "COMPLIANCE", "until": "2037-01-01T00:00:00+00:00"}
    assert host["legal_hold"] == "ON"
    assert host["redirect"] == "/b"
    assert host["encryption"] == {"algorithm": "AES256"}
    assert host["acl"]["grants"][0]["permission"] == "FULL_CONTROL"
    ignoring = replace(moto.location(bucket), options={**moto.location(bucket).options, "acl": "ignore"})
    assert "acl" not in connect(ignoring).stat("a").host


def test_a_checksum_the_host_echoes_is_recorded_and_never_claimed(moto):
    location = moto.place()
    with moto.client() as client:
        client.put_object(Bucket=location.host, Key="a", Body=b"1", ChecksumSHA256="AAAA", ChecksumAlgorithm="SHA256")
    place = connect(location)
    assert place.stat("a").digests["checksum_sha256"] == "AAAA"
    assert place.capabilities.digests == frozenset()


def test_a_wrong_secret_is_refused_without_being_shown(rclone_s3):
    wrong = servers.environment_reference(access_key_id=rclone_s3.access_key, secret_access_key="wrong-secret-0008")
    place = connect(replace(rclone_s3.place(), credentials=wrong))
    with pytest.raises(PermissionDeniedError, match="credentials") as caught:
        list(place.list())
    text = f"{caught.value!r} {caught.value.cause} {place!r} {place.uri}"
    assert "wrong-secret-0008" not in text
    assert rclone_s3.access_key not in text


def test_anonymous_requests_are_not_signed(moto):
    location = replace(moto.place(), credentials="anonymous")
    assert list(connect(location).list()) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"endpoint": "http://s3.example"}, "encryption"),
        ({"endpoint": "s3.example"}, "https://"),
        ({"endpoint": "https://user:pass@s3.example"}, "https://"),
        ({"ca": "/nonexistent/ca.pem"}, "no such file"),
        ({"style": "both"}, "style"),
        ({"connections": "many"}, "connections"),
        ({"regoin": "fr-par"}, "regoin"),
    ],
)
def test_a_location_that_cannot_be_right_is_refused_before_any_request(options, says):
    with pytest.raises(LocationError, match=says):
        connect(Location(scheme="s3", host="cabinet", options=options, credentials="anonymous"))


def test_plain_http_to_another_machine_needs_a_word():
    options = {"endpoint": "http://s3.example", "allow_http": "true"}
    assert connect(Location(scheme="s3", host="cabinet", options=options, credentials="anonymous")).uri


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (Entry(key=""), InvalidKeyError),
        (Entry(key="\udce9"), InvalidKeyError),
        (Entry(key="k" * 1025), InvalidKeyError),
        (Entry(key="a", size=(5 << 40) + 1), UnsupportedError),
        (Entry(key="a", kind="directory"), UnsupportedError),
    ],
)
def test_preflight_refuses_what_s3_cannot_hold(entry, kind):
    place = connect(Location(scheme="s3", host="cabinet", credentials="anonymous"))
    with pytest.raises(kind):
        place.preflight(entry)


@pytest.mark.parametrize("size", [1, 160 << 30, 1 << 40, 5 << 40])
def test_parts_are_at_most_ten_thousand(size):
    place = connect(Location(scheme="s3", host="cabinet", credentials="anonymous"))
    part = place.part_size(size)
    assert part >= 16 << 20
    assert -(-size // part) <= 10_000
    assert part <= 5 << 30


def test_an_upload_goes_on_in_another_instance_and_a_second_finish_does_no_harm(moto):
    location = moto.place()
    first, second = connect(location), connect(location)
    size = (16 << 20) + 3
    entry = Entry(key="a", size=size, tags={"n": "1"})
    token = first.begin(entry)
    parts = [first.put_part(entry, token, 1, BytesStream(bytes(16 << 20)), 16 << 20)]
    first.close()
    parts.append(second.put_part(entry, token, 2, BytesStream(b"end"), 3))
    assert second.finish(entry, token, parts) == second.stat("a")
    assert second.stat("a").tags == {"n": "1"}
    with pytest.raises(AlreadyExistsError):
        second.finish(entry, token, parts)
    second.abort(entry, token)


def test_an_upload_the_host_has_forgotten_is_named(rclone_s3):
    place = connect(rclone_s3.place())
    entry = Entry(key="a", size=1)
    with pytest.raises(NotFoundError, match="begin the object again"):
        place.finish(entry, "unknown", ['{"ETag":"x","size":1}'])


def test_a_body_of_unknown_length_may_be_larger_than_one_request(moto):
    place = connect(moto.place())
    size = (16 << 20) + 7
    assert place.put(Entry(key="a"), BytesStream(bytes(size))).size == size
    assert place.put(Entry(key="b"), BytesStream(bytes(16 << 20))).size == 16 << 20
    assert place.put(Entry(key="c"), BytesStream()).size == 0


def test_the_folder_that_consoles_show_for_the_place_itself_is_no_object_of_it(moto):
    location = moto.place(prefix="cabinet")
    with moto.client() as client:
        for key in ("cabinet/", "cabinet/a/", "cabinetry"):
            client.put_object(Bucket=location.host, Key=key, Body=b"")
    place = connect(location)
    assert [entry.key for entry in place.list()] == ["a/"]
    assert [entry.key for entry in place.list_versions()] == ["a/"]
    assert list(place.list("\udce9")) == []


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is how a POSIX process dies at once")
def test_a_put_that_is_killed_leaves_no_object(moto):
    location = moto.place()
    program = (
        "import sys\n"
        "from connectors.location import Location\n"
        "from connectors.registry import connect\n"
        "from connectors.entry import Entry\n"
        "class Endless:\n"
        "    def read(self, size=-1):\n"
        "        print('read', flush=True)\n"
        "        return bytes(size)\n"
        "    def close(self): pass\n"
        "place = connect(Location.parse(sys.argv[1], credentials=sys.argv[2]))\n"
        "place.put(Entry(key='a', size=1 << 30), Endless())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, location.url, location.credentials], stdout=subprocess.PIPE
    )
    for _ in range(150):  # two parts and a half
        assert process.stdout.readline() == b"read\n"
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    process.wait()
    place = connect(location)
    assert list(place.list()) == []
    with pytest.raises(NotFoundError):
        place.stat("a")

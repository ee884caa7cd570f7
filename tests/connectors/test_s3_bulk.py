"""The bulk lane at S3 and the plain way give the same results, at good hosts and at hosts that throttle, cut and refuse."""

import hashlib
import os
import re
import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from urllib.parse import unquote

import pytest
from test_s3_faults import SECRET, Host, error, tls_host

from connectors.entry import Entry
from connectors.protocols import BulkRead
from connectors.registry import connect
from connectors.streams import BytesStream
from portability.check import Check, CheckBatch, check
from portability.move import move
from portability.tasks import Batch, Step, Work
from portability.thing import dump

WORK = Work(retries=3, pause=0.001)
BODY = bytes(range(256)) * 8


class Shelf:
    """A plain S3 host in memory; `fault(method, key, count)` may answer instead, `count` being how often this was asked."""

    def __init__(self, fault=lambda method, key, count: None):
        self.objects, self.asked, self.fault, self.seen = {}, {}, fault, []

    def __call__(self, method, path, query, headers, body):
        self.seen.append((method, path, headers))
        key = unquote(path.partition("cabinet/")[2])
        if not key or {"tagging", "acl"} & set(query):
            return error(501, "NotImplemented")
        count = self.asked[method, key] = self.asked.get((method, key), 0) + 1
        if (answer := self.fault(method, key, count)) is not None:
            return answer
        if method == "PUT":
            if headers.get("If-None-Match") and key in self.objects:
                return error(412, "PreconditionFailed")
            kept = {
                name: value for name, value in headers.items() if name.lower().startswith(("x-amz-meta", "content-t"))
            }
            self.objects[key] = (body, kept)
            return 200, {"ETag": '"e"'}, b""
        if key not in self.objects:
            return error(404, "NoSuchKey")
        body, kept = self.objects[key]
        told = {**kept, "ETag": '"e"', "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT"}
        return 200, told, body

    def by_libcurl(self):
        return [path for _, path, headers in self.seen if "libcurl" in headers.get("User-Agent", "")]


def at(host, **options):
    return host.place(**options)._location


def entry(key, **more):
    return Entry(key=key, size=len(BODY), digests={"etag": '"e"'}, **more)


def copied(source, destination, entries):
    """What the worker answers of each, without what no two runs share."""
    steps = tuple(Step(id=number, claim=dump(one), path=one.key) for number, one in enumerate(entries))
    answers = move(Batch(source=source, destination=destination, tasks=steps, work=WORK))
    plain = []
    for answer in sorted(answers, key=lambda one: one.id):
        facts = asdict(answer)
        facts["problem"] = facts.get("problem", "")
        for name in ("received_at", "salt"):
            facts.pop(name, None)
        for place in (source, destination):
            facts["message"] = facts.get("message", "").replace(place.url, "")
        plain.append(facts)
    return plain


def both(fault=lambda method, key, count: None, keys=("a", "b"), **options):
    """What both lanes answer of copying the keys from one such host to another, and what the lane asked for."""
    found, asked = [], []
    for bulk in ("off", "on"):
        shelves = Shelf(fault), Shelf(fault)
        shelves[0].objects = {key: (BODY, {"Content-Type": "text/plain", "x-amz-meta-a": "b"}) for key in keys}
        with Host(shelves[0]) as source, Host(shelves[1]) as destination:
            ends = [at(host, bulk=bulk, **options) for host in (source, destination)]
            found.append(copied(*ends, [entry(key) for key in keys]))
            asked.append([path for shelf in shelves for path in shelf.by_libcurl()])
    assert not asked[0]
    assert asked[1]
    return found


def test_both_lanes_give_the_same_receipts():
    plain, bulk = both(keys=("a", "é/à b", "folder//x", "+&?#%41", "trailing/", ".", "x/../y"))
    assert plain == bulk
    assert {answer["attempts"] for answer in bulk} == {1}
    assert all(answer["sha256"] for answer in bulk)


@pytest.mark.parametrize("times", [1, 2, 3, 20])
@pytest.mark.parametrize(
    "answer",
    [error(503, "SlowDown", Retry_After="0"), error(500, "InternalError")],
    ids=["throttled", "failing"],
)
def test_both_lanes_count_the_same_tries(answer, times):
    def fault(method, key, count):
        return answer if method == "GET" and key == "a" and count <= times else None

    plain, bulk = both(fault)
    assert plain == bulk
    assert plain[0]["attempts"] == min(4, times // 2 + 1)


@pytest.mark.parametrize("times", [1, 3, 20])
def test_both_lanes_count_the_same_tries_where_bodies_break_off(times):
    def fault(method, key, count):
        cut = (200, {"Content-Length": str(len(BODY)), "ETag": '"e"', "Content-Type": "text/plain"}, BODY[:100])
        return cut if method == "GET" and key == "a" and count <= times else None

    plain, bulk = both(fault)
    assert plain == bulk
    assert plain[0]["attempts"] == min(4, times + 1)


def test_both_lanes_put_again_what_was_refused_for_a_while():
    def fault(method, key, count):
        if method == "PUT" and count <= 2:
            return error(503, "SlowDown")
        return None

    plain, bulk = both(fault)
    assert plain == bulk
    assert {answer["attempts"] for answer in bulk} == {2}


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "ExpiredToken"),
        error(403, "AccessDenied"),
        error(404, "NoSuchKey"),
        error(412, "PreconditionFailed"),
        error(301, "PermanentRedirect"),
        error(403, "InvalidObjectState"),
        (200, {}, b"another length"),
        (200, {"ETag": '"other"'}, BODY),
    ],
)
def test_both_lanes_end_in_the_same_failures(answer):
    def fault(method, key, count):
        return answer if method in {"GET", "HEAD"} and key == "a" else None

    plain, bulk = both(fault)
    assert plain == bulk
    assert plain[0]["problem"]
    assert not plain[1]["problem"]


@pytest.mark.parametrize("there", [BODY, b"another content"])
def test_both_lanes_adopt_equal_content_and_refuse_other(there):
    found = []
    for bulk in ("off", "on"):
        shelves = Shelf(), Shelf()
        shelves[0].objects, shelves[1].objects = {"a": (BODY, {})}, {"a": (there, {})}
        with Host(shelves[0]) as source, Host(shelves[1]) as destination:
            found.append(copied(at(source, bulk=bulk), at(destination, bulk=bulk), [entry("a")]))
        assert shelves[1].objects["a"][0] == there
    assert found[0] == found[1]
    assert found[0][0].get("adopted") if there == BODY else found[0][0]["problem"] == "AlreadyExists"


def test_a_host_that_only_redirects_is_not_asked_in_bulk_for_ever():
    shelf = Shelf(lambda method, key, count: error(301, "PermanentRedirect"))
    with Host(shelf) as host:
        place = host.place()
        list(place.read_many([entry(f"{n:03}") for n in range(100)], 4))
        assert len(shelf.seen) < 40
        assert place.bulk_bytes == 0


def test_verifying_in_bulk_sees_what_verifying_one_by_one_sees():
    def fault(method, key, count):
        return {
            "gone": error(404, "NoSuchKey"),
            "changed": (200, {"ETag": '"e"'}, BODY[::-1]),
            "denied": error(403, "AccessDenied"),
            "slow": error(503, "SlowDown") if count < 3 else None,
        }.get(key)

    keys = ("gone", "changed", "denied", "slow", "good", "undressed")
    found = []
    for bulk in ("off", "on"):
        shelf = Shelf(fault)
        shelf.objects = {key: (BODY, {"x-amz-meta-a": "b"} if key != "undressed" else {}) for key in keys}
        with Host(shelf) as host:
            checks = tuple(
                Check(
                    id=number,
                    listing=dump(entry(key)),
                    facts=dump(entry(key, metadata={"a": "b"})),
                    path=key,
                    size=len(BODY),
                    sha256=hashlib.sha256(BODY).hexdigest(),
                )
                for number, key in enumerate(keys)
            )
            seen = check(CheckBatch(destination=at(host, bulk=bulk), checks=checks, work=WORK))
        found.append(sorted(seen, key=lambda one: one.id))
    assert found[0] == found[1]
    problems = [{difference.problem for difference in one.differences} for one in found[1]]
    assert problems == [{"unreadable"}, {"digest", "metadata"}, {"unreadable"}, set(), set(), {"metadata"}]


def test_both_lanes_describe_everything_that_a_wide_host_keeps(moto):
    """Tags, ACLs, headers, versions, checksums: what moto keeps is in both entries alike."""
    location = moto.place(versioned=True)
    plain, bulk = (connect(replace(location, options={**location.options, "bulk": way})) for way in ("off", "on"))
    dressed = Entry(
        key="é/b c",
        size=len(BODY),
        media_type="text/plain; charset=utf-8",
        headers={
            "cache_control": "no-store",
            "content_encoding": "identity",
            "expires": "Fri, 02 Jan 2026 03:04:05 GMT",
        },
        metadata={"patient": "x y"},
        tags={"kind": "letter", "year": "2026"},
    )
    ((_, stored),) = bulk.put_many([(dressed, BODY)], 1)
    assert stored == plain.stat(dressed.key)
    assert (stored.tags, stored.metadata) == (dressed.tags, dressed.metadata)
    assert "acl" in stored.host
    old = plain.put_version(replace(dressed, key="two"), BytesStream(BODY))
    plain.put_version(Entry(key="two", size=1), BytesStream(b"2"))
    listed = [*plain.list_versions()]
    for number, read in bulk.read_many(listed, 3):
        assert isinstance(read, BulkRead)
        assert read.entry == plain.describe(listed[number])
    assert {one.version for one in listed} >= {old.version, stored.version}


def test_credentials_that_expire_in_mid_run_are_refreshed(tmp_path, monkeypatch):
    count = tmp_path / "count"
    program = tmp_path / "keys.py"
    program.write_text(
        f"import datetime, json, pathlib\nfile = pathlib.Path({str(count)!r})\n"
        "number = int(file.read_text()) + 1 if file.exists() else 1\nfile.write_text(str(number))\n"
        "ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=30)\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'key-{number}', 'SecretAccessKey': 'fake',"
        " 'SessionToken': f'token-{number}', 'Expiration': ends.isoformat()}))\n"
    )
    config = tmp_path / "config"
    config.write_text(f"[profile short]\ncredential_process = {sys.executable} {shlex.quote(str(program))}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    shelf = Shelf()
    shelf.objects = {key: (BODY, {}) for key in "abc"}
    with Host(shelf) as host:
        location = replace(at(host), credentials="profile:short")
        read = dict(connect(location).read_many([entry(key) for key in "abc"], 1))
    assert all(isinstance(one, BulkRead) for one in read.values())
    signed = [
        (re.search("Credential=(key-[0-9]+)/", headers["Authorization"])[1], headers["x-amz-security-token"])
        for method, _, headers in shelf.seen
        if "libcurl" in headers.get("User-Agent", "")
    ]
    assert len({key for key, _ in signed}) >= 3
    assert all(key.replace("key", "token") == token for key, token in signed)


def test_an_anonymous_lane_signs_nothing():
    shelf = Shelf()
    shelf.objects = {"a": (BODY, {})}
    with Host(shelf) as host:
        ((_, read),) = connect(replace(at(host), credentials="anonymous")).read_many([entry("a")], 1)
    assert read.body == BODY
    assert shelf.by_libcurl()
    assert not any("Authorization" in headers for _, _, headers in shelf.seen)


def test_the_lane_trusts_the_authority_that_it_is_given_and_no_other(tmp_path):
    shelf = Shelf()
    shelf.objects = {"a": (BODY, {})}
    with tls_host(tmp_path, shelf) as host:
        ((_, read),) = host.place(ca=str(tmp_path / "ca.pem")).read_many([entry("a")], 1)
        assert read.body == BODY
        assert shelf.by_libcurl()
        ((_, declined),) = host.place().read_many([entry("a")], 1)
        assert declined is None


def test_the_lane_goes_through_the_proxy_and_around_it_as_botocore_does(monkeypatch):
    shelf = Shelf()
    shelf.objects = {"a": (BODY, {})}
    for name in ("http_proxy", "no_proxy", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Host(shelf) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server.server_address[1]}")
        location = replace(at(proxy), options={"endpoint": "http://s3.invalid", "allow_http": "true"})
        ((_, read),) = connect(location).read_many([entry("a")], 1)
        assert read.body == BODY
        assert "http://s3.invalid/cabinet/a" in shelf.by_libcurl()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        direct = connect(replace(location, options={"endpoint": f"http://127.0.0.1:{proxy.server.server_address[1]}"}))
        ((_, read),) = direct.read_many([entry("a")], 1)
        assert read.body == BODY
        assert "/cabinet/a" in shelf.by_libcurl()


def test_a_lane_that_was_given_up_half_way_leaves_nothing_under_way():
    shelf = Shelf()
    shelf.objects = {f"{n}": (BODY, {}) for n in range(50)}
    with Host(shelf) as host:
        place = host.place()
        reading = place.read_many([entry(f"{n}") for n in range(50)], 4)
        next(reading)
        reading.close()
        assert len(shelf.by_libcurl()) < 20
        assert len([*place.read_many([entry(f"{n}") for n in range(50)], 4)]) == 50


def test_no_secret_is_in_what_the_lane_says_of_itself():
    with Host(Shelf()) as host:
        place = host.place()
        assert place.bulk_bytes
        assert SECRET not in repr(place._request("GET", "a", {}, [])) + repr(place._found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no copies of processes here")
def test_a_copy_of_a_process_leaves_its_connections_alone(tmp_path):
    program = """
import os, sys
from connectors.s3.wire import Line, Request, wire

def status():
    told = []
    wire().send(Line(base=sys.argv[1], ca=sys.argv[2], proxy="", signing=""), Request(**asked), told.append)
    while not told:
        wire().turn()
    return told[0].status

asked = {"method": "GET", "url": sys.argv[1], "headers": [], "limit": 1 << 20}
print(status())
child = os.fork()
if not child:
    wire()
    os._exit(0)
os.waitpid(child, 0)
print(status())
"""
    with tls_host(tmp_path) as host:
        accepted, accept = [], host.server.get_request
        host.server.get_request = lambda: accepted.append(1) or accept()
        told = subprocess.run(
            [sys.executable, "-c", program, f"https://127.0.0.1:{host.server.server_address[1]}/", tmp_path / "ca.pem"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert told.stdout.split() == ["200", "200"]
    assert len(accepted) == 1  # over TLS, where letting go of a connection says so to the other end

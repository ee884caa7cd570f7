"""The S3 connector keeps the contract at moto (wide, in memory) and at `rclone serve s3` (a folder behind an S3 face)."""

from dataclasses import replace
from typing import ClassVar

import pytest

from connectors.registry import connect
from connectors.testing.bulk import in_bulk
from connectors.testing.contract import ConnectorContract

_HOSTILE = "test_15_a_hostile_key_is_kept_exactly_or_refused"
_TWINS = "test_15_twins_are_kept_apart_or_the_second_is_refused"
_NOT_A_PATH = (
    "rclone keeps objects as files and refuses a key that is no file path; the S3 protocol cannot tell beforehand"
)


class S3Contract(ConnectorContract):
    server_fixture = ""

    @pytest.fixture
    def server(self, request):
        return request.getfixturevalue(self.server_fixture)

    def missing(self, location):
        return replace(location, host=f"{location.host[:40]}-missing")


class TestMoto(S3Contract):
    server_fixture = "moto"
    limits: ClassVar = {
        f"{_HOSTILE}[newline]": "moto's router finds no operation for a key with a line feed (the wire has %0A)"
    }

    @pytest.fixture
    def location(self, server):
        place = server.place()
        self.server_in_use = server
        return place

    def residue(self, location):
        with self.server_in_use.client() as client:
            return [upload["Key"] for upload in client.list_multipart_uploads(Bucket=location.host).get("Uploads", [])]


class TestMotoWithVersionsUnderAPrefix(TestMoto):
    many = 20  # pages are the same under a prefix, and moto is slow

    @pytest.fixture
    def location(self, server):
        self.server_in_use = server
        return server.place(prefix="cabinet/données", versioned=True)


class TestRclone(S3Contract):
    server_fixture = "rclone_s3"
    limits: ClassVar = {
        **{
            f"{_HOSTILE}[{name}]": _NOT_A_PATH
            for name in (
                *("doubled slash", "leading slash", "two leading slashes", "only a slash"),
                *("dot", "dot first", "dot inside", "up", "up first", "up inside", "up last"),
            )
        },
        f"{_HOSTILE}[trailing slash]": "rclone lists x/ as x",
        f"{_HOSTILE}[256 bytes]": "rclone answers 500 to a name that its file system cannot hold",
        f"{_HOSTILE}[1024 bytes in one]": "rclone answers 500 to a name that its file system cannot hold",
        "test_15_all_accepted_keys_live_together": "rclone answers 500 to names that its file system cannot hold",
        f"{_TWINS}[file and folder]": "rclone answers 500 where a file and a folder would have one name",
        f"{_TWINS}[folder and file]": "rclone answers 500 where a file and a folder would have one name",
        f"{_TWINS}[tab and its picture]": "rclone keeps a tab as U+2409, so that the second replaces the first",
        "test_07_of_two_in_a_race_one_wins": "rclone ignores If-None-Match",
        "test_14_what_is_claimed_to_be_kept_is_kept[headers]": "rclone drops Expires and keeps the other headers",
        "test_18_parts_in_any_order_and_sent_again_make_the_object": "rclone takes no part again that it has written",
    }

    @pytest.fixture
    def location(self, server):
        return server.place()


class InBulk:
    """The clauses on reading and writing over the bulk lane, wherever it takes an object."""

    def open_place(self, location):
        place = in_bulk(connect(location))
        assert place.bulk_bytes, "there is no lane to test"
        return place


for _name in dir(ConnectorContract):
    if _name.startswith("test_") and _name[5:7] not in {
        "03",
        "04",
        "05",
        "06",
        "07",
        "08",
        "11",
        "14",
        "15",
        "16",
        "17",
    }:
        setattr(InBulk, _name, None)  # the lane has no part in it


class TestMotoWithVersionsUnderAPrefixInBulk(InBulk, TestMotoWithVersionsUnderAPrefix):
    pass


class TestRcloneInBulk(InBulk, TestRclone):
    pass

"""The S3 connector keeps the contract at `rclone serve s3`, a folder behind an S3 face, over both lanes."""

from typing import ClassVar

import pytest
from s3_contract import HOSTILE, NOT_A_PATH, TWINS, InBulk, S3Contract


class TestRclone(S3Contract):
    server_fixture = "rclone_s3"
    limits: ClassVar = {
        **{
            f"{HOSTILE}[{name}]": NOT_A_PATH
            for name in (
                *("doubled slash", "leading slash", "two leading slashes", "only a slash"),
                *("dot", "dot first", "dot inside", "up", "up first", "up inside", "up last"),
            )
        },
        f"{HOSTILE}[trailing slash]": "rclone lists x/ as x",
        f"{HOSTILE}[256 bytes]": "rclone answers 500 to a name that its file system cannot hold",
        f"{HOSTILE}[1024 bytes in one]": "rclone answers 500 to a name that its file system cannot hold",
        "test_15_all_accepted_keys_live_together": "rclone answers 500 to names that its file system cannot hold",
        f"{TWINS}[file and folder]": "rclone answers 500 where a file and a folder would have one name",
        f"{TWINS}[folder and file]": "rclone answers 500 where a file and a folder would have one name",
        f"{TWINS}[tab and its picture]": "rclone keeps a tab as U+2409, so that the second replaces the first",
        "test_07_of_two_in_a_race_one_wins": "rclone ignores If-None-Match",
        "test_14_what_is_claimed_to_be_kept_is_kept[headers]": "rclone drops Expires and keeps the other headers",
        "test_25_a_setting_that_was_put_is_there_to_another_who_asks": "rclone has no settings of buckets, and says so",
        "test_18_parts_in_any_order_and_sent_again_make_the_object": "rclone takes no part again that it has written",
    }

    @pytest.fixture
    def location(self, server):
        return server.place()


class TestRcloneInBulk(InBulk, TestRclone):
    pass

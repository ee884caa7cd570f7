"""The contract at S3 servers: what its test files, one for each server so that they run side by side, have in common."""

from dataclasses import replace
from typing import ClassVar

import pytest

from connectors.registry import connect
from connectors.testing.bulk import in_bulk
from connectors.testing.contract import ConnectorContract

HOSTILE = "test_15_a_hostile_key_is_kept_exactly_or_refused"
TWINS = "test_15_twins_are_kept_apart_or_the_second_is_refused"
NOT_A_PATH = (
    "rclone keeps objects as files and refuses a key that is no file path; the S3 protocol cannot tell beforehand"
)


class S3Contract(ConnectorContract):
    server_fixture = ""
    recorded: ClassVar = {
        "versioning": {"Status": "Enabled"},
        "cors": {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://cabinet.example"]}]},
        "tags": {"TagSet": [{"Key": "service", "Value": "dossiers"}]},
        "policy": {"Policy": "{}"},
    }

    @pytest.fixture
    def server(self, request):
        return request.getfixturevalue(self.server_fixture)

    def missing(self, location):
        return replace(location, host=f"{location.host[:40]}-missing")


class Moto(S3Contract):
    server_fixture = "moto"
    limits: ClassVar = {
        f"{HOSTILE}[newline]": "moto's router finds no operation for a key with a line feed (the wire has %0A)"
    }

    @pytest.fixture
    def location(self, server):
        place = server.place()
        self.server_in_use = server
        return place

    def residue(self, location):
        with self.server_in_use.client() as client:
            return [upload["Key"] for upload in client.list_multipart_uploads(Bucket=location.host).get("Uploads", [])]


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

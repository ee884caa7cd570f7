"""The SFTP host keeps the contract at OpenSSH's server and, as far as that can, at `rclone serve sftp`."""

import uuid
from dataclasses import replace
from typing import ClassVar

import pytest

from connectors.keys import PARTIAL_FOLDER
from connectors.registry import connect
from connectors.testing.bulk import in_bulk
from connectors.testing.contract import ConnectorContract


def by(transport, location):
    return replace(location, options={**location.options, "transport": transport})


class TestSshd(ConnectorContract):
    transport = "ssh"

    @pytest.fixture
    def location(self, sshd):
        self.seen_from_here = sshd.on_disk
        return by(self.transport, sshd.place())

    def residue(self, location):
        folder = self.seen_from_here(location) / PARTIAL_FOLDER
        return [path.name for path in folder.iterdir()] if folder.is_dir() else []


class TestSshdByParamiko(TestSshd):
    transport = "paramiko"


class TestSshdInBulk(TestSshd):
    """Every clause over the bulk lane, wherever it takes an object."""

    many = 20

    def open_place(self, location):
        return in_bulk(connect(location))


class TestRclone(TestSshd):
    """No parts (it refuses to write at an offset), no links, no modes: the connector does not claim them there."""

    limits: ClassVar = {
        "test_07_of_two_in_a_race_one_wins": "a rename replaces what is there, whoever comes second",
        "test_15_twins_are_kept_apart_or_the_second_is_refused[tab and its picture]": "stores a tab as its picture",
    }

    @pytest.fixture
    def location(self, rclone_sftp):
        self.seen_from_here = rclone_sftp.on_disk
        # Made by ourselves: the server remembers its folders for minutes and would not see one made beside it.
        location = rclone_sftp.location(f"d-{uuid.uuid4().hex}")
        place = connect(location)
        place.prepare()
        place.close()
        return location


class TestRcloneInBulk(TestRclone):
    many = 20

    def open_place(self, location):
        return in_bulk(connect(location))

"""The S3 connector keeps the contract in a bucket of moto that keeps versions, over both lanes."""

import pytest
from s3_contract import InBulk, Moto


class TestMotoWithVersionsUnderAPrefix(Moto):
    many = 20  # pages are the same under a prefix, and moto is slow

    @pytest.fixture
    def location(self, server):
        self.server_in_use = server
        return server.place(prefix="cabinet/données", versioned=True)


class TestMotoWithVersionsUnderAPrefixInBulk(InBulk, TestMotoWithVersionsUnderAPrefix):
    pass

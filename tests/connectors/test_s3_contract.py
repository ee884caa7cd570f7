"""The S3 connector keeps the contract at moto, which is wide and in memory."""

from s3_contract import Moto


class TestMoto(Moto):
    pass

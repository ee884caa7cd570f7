"""Servers for the whole test run (each worker starts its own), and an environment without a person's own settings."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
import servers

# A busy machine is slow, which is no fault of the code; each run finds its own examples and keeps none in the checkout.
hypothesis.settings.register_profile("ours", deadline=None, database=None)
hypothesis.settings.load_profile("ours")


@pytest.fixture(autouse=True, scope="session")
def _own_environment() -> Iterator[None]:
    """No AWS profile, ssh-agent or proxy of the machine takes part."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", "/nonexistent/aws-config")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/aws-credentials")
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        patch.setenv("no_proxy", "127.0.0.1,localhost")
        yield


@pytest.fixture(scope="session")
def moto() -> Iterator[servers.S3Server]:
    with servers.scratch_folder() as folder, servers.moto_server(folder) as server:
        yield server


@pytest.fixture(scope="session")
def rclone_s3() -> Iterator[servers.S3Server]:
    with servers.scratch_folder() as folder, servers.rclone_s3_server(folder) as server:
        yield server


@pytest.fixture(scope="session")
def sshd() -> Iterator[servers.SftpServer]:
    with servers.scratch_folder() as folder, servers.sshd_server(folder) as server:
        yield server


@pytest.fixture(scope="session")
def rclone_sftp() -> Iterator[servers.SftpServer]:
    with servers.scratch_folder() as folder, servers.rclone_sftp_server(folder) as server:
        yield server

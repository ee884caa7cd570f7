"""The test servers answer as real ones do."""

import paramiko
import programs
import pytest


@pytest.mark.parametrize("name", ["moto", "rclone_s3"])
def test_an_s3_server_gives_back_what_was_put(name, request):
    server = request.getfixturevalue(name)
    place = server.place()
    with server.client() as client:
        client.put_object(Bucket=place.host, Key="a/b", Body=b"123")
        assert client.get_object(Bucket=place.host, Key="a/b")["Body"].read() == b"123"


@pytest.mark.parametrize("name", ["sshd", "rclone_sftp"])
def test_an_sftp_server_gives_back_what_was_put(name, request):
    server = request.getfixturevalue(name)
    place = server.place()
    with paramiko.SSHClient() as client:
        client.load_host_keys(str(server.known_hosts))
        client.connect(
            server.host,
            server.port,
            server.user,
            server.password,
            key_filename=str(server.key_file) if server.key_file else None,
            look_for_keys=False,
            allow_agent=False,
        )
        with client.open_sftp() as sftp:
            with sftp.open(f"{place.path}/x", "w") as file:
                file.write(b"123")
            assert sftp.listdir(place.path) == ["x"]
    assert (server.on_disk(place) / "x").read_bytes() == b"123"


@pytest.mark.parametrize(
    ("platform", "ci", "skipped"),
    [("linux", "true", False), ("linux", "", True), ("darwin", "true", True)],
)
def test_a_program_that_is_missing_is_a_skip_only_where_nobody_was_to_install_it(
    platform: str, ci: str, skipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setenv("CI", ci)
    assert programs.needs("no-such-program").args == (skipped,)
    assert programs.needs("python3").args == (False,)

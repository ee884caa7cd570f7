"""Places that cannot be opened or listed: exit code 5 (2 where the url is wrong), the cause, the remedy, nothing changed."""

from __future__ import annotations

import datetime
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import servers
from broken_s3 import broken_s3
from commands import Run
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def test_a_missing_folder(run: Run, tmp_path: Path) -> None:
    run("census", "--from", tmp_path / "none").refused(5, "does not exist", "none")


def test_a_file_where_a_folder_should_be(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("one")
    run("census", "--from", tmp_path / "file").refused(5, "file")


def test_an_empty_source_proves_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    run("census", "--from", tmp_path / "old").refused(3, "holds nothing")


def test_an_unknown_option_of_a_place(run: Run, tmp_path: Path) -> None:
    run("census", "--from", f"file://{tmp_path.as_posix()}?reigon=fr").refused(2, "reigon", "known")
    run("census", "--from", "s3://cabinet?endpoint=s3.example").refused(2, "endpoint", "https://")


def test_a_missing_bucket(run: Run, moto: servers.S3Server) -> None:
    place = moto.location("no-such-bucket-here")
    run("census", "--from", place, "--from-credentials", place.credentials).refused(5, "no such bucket", place.url)


def test_refused_s3_credentials(run: Run, rclone_s3: servers.S3Server) -> None:
    place = rclone_s3.place()
    wrong = servers.environment_reference(access_key_id="unknown", secret_access_key="not-the-right-one")
    ended = run("census", "--from", place, "--from-credentials", wrong)
    ended.refused(5, "credentials")
    assert "not-the-right-one" not in ended.err


def test_a_refused_ssh_key(run: Run, sshd: servers.SftpServer, tmp_path: Path) -> None:
    servers.make_key(tmp_path / "stranger")
    wrong = servers.environment_reference(key_file=str(tmp_path / "stranger"))
    run("census", "--from", sshd.place(), "--from-credentials", wrong).refused(5, sshd.user)


def test_a_wrong_host_key(run: Run, sshd: servers.SftpServer, tmp_path: Path) -> None:
    servers.make_key(tmp_path / "other_host")
    lines = servers.write_known_hosts(tmp_path / "known_hosts", sshd.port, tmp_path / "other_host")
    place = sshd.place()
    url = place.url.replace(str(sshd.known_hosts), str(lines))
    ended = run("census", "--from", url, "--from-credentials", place.credentials)
    ended.refused(5, "SHA256:", "key")


def test_an_unknown_host_key_comes_with_the_line_to_add(run: Run, sshd: servers.SftpServer, tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("")
    place = sshd.place()
    url = place.url.replace(str(sshd.known_hosts), str(tmp_path / "known_hosts"))
    ended = run("census", "--from", url, "--from-credentials", place.credentials)
    assert ended.code == 5
    assert "Traceback" not in ended.err
    assert f"[127.0.0.1]:{sshd.port} ssh-" in ended.err


def test_a_host_that_does_not_answer(run: Run) -> None:
    anonymous = ("--from-credentials", "anonymous")
    port = servers.free_port()
    run("census", "--from", f"s3://cabinet?endpoint=http://127.0.0.1:{port}", *anonymous).refused(5, str(port))
    run("census", "--from", f"sftp://user@127.0.0.1:{port}/x").refused(5, str(port))


def test_a_listing_that_breaks_off_is_never_a_short_listing(run: Run) -> None:
    with broken_s3("second page") as options:
        ended = run("census", "--from", f"s3://cabinet?{options}", "--from-credentials", "anonymous")
    ended.refused(5, "a listing page is unreadable or cut")
    assert ended.out == ""


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[str]:
    """The url of a TLS server whose certificate nobody signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is what we test
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_untrusted_certificate(run: Run, untrusted: str) -> None:
    url = f"s3://cabinet?endpoint={untrusted}"
    run("census", "--from", url, "--from-credentials", "anonymous").refused(5, "certificate", "ca=")

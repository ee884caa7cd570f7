"""Time stamps from a local authority made of OpenSSL, checked by OpenSSL, also after the authority's certificate expired."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from connectors import Location
from manifests import signing
from portability.archive.export import Export, export
from portability.archive.signer import signer_for
from portability.archive.timestamp import read, stamp
from portability.archive.verification import verify_archive
from portability.errors import EvidenceError, PlaceError, UsageError
from portability.job import Policy

MESSAGE = b"-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n"

CONFIG = """
[ tsa ]
default_tsa = own
[ own ]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.crt
certs = {folder}/ca.crt
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@dataclass
class Authority:
    url: str
    folder: Path
    replies: list[bytes]
    """What it says instead of an honest answer, once each."""


def openssl(*words: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    folder = tmp_path_factory.mktemp("tsa")
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(CONFIG.format(folder=folder))
    (folder / "extensions").write_text("extendedKeyUsage=critical,timeStamping\nkeyUsage=digitalSignature\n")
    key = ("-newkey", "rsa:2048", "-nodes")
    made = [
        openssl("req", "-x509", *key, "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.crt", "-days", "30", "-subj", "/CN=Test CA"),
        openssl("req", "-new", *key, "-keyout", f"{folder}/tsa.key", "-out", f"{folder}/tsa.csr", "-subj", "/CN=Test TSA"),
        openssl(
            "x509", "-req", "-in", f"{folder}/tsa.csr", "-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key",
            "-CAcreateserial", "-days", "1", "-extfile", f"{folder}/extensions", "-out", f"{folder}/tsa.crt",
        ),
    ]  # fmt: skip
    assert [run.returncode for run in made] == [0, 0, 0], made
    replies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            if replies:
                answer = replies.pop()
            else:
                run = openssl(
                    "ts", "-reply", "-config", f"{folder}/tsa.cnf", "-section", "own",
                    "-queryfile", f"{folder}/query", "-out", f"{folder}/reply",
                )  # fmt: skip
                assert run.returncode == 0, run.stderr
                answer = (folder / "reply").read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *words: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Authority(f"http://127.0.0.1:{server.server_port}/", folder, replies)
    server.shutdown()
    server.server_close()
    thread.join()


def test_openssl_verifies_a_stamp_now_and_at_its_own_time_years_later(authority: Authority, tmp_path: Path) -> None:
    got = stamp(authority.url, MESSAGE)

    assert abs(got.time - datetime.now(UTC)) < timedelta(minutes=5)
    for name, data in (("sig", MESSAGE), ("sig.tsr", got.reply), ("sig.crt", got.certificates)):
        (tmp_path / name).write_bytes(data)
    words = (
        "ts", "-verify", "-in", f"{tmp_path}/sig.tsr", "-data", f"{tmp_path}/sig",
        "-CAfile", f"{authority.folder}/ca.crt", "-untrusted", f"{tmp_path}/sig.crt",
    )  # fmt: skip
    assert openssl(*words).returncode == 0
    later = int((got.time + timedelta(days=3)).timestamp())
    assert openssl(*words, "-attime", str(later)).returncode != 0  # the certificate lived for one day
    assert openssl(*words, "-attime", str(int(got.time.timestamp()) + 60)).returncode == 0

    (tmp_path / "sig").write_bytes(MESSAGE + b" ")
    assert openssl(*words).returncode != 0


def test_an_archive_carries_the_stamp_of_its_signature(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "practice").mkdir()
    (tmp_path / "practice" / "lettre.txt").write_text("Cher confrère")
    (tmp_path / "key").write_bytes(signing.generate_key(None))
    (tmp_path / "key").chmod(0o600)
    asked = Export(
        source=Location.parse(str(tmp_path / "practice")),
        to=Location.parse(str(tmp_path / "exports")),
        policy=Policy(workers=1),
        signer=signer_for(str(tmp_path / "key")),
        timestamp=authority.url,
    )
    (tmp_path / "exports").mkdir()

    archive = Path(export(asked).evidence)

    result = verify_archive(
        Location.parse(str(archive)), signer=asked.signer.public.fingerprint if asked.signer else None
    )
    assert (result.exit_code, result.findings) == (0, ())
    signature = f"{archive}/signatures/tagmanifest-sha256.txt.sig"
    words = ("-in", f"{signature}.tsr", "-data", signature, "-CAfile", f"{authority.folder}/ca.crt")
    assert openssl("ts", "-verify", *words, "-untrusted", f"{signature}.crt").returncode == 0


def test_a_stamp_of_another_message_is_refused(authority: Authority) -> None:
    other = stamp(authority.url, b"another").reply
    with pytest.raises(EvidenceError, match="another message"):
        read(other, MESSAGE)

    authority.replies.append(other)
    with pytest.raises(EvidenceError, match="another message"):
        stamp(authority.url, MESSAGE)


def test_an_old_stamp_of_the_same_message_is_refused(authority: Authority) -> None:
    authority.replies.append(stamp(authority.url, MESSAGE).reply)
    with pytest.raises(EvidenceError, match="nonce"):
        stamp(authority.url, MESSAGE)


@pytest.mark.parametrize("answer", [b"", b"<html>busy</html>", bytes(100)])
def test_an_answer_that_is_no_stamp_is_refused(authority: Authority, answer: bytes) -> None:
    authority.replies.append(answer)
    with pytest.raises(EvidenceError):
        stamp(authority.url, MESSAGE)


def test_an_authority_that_does_not_answer_is_a_place_that_cannot_be_opened() -> None:
    with pytest.raises(PlaceError, match="does not answer"):
        stamp("http://127.0.0.1:9/", MESSAGE, timeout=2)
    with pytest.raises(UsageError):
        stamp("ftp://127.0.0.1/", MESSAGE)

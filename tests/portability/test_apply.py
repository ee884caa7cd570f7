"""Owners, ACL and locks come back on request only; what was not asked for, or was refused, is a loss with its name."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import servers
from exports import a_folder, an_archive, bring_back
from places import lines, put
from relay import Answer, between, through

from connectors import Location
from portability.errors import UsageError

KEY = "patients/lettre.txt"
UNTIL = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
EVERYONE = "http://acs.amazonaws.com/groups/global/AllUsers"
needs_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")


def lost(evidence: Path) -> set[str]:
    return {loss.name for line in lines(evidence) for loss in line.losses or ()}


def locked_bucket(moto: servers.S3Server) -> Location:
    place = moto.place()
    bucket = f"lock-{place.host}"
    with moto.client() as client:
        client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    return moto.location(bucket)


def told(moto: servers.S3Server, place: Location) -> dict[str, Any]:
    """What the server itself says of the object, past our own code."""
    with moto.client() as client:
        head = client.head_object(Bucket=place.host, Key=KEY)
        acl = client.get_object_acl(Bucket=place.host, Key=KEY)
    return {
        "mode": head.get("ObjectLockMode"),
        "until": head.get("ObjectLockRetainUntilDate"),
        "hold": head.get("ObjectLockLegalHoldStatus"),
        "public": any(grant["Grantee"].get("URI") == EVERYONE for grant in acl["Grants"]),
    }


@pytest.fixture
def archive(moto: servers.S3Server, tmp_path: Path) -> Path:
    """Of one letter under governance and a legal hold, which everyone may read."""
    source = locked_bucket(moto)
    put(source, KEY, b"Bonjour")
    with moto.client() as client:
        about: Any = {"Bucket": source.host, "Key": KEY}
        client.put_object_acl(**about, ACL="public-read")
        client.put_object_legal_hold(**about, LegalHold={"Status": "ON"})
        client.put_object_retention(**about, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": UNTIL})
    return an_archive(source, tmp_path / "exports")


def test_without_a_request_nothing_is_set_and_everything_is_named(
    moto: servers.S3Server, archive: Path, tmp_path: Path
) -> None:
    home = locked_bucket(moto)

    assert bring_back(archive, home, tmp_path / "restore").proven

    assert told(moto, home) == {"mode": None, "until": None, "hold": None, "public": False}
    assert {"acl", "lock", "legal_hold"} <= lost(tmp_path / "restore")


@pytest.mark.parametrize("bulk", ["on", "off"])
def test_lock_and_acl_are_set_on_request_and_read_back(
    moto: servers.S3Server, archive: Path, tmp_path: Path, bulk: str
) -> None:
    home = locked_bucket(moto)
    to = Location.parse(f"{home.url}&bulk={bulk}", credentials=home.credentials)

    assert bring_back(archive, to, tmp_path / "restore", applies=("acl", "lock")).proven

    assert told(moto, home) == {"mode": "GOVERNANCE", "until": UNTIL, "hold": "ON", "public": True}
    assert not {"acl", "lock", "legal_hold"} & lost(tmp_path / "restore")


def test_only_what_was_asked_for_is_set(moto: servers.S3Server, archive: Path, tmp_path: Path) -> None:
    home = locked_bucket(moto)

    assert bring_back(archive, home, tmp_path / "restore", applies=("lock",)).proven

    assert told(moto, home)["hold"] == "ON"
    assert not told(moto, home)["public"]
    assert lost(tmp_path / "restore") & {"acl", "lock", "legal_hold"} == {"acl"}


def test_what_the_bucket_cannot_hold_is_a_loss_with_its_name(
    moto: servers.S3Server, archive: Path, tmp_path: Path
) -> None:
    home = moto.place(versioned=True)  # without object lock

    assert bring_back(archive, home, tmp_path / "restore", applies=("lock",)).proven

    assert {"lock", "legal_hold"} <= lost(tmp_path / "restore")


@pytest.mark.parametrize("forgotten", ["acl", "lock", "legal_hold"])
def test_a_host_that_forgets_afterwards_what_was_set_is_found_out(
    moto: servers.S3Server, archive: Path, tmp_path: Path, forgotten: str
) -> None:
    home = locked_bucket(moto)
    about: Any = {"Bucket": home.host, "Key": KEY}
    set_: list[str] = []

    def forget() -> None:
        with moto.client() as client:
            if forgotten == "acl":
                client.put_object_acl(**about, ACL="private")
            elif forgotten == "lock":
                client.put_object_retention(**about, Retention={}, BypassGovernanceRetention=True)
            else:
                client.put_object_legal_hold(**about, LegalHold={"Status": "OFF"})

    def lie(method: str, path: str, body: bytes) -> Answer | None:
        asked = {one.partition("=")[0] for one in path.partition("?")[2].split("&")}
        if method == "PUT" and {"acl", "retention", "legal-hold"} & asked:
            set_.append(path)
        elif method == "GET" and {"list-type", "versions"} & asked and len(set_) == 3:
            set_.append("forgotten")  # before the place is listed for its verification
            forget()
        return None

    with between(moto, lie) as endpoint:
        outcome = bring_back(archive, through(home, endpoint), tmp_path / "restore", applies=("acl", "lock"))

    assert "forgotten" in set_
    assert (outcome.proven, outcome.exit_code) == (False, 4)
    (finding,) = outcome.findings
    assert (finding.key, finding.problem) == (KEY, "metadata")
    assert finding.expected.startswith(f"{forgotten}: ")


@needs_root
@pytest.mark.parametrize("kind", ["local", "sftp"])
def test_owners_are_given_back_on_request(kind: str, sshd: servers.SftpServer, tmp_path: Path) -> None:
    source = a_folder(tmp_path / "practice")
    for path in Path(source.path).rglob("*.txt"):
        os.chown(path, 1234, 4321)
    archive = an_archive(source, tmp_path / "exports")

    def owners(number: int, applies: tuple[str, ...]) -> set[tuple[int, int]]:
        to, folder = Location.parse(str(tmp_path / f"home{number}")), tmp_path / f"home{number}"
        if kind == "sftp":
            to = sshd.place()
            folder = sshd.on_disk(to)
        assert bring_back(archive, to, tmp_path / f"restore{number}", applies=applies).proven
        return {(path.stat().st_uid, path.stat().st_gid) for path in folder.rglob("*.txt")}

    assert owners(1, ()) == {(0, 0)}
    assert {"posix.uid", "posix.gid"} <= lost(tmp_path / "restore1")
    assert owners(2, ("owner",)) == {(1234, 4321)}
    assert not {"posix.uid", "posix.gid"} & lost(tmp_path / "restore2")


@pytest.mark.parametrize("name", ["acl", "lock"])
def test_what_a_kind_of_place_has_not_is_refused_before_anything_is_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--apply {name}"):
        bring_back(tmp_path / "absent", Location.parse(str(tmp_path / "home")), tmp_path / "restore", applies=(name,))
    assert not (tmp_path / "restore").exists()

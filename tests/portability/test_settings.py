"""A bucket's own settings come back on request only, where they fit; what the new host has not is named, and stops nothing."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import servers
from exports import ONE, an_archive, an_identity, bring_back
from places import content, put
from relay import Answer, between, through

from connectors import CorruptedError, Location, connect
from connectors.s3.bucket import fit, state
from portability.archive.place import outer
from portability.archive.restore import Restore, foresee
from portability.archive.transport import pack, unpack
from portability.archive.verifier_tree import LocalTree
from portability.errors import RefusedError, UsageError
from portability.outcome import Outcome, PlanSummary

RULES = [
    {"ID": "anciennes", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "NoncurrentVersionExpiration": {"NoncurrentDays": 90}}
]  # fmt: skip
CORS = [{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://cabinet.example"], "MaxAgeSeconds": 300}]
TAGS = [{"Key": "service", "Value": "dossiers"}]
POLICY = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::%s/*"}]}'
AES = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]}


def bucket(moto: servers.S3Server, *, lock: bool = False) -> Location:
    if not lock:
        return moto.place()
    name = f"l-{moto.place().host}"[:60]
    with moto.client() as client:
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return moto.location(name)


def configure(moto: servers.S3Server, place: Location) -> None:
    about: Any = {"Bucket": place.host}
    with moto.client() as client:
        client.put_bucket_versioning(**about, VersioningConfiguration={"Status": "Enabled"})
        client.put_bucket_lifecycle_configuration(**about, LifecycleConfiguration={"Rules": RULES})
        client.put_bucket_cors(**about, CORSConfiguration={"CORSRules": CORS})
        client.put_bucket_tagging(**about, Tagging={"TagSet": TAGS})
        client.put_bucket_encryption(**about, ServerSideEncryptionConfiguration=AES)
        client.put_bucket_policy(**about, Policy=POLICY % place.host)


def told(moto: servers.S3Server, place: Location) -> dict[str, Any]:
    """What the server itself says of the bucket, past our own code."""
    asked: dict[str, tuple[str, str]] = {
        "versioning": ("get_bucket_versioning", "Status"),
        "lifecycle": ("get_bucket_lifecycle_configuration", "Rules"),
        "cors": ("get_bucket_cors", "CORSRules"),
        "tags": ("get_bucket_tagging", "TagSet"),
        "encryption": ("get_bucket_encryption", "ServerSideEncryptionConfiguration"),
        "policy": ("get_bucket_policy", "Policy"),
        "lock": ("get_object_lock_configuration", "ObjectLockConfiguration"),
    }
    found: dict[str, Any] = {}
    with moto.client() as client:
        for name, (operation, member) in asked.items():
            with contextlib.suppress(client.exceptions.ClientError):
                if answer := getattr(client, operation)(Bucket=place.host).get(member):
                    found[name] = answer
    return found


def ended(outcome: Outcome | PlanSummary) -> dict[str, str]:
    return {one.name: one.end for one in outcome.settings}


def reasons(outcome: Outcome) -> dict[str, str]:
    return {one.name: one.reason for one in outcome.settings if one.reason}


@pytest.fixture(scope="module")
def source(moto: servers.S3Server) -> Location:
    place = bucket(moto)
    configure(moto, place)
    put(place, "x/lettre.txt", b"ancienne")
    put(place, "x/lettre.txt", b"nouvelle", replace=True)
    return place


@pytest.fixture(scope="module")
def archive(source: Location, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return an_archive(source, tmp_path_factory.mktemp("exports"))


def test_an_export_records_where_the_host_is_what_it_was_told_to_do_and_how_much_it_listed(
    moto: servers.S3Server, source: Location, archive: Path
) -> None:
    recorded = json.loads((archive / "metadata" / "source.json").read_bytes())
    assert recorded["endpoint"] == moto.endpoint
    assert recorded["region"] == moto.region
    assert recorded["listed"]["lines"] == 2
    assert recorded["listed"]["kinds"] == {"object": 2}
    assert recorded["versioning"] == {"Status": "Enabled"}
    assert recorded["lifecycle"]["Rules"][0]["ID"] == "anciennes"
    assert recorded["cors"]["CORSRules"] == CORS
    assert json.loads(recorded["policy"]["Policy"])["Version"]
    assert recorded["object_lock"]["not_told"]
    assert source.credentials is not None
    assert source.credentials not in json.dumps(recorded)


def test_without_a_request_the_new_bucket_is_given_nothing(
    moto: servers.S3Server, archive: Path, tmp_path: Path
) -> None:
    home = bucket(moto)
    before = told(moto, home)

    outcome = bring_back(archive, home, tmp_path / "restore")

    assert told(moto, home) == before
    assert outcome.settings == ()
    assert not (tmp_path / "restore" / "settings.json").exists()


def test_settings_are_put_back_on_request_and_read_back_but_no_policy(
    moto: servers.S3Server, source: Location, archive: Path, tmp_path: Path
) -> None:
    home = bucket(moto)

    outcome = bring_back(archive, home, tmp_path / "restore", applies=("settings",))

    assert outcome.proven, outcome.reasons
    expected = told(moto, source)
    policy = expected.pop("policy")
    assert told(moto, home) == expected
    assert ended(outcome) == {
        "versioning": "applied", "encryption": "applied", "cors": "applied", "tags": "applied",
        "lifecycle": "applied", "policy": "lost",
    }  # fmt: skip
    assert "names buckets and accounts of the old host" in reasons(outcome)["policy"]
    with moto.client() as client:
        assert len(client.list_object_versions(Bucket=home.host)["Versions"]) == 2, "turned on before the first put"
    file = tmp_path / "restore" / "settings.json"
    kept = {one["name"]: one for one in json.loads(file.read_bytes())["settings"]}
    assert kept["policy"]["value"] == {"Policy": policy}, "its text is parked"
    assert kept["lifecycle"]["end"] == "applied"
    assert file.stat().st_mode & 0o077 == 0


def test_a_second_restore_finds_what_is_there(moto: servers.S3Server, archive: Path, tmp_path: Path) -> None:
    home = bucket(moto)
    first = bring_back(archive, home, tmp_path / "restore", applies=("settings",))
    again = bring_back(archive, home, tmp_path / "restore", applies=("settings",))
    assert again.proven, again.reasons
    assert {name for name, end in ended(again).items() if end == "there"} == {
        name for name, end in ended(first).items() if end == "applied"
    }
    assert list((tmp_path / "restore" / "previous").glob("*/settings.json"))


def test_what_the_destination_has_of_its_own_is_left_alone(
    moto: servers.S3Server, archive: Path, tmp_path: Path
) -> None:
    home = bucket(moto)
    own = [{"AllowedMethods": ["PUT"], "AllowedOrigins": ["https://autre.example"]}]
    with moto.client() as client:
        client.put_bucket_cors(Bucket=home.host, CORSConfiguration={"CORSRules": own})

    outcome = bring_back(archive, home, tmp_path / "restore", applies=("settings",))

    assert outcome.proven
    assert told(moto, home)["cors"] == own
    assert ended(outcome)["cors"] == "lost"
    assert "left alone" in reasons(outcome)["cors"]


def test_a_folder_of_a_bucket_is_given_nothing_of_the_whole(
    moto: servers.S3Server, archive: Path, tmp_path: Path
) -> None:
    home = moto.place(prefix="cabinet")
    before = told(moto, home)
    outcome = bring_back(archive, home, tmp_path / "restore", applies=("settings",))
    assert set(ended(outcome).values()) == {"lost"}
    assert told(moto, home) == before


def test_rules_that_name_keys_of_a_whole_bucket_are_not_put_over_a_folder_of_it(
    moto: servers.S3Server, tmp_path: Path
) -> None:
    source = moto.place(prefix="cabinet")
    configure(moto, source)
    put(source, "lettre.txt", b"Bonjour")
    archive = an_archive(source, tmp_path / "exports")
    home = bucket(moto)
    outcome = bring_back(archive, home, tmp_path / "restore", applies=("settings",))
    assert "lifecycle" not in told(moto, home)
    assert ended(outcome)["lifecycle"] == "lost"
    assert ended(outcome)["cors"] == "applied"


def test_nothing_that_expires_objects_is_set_where_the_restore_is_not_proven_or_other_things_are(
    moto: servers.S3Server, archive: Path, tmp_path: Path
) -> None:
    home = bucket(moto)
    put(home, "x/lettre.txt", b"theirs")

    outcome = bring_back(archive, home, tmp_path / "unproven", applies=("settings",), merge=True)

    assert not outcome.proven
    assert "lifecycle" not in told(moto, home)
    assert "only when the restore is proven" in reasons(outcome)["cors"]

    shared = bucket(moto)
    put(shared, "autre.txt", b"theirs")
    outcome = bring_back(archive, shared, tmp_path / "merged", applies=("settings",), merge=True)
    assert outcome.proven, outcome.reasons
    assert "lifecycle" not in told(moto, shared)
    assert "--merge" in reasons(outcome)["lifecycle"]
    assert ended(outcome)["cors"] == "applied"


def test_a_place_that_the_restore_refuses_is_given_no_setting(
    moto: servers.S3Server, archive: Path, tmp_path: Path
) -> None:
    """Object lock could never be taken from it again."""
    home = bucket(moto)
    put(home, "autre.txt", b"theirs")
    before = told(moto, home)
    with pytest.raises(RefusedError, match="already holds 1 other thing"):
        bring_back(archive, home, tmp_path / "restore", applies=("settings",))
    assert told(moto, home) == before


def test_rules_that_locks_held_back_are_not_put_where_the_locks_are_not(moto: servers.S3Server, tmp_path: Path) -> None:
    source = bucket(moto, lock=True)
    with moto.client() as client:
        client.put_object(Bucket=source.host, Key="lettre.txt", Body=b"Bonjour", ChecksumAlgorithm="SHA256")
        client.put_object_legal_hold(Bucket=source.host, Key="lettre.txt", LegalHold={"Status": "ON"})
        client.put_bucket_lifecycle_configuration(Bucket=source.host, LifecycleConfiguration={"Rules": RULES})
    archive = an_archive(source, tmp_path / "exports")

    home = bucket(moto, lock=True)
    outcome = bring_back(archive, home, tmp_path / "without", applies=("settings",))
    assert ended(outcome)["lifecycle"] == "lost"
    assert "a lock kept there" in reasons(outcome)["lifecycle"]
    assert "lifecycle" not in told(moto, home)

    home = bucket(moto, lock=True)
    outcome = bring_back(archive, home, tmp_path / "with", applies=("settings", "lock"))
    assert ended(outcome)["lifecycle"] == "applied"


def test_an_encryption_with_keys_of_the_old_account_is_not_put(moto: servers.S3Server, tmp_path: Path) -> None:
    """Or nothing could be put any more."""
    source, home = bucket(moto), bucket(moto)
    put(source, "lettre.txt", b"Bonjour")
    kms: Any = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}
    with moto.client() as client:
        client.put_bucket_encryption(Bucket=source.host, ServerSideEncryptionConfiguration=kms)
    archive = an_archive(source, tmp_path / "exports")
    outcome = bring_back(archive, home, tmp_path / "restore", applies=("settings",))
    assert outcome.proven
    assert ended(outcome) == {"encryption": "lost"}
    assert "encryption" not in told(moto, home)


def test_a_default_retention_does_not_lock_what_is_restored(moto: servers.S3Server, tmp_path: Path) -> None:
    """moto takes no such rule for a bucket that holds anything, so the rule alone is kept by what stands before it."""
    source, home = bucket(moto, lock=True), bucket(moto, lock=True)
    rule: Any = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}}
    with moto.client() as client:
        client.put_object_lock_configuration(Bucket=source.host, ObjectLockConfiguration=rule)
        client.put_object(Bucket=source.host, Key="lettre.txt", Body=b"Bonjour", ChecksumAlgorithm="SHA256")
    archive = an_archive(source, tmp_path / "exports")
    order: list[str] = []
    kept: list[bytes] = []

    def lie(method: str, path: str, body: bytes) -> Answer | None:
        if "?object-lock" in path and (method == "PUT" or kept):
            if method == "PUT":
                kept[:] = [body]
                order.append("rule" if b"DefaultRetention" in body else "on")
            return 200, {}, b"" if method == "PUT" else kept[0]
        if method == "PUT" and "/lettre.txt" in path:
            order.append("object")
        return None

    with between(moto, lie) as endpoint:
        outcome = bring_back(archive, through(home, endpoint), tmp_path / "restore", applies=("settings",))

    assert outcome.proven, outcome.reasons
    assert ended(outcome)["object_lock"] == "applied"
    assert order == ["object", "rule"]
    with moto.client() as client:
        assert "ObjectLockMode" not in client.head_object(Bucket=home.host, Key="lettre.txt")


def test_versions_that_were_suspended_come_back_and_that_is_said(
    moto: servers.S3Server, source: Location, tmp_path: Path
) -> None:
    """moto itself hides the old versions of a bucket where they are suspended."""
    home = bucket(moto)
    suspended = b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"

    def lie(method: str, path: str, body: bytes) -> Answer | None:
        return (200, {}, suspended) if method == "GET" and "?versioning" in path else None

    with between(moto, lie) as endpoint:
        archive = an_archive(through(source, endpoint), tmp_path / "exports")
    outcome = bring_back(archive, home, tmp_path / "restore", applies=("settings",))

    assert outcome.proven
    assert told(moto, home)["versioning"] == "Enabled"
    assert ended(outcome)["versioning"] == "applied"
    assert "by hand" in reasons(outcome)["suspension"]
    with moto.client() as client:
        assert len(client.list_object_versions(Bucket=home.host)["Versions"]) == 2


def test_an_encrypted_archive_gives_its_settings_to_who_has_the_key(
    moto: servers.S3Server, source: Location, tmp_path: Path
) -> None:
    key = tmp_path / "identity"
    archive = an_archive(source, tmp_path / "exports", recipients=(an_identity(key),), work=tmp_path / "work")
    assert not (archive / "metadata" / "source.json").exists()
    home = bucket(moto)
    outcome = bring_back(archive, home, tmp_path / "restore", identity=str(key), applies=("settings",))
    assert ended(outcome)["lifecycle"] == "applied"
    assert told(moto, home)["lifecycle"] == told(moto, source)["lifecycle"]


def test_a_dry_run_says_what_would_be_set_and_sets_nothing(
    moto: servers.S3Server, archive: Path, tmp_path: Path
) -> None:
    home = bucket(moto)
    before = told(moto, home)
    asked = Restore(
        archive=Location.parse(str(archive)), to=home, evidence=tmp_path / "restore", policy=ONE, applies=("settings",)
    )

    _, summary = foresee(asked)

    assert ended(summary) == {
        "versioning": "wanted", "encryption": "wanted", "cors": "wanted", "tags": "wanted",
        "lifecycle": "wanted", "policy": "lost",
    }  # fmt: skip
    assert summary.copy.things
    assert told(moto, home) == before
    assert content(home) == {}
    assert not (tmp_path / "restore").exists()


def test_a_look_leaves_what_another_restore_has_unpacked(archive: Path, tmp_path: Path) -> None:
    packed = tmp_path / f"{archive.name}.tar"
    pack(LocalTree(archive), archive.name, "tar", packed)
    asked = Restore(
        archive=Location.parse(str(packed)),
        to=Location.parse(str(tmp_path / "home")),
        evidence=tmp_path / "restore",
        policy=ONE,
    )
    foresee(asked)
    assert not (tmp_path / "restore" / "unpacked").exists()
    (tmp_path / "restore" / "unpacked").mkdir()
    unpack(packed, tmp_path / "restore" / "unpacked")
    foresee(asked)
    assert (tmp_path / "restore" / "unpacked" / archive.name / "bagit.txt").exists()


@pytest.mark.parametrize(
    "odd",
    [
        {"tags": {"TagSet": ["service"]}},
        {"tags": {"TagSet": 7}},
        {"lifecycle": {"Rules": {"ID": "a"}}},
        {"object_lock": {"ObjectLockConfiguration": "Enabled"}},
        {"encryption": {"Bucket": "another"}},
    ],
)
def test_settings_of_no_known_form_are_named_and_not_put(odd: dict[str, Any]) -> None:
    (one,) = fit(odd, whole=True, locks=True)
    assert "not what an S3 host says" in one.refused


def test_a_lock_is_not_put_on_what_others_keep_there() -> None:
    """`acts` is what --merge holds back."""
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 10}}}
    wanted = fit({"object_lock": {"ObjectLockConfiguration": lock}}, whole=True, locks=True)
    assert [(one.name, one.acts) for one in wanted] == [("object_lock", True)] * 2


@pytest.mark.parametrize(
    ("found", "expected"), [({}, "free"), ({"MFADelete": "Disabled"}, "free"), ({"Status": "Suspended"}, "other")]
)
def test_versioning_that_was_suspended_on_purpose_is_left_alone(found: dict[str, Any], expected: str) -> None:
    (versioning,) = fit({"versioning": {"Status": "Enabled"}}, whole=True, locks=True)
    assert state(lambda operation, key, **about: dict(found), versioning) == expected


@pytest.mark.parametrize("data", [b"[" * 100_000, b'"' + bytes(17 << 20)])
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "source.json").write_bytes(data)
    reader = connect(outer(Location.parse(str(tmp_path))))
    with pytest.raises(CorruptedError, match=r"source\.json"):
        reader.settings()
    reader.close()


def test_a_place_without_settings_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    home = Location.parse(str(tmp_path / "home"))
    with pytest.raises(UsageError, match="--apply settings"):
        bring_back(tmp_path / "absent", home, tmp_path / "restore", applies=("settings",))
    assert not (tmp_path / "restore").exists()


def test_a_host_that_acknowledges_a_setting_and_drops_it_is_found_out(
    moto: servers.S3Server, archive: Path, tmp_path: Path
) -> None:
    home = bucket(moto)

    def lie(method: str, path: str, body: bytes) -> Answer | None:
        return (200, {}, b"") if method == "PUT" and "?cors" in path else None

    with between(moto, lie) as endpoint:
        outcome = bring_back(archive, through(home, endpoint), tmp_path / "restore", applies=("settings",))

    assert outcome.proven, outcome.reasons
    assert ended(outcome)["cors"] == "lost"
    assert "acknowledged" in reasons(outcome)["cors"]
    assert ended(outcome)["lifecycle"] == "applied"


def test_a_host_that_knows_no_such_setting_loses_it_by_name(
    moto: servers.S3Server, archive: Path, tmp_path: Path
) -> None:
    home = bucket(moto)
    no = b"<Error><Code>NotImplemented</Code><Message>no</Message></Error>"

    def lie(method: str, path: str, body: bytes) -> Answer | None:
        return (501, {}, no) if "?lifecycle" in path or "?encryption" in path else None

    with between(moto, lie) as endpoint:
        outcome = bring_back(archive, through(home, endpoint), tmp_path / "restore", applies=("settings",))

    assert outcome.proven, outcome.reasons
    assert {name for name, end in ended(outcome).items() if end == "lost"} == {"lifecycle", "encryption", "policy"}
    assert "does not implement" in reasons(outcome)["lifecycle"]

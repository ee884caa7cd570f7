"""The synthetic practice is repeatable, made of real files, and held by the demo's host and by a folder as it was generated."""

from __future__ import annotations

import gzip
import io
import os
import re
import socket
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pydicom
import pytest
from botocore.exceptions import EndpointConnectionError
from PIL import Image

from connectors.credentials import resolve
from connectors.errors import UnavailableError, UnsupportedError
from connectors.keys import file_path_problem, fold
from portability.demo import documents, host, run_demo, stage
from portability.demo.host import S3Host
from portability.demo.practice import EXTREME_KEYS, MEBIBYTE, Thing, current, generate, write_tree


@pytest.fixture(scope="module")
def things() -> list[Thing]:
    return list(generate(patients=6, large=9 * MEBIBYTE, extreme=True))


@pytest.fixture(scope="module")
def server() -> Iterator[S3Host]:
    with S3Host() as running:
        yield running


def test_the_same_seed_gives_the_same_practice_and_another_seed_another(things: list[Thing]) -> None:
    assert list(generate(patients=6, large=9 * MEBIBYTE, extreme=True)) == things
    assert list(generate(7, patients=6, large=9 * MEBIBYTE, extreme=True)) != things


def test_the_default_practice_has_the_promised_size() -> None:
    whole = list(generate(large=0))
    assert 150 <= len(whole) <= 300
    assert 5_000_000 <= sum(len(thing.data) for thing in whole) <= 15_000_000


def test_letters_images_and_photos_are_files_that_other_programs_open(things: list[Thing]) -> None:
    of_type: dict[str, list[Thing]] = {}
    for thing in things:
        of_type.setdefault(thing.media_type, []).append(thing)
    assert all(thing.data.startswith(b"%PDF-") and b"%%EOF" in thing.data[-8:] for thing in of_type["application/pdf"])
    for thing in of_type["application/dicom"]:
        image = pydicom.dcmread(io.BytesIO(thing.data))
        assert len(image.PixelData) == image.Rows * image.Columns * 2 * image.get("NumberOfFrames", 1)
        assert image.SOPInstanceUID == image.file_meta.MediaStorageSOPInstanceUID
        assert len(image.SOPInstanceUID) <= 64
    for thing in of_type["image/jpeg"]:
        with Image.open(io.BytesIO(thing.data)) as photo:
            photo.load()
    assert all("Hémoglobine" in thing.data.decode("iso-8859-1") for thing in of_type["x-application/hl7-v2+er7"])


def test_one_object_is_big_enough_to_travel_in_parts(things: list[Thing]) -> None:
    biggest = max(things, key=lambda thing: len(thing.data))
    assert 9 * MEBIBYTE <= len(biggest.data) < 10 * MEBIBYTE
    parts = [biggest.data[start : start + MEBIBYTE] for start in range(0, 9 * MEBIBYTE, MEBIBYTE)]
    assert len(set(parts)) == len(parts)


def test_only_the_extreme_keys_are_no_file_paths_and_twins_are_among_the_others(things: list[Thing]) -> None:
    keys = {thing.key for thing in things}
    assert {key for key in keys if file_path_problem(key)} == set(EXTREME_KEYS)
    assert len({unicodedata.normalize("NFC", key) for key in keys}) == len(keys) - 1
    assert len({fold(key) for key in keys}) == len(keys) - 2
    assert max(len(key.rpartition("/")[2].encode()) for key in keys) >= 190


def test_fewer_patients_leave_those_who_stay_as_they_were(things: list[Thing]) -> None:
    fewer = list(generate(patients=2, large=0))
    assert {thing.key for thing in fewer} < {thing.key for thing in things}
    both = {thing.key: thing for thing in things}
    assert all(both[thing.key] == thing for thing in fewer if thing.key.startswith("patients/"))


def test_a_folder_holds_the_current_objects_and_what_only_file_systems_have(
    tmp_path: Path, things: list[Thing]
) -> None:
    folder = tmp_path / "cabinet"
    left_out = write_tree(folder, things)
    assert set(EXTREME_KEYS) <= set(left_out)
    held = current(things)
    for key in set(held) - set(left_out):
        assert (folder / key).read_bytes() == held[key].data
    assert not (folder / "cabinet" / "brouillon supprimé.txt").exists()
    assert (folder / "dossier vide").is_dir()
    assert (folder / "liens" / "agenda en dur.csv").samefile(folder / "cabinet" / "agenda.csv")
    assert (folder / "cabinet" / "configuration.json").stat().st_mtime < 10**9
    if os.name == "posix":
        assert (folder / "liens" / "agenda.csv").is_symlink()
        assert (folder / "cabinet" / "configuration.json").stat().st_mode & 0o777 == 0o604


def test_the_host_holds_every_object_with_its_headers_metadata_tags_and_history(
    server: S3Host, things: list[Thing]
) -> None:
    server.fill(things, "complet")
    with server.client() as client:
        listed: list[str] = []
        versions = markers = 0
        for page in client.get_paginator("list_object_versions").paginate(Bucket="complet"):
            listed += [item["Key"] for item in page.get("Versions", []) if item["IsLatest"]]
            versions += len(page.get("Versions", []))
            markers += len(page.get("DeleteMarkers", []))
        held = current(things)
        assert sorted(listed) == sorted(held)
        assert (versions, markers) == (len(things) - 1, 1)
        for key, thing in held.items():
            got = client.get_object(Bucket="complet", Key=key)
            with got["Body"] as body:
                assert body.read() == thing.data, key
            assert got["Metadata"] == thing.metadata
            assert got["ContentType"] == thing.media_type
            assert got.get("ContentDisposition") == thing.headers.get("content_disposition")
            assert got.get("ContentEncoding") == thing.headers.get("content_encoding")
            assert got.get("ExpiresString") == thing.headers.get("expires")
            tags = client.get_object_tagging(Bucket="complet", Key=key)["TagSet"]
            assert {tag["Key"]: tag["Value"] for tag in tags} == thing.tags
        big = client.head_object(Bucket="complet", Key="imagerie/volume CBCT.dcm")
        assert re.fullmatch(r'"[0-9a-f]{32}-2"', big["ETag"])
        packed = client.get_object(Bucket="complet", Key="cabinet/journal.log")["Body"]
        with packed:
            assert gzip.decompress(packed.read()).startswith(b"2024-01-08")


def test_the_location_of_the_host_resolves_to_its_credentials_and_prints_none(server: S3Host) -> None:
    location = server.location("cabinet", "un préfixe/")
    assert (location.scheme, location.host, location.path) == ("s3", "cabinet", "un préfixe/")
    assert location.option("endpoint") == server.endpoint
    found = resolve(location.credentials)
    assert found.access_key_id == host.ACCESS_KEY_ID
    assert found.secret_access_key is not None
    assert host.SECRET_ACCESS_KEY not in repr(location) + location.url


def test_when_the_context_ends_the_server_and_its_credentials_are_gone() -> None:
    with S3Host() as running:
        running.create("vide", versioned=False)
        assert "PORTABILITY_DEMO_SECRET_ACCESS_KEY" in os.environ
    assert "127.0.0.1" in running.endpoint
    with running.client() as client, pytest.raises(EndpointConnectionError):
        client.list_buckets()


def test_the_server_ends_with_a_program_that_is_killed() -> None:
    program = """
from portability.demo.host import S3Host
with S3Host() as running:
    print(running.endpoint, flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(b":")[2])
        process.kill()
    deadline = time.monotonic() + 30
    while _answers(port):
        assert time.monotonic() < deadline, "the server outlived its program"


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_stage_has_a_full_and_an_empty_host_and_fresh_evidence_each_time(tmp_path: Path) -> None:
    (tmp_path / "run-1").mkdir()
    with stage(tmp_path, patients=1, large=0) as ready:
        assert ready.evidence == tmp_path / "run-2"
        assert not ready.evidence.exists()
        assert ready.source.option("endpoint") != ready.destination.option("endpoint")
        assert ready.things > 20
        assert ready.size > 0


def test_a_server_that_does_not_start_is_an_error_with_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_SERVER", "raise SystemExit('no more ports')")
    with pytest.raises(UnavailableError, match="no more ports"):
        S3Host().__enter__()


def test_a_missing_package_is_named_with_the_way_to_install_it() -> None:
    with pytest.raises(UnsupportedError, match=re.escape("pip install 'portability-toolkit[demo]'")):
        documents.need("no_such_package_of_ours")


def test_tags_with_accents_fit_in_a_header(things: list[Thing]) -> None:
    assert all(urlencode(thing.tags).isascii() for thing in things)
    assert any("Échographie" in thing.tags.values() for thing in things)


def test_the_demo_ends_proven_and_can_be_run_again(tmp_path: Path) -> None:
    outcomes = [run_demo(tmp_path, patients=2, large=MEBIBYTE) for _ in range(2)]
    for outcome in outcomes:
        assert outcome.proven, outcome.reasons
        assert outcome.exit_code == 0
        assert "portability migrate" in outcome.next_step
    assert outcomes[0].evidence != outcomes[1].evidence

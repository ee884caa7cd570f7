"""Restores: A to archive to A gives equal manifests save declared losses; what is not intact writes nothing anywhere."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import archives
import pytest
import servers
from exports import a_folder, an_archive, bring_back, snapshot
from places import content, essence, fill, lines, put, small_practice, write_tree

from connectors import Location, connect
from manifests.manifest import ManifestReader
from portability.errors import EvidenceError, PlaceError, RefusedError, UsageError


def plain(archive: Path) -> list[dict[str, Any]]:
    return essence(archive / "metadata")


def lost(evidence: Path) -> set[str]:
    return {loss.name.split(".")[0] for line in lines(evidence) for loss in line.losses or ()}


def test_a_bucket_with_history_comes_back_version_by_version(moto: servers.S3Server, tmp_path: Path) -> None:
    first, second = moto.place(versioned=True), moto.place(versioned=True)
    fill(first, small_practice())
    archive = an_archive(first, tmp_path / "exports")

    outcome = bring_back(archive, second, tmp_path / "restore")

    assert outcome.proven, outcome.reasons
    assert essence(tmp_path / "restore") == plain(archive)
    assert content(second) == content(first)
    history = [(entry.key, entry.kind, entry.size) for entry in connect(first).list_versions()]
    assert [(entry.key, entry.kind, entry.size) for entry in connect(second).list_versions()] == history
    assert lost(tmp_path / "restore") <= {"modified", "acl", "storage_class"}


def test_a_folder_comes_back_with_modes_times_links_and_empty_folders(tmp_path: Path) -> None:
    folder, home = tmp_path / "practice", tmp_path / "home"
    write_tree(folder, [thing for thing in small_practice() if not thing.deleted])
    os.setxattr(folder / "cabinet" / "agenda.csv", "user.origine", b"cabinet")
    archive = an_archive(Location.parse(str(folder)), tmp_path / "exports")

    outcome = bring_back(archive, Location.parse(str(home)), tmp_path / "restore")

    assert outcome.proven, outcome.reasons
    assert essence(tmp_path / "restore") == plain(archive)
    assert lost(tmp_path / "restore") <= {"hardlink_to"}
    for path in folder.rglob("*"):
        twin = home / path.relative_to(folder)
        if path.is_symlink():
            assert twin.readlink() == path.readlink()
        elif path.is_file() or not any(path.iterdir()):
            ours, theirs = path.lstat(), twin.lstat()
            assert (theirs.st_mode, theirs.st_mtime_ns, theirs.st_uid) == (ours.st_mode, ours.st_mtime_ns, ours.st_uid)
    assert os.getxattr(home / "cabinet" / "agenda.csv", "user.origine") == b"cabinet"


def test_a_flat_bucket_comes_back_from_an_archive_at_a_host(
    moto: servers.S3Server, sshd: servers.SftpServer, tmp_path: Path
) -> None:
    from exports import ONE, an_export

    from portability.archive.restore import Restore, restore

    first, second, between = moto.place(prefix="cabinet"), moto.place(), sshd.place()
    fill(first, [thing for thing in small_practice() if not thing.deleted][:12])
    outcome = an_export(first, between, work=tmp_path / "work")
    archive = Location.parse(outcome.destination, credentials=between.credentials)

    back = restore(Restore(archive=archive, to=second, evidence=tmp_path / "restore", policy=ONE))

    assert back.proven, back.reasons
    assert content(second) == content(first)
    assert lost(tmp_path / "restore") <= {"modified", "acl", "storage_class"}


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_a_packed_archive_is_unpacked_checked_and_restored(tmp_path: Path, form: str) -> None:
    source = a_folder(tmp_path / "practice")
    archive = an_archive(source, tmp_path / "exports", form=form)
    packed = archive.with_name(f"{archive.name}.{form}")
    shutil.rmtree(archive)

    outcome = bring_back(packed, Location.parse(str(tmp_path / "home")), tmp_path / "restore")

    assert outcome.proven
    assert content(Location.parse(str(tmp_path / "home"))) == content(source)
    assert not (tmp_path / "restore" / "unpacked").exists()


def test_a_packed_archive_is_restored_with_evidence_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = an_archive(a_folder(tmp_path / "practice"), tmp_path / "exports", form="tar")
    monkeypatch.chdir(tmp_path)

    assert bring_back(archive.with_name(f"{archive.name}.tar"), Location.parse("./home"), Path("restore-it")).proven
    assert content(Location.parse("./home")) == {"a.txt": b"a", "b/c.txt": b"c"}


def test_the_evidence_of_a_restore_names_the_archive_and_not_where_it_lay(tmp_path: Path) -> None:
    archive = an_archive(a_folder(tmp_path / "practice"), tmp_path / "exports")

    outcome = bring_back(archive, Location.parse(str(tmp_path / "home")), tmp_path / "restore")

    info = (archive / "bag-info.txt").read_text()
    with (tmp_path / "restore" / "manifest.jsonl").open("rb") as stream:
        header = ManifestReader(stream).header
    assert f"External-Identifier: {header.source}\n" in info
    assert outcome.source == str(archive)
    events = json.loads((tmp_path / "restore" / "provenance.json").read_text())["events"]
    assert [event["type"] for event in events] == ["inventory", "restore", "verification"]
    assert str(tmp_path / "exports") not in json.dumps(events)


def test_names_that_the_destination_cannot_hold_are_lines_not_other_names(
    moto: servers.S3Server, tmp_path: Path
) -> None:
    source = moto.place()
    for key in ("a//b.txt", "x/../../etc/passwd", "fine.txt"):
        put(source, key, key.encode())
    archive = an_archive(source, tmp_path / "exports")

    outcome = bring_back(archive, Location.parse(str(tmp_path / "home")), tmp_path / "restore")

    assert (outcome.proven, outcome.skipped) == (False, {"name": 2})
    assert content(Location.parse(str(tmp_path / "home"))) == {"fine.txt": b"fine.txt"}
    accepting = bring_back(archive, Location.parse(str(tmp_path / "h2")), tmp_path / "r2", accepts=("name",))
    assert accepting.proven
    back = bring_back(archive, second := moto.place(), tmp_path / "r3")
    assert back.proven
    assert content(second) == content(source)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("intact")
    return an_archive(a_folder(folder / "practice"), folder / "exports")


@pytest.mark.parametrize(
    "name",
    [
        "payload changed",
        "payload removed",
        "payload added",
        "manifest changed, lists and signature renewed",
        "wrong Payload-Oxum",
        "tag file added",
    ],
)
def test_an_altered_archive_is_refused_with_nothing_written(tmp_path: Path, name: str) -> None:
    archive = archives.build(tmp_path / "archive", sign_with=archives.key())
    archives.ALTERATIONS[name](archive)
    (tmp_path / "home").mkdir()
    with pytest.raises(EvidenceError, match=r"nothing was restored: .* \(V\d+ "):
        bring_back(archive, Location.parse(str(tmp_path / "home")), tmp_path / "restore")
    assert list((tmp_path / "home").iterdir()) == []
    assert not (tmp_path / "restore").exists()


def test_another_signer_than_the_demanded_one_is_refused(tmp_path: Path, intact: Path) -> None:
    other = archives.fingerprint(archives.key("another"))
    with pytest.raises(EvidenceError, match="V22"):
        bring_back(intact, Location.parse(str(tmp_path / "home")), tmp_path / "restore", signer=other)
    assert not (tmp_path / "home").exists()


def test_a_destination_that_holds_other_things_is_refused_until_merging_is_asked_for(
    tmp_path: Path, intact: Path
) -> None:
    home = a_folder(tmp_path / "home", other_txt=b"mine")
    with pytest.raises(RefusedError, match="already holds 1 other thing"):
        bring_back(intact, home, tmp_path / "restore")
    assert content(home) == {"other.txt": b"mine"}
    assert bring_back(intact, home, tmp_path / "restore", merge=True).proven
    assert content(home) == {"other.txt": b"mine", "a.txt": b"a", "b/c.txt": b"c"}


def test_nothing_there_is_overwritten(tmp_path: Path, intact: Path) -> None:
    home = a_folder(tmp_path / "home", a_txt=b"mine", b__c_txt=b"c")
    outcome = bring_back(intact, home, tmp_path / "restore")
    assert (outcome.proven, outcome.exit_code) == (False, 3)
    assert [finding.key for finding in outcome.findings] == ["a.txt"]
    assert content(home) == {"a.txt": b"mine", "b/c.txt": b"c"}


def test_what_is_no_archive_says_so(tmp_path: Path) -> None:
    photos = a_folder(tmp_path / "photos", one_jpg=b"x")
    home = Location.parse(str(tmp_path / "home"))
    with pytest.raises(PlaceError, match="nothing there"):
        bring_back(tmp_path / "absent", home, tmp_path / "restore")
    with pytest.raises(EvidenceError, match="no archive: there is no list of checksums"):
        bring_back(Path(photos.path), home, tmp_path / "restore")
    (tmp_path / "words.txt").write_text("words")
    with pytest.raises(EvidenceError, match="neither a tar nor a zip"):
        bring_back(tmp_path / "words.txt", home, tmp_path / "restore")
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "manifest.jsonl").write_text("{}\n")
    with pytest.raises(UsageError, match="evidence of a migration, not an archive"):
        bring_back(tmp_path / "evidence", home, tmp_path / "restore")
    assert not (tmp_path / "home").exists()


def test_a_delta_is_restored_only_together_with_its_base(tmp_path: Path) -> None:
    base = archives.build(tmp_path / "base", {"a.txt": b"a", "b.txt": b"b"})
    stored = {"a.txt": (archives.archive_id(base), "data/files/a.txt")}
    delta = archives.build(tmp_path / "delta", {"a.txt": b"a", "b.txt": b"new"}, stored_in=stored)
    home = Location.parse(str(tmp_path / "home"))
    with pytest.raises(UsageError, match="complete only together with sha256:"):
        bring_back(delta, home, tmp_path / "restore")
    assert not (tmp_path / "home").exists()
    assert bring_back(delta, home, tmp_path / "restore", base=Location.parse(str(base))).proven
    assert content(home) == {"a.txt": b"a", "b.txt": b"new"}


def test_the_archive_is_not_touched(tmp_path: Path, intact: Path) -> None:
    before = snapshot(intact), {path: path.lstat().st_mtime_ns for path in intact.rglob("*")}
    assert bring_back(intact, Location.parse(str(tmp_path / "home")), tmp_path / "restore").proven
    assert (snapshot(intact), {path: path.lstat().st_mtime_ns for path in intact.rglob("*")}) == before

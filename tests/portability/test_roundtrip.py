"""Reversibility: A to B to A gives an equal manifest, except for the losses that its receipts declare."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import servers
from places import a_job, content, essence, fill, lines, put, small_practice, write_tree

from connectors import Location, connect
from portability.job import Job
from portability.migrate import migrate

# What no object store lets anyone set again: a new host has its own times.
UNSETTABLE = {"s3": {"modified"}, "local": set(), "sftp": {"modified"}}


def there_and_back(away: Job, back: Job) -> None:
    outcome = migrate(away)
    assert (outcome.findings, outcome.reasons) == ((), ())
    outcome = migrate(back)
    assert (outcome.findings, outcome.reasons) == ((), ())


def declared(evidence: Path) -> set[str]:
    return {loss.name.split(".")[0] for line in lines(evidence) for loss in line.losses or ()}


def test_tags_metadata_headers_and_versions_come_back_through_sftp(
    moto: servers.S3Server, sshd: servers.SftpServer, tmp_path: Path
) -> None:
    first, second = moto.place(versioned=True), moto.place(versioned=True)
    fill(first, small_practice())
    between = sshd.place()
    away = a_job(first, between, tmp_path / "away")
    back = a_job(between, second, tmp_path / "back", using=str(tmp_path / "away"))

    there_and_back(away, back)

    before, after = essence(away.evidence), essence(back.evidence)
    assert [line["key"] for line in after] == [line["key"] for line in before]
    for line in (*before, *after):
        del line["posix"]  # the file system between has modes, the object stores have not
    assert after == before
    assert {"tags", "metadata"} <= declared(away.evidence)
    assert not {"tags", "metadata", "headers", "media_type"} & declared(back.evidence)
    assert content(second) == content(first)
    history = [(entry.key, entry.kind, entry.size) for entry in connect(first).list_versions()]
    assert [(entry.key, entry.kind, entry.size) for entry in connect(second).list_versions()] == history


def test_a_bucket_with_history_equals_its_copy(moto: servers.S3Server, tmp_path: Path) -> None:
    first, second, third = (moto.place(versioned=True) for _ in range(3))
    fill(first, small_practice())
    away = a_job(first, second, tmp_path / "away")
    back = a_job(second, third, tmp_path / "back", using=str(tmp_path / "away"))

    there_and_back(away, back)

    assert essence(back.evidence) == essence(away.evidence)


def test_modes_owners_times_links_and_empty_folders_come_back_through_s3(
    moto: servers.S3Server, tmp_path: Path
) -> None:
    folder, home = tmp_path / "practice", tmp_path / "home"
    write_tree(folder, [thing for thing in small_practice() if not thing.deleted])
    os.setxattr(folder / "cabinet" / "agenda.csv", "user.origine", b"cabinet")
    home.mkdir()
    bucket = moto.place()
    away = a_job(Location.parse(str(folder)), bucket, tmp_path / "away")
    back = a_job(bucket, Location.parse(f"{home}"), tmp_path / "back", using=str(tmp_path / "away"))

    there_and_back(away, back)

    lost = declared(back.evidence)
    assert lost <= {"hardlink_to", "media_type", "posix", "acl", "storage_class"}, lost
    assert content(back.destination) == content(away.source)
    for path in folder.rglob("*"):
        twin = home / path.relative_to(folder)
        if path.is_symlink():
            assert twin.readlink() == path.readlink()
        elif path.is_file() or not any(path.iterdir()):
            ours, theirs = path.lstat(), twin.lstat()
            assert (theirs.st_mode, theirs.st_mtime_ns, theirs.st_uid) == (ours.st_mode, ours.st_mtime_ns, ours.st_uid)
    assert os.getxattr(home / "cabinet" / "agenda.csv", "user.origine") == b"cabinet"


def test_what_the_earlier_evidence_had_and_the_place_has_no_more_is_a_line(tmp_path: Path) -> None:
    first, between, last = (tmp_path / name for name in ("first", "between", "last"))
    for folder in (first, between, last):
        folder.mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (first / name).write_text(name)
    places = [Location.parse(str(folder)) for folder in (first, between, last)]
    assert migrate(a_job(places[0], places[1], tmp_path / "away")).proven
    (between / "b.txt").unlink()

    outcome = migrate(a_job(places[1], places[2], tmp_path / "back", using=str(tmp_path / "away")))

    assert not outcome.proven
    assert outcome.skipped == {"gone": 1}
    accepting = a_job(places[1], places[2], tmp_path / "back2", using=str(tmp_path / "away"), accepts=("gone",))
    assert migrate(accepting).proven


def test_bytes_that_rotted_between_are_not_passed_on(tmp_path: Path) -> None:
    first, between, last = (tmp_path / name for name in ("first", "between", "last"))
    for folder in (first, between, last):
        folder.mkdir()
    (first / "a.txt").write_text("sound")
    places = [Location.parse(str(folder)) for folder in (first, between, last)]
    assert migrate(a_job(places[0], places[1], tmp_path / "away")).proven
    (between / "a.txt").write_text("sounD")

    outcome = migrate(a_job(places[1], places[2], tmp_path / "back", using=str(tmp_path / "away")))

    assert (outcome.proven, outcome.exit_code) == (False, 3)
    assert [finding.problem for finding in outcome.findings] == ["failed"]
    assert list(last.iterdir()) == []


@pytest.mark.parametrize("name", ["attachment.pdf", "é/ü ñ.txt"])
def test_a_changed_size_between_is_taken_as_new_content(tmp_path: Path, name: str) -> None:
    """The practice went on working at B: what it changed there is its content now, without the old attributes."""
    first, between, last = (tmp_path / folder for folder in ("first", "between", "last"))
    for folder in (first, between, last):
        folder.mkdir()
    places = [Location.parse(str(folder)) for folder in (first, between, last)]
    put(places[0], name, b"old")
    assert migrate(a_job(places[0], places[1], tmp_path / "away")).proven
    put(places[1], name, b"longer than before", replace=True)

    outcome = migrate(a_job(places[1], places[2], tmp_path / "back", using=str(tmp_path / "away")))

    assert content(places[2]) == {name: b"longer than before"}
    assert outcome.skipped == {"gone": 1} or outcome.proven

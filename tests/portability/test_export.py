"""Exports: from every kind of place into archives that stock tools, another library and our verifier accept, whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import archives
import bagit
import pytest
import servers
from exports import ONE, Key, Killer, a_folder, an_archive, an_export, an_identity, bring_back, killer, snapshot
from places import content, delete, essence, fill, put, small_practice, write_tree

from connectors import FullError, Location
from connectors.keys import PARTIAL_FOLDER
from manifests.history import read_history
from manifests.manifest import ManifestReader
from portability.archive.export import Export, export
from portability.archive.verification import verify_archive
from portability.archive.verifier import VerifierResult
from portability.errors import EvidenceError, PlaceError, RefusedError, UsageError, exit_code
from portability.job import Selection

SIGNER = archives.fingerprint()
EVERY = int(os.environ.get("TEST_EVERY_POINT", "11"))
"""Of the points at which an export is killed; a put has fewer steps than that, so that all of them have their turn."""


def verified(archive: Path | Location, **demands: str) -> VerifierResult:
    place = Location.parse(str(archive)) if isinstance(archive, Path) else archive
    return verify_archive(place, workers=1, **{"signer": SIGNER, **demands})


def practice_on(kind: str, moto: servers.S3Server, sshd: servers.SftpServer, folder: Path) -> Location:
    """The synthetic practice at a place of this kind."""
    if kind in {"s3", "versioned s3"}:
        place = moto.place(versioned=kind != "s3")
        fill(place, [thing for thing in small_practice() if not thing.deleted or kind != "s3"])
        return place
    things = [thing for thing in small_practice() if not thing.deleted]
    if kind == "sftp":
        place = sshd.place()
        write_tree(sshd.on_disk(place), things)
        return place
    write_tree(folder, things)
    return Location.parse(str(folder))


def check_with_stock_tools(archive: Path) -> None:
    for tool, lists in (("sha256sum", "sha256"), ("sha512sum", "sha512")):
        for name in (f"tagmanifest-{lists}.txt", f"manifest-{lists}.txt"):
            if (archive / name).exists():
                done = subprocess.run([tool, "--strict", "--quiet", "-c", name], cwd=archive, capture_output=True)
                assert (done.returncode, done.stdout) == (0, b""), done
    assert bagit.Bag(str(archive)).validate()
    script = subprocess.run(["sh", str(archive / "verify.sh"), SIGNER], capture_output=True, encoding="utf-8")
    assert script.stdout.splitlines()[-1] == "RESULT: VALID", script.stdout


@pytest.mark.parametrize("kind", ["local", "sftp", "s3", "versioned s3"])
def test_an_archive_of_any_place_is_accepted_by_every_reader(
    kind: str, moto: servers.S3Server, sshd: servers.SftpServer, tmp_path: Path
) -> None:
    source = practice_on(kind, moto, sshd, tmp_path / "practice")

    archive = an_archive(source, tmp_path / "exports")

    result = verified(archive)
    assert (result.exit_code, result.findings) == (0, ())
    check_with_stock_tools(archive)
    assert [path.name for path in (tmp_path / "exports").iterdir()] == [archive.name], "nothing else is left there"
    current = set(content(source).values())
    assert {path.read_bytes() for path in (archive / "data" / "files").rglob("*") if path.is_file()} == current


def test_old_versions_are_stored_once_and_markers_are_lines(
    moto: servers.S3Server, sshd: servers.SftpServer, tmp_path: Path
) -> None:
    archive = an_archive(practice_on("versioned s3", moto, sshd, tmp_path), tmp_path / "exports")
    with (archive / "metadata" / "manifest.jsonl").open("rb") as stream:
        lines = list(ManifestReader(stream))
    old = [line for line in lines if line.kind == "object" and line.latest is False]
    assert old
    for line in old:
        assert line.sha256
        assert line.path == f"data/versions/{line.sha256[:2]}/{line.sha256}"
    assert [line for line in lines if line.kind == "delete_marker" and line.path is None]


@pytest.mark.parametrize("kind", ["s3", "sftp"])
def test_an_archive_at_a_host_is_verified_there(
    kind: str, moto: servers.S3Server, sshd: servers.SftpServer, tmp_path: Path
) -> None:
    source = a_folder(tmp_path / "practice")
    to = moto.place(prefix="exports") if kind == "s3" else sshd.place()

    outcome = an_export(source, to, work=tmp_path / "work")

    assert outcome.proven
    archive = Location.parse(outcome.destination, credentials=to.credentials)
    assert verified(archive).exit_code == 0
    key = next(key for key in content(archive) if key.startswith("data/"))
    put(archive, key, b"altered", replace=True)
    assert verified(archive).exit_code == 4
    delete(archive, key)
    (missing,) = (found for found in verified(archive).findings if found.rule == "V15")
    assert missing.path == key
    assert list((tmp_path / "work").iterdir()) == []


def test_names_without_accents_two_pairs_of_lists_and_short_paths(tmp_path: Path) -> None:
    source = Location.parse(str(tmp_path / "practice"))
    write_tree(tmp_path / "practice", [thing for thing in small_practice() if not thing.deleted])

    archive = an_archive(
        source, tmp_path / "exports", names="ascii", sha512=True, path_limit=120, practice="Cabinet Échographie"
    )

    assert archive.name.startswith("portability-cabinet-echographie-")
    names = [str(path.relative_to(archive)) for path in archive.rglob("*")]
    assert all(name.isascii() and len(name) <= 120 for name in names)
    assert {"manifest-sha512.txt", "tagmanifest-sha512.txt"} <= set(names)
    assert verified(archive).exit_code == 0
    check_with_stock_tools(archive)


def test_an_export_into_its_source_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "practice").mkdir()
    (tmp_path / "practice" / "lettre.txt").write_text("Cher confrère")
    inside = Location.parse(str(tmp_path / "practice" / "exports"))

    with pytest.raises(UsageError, match="overlap"):
        export(Export(source=Location.parse(str(tmp_path / "practice")), to=inside))

    assert [path.name for path in tmp_path.rglob("*")] == ["practice", "lettre.txt"]


def test_an_unsigned_archive_says_that_it_is(tmp_path: Path) -> None:
    archive = an_archive(a_folder(tmp_path / "practice"), tmp_path / "exports", signer=None)
    assert not (archive / "signatures").exists() or not list((archive / "signatures").iterdir())
    assert verify_archive(Location.parse(str(archive)), workers=1).exit_code == 0
    assert verified(archive).exit_code == 6


def test_each_archive_carries_the_history_before_it(tmp_path: Path) -> None:
    source, history = a_folder(tmp_path / "practice"), tmp_path / "history.jsonl"
    found = [an_archive(source, tmp_path / "exports", history=history) for _ in range(2)]
    entries = list(read_history(history.read_bytes().splitlines(keepends=True)))
    assert [entry.archive for entry in entries] == [archives.archive_id(folder) for folder in found]
    assert (found[0] / "metadata" / "history.jsonl").read_bytes() == b""
    assert (found[1] / "metadata" / "history.jsonl").read_bytes() == entries[0].to_line() + b"\n"
    history.write_bytes(history.read_bytes().replace(b"proven", b"brilliant"))
    with pytest.raises(UsageError, match="chain is broken"):
        an_export(source, tmp_path / "exports", history=history)


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_an_archive_is_packed_beside_itself_and_verified_in_place(tmp_path: Path, form: str) -> None:
    source = a_folder(tmp_path / "practice", Résultats__écho_txt=b"Bonjour")
    archive = an_archive(source, tmp_path / "exports", form=form)
    packed = archive.with_name(f"{archive.name}.{form}")
    result = verified(packed)
    assert (result.exit_code, result.archive_id) == (0, archives.archive_id(archive))


def test_a_transport_is_not_written_to_a_host(moto: servers.S3Server, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--tar"):
        an_export(a_folder(tmp_path / "practice"), moto.place(), form="tar", work=tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_what_is_excluded_is_a_line_and_the_selection_is_said(tmp_path: Path) -> None:
    source = a_folder(tmp_path / "practice", letter_txt=b"Bonjour", cache_tmp=b"x")
    archive = an_archive(source, tmp_path / "exports", selection=Selection(exclude=("*.tmp",)))
    result = verified(archive)
    assert result.summary is not None
    assert result.summary.skipped == {"excluded": 1}
    assert "*.tmp" in str(result.verdict)
    assert not list(archive.rglob("*.tmp*"))


def test_readme_names_the_fingerprint_the_root_and_how_long_the_longest_path_is(tmp_path: Path) -> None:
    archive = an_archive(a_folder(tmp_path / "practice", dossier__lettre_txt=b"Bonjour"), tmp_path / "exports")
    text = (archive / "README.txt").read_text("utf-8")
    result = verified(archive)
    assert result.summary is not None
    assert Key.public.fingerprint in text
    assert result.summary.root in text
    assert str(len(f"{archive.name}/data/files/dossier/lettre.txt")) in text


@pytest.mark.parametrize("form", ["clear", "encrypted", "versioned"])
def test_an_archive_with_a_crate_is_accepted_by_every_reader(form: str, tmp_path: Path, moto: servers.S3Server) -> None:
    source = a_folder(tmp_path / "practice")
    if form == "versioned":
        source = moto.place(versioned=True)
        put(source, "Dupont.txt", b"old")
        put(source, "Dupont.txt", b"new", replace=True)
    more = {"recipients": (an_identity(tmp_path / "key"),)} if form == "encrypted" else {"sha512": True}

    archive = an_archive(source, tmp_path / "exports", ro_crate=True, work=tmp_path / "work", **more)

    check_with_stock_tools(archive)
    assert verified(archive).exit_code == (3 if form == "encrypted" else 0)
    done = subprocess.run(["sh", "verify.sh"], cwd=archive, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    crate = archive / "data" / "ro-crate-metadata.json"
    parts = {part["@id"] for part in json.loads(crate.read_text())["@graph"][1]["hasPart"]}
    assert parts == {f"{path.name}/" for path in (archive / "data").iterdir() if path.is_dir()}
    assert "Dupont" not in crate.read_text()
    crate.write_bytes(crate.read_bytes() + b" ")
    assert verified(archive).exit_code == 4
    crate.unlink()
    assert verified(archive).exit_code == 4


@pytest.mark.parametrize(
    "name", ["cab\udcff\udce9", "Cabinet\u00a0Exemple", "ligne\nBagging-Date: 1999-01-01", "\u202e", " "]
)
def test_a_practice_of_any_name_has_an_archive(name: str, tmp_path: Path) -> None:
    archive = an_archive(a_folder(tmp_path / "practice"), tmp_path / "exports", ro_crate=True, practice=name)

    assert verified(archive).exit_code == 0
    dates = [line for line in (archive / "bag-info.txt").read_text("utf-8").splitlines() if line.startswith("Bagging")]
    assert len(dates) == 1


def test_two_practices_whose_names_begin_alike_are_two_series(tmp_path: Path) -> None:
    source = a_folder(tmp_path / "practice")
    one, other = (an_archive(source, tmp_path / "exports", practice=f"Cabinet {name}") for name in ("Nord", "Sud"))

    series = [
        (archive / "bag-info.txt").read_text().split("Bag-Group-Identifier: ")[1].split("\n")[0]
        for archive in (one, other)
    ]

    assert series == ["cabinet-nord", "cabinet-sud"]


@pytest.mark.skipif(os.name == "nt", reason="files have no modes there")
@pytest.mark.parametrize("kind", ["local", "sftp"])
def test_an_archive_is_for_its_owners_eyes_only(kind: str, sshd: servers.SftpServer, tmp_path: Path) -> None:
    to: Location | Path = tmp_path / "exports"
    folder = tmp_path / "exports"
    if kind == "sftp":
        to = sshd.place()
        folder = sshd.on_disk(to)

    an_export(a_folder(tmp_path / "practice"), to, work=tmp_path / "work")

    archive = next(folder.glob("portability-*"))
    assert archive.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in archive.rglob("*") if path.is_file()} == {0o600}


def test_the_command_that_checks_an_archive_at_a_host_can_be_pasted(moto: servers.S3Server, tmp_path: Path) -> None:
    outcome = an_export(a_folder(tmp_path / "practice"), moto.place(), work=tmp_path / "work")

    told = shlex.split(outcome.next_step.partition("with: ")[2])

    assert told[:4] == ["portability", "verify", outcome.destination, "--evidence-credentials"]


def test_no_description_file_tells_where_on_this_machine_the_export_ran(tmp_path: Path, moto: servers.S3Server) -> None:
    source = moto.place()
    put(source, "letter.txt", b"Bonjour")
    outcome = an_export(source, moto.place(), work=tmp_path / "work")
    archive = Location.parse(outcome.destination, credentials=source.credentials)
    for data in content(archive).values():
        assert str(tmp_path).encode() not in data
        assert b"moto-secret" not in data


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_source_that_changes_meanwhile_gives_no_archive(tmp_path: Path) -> None:
    """A file replaced after the census: the snapshot cannot be whole, and the next run takes a new one."""
    source = a_folder(tmp_path / "practice", a_txt=b"before", b_txt=b"stays")

    class Changing:
        def phase(self, name: str, items: int | None = None, size: int | None = None) -> None:
            if name == "transfer" and (tmp_path / "practice" / "a.txt").read_bytes() == b"before":
                put(source, "a.txt", b"another length", replace=True)

        def step(self, items: int = 0, size: int = 0) -> None: ...

        def note(self, text: str) -> None: ...

        def done(self) -> None: ...

    asked = Export(source=source, to=Location.parse(str(tmp_path / "exports")), policy=ONE)
    with pytest.raises(RefusedError, match="changed at the source") as refused:
        export(asked, progress=Changing())
    assert "same command again" in refused.value.hint
    (unfinished,) = (tmp_path / "exports").iterdir()
    assert not (unfinished / "tagmanifest-sha256.txt").exists()
    outcome = export(asked, progress=Changing())
    assert outcome.proven
    assert Path(outcome.evidence) != unfinished


def test_a_full_disk_is_told_and_nothing_is_half_closed(tmp_path: Path) -> None:
    source, small = a_folder(tmp_path / "practice", scan_bin=bytes(200_000)), tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("only root can mount a small file system")
    try:
        with pytest.raises(FullError, match="no space is left") as full:
            an_export(source, small / "exports", work=tmp_path / "work")
        assert exit_code(full.value) == 5
        (archive,) = (small / "exports").iterdir()
        assert not (archive / "tagmanifest-sha256.txt").exists()
        assert verified(archive).exit_code == 6
        subprocess.run(["mount", "-o", "remount,size=4m", small], check=True)
        outcome = an_export(source, small / "exports", work=tmp_path / "work")
        assert outcome.evidence == str(archive)
        assert verified(archive).exit_code == 0
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_file_of_somebody_else_in_the_archive_is_not_replaced(tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    a_folder(tmp_path / "practice")
    with killer(tmp_path) as kill:
        assert kill.run(tmp_path / "practice", exports, at=1).code == -9
        (archive,) = (path for path in exports.iterdir() if not path.name.startswith("."))
        (archive / "verify.html").write_text("forged")
        ended = kill.run(tmp_path / "practice", exports)
    assert "EvidenceError" in ended.said
    assert "verify.html" in ended.said
    assert (archive / "verify.html").read_text() == "forged"
    assert not (archive / "tagmanifest-sha256.txt").exists()


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PlaceError, match="cannot be made"):
        an_export(a_folder(tmp_path / "practice"), tmp_path / "file" / "exports")


# -- T14: killed at every step ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    with killer(tmp_path_factory.mktemp("killer")) as running:
        yield running


def test_killed_at_any_step_of_closing_there_is_no_archive_or_the_whole_one(kill: Killer, tmp_path: Path) -> None:
    practice, exports, kept = (tmp_path / name for name in ("practice", "exports", "kept"))
    a_folder(practice)
    history = tmp_path / "history.jsonl"
    assert kill.run(practice, exports, at=1, history=str(history)).code == -9
    shutil.copytree(exports, kept)
    whole = kill.run(practice, exports, history=str(history))
    assert whole.code == 0, whole.said
    assert whole.points > 60
    complete = snapshot(Path(whole.said)).keys()

    accepted, looked_at = 0, set()
    for point in range(1, whole.points + 1, EVERY):
        shutil.rmtree(exports)
        shutil.copytree(kept, exports)
        history.unlink(missing_ok=True)
        assert kill.run(practice, exports, at=point, history=str(history)).code == -9
        (archive,) = (path for path in exports.iterdir() if not path.name.startswith("."))
        before = snapshot(archive)
        state = frozenset(path for path in before if not path.startswith(PARTIAL_FOLDER))
        seen = (state, len(before) > len(state))  # beside a partial file it is another thing to the verifier
        new = seen not in looked_at
        looked_at.add(seen)
        if new and verified(archive).exit_code == 0:
            accepted += 1
            assert archives.SIGNATURE in state
        if not [path for path in exports.glob(".portability-export-*") if path.suffix != ".gone"]:
            assert before.keys() == complete, "the export had ended; what is left to remove is not gone on with"
            continue
        again = kill.run(practice, exports, history=str(history))
        assert again.code == 0, again.said
        (found,) = exports.iterdir()
        assert found == archive, "the same archive was gone on with, and nothing is left beside it"
        after = snapshot(archive)
        assert {name: before[name] for name in state}.items() <= after.items(), "what was there has not changed"
        assert after.keys() == complete, "no litter"
        if new:
            assert verified(archive).exit_code == 0
        assert len(history.read_bytes().splitlines()) == 1
    assert accepted or EVERY > 1, "the last points come after the signature"


@pytest.mark.parametrize("phase", ["transfer", "verify"])
def test_killed_before_closing_the_same_command_goes_on(kill: Killer, tmp_path: Path, phase: str) -> None:
    practice, exports = tmp_path / "practice", tmp_path / "exports"
    a_folder(practice)
    assert kill.run(practice, exports, phase=phase, at=1).code == -9
    (archive,) = (path for path in exports.iterdir() if not path.name.startswith("."))
    assert verified(archive).exit_code == 6
    ended = kill.run(practice, exports)
    assert (ended.code, ended.said) == (0, str(archive))
    assert verified(archive).exit_code == 0


def test_source_settings_are_recorded_as_claims(moto: servers.S3Server, tmp_path: Path) -> None:
    source = moto.place(versioned=True)
    put(source, "a.txt", b"a")
    archive = an_archive(source, tmp_path / "exports")
    told = json.loads((archive / "metadata" / "source.json").read_bytes())
    assert told["uri"] == source.url
    assert re.search("Enabled", json.dumps(told))


# -- deltas (T12) -----------------------------------------------------------------------------------------------------


def test_a_delta_holds_what_changed_and_is_proven_only_with_its_base(tmp_path: Path, moto: servers.S3Server) -> None:
    source = moto.place(versioned=True)
    fill(source, small_practice()[:10])
    put(source, "patients/a.txt", b"first")
    put(source, "patients/b.txt", b"stays")
    base = an_archive(source, tmp_path / "exports")
    put(source, "patients/a.txt", b"second", replace=True)
    put(source, "patients/c.txt", b"new")
    full = Location.parse(str(base))

    delta = an_archive(source, tmp_path / "deltas", delta_from=full)

    held = {path.read_bytes() for path in (delta / "data").rglob("*") if path.is_file()}
    assert held == {b"second", b"new"}
    check_with_stock_tools(delta)
    alone = verified(delta)
    assert (alone.exit_code, alone.needs) == (3, (archives.archive_id(base),))
    together = verify_archive(Location.parse(str(delta)), workers=1, signer=SIGNER, bases=(full,))
    assert (together.exit_code, together.findings) == (0, ())
    other = an_archive(a_folder(tmp_path / "other"), tmp_path / "others")
    wrong = verify_archive(Location.parse(str(delta)), workers=1, bases=(Location.parse(str(other)),))
    assert wrong.needs == alone.needs
    home = moto.place(versioned=True)
    with pytest.raises(UsageError, match="complete only together with") as refused:
        bring_back(delta, home, tmp_path / "restore", base=Location.parse(str(other)))
    assert "another archive" in refused.value.hint
    assert bring_back(delta, home, tmp_path / "restore", base=full).proven
    assert content(home) == content(source)
    again = an_archive(source, tmp_path / "full")
    assert essence(tmp_path / "restore") == essence(again / "metadata")


def test_a_delta_reads_every_byte_again(tmp_path: Path) -> None:
    """Size and date are equal, the bytes are not: they are stored."""
    source = a_folder(tmp_path / "practice")
    base = an_archive(source, tmp_path / "exports")
    file = tmp_path / "practice" / "a.txt"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_bytes(b"b")
    os.utime(file, ns=times)
    delta = an_archive(source, tmp_path / "deltas", delta_from=Location.parse(str(base)))
    assert [path.name for path in (delta / "data").rglob("*") if path.is_file()] == ["a.txt"]
    told = delta / "README.txt"
    assert archives.archive_id(base) in told.read_text("utf-8")


def test_a_delta_refers_to_a_whole_full_archive_in_clear(tmp_path: Path) -> None:
    source = a_folder(tmp_path / "practice")
    base = an_archive(source, tmp_path / "exports")
    delta = an_archive(source, tmp_path / "deltas", delta_from=Location.parse(str(base)))
    with pytest.raises(UsageError, match="is a delta itself"):
        an_export(source, tmp_path / "third", delta_from=Location.parse(str(delta)))
    recipient = an_identity(tmp_path / "key")
    with pytest.raises(UsageError, match="cannot be encrypted"):
        an_export(source, tmp_path / "third", delta_from=Location.parse(str(base)), recipients=(recipient,))
    (base / "data" / "files" / "a.txt").write_bytes(b"altered")
    with pytest.raises(EvidenceError, match="altered"):
        an_export(source, tmp_path / "third", delta_from=Location.parse(str(base)))
    assert not (tmp_path / "third").exists()

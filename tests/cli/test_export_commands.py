"""The commands of archives: export, verify and restore as a person types them, and what they answer to mistakes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import servers
from commands import Ended, Run, command

ONE = ("--workers", "1")
FILES = {"patients/Hélène/lettre 1.txt": b"Bonjour", "scan.bin": bytes(range(256)) * 40}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a practice, a key and a signed archive; tests copy what they touch."""
    folder = tmp_path_factory.mktemp("made")
    for name, data in FILES.items():
        (folder / "practice" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "practice" / name).write_bytes(data)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    asked = ("--from", folder / "practice", "--to", folder / "exports", "--sign", folder / "key", "--tar", *ONE)
    done = subprocess.run(command("-q", "export", *asked), capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PROVEN\n")
    assert fingerprint(folder) in done.stdout
    return folder


def fingerprint(folder: Path) -> str:
    told = subprocess.run(["ssh-keygen", "-lf", str(folder / "key.pub")], capture_output=True, encoding="utf-8")
    return told.stdout.split()[1]


def archive(folder: Path) -> Path:
    (found,) = (path for path in (folder / "exports").iterdir() if path.is_dir())
    return found


def verify(run: Run, place: object, *more: object) -> Ended:
    return run("verify", place, *ONE, *more)


def test_the_verdict_comes_first_then_the_fingerprint_and_what_it_proves(run: Run, made: Path) -> None:
    ended = verify(run, archive(made), "--signer", fingerprint(made))
    assert ended.code == 0, ended
    assert ended.out.startswith("INTACT AND PROVEN\n2 lines, 10247 bytes")
    assert fingerprint(made) in ended.out
    assert "Cette empreinte ne prouve l'origine" in ended.out
    assert "only if it equals the one you keep outside the archive" in ended.out


def test_a_packed_archive_is_verified_in_place(run: Run, made: Path) -> None:
    ended = verify(run, f"{archive(made)}.tar")
    assert (ended.code, ended.out.splitlines()[0]) == (0, "INTACT AND PROVEN")


def test_an_alteration_is_named_with_its_rule_its_file_and_both_digests(run: Run, made: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(archive(made), tmp_path / "copy")
    (copy / "data" / "files" / "scan.bin").write_bytes(b"altered")
    ended = verify(run, copy, "--findings", tmp_path / "findings.jsonl")
    assert (ended.code, ended.out.splitlines()[0]) == (4, "ALTERED OR INCOMPLETE")
    assert "V15" in ended.out
    assert "data/files/scan.bin" in ended.out
    assert "expected" in ended.out
    (finding,) = map(json.loads, (tmp_path / "findings.jsonl").read_text("utf-8").splitlines())
    assert (finding["rule"], finding["path"], finding["severity"]) == ("V15", "data/files/scan.bin", "reject")
    head, record = verify(run, copy, "--json").records
    assert (head["type"], head["exit_code"], head["intact"]) == ("archive", 4, False)
    assert record == finding
    run("restore", copy, "--to", tmp_path / "home", "--evidence", tmp_path / "evidence", *ONE).refused(
        6, "nothing was restored", "V15", "data/files/scan.bin"
    )
    assert not (tmp_path / "home").exists()


def test_another_signer_is_refused_by_name(run: Run, made: Path) -> None:
    ended = verify(run, archive(made), "--signer", "SHA256:" + "A" * 43)
    assert (ended.code, ended.out.splitlines()[0]) == (6, "NOT SIGNED AS DEMANDED")
    assert "V22" in ended.out


def test_a_restore_ends_proven_and_says_what_the_archive_was(program: Run, made: Path, tmp_path: Path) -> None:
    ended = program("restore", archive(made), "--to", tmp_path / "home", *ONE, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("PROVEN\n")
    assert "INTACT AND PROVEN" in ended.err
    for name, data in FILES.items():
        assert (tmp_path / "home" / name).read_bytes() == data
    assert (tmp_path / f"restore-{archive(made).name}" / "manifest.jsonl").exists()


@pytest.mark.parametrize("form", ["", ".tar"])
def test_a_dry_run_of_a_restore_says_what_it_would_do_and_writes_nothing(
    run: Run, made: Path, tmp_path: Path, form: str
) -> None:
    asked = ("restore", f"{archive(made)}{form}", "--to", tmp_path / "home", "--evidence", tmp_path / "evidence", *ONE)
    ended = run(*asked, "--dry-run")
    assert (ended.code, ended.out.splitlines()[0]) == (0, "READY")
    (record,) = run(*asked, "--dry-run", "--json").records
    assert (record["type"], record["copy"]["things"], record["settings"]) == ("plan", 2, [])
    assert not (tmp_path / "home").exists()
    assert not list((tmp_path / "evidence").glob("*"))


def test_settings_of_a_bucket_are_named_one_by_one(run: Run, moto: servers.S3Server, tmp_path: Path) -> None:
    source, home = moto.place(versioned=True), moto.place()
    policy = f'{{"Statement":[{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{source.host}/*"}}]}}'
    with moto.client() as client:
        client.put_object(Bucket=source.host, Key="lettre.txt", Body=b"Bonjour")
        client.put_bucket_policy(Bucket=source.host, Policy=policy)
    made = ("--from", source.url, "--from-credentials", source.credentials, "--to", tmp_path / "exports", *ONE)
    assert run("export", *made).code == 0
    asked = ("restore", archive(tmp_path), "--to", home.url, "--to-credentials", home.credentials, *ONE)
    with_settings = (*asked, "--apply", "settings", "--evidence", tmp_path / "evidence")

    dry, done = run(*with_settings, "--dry-run"), run(*with_settings)
    record = run(*with_settings, "--json").records[0]

    assert (dry.code, done.code) == (0, 0)
    assert "would be set" in dry.out
    assert "set, and read back" in done.out
    assert "names buckets and accounts of the old host" in done.out
    assert {one["name"]: one["end"] for one in record["settings"]} == {"versioning": "there", "policy": "lost"}


def test_that_an_archive_records_no_settings_is_said(
    run: Run, made: Path, moto: servers.S3Server, tmp_path: Path
) -> None:
    home = moto.place()
    ended = run(
        *("restore", archive(made), "--to", home.url, "--to-credentials", home.credentials, "--dry-run", *ONE),
        *("--apply", "settings", "--evidence", tmp_path / "evidence"),
    )
    assert ended.code == 0
    assert "the archive records none that could be put back" in ended.err


def test_a_bag_of_another_program_is_verified_and_not_restored(run: Run, tmp_path: Path) -> None:
    import bagit

    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "letter.txt").write_bytes(b"Bonjour")
    bagit.make_bag(str(tmp_path / "bag"), checksums=["sha256"])
    ended = verify(run, tmp_path / "bag")
    assert (ended.code, ended.out.splitlines()[0]) == (0, "INTACT")
    assert "another program" in ended.out
    run("restore", tmp_path / "bag", "--to", tmp_path / "home", *ONE).refused(6, "bag of another program")


def test_what_is_neither_archive_nor_evidence_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    verify(run, tmp_path / "photos").refused(6, "manifest.jsonl")
    verify(run, tmp_path / "photos", "--signer", "SHA256:x").refused(6, "no archive", "bagit.txt")
    verify(run, tmp_path / "absent").refused(5, "absent")


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        (["--encrypt-to", "age1nonsense"], 2, ["age1nonsense", "age-keygen"]),
        (["--sign", "/no/such/key"], 5, ["/no/such/key"]),
        (["--passphrase", "env:X"], 2, ["--sign"]),
        (["--names", "latin1"], 2, ["utf8", "ascii"]),
        (["--path-limit", "60"], 2, ["--path-limit"]),
        (["--history", __file__], 2, ["history"]),
        (["--from", "ftq://old.example/x"], 2, ["ftq"]),
    ],
)
def test_a_wrong_option_of_an_export_is_answered_before_anything_happens(
    run: Run, made: Path, tmp_path: Path, wrong: list[str], code: int, words: list[str]
) -> None:
    run("export", "--from", made / "practice", "--to", tmp_path / "exports", *wrong).refused(code, *words)
    assert not (tmp_path / "exports").exists()


def test_both_places_are_needed(run: Run, tmp_path: Path) -> None:
    run("export", "--from", tmp_path).refused(2, "--to")
    run("restore", tmp_path).refused(2, "--to")

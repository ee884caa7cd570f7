"""The commands over the real engine: move, prove, look again, find what was touched; and refuse calmly what cannot be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
import servers
from broken_s3 import broken_s3
from commands import Ended, Run, command

from portability.errors import PortabilityError
from portability.lock import FolderLock
from portability.migrate import status

FILES = {"patients/Hélène/lettre 1.txt": b"Bonjour", "patients/b.csv": b"a;b\n", "scan.bin": bytes(range(256)) * 400}
ONE = ("--workers", "1")


def practice(folder: Path) -> Path:
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def migrate(folder: Path, *more: object, source: object = None, destination: object = None) -> list[str]:
    places = ("--from", source or folder / "old", "--to", destination or folder / "new")
    return command("migrate", *places, "--evidence", folder / "evidence", *ONE, *more)[3:]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished migration: old, new, evidence. Tests copy what they touch."""
    folder = tmp_path_factory.mktemp("finished")
    practice(folder / "old")
    done = subprocess.run(
        command("-q", *migrate(folder)), capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PROVEN\n")
    assert done.stderr == ""
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """Destination and evidence of the finished migration, for a test to touch; the source is gone."""
    shutil.copytree(finished / "new", tmp_path / "new", copy_function=shutil.copy2)
    shutil.copytree(finished / "evidence", tmp_path / "evidence")
    return tmp_path


def verify(run: Run, copy: Path, *more: object) -> Ended:
    return run("verify", copy / "evidence", "--at", copy / "new", *ONE, *more)


def test_a_migration_ends_proven_with_the_bytes_there(finished: Path) -> None:
    for name, data in FILES.items():
        assert (finished / "new" / name).read_bytes() == data
    assert (finished / "evidence" / "manifest.jsonl").exists()


def test_progress_goes_to_stderr_and_the_result_alone_to_stdout(program: Run, tmp_path: Path) -> None:
    practice(tmp_path / "old")
    ended = program(*migrate(tmp_path))
    assert ended.code == 0
    assert ended.out.startswith("PROVEN\n")
    for phase in ("census", "transfer", "verify"):
        assert f"  {phase} " in ended.err
        assert f"  {phase} " not in ended.out
    assert "patients/" not in ended.err


def test_results_for_programs_are_json_lines(run: Run, finished: Path) -> None:
    (outcome,) = run("--json", "verify", finished / "evidence", *ONE).records
    assert (outcome["type"], outcome["verdict"], outcome["exit_code"]) == ("outcome", "PROVEN", 0)
    assert outcome["counts"]["things"] >= len(FILES)
    (status,) = run("--json", "status", finished / "evidence").records
    assert (status["type"], status["verdict"], status["phase"]) == ("status", "PROVEN", "finished")
    assert run("status", finished / "evidence").out.startswith("PROVEN\n")


def test_a_plan_counts_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    practice(tmp_path / "old")
    ended = run("plan", "--from", tmp_path / "old", "--to", tmp_path / "new")
    assert ended.code == 0
    assert ended.out.startswith("READY\n")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    plan, *_ = run("--json", "plan", "--from", tmp_path / "old", "--to", tmp_path / "new").records
    assert (plan["type"], plan["ready"], plan["copy"]["kinds"]["object"]) == ("plan", True, len(FILES))


def test_a_census_counts_the_source(run: Run, tmp_path: Path) -> None:
    practice(tmp_path / "old")
    assert run("census", "--from", tmp_path / "old").out.startswith("COUNTED\n")
    (record,) = run("--json", "census", "--from", tmp_path / "old").records
    assert record["counts"]["kinds"]["object"] == len(FILES)


def test_a_kept_census_is_where_the_migration_goes_on(program: Run, tmp_path: Path) -> None:
    practice(tmp_path / "old")
    places = ("--from", tmp_path / "old", "--to", tmp_path / "new", "--evidence", tmp_path / "evidence")
    assert program("census", *places).code == 0
    assert program(*migrate(tmp_path)).code == 0


def test_verify_needs_neither_source_nor_machine(run: Run, copy: Path) -> None:
    ended = verify(run, copy)
    assert ended.code == 0
    assert ended.out.startswith("PROVEN\n")


def test_verify_finds_what_was_deleted_altered_and_added(run: Run, copy: Path) -> None:
    (copy / "new" / "patients" / "b.csv").unlink()
    (copy / "new" / "scan.bin").write_bytes(bytes(reversed(FILES["scan.bin"])))
    (copy / "new" / "stranger.txt").write_text("who?")
    ended = verify(run, copy, "--findings", copy / "findings.jsonl")
    assert ended.code == 4
    assert ended.out.startswith("NOT PROVEN\n")
    for problem, key in (("missing", "patients/b.csv"), ("digest", "scan.bin"), ("unexpected", "stranger.txt")):
        assert any(problem in line and key in line for line in ended.out.splitlines()), ended.out
    written = [json.loads(line) for line in (copy / "findings.jsonl").read_text("utf-8").splitlines()]
    assert {"missing", "digest", "unexpected"} <= {finding["problem"] for finding in written}
    if os.name == "posix":
        assert stat.S_IMODE((copy / "findings.jsonl").stat().st_mode) == 0o600
    outcome, *findings = verify(run, copy, "--json").records
    assert outcome["verdict"] == "NOT PROVEN"
    assert {finding["type"] for finding in findings} == {"finding"}


def test_one_changed_byte_of_the_manifest_is_damage(run: Run, copy: Path) -> None:
    path = copy / "evidence" / "manifest.jsonl"
    data = bytearray(path.read_bytes())
    middle = data.index(b'"sha256":"') + 12
    data[middle] ^= 1
    path.write_bytes(data)
    verify(run, copy).refused(6, "manifest.jsonl")


def test_evidence_that_is_not_there_or_not_evidence(run: Run, tmp_path: Path) -> None:
    run("verify", tmp_path / "none").refused(5, "none")
    run("verify", tmp_path).refused(6, "manifest.jsonl")
    run("status", tmp_path).refused(5, "ledger")


def test_an_empty_source_proves_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    run(*migrate(tmp_path)).refused(3, "holds nothing")


def test_a_missing_source(run: Run, tmp_path: Path) -> None:
    run(*migrate(tmp_path)).refused(5, "does not exist")
    assert not (tmp_path / "new").exists()


def test_a_destination_that_holds_other_things_is_left_alone(program: Run, tmp_path: Path) -> None:
    practice(tmp_path / "old")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "theirs.txt").write_text("theirs")
    program(*migrate(tmp_path)).refused(3, "already holds", "--merge")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["theirs.txt"]
    assert program(*migrate(tmp_path, "--merge")).code == 0
    assert (tmp_path / "new" / "theirs.txt").read_text() == "theirs"


def test_other_content_under_the_same_name_is_never_replaced(program: Run, tmp_path: Path) -> None:
    practice(tmp_path / "old")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "scan.bin").write_bytes(b"theirs")
    ended = program(*migrate(tmp_path))
    assert ended.code == 3
    assert ended.out.startswith("NOT PROVEN\n")
    assert "scan.bin" in ended.out
    assert (tmp_path / "new" / "scan.bin").read_bytes() == b"theirs"


def test_names_that_collide_are_refused_with_the_reason_unless_accepted(
    run: Run, program: Run, moto: servers.S3Server, tmp_path: Path
) -> None:
    place = moto.place()
    with moto.client() as client:
        for key in ("patient", "patient/letter.txt"):
            client.put_object(Bucket=place.host, Key=key, Body=key.encode())
    credentials = ("--from-credentials", place.credentials)
    planned = run("plan", "--from", place, "--to", tmp_path / "new", *credentials)
    assert planned.code == 3
    assert planned.out.startswith("NOT READY\n")
    assert "name  patient/letter.txt" in planned.out
    assert run("plan", "--from", place, "--to", tmp_path / "new", *credentials, "--accept", "name").code == 0
    moved = program(*migrate(tmp_path, *credentials, source=place))
    assert moved.code == 3
    assert "1 name" in moved.out


def test_the_evidence_folder_of_another_job(run: Run, copy: Path, tmp_path: Path) -> None:
    practice(tmp_path / "other")
    ended = run(*migrate(tmp_path, source=tmp_path / "other"))
    ended.refused(2, "another job")


def test_a_second_run_on_the_same_evidence(program: Run, tmp_path: Path) -> None:
    practice(tmp_path / "old")
    (tmp_path / "evidence").mkdir()
    with FolderLock(tmp_path / "evidence"):
        program(*migrate(tmp_path)).refused(5, "another run", "portability status")
    assert not (tmp_path / "new").exists()


def test_an_evidence_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    practice(tmp_path / "old")
    (tmp_path / "evidence").write_text("a file")
    ended = run(*migrate(tmp_path))
    assert ended.code in {2, 5}
    assert "Traceback" not in ended.err
    assert "evidence" in ended.err


def test_delta_needs_a_finished_run_and_brings_what_is_new(program: Run, copy: Path) -> None:
    practice(copy / "fresh")
    program(
        "migrate", "--from", copy / "fresh", "--to", copy / "there", "--evidence", copy / "e", "--delta", *ONE
    ).refused(2, "--delta")
    arguments = ("migrate", "--from", copy / "fresh", "--to", copy / "there", "--evidence", copy / "e", *ONE)
    assert program(*arguments).code == 0
    (copy / "fresh" / "new letter.txt").write_text("new")
    assert program(*arguments, "--delta").code == 0
    assert (copy / "there" / "new letter.txt").read_text() == "new"


def test_a_job_file_is_a_whole_migration(program: Run, tmp_path: Path) -> None:
    practice(tmp_path / "old")
    (tmp_path / "cabinet.toml").write_text(
        f'evidence = "exit"\n[source]\nurl = "{(tmp_path / "old").as_posix()}"\n'
        f'[destination]\nurl = "{(tmp_path / "new").as_posix()}"\n'
    )
    ended = program("migrate", "--job", tmp_path / "cabinet.toml", *ONE, "--json")
    assert ended.code == 0
    assert ended.records[0]["verdict"] == "PROVEN"
    assert (tmp_path / "exit" / "manifest.jsonl").exists()


def test_evidence_copied_to_a_second_place_verifies_from_there(program: Run, tmp_path: Path) -> None:
    practice(tmp_path / "old")
    assert program(*migrate(tmp_path, "--copy-evidence-to", tmp_path / "vault")).code == 0
    assert program("verify", tmp_path / "vault", *ONE).code == 0
    program(*migrate(tmp_path, "--copy-evidence-to", "ftq://vault")).refused(2, "ftq")


def test_a_body_that_ends_early_is_never_moved(program: Run, tmp_path: Path) -> None:
    with broken_s3("body") as options:
        more = ("--from-credentials", "anonymous", "--retries", "0")
        ended = program(*migrate(tmp_path, *more, source=f"s3://cabinet?{options}"))
    assert ended.code == 3
    assert ended.out.startswith("NOT PROVEN\n")
    assert "letter.txt" in ended.out
    assert not [path for path in (tmp_path / "new").rglob("*") if path.is_file()]


def test_a_full_destination_is_named(program: Run, tmp_path: Path) -> None:
    practice(tmp_path / "old")
    with broken_s3("full") as options:
        more = ("--to-credentials", "anonymous", "--retries", "0")
        ended = program(*migrate(tmp_path, *more, destination=f"s3://cabinet?{options}"))
    assert ended.code in {3, 5}
    assert "no space left" in ended.out + ended.err
    assert "Traceback" not in ended.err


@pytest.mark.skipif(os.name != "posix", reason="Windows ends a process on SIGTERM without asking it")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_run_says_how_to_go_on_and_does(program: Run, tmp_path: Path, number: signal.Signals) -> None:
    practice(tmp_path / "old")
    slow = subprocess.Popen(
        command(*migrate(tmp_path, "--bwlimit", "40k")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        wait_for_phase(tmp_path / "evidence", "transfer")
        slow.send_signal(number)
        out, err = slow.communicate(timeout=60)
    finally:
        slow.kill()
        slow.communicate()
    Ended(code=slow.returncode, out=out, err=err).refused(130, "again to go on")
    assert out == ""
    assert program("status", tmp_path / "evidence").out.startswith("STOPPED\n")
    assert program(*migrate(tmp_path)).code == 0


def wait_for_phase(evidence: Path, phase: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            found = status(evidence)
        except PortabilityError:  # there is no ledger yet
            continue
        if found.phase == phase:
            assert found.running
            return
    raise AssertionError(f"{phase} never began")

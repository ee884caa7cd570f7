"""Wrong usage ends before anything is contacted: exit code 2, the cause, the remedy, no secret, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Run

SECRET = "hunter2hunter2"


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "letter.txt").write_text("one")
    (tmp_path / "new").mkdir()
    return str(tmp_path / "old"), str(tmp_path / "new")


@pytest.fixture
def complete(places: tuple[str, str], tmp_path: Path) -> list[str]:
    return ["migrate", "--from", places[0], "--to", places[1], "--evidence", str(tmp_path / "evidence")]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--frm", "x"], ["--frm", "--from"]),
        (["--workers", "0"], ["--workers"]),
        (["--demand", "guess"], ["listed", "read"]),
        (["--bwlimit", "fast"], ["fast", "512k"]),
        (["--until", "25:00"], ["25:00", "06:00"]),
        (["--from", "ftq://old.example/x"], ["ftq", "sftp"]),
        (["--to", "s3://cabinet#1"], ["%23"]),
        (["--to", "sftp://host:port/x"], ["not a url"]),
        (["--from", "file://etc/x"], ["file:///"]),
        (["--from", " "], ["empty"]),
        (["--from-credentials", "env:NO_SUCH_PREFIX"], ["NO_SUCH_PREFIX_PASSWORD"]),
        (["--to-credentials", "magic"], ["magic", "env:PREFIX"]),
        (["--to-credentials", "file:/no/such/file"], ["/no/such/file"]),
    ],
)
def test_a_wrong_argument_is_answered_with_what_to_write(
    run: Run, complete: list[str], wrong: list[str], words: list[str], tmp_path: Path
) -> None:
    run(*complete, *wrong).refused(2, *words)
    assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize(
    "url",
    [
        f"s3://key:{SECRET}@cabinet",
        f"sftp://user:{SECRET}@old.example/x",
        f"s3://cabinet?secret_access_key={SECRET}",
        f"s3://cabinet?token={SECRET}",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(run: Run, complete: list[str], url: str) -> None:
    ended = run("--json", "-vv", *complete, "--from", url)
    assert ended.code == 2
    assert "env:PREFIX" in ended.err
    assert SECRET not in ended.out + ended.err.replace("Traceback", "")


def test_source_and_destination_must_be_two_places(run: Run, complete: list[str], places: tuple[str, str]) -> None:
    run(*complete, "--to", places[0]).refused(2, "overlap")
    run(*complete, "--to", f"{places[0]}/inside").refused(2, "overlap")


def test_evidence_inside_a_place_is_refused(run: Run, complete: list[str], places: tuple[str, str]) -> None:
    run(*complete, "--evidence", f"{places[1]}/evidence").refused(2, "evidence", "outside")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["migrate"], ["--from", "--to", "--evidence"]),
        (["plan", "--from", "/a"], ["--to"]),
        (["census"], ["--from"]),
        (["census", "--from", "/a", "--evidence", "/b"], ["--to"]),
        (["verify"], ["EVIDENCE"]),
        (["verify", "x", "--credentials", "prompt"], ["--at"]),
        (["verify", "ftq://vault/x"], ["ftq", "sftp"]),
        (["verify", "x", "--at", "ftq://new.example"], ["ftq", "sftp"]),
        (["verify", "x", "--findings", "/no/such/folder/findings.jsonl"], ["/no/such/folder"]),
        (["verify", "x", "--bwlimit", "fast"], ["fast"]),
        (["completion", "tcsh"], ["tcsh", "bash"]),
        (["teleport"], ["teleport"]),
    ],
)
def test_a_missing_argument_is_named(run: Run, arguments: list[str], words: list[str]) -> None:
    run(*arguments).refused(2, *words)


def job_file(folder: Path, more: str = "") -> Path:
    path = folder / "cabinet.toml"
    path.write_text(
        f'evidence = "evidence"\n{more}\n[source]\nurl = "{folder.as_posix()}/old"\n\n[destination]\nurl = "{folder.as_posix()}/new"\n'
    )
    return path


def test_an_unknown_key_in_a_job_file_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    path = job_file(tmp_path, 'evidense = "x"')
    run("migrate", "--job", path).refused(2, f"{path}:2", "evidense", "known here", "job-schema")


def test_a_wrong_value_in_a_job_file_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    path = job_file(tmp_path, 'demands = "guess"')
    run("plan", "--job", path).refused(2, f"{path}:2", "demands")


def test_a_job_file_that_is_not_there_or_not_toml_is_named(run: Run, tmp_path: Path) -> None:
    run("migrate", "--job", tmp_path / "none.toml").refused(2, "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[source\n")
    run("migrate", "--job", broken).refused(2, "broken.toml", "TOML")


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_urls_do_not_stand_beside_a_job_file(run: Run, tmp_path: Path, option: str) -> None:
    run("migrate", "--job", job_file(tmp_path), option, tmp_path).refused(2, option, "--job")


def test_a_job_file_with_an_unknown_scheme_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "cabinet.toml"
    path.write_text('evidence = "e"\n[source]\nurl = "ftq://x/y"\n[destination]\nurl = "/tmp/z"\n')
    run("migrate", "--job", path).refused(2, "ftq")


def test_errors_for_programs_are_one_json_object(run: Run) -> None:
    for place in (["--json", "migrate"], ["migrate", "--json"], ["migrate", "--json", "--nonsense"]):
        (record,) = run(*place).records
        assert record["type"] == "error"
        assert record["code"] == 2
        assert record["message"]
        assert record["hint"]


def test_exit_codes_reach_the_shell(program: Run) -> None:
    program("migrate", "--from", "ftq://x", "--to", "/y", "--evidence", "e").refused(2, "ftq")
    assert program("--version").code == 0

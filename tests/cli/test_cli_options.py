"""Command lines become jobs: flags alone, a job file alone, and flags that override a job file."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from portability.cli import options
from portability.cli.app import application
from portability.job import NOWHERE, Job


def job(*arguments: object) -> Job:
    """The job that `migrate` would be given."""
    command = application.commands.get("migrate") or application.get_command(None, "migrate")  # type: ignore[arg-type]
    assert command is not None
    context = command.make_context("migrate", [str(argument) for argument in arguments])
    flags: dict[str, Any] = {name: context.params[name] for name in context.params}
    return options.job(flags)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cabinet.toml"
    path.write_text(
        f"""
        evidence = "exit"
        demands = "listed"
        accepts = ["socket"]
        [source]
        url = "s3://cabinet"
        endpoint = "https://s3.example"
        [destination]
        url = "{tmp_path.as_posix()}/new"
        [selection]
        exclude = ["*.tmp"]
        [policy]
        retries = 2
        bwlimit = "1k"
        until = "06:00"
        """
    )
    return path


def test_a_job_file_stands_for_itself(file: Path, tmp_path: Path) -> None:
    made = job("--job", file)
    assert made.source.url == "s3://cabinet?endpoint=https://s3.example"
    assert made.evidence == tmp_path / "exit"
    assert (made.demands, made.accepts, made.policy.retries, made.policy.until) == ("listed", ("socket",), 2, "06:00")
    assert made.selection.exclude == ("*.tmp",)


def test_flags_override_a_job_file_and_leave_the_rest(file: Path, tmp_path: Path) -> None:
    made = job(
        *("--job", file, "--evidence", tmp_path / "other", "--demand", "read", "--bwlimit", "2k", "--until", "07:30"),
        *("--workers", 3, "--connections", 5, "--retries", 0, "--include", "*.pdf", "--merge", "--accept", "fifo"),
    )
    assert made.evidence == tmp_path / "other"
    assert (made.demands, made.merge, made.accepts) == ("read", True, ("fifo",))
    assert made.selection.include == ("*.pdf",)
    assert made.selection.exclude == ("*.tmp",)
    assert (made.policy.workers, made.policy.connections, made.policy.retries) == (3, 5, 0)
    assert made.policy.until == "07:30"
    assert made.policy.bandwidth.rate(datetime.now().astimezone()) == 2048
    assert made.source.option("endpoint") == "https://s3.example"


def test_flags_alone_make_a_job(tmp_path: Path) -> None:
    made = job("--from", tmp_path / "a", "--to", "s3://b/c", "--evidence", tmp_path / "e", "--versions", "latest")
    assert (made.source.scheme, made.destination.url) == ("file", "s3://b/c")
    assert made.selection.versions == "latest"
    assert (made.demands, made.merge, made.policy) == ("read", False, Job.__dataclass_fields__["policy"].default)


def test_credentials_are_references_of_their_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD_ACCESS_KEY_ID", "a")
    made = job(
        *("--from", "s3://a", "--from-credentials", "env:OLD", "--to", "s3://b", "--to-credentials", "anonymous"),
        *("--evidence", tmp_path / "e"),
    )
    assert (made.source.credentials, made.destination.credentials) == ("env:OLD", "anonymous")
    assert "OLD" not in made.source.url


def test_a_prompt_is_answered_before_the_work_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "open sesame"

    monkeypatch.setattr("getpass.getpass", answer)
    before = dict(os.environ)
    try:
        made = job(
            *("--from", "sftp://user@old.example/x", "--from-credentials", "prompt"),
            *("--to", tmp_path / "b", "--evidence", tmp_path / "e"),
        )
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
    assert asked == ["password for sftp://user@old.example/x: "]
    assert str(made.source.credentials).startswith("env:")
    assert "sesame" not in repr(made)


def test_a_scratch_job_leaves_nothing_behind(tmp_path: Path) -> None:
    with options.scratch_job({"source": str(tmp_path / "a"), "destination": str(tmp_path / "b")}) as made:
        made.evidence.mkdir()
    assert not made.evidence.parent.exists()


def test_a_census_needs_no_destination(tmp_path: Path) -> None:
    with options.census_job({"source": str(tmp_path)}) as made:
        assert made.destination == NOWHERE

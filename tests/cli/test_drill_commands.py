"""The commands drill and canary: what they print, the codes they end with, what a monitor and a scheduler get."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from broken_s3 import broken_s3
from commands import Ended, Run

JOB = """
name = "cabinet"
[source]
url = "source"
[policy]
workers = 1
[prices]
egress_gb = 0.01
[drill]
every = "90d"
scratch = "scratch"
restore_to = "second"
"""


def shows(ended: Ended, code: int, *words: str) -> Ended:
    assert ended.code == code, ended
    for word in words:
        assert word in ended.out, ended.out
    return ended


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source").mkdir()
    for number in range(5):
        (tmp_path / "source" / f"{number}.txt").write_text(f"letter {number}")
    (tmp_path / "cabinet.toml").write_text(JOB)
    return tmp_path / "cabinet.toml"


def test_a_contractor_goes_from_nothing_to_a_monitored_drill(run: Run, job: Path, tmp_path: Path) -> None:
    shows(run("drill", "--job", job, "--status"), 3, "NEVER DRILLED")
    shows(run("canary", "plant", "--job", job), 0, "PLANTED", "3 canaries")
    dry = shows(run("drill", "--job", job, "--dry-run"), 0, "8 things", "EUR")
    assert not (tmp_path / "scratch").exists(), dry.out
    first = run("drill", "--job", job, "--metrics", tmp_path / "drill.prom")
    shows(first, 0, "PROVEN", "restorability", "100.00 %", "root", "next due", "Time to leave", "report-fr.html")
    (page,) = (tmp_path / "drills").glob("*/report-fr.html")
    assert "PROUVÉ" in page.read_text("utf-8")
    assert "8 things" in first.err  # the quote, before the export
    assert 'portability_drill_proven{job="cabinet"} 1' in (tmp_path / "drill.prom").read_text()
    shows(run("drill", "--job", job, "--status"), 0, "PROVEN", "next one is due")
    shows(run("drill", "--job", job, "--if-due"), 0, "NOT DUE")
    (tmp_path / "source" / "1.txt").unlink()
    second = run("--json", "drill", "--job", job)
    assert second.code == 3
    (record,) = second.records
    assert record["drift"]["disappeared"]["objects"] == 1
    assert [one["problem"] for one in record["findings"]] == ["disappeared"]
    shows(run("drill", "--job", job, "--status"), 3, "NOT PROVEN", "disappeared")
    shows(run("canary", "check", "--job", job), 0, "ALL INTACT")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_sampled_drill_states_its_bound_in_words(run: Run, job: Path) -> None:
    shown = run("drill", "--job", job, "--sample", "80%", "--seed", "s")
    shows(shown, 0, "with 95 % confidence fewer than", "seed s", "drill 1 of 2")
    (status,) = run("--json", "drill", "--job", job, "--status").records
    assert (status["proven"], status["overdue"], status["drills"]) == (True, False, 1)


def test_the_schedule_is_printed_and_nothing_is_installed(run: Run, job: Path, tmp_path: Path) -> None:
    shown = shows(
        run("drill", "--job", job, "--schedule"),
        0,
        "OnCalendar=*-*-* 20:00:00",
        "Persistent=true",
        "0 20 * * *",
        "schtasks /Create",
        "--if-due",
        str(job),
    )
    assert shown.err == ""
    assert {path.name for path in tmp_path.iterdir()} == {"source", "cabinet.toml"}


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        (("every", "# every"), ["--status"], ["no schedule", 'every = "90d"']),
        (("every", "# every"), ["--schedule"], ["no schedule"]),
        (('every = "90d"', 'every = "3 months"'), [], ["cabinet.toml:10", '"90d" or "13w"']),
        (("every", "evry"), [], ['unknown key "drill.evry"', "every", "scratch"]),
        (("[drill]", "[dril]"), [], ['unknown key "dril"']),
        (('scratch = "scratch"', 'sample = "0%"'), [], ["a sample of zero proves nothing"]),
        (("0.01", '"-1"'), [], ["price"]),
        (('scratch = "scratch"', 'scratch = "source"'), [], ["scratch is the source"]),
        (('restore_to = "second"', 'restore_to = "source/x"'), [], ["restore_to is the source, or lies inside it"]),
        (("name", "# name"), ["--sample", "0%"], ["a sample of zero"]),
        (("name", "# name"), ["--seed", "x"], ["--sample"]),
        (('every = "90d"', "notify = []"), [], ["name a program"]),
    ],
)
def test_a_job_that_cannot_be_drilled_is_answered_with_what_to_write(
    run: Run, job: Path, change: tuple[str, str], arguments: list[str], words: list[str], tmp_path: Path
) -> None:
    job.write_text(job.read_text().replace(*change))
    run("drill", "--job", job, *arguments).refused(2, *words)
    assert not (tmp_path / "drills").exists()


def test_a_job_file_without_the_table_is_refused_and_a_drill_job_does_not_migrate(run: Run, job: Path) -> None:
    run("migrate", "--job", job).refused(2, "no table [destination]")
    job.write_text('source = {url = "source"}\ndestination = {url = "new"}\nevidence = "e"\n')
    run("drill", "--job", job).refused(2, "no table [drill]")


def test_a_broken_history_ends_with_6(run: Run, job: Path, tmp_path: Path) -> None:
    shows(run("drill", "--job", job), 0)
    history = tmp_path / "drills" / "history.jsonl"
    history.write_bytes(history.read_bytes().replace(b"proven", b"Proven"))
    run("drill", "--job", job, "--status").refused(6, "record")
    history.write_bytes(b"{}\n")
    for mode in ([], ["--status"], ["--if-due"], ["--dry-run"]):
        run("drill", "--job", job, *mode).refused(6, "history of drills is broken", "backup")


def test_the_notify_command_is_told_of_a_drill_and_of_one_that_could_not_be(
    run: Run, job: Path, tmp_path: Path
) -> None:
    hook = tmp_path / "hook.py"
    hook.write_text("import sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read())")
    words = json.dumps([sys.executable, str(hook), str(tmp_path / "told.jsonl")])
    job.write_text(job.read_text() + f"notify = {words}\n")
    shows(run("drill", "--job", job), 0)
    (tmp_path / "source").rename(tmp_path / "gone")
    run("drill", "--job", job).refused(5, "source")
    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    assert [(one["type"], one.get("exit_code")) for one in told] == [("drill", None), ("error", 5)]

    job.write_text(job.read_text().replace(str(hook), str(tmp_path / "no-hook.py")))
    (tmp_path / "gone").rename(tmp_path / "source")
    assert "notify command" in shows(run("drill", "--job", job), 0).out


def test_a_source_that_holds_nothing_any_more_is_a_finding_and_a_wrong_url_is_none(
    run: Run, job: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    right = job.read_text()
    job.write_text(right.replace('"source"', '"empty"'))
    run("drill", "--job", job).refused(3, "holds nothing")
    job.write_text(right)
    shows(run("drill", "--job", job), 0)
    for number in range(5):
        (tmp_path / "source" / f"{number}.txt").unlink()
    (told,) = shows(run("--json", "drill", "--job", job), 3).records
    assert {one["problem"] for one in told["findings"] if one["fails"]} == {"nothing-found", "shrank", "disappeared"}
    assert told["drift"]["disappeared"]["objects"] == 5


def test_a_plan_states_requests_egress_and_money(run: Run, job: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    job.write_text('evidence = "evidence"\ndestination = {url = "new"}\n' + job.read_text().replace("0.01", "1000000"))
    (told,) = shows(run("--json", "plan", "--job", job), 0).records
    assert told["quote"] == {"requests": 7, "egress_bytes": 40, "money": {"EUR": "0.04"}}
    shows(run("plan", "--job", job), 0, "leaves the host", "in about 7 requests, 0.04 EUR")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["canary", "plant"], ["--job"]),
        (["canary", "hatch", "x"], ["plant", "check"]),
        (["canary", "check", "./source"], ["no canaries were planted"]),
        (["canary", "check", "./source", "--prefix", "x"], ["--prefix"]),
        (["drill"], ["--job"]),
    ],
)
def test_canaries_and_drills_ask_for_what_they_need(
    run: Run, job: Path, arguments: list[str], words: list[str]
) -> None:
    run(*arguments).refused(2, *words)


def test_canaries_need_no_job_file(run: Run, job: Path, tmp_path: Path) -> None:
    shows(run("canary", "plant", tmp_path / "source", "--drills", tmp_path / "d", "--prefix", "letters"), 0)
    assert (tmp_path / "source" / "letters" / "portability-canary" / "temoin-vide.txt").exists()
    (tmp_path / "source" / "letters" / "portability-canary" / "temoin-vide.txt").unlink()
    shown = run("--json", "canary", "check", tmp_path / "source", "--drills", tmp_path / "d")
    assert shown.code == 4
    assert [one["state"] for one in shown.records if one["type"] == "canary"].count("missing") == 1


def test_what_a_host_lists_and_does_not_give_is_a_finding_with_a_record(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("BROKEN_SECRET_ACCESS_KEY", "b")
    with broken_s3("body") as options:
        job = tmp_path / "cabinet.toml"
        job.write_text(
            f'[source]\nurl = "s3://cabinet?{options}"\ncredentials = "env:BROKEN"\n'
            "[policy]\nworkers = 1\nretries = 0\n[drill]\n"
        )
        told = shows(run("--json", "drill", "--job", job), 3).records[0]
    assert [(one["problem"], one["count"]) for one in told["findings"]] == [("failed", 1)]
    assert (told["moved"]["objects"], told["not_proven"]["objects"], told["time_to_leave"]) == (0, 1, None)
    assert list((tmp_path / "drills" / "scratch").iterdir()) == []

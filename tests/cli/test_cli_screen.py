"""Results: verdict first, aligned, safe for a terminal; JSON lines that parse; progress that stays on stderr."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest

from portability.cli import results
from portability.cli.screen import Screen
from portability.cli.watch import EVERY, Bars, Lines
from portability.cli.words import duration, each, number, size_text, table
from portability.drill.record import Quote
from portability.outcome import CensusSummary, Counts, Finding, Outcome, PlanSummary, Status

COUNTS = Counts(things=1204, bytes=3 << 30, kinds={"object": 1200, "delete_marker": 1, "link": 3})
OUTCOME = Outcome(
    proven=True,
    reasons=(),
    sentence="1,204 lines of s3://cabinet were read back; 2 attributes lost, 0 skips accepted.",
    exit_code=0,
    evidence="/exit-2026",
    source="s3://cabinet",
    destination="sftp://new.example/home",
    job="urn:uuid:0",
    counts=COUNTS,
    levels={"read": 1204},
    losses={"tags": 2},
    root="ab" * 32,
    seconds=75.0,
    moved_bytes=3 << 30,
    retries=1,
    next_step="keep the evidence",
)
CENSUS = CensusSummary(source="s3://cabinet", at="2026-11-21T09:00:00Z", counts=COUNTS, root="cd" * 32, largest=1 << 20)
PLAN = PlanSummary(
    source="s3://cabinet",
    destination="/new",
    census=CENSUS,
    copy=COUNTS,
    parked=Counts(things=1, kinds={"delete_marker": 1}),
    skipped={"name": 1},
    refusals=(Finding(key="a//b", problem="failed", expected="name", found="an empty segment"),),
    losses={"tags": "kept in the manifest"},
    free=1 << 40,
    rate=float(80 << 20),
    seconds=600.0,
)
COSTS = Quote(
    objects=1200, bytes=3 << 30, requests=2412, egress_bytes=3 << 30, disk_bytes=0, seconds=600, money={"EUR": "0.03"}
)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_the_verdict_is_the_first_word_and_the_sentence_the_next() -> None:
    lines = plain(results.outcome_text(OUTCOME)).splitlines()
    assert lines[:2] == ["PROVEN", OUTCOME.sentence]


def test_a_sentence_that_repeats_the_verdict_is_not_shown_twice() -> None:
    assert plain(results.outcome_text(replace(OUTCOME, sentence="PROVEN: 3 lines"))).startswith("PROVEN\n3 lines\n")


def test_not_proven_says_why_and_lists_the_findings_it_can_show() -> None:
    findings = tuple(Finding(key=f"k{index}", problem="missing") for index in range(30))
    bad = replace(OUTCOME, proven=False, reasons=("30 things are missing",), findings=findings, finding_count=300)
    text = plain(results.outcome_text(bad))
    assert text.startswith("NOT PROVEN\n")
    assert "30 things are missing" in text
    assert "the first 20 of 300" in text
    assert "k19" in text
    assert "k20" not in text


def test_a_long_detail_stands_under_its_key() -> None:
    failed = Finding(key="a.pdf", problem="failed", expected="Unavailable", found="the host did not answer " * 5)
    missing = Finding(key="b.pdf", problem="missing", expected="3 bytes", found="nothing")
    text = plain(results.outcome_text(replace(OUTCOME, proven=False, findings=(failed, missing), finding_count=2)))
    lines = text.partition("Findings\n")[2].splitlines()[:4]
    assert lines[0] == "  failed   a.pdf"
    assert lines[1].startswith("      the host did not answer")
    assert lines[3] == "      expected 3 bytes, found nothing"


def test_the_table_of_counts_is_aligned() -> None:
    text = plain(results.outcome_text(OUTCOME))
    rows = {
        name: line for line in text.splitlines() for name in ("found", "proven", "skipped") if line[2:].startswith(name)
    }
    assert {
        line.index(value) + len(value) for line, value in ((rows["found"], "1,204"), (rows["proven"], "1,204"))
    } == {rows["skipped"].index("0") + 1}
    assert "1,200 objects, 3 links, 1 delete marker" not in rows["proven"]
    assert "1 min 15 s, 41.0 MiB/s, 1 retry" in text
    assert "2 tags" in text
    assert "→ keep the evidence" in text


def test_a_weaker_level_is_never_shown_as_proven() -> None:
    text = plain(results.outcome_text(replace(OUTCOME, levels={"listed": 1000, "read": 4}, skipped={"name": 100})))
    assert re.search(r"proven +4 ", text)
    assert re.search(r"listed +1,000 ", text)
    assert re.search(r"not proven +100\b", text)


def test_hostile_keys_cannot_speak_to_the_terminal() -> None:
    hostile = Finding(key="a\x1b[2J\n\udcffb", problem="digest", expected="x", found="\x07")
    text = results.outcome_text(replace(OUTCOME, findings=(hostile,), finding_count=1))
    assert "\x1b[2J" not in text
    assert "\x07" not in text
    assert "\\x1b[2J\\n\\udcffb" in text


def test_a_plan_says_first_whether_it_can_start() -> None:
    assert plain(results.plan_text(PLAN, COSTS, ready=True)).startswith("READY\n")
    blocked = plain(results.plan_text(replace(PLAN, obstacle="the destination is full"), COSTS, ready=False))
    assert blocked.splitlines()[:2] == ["NOT READY", "the destination is full"]
    assert "  name  a//b  an empty segment" in blocked
    for word in (
        "an empty segment",
        "kept in the manifest",
        "1.0 TiB",
        "about 10 min 00 s",
        "1 delete marker",
        "3.0 GiB in about 2,412 requests, 0.03 EUR",
    ):
        assert word in blocked


def test_status_says_first_whether_it_runs() -> None:
    status = Status(
        evidence="/e",
        job="urn:uuid:0",
        source="/a",
        destination="/b",
        running=True,
        phase="transfer",
        started="then",
        updated="now",
        census=COUNTS,
        moved=Counts(things=2, bytes=3 << 29),
        failed=1,
        proven_lines=0,
        verdict="",
        failures={"UnavailableError": 1},
    )
    assert plain(results.status_text(status)).startswith("RUNNING\n")
    assert "50 %" in results.status_text(status)
    stopped = plain(results.status_text(replace(status, running=False)))
    assert stopped.startswith("STOPPED\n")
    assert "again to go on" in stopped
    assert plain(results.status_text(replace(status, running=False, verdict="NOT PROVEN"))).startswith("NOT PROVEN\n")


def test_every_record_says_its_type_and_survives_json() -> None:
    finding = Finding(key="\udcff", problem="missing")
    outcome = replace(OUTCOME, proven=False, findings=(finding,), finding_count=1)
    records = [
        *results.census_records(CENSUS),
        *results.plan_records(PLAN, COSTS, ready=True),
        *results.outcome_records(outcome),
    ]
    read = [json.loads(json.dumps(record)) for record in records]
    assert [record["type"] for record in read] == ["census", "plan", "refusal", "outcome", "finding"]
    assert read[3]["verdict"] == "NOT PROVEN"
    assert read[4]["key"] == "\\udcff"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_colour_only_on_a_terminal_that_wants_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = results.outcome_text(OUTCOME)
    Screen().result(text, [])
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    Screen().result(text, [])
    assert "\x1b[1m" in terminal.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    Screen().result(text, [])
    assert "\x1b" not in terminal.getvalue()


def test_plain_progress_speaks_every_ten_seconds_and_at_the_end() -> None:
    now = [0.0]
    stream = io.StringIO()
    lines = Lines(stream, clock=lambda: now[0])
    lines.phase("transfer", items=100, size=1000 << 10)
    for _ in range(25):
        now[0] += 1
        lines.step(items=1, size=10 << 10)
    spoken = stream.getvalue().splitlines()
    assert len(spoken) == int(25 / EVERY)
    assert spoken[1] == "  transfer: 20 of 100, 200 KiB of 1000 KiB, 10.0 KiB/s, 20 %, 1 min 20 s left"
    lines.note("the host asks us to wait")
    lines.done()
    lines.done()
    assert stream.getvalue().splitlines()[2:] == [
        "  the host asks us to wait",
        "  transfer                      25     250 KiB        25 s    10.0 KiB/s",
    ]


def test_bars_show_rate_and_leave_one_line() -> None:
    stream = Terminal()
    bars = Bars(stream)
    bars.phase("transfer", items=2, size=2 << 20)
    bars.step(items=1, size=1 << 20)
    bars.note("a word")
    bars.phase("verify")
    bars.step(items=2)
    bars.done()
    assert "1.00M/2.00M" in stream.getvalue()
    assert "a word\n" in stream.getvalue()
    assert stream.getvalue().count("verify ") >= 1
    assert stream.getvalue().endswith(" s\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (3 << 30, "3.0 GiB"),
        (200 << 20, "200 MiB"),
        (1 << 70, "1048576 PiB"),
    ],
)
def test_sizes(value: int, text: str) -> None:
    assert size_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3725, "1 h 02 min"), (90000, "1 d 01 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_and_tables() -> None:
    assert number(1234567) == "1,234,567"
    assert each({"object": 1, "link": 2, "other": 0}) == "2 links, 1 object"
    assert table([("a", "1"), ("bcd", "20", "", "x")]) == ["  a     1", "  bcd  20    x"]
    assert table([]) == []

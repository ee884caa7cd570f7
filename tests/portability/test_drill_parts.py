"""The parts of a drill: exact bounds, rotations, projections, deadlines, quotes, schedules, metrics, notices, status."""

from __future__ import annotations

import json
import math
import random
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from configparser import RawConfigParser
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from drills import DAY, a_drill_job, drilled, drills, on, with_terms
from hypothesis import given
from hypothesis import strategies as st
from places import put

from connectors import Location
from portability.draw import WHOLE, Draw, place_of
from portability.drill import canary, deadlines, leaving, metrics, notify
from portability.drill.quote import quote
from portability.drill.record import Amount, Record
from portability.drill.sampling import _EXACT, Turn, _is_likely, fewer_than, next_turn
from portability.drill.schedule import Needs, needs, schedule
from portability.drill.status import status
from portability.errors import EvidenceError, RefusedError, UsageError
from portability.job_drill import OwnDeadline, Prices, share_ppm
from portability.job_tables import DrillTable
from portability.throttle import Timetable

# -- the threshold ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "may"), [(0, 0), ("0", 0), ("0%", 0), ("0.00 %", 0), (12, 12), ("12", 12), ("1%", 20), ("0.5 %", 10)]
)
def test_a_threshold_is_a_number_or_a_share_however_it_is_quoted(written: str | int, may: int, tmp_path: Path) -> None:
    assert DrillTable(threshold=written).terms(tmp_path).allowed(2000) == may


@pytest.mark.parametrize("written", ["-1", -1, "none", "", "101%", "1.5"])
def test_what_is_no_threshold_is_refused(written: str | int) -> None:
    with pytest.raises(ValueError, match=r"share|greater"):
        DrillTable(threshold=written)


# -- the bound --------------------------------------------------------------------------------------------------------


def bound_by_counting(of: int, drawn: int, damaged: int) -> int:
    """One more than the largest number of damaged things that shows so few in more than 5 % of all draws."""
    whole = math.comb(of, drawn)
    likely = [
        total
        for total in range(of + 1)
        if Fraction(
            sum(math.comb(total, k) * math.comb(of - total, drawn - k) for k in range(min(damaged, drawn) + 1)), whole
        )
        > Fraction(1, 20)
    ]
    return max(likely) + 1


@pytest.mark.parametrize("of", [1, 2, 5, 20, 41])
def test_the_bound_is_the_exact_one_for_every_draw(of: int) -> None:
    for drawn in range(of + 1):
        for damaged in range(drawn + 1):
            assert fewer_than(of, drawn, damaged) == bound_by_counting(of, drawn, damaged), (drawn, damaged)


def test_the_bound_holds_in_19_of_20_simulated_draws() -> None:
    dice = random.Random(2026)
    for of, drawn, truly in ((400, 40, 20), (400, 40, 3), (1000, 25, 100), (60, 30, 1)):
        runs, kept = 4000, 0
        for _ in range(runs):
            seen = sum(number < truly for number in dice.sample(range(of), drawn))
            kept += truly < fewer_than(of, drawn, seen)
        assert kept / runs > 0.95 - 3 * math.sqrt(0.05 * 0.95 / runs), (of, drawn, truly)


def test_everything_drawn_and_nothing_damaged_leaves_no_doubt() -> None:
    assert fewer_than(1_000_000, 1_000_000, 0) == 1
    assert fewer_than(1_000_000, 0, 0) == 1_000_001
    assert fewer_than(7, 7, 2) == 3


def test_large_numbers_are_rounded_towards_caution_only() -> None:
    for of, drawn, damaged in ((_EXACT + 100, 150, 0), (_EXACT + 100, 700, 3), (3000, 59, 1)):
        assert (
            bound_by_counting(of, drawn, damaged)
            <= fewer_than(of, drawn, damaged)
            <= bound_by_counting(of, drawn, damaged) + 1
        )
    assert fewer_than(1_000_000, 50_000, 0) in range(58, 62)  # about 3 / 5 %
    assert _is_likely(1_000_000, 50_000, 0, 58)


def test_a_sample_that_is_no_part_is_a_mistake() -> None:
    for wrong in ((5, 6, 0), (5, 3, 4), (5, 3, -1)):
        with pytest.raises(ValueError, match="part"):
            fewer_than(*wrong)


# -- draws and rotations ----------------------------------------------------------------------------------------------


@given(st.text(max_size=40), st.integers(1, WHOLE), st.text(max_size=8))
def test_a_rotation_draws_every_key_and_each_window_takes_up_where_the_last_ended(
    key: str, share: int, seed: str
) -> None:
    share = max(share, 10_000)
    drills_ = -(-WHOLE // share)
    times = sum(Turn(seed=seed, share=share, number=number).draw().holds(key) for number in range(1, drills_ + 1))
    assert times in {1, 2}
    covered = [Turn(seed=seed, share=share, number=number).covered().holds(key) for number in range(1, drills_ + 1)]
    assert covered == sorted(covered)
    assert covered[-1]


def test_a_draw_is_even_and_the_same_everywhere() -> None:
    draw = Draw(seed="s", start=900_000, length=200_000)
    drawn = sum(draw.holds(f"patients/{number}") for number in range(20_000))
    assert abs(drawn - 4000) < 5 * math.sqrt(20_000 * 0.2 * 0.8)
    assert place_of("s", "patients/1") == 208_527  # whoever has the listing and the seed gets this
    assert Draw(seed="s", start=0, length=1, also=("canary",)).holds("canary")


@pytest.mark.parametrize(("text", "ppm"), [("5%", 50_000), ("0.5 %", 5_000), ("100%", WHOLE), ("0.0001%", 1)])
def test_shares_are_parts_in_a_million(text: str, ppm: int) -> None:
    assert share_ppm(text) == ppm


@pytest.mark.parametrize("text", ["0%", "0.00%", "101%", "5", "-1%", "five", "", "1e1%", "٥%"])
def test_other_shares_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="5%"):
        share_ppm(text)


def test_a_sample_that_was_not_proven_is_drawn_once_more(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for number in range(10):
        (tmp_path / "source" / f"{number}").write_text("x")
    job = a_drill_job(Location.parse(str(tmp_path / "source")), tmp_path)
    told = drilled(job, share=500_000, seed="s").record
    failed = told.model_copy(update={"verdict": told.verdict.model_copy(update={"proven": False})})
    assert next_turn([told], 500_000) == Turn(seed="s", share=500_000, number=2)
    assert next_turn([failed], 500_000) == Turn(seed="s", share=500_000, number=1)
    assert next_turn([told], 250_000).seed != "s"


# -- time to leave, deadlines, quote ----------------------------------------------------------------------------------


def projected(job_folder: Path, **changes: object) -> object:
    terms = a_drill_job(Location.parse(str(job_folder / "s")), job_folder).drill
    return leaving.project(
        **{  # type: ignore[arg-type]
            "whole": Amount(objects=1000, bytes=10**9),
            "moved": Amount(objects=1000, bytes=10**9),
            "census_seconds": 10.0,
            "export_seconds": 990.0,
            "earlier": [],
            "timetable": Timetable(),
            "now": DAY,
            "terms": terms,
            **changes,
        }
    )


def test_the_projection_is_an_interval_around_what_was_measured(tmp_path: Path) -> None:
    told = projected(tmp_path)
    assert isinstance(told, leaving.TimeToLeave)
    assert (told.low_seconds, told.likely_seconds, told.high_seconds) == (800, 1000, 1500)
    sampled = projected(tmp_path, moved=Amount(objects=100, bytes=2 * 10**8))
    assert isinstance(sampled, leaving.TimeToLeave)
    assert sampled.low_seconds <= 10 + 5 * 990 <= sampled.likely_seconds <= 10 + 10 * 990 <= sampled.high_seconds
    assert projected(tmp_path, moved=Amount()) is None


def test_a_cap_at_other_hours_lengthens_the_projection(tmp_path: Path) -> None:
    table = Timetable.parse("08:00,100k 20:00,off")
    start = datetime(2026, 3, 2, 19, 0, tzinfo=UTC)
    assert leaving.elapsed(table, start, 3600 * 102_400, 10**9) == 3600.0
    assert leaving.elapsed(table, start, 3600 * 102_400 + 10**9, 10**9) == 3601.0
    assert leaving.elapsed(Timetable.parse("1k"), start, 1024 * 10**7, 10**9) == 10**7
    told = projected(tmp_path, timetable=Timetable.parse("100k"))
    assert isinstance(told, leaving.TimeToLeave)
    assert told.likely_seconds == round(10 + 10**9 / 102_400)


def test_deadlines_are_held_against_the_whole_interval() -> None:
    day = 86400
    own = [OwnDeadline(name="contrat", days=10), OwnDeadline(name="fin", day=date(2026, 3, 7))]
    told = {one.id: one for one in deadlines.deadlines(6 * day, 20 * day, own=own, today=date(2026, 3, 2))}
    assert told["data-act-transition"].fits == "yes"
    assert told["contract-1"].fits == "unsure"
    assert told["contract-2"].fits == "no"
    assert told["data-act-notice"].fits is None
    for one in told.values():
        assert one.source
        assert one.version
        assert one.grade


def test_the_calendar_counts_from_the_notice() -> None:
    days = {one.id: one.date for one in deadlines.calendar(date(2026, 12, 31))}
    assert days["data-act-notice"] == "2027-02-28"  # two months later: the month has no 31st
    assert days["data-act-transition"] == "2027-03-30"
    assert days["data-act-retrieval"] == "2027-04-29"
    assert list(days.values()) == sorted(days.values())


def test_a_quote_has_money_only_where_prices_are_known() -> None:
    plain = quote("s3", objects=2500, bytes_=10**10, listed=2500)
    assert (plain.requests, plain.egress_bytes, plain.money) == (6 + 7500 + 149, 10**10, {})
    prices = Prices(currency="EUR", egress_gb=Decimal("0.011"), requests_1000=Decimal("0.005"))
    assert quote("s3", objects=2500, bytes_=10**10, prices=prices).money == {"EUR": "0.15"}  # rounded up to a cent


# -- schedules --------------------------------------------------------------------------------------------------------

COMMAND = ["/opt/my tools/portability", "drill", "--job", '/srv/50 %/l\'été "x"$HOME.toml', "--if-due"]


def test_a_schedule_is_read_back_as_the_command_that_was_meant() -> None:
    made = schedule(COMMAND, job="cabinet  & co", at=clock_time(20, 5), folder="/srv/50 %", start=DAY)

    units = {name: RawConfigParser(strict=True) for name in ("service", "timer")}
    for parser in units.values():
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # names of units have capitals
    units["service"].read_string(made.service)
    units["timer"].read_string(made.timer)
    assert units["timer"]["Timer"]["OnCalendar"] == "*-*-* 20:05:00"
    assert units["timer"]["Timer"]["Persistent"] == "true"
    line = units["service"]["Service"]["ExecStart"]
    assert [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)] == COMMAND
    assert units["service"]["Service"]["WorkingDirectory"] == "/srv/50 %%"

    minute, hour, *stars, command = made.cron.split(" ", 5)
    assert (minute, hour, stars) == ("5", "20", ["*", "*", "*"])
    assert shlex.split(command.replace(r"\%", "%")) == ["cd", "/srv/50 %", "&&", *COMMAND]

    task = ElementTree.fromstring(made.task.encode("utf-16"))
    space = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
    assert task.findtext(".//t:Command", namespaces=space) == COMMAND[0]
    assert task.findtext(".//t:DaysInterval", namespaces=space) == "1"
    assert task.findtext(".//t:StartWhenAvailable", namespaces=space) == "true"
    assert r"\"x\"" in (task.findtext(".//t:Arguments", namespaces=space) or "")
    assert made.name == "portability-drill-cabinet-co"


def test_a_timer_reads_its_variables_from_one_file_beside_the_job(tmp_path: Path) -> None:
    program = 'import os, sys; print(os.environ["OLD_ACCESS_KEY_ID"], sys.argv[1])'
    needed = Needs(lines=("OLD_ACCESS_KEY_ID=''",), variables=("OLD_ACCESS_KEY_ID",))
    command = [sys.executable, "-c", program, "50 %"]
    folder = tmp_path / "l'été $HOME"
    folder.mkdir()
    made = schedule(command, job="cabinet", at=clock_time(20), folder=str(folder), start=DAY, needed=needed)

    assert f"\nEnvironmentFile={made.environment_file}\n" in made.service
    Path(made.environment_file).write_text(made.environment.replace("''", "'a \"b\"'"))
    line = made.cron.split(" ", 5)[5].replace(r"\%", "%")
    ran = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, env={}, timeout=60, check=True)
    assert ran.stdout == 'a "b" 50 %\n'

    plain = schedule(command, job="cabinet", at=clock_time(20), folder=str(folder), start=DAY)
    assert (plain.environment_file, "EnvironmentFile" in plain.service, "set -a" in plain.cron) == ("", False, False)


def test_a_schedule_knows_what_a_job_takes_from_whoever_starts_it(tmp_path: Path) -> None:
    job = with_terms(
        a_drill_job(Location.parse("s3://cabinet", credentials="env:OLD"), tmp_path),
        restore_to=Location.parse("sftp://new.example/home", credentials="env:NEW"),
        sign="practice-key",
        passphrase="env:PRACTICE",
    )
    assert job.drill is not None
    told = needs(job, job.drill)
    assert told.variables == (
        *("OLD_ACCESS_KEY_ID", "OLD_SECRET_ACCESS_KEY"),
        *("NEW_PASSWORD", "NEW_KEY_FILE", "NEW_PASSPHRASE"),
        "PRACTICE",
    )
    assert {"OLD_ACCESS_KEY_ID=''", "# NEW_PASSWORD=''", "PRACTICE=''"} < set(told.lines)
    assert told.unattended == ()

    asked = with_terms(replace(job, source=Location.parse("s3://cabinet", credentials="prompt")), passphrase=None)
    assert asked.drill is not None
    assert [line.split(" ", 2)[:2] for line in needs(asked, asked.drill).unattended] == [
        ["the", "credentials"],
        ["a", "signing"],
    ]


# -- status, metrics, notify ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path]:
    folder = tmp_path_factory.mktemp("drill")
    (folder / "source").mkdir()
    (folder / "source" / "a.txt").write_text("a")
    job = a_drill_job(Location.parse(str(folder / "source")), folder)
    return drilled(job).record, folder


def test_status_turns_overdue_when_its_day_comes(told: tuple[Record, Path]) -> None:
    record, folder = told
    terms = a_drill_job(Location.parse(str(folder / "source")), folder).drill
    assert terms is not None
    before = status(terms, on(89)())
    assert (before.overdue, before.exit_code, before.age) == (False, 0, timedelta(days=89))
    after = status(terms, on(90)())
    assert (after.overdue, after.exit_code) == (True, 3)
    assert after.last == record
    assert after.due == "2026-05-31T20:00:00Z"


def test_a_drill_remembers_what_left_the_source_when(told: tuple[Record, Path]) -> None:
    passed, moved = told[0].throughput, told[0].moved
    assert passed is not None
    assert (sum(passed.objects), sum(passed.bytes)) == (moved.objects, moved.bytes)


def test_status_says_when_the_last_drill_lies_in_the_future(told: tuple[Record, Path]) -> None:
    terms = a_drill_job(Location.parse(str(told[1] / "source")), told[1]).drill
    assert terms is not None
    early = status(terms, on(-1)())
    assert (early.clock, early.age, early.exit_code) == (True, None, 3)


def test_without_any_drill_one_is_overdue_and_without_schedule_nothing_can_be(tmp_path: Path) -> None:
    job = a_drill_job(Location.parse(str(tmp_path / "s")), tmp_path)
    assert job.drill is not None
    never = status(job.drill, DAY)
    assert (never.last, never.overdue, never.exit_code) == (None, True, 3)
    unscheduled = with_terms(job, every=None).drill
    assert unscheduled is not None
    with pytest.raises(UsageError, match="no schedule"):
        status(unscheduled, DAY)


def test_a_drill_after_one_of_the_future_says_so_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.txt").write_text("a")
    job = a_drill_job(Location.parse(str(tmp_path / "source")), tmp_path)
    drilled(job, 10)
    record = drilled(job, 0).record
    assert record.verdict.proven
    assert [(one.problem, one.fails) for one in record.findings] == [("clock", False)]


def test_metrics_are_whole_and_safe_whatever_a_job_is_called(told: tuple[Record, Path], tmp_path: Path) -> None:
    record = told[0].model_copy(update={"job": 'a "job"\\ of\ntwo lines'})
    path = tmp_path / "new folder" / "drill.prom"
    metrics.write(record, path)
    text = path.read_text("utf-8")
    assert text == metrics.text(record)
    assert {entry.name for entry in path.parent.iterdir()} == {"drill.prom"}
    assert path.stat().st_mode & 0o044 == 0o044
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(r'job="a \"job\"\\ of\ntwo lines"' in line for line in samples)
    values = dict(line.rsplit(" ", 1) for line in samples)
    assert values[r'portability_drill_proven{job="a \"job\"\\ of\ntwo lines"}'] == "1"
    assert all(value.isdigit() for value in values.values())
    types = Counter(line.split()[2] for line in text.splitlines() if line.startswith("# TYPE"))
    assert set(types.values()) == {1}


def test_the_notify_command_gets_the_record_and_no_shell(told: tuple[Record, Path], tmp_path: Path) -> None:
    out = tmp_path / "told.json"
    program = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"
    command = [sys.executable, "-c", program, str(out), "$(touch x); `touch y`"]
    assert notify.notify(command, notify.of_record(told[0])) == ""
    got = json.loads(out.read_bytes())
    assert (got["type"], got["id"], got["verdict"]["proven"]) == ("drill", told[0].id, True)
    assert "folders" not in got


@pytest.mark.parametrize(
    ("program", "words"),
    [("import sys; sys.exit(3)", "code 3"), ("import time; time.sleep(60)", "more than 1 seconds")],
)
def test_a_notify_command_that_fails_or_hangs_is_said(program: str, words: str) -> None:
    assert words in notify.notify([sys.executable, "-c", program], {}, seconds=1)


def test_a_notify_command_that_is_not_there_is_said() -> None:
    assert "cannot be run" in notify.notify(["/no/such/program"], {})


# -- canaries ---------------------------------------------------------------------------------------------------------


def test_canaries_follow_from_their_list_and_hold_no_secret(tmp_path: Path) -> None:
    place = Location.parse(str(tmp_path / "source"))
    (tmp_path / "source").mkdir()
    made = canary.plant(place, tmp_path / "drills", prefixes=["", "patients/"], now=on(0))
    assert len(made.canaries) == 6
    for one in made.canaries:
        data = (tmp_path / "source" / one.key).read_bytes()
        assert data == canary.content(made, one.key)
        assert len(data) == one.size
    assert canary.check(place, tmp_path / "drills").well
    assert (tmp_path / "drills" / "canaries.json").stat().st_mode & 0o077 == 0


def test_planting_never_replaces_what_is_no_canary(tmp_path: Path) -> None:
    place = Location.parse(str(tmp_path / "source"))
    theirs = tmp_path / "source" / "portability-canary" / "temoin-64k.bin"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    with pytest.raises(RefusedError, match="no canary"):
        canary.plant(place, tmp_path / "drills")
    assert theirs.read_bytes() == b"theirs"
    theirs.unlink()
    assert canary.plant(place, tmp_path / "drills").number == 1  # the planting that was begun is completed
    assert canary.plant(place, tmp_path / "drills").number == 2


def test_canaries_that_are_missing_or_changed_are_told_apart(tmp_path: Path) -> None:
    place = Location.parse(str(tmp_path / "source"))
    (tmp_path / "source").mkdir()
    first, second, third = canary.plant(place, tmp_path / "drills").canaries
    (tmp_path / "source" / first.key).unlink()
    put(place, second.key, b"x", replace=True)
    states = canary.check(place, tmp_path / "drills").states
    assert states == {first.key: "missing", second.key: "changed", third.key: "intact"}


def test_a_damaged_or_foreign_list_of_canaries_is_refused(tmp_path: Path) -> None:
    place = Location.parse(str(tmp_path / "source"))
    (tmp_path / "source").mkdir()
    canary.plant(place, tmp_path / "drills")
    with pytest.raises(UsageError, match="were planted at"):
        canary.load(tmp_path / "drills", Location.parse(str(tmp_path / "other")))
    (tmp_path / "drills" / "canaries.json").write_text('{"place": 1')
    with pytest.raises(EvidenceError, match="damaged"):
        canary.load(tmp_path / "drills", place)
    with pytest.raises(UsageError, match="no canaries"):
        canary.check(place, tmp_path / "elsewhere")


def test_the_history_of_no_drill_is_empty(tmp_path: Path) -> None:
    job = a_drill_job(Location.parse(str(tmp_path / "s")), tmp_path)
    assert drills(job).entries() == []
    assert drills(job).last() is None
    assert drills(job).unfinished() == []

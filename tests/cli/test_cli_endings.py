"""However a command ends, a person gets a sentence and a shell gets a number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import click
import pytest
from commands import Run, command

from connectors import (
    AlreadyExistsError,
    ConnectorError,
    LocationError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from manifests.errors import SealError
from portability.cli.failure import end_calmly, explain, interruptible
from portability.cli.screen import Screen
from portability.errors import EvidenceError, InterruptedRunError, PlaceError, RefusedError, UsageError

KINDS = [
    (UsageError("wrong", hint="so"), 2),
    (RefusedError("refused", hint="so"), 3),
    (PlaceError("locked", hint="so"), 5),
    (EvidenceError("damaged", hint="so"), 6),
    (InterruptedRunError("stopped", hint="so"), 130),
    (LocationError("wrong url"), 2),
    (NotFoundError("no such bucket", host="s3://cabinet"), 5),
    (PermissionDeniedError("says no", host="s3://cabinet"), 5),
    (UnavailableError("no answer", host="s3://cabinet"), 5),
    (AlreadyExistsError("there already", host="s3://cabinet", key="a"), 5),
    (SealError("the seal is missing", file="manifest.jsonl", line=3, rule="one seal"), 6),
    (click.UsageError("what?"), 2),
    (click.Abort(), 130),
    (KeyboardInterrupt(), 130),
    (FileNotFoundError(2, "No such file", "findings.jsonl"), 5),
    (RuntimeError("personal data"), 1),
]


@pytest.mark.parametrize(("error", "code"), KINDS, ids=[type(error).__name__ for error, _ in KINDS])
def test_every_error_has_a_code_a_cause_and_a_remedy(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_calmly(error, Screen()) == code
    written = capsys.readouterr()
    cause, remedy = written.err.splitlines()
    assert cause.startswith("error: ")
    assert remedy.startswith("  → ")
    assert written.out == ""


def test_an_error_of_a_host_names_the_place_and_the_printable_key() -> None:
    _, message, _ = explain(NotFoundError("no such object", host="s3://cabinet", key="a\x1b\udcff"))
    assert message == 'no such object (s3://cabinet, "a\\x1b\\udcff")'
    _, message, _ = explain(ConnectorError("s3://cabinet did not answer", host="s3://cabinet"))
    assert message == "s3://cabinet did not answer"


def test_a_bug_shows_its_type_and_place_but_not_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise RuntimeError("personal data")

    try:
        fail()
    except RuntimeError as error:
        end_calmly(error, Screen())
        assert "personal data" not in (shown := capsys.readouterr().err)
        assert "RuntimeError" in shown
        assert "please report it" in shown
        end_calmly(error, Screen(verbose=2))
        assert "Traceback" in capsys.readouterr().err


def test_several_causes_stand_under_one_another(capsys: pytest.CaptureFixture[str]) -> None:
    end_calmly(UsageError("a.toml:1: one\na.toml:2: two", hint="so"), Screen())
    assert capsys.readouterr().err == "error: a.toml:1: one\n       a.toml:2: two\n  → so\n"


@pytest.mark.skipif(os.name != "posix", reason="Windows ends a process on SIGTERM without asking it")
def test_a_termination_request_ends_like_an_interruption() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(os.name != "posix", reason="pipes that break are a matter of POSIX")
def test_a_reader_that_goes_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command("connectors"), stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_output_that_cannot_show_a_character_escapes_it(program: Run) -> None:
    ended = program("migrate", env={"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert ended.code == 2
    assert "\\u2192" in ended.err
    assert sys.executable not in ended.err

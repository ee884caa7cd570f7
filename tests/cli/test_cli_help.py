"""Help is complete: every option says what it does, every command shows how it is called."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from commands import Run

from portability import __version__
from portability.cli.app import COMMANDS, application
from portability.errors import EXIT_CODES


def command_named(name: str) -> click.Command:
    found = application.get_command(click.Context(application), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_shows_examples_of_itself(run: Run, name: str, flag: str) -> None:
    shown = run(name, flag)
    assert shown.code == 0
    examples = shown.out.partition("Examples:\n")[2]
    assert f"portability {name}" in examples


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name: str) -> None:
    options = [parameter for parameter in command_named(name).params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_fits_on_one_line_of_the_overview(run: Run, name: str) -> None:
    assert "..." not in run("--help").out.partition("Commands:")[2]
    assert f"\n  {name} " in run("--help").out


def test_the_overview_names_every_exit_code(run: Run) -> None:
    shown = run("--help").out
    for code, meaning in EXIT_CODES.items():
        assert f"{code:>3}  {meaning}" in shown


def test_no_command_at_all_is_wrong_usage_and_shows_the_overview(run: Run) -> None:
    ended = run()
    assert ended.code == 2
    assert "Commands:" in ended.err
    assert ended.out == ""


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version").out == f"portability {__version__}\n"


def test_help_starts_without_the_sdks() -> None:
    """They take half a second to import, and a person who asks for help has not asked for a host."""
    look = "import sys; from portability.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    for heavy in ("boto3", "paramiko", "pydantic", "smart_open", "tqdm"):
        assert f"'{heavy}'" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(run: Run, shell: str) -> None:
    ended = run("completion", shell)
    assert ended.code == 0
    assert "_PORTABILITY_COMPLETE" in ended.out


def test_completion_offers_commands_and_options(program: Run) -> None:
    asked = {"_PORTABILITY_COMPLETE": "bash_complete", "COMP_WORDS": "portability mig", "COMP_CWORD": "1"}
    assert "migrate" in program(env=asked).out
    asked |= {"COMP_WORDS": "portability migrate --evi", "COMP_CWORD": "2"}
    assert "--evidence" in program(env=asked).out


def test_the_schema_of_job_files_is_a_json_schema(run: Run) -> None:
    import jsonschema

    (schema,) = run("--json", "job-schema").records
    jsonschema.Draft202012Validator.check_schema(schema)
    places = {"source": {"url": "/old"}, "destination": {"url": "/new"}}
    jsonschema.validate({**places, "evidence": "exit"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**places, "evidence": "exit", "evidense": "exit"}, schema)


def test_connectors_name_their_scheme_their_options_and_what_they_can_do(run: Run) -> None:
    shown = run("connectors")
    assert shown.code == 0
    assert "memory://" in shown.out
    assert "connectors.memory:connect" in shown.out
    kinds = {record["scheme"]: record for record in run("connectors", "--json").records}
    assert {"file", "memory", "s3", "sftp"} <= set(kinds)
    assert {record["type"] for record in kinds.values()} == {"connector"}
    assert set(kinds["memory"]["abilities"]) >= {"reading", "writing", "versions"}
    assert "versions" in kinds["memory"]["options"]

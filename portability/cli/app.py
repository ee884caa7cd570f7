"""The group of commands, loaded one by one, and what all commands share: options, and examples in their help."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from inspect import cleandoc
from typing import Any

import click

from portability.cli.screen import Screen

COMMANDS = (
    "demo",
    "census",
    "plan",
    "migrate",
    "export",
    "verify",
    "restore",
    "diff",
    "proof",
    "drill",
    "canary",
    "report",
    "runbook",
    "keygen",
    "sign",
    "status",
    "connectors",
    "job-schema",
    "completion",
)  # in the order in which a person meets them

_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

EXAMPLES = """
    portability demo
    portability plan    --from s3://cabinet --to sftp://new.example/home/cabinet
    portability migrate --from s3://cabinet --to sftp://new.example/home/cabinet --evidence ./exit-2026
    portability verify  ./exit-2026
"""


def _set(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    # The options may stand before or after the command's name: what one place asks for, the other does not take back.
    if value and parameter.name:
        setattr(ctx.ensure_object(Screen), parameter.name, value)


def shared() -> list[click.Parameter]:
    """The options of every command; they go into the Screen."""
    common: dict[str, Any] = {"expose_value": False, "callback": _set}
    return [
        click.Option(["--json"], is_flag=True, help='JSON lines on stdout, each with a "type".', **common),
        click.Option(["--quiet", "-q"], is_flag=True, help="No progress: results and errors only.", **common),
        click.Option(["--verbose", "-v"], count=True, help="Log counts; -vv also keys and traces.", **common),
    ]


class Command(click.Command):
    """A command whose help ends with examples, printed as they stand."""

    def __init__(self, *args: Any, examples: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += shared()
        self.examples = examples

    def invoke(self, ctx: click.Context) -> Any:
        from portability.errors import UsageError

        try:
            return super().invoke(ctx)
        except UsageError as error:
            if not error.hint:
                file = ctx.params.get("job_file")
                error.hint = "every key of a job file: portability job-schema" if file else f"{ctx.command_path} --help"
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_lines(formatter, "Examples", cleandoc(self.examples))


class Application(click.Group):
    """Loads a command's module when the command is asked for, so that starting stays fast."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += shared()

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"portability.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from portability.errors import EXIT_CODES

        _write_lines(formatter, "Examples", cleandoc(EXAMPLES))
        _write_lines(formatter, "Exit codes", "\n".join(f"{code:>3}  {text}" for code, text in EXIT_CODES.items()))


def _write_lines(formatter: click.HelpFormatter, title: str, text: str) -> None:
    formatter.write_paragraph()
    formatter.write_heading(title)
    for line in text.splitlines():
        formatter.write(f"  {line}\n")


def command(name: str, *, examples: str) -> Callable[[Callable[..., int]], click.Command]:
    """A command that gets the Screen and its own arguments, and returns an exit code."""

    def build(function: Callable[..., int]) -> click.Command:
        return click.command(name, cls=Command, examples=examples, context_settings=_SETTINGS)(click.pass_obj(function))

    return build


@click.group("portability", cls=Application, context_settings=_SETTINGS)
@click.version_option(package_name="portability-toolkit", message="%(prog)s %(version)s")
def application() -> None:
    """Leave a host with everything, and prove it.

    Moves a full dataset from one host to another, reads every object back, and leaves sealed evidence
    that anyone can check years later, without this program and without the old host.
    """

"""`portability completion`: names and options completed by the shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from portability.cli.app import application
from portability.cli.app import command as make
from portability.cli.screen import Screen


@make(
    "completion",
    examples="""
        eval "$(portability completion bash)"                                      # in ~/.bashrc
        eval "$(portability completion zsh)"                                       # in ~/.zshrc
        portability completion fish > ~/.config/fish/completions/portability.fish
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(screen: Screen, *, shell: str) -> int:
    """Print the completion script of a shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    script = kind(application, {}, "portability", "_PORTABILITY_COMPLETE").source()
    screen.result(script, [{"type": "completion", "shell": shell, "script": script}])
    return 0

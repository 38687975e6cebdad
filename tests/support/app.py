"""The command line's own list of commands and their parameters, as Typer has it."""

from typing import Any

import typer

from llmprep.cli.app import app

_COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
COMMANDS = list(_COMMANDS)


def parameters(command: str) -> list[Any]:
    """The options and arguments of a command, but for ``--help``."""
    return list(_COMMANDS[command].params)

"""Promises of the help: every command and option is explained, and what the help shows works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from support.app import COMMANDS, STAGES, parameters
from support.commands import ROOT, Call

from llmprep import __version__


def test_the_commands_are_these() -> None:
    """A new command is listed here, and so in what the tests of this folder check of each."""
    assert [*STAGES, "inspect", "merge"] == COMMANDS


def test_help_lists_every_command(call: Call) -> None:
    """``llmprep --help`` names each command and says what it does; without a command the same is shown, as an error."""
    ended = call("--help")

    assert (ended.code, ended.notes) == (0, [])
    assert [
        command for command in COMMANDS if not re.search(rf"\n  {command} +[A-Z].{{20,}}", ended.stdout.decode())
    ] == []
    assert (call().code, call().stdout, call("-h").stdout) == (2, ended.stdout, ended.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_explained(call: Call, command: str) -> None:
    """The help of a command says what it is for; each option has a line, the form of its value, and words."""
    ended = call(command, "--help")

    text = ended.stdout.decode()
    assert (ended.code, ended.notes) == (0, [])
    assert re.match(rf"Usage: llmprep {command} \[OPTIONS\] .*\n\n  [A-Z][^:]{{20,}}\.\n\n", text)
    for parameter in parameters(command):
        assert parameter.help, parameter.name
        if parameter.param_type_name == "option":
            value = "" if parameter.is_flag else r" ([A-Z/]+|<[\w|]+>)"
            assert re.search(rf"\n  (-\w, )?{max(parameter.opts, key=len)}{value}(  |\n)", text), parameter.name


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_examples(call: Call, command: str) -> None:
    """The last lines of a command's help are two or three examples, with options that there are."""
    *_, last = call(command, "--help").stdout.decode().split("\n\n")

    examples = re.findall(r"llmprep .*", last)
    assert 2 <= len(examples) <= 3
    known = {name for parameter in parameters(command) for name in parameter.opts}
    for example in examples:
        own = next(part for part in example.split(" | ") if part.startswith(f"llmprep {command} "))
        assert {word for word in shlex.split(own) if re.match("--?[a-z]", word)} <= known, example


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    """README shows how to call each command."""
    assert f"llmprep {command}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_version_is_the_package_version(call: Call) -> None:
    """``--version`` prints the name and the version, nothing else."""
    ended = call("--version")

    assert (ended.code, ended.lines, ended.notes) == (0, [f"llmprep {__version__}"], [])


def takes_text(parameter: Any) -> bool:
    """Tell an option or argument that takes text from flags; --around has an error of its own."""
    return parameter.param_type_name == "argument" or not (parameter.is_flag or "--around" in parameter.opts)


GIVEN = {(max(p.opts, key=len), p.help): command for command in COMMANDS for p in parameters(command) if takes_text(p)}
"""Each option and argument, with its help, and a command that has it."""


@pytest.mark.parametrize(("name", "words"), GIVEN, ids=lambda value: str(value)[:24])
def test_an_empty_value_is_refused(call: Call, story: Path, name: str, words: str) -> None:
    """An option or argument that is empty, as a variable that is not set gives it, is never taken for the default."""
    command = GIVEN[name, words]
    files = [story] if command in STAGES else []

    ended = call(command, *files, *([name, ""] if name.startswith("--") else [""]))

    assert (ended.code, ended.stdout) == (2, b"")
    (line,) = ended.notes
    assert line.startswith("llmprep: error: Invalid value for ")
    assert "is empty" in line or "''" in line
    assert list(Path().iterdir()) == []

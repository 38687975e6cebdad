"""Promises of the help: every command and option is explained, and no value is taken for one that was not given."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from support.app import COMMANDS, parameters
from support.commands import ROOT, Call, Ended

from llmprep import __version__


def test_help_lists_every_command(call: Call) -> None:
    """``--help`` names each command and says what it does, as does no command at all; ``--version`` is the version."""
    shown = call("--help")
    assert (shown.code, shown.notes) == (0, [])
    assert re.findall(r"^  (\w+) +[A-Z].{20,}", shown.stdout.decode(), re.MULTILINE) == COMMANDS
    assert (call().code, call().stdout, call("-h").stdout) == (2, shown.stdout, shown.stdout)
    assert call("--version") == Ended(0, f"llmprep {__version__}\n".encode(), b"")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_explained(call: Call, command: str) -> None:
    """README and the help say what a command is for; each option has words and the form of its value."""
    text = call(command, "--help").stdout.decode()
    assert f"llmprep {command}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.match(rf"Usage: llmprep {command} \[OPTIONS\] .*\n\n  [A-Z][^:]{{20,}}\.\n\n", text)
    for parameter in parameters(command):
        assert parameter.help, parameter.name
        if parameter.param_type_name == "option":
            value = "" if parameter.is_flag else r" ([A-Z/]+|<[\w|]+>)"
            assert re.search(rf"\n  (-\w, )?{max(parameter.opts, key=len)}{value}(  |\n)", text), parameter.name


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_examples(call: Call, command: str) -> None:
    """The last lines of a command's help are up to three examples, with options that there are."""
    *_, last = call(command, "--help").stdout.decode().split("\n\n")
    examples = [shlex.split(line) for line in re.findall(rf"llmprep {command} [^|\n]*", last)]
    known = {name for parameter in parameters(command) for name in parameter.opts}
    assert 1 <= len(examples) <= 3
    assert [word for words in examples for word in words if re.match("--?[a-z]", word) and word not in known] == []


def takes_text(parameter: Any) -> bool:
    """Tell an option or argument that takes text from flags; --around has an error of its own."""
    return parameter.param_type_name == "argument" or not (parameter.is_flag or "--around" in parameter.opts)


GIVEN = {(max(p.opts, key=len), p.help): command for command in COMMANDS for p in parameters(command) if takes_text(p)}
"""Each option and argument, with its help, and a command that has it."""


@pytest.mark.parametrize(("name", "words"), GIVEN, ids=lambda value: str(value)[:24])
def test_an_empty_value_is_refused(call: Call, name: str, words: str) -> None:
    """An option or argument that is empty, as a variable that is not set gives it, is never taken for the default."""
    ended = call(GIVEN[name, words], *(["a.txt", name, ""] if name.startswith("--") else [""]))
    assert (ended.code, ended.stdout) == (2, b"")
    assert re.fullmatch(r"llmprep: error: Invalid value for .*(is empty|'').*\n", ended.stderr.decode())
    assert list(Path().iterdir()) == []

"""Promises of the help: every command and option is explained, and no value is taken for one that was not given.

Last, of wrong calls: what makes no sense, and what is not there, is one line that says so.
"""

import re
import shlex
from pathlib import Path

import pytest
from support.app import COMMANDS, parameters
from support.commands import ROOT, Call, Ended, Run
from support.refusals import Refusal, check_refusal, each_row

from llmprep import __version__
from llmprep.cli.help import SECTIONS, option_name


def test_help_lists_every_command(call: Call) -> None:
    """``--help`` names each command and says what it does, as does no command at all; ``--version`` is the version."""
    shown = call("--help")
    assert (shown.code, shown.notes) == (0, [])
    assert re.findall(r"^  (\w+) +[A-Z].{20,}", shown.stdout.decode(), re.MULTILINE) == COMMANDS
    assert (call().code, call().stdout, call("-h").stdout) == (2, shown.stdout, shown.stdout)
    assert call("--version") == call("-V") == Ended(0, f"llmprep {__version__}\n".encode(), b"")
    assert "..." not in shown.stdout.decode().partition("Commands:")[2]  # nothing of a sentence is cut
    assert call("help") == call("help", "help") == shown
    assert call("help", "window", "--json") == call("window", "--help")
    assert [call("help", command) for command in COMMANDS] == [call(command, "--help") for command in COMMANDS]


def test_options_stand_in_one_section_each() -> None:
    """Each option of each command stands in one section of the help, and each section's options are some command's."""
    listed = [name for names in SECTIONS.values() for name in names.split()]
    options = {option_name(each) for name in COMMANDS for each in parameters(name) if each.param_type_name == "option"}
    assert sorted(listed) == sorted(options)


def test_help_fits_a_narrow_terminal(llmprep: Run) -> None:
    """At 40 columns no line is wider, and every word is whole, as far as it fits a line."""
    for line in (["--help"], ["embed", "--help"]):
        narrow, wide = (llmprep(*line, env={"COLUMNS": width}).stdout.decode() for width in ("40", "100"))
        assert max(map(len, narrow.splitlines())) <= 40
        assert {*narrow.split()} - {"\\"} == {*wide.split()}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_options_and_encodings(llmprep: Run, shell: str) -> None:
    """Each shell gets a script that asks llmprep, which answers with commands, options, choices and encodings."""

    def complete(line: str) -> set[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        asked = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        ended = llmprep(env={**words, **asked, "_LLMPREP_COMPLETE": f"complete_{shell}"})
        assert (ended.returncode, ended.stderr) == (0, b"")
        return set(re.findall(r"[\w-]+", ended.stdout.decode()))

    assert f"complete_{shell}" in llmprep(env={"_LLMPREP_COMPLETE": f"source_{shell}"}).stdout.decode()
    assert set(COMMANDS) <= complete("llmprep ")
    assert {"--max-length", "--stride"} <= complete("llmprep window --")
    assert {"cl100k_base", "o200k_base"} <= complete("llmprep window --encoding ")
    assert {"qwen2", "qwen35"} <= complete("llmprep window --pattern q")
    assert "gpt-4o" in complete("llmprep window --encoding gpt-4") - complete("llmprep window --encoding o")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_explained(call: Call, command: str) -> None:
    """README and help say what a command is for; each option has words and a form; two or three examples come last."""
    text = call(command, "--help").stdout.decode()
    assert f"llmprep {command}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.match(rf"Usage: llmprep {command} \[OPTIONS\] .*\n\n  [A-Z][^:]{{20,}}\.\n\n", text)
    for parameter in parameters(command):
        assert parameter.help, parameter.name
        if parameter.param_type_name == "option":
            value = "" if parameter.is_flag else r" ([A-Z/-]+|<[\w|]+>)"
            assert re.search(rf"\n  (-\w, )?{max(parameter.opts, key=len)}{value}(  |\n)", text), parameter.name
    examples = [shlex.split(line) for line in re.findall(rf"llmprep {command} [^|\n]*", text.split("\n\n")[-1])]
    known = {name for parameter in parameters(command) for name in parameter.opts}
    assert 2 <= len(examples) <= 3
    assert [word for words in examples for word in words if re.match("--?[a-z]", word) and word not in known] == []


GIVEN = {
    (max(parameter.opts, key=len), parameter.help): command
    for command in COMMANDS
    for parameter in parameters(command)
    if not (getattr(parameter, "is_flag", False) or "--around" in parameter.opts)  # that has an error of its own
}
"""Each option and argument that takes text, with its help, and a command that has it."""


@pytest.mark.parametrize(("name", "words"), GIVEN, ids=lambda value: str(value)[:24])
def test_an_empty_value_is_refused(call: Call, name: str, words: str) -> None:
    """An option or argument that is empty, as a variable that is not set gives it, is never taken for the default."""
    ended = call(GIVEN[name, words], *(["a.txt", name, ""] if name.startswith("--") else [""]))
    assert (ended.code, ended.stdout) == (2, b"")
    assert re.fullmatch(r"llmprep: error: Invalid value for .*(is empty|'').*\n", ended.stderr.decode())
    assert list(Path().iterdir()) == []


FILES = ["tokenize", "window", "embed"]
TEXT = {"a.txt": "one two three four five six seven"}
NO_FILE = "--count and --ids write no file, and cannot be combined with each other or with options of a file"
FOLDER = "new/: is the name of a folder, and this writes a file; name a file in it"
WRONG = "Invalid value for"

# arguments -> the line; three dots stand for any text
USAGE = {
    "frobnicate": "No such command 'frobnicate'; see llmprep --help",
    "inspect": "Missing argument 'PATH...'; see llmprep inspect --help",
    "merge": "Missing argument 'FOLDER'; see llmprep merge --help",
    "window": "Missing argument 'FILE...'; name a text, - for standard input, or give one by --text",
    # An option's name is never completed, so that a later version's options cannot change what it means.
    "window a.txt --max-leng 4": "No such option: --max-leng; did you mean --max-length?; see llmprep window --help",
    "window a.txt -max-length 4": "No such option: -max-length; did you mean --max-length?; see llmprep window --help",
    "window a.txt --html": "Option '--html' requires an argument; see llmprep window --help",
    "window a.txt --preview -1": f"{WRONG} '--preview': -1 is not a whole number from 0 on; see ...",
    "window a.txt --batch-size x": f"{WRONG} '--batch-size': 'x' is not a whole number; see ...",
    "pairs a.txt --dense": "No such option: --dense; window has it; see llmprep pairs --help",
    "tokenize a.txt --stride 4": "No such option: --stride; window, embed, inspect and plan have it; see ...",
    "--stride 4": "No such option: --stride; options stand after the command: llmprep window --stride ...",
    "window a.txt --special maybe": f"{WRONG} '--special': 'maybe' is not one of 'allow', 'text', 'error'; see ...",
    "window a.txt --val-fraction nan": "--val-fraction nan: must be larger than 0 and smaller than 1",
    "window a.txt --val-fraction 0.5 -o -": "--val-fraction writes two files; name them with -o, not -",
    "embed a.txt --seed -1": f"{WRONG} '--seed': -1 is not a whole number from 0 to 18446744073709551615; see ...",
    "tokenize - - -o b.pt": "-: standard input can be read only once",
    "tokenize *.txt": "a pattern has no name; name the output with -o",
    "tokenize a.txt --count --ids": NO_FILE,
    "tokenize a.txt --ids --shard-bytes 9": NO_FILE,
    "tokenize a.txt -o s/ --force": "--force: a token store is not replaced; --restart starts a begun one over",
    "pairs a.txt --force": "--force: is only used with -o, --html or --svg",
    "pairs a.txt -o new/": FOLDER,
    "window a.txt -o new/ --val-fraction 0.5": FOLDER,
    "embed a.txt --save-weights new/": FOLDER,
    "embed a.txt -o x.pt --save-weights x.pt": "--save-weights x.pt: is also the output; name another file",
    "embed a.txt --weights w.pt --order ch02": (
        "--order ch02: --weights has both tables and nothing is shuffled; leave it out"
    ),
}
OTHERS = {
    "window a.txt --max-length 5 --val-fraction 0.1 --json": (3, "a.txt (val): 0 tokens give no window ..."),
    "tokenize a.txt --encoding GPT-4o": (5, "--encoding GPT-4o: unknown; did you mean gpt-4o or ...?"),
}
CALLS = {arguments: Refusal(TEXT, arguments, 2, line) for arguments, line in USAGE.items()}
CALLS |= {arguments: Refusal(TEXT, arguments, *wanted) for arguments, wanted in OTHERS.items()}
SEVERAL = "2 inputs go into one file; name the output with -o"
UNNAMED = "standard input has no name; name the output with -o"
CALLS |= {
    "several inputs without -o": Refusal(TEXT, "a.txt a.txt", 2, SEVERAL, commands=FILES),
    "standard input without -o": Refusal(TEXT, "-", 2, UNNAMED, commands=["embed", "tokenize -q", "window -q"]),
    "quiet": Refusal(TEXT, "none.txt -q", 1, "none.txt: no such file or directory", commands=COMMANDS),
}


@each_row(CALLS)
def test_a_wrong_call_is_refused(refusal: Refusal, call: Call) -> None:
    """A call that makes no sense, or an option that this run does not use, gets a line that says so, also with -q."""
    check_refusal(call, refusal)


def test_debug_shows_the_traceback(call: Call, llmprep: Run) -> None:
    """With LLMPREP_DEBUG=1, and only then, an error shows where it was raised."""
    debug = llmprep("tokenize", "missing.txt", env={"LLMPREP_DEBUG": "1"})
    assert (debug.returncode, debug.stderr[:9]) == (1, b"Traceback")
    assert b"InputError: missing.txt" in debug.stderr
    assert b"Traceback" not in call("tokenize", "missing.txt").stderr

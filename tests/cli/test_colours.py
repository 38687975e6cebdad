"""Promises of what a terminal is sent: colours as they are wanted, and no word that is cut, however narrow it is."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.cells import cell_len
from support.commands import Call
from support.terminal import Terminal

from llmprep.cli.colours import choice_in
from llmprep.preview.plain import TABLE_COLUMNS

CODES = re.compile(r"\x1b\[[0-9;]*m")
LEGIBLE = {
    f"\x1b[{code}m" for code in ("0", "1", "2", "3", "35", "1;35", "1;31", "30;102", "30;103", "30;105", "30;106")
}
"""What reads well on black and on white alike: red, magenta, and black on a bright colour."""


@pytest.mark.parametrize(
    ("option", "environment", "on_terminal", "in_pipe"),
    [
        ("", {}, True, False),
        ("--color auto", {"NO_COLOR": "", "FORCE_COLOR": ""}, True, False),
        ("", {"NO_COLOR": "1"}, False, False),
        ("", {"FORCE_COLOR": "1"}, True, True),
        ("", {"FORCE_COLOR": "0"}, False, False),
        ("", {"CLICOLOR_FORCE": "1", "TERM": "dumb"}, True, True),
        ("", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ("", {"TERM": "dumb"}, False, False),
        ("--color always", {"NO_COLOR": "1", "TERM": "dumb"}, True, True),
        ("--color never", {"FORCE_COLOR": "1"}, False, False),
    ],
)
def test_colours_are_as_they_are_wanted(
    option: str,
    environment: dict[str, str],
    on_terminal: bool,
    in_pipe: bool,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The option decides, then the environment, then the terminal; notes and errors hold the same words either way."""
    Path("a.txt").write_text("a few words<|endoftext|>and more")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    plain, refused = call("tokenize", "a.txt", "--color", "never"), call("tokenize", "b.txt", "--color", "never")
    with Terminal() as out, Terminal() as err, out.instead_of("stdout"), err.instead_of("stderr"):
        codes = call("tokenize", "a.txt", *option.split()).code, call("tokenize", "b.txt", *option.split()).code
    piped = call("tokenize", "a.txt", *option.split()), call("tokenize", "b.txt", *option.split())
    assert (codes, [ended.code for ended in piped]) == ((0, 1), [0, 1])
    for wanted, shown in (
        (on_terminal, out.shown + b"|" + err.shown), (in_pipe, piped[0].stdout + b"|" + piped[1].stderr)
    ):  # fmt: skip
        assert [b"\x1b[" in part for part in shown.split(b"|", 1)] == [wanted, wanted]
    for ended, bare in zip(piped, (plain, refused), strict=True):
        assert CODES.sub("", ended.stderr.decode()).split() == bare.stderr.decode().split()
    assert in_pipe or piped[0].lines[:-1] == plain.lines[:-1]


def test_an_error_knows_the_colour_of_a_line_that_is_wrong() -> None:
    """What a command line chooses is known before, and without, the rest of it; the last choice counts."""
    assert choice_in(["x", "--color", "never", "--color=always", "--wrong"]) == "always"
    assert choice_in(["--color", "--", "--color=always"]) == choice_in(["--color=", "always"]) == "auto"


LINES = [
    "tokenize a.txt b.txt -o t.pt",
    "tokenize --ids a.txt",
    "tokenize --count a.txt b.txt",
    "tokenize a.txt --dry-run",
    "tokenize a.txt b.txt -o s/ -j1",
    "window a.txt --max-length 8 --stride 4 -o w.pt",
    "window a.txt --max-length 3 --stride 5 --explain -o w.pt",
    "window a.txt --max-length 100 --stride 7 --preview 0 --explain -o w.pt",
    "pairs a.txt --context-size 9",
    "embed a.txt --max-length 8 --dim 4 -o e.pt",
    "inspect given.pt",
    "inspect given/ --where 3 --max-length 6 --verify",
    "window a.txt --max-length 10000",
    "window a.txt --stride 1 --wrong",
    "inspect a.txt",
]


@pytest.mark.parametrize("line", LINES)
def test_nothing_is_cut_in_a_word(line: str, call: Call, story: Path) -> None:
    """At 40, 60 and 80 columns lines fit and words are whole, but longer ones; colours read on black and white."""
    Path("a.txt").write_text(story.read_text()[:700] + " \u4e2d\u6587 caf\u00e9 " + "x" * 90 + "<|endoftext|>")
    Path("b.txt").write_text("")
    call("window", "a.txt", "--max-length", "8", "-o", "given.pt")
    call("tokenize", "a.txt", "b.txt", "-o", "given/", "-j1")
    call(*line.split())
    words: dict[int, set[str]] = {}
    for width in (4000, 40, 60, 80):
        with ExitStack() as stack:
            out, err = stack.enter_context(Terminal(width)), stack.enter_context(Terminal(width))
            stack.enter_context(out.instead_of("stdout"))
            stack.enter_context(err.instead_of("stderr"))
            call(*line.split())
        assert {*CODES.findall((out.shown + err.shown).decode())} <= LEGIBLE
        lines = (out.words() + err.words()).splitlines()
        assert [each for each in lines if cell_len(each) > width and len(each.split()) > 1] == []
        words[width] = {word for each in lines for word in each.split() if not re.fullmatch(r"[\u2500#>0-9]+|x*", word)}
        fitting = {word for word in words[width] | words[4000] if cell_len(word) < width - 20}
        drawn = "explain" in line or (width < TABLE_COLUMNS and "context" in words[4000])  # in another way
        if not drawn:
            assert words[width] & fitting == words[4000] & fitting

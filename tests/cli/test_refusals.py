"""Promises of the command line: what makes no sense, and what is not there, is one line that says so."""

from __future__ import annotations

from support.app import COMMANDS
from support.commands import Call, Run
from support.refusals import Refusal, check_refusal, each_row

FILES = ["tokenize", "window", "embed"]
TEXT = {"a.txt": "one two three four five six seven"}
NO_FILE = "--count and --ids write no file and exclude each other; leave out the rest"
FOLDER = "new/: is the name of a folder, and this writes a file; name a file in it"
FRACTION = "must be larger than 0 and smaller than 1"
WRONG = "Invalid value for"

# arguments -> the line; three dots stand for any text
USAGE = {
    "frobnicate": "No such command 'frobnicate'; see llmprep --help",
    "window": "Missing argument 'FILE...'; name a text, or - for standard input",
    "window a.txt --max 4": "No such option: --max...",  # so that a later version's options cannot change its meaning
    "window a.txt --special maybe": f"{WRONG} '--special': 'maybe' is not one of 'allow', 'text', 'error'; see ...",
    "window a.txt --val-fraction nan": f"--val-fraction nan: {FRACTION}",
    "window a.txt --val-fraction 0.5 -o -": "--val-fraction writes two files; name them with -o, not -",
    "embed a.txt --seed -1": f"{WRONG} '--seed': -1 is not in the range 0<=x<=18446744073709551615; see ...",
    "tokenize - - -o b.pt": "-: standard input can be read only once",
    "tokenize *.txt": "a pattern has no name; name the output with -o",
    "tokenize a.txt --count --ids": NO_FILE,
    "tokenize a.txt --ids --shard-bytes 9": NO_FILE,
    "tokenize a.txt -o s/ --force": "--force: a token store is not replaced; --restart starts a begun one over",
    "pairs a.txt --force": "--force: goes with -o",
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
    "standard input without -o": Refusal(TEXT, "-", 2, UNNAMED, commands=FILES),
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

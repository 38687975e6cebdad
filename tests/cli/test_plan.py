"""Promises of ``plan`` and of ``inspect --step`` on the command line, besides those of the golden session: refusals.

Of ``cli/plan.py``, ``cli/mixed.py`` and ``cli/steps.py``.
"""

from pathlib import Path

import pytest
from support.commands import Call
from support.refusals import check_refused
from support.stores import build, write_files
from support.terminal import Terminal

STEP = "inspect s --max-length 4 --batch-size 2 --step"
MIX = "such as web/=0.7 code/=0.3; leave it out"

REFUSED = {
    "plan": "Missing argument 'STORE...'; name a token store, or a tokens or windows file",
    "plan s --steps 3 --tokens 1M": "steps and tokens: each says how long a run is; leave out all but one",
    "plan s --steps 0": "Invalid value for '--steps': 0 is not a number such as 1.5, 3e9 or 300B; see ...",
    "plan s --steps 1.5": "Invalid value for '--steps': 1.5 is not a whole number; see ...",
    "plan s --epochs -1": "Invalid value for '--epochs': -1 is not a number such as ...",
    "plan s --batch-size 0": "Invalid value for '--batch-size': 0 is not a whole number from 1 to ...",
    "plan s --max-length 9 --batch-size 9 --ranks 9": (
        "s: 37 windows; 9 ranks with batches of 9 take 81 a step, so an epoch has no whole step"
    ),
    "plan s --split val": "split val: this store has none; build it with --val-fraction",
    "plan s --seed 3 --exhausted stop": f"--seed, --exhausted: for a mixture, {MIX}",
    "plan a.txt": "a.txt: is no token store and no .pt file; llmprep window --dry-run estimates a text",
    "plan s t": "s: several stores are a mixture; give each a weight, as s=0.7",
    "plan s=0.7 t": "t: several stores are a mixture; give each a weight, as t=0.7",
    "plan s=70% t=30%": "s=70%: 70% is no weight, such as 0.7 or 70",
    "plan x=s=-1 t=1": "x=s=-1: -1 is no weight, such as 0.7 or 70",
    "plan s=": "s=: nothing is no weight, such as 0.7 or 70",
    "plan =s=0.7": "=s: no such file or directory; did you mean s?",
    "plan s=0.7 ./s=0.3": "s: two stores have this name; name them, as NAME=PATH=WEIGHT",
    "plan s=0.7 a.txt=0.3": "a.txt: is no token store; --step and mixtures take nothing else",
    "plan s=0.7 t=0 --max-length 4": "weight of 't': is 0 ...",
    "inspect s t": "t: one PATH at a time is inspected; several are a mixture, for --step",
    "inspect s --ranks 3": "--ranks: is only used with --step",
    "inspect s --step 3": "--step: needs the --max-length and the --batch-size of the run",
    f"{STEP} 3-": "--step 3-: must be a step, as 7, or the first and the last, as 100-110",
    f"{STEP} 0-3": "steps 0 to 3: are counted from 1 on, and the first comes first",
    f"{STEP} 1-999999": "steps 1 to 999999: 1,999,998 windows; ask for 250,000 or fewer at a time",
    f"{STEP} 999 --epoch 1": "epoch 1, step 999: an epoch has 42 steps",
    f"{STEP} 3 --verify": "--verify: is not used with --step; leave it out",
    f"{STEP} 3 --shuffle": "--shuffle: is not used with --step; leave it out",
    f"{STEP} 3 --window 2": "--window, --around, --where: is not used with --step; leave it out",
    f"{STEP} 3 --exhausted drop": f"--exhausted: for a mixture, {MIX}",
    "inspect a.txt --max-length 4 --batch-size 2 --step 1": (
        "a.txt: is no token store; --step and mixtures take nothing else"
    ),
}


@pytest.fixture
def stores() -> None:
    """Two small stores and a text, in the current folder."""
    write_files(Path(), {"a.txt": "one two three " * 112, "b.txt": "some other words " * 50})
    build("a.txt", "s")
    build("b.txt", "t")


def test_what_makes_no_sense_is_refused(stores: None, call: Call) -> None:
    """In one line with exit code 2, or 1 where something is not there, and nothing is written."""
    for line, said in REFUSED.items():
        check_refused(
            call, *line.split(), code=1 if line.endswith("--split val") or "no such" in said else 2, line=said
        )


def test_a_path_with_a_weight_in_its_name_is_a_path(stores: None, call: Call) -> None:
    """A weight is told by what is not there; stores of one name in two folders are named before their paths."""
    build("b.txt", "x=0.5")
    assert call("plan", "x=0.5", "--max-length", "4", "--json").value["stores"][0]["path"] == "x=0.5"
    named = call("plan", "a=x=0.5=2", "b=s=1", "--max-length", "4", "--json").value
    assert [(each["name"], each["path"], each["share"]) for each in named["stores"]] == [
        ("a", "x=0.5", pytest.approx(2 / 3, abs=1e-3)),
        ("b", "s", pytest.approx(1 / 3, abs=1e-3)),
    ]


def test_a_terminal_gets_the_first_windows(stores: None, call: Call) -> None:
    """Of many windows a terminal gets the first ones and how many more there are; a pipe gets a line for each."""
    words = [*f"{STEP} 1-21".split()]
    assert len(call(*words).lines) == 2 + 42
    with Terminal() as terminal, terminal.instead_of("stdout"):
        assert call(*words).code == 0
    assert "... and 10 more windows; a pipe and --json get all" in " ".join(terminal.words().split())

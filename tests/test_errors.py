"""Promises of errors: one tree, drawn in the docstring, each with the exit code that a command ends with."""

from __future__ import annotations

import ast
import itertools
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest
from support.commands import ROOT, Call
from support.refusals import Refusal, check_refusal

import llmprep
from llmprep import errors

CLASSES: dict[str, Any] = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
"""Every class of the module, by its name."""
SOURCES = {path: path.read_text() for path in (ROOT / "llmprep").rglob("*.py") if path.name != "errors.py"}


def test_the_drawing_is_the_tree() -> None:
    """Each line of the docstring's drawing is a class with its exit code; all derive straight from the base."""
    drawing = (errors.__doc__ or "").split("\n\n")[1]
    drawn = {name: int(code) for name, code in re.findall(r"^ {4}(?:[|`]-- )?(\w+) +(\d+) +\S", drawing, re.MULTILINE)}

    assert len(drawing.splitlines()) == len(drawn) > 1
    assert drawn == {name: each.exit_code for name, each in CLASSES.items()}
    bases = {each: each.__bases__ for each in CLASSES.values()}
    assert bases.pop(llmprep.LlmprepError) == (Exception,)
    assert set(bases.values()) == {(llmprep.LlmprepError,)}


@pytest.mark.parametrize("name", CLASSES)
def test_an_error_survives_the_way_from_a_worker(name: str) -> None:
    """Errors are pickled where a worker process raises them: message and exit code come back. None is without use."""
    error = CLASSES[name]("story.txt: what is wrong; what to do")

    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert (type(back), str(back), back.exit_code) == (CLASSES[name], str(error), error.exit_code)
    assert any(re.search(rf"\b{name}\b", source) for source in SOURCES.values())


def stand_ins(node: ast.AST) -> Iterator[tuple[str, str]]:
    """A function that makes an error, or a variable that holds one, with its class."""
    if isinstance(node, ast.FunctionDef) and node.returns is not None:
        yield node.name, ast.unparse(node.returns)
    if isinstance(node, ast.AnnAssign):
        yield ast.unparse(node.target).removeprefix("self."), ast.unparse(node.annotation).removesuffix(" | None")


def called(node: ast.expr | None) -> str:
    """The name of what is raised or caught, without its arguments and where it comes from."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node).split(".")[-1] if node is not None else ""


def test_what_rooms_raise_is_in_the_tree() -> None:
    """What is raised is in the tree, or is caught inside, or is one of a few of Python's and typer's own."""
    nodes = [node for source in SOURCES.values() for node in ast.walk(ast.parse(source))]
    stands_for = dict(itertools.chain.from_iterable(map(stand_ins, nodes)))
    raised = {called(node.exc) for node in nodes if isinstance(node, ast.Raise)}
    caught = {called(node.type) for node in nodes if isinstance(node, ast.ExceptHandler)}
    apart = {
        "", "SystemExit", "TimeoutError", "StopIteration", "AttributeError", "IndexError", "TypeError", "BadParameter",
        "Exit",
    }  # fmt: skip

    assert {stands_for.get(name, name) for name in raised} - CLASSES.keys() - caught <= apart


FILES: dict[str, str | bytes] = {
    "good.txt": "one two three four five six",
    "bad.txt": b"one \xff",
    "bad.pt": b"PK\x03\x04",
    "empty.txt": "",
}
WINDOW = "window good.txt --max-length 2"
# No command line makes the base, the backends differ or a worker die; a reader that is gone gets no line.
CAUSED = {
    "InputError": "tokenize missing.txt",
    "OutputError": f"{WINDOW} -o missing/out.pt",
    "UsageError": f"{WINDOW} -o good.txt --force",
    "DataError": "tokenize bad.txt",
    "EmptyError": "tokenize empty.txt",
    "FileFormatError": "window bad.pt",
    "VocabularyError": f"{WINDOW} --encoding gtp2",
    "RefusedError": f"{WINDOW} -o bad.txt",
}


@pytest.mark.parametrize("name", CAUSED)
def test_a_command_ends_with_the_errors_code(name: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each error reaches the user as one line and its exit code; with LLMPREP_DEBUG=1 it is raised as it is."""
    check_refusal(call, Refusal(FILES, CAUSED[name], CLASSES[name].exit_code, "..."))

    monkeypatch.setenv("LLMPREP_DEBUG", "1")
    with pytest.raises(CLASSES[name]) as raised:
        call(*CAUSED[name].split())
    assert raised.type is CLASSES[name]


def test_every_error_of_a_command_line_is_caused() -> None:
    """A new class has a command line above, or a reason for none."""
    apart = {"LlmprepError", "BackendsDifferError", "WorkerDiedError", "ReaderGoneError"}

    assert CAUSED.keys() == CLASSES.keys() - apart

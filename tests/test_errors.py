"""Promises of errors: one tree, drawn in the docstring, each with the exit code that a command ends with."""

import pickle
import re
from typing import Any

import pytest
from support.commands import ROOT, Call
from support.refusals import Refusal, check_refusal

import llmprep
from llmprep import errors

CLASSES: dict[str, Any] = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
"""Every class of the module, by its name."""
SOURCE = "".join(path.read_text() for path in (ROOT / "llmprep").rglob("*.py") if path.name != "errors.py")


def test_the_drawing_is_the_tree() -> None:
    """Each line of the docstring's drawing is a class with its exit code; all derive straight from the base."""
    drawing = (errors.__doc__ or "").split("\n\n")[1]
    drawn = {name: int(code) for name, code in re.findall(r"^ {4}(?:[|`]-- )?(\w+) +(\d+) +\S", drawing, re.MULTILINE)}

    assert len(drawing.splitlines()) == len(drawn) > 1
    assert drawn == {name: each.exit_code for name, each in CLASSES.items()}
    bases = {each: each.__bases__ for each in CLASSES.values()}
    assert bases.pop(llmprep.LlmprepError) == (Exception,)
    assert set(bases.values()) == {(llmprep.LlmprepError,)}


def test_an_error_survives_the_way_from_a_worker() -> None:
    """Errors are pickled where a worker process raises them: message and exit code come back. None is without use."""
    for name, kind in CLASSES.items():
        back = pickle.loads(pickle.dumps(kind("story.txt: what is wrong; what to do")))  # noqa: S301 - our own
        assert (type(back), str(back)) == (kind, "story.txt: what is wrong; what to do")
        assert re.search(rf"\b{name}\b", SOURCE)


def test_what_rooms_raise_is_in_the_tree() -> None:
    """What is raised is in the tree, or one of a few that are caught inside, or of Python's and typer's own."""
    raised = set(re.findall(r"\braise (?:\w+\.)*([A-Z]\w+)", SOURCE))
    caught = set(re.findall(r"\w+", " ".join(re.findall(r"\bexcept (.+):", SOURCE))))
    apart = {"AttributeError", "IndexError", "TypeError", "StopIteration", "TimeoutError", "BadParameter", "Exit"}
    assert raised - CLASSES.keys() - caught <= apart


FILES: dict[str, str | bytes] = {
    "good.txt": "one two three four five six",
    "bad.txt": b"one \xff",
    "bad.pt": b"PK\x03\x04",
    "empty.txt": "",
}
WINDOW = "window good.txt --max-length 2"
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
    # No command line makes the base, the backends differ or a worker die; a reader that is gone gets no line.
    assert CLASSES.keys() - CAUSED.keys() == {
        "LlmprepError",
        "BackendsDifferError",
        "WorkerDiedError",
        "ReaderGoneError",
    }

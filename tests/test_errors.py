"""Promises of errors: one tree, drawn in the docstring, each with the exit code that a command ends with."""

from __future__ import annotations

import ast
import inspect
import itertools
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import ROOT, Run

from llmprep import errors
from llmprep.errors import LlmprepError

EXCEPTIONS = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, BaseException)]
CLASSES = {error.__name__: error for error in EXCEPTIONS if issubclass(error, LlmprepError)}


def drawn_tree() -> dict[str, int]:
    """Names and exit codes, as the module's docstring draws them."""
    lines = re.findall(r"^ {4}(?:[|`]-- )?(\w+) +(\d+) +\S.*$", errors.__doc__ or "", re.MULTILINE)
    return {name: int(code) for name, code in lines}


def test_the_drawing_is_the_tree() -> None:
    """Each class stands in the docstring with its exit code, and the docstring names no other."""
    assert drawn_tree() == {name: error.exit_code for name, error in CLASSES.items()}


def test_the_drawings_lines_are_all_read() -> None:
    """No line of the drawing escapes the comparison above: the tree has as many lines as were read."""
    drawing = (errors.__doc__ or "").split("\n\n")[1]

    assert len(drawing.splitlines()) == len(drawn_tree()) > 1


def test_the_base_catches_them_all() -> None:
    """Every class derives straight from `LlmprepError`, which itself is an ordinary exception."""
    bases = {error: error.__bases__ for error in EXCEPTIONS}

    assert bases.pop(LlmprepError) == (Exception,)
    assert set(bases.values()) == {(LlmprepError,)}


def test_errors_is_a_leaf() -> None:
    """The module imports nothing but the future."""
    tree = ast.parse(inspect.getsource(errors))

    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]

    assert [ast.unparse(node) for node in imports] == ["from __future__ import annotations"]


@pytest.mark.parametrize("name", CLASSES)
def test_an_error_survives_the_way_from_a_worker(name: str) -> None:
    """Errors are pickled where a worker process raises them: message and exit code come back."""
    error = CLASSES[name]("story.txt: what is wrong; what to do")

    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert (type(back), str(back), back.exit_code) == (CLASSES[name], str(error), error.exit_code)


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_is_raised_or_caught_somewhere(name: str) -> None:
    """A class that nothing names has no reason to be in the tree."""
    sources = [path.read_text() for path in (ROOT / "llmprep").rglob("*.py") if path.name != "errors.py"]

    assert any(re.search(rf"\b{name}\b", source) for source in sources)


def stand_ins(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Functions that make an error and variables that hold one, each with its class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            yield node.name, ast.unparse(node.returns)
        if isinstance(node, ast.AnnAssign):
            yield ast.unparse(node.target).removeprefix("self."), ast.unparse(node.annotation).removesuffix(" | None")


def test_what_rooms_raise_is_in_the_tree() -> None:
    """What is raised is in the tree, or is private to its module, or is one of a few of Python's and typer's own."""
    # Caught and translated in the room that raises them, or what Python and typer ask for.
    known = {
        "TimeoutError",
        "ValueError",
        "OSError",
        "MemoryError",
        "BrokenExecutor",
        "SystemExit",
        "StopIteration",
        "AttributeError",
        "IndexError",
        "TypeError",
        "BadParameter",
        "Exit",
    }
    trees = [ast.parse(path.read_text()) for path in (ROOT / "llmprep").rglob("*.py")]
    stands_for = {name: meant for tree in trees for name, meant in stand_ins(tree)}
    raised = set()
    for node in itertools.chain.from_iterable(map(ast.walk, trees)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
            raised.add(stands_for.get(name, name))

    assert {name for name in raised - CLASSES.keys() if not name.startswith("_")} <= known


def cause(name: str, folder: Path) -> list[str]:
    """A command line that ends with an error of this class; ``good.txt`` is a text of enough tokens."""
    (folder / "good.txt").write_text("one two three four five six")
    (folder / "bad.txt").write_bytes(b"one \xff")
    (folder / "bad.pt").write_bytes(b"PK\x03\x04 no zip")
    (folder / "empty.txt").touch()
    (folder / "no_files").mkdir()
    window = ["window", "good.txt", "--max-length", "2"]
    return {
        "InputError": ["tokenize", "missing.txt"],
        "OutputError": [*window, "-o", "missing/out.pt"],
        "UsageError": ["pairs", "no_files"],
        "DataError": ["tokenize", "bad.txt"],
        "EmptyError": ["tokenize", "empty.txt"],
        "FileFormatError": ["window", "bad.pt"],
        "VocabularyError": [*window, "--encoding", "gtp2"],
        "RefusedError": [*window, "-o", "bad.txt"],
    }[name]


# No command line makes the base, the backends differ or a worker die; a reader that is gone is not told anything.
CAUSED = sorted(CLASSES.keys() - {"LlmprepError", "BackendsDifferError", "WorkerDiedError", "ReaderGoneError"})


@pytest.mark.parametrize("name", CAUSED)
def test_a_command_ends_with_the_errors_code(name: str, llmprep: Run, tmp_path: Path) -> None:
    """Each error reaches the user as one sentence on standard error and as its exit code, and leaves no new file."""
    arguments = cause(name, tmp_path)
    before = sorted(tmp_path.iterdir())

    result = llmprep(*arguments)

    assert result.returncode == drawn_tree()[name]
    assert result.stdout == b""
    assert re.fullmatch(rb"llmprep: error: [^\n]+\n", result.stderr)
    assert name.encode() not in result.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", [name for name in CAUSED if name != "OutputError"])
def test_a_command_in_debug_mode_shows_the_errors_class(name: str, tmp_path: Path, llmprep: Run) -> None:
    """With LLMPREP_DEBUG=1 the traceback is shown, and it ends with the class that was meant."""
    result = llmprep(*cause(name, tmp_path), env={"LLMPREP_DEBUG": "1"})

    assert f"llmprep.errors.{name}: ".encode() in result.stderr
    assert result.stderr.startswith(b"Traceback")


def test_the_base_is_public() -> None:
    """Callers catch every error as ``llmprep.LlmprepError``."""
    import llmprep as package

    assert package.LlmprepError is LlmprepError

"""Promises of the house: functions, modules, tests and README stay small enough to be read."""

import ast
from collections.abc import Iterator

from support.commands import ROOT
from support.rooms import PACKAGE, modules

FUNCTION_LINES, PARAMETERS, MODULE_LINES, README_LINES = 40, 6, 300, 275

# The course's own signatures, which llmprep extends and does not change.
THE_COURSES = {"pytorch.loaders.create_dataloader", "pytorch.datasets.__init__"}
# The numbers that trainers have, each by the name that it has there; and what a mixture is, beside them.
TRAINERS = {"pytorch.sampler.__init__", "pytorch.mixture.__init__"}


def too_large(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Functions of too many lines or parameters, with both numbers; neither decorators nor self count."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parameters = [inner.arg for inner in ast.walk(node.args) if isinstance(inner, ast.arg)]
            n_parameters = len([name for name in parameters if name not in ("self", "cls")])
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES or n_parameters > PARAMETERS:
                yield node.name, lines, n_parameters


def test_functions_are_short() -> None:
    """A function has at most 40 lines and 6 parameters, but for the signatures that are the course's or trainers'."""
    found = {f"{module}.{name}" for module, tree in modules().items() for name, *_ in too_large(tree)}
    assert found == THE_COURSES | TRAINERS
    assert list(too_large(ast.parse("def f(a, b, /, c, *d, e, **f): ..."))) == []
    assert list(too_large(ast.parse("def f(a, b, /, c, *d, e, g, **f): ..."))) == [("f", 1, 7)]
    assert list(too_large(ast.parse("async def f():\n" + "    x\n" * 40))) == [("f", 41, 0)]


def test_modules_are_short() -> None:
    """A module has at most 300 lines."""
    lines = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: length for name, length in lines.items() if length > MODULE_LINES} == {}


def test_tests_are_shorter_than_the_code() -> None:
    """All of tests/ together, the bench included, has at most nine lines of Python for ten of the package."""
    package, tests = (
        sum(len(path.read_text().splitlines()) for path in folder.rglob("*.py")) for folder in (PACKAGE, ROOT / "tests")
    )
    assert tests <= 0.9 * package


def test_readme_is_short() -> None:
    """README has at most 275 lines: --help says the rest."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES

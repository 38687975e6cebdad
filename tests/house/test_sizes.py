"""Promises of the house: functions, modules, tests and README stay small enough to be read."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from support.commands import ROOT
from support.rooms import PACKAGE, modules

FUNCTION_LINES, PARAMETERS, MODULE_LINES, TEST_LINES, README_LINES = 40, 6, 300, 17_600, 250

# The course's own signatures, which llmprep extends and does not change.
THE_COURSES = {"pytorch.loaders.create_dataloader", "pytorch.datasets.__init__"}


def too_large(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Functions of too many lines or parameters, with both numbers; neither decorators nor self count."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
            parameters = len([one for one in every if one is not None and one.arg not in ("self", "cls")])
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES or parameters > PARAMETERS:
                yield node.name, lines, parameters


def test_functions_are_short() -> None:
    """A function has at most 40 lines and 6 parameters, but for the signatures that are the course's."""
    found = [(f"{module}.{name}", *sizes) for module, tree in modules().items() for name, *sizes in too_large(tree)]

    assert [function for function in found if function[0] not in THE_COURSES] == []
    assert {function[0] for function in found} == THE_COURSES


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(a, b, /, c, *d, e, **f): ...", []),
        ("def f(a, b, /, c, *d, e, g, **f): ...", [("f", 1, 7)]),
        ("class A:\n    def f(self, a, b, c, d, e, f): ...", []),
        ("async def f():\n" + "    x\n" * 39, []),
        ("async def f():\n" + "    x\n" * 40, [("f", 41, 0)]),
        ("@g(\n    1,\n)\ndef f():\n" + "    x\n" * 39, []),
    ],
)
def test_a_large_function_is_seen(source: str, found: list[tuple[str, int, int]]) -> None:
    """The check of functions counts every line and every kind of parameter."""
    assert list(too_large(ast.parse(source))) == found


def test_modules_are_short() -> None:
    """A module has at most 300 lines."""
    lines = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}

    assert {name: length for name, length in lines.items() if length > MODULE_LINES} == {}


def test_tests_are_about_as_long_as_the_code() -> None:
    """All of tests/ together, the bench included, has no more lines of Python than this."""
    assert sum(len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py")) <= TEST_LINES


def test_readme_is_short() -> None:
    """README has at most 250 lines: --help says the rest."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES

"""Promises of the pages for readers and contributors: what they name is there, and the map shows the house."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from support.commands import ROOT
from support.rooms import DRAWN, MAP, PACKAGE, draw, modules

from llmprep.cli.app import app
from llmprep.vocabulary.patterns import list_patterns

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / name
    for name in (
        "README.md",
        "CHANGELOG.md",
        ".github/CONTRIBUTING.md",
        "llmprep/README.md",
        "llmprep/pytorch/README.md",
        "llmprep/store/README.md",
        "llmprep/vocabulary/README.md",
    )
]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def missing(text: str, folder: Path) -> set[str]:
    """Files, tests, links and make targets that a page in a folder names and that are not there."""
    named = re.findall(r"`((?:tests|llmprep|sample_texts|\.ci|\.github)/[\w./-]*)(?:::(\w+))?`", text)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    targets = re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE)
    return {
        *(path for path, _ in named if not (ROOT / path).exists()),
        *(test for path, test in named if test and f"def {test}(" not in (ROOT / path).read_text(encoding="utf-8")),
        *(link for link in links if not (folder / link).exists()),
        *(target for target in targets if target not in TARGETS),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    """Every file, test, link and make target that a page names exists; README links to each other page."""
    assert missing(page.read_text(encoding="utf-8"), page.parent) == set()
    assert page == PAGES[0] or f"]({page.relative_to(ROOT)})" in README


def test_the_page_on_vocabularies_lists_every_pattern() -> None:
    """The table of names for ``--pattern`` has each that a rank file may have, in the order of the messages."""
    rows = re.findall(r"^\| `(\w+)` \|", PAGES[-1].read_text(encoding="utf-8"), re.MULTILINE)
    assert ", ".join(rows) == list_patterns()


def test_what_is_missing_is_seen() -> None:
    """The check of a page finds a file, a test in a file, a link and a make target that are not there."""
    page = "`tests/no.py`, `tests/conftest.py::story`, `tests/conftest.py::no_test`, [a](no.md), [b](LICENSE)\nmake no"
    assert missing(page, ROOT) == {"tests/no.py", "no_test", "no.md", "no"}


def test_the_map_is_drawn_from_the_docstrings() -> None:
    """llmprep/README.md shows each room as its docstring draws it; `python tests/support/rooms.py` draws them again."""
    assert DRAWN.findall(MAP.read_text(encoding="utf-8")) == [draw()]


def test_a_package_says_what_each_module_does() -> None:
    """The docstring of a package has a line for each of its modules, and for no other."""
    for room in (path.parent for path in PACKAGE.glob("*/__init__.py")):
        docstring = ast.get_docstring(modules()[room.name]) or ""
        lines = re.findall(r"^ *(\w+(?:\.py)?(?:, \w+(?:\.py)?)*)  +\S", docstring, re.MULTILINE)
        listed = {name.strip().removesuffix(".py") for line in lines for name in line.split(",")}
        assert listed == {path.stem for path in room.glob("[!_]*.py")}, room


def test_every_command_is_registered_and_in_readme() -> None:
    """A function of cli/ under ``@spread`` is a command of the app, and a row of README's table of commands."""
    nodes = [node for name, tree in modules().items() if name.startswith("cli.") for node in tree.body]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    commands = {node.name for node in functions if "spread" in map(ast.unparse, node.decorator_list)}
    rows = re.findall(r"^\| `llmprep (\w+)", README, re.MULTILINE)
    assert commands == set(rows) == {getattr(command.callback, "__name__", None) for command in app.registered_commands}


def test_the_changelog_keeps_its_form() -> None:
    """Each release says what was added, changed and fixed, in this order, and the first is the package's version."""
    text = PAGES[1].read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first, *_ = releases = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert first.startswith(project["version"])
    for release in releases:
        headings = re.findall(r"^### (.*)$", release, re.MULTILINE)
        assert headings == [heading for heading in ("Added", "Changed", "Fixed") if heading in headings]

"""Promises of the house: imports point one way, heavy packages stay where they are used, only the command line prints.

The table of imports is the one that llmprep/README.md shows.
"""

from __future__ import annotations

import ast
import graphlib
import re
import sys
from fnmatch import fnmatch

import pytest
from support.rooms import arrows, imports, modules, room_of

MODULES = modules()
ARROWS = arrows()
ENTRANCES = {"__init__", "__main__"}  # the public names, each imported on first use, and `python -m llmprep`

# Which modules may import a package: when they are imported themselves, or only in functions, where it is used.
AT_START = {
    "torch": "pytorch.*",
    "typer": "cli.*",
    "numpy": "tokens.* windows.* ptfile.* formats.* showing store.* pytorch.*",
}
IN_USE = {
    "numpy": "cli.* vocabulary.merges vocabulary.vocabulary",
    "tiktoken": "tokens.tiktoken vocabulary.names vocabulary.trial",
    "gigatoken": "tokens.gigatoken",
    "fastokens": "tokens.fastokens",
    "tokenizers": "tokens.tokenizers vocabulary.trial",
    "orjson": "documents.quick_json",
    "pyarrow": "documents.parquet",
    "ray": "store.ray_cluster",
    "regex": "tokens.merging",
    "rich": "preview.explain preview.fitting preview.picture preview.screen cli.colours cli.printer cli.progress",
}
# Modules that others import only where they are used: plain text needs none of them.
LATE = {"documents.records", "store.ray_cluster"}
# What the modules of the command line may import at start, so that --help waits for no stage.
EARLY = {"choices", "cli", "errors", "preview"}
# Uses of the standard streams that write to the user; others ask what the stream is.
WRITES = {"print", "Console", "typer.echo", "typer.secho", "sys.stdout", "sys.stdout.write", "sys.stderr.write"}


def imported(name: str) -> str | None:
    """The module of llmprep that a dotted name lies in; None for another package's, and for the version."""
    package, _, rest = name.partition(".")
    if package != "llmprep" or rest == "__version__":
        return None
    parts = rest.split(".")
    return next((found for n in range(len(parts), 0, -1) if (found := ".".join(parts[:n])) in MODULES), "__init__")


def wrong_imports(module: str, tree: ast.Module) -> set[str]:
    """What a module imports and may not: rooms, packages, stages at start, names by a dot."""
    room, wrong = room_of(module), set()
    for name, when in imports(tree):
        target, package = imported(name), name.partition(".")[0]
        if target is None:
            wrong |= {package} if misplaced(module, package, when) else set()
        elif room_of(target) not in ARROWS[room] | {room}:
            wrong.add(room_of(target))
        elif when == "start" and (target in LATE - {module} or (room == "cli" and room_of(target) not in EARLY)):
            wrong.add(target)
    return wrong


def misplaced(module: str, package: str, when: str) -> bool:
    """Whether a package that is not of Python's own is imported by a module, or at a time, that is not listed."""
    if package in {"llmprep", *sys.stdlib_module_names} or when == "types":
        return False
    places = f"{AT_START.get(package, '')} {IN_USE.get(package, '') if when == 'use' else ''}"
    return not any(fnmatch(module, place) for place in places.split())


def printing(tree: ast.Module) -> set[str]:
    """Calls that write to the user, and uses of the standard streams that are not bytes or questions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            values = [node.func, *node.args, *(keyword.value for keyword in node.keywords)]
            found |= {ast.unparse(value) for value in values} & WRITES
        elif isinstance(node, ast.Attribute):
            stream = r"sys\.(stdout\.(?!buffer|flush|isatty)|stderr|__std)"
            found |= {ast.unparse(node)} if re.match(stream, ast.unparse(node)) else set()
        elif isinstance(node, ast.ImportFrom) and node.module == "sys":
            found |= {f"sys.{alias.name}" for alias in node.names} & {"sys.stdout", "sys.stderr"}
    return found


def test_the_table_points_one_way() -> None:
    """Every room is in it; an order of them has each import only earlier ones; the command line is the last."""
    assert {room_of(module) for module in MODULES} - ENTRANCES == ARROWS.keys()
    graphlib.TopologicalSorter(ARROWS).prepare()  # which raises where there is a circle
    assert [room for room, allowed in ARROWS.items() if "cli" in allowed] == []


@pytest.mark.parametrize("module", sorted(MODULES.keys() - ENTRANCES))
def test_a_module_imports_what_its_room_may(module: str) -> None:
    """A module imports rooms that the table allows, heavy packages where they belong, and late what may be late."""
    assert wrong_imports(module, MODULES[module]) == set()


def test_no_permission_is_unused() -> None:
    """The table shows the house as it is: each arrow stands for an import that somebody makes."""
    made: dict[str, set[str]] = {room: set() for room in ARROWS}
    for module in MODULES.keys() - ENTRANCES:
        made[room_of(module)] |= {room_of(imported(name) or "") for name, _ in imports(MODULES[module])}
    unused = {room: allowed - made[room] for room, allowed in ARROWS.items() if room != "cli"}
    assert {room: allowed for room, allowed in unused.items() if allowed} == {}


def test_no_files_import_each_other_in_a_circle() -> None:
    """Any file can be read after those that it imports, also where only a type checker imports."""
    graph = {
        module: {target for name, _ in imports(tree) if (target := imported(name)) not in (None, module)}
        for module, tree in MODULES.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # which raises where there is a circle


def test_a_package_is_its_docstring() -> None:
    """Names are imported from the module that defines them: a package of llmprep holds its docstring and no code."""
    rooms = {module for module in MODULES if any(other.startswith(f"{module}.") for other in MODULES)}
    assert [room for room in rooms if len(MODULES[room].body) != 1 or not ast.get_docstring(MODULES[room])] == []


def test_only_the_command_line_prints() -> None:
    """Other rooms print nothing, and write bytes alone to standard output; in the command line one module prints."""
    found = {module: printing(tree) for module, tree in MODULES.items()}
    elsewhere = {module: words for module, words in found.items() if words and room_of(module) != "cli"}
    assert elsewhere.pop("preview.picture") == {"Console"}  # which draws into a string
    assert elsewhere == {"store.ray_cluster": {"sys.stderr"}}  # which takes what Ray prints
    writing = {module for module, words in found.items() if words & WRITES}
    assert writing == {"cli.printer", "cli.colours", "preview.picture"}
    assert found["cli.colours"] & WRITES == {"Console"}  # which draws for the printer, and the bar of a slow run


WRONG = [
    ("errors", "from llmprep.documents.source import Source", {"documents"}),
    ("tokens.stream", "if TYPE_CHECKING:\n    from llmprep.inputs import open_input", {"inputs"}),
    ("formats.tokens", "from llmprep import load_windows", {"__init__"}),
    ("windows.counts", "from .views import window_views", {""}),
    ("tokens.stream", "def f():\n    from torch import nn", {"torch"}),
    ("tokens.backends", "from tiktoken import Encoding", {"tiktoken"}),
    ("preview.screen", "if TYPE_CHECKING:\n    pass\nelse:\n    import rich", {"rich"}),
    ("cli.window", "from llmprep.inputs import open_input", {"inputs"}),
    ("documents.reading", "from llmprep.documents.records import read_records", {"documents.records"}),
]


@pytest.mark.parametrize(("module", "source", "wrong"), WRONG)
def test_a_wrong_import_is_seen(module: str, source: str, wrong: set[str]) -> None:
    """The check of imports finds what it is for, in each form of the statement, and nothing else."""
    assert wrong_imports(module, ast.parse(source)) == wrong


def test_printing_is_seen() -> None:
    """The check of printing finds each way to print."""
    lines = ("print(1)", "Console()", "typer.echo(1)", "sys.stdout.write(1)", "f(file=sys.stdout)", "f(sys.stderr)",
             "from sys import stderr", "sys.stdout.buffer.write(1)", "fingerprint(1)")  # fmt: skip
    found = [printing(ast.parse(line)) for line in lines]
    assert found[:4] == [{"print"}, {"Console"}, {"typer.echo"}, {"sys.stdout.write"}]
    assert found[4:] == [{"sys.stdout"}, {"sys.stderr"}, {"sys.stderr"}, set(), set()]

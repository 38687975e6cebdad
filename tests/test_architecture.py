"""Promises of the house: imports point one way, heavy packages stay in their rooms, only the command line prints."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from support.commands import ROOT

import llmprep

PACKAGE = ROOT / "llmprep"

# Room -> rooms that it may import, at the top of a module or inside a function. A room is a module of llmprep, or a
# package with all that is in it. The core: errors <- documents <- backends <- tokens, vocabulary <- backends,
# tokens <- estimate, errors <- ptfile, errors <- windows; kinds joins them, store builds on kinds, inputs on both.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "documents": {"errors"},
    "vocabulary": {"errors"},
    "backends": {"documents", "errors", "ptfile", "vocabulary"},
    "tokens": {"backends", "documents", "errors", "ptfile", "vocabulary"},
    "estimate": {"backends", "documents", "errors", "tokens", "vocabulary", "windows"},
    "windows": {"errors"},
    "ptfile": {"errors"},
    "kinds": {"__init__", "documents", "errors", "ptfile", "tokens", "vocabulary", "windows"},
    "executors": {"errors", "ptfile"},
    "permutation": set(),
    "store": {
        "__init__",
        "backends",
        "documents",
        "errors",
        "executors",
        "kinds",
        "ptfile",
        "tokens",
        "vocabulary",
        "windows",
    },
    "inputs": {"backends", "documents", "errors", "kinds", "ptfile", "store", "tokens", "vocabulary", "windows"},
    "embedding": {"errors", "kinds", "ptfile"},
    "datasets": {
        "documents",
        "errors",
        "kinds",
        "ptfile",
        "sampler",
        "store",
        "tokens",
        "vocabulary",
        "windows",
    },
    "sampler": {"errors", "permutation"},
    "preview": {"windows"},
    "options": set(),
    "cli": {
        "__init__",
        "datasets",
        "documents",
        "embedding",
        "errors",
        "estimate",
        "executors",
        "inputs",
        "kinds",
        "options",
        "preview",
        "ptfile",
        "store",
        "tokens",
        "vocabulary",
        "windows",
    },
    "__init__": {"datasets", "errors", "sampler", "tokens"},
    "__main__": {"cli"},
}

# Package -> rooms that may import it when they are imported, and rooms that may import it where it is used.
HEAVY: dict[str, tuple[set[str], set[str]]] = {
    "torch": ({"datasets", "embedding", "sampler"}, set()),
    "tiktoken": (set(), {"backends", "vocabulary"}),
    "gigatoken": (set(), {"backends"}),
    "pyarrow": (set(), {"documents"}),
    "ray": (set(), {"executors"}),
    "rich": (set(), {"cli", "preview"}),
    "typer": ({"cli", "options"}, set()),
    "numpy": (
        {
            "backends",
            "datasets",
            "embedding",
            "kinds",
            "permutation",
            "ptfile",
            "sampler",
            "store",
            "tokens",
            "windows",
        },
        {"cli"},
    ),
}


def room_of(path: Path) -> str:
    """The module or package of llmprep that a source file belongs to."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def modules() -> list[ModuleType]:
    """Every module of the package but ``__main__``, which would run."""
    names = [info.name for info in pkgutil.walk_packages(llmprep.__path__, "llmprep.")]
    return [llmprep, *(importlib.import_module(name) for name in names if not name.endswith("__main__"))]


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Dotted names that a module imports, and whether its own import does it; those for type checkers are left out."""

    def walk(node: ast.AST, at_import: bool) -> Iterator[tuple[str, bool]]:
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, at_import) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, "imports are absolute"
                yield from ((f"{module}.{alias.name}", at_import) for alias in names)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=orelse):
                for statement in orelse:
                    yield from walk(statement, at_import)
            case _:
                inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                for child in ast.iter_child_nodes(node):
                    yield from walk(child, at_import and not inside)

    yield from walk(tree, at_import=True)


def all_imports(tree: ast.Module) -> Iterator[str]:
    """Dotted names that a module imports anywhere, for type checkers too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_room(name: str) -> str | None:
    """The room that a dotted name lies in, or None if it is not llmprep's."""
    package, _, rest = name.partition(".")
    if package != "llmprep":
        return None
    room = rest.partition(".")[0]
    is_room = (PACKAGE / f"{room}.py").exists() or (PACKAGE / room / "__init__.py").exists()
    return room if is_room else "__init__"


def wrong_rooms(room: str, tree: ast.Module) -> set[str]:
    """Rooms that a module of this room imports and may not."""
    found = {imported_room(name) for name in all_imports(tree)} - {None, room}
    return {other for other in found if other is not None} - ALLOWED[room]


def wrong_packages(room: str, tree: ast.Module) -> set[str]:
    """Heavy packages that a module of this room imports where it may not."""
    wrong = set()
    for name, at_import in imports(tree):
        package = name.partition(".")[0]
        top, inside = HEAVY.get(package, ({room}, set()))
        if room not in (top if at_import else top | inside):
            wrong.add(package)
    return wrong


def prints(tree: ast.Module) -> set[str]:
    """Uses of ``print`` and of the standard streams for output."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            found.add("print")
        if isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr", "__stdout__", "__stderr__"):
            found.add(ast.unparse(node))
        if isinstance(node, ast.ImportFrom) and node.module == "sys":
            found.update(alias.name for alias in node.names if alias.name in ("stdout", "stderr"))
    return found


# --- the rules ------------------------------------------------------------------------------------


def test_every_room_is_in_the_table() -> None:
    """A new module must say what it may import; a room that is gone must go from the table."""
    assert {room_of(path) for path in sources()} == ALLOWED.keys()


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    """A module imports only the rooms that the table allows to its room."""
    assert wrong_rooms(room_of(path), ast.parse(path.read_text())) == set()


def test_the_table_has_no_circle() -> None:
    """Rooms can be put in an order in which each imports only earlier ones, the lazy names of the package apart."""
    left = {room: needs - {"__init__"} for room, needs in ALLOWED.items()}
    while ready := {room for room, needs in left.items() if not needs & left.keys()}:
        left = {room: needs for room, needs in left.items() if room not in ready}

    assert left == {}


def test_nothing_imports_the_command_line() -> None:
    """The command line is a leaf: only ``python -m llmprep`` imports it."""
    assert [room for room, needs in ALLOWED.items() if "cli" in needs] == ["__main__"]


def test_no_permission_is_unused() -> None:
    """The table allows no import that nobody makes, so it shows the house as it is; the command line may use all."""
    made: dict[str, set[str]] = {room: set() for room in ALLOWED}
    for path in sources():
        rooms = {imported_room(name) for name in all_imports(ast.parse(path.read_text()))}
        made[room_of(path)] |= {room for room in rooms if room is not None}

    made["cli"] |= ALLOWED["cli"]
    assert {room: needs - made[room] for room, needs in ALLOWED.items() if needs - made[room]} == {}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_packages_stay_in_their_rooms(path: Path) -> None:
    """Only embedding, datasets and sampler import torch; tiktoken and rich are imported where they are used."""
    assert wrong_packages(room_of(path), ast.parse(path.read_text())) == set()


@pytest.mark.parametrize(
    ("package", "modules"),
    [
        ("pyarrow", {"documents/records.py"}),
        ("ray", {"executors.py"}),
        ("gigatoken", {"backends.py"}),
        ("tiktoken", {"backends.py"}),
    ],
)
def test_a_package_has_its_module(package: str, modules: set[str]) -> None:
    """Each library that reads or encodes is imported by one module, which hides it from the others."""
    users = {
        str(path.relative_to(PACKAGE))
        for path in sources()
        if any(name.partition(".")[0] == package for name in all_imports(ast.parse(path.read_text())))
    }

    # vocabulary reads tiktoken's list of models, and encodes nothing.
    assert users - {"vocabulary.py"} == modules


def early_rooms(tree: ast.Module) -> set[str]:
    """Rooms that a module imports when it is imported itself."""
    found = {imported_room(name) for name, at_import in imports(tree) if at_import}
    return {room for room in found if room is not None}


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda path: str(path.name))
def test_the_command_line_imports_stages_where_they_are_used(path: Path) -> None:
    """Commands import the stages inside their bodies, so that ``--help`` waits for none of them."""
    assert early_rooms(ast.parse(path.read_text())) <= {"__init__", "cli", "errors", "options", "preview"}


def test_records_are_read_where_there_are_some() -> None:
    """Reading plain text imports nothing of JSON Lines and Parquet: only a function imports the module of records."""
    for path in sources():
        for name, at_import in imports(ast.parse(path.read_text())):
            assert not (at_import and name.startswith("llmprep.documents.records")), path


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path: Path) -> None:
    """No other room touches standard output or error, but for the file that ``-o -`` writes."""
    allowed = {"sys.stdout"} if path == PACKAGE / "ptfile" / "output.py" else set()

    if room_of(path) != "cli":
        assert prints(ast.parse(path.read_text())) <= allowed


def test_a_file_to_standard_output_is_bytes() -> None:
    """The room ptfile writes to standard output's buffer and never its text."""
    tree = ast.parse((PACKAGE / "ptfile" / "output.py").read_text())
    used = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "sys.stdout"
    ]

    assert "buffer" in used
    assert set(used) <= {"buffer", "flush", "isatty"}


def test_only_one_module_prints() -> None:
    """Inside the command line, ``print`` is not used and one module writes."""
    trees = {path: ast.parse(path.read_text()) for path in sources()}
    writers = {
        path.name
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("print", "stream.write", "typer.echo", "typer.secho")
    }

    assert writers == {"show.py"}


def test_only_two_modules_have_a_console() -> None:
    """What rich writes goes through the one module that prints, and through the bar that shows how far a run is."""
    users = {
        str(path.relative_to(PACKAGE))
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Console", "Live", "Progress", "Status")
        if any(name.startswith("rich.") for name in all_imports(ast.parse(path.read_text())))
    }

    assert users == {"cli/show.py", "cli/progress.py"}


@pytest.mark.parametrize("package", sorted(PACKAGE.glob("*/__init__.py")), ids=lambda path: str(path.parent.name))
def test_a_package_says_what_each_module_does(package: Path) -> None:
    """The docstring of a package has a line for each of its modules, and for no other."""
    listed = re.findall(r"^ *(\w+\.py) +\S", ast.get_docstring(ast.parse(package.read_text())) or "", re.MULTILINE)

    assert sorted(listed) == sorted(path.name for path in package.parent.glob("*.py") if path != package)


def test_no_module_is_a_drawer() -> None:
    """No module is named for what it might hold."""
    names = {part for path in sources() for part in (path.stem, path.parent.name)}

    assert not names & {"utils", "util", "config", "base", "common", "helpers", "misc"}


# --- the rules can fail ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "source", "wrong"),
    [
        ("errors", "from llmprep.documents.source import Source", {"documents"}),
        ("documents", "def f():\n    import llmprep.tokens", {"tokens"}),
        ("backends", "if TYPE_CHECKING:\n    from llmprep.choices import Effort", {"tokens"}),
        ("vocabulary", "from llmprep.tokens.backends import Encoder", {"backends"}),
        ("estimate", "def f():\n    from llmprep.choices import Reading", {"inputs"}),
        ("backends", "from llmprep.documents.blocks import Block", set()),
        ("tokens", "from llmprep import kinds", {"kinds"}),
        ("kinds", "from llmprep.store.reading import TokenStore", {"store"}),
        ("ptfile", "from llmprep import __version__", {"__init__"}),
        ("windows", "from llmprep.cli.printer import Show", {"cli"}),
        ("windows", "from llmprep.errors import DataError", set()),
    ],
)
def test_a_wrong_import_is_seen(room: str, source: str, wrong: set[str]) -> None:
    """The check of imports finds what it is for, in each form of the statement."""
    assert wrong_rooms(room, ast.parse(source)) == wrong


@pytest.mark.parametrize(
    ("room", "source", "wrong"),
    [
        ("tokens", "import torch", {"torch"}),
        ("tokens", "def f():\n    from torch import nn", {"torch"}),
        ("tokens", "from tiktoken import Encoding", {"tiktoken"}),
        ("tokens", "def f():\n    from tiktoken import Encoding", {"tiktoken"}),
        ("backends", "def f():\n    from tiktoken import Encoding", set()),
        ("backends", "try:\n    import gigatoken\nexcept ImportError:\n    pass", {"gigatoken"}),
        ("estimate", "def f():\n    import gigatoken", {"gigatoken"}),
        ("documents", "from pyarrow.parquet import ParquetFile", {"pyarrow"}),
        ("documents", "def f():\n    from pyarrow.parquet import ParquetFile", set()),
        ("kinds", "def f():\n    import pyarrow", {"pyarrow"}),
        ("tokens", "class A:\n    import rich.text", {"rich"}),
        ("preview", "if TYPE_CHECKING:\n    from rich.text import Text", set()),
        ("preview", "if TYPE_CHECKING:\n    pass\nelse:\n    import rich", {"rich"}),
        ("datasets", "import torch.nn as nn", set()),
        ("cli", "import numpy", {"numpy"}),
    ],
)
def test_a_heavy_import_is_seen(room: str, source: str, wrong: set[str]) -> None:
    """The check of packages finds what it is for, and lets pass what only a type checker reads."""
    assert wrong_packages(room, ast.parse(source)) == wrong


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from llmprep.choices import Reading\nfrom llmprep import options", {"inputs", "options"}),
        ("def f():\n    from llmprep.choices import Reading", set()),
        ("if TYPE_CHECKING:\n    from llmprep.choices import Reading", set()),
        ("class A:\n    import llmprep.tokens", {"tokens"}),
    ],
)
def test_an_early_import_is_seen(source: str, found: set[str]) -> None:
    """The check of early imports tells them from those inside functions and those for type checkers."""
    assert early_rooms(ast.parse(source)) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("print('x')", {"print"}),
        ("import sys\nsys.stdout.write('x')", {"sys.stdout"}),
        ("import sys\ndef f():\n    g(file=sys.stderr)", {"sys.stderr"}),
        ("from sys import stdout", {"stdout"}),
        ("import sys\nsys.stdin.read()", set()),
        ("fingerprint('x')", set()),
    ],
)
def test_printing_is_seen(source: str, found: set[str]) -> None:
    """The check of printing finds what it is for."""
    assert prints(ast.parse(source)) == found


# --- what is public is documented -----------------------------------------------------------------


@pytest.mark.parametrize("name", llmprep.__all__)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    """Each name of ``__all__`` can be imported and says what it is; functions and classes show an example or more."""
    value = getattr(llmprep, name)

    assert inspect.getdoc(value)
    assert value.__module__.startswith("llmprep.")


def test_the_lists_of_public_names_agree() -> None:
    """``__all__``, the lazy names, ``dir`` and what type checkers see are the same list."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert sorted(llmprep.__all__) == sorted(seen) == sorted(llmprep._ROOMS)
    assert set(llmprep.__all__) <= set(dir(llmprep))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """A wrong name fails as with any module."""
    with pytest.raises(AttributeError, match="module 'llmprep' has no attribute 'create_dataloder'"):
        _ = llmprep.create_dataloder


def public_members(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Public functions and classes that a module defines, and the public methods of those classes."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value) or inspect.isclass(value):
            yield f"{module.__name__}.{name}", value
        if inspect.isclass(value):
            for method, member in vars(value).items():
                inner = member.fget if isinstance(member, property) else member
                if not method.startswith("_") and inspect.isfunction(inner):
                    yield f"{module.__name__}.{name}.{method}", inner


@pytest.mark.parametrize("module", modules(), ids=lambda module: str(module.__name__))
def test_everything_public_is_documented(module: ModuleType) -> None:
    """Every module, and every public function, class and method in it, has a docstring."""
    assert module.__doc__
    undocumented = [name for name, member in public_members(module) if not getattr(member, "__doc__", None)]

    # The steps of the pickle machine and the parts of private protocols are named after what they read.
    assert [name for name in undocumented if ".do_" not in name] == []


def test_there_is_something_public_in_each_stage() -> None:
    """The check above looks at real members: each stage has some."""
    rooms = {name.split(".")[1] for module in modules() for name, _ in public_members(module)}

    assert rooms >= ALLOWED.keys() - {"__init__", "__main__"}


def test_the_docstring_of_the_package_names_every_stage() -> None:
    """The picture in the package's docstring shows each stage of the road."""
    for stage in (
        "documents",
        "tokens",
        "windows",
        "kinds",
        "inputs",
        "store",
        "ptfile",
        "preview",
        "datasets",
        "embedding",
    ):
        assert stage in (llmprep.__doc__ or "")

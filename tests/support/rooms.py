"""The package as source code: its modules, what each imports, and the map of the rooms, llmprep/README.md.

Run it as ``python tests/support/rooms.py`` to draw the rooms in the map again; a test compares.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

PACKAGE = Path(__file__).parents[2] / "llmprep"
MAP = PACKAGE / "README.md"
DRAWN = re.compile(r"(?<=<!-- rooms -->\n).*(?=<!-- end of rooms -->)", re.DOTALL)


class Import(NamedTuple):
    """One imported name, as ``llmprep.errors.DataError``, and when it is imported."""

    name: str
    when: Literal["start", "use", "types"]


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package, by its dotted name in it: ``errors``, ``tokens``, ``tokens.stream``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def room_of(module: str) -> str:
    """The room that a module lies in: a folder of the package, or a module beside the folders."""
    return module.partition(".")[0]


def imports(tree: ast.AST, when: Literal["start", "use", "types"] = "start") -> Iterator[Import]:
    """All that a module imports: when it is imported itself, when a function is used, or for type checkers alone."""
    match tree:
        case ast.Import(names=names):
            yield from (Import(alias.name, when) for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            yield from (Import(f"{'.' * level}{module}.{alias.name}", when) for alias in names)
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=orelse):
            yield from imports(ast.Module(body, []), "types")
            yield from imports(ast.Module(orelse, []), when)
        case _:
            inside = isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(tree):
                yield from imports(child, "use" if inside else when)


def arrows() -> dict[str, set[str]]:
    """The table of imports that the map shows: each room, in its order, with the rooms that it may import."""
    drawn = re.findall(r"^([a-z]+(?:, [a-z]+)*) +<-((?: [a-z]+)*)$", MAP.read_text(encoding="utf-8"), re.MULTILINE)
    rooms = {room: set(allowed.split()) for names, allowed in drawn for room in names.split(", ")}
    return {room: rooms.keys() - {room} if allowed == {"everything"} else allowed for room, allowed in rooms.items()}


def draw() -> str:
    """The rooms in the order of the table of imports, each as its docstring draws it."""
    drawn = ""
    for room in arrows():
        docstring = ast.get_docstring(modules()[room]) or ""
        if (PACKAGE / room).is_dir():
            drawn += f"\n### {room}/\n\n```text\n{docstring}\n```\n"
        else:
            drawn += f"\n### {room}.py\n\n{docstring.splitlines()[0]}\n"
    return f"{drawn}\n"


if __name__ == "__main__":
    MAP.write_text(DRAWN.sub(lambda _: draw(), MAP.read_text(encoding="utf-8")), encoding="utf-8")

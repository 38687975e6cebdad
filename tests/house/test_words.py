"""Promises of the house: names say what they hold, what is public is documented, the lists of it agree."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType

import pytest
from support.rooms import arrows, modules, room_of

import llmprep

MODULES = modules()


def public_members(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Public functions and classes that a module defines, and the public methods of those classes."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value) or inspect.isclass(value):
            yield name, value
        if inspect.isclass(value):
            for method, member in vars(value).items():
                inner = member.fget if isinstance(member, property) else member
                if not method.startswith("_") and inspect.isfunction(inner):
                    yield f"{name}.{method}", inner


def test_no_module_is_a_drawer() -> None:
    """No room and no module is named for what it might hold."""
    drawers = {"utils", "util", "config", "base", "common", "helpers", "misc"}
    assert {part for module in MODULES for part in module.split(".")} & drawers == set()


def test_everything_public_is_documented() -> None:
    """Every module, and every public function, class and method in it, has a docstring; each room has some."""
    rooms = set()
    for name in MODULES.keys() - {"__init__", "__main__"}:
        module = importlib.import_module(f"llmprep.{name}")
        members = dict(public_members(module))
        rooms |= {room_of(name)} if members else set()
        undocumented = [member for member, value in members.items() if not getattr(value, "__doc__", None)]
        assert module.__doc__, name
        assert [member for member in undocumented if ".do_" not in member] == [], name  # steps of the pickle machine

    assert rooms == {room_of(name) for name in MODULES} - {"__init__", "__main__"}


def test_the_lists_of_public_names_agree() -> None:
    """``__all__``, the names imported on first use, ``dir`` and what type checkers see are one list, all documented."""
    (checked,) = (node for node in MODULES["__init__"].body if isinstance(node, ast.If))
    seen = {alias.name for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert sorted(llmprep.__all__) == sorted(seen) == sorted(llmprep._ROOMS)
    assert set(llmprep.__all__) <= set(dir(llmprep))
    assert all(inspect.getdoc(getattr(llmprep, name)) for name in llmprep.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """A wrong name fails as with any module."""
    with pytest.raises(AttributeError, match="module 'llmprep' has no attribute 'create_dataloder'"):
        _ = llmprep.create_dataloder


def test_the_docstring_of_the_package_names_every_stage() -> None:
    """The picture in the package's docstring shows each room that data goes through."""
    stages = arrows().keys() - {"errors", "choices", "output", "cli"}

    assert {stage for stage in stages if stage not in (llmprep.__doc__ or "")} == set()

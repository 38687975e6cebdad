"""Promises of the house: names say what they hold, what is public is documented, the lists of it agree."""

import ast
import inspect

import pytest
from support.rooms import arrows, modules

import llmprep

MODULES = modules()


def test_no_module_is_a_drawer() -> None:
    """No room and no module is named for what it might hold."""
    drawers = {"utils", "util", "config", "base", "common", "helpers", "misc"}
    assert {part for module in MODULES for part in module.split(".")} & drawers == set()


def test_everything_public_is_documented() -> None:
    """Every module, and every public function, class and method in it, has a docstring."""
    for name, tree in MODULES.items():
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        members = [*tree.body, *(member for node in classes for member in node.body)]
        named = [node for node in members if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        public = [node for node in named if not node.name.startswith(("_", "do_"))]  # steps of the pickle machine
        assert [node.name for node in public if not ast.get_docstring(node)] == [], name
        assert ast.get_docstring(tree), name


def test_the_lists_of_public_names_agree() -> None:
    """``__all__``, the names imported on first use, ``dir`` and what type checkers see are one list."""
    (checked,) = (node for node in MODULES["__init__"].body if isinstance(node, ast.If))
    seen = {alias.name for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(llmprep.__all__) == sorted(seen) == sorted(llmprep._ROOMS)
    assert {*llmprep.__all__, "__version__"} == set(dir(llmprep))
    assert all(inspect.getdoc(getattr(llmprep, name)) for name in llmprep.__all__)
    with pytest.raises(AttributeError, match="module 'llmprep' has no attribute 'create_dataloder'"):
        _ = llmprep.create_dataloder


def test_the_docstring_of_the_package_names_every_stage() -> None:
    """The picture in the package's docstring shows each room that data goes through."""
    stages = arrows().keys() - {"errors", "choices", "missing", "output", "cli"}
    assert {stage for stage in stages if stage not in (llmprep.__doc__ or "")} == set()

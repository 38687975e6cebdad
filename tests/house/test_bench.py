"""Promises of ``make bench``: it uses llmprep as anyone does, runs to its end, and fails when llmprep does."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.commands import ROOT, clean_environment

import llmprep

BENCH = ROOT / "tests" / "bench"


def bench(script: str, folder: Path, **variables: str) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Run a script of the bench on 1 MB, one round, in a folder of the test's own; how it ended, and what it wrote."""
    command = [sys.executable, str(BENCH / script), "1", "--rounds", "1"]
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(variables), capture_output=True, text=True, check=False
    )
    (written,) = (folder / "build").glob("bench*.json")
    return done, json.loads(written.read_text(encoding="utf-8"))


def results(written: Any) -> dict[str, Any]:
    """What each contestant got, by name."""
    return {result["name"]: result for result in written["megabytes"]["1"]}


def break_llmprep(folder: Path) -> None:
    """Make a package of that name that cannot be used."""
    (folder / "llmprep").mkdir(parents=True)
    (folder / "llmprep" / "__init__.py").write_text('raise SystemExit("broken on purpose")\n', encoding="utf-8")
    (folder / "llmprep" / "__main__.py").touch()


@pytest.mark.parametrize("path", sorted(BENCH.glob("*.py")), ids=lambda path: path.name)
def test_only_public_names_are_used(path: Path) -> None:
    """The bench imports nothing of llmprep but its public names, by no other way either."""
    source = path.read_text(encoding="utf-8")
    taken: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            taken |= {f"{module}{alias.name}" for alias in node.names}

    ours = {name for name in taken if name.partition(".")[0] == "llmprep"}
    assert ours <= {f"llmprep.{name}" for name in llmprep.__all__}
    assert "import_module" not in source


@pytest.mark.slow
def test_every_contestant_runs(tmp_path: Path) -> None:
    """All that is installed gives a result; llmprep and what needs no more than it does must; the rest is listed."""
    done, written = bench("run.py", tmp_path)

    assert done.returncode == 0, done.stderr
    found = results(written)
    ours = [name for name in found if name.startswith("llmprep")]
    assert len(ours) >= 5
    for name in (*ours, "textbook", "bare tiktoken", "nanoGPT"):
        assert (name, found[name]["error"], len(found[name]["runs"])) == (name, "", 1)
        assert found[name]["runs"][0]["tokens"] == found["textbook"]["runs"][0]["tokens"] > 200_000
    for name in (name for name in ("datasets", "litdata", "datatrove") if find_spec(name) is None):
        assert found[name]["error"].startswith("not installed: ")
        assert f"{name}: not installed: " in done.stdout


@pytest.mark.slow
def test_every_loader_runs(tmp_path: Path) -> None:
    """Ours and the plain loops yield windows of the stream; litdata is listed if it is not installed."""
    done, written = bench("loaders.py", tmp_path)

    assert done.returncode == 0, done.stderr
    rates = written["windows_per_second"]
    assert rates.keys() >= {"memmap loop", "plain array loop", "llmprep", "llmprep, 2 workers"}
    assert min(rates.values()) > 0
    if find_spec("litdata") is None:
        assert set(written["failed"].values()) == {"not installed"}


@pytest.mark.slow
def test_a_contestant_of_ours_that_fails_fails_the_bench(tmp_path: Path) -> None:
    """Where the llmprep command is broken the others are measured, the reason is shown, and the exit code is 1."""
    break_llmprep(tmp_path)  # `python -m` looks in the current folder first

    done, written = bench("run.py", tmp_path)

    assert done.returncode == 1
    assert "failed: llmprep: broken on purpose" in done.stderr
    assert results(written)["textbook"]["error"] == ""
    assert results(written)["llmprep uint16"]["error"] == "broken on purpose"


@pytest.mark.slow
def test_a_loader_of_ours_that_fails_fails_the_bench(tmp_path: Path) -> None:
    """The same for loaders, where the store could be built but llmprep cannot be imported."""
    (tmp_path / "llmprep").symlink_to(ROOT / "llmprep")
    break_llmprep(tmp_path / "broken")

    done, written = bench("loaders.py", tmp_path, PYTHONPATH=str(tmp_path / "broken"))

    assert done.returncode == 1
    assert written["failed"]["llmprep"] == "failed: broken on purpose"
    assert written["windows_per_second"]["memmap loop"] > 0

"""Promises of ``make bench``: it uses llmprep as anyone does, runs to its end, and fails when llmprep does."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.commands import ROOT, clean_environment

import llmprep

BENCH = ROOT / "tests" / "bench"
PEERS = {"datasets": "datasets", "litdata": "litdata", "datatrove": "datatrove"}


def bench(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the bench on 1 MB, one round, in a folder of the test's own."""
    return subprocess.run(
        [sys.executable, str(BENCH / script), "1", "--rounds", "1"],
        cwd=folder,
        env=clean_environment({"PATH": os.environ["PATH"], **variables}),
        capture_output=True,
        text=True,
        check=False,
    )


def written(folder: Path, name: str) -> Any:
    """Read what the bench wrote."""
    return json.loads((folder / "build" / name).read_text(encoding="utf-8"))


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
        if isinstance(node, ast.Import):
            taken |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            taken |= {f"{node.module}.{alias.name}" for alias in node.names}

    ours = {name for name in taken if name.partition(".")[0] == "llmprep"}
    assert ours <= {f"llmprep.{name}" for name in llmprep.__all__}
    assert "import_module" not in source


@pytest.mark.slow
def test_every_contestant_runs(tmp_path: Path) -> None:
    """All that is installed gives a result; llmprep and what needs no more than it does must; the rest is listed."""
    done = bench("run.py", tmp_path)

    assert done.returncode == 0, done.stderr
    results = {result["name"]: result for result in written(tmp_path, "bench.json")["megabytes"]["1"]}
    ours = [name for name in results if name.startswith("llmprep")]
    assert len(ours) >= 5
    for name in (*ours, "textbook", "bare tiktoken", "nanoGPT"):
        assert (name, results[name]["error"], len(results[name]["runs"])) == (name, "", 1)
        assert results[name]["runs"][0]["tokens"] == results["textbook"]["runs"][0]["tokens"] > 200_000
    for name in (name for name, module in PEERS.items() if find_spec(module) is None):
        assert results[name]["error"].startswith("not installed: ")
        assert f"{name}: not installed: " in done.stdout
    assert (tmp_path / "build" / "bench.svg").stat().st_size > 0


@pytest.mark.slow
def test_every_loader_runs(tmp_path: Path) -> None:
    """Ours and the plain loops yield windows of the stream; litdata is listed if it is not installed."""
    done = bench("loaders.py", tmp_path)

    assert done.returncode == 0, done.stderr
    values = written(tmp_path, "bench-loaders.json")
    rates = values["windows_per_second"]
    assert rates.keys() >= {"memmap loop", "plain array loop", "llmprep", "llmprep, 2 workers"}
    assert min(rates.values()) > 0
    if find_spec("litdata") is None:
        assert set(values["failed"].values()) == {"not installed"}


@pytest.mark.slow
def test_a_contestant_of_ours_that_fails_fails_the_bench(tmp_path: Path) -> None:
    """Where the llmprep command is broken the others are measured, the reason is shown, and the exit code is 1."""
    break_llmprep(tmp_path)  # `python -m` looks in the current folder first

    done = bench("run.py", tmp_path)

    assert done.returncode == 1
    assert "failed: llmprep: broken on purpose" in done.stderr
    results = {result["name"]: result["error"] for result in written(tmp_path, "bench.json")["megabytes"]["1"]}
    assert (results["textbook"], results["llmprep uint16"]) == ("", "broken on purpose")


@pytest.mark.slow
def test_a_loader_of_ours_that_fails_fails_the_bench(tmp_path: Path) -> None:
    """The same for loaders, where the store could be built but llmprep cannot be imported."""
    (tmp_path / "llmprep").symlink_to(ROOT / "llmprep")
    break_llmprep(tmp_path / "broken")

    done = bench("loaders.py", tmp_path, PYTHONPATH=str(tmp_path / "broken"))

    assert done.returncode == 1
    values = written(tmp_path, "bench-loaders.json")
    assert values["failed"]["llmprep"] == "failed: broken on purpose"
    assert values["windows_per_second"]["memmap loop"] > 0

"""Promises of ``make bench``: it uses llmprep as anyone does, runs to its end, and fails when llmprep does."""

import ast
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.commands import ROOT, clean_environment
from support.rooms import imports

import llmprep

BENCH = ROOT / "tests" / "bench"


def bench(script: str, folder: Path, *options: str, **variables: str) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Run a script of the bench on 1 MB, one round, in a folder of the test's own; how it ended, and what it wrote."""
    done = subprocess.run(
        [sys.executable, str(BENCH / script), "1", "--rounds", "1", *options],
        cwd=folder, env=clean_environment(variables), capture_output=True, text=True, check=False,
    )  # fmt: skip
    (written,) = (folder / "build").glob("*.json")
    return done, json.loads(written.read_text(encoding="utf-8"))


def break_llmprep(folder: Path) -> None:
    """Make a package of that name that cannot be used."""
    (folder / "llmprep").mkdir(parents=True)
    (folder / "llmprep" / "__init__.py").write_text('raise SystemExit("broken on purpose")\n', encoding="utf-8")
    (folder / "llmprep" / "__main__.py").touch()


def test_only_public_names_are_used() -> None:
    """The bench imports nothing of llmprep but its public names, by no other way either."""
    sources = [path.read_text(encoding="utf-8") for path in BENCH.glob("*.py")]
    taken = {name for source in sources for name, _ in imports(ast.parse(source))}
    ours = {name for name in taken if name.partition(".")[0] == "llmprep"}
    assert set() < ours <= {f"llmprep.{name}" for name in llmprep.__all__}
    assert not any("import_module" in source for source in sources)


@pytest.mark.slow
def test_every_contestant_runs(tmp_path: Path) -> None:
    """All give the textbook way's number of tokens."""
    done, written = bench("run.py", tmp_path)
    assert done.returncode == 0, done.stderr
    found = {result["name"]: result for result in written["megabytes"]["1"]}
    assert sum(name.startswith("llmprep") for name in found) >= 4
    for name, result in found.items():
        assert (name, result["error"], len(result["runs"])) == (name, "", 1)
        assert result["runs"][0]["tokens"] == found["textbook"]["runs"][0]["tokens"] > 200_000


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
@pytest.mark.skipif(None in map(find_spec, ("gigatoken", "pyarrow")), reason="takes gigatoken and pyarrow")
def test_every_limit_is_measured(tmp_path: Path) -> None:
    """Stores of each kind of text and file have the floor's tokens; all other commands run too.

    In the chart each has its bar that was compared with a bound: at this size some are too fast beside their start-up.
    """
    done, written = bench("limits.py", tmp_path, "--only", "1 job, english|embed|pairs|inspect|files|merge|--help")
    assert done.returncode == 0, done.stderr
    assert len(written["limits"]) == 10
    assert {row["error"] for row in written["limits"]} <= {"", "too fast beside its start-up"}
    bars = sum(bool(row.get("share") and row["unit"]) for row in written["limits"] if not row["error"])
    chart = (tmp_path / "build" / "limits.svg").read_text(encoding="utf-8")
    assert (chart.startswith("<svg "), chart.endswith("</svg>\n"), chart.count('fill="#4477aa"')) == (True, True, bars)


@pytest.mark.slow
def test_a_contestant_of_ours_that_fails_fails_the_bench(tmp_path: Path) -> None:
    """Where llmprep is broken the others are measured, the reason is shown, and the exit code is 1; so for loaders."""
    break_llmprep(tmp_path / "race")  # `python -m` looks in the current folder first
    (tmp_path / "llmprep").symlink_to(ROOT / "llmprep")  # by which the store can be built
    break_llmprep(tmp_path / "broken")

    raced, results = bench("run.py", tmp_path / "race")
    loaded, loaders = bench("loaders.py", tmp_path, PYTHONPATH=str(tmp_path / "broken"))

    errors = {result["name"]: result["error"] for result in results["megabytes"]["1"]}
    assert (raced.returncode, errors["textbook"], errors["llmprep uint16"]) == (1, "", "broken on purpose")
    assert "failed: llmprep: broken on purpose" in raced.stderr
    assert (loaded.returncode, loaders["failed"]["llmprep"]) == (1, "broken on purpose")
    assert loaders["windows_per_second"]["memmap loop"] > 0

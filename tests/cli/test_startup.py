"""Promises of the start: only what computes with torch imports torch, and the current folder's modules are never run.

A small file costs tenths of a second. Times are ratios to ``import torch`` in the same Python, measured in turn, so
that they hold on any machine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from support.app import COMMANDS
from support.commands import ROOT, clean_environment, run_llmprep

HEAVY = {"torch", "numpy", "tiktoken", "gigatoken", "rich"}
LOADED = f"print(*sorted({HEAVY} & set(sys.modules)), file=sys.stderr)"
HERE = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
"""Folders that Python is told to search, as where this very checkout is tested without being installed."""


def python(arguments: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> list[str]:
    """Run this Python in a folder, as a user with no settings and nothing that measures along; returns its errors."""
    environment = {name: value for name, value in clean_environment(env).items() if not name.startswith("COV")}
    command = [sys.executable, *arguments]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True, timeout=120)
    return ended.stderr.decode().splitlines()


# --- what is imported -----------------------------------------------------------------------------


def test_commands_load_what_they_need(story: Path, tmp_path: Path) -> None:
    """Help and version load nothing heavy; all commands but ``embed`` need no torch, and in a pipe no rich."""
    light = [["--version"], ["--help"], *([name, "--help"] for name in COMMANDS)]
    lines = [
        *light,
        *([command, str(story), "-o", f"{command}.pt"] for command in ("tokenize", "pairs", "window")),
        ["window", "tokenize.pt", "--json"],
        ["tokenize", "window.pt", "-q"],
        ["pairs", "window.pt"],
        ["tokenize", str(story), "-o", "s/", "--jobs", "1"],
        ["inspect", "window.pt", "--verify"],
        ["inspect", "s"],
    ]
    each = f"for line in {lines}:\n  assert run(line) == 0, line; {LOADED}"

    *loaded, last = python(["-c", f"import sys; from llmprep.cli.main import run\n{each}"], tmp_path)

    assert loaded[: len(light)] == [""] * len(light)
    assert len(loaded) == len(lines) - 1
    assert set(last.split()) - {"gigatoken"} == {"numpy", "tiktoken"}  # what was ever loaded is in the last list


@pytest.mark.parametrize("arguments", [["-m", "llmprep", "--version"], ["-c", "import llmprep"]], ids=" ".join)
def test_the_package_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    """Neither the way to the command line nor the bare package needs anything heavy, as Python itself lists imports."""
    listed = python(["-X", "importtime", *arguments], tmp_path)

    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in listed if line.startswith("import time:")}
    assert "llmprep" in names
    assert names & HEAVY == set()


def test_public_names_load_what_they_need(tmp_path: Path) -> None:
    """Each public name is there on first use, and only those that compute with torch load it."""
    script = (
        f"import sys, llmprep; assert set(llmprep.__all__) <= set(dir(llmprep)); {LOADED}\n"
        f"llmprep.encode_text('a'); {LOADED}"
    )

    bare, encoding = python(["-c", script], tmp_path)

    assert (bare, set(encoding.split()) & {"torch", "rich", "tiktoken"}) == ("", {"tiktoken"})


@pytest.mark.slow
def test_the_list_of_what_is_loaded_names_torch(tmp_path: Path) -> None:
    """Where torch is imported the tests above would see it."""
    assert "torch" in python(["-c", f"import sys; from llmprep import create_dataloader; {LOADED}"], tmp_path)[-1]


RUNS, ATTEMPTS = 5, 3
LIMITS = {"--help": 0.15, "window {} --max-length 4 --stride 4": 0.35, "pairs {}": 0.35}


@pytest.mark.slow
def test_a_small_file_costs_a_part_of_importing_torch(story: Path, tmp_path: Path) -> None:
    """``--help`` costs at most 0.15 of ``import torch``, and windowing or showing a short story at most 0.35."""
    own = [["-m", "llmprep", *line.format(story).split()] for line in LIMITS]
    for _ in range(ATTEMPTS):
        torch_time, *times = measure([["-c", "import torch"], *own], tmp_path)
        ratios = {line: seconds / torch_time for line, seconds in zip(LIMITS, times, strict=True)}
        too_slow = {line: ratio for line, ratio in ratios.items() if ratio > LIMITS[line]}
        if not too_slow:
            break
    assert too_slow == {}


def measure(commands: Sequence[Sequence[str]], folder: Path) -> list[float]:
    """The median time of each command, warm; the commands take turns, so that a busy moment hits all alike."""
    times: list[list[float]] = [[] for _ in commands]
    for turn in range(RUNS + 1):
        for taken, command in zip(times, commands, strict=True):
            start = time.perf_counter()
            python(command, folder)
            if turn:  # the first turn only warms the caches
                taken.append(time.perf_counter() - start)
    return list(map(statistics.median, times))


# --- the current folder ---------------------------------------------------------------------------

OTHERS = {"llmprep", "numpy", "tiktoken", "regex", "rich", "typer", "click", "gigatoken", "torch", "pyarrow", "ray"}
MODULE = (sys.executable, "-m", "llmprep")
COMMAND = (str(Path(sys.executable).parent / "llmprep"),)


def lay_traps(folder: Path, names: set[str]) -> Path:
    """Make a folder of modules that leave a mark when they are run, and then stop what runs them; return the mark."""
    folder.mkdir()
    mark = folder.with_suffix(".ran")
    for name in sorted(names):
        (folder / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write('{name} ')\nraise SystemExit(99)\n")
    return mark


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "jobs", "paths"),
    [(COMMAND, "1", HERE), (COMMAND, "2", HERE), (MODULE, "1", HERE), (MODULE, "2", HERE), (COMMAND, "2", ["", *HERE])],
    ids=["command", "command with workers", "module", "module with workers", "an empty item of PYTHONPATH"],
)
def test_no_module_of_the_current_folder_is_run(
    command: Sequence[str], jobs: str, paths: list[str], tmp_path: Path
) -> None:
    """A folder of Python code is text: none of it is run, by the command, a worker or what watches the workers."""
    (tmp_path / "probe.py").write_text("import re, sys\nprint(*sys.modules, file=sys.stderr)")  # as pip's scripts do
    early = {*python(["-m", "probe"], tmp_path)[0].split(), "llmprep"}  # imported before any line of ours
    python_searches = command is MODULE or paths != HERE
    mark = lay_traps(tmp_path / "code", ({*sys.stdlib_module_names} | OTHERS) - (early if python_searches else set()))

    ended = subprocess.run(
        [*command, "tokenize", ".", "-o", "../store/", "--shard-bytes", "9000", "--jobs", jobs],
        cwd=tmp_path / "code", env=clean_environment({"PYTHONPATH": os.pathsep.join(paths)} if paths else {}),
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip

    assert (ended.returncode, ended.stderr, mark.exists()) == (0, b"", False)
    assert len(list((tmp_path / "store").glob("tokens-*.pt"))) > 2


def test_a_trap_in_the_current_folder_can_be_run(tmp_path: Path) -> None:
    """The traps of the test above do work, where the folder is named on purpose: PYTHONPATH is the user's word."""
    mark = lay_traps(tmp_path / "code", {"tiktoken"})
    (tmp_path / "code" / "a.txt").write_text("some text")
    paths = os.pathsep.join([str(tmp_path / "code"), *HERE])

    run_llmprep("tokenize", "a.txt", cwd=tmp_path / "code", env={"PYTHONPATH": paths})

    assert mark.read_text() == "tiktoken "


@pytest.mark.slow
def test_a_checkout_that_is_not_installed_has_workers_too(story: Path, tmp_path: Path) -> None:
    """Where the package itself comes from the current folder, its workers find it there."""
    installed = os.pathsep.join(path for path in sys.path if "site-packages" in path)
    line = ["tokenize", str(story), "-o", str(tmp_path / "store/"), "--shard-bytes", "9000", "--jobs", "2"]

    assert python(["-S", "-m", "llmprep", *line], ROOT, {"PYTHONPATH": installed}) == []


# --- a library that cannot be loaded --------------------------------------------------------------

BROKEN = [
    ("typer", "raise SyntaxError('not for this Python')", "not for this Python;"),
    ("numpy", "raise RuntimeError", "RuntimeError;"),
    ("torch", "raise OSError('libcudart.so.13: cannot open shared object file')", "libcudart.so.13: cannot open "),
    ("torch", "raise ImportError('libtorch_cpu.so:\\n\\x1b[1m missing')", r"libtorch_cpu.so: \x1b[1m missing;"),
    ("torch", "import a_part_of_it", "No module named 'a_part_of_it';"),
    ("torch", "raise ImportError('failed to map segment from shared object')", ""),
    ("torch", "", "cannot import name 'Tensor' from 'torch'"),
]
"""A library, what it does when it is imported, and the reason that is shown; the last one stays loaded."""


def test_a_library_that_cannot_be_loaded_is_named(story: Path, tmp_path: Path) -> None:
    """Whatever its import ends in, a line says which library, why and what to do, but for a lack of memory."""
    folders = [tmp_path / f"broken-{number}" for number in range(len(BROKEN))]
    for folder, (name, code, _) in zip(folders, BROKEN, strict=True):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(code)
    script = (
        "import sys; from llmprep.cli.main import run\n"
        "for folder in sys.argv[2:]:\n"
        "  sys.path.insert(0, folder); assert run(['embed', sys.argv[1], '--max-length', '4']) == 1; del sys.path[0]"
    )

    lines = python(["-c", script, str(story), *map(str, folders)], tmp_path)

    for line, (name, _, reason) in zip(lines, BROKEN, strict=True):
        if reason:
            assert line.startswith(f"llmprep: error: {name} cannot be loaded: {reason}")
            assert line.endswith(f"; reinstall it: pip install --force-reinstall {name}")
        else:
            assert line.startswith("llmprep: error: out of memory")
    assert list(tmp_path.glob("*.pt")) == []


def test_all_but_embed_work_without_torch(story: Path, tmp_path: Path) -> None:
    """Texts, pairs, windows and stores are made, read, shown and verified where torch cannot be loaded."""
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    lines = [
        ["tokenize", str(story), "-o", "t.pt"],
        ["tokenize", str(story), "-o", "store/", "--shard-bytes", "9000", "--jobs", "2"],
        ["pairs", "store", "-o", "p.pt"],
        ["window", "store", "--max-length", "4", "-o", "w.pt"],
        *(["inspect", name, "--verify"] for name in ("t.pt", "store", "p.pt", "w.pt")),
    ]
    script = f"from llmprep.cli.main import run\nassert [run([*line, '-q']) for line in {json.dumps(lines)}] == [0] * 8"

    assert python(["-c", script], tmp_path, {"PYTHONPATH": os.pathsep.join([str(tmp_path), *HERE])}) == []

"""Promises of the start: only what computes with torch imports torch, and the current folder's modules are never run.

A small file costs tenths of a second. Times are ratios to ``import torch`` in the same Python, measured in turn, so
that they hold on any machine.
"""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from support.commands import ROOT, clean_environment, run_llmprep

RUNS = 5
ATTEMPTS = 3

IMPORT_TORCH = ("-c", "import torch")
HELP = ("-m", "llmprep", "--help")
VERSION = ("-m", "llmprep", "--version")


def python(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Run this Python in a folder, as a user would: no settings, and nothing that measures along."""
    environment = {name: value for name, value in clean_environment().items() if not name.startswith("COV")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True, timeout=120)


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


def best_ratios(commands: Sequence[Sequence[str]], limits: Sequence[float], folder: Path) -> list[float]:
    """Each command's time over that of ``import torch``, from the first attempt within all limits, or the last."""
    ratios: list[float] = []
    for _ in range(ATTEMPTS):
        torch_time, *own = measure([IMPORT_TORCH, *commands], folder)
        ratios = [seconds / torch_time for seconds in own]
        if all(ratio <= limit for ratio, limit in zip(ratios, limits, strict=True)):
            break
    return ratios


@pytest.mark.slow
def test_a_small_file_costs_a_part_of_importing_torch(story: Path, tmp_path: Path) -> None:
    """``--help`` costs at most 0.15 of ``import torch``, and windowing or showing a short story at most 0.35."""
    window = ("-m", "llmprep", "window", str(story), "--max-length", "4", "--stride", "4")
    pairs = ("-m", "llmprep", "pairs", str(story))
    limits = {"help": 0.15, "window": 0.35, "pairs": 0.35}

    ratios = dict(zip(limits, best_ratios([HELP, window, pairs], list(limits.values()), tmp_path), strict=True))

    assert {name: ratio for name, ratio in ratios.items() if ratio > limits[name]} == {}


def imported(arguments: Sequence[str], folder: Path) -> set[str]:
    """Top-level packages that a command imports, as Python's own ``-X importtime`` lists them."""
    listed = python(["-X", "importtime", *arguments], folder).stderr.decode().splitlines()
    names = (line.rpartition("|")[2].strip() for line in listed if line.startswith("import time:"))
    return {name.partition(".")[0] for name in names}


HEAVY = {"torch", "numpy", "tiktoken", "gigatoken", "rich"}


@pytest.mark.parametrize("arguments", [HELP, VERSION, ("-m", "llmprep", "window", "--help"), ("-c", "import llmprep")])
def test_what_computes_nothing_imports_nothing_heavy(arguments: Sequence[str], tmp_path: Path) -> None:
    """Help, version, a command's help and the bare package need neither torch, numpy, tiktoken nor rich."""
    assert imported(arguments, tmp_path) & HEAVY == set()


@pytest.mark.parametrize("command", ["tokenize", "window", "pairs"])
@pytest.mark.parametrize("options", [[], ["--json"], ["-q"]])
def test_what_needs_no_tensors_imports_no_torch(command: str, options: list[str], story: Path, tmp_path: Path) -> None:
    """The three commands before ``embed`` run without torch, and in a pipe without rich."""
    found = imported(["-m", "llmprep", command, str(story), *options], tmp_path)

    assert "numpy" in found
    assert found & {"torch", "rich"} == set()


def test_files_are_read_without_torch(story: Path, tmp_path: Path) -> None:
    """Tokens and windows files are read back without torch too."""
    python(["-m", "llmprep", "tokenize", str(story), "-o", "story.tokens.pt"], tmp_path)
    python(["-m", "llmprep", "window", "story.tokens.pt", "--max-length", "4"], tmp_path)

    for command in (["window", "story.tokens.pt"], ["tokenize", "story.windows.pt"], ["pairs", "story.windows.pt"]):
        assert "torch" not in imported(["-m", "llmprep", *command, "-o", "out.pt"], tmp_path)


@pytest.mark.slow
def test_the_watch_can_find_torch(tmp_path: Path) -> None:
    """The list of imports does name torch where torch is imported, so the tests above can fail."""
    found = functools.partial(imported, folder=tmp_path)

    assert {"torch", "numpy"} <= found(["-c", "from llmprep import create_dataloader"])
    assert "tiktoken" in found(["-c", "import llmprep; llmprep.encode_text('a')"])


# --- the current folder ----------------------------------------------------------------------------

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


@pytest.fixture(scope="module")
def unavoidable(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What ``python -m`` or pip's script imports before any line of ours, which may come from the current folder."""
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.py").write_text("import re, sys\nprint(*sys.modules)")  # as the scripts that pip makes do
    return {*python(["-m", "probe"], folder).stdout.decode().split(), "llmprep"}


@pytest.mark.parametrize(
    ("command", "environment"),
    [(COMMAND, {}), (MODULE, {}), (COMMAND, {"PYTHONPATH": f"{os.pathsep}/nowhere"})],
    ids=["command", "module", "an empty item of PYTHONPATH"],
)
def test_no_module_of_the_current_folder_is_run(
    command: Sequence[str], environment: Mapping[str, str], unavoidable: set[str], tmp_path: Path
) -> None:
    """A folder of Python code is text: none of it is run, by the command, a worker or what watches the workers."""
    by_python = unavoidable if environment or command is MODULE else set()
    mark = lay_traps(tmp_path / "code", ({*sys.stdlib_module_names} | OTHERS) - by_python)

    for jobs in ("2",) if environment else ("1", "2"):
        arguments = ["tokenize", ".", "-o", f"../{jobs}/", "--shard-bytes", "9000", "--jobs", jobs]
        ended = subprocess.run(
            [*command, *arguments], cwd=tmp_path / "code", env=clean_environment(environment), capture_output=True,
            check=False, timeout=60,
        )  # fmt: skip

        assert (ended.returncode, ended.stderr, mark.exists()) == (0, b"", False)
        assert len(list((tmp_path / jobs).glob("tokens-*.pt"))) > 2


def test_a_trap_in_the_current_folder_can_be_run(tmp_path: Path) -> None:
    """The traps of the test above do work, where the folder is named on purpose: PYTHONPATH is the user's word."""
    mark = lay_traps(tmp_path / "code", {"tiktoken"})
    (tmp_path / "code" / "a.txt").write_text("some text")

    run_llmprep("tokenize", "a.txt", cwd=tmp_path / "code", env={"PYTHONPATH": str(tmp_path / "code")})

    assert mark.read_text() == "tiktoken "


def test_a_checkout_that_is_not_installed_has_workers_too(story: Path, tmp_path: Path) -> None:
    """Where the package itself comes from the current folder, its workers find it there."""
    command = [sys.executable, "-S", "-m", "llmprep", "tokenize", str(story), "-o", str(tmp_path / "store/")]
    paths = clean_environment({"PYTHONPATH": os.pathsep.join(path for path in sys.path if "site-packages" in path)})

    ended = subprocess.run(
        [*command, "--shard-bytes", "9000", "--jobs", "2"], cwd=ROOT, env=paths, capture_output=True, check=False
    )

    assert (ended.returncode, ended.stderr) == (0, b"")


# --- a library that cannot be loaded ---------------------------------------------------------------


def break_library(name: str, code: str, folder: Path) -> dict[str, str]:
    """Make a package of that name that runs some code, and return the environment in which it comes first."""
    (folder / "broken" / name).mkdir(parents=True)
    (folder / "broken" / name / "__init__.py").write_text(code)
    return {"PYTHONPATH": str(folder / "broken")}


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("torch", "raise OSError('libcudart.so.13: cannot open shared object file')", "libcudart.so.13: cannot open "),
        ("torch", "raise ImportError('libtorch_cpu.so:\\n\\x1b[1m missing')", r"libtorch_cpu.so: \x1b[1m missing;"),
        ("torch", "import a_part_of_it", "No module named 'a_part_of_it';"),
        ("torch", "", "cannot import name 'Tensor' from 'torch'"),
        ("numpy", "raise RuntimeError", "RuntimeError;"),
        ("typer", "raise SyntaxError('not for this Python')", "not for this Python;"),
    ],
)
def test_a_library_that_cannot_be_loaded_is_named(
    name: str, code: str, reason: str, story: Path, tmp_path: Path
) -> None:
    """Whatever kind of error its import ends in, one line says which library it is, why, and what to do."""
    broken = break_library(name, code, tmp_path)

    ended = run_llmprep("embed", story, "--max-length", "4", "--stride", "4", cwd=tmp_path, env=broken)

    (line,) = ended.stderr.decode().splitlines()
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert line.startswith(f"llmprep: error: {name} cannot be loaded: {reason}")
    assert line.endswith(f"; reinstall it: pip install --force-reinstall {name}")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_an_import_that_has_no_memory_is_told_as_such(story: Path, tmp_path: Path) -> None:
    """That torch does not fit says nothing against the torch that is installed."""
    broken = break_library("torch", "raise ImportError('failed to map segment from shared object')", tmp_path)

    ended = run_llmprep("embed", story, "--max-length", "4", cwd=tmp_path, env=broken)

    assert ended.stderr.startswith(b"llmprep: error: out of memory")


def test_all_but_embed_work_without_torch(story: Path, tmp_path: Path) -> None:
    """Texts, pairs, windows and stores are made, read, shown and verified where torch cannot be loaded."""
    broken = break_library("torch", "raise ImportError('no torch here')", tmp_path)
    commands = [
        ["tokenize", str(story), "-o", "t.pt"],
        ["tokenize", str(story), "-o", "store/", "--shard-bytes", "9000", "--jobs", "2"],
        ["pairs", "store", "-o", "p.pt"],
        ["window", "store", "--max-length", "4", "-o", "w.pt"],
        *(["inspect", name, "--verify"] for name in ("t.pt", "store", "p.pt", "w.pt")),
    ]
    script = f"from llmprep.cli.main import run\nprint([run([*line, '-q']) for line in {commands}])"

    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=clean_environment(broken), capture_output=True, check=False
    )

    assert (ended.stdout, ended.stderr) == (f"{[0] * 8}\n".encode(), b"")

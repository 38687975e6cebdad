"""Promises of the start: only what needs torch imports it, and the current folder's modules are never run."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.app import COMMANDS
from support.commands import ROOT, clean_environment

HEAVY = {"torch", "numpy", "tiktoken", "gigatoken", "fastokens", "rich"}
LOADED = f"print(*sorted({HEAVY} & set(sys.modules)), file=sys.stderr)"
RUN = "import sys; from llmprep.cli.main import run\n"
HERE = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
"""Folders that Python is told to search, as where a checkout is tested that is not installed."""


def errors(folder: Path, *command: str, paths: Sequence[str] = HERE, code: int = 0) -> list[str]:
    """Run a command in a folder, as a user with no settings and nothing that measures along; what it says on errors."""
    environment = {name: value for name, value in clean_environment().items() if not name.startswith(("COV", "PYTHON"))}
    environment |= {"PYTHONPATH": os.pathsep.join(paths)} if paths else {}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False, timeout=120)
    assert ended.returncode == code, ended
    return ended.stderr.decode().splitlines()


PYTHON = sys.executable


def test_commands_load_what_they_need(story: Path, tmp_path: Path) -> None:
    """Help and version load nothing heavy; all commands but ``embed`` need no torch, and in a pipe no rich."""
    light = ["--version", "--help", *(f"{command} --help" for command in COMMANDS)]
    others = [f"{command} {story} -o {command}.pt" for command in ("tokenize", "pairs", "window")]
    others += ["window tokenize.pt --json", "tokenize window.pt -q", "pairs window.pt", "inspect window.pt --verify"]
    others += [f"tokenize {story} -o s/ -j1", "merge s", "inspect s --verify", "pairs s -o p.pt", "window s -o w.pt"]
    others += ["plan s", "plan s=1", *(f"inspect {s} --step 3 --max-length 8 --batch-size 2" for s in ("s", "s=1"))]
    each = f"for line in {[*light, *others]}:\n  assert run(line.split()) == 0, line; {LOADED}"
    loaded = errors(tmp_path, PYTHON, "-c", RUN + each)
    assert loaded[: len(light)] == [""] * len(light)
    assert set(loaded[-1].split()) - {"gigatoken"} == {"numpy", "tiktoken"}  # what was ever loaded is in the last list


@pytest.mark.parametrize(
    ("use", "needed"),
    [
        ("__version__", set()),
        ("encode_text('a')", {"tiktoken"}),
        pytest.param("create_dataloader", {"torch"}, marks=pytest.mark.slow),
    ],
)
def test_public_names_load_what_they_need(use: str, needed: set[str], tmp_path: Path) -> None:
    """The bare package loads nothing heavy; a public name is imported on first use, with no more than it needs."""
    (loaded,) = errors(tmp_path, PYTHON, "-c", f"import sys, llmprep; llmprep.{use}; {LOADED}")
    assert set(loaded.split()) & {"torch", "rich", "tiktoken"} == needed


LIMITS = {"--help": 0.15, "window {} --max-length 4 --stride 4": 0.35, "pairs {}": 0.35}


@pytest.mark.slow
def test_a_small_file_costs_a_part_of_importing_torch(story: Path, tmp_path: Path) -> None:
    """``--help`` costs at most 0.15 of ``import torch``, and windowing or showing a short story at most 0.35."""
    commands = [["-c", "import torch"], *(["-m", "llmprep", *line.format(story).split()] for line in LIMITS)]
    times: list[list[float]] = [[] for _ in commands]
    for _ in range(3):
        for taken, command in zip(times, commands, strict=True):  # in turn, so that a busy moment hits all alike
            begun = time.perf_counter()
            errors(tmp_path, PYTHON, *command)
            taken.append(time.perf_counter() - begun)
    torch_time, *own = map(min, times)
    ratios = {line: seconds / torch_time for line, seconds in zip(LIMITS, own, strict=True)}
    assert all(ratios[line] <= limit for line, limit in LIMITS.items()), ratios


OTHERS = {*HEAVY, "llmprep", "regex", "typer", "click", "pyarrow", "ray"}
MODULE, COMMAND = (PYTHON, "-m", "llmprep"), (str(Path(PYTHON).parent / "llmprep"),)


def lay_traps(folder: Path, names: set[str]) -> Path:
    """Make a folder of modules that leave a mark when they are run, and then stop what runs them; return the mark."""
    folder.mkdir()
    mark = folder.with_suffix(".ran")
    for name in sorted(names):
        (folder / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write('{name} ')\nraise SystemExit(99)\n")
    return mark


@pytest.mark.slow
@pytest.mark.parametrize(("command", "paths"), [(COMMAND, HERE), (MODULE, HERE), (COMMAND, ["", *HERE])])
def test_no_module_of_the_current_folder_is_run(command: Sequence[str], paths: list[str], tmp_path: Path) -> None:
    """A folder of Python code is text: none of it is run, by the command, a worker or what watches the workers."""
    (tmp_path / "probe.py").write_text("import re, sys\nprint(*sys.modules, file=sys.stderr)")  # as pip's scripts do
    early = {*errors(tmp_path, PYTHON, "-m", "probe")[0].split(), "llmprep"}  # imported before any line of ours
    python_searches = command is MODULE or paths != HERE
    mark = lay_traps(tmp_path / "code", ({*sys.stdlib_module_names} | OTHERS) - (early if python_searches else set()))
    for jobs in ("1", "2"):
        line = ["tokenize", ".", "-o", f"../store{jobs}/", "--shard-bytes", "9000", "--jobs", jobs]
        assert errors(tmp_path / "code", *command, *line, paths=paths) == []
        assert not mark.exists()
        assert len(list((tmp_path / f"store{jobs}").glob("tokens-*.pt"))) > 2
    mark = lay_traps(tmp_path / "named", {"tiktoken"})  # where PYTHONPATH names a folder, its modules are run
    errors(tmp_path, *MODULE, "tokenize", "code/numpy.py", paths=[str(tmp_path / "named"), *HERE], code=99)
    assert mark.read_text() == "tiktoken "


@pytest.mark.slow
def test_a_checkout_that_is_not_installed_has_workers_too(story: Path, tmp_path: Path) -> None:
    """Where the package itself comes from the current folder, its workers find it there."""
    line = ["tokenize", str(story), "-o", str(tmp_path / "store/"), "--shard-bytes", "9000", "--jobs", "2"]
    installed = [path for path in sys.path if "site-packages" in path]
    assert errors(ROOT, PYTHON, "-S", "-m", "llmprep", *line, paths=installed) == []


# a library, what it does when it is imported, and the reason that is shown; the last one stays loaded
BROKEN = [
    ("typer", "raise SyntaxError('not for this Python')", "not for this Python;"),
    ("numpy", "raise RuntimeError", "RuntimeError;"),
    ("torch", "raise ImportError('libtorch_cpu.so:\\n\\x1b[1m missing')", r"libtorch_cpu.so: \x1b[1m missing;"),
    ("torch", "raise ImportError('failed to map segment from shared object')", ""),
    ("torch", "", "cannot import name 'Tensor' from 'torch'"),
]


def test_a_library_that_cannot_be_loaded_is_named(story: Path, tmp_path: Path) -> None:
    """Whatever its import ends in, a line says which library, why and what to do, but for a lack of memory."""
    for number, (name, code, _) in enumerate(BROKEN):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / f"{name}.py").write_text(code)
    embed = f"assert run(['embed', {str(story)!r}, '--max-length', '4']) == 1"
    each = f"for number in range({len(BROKEN)}):\n  sys.path.insert(0, str(number)); {embed}; del sys.path[0]"
    lines = errors(tmp_path, PYTHON, "-c", RUN + each)
    for line, (name, _, reason) in zip(lines, BROKEN, strict=True):
        wanted = f"{name} cannot be loaded: {reason}" if reason else "out of memory"
        assert line.startswith(f"llmprep: error: {wanted}")
        assert line.endswith(f"; reinstall it: pip install --force-reinstall {name}") == bool(reason)
    assert list(tmp_path.glob("*.pt")) == []

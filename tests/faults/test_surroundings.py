"""Locales, homes, time zones, permissions, a folder that is gone: what surrounds a run changes no byte of a file."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.commands import SAMPLES, Run, run_llmprep
from support.processes import shell
from support.refusals import check_error

NAME = "\u0130stanbul.txt"
OPTIONS = ("--max-length", "8", "--preview", "200")
SURROUNDINGS: dict[str, dict[str, str]] = {
    "C, strictly": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict"},
    "Turkish, no asserts": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "PYTHONOPTIMIZE": "2"},
    "no home, warnings": {"HOME": "", "USER": "", "LOGNAME": "", "PYTHONUTF8": "0", "PYTHONWARNINGS": "default"},
    "far away": {"HOME": "/nonexistent", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "4242", "LC_ALL": "C"},
    "no terminal, threads": {
        "TERM": "", "COLUMNS": "0", "LINES": "x", "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1",
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
    },
}  # fmt: skip
each_surroundings = pytest.mark.parametrize("env", SURROUNDINGS.values(), ids=SURROUNDINGS)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text of many scripts, and the windows that it gives in usual surroundings."""
    folder = tmp_path_factory.mktemp("usual")
    text = "".join((SAMPLES / name).read_text(encoding="utf-8")[:3000] for name in ("story.txt", "scripts.txt"))
    (folder / NAME).write_text(text + "\x1b[31m I\u0131 \u202e", encoding="utf-8")
    assert run_llmprep("window", NAME, *OPTIONS, "-o", "w.pt", cwd=folder).returncode == 0
    return folder


@each_surroundings
def test_surroundings_change_no_byte(env: Mapping[str, str], usual: Path, llmprep: Run, tmp_path: Path) -> None:
    """Locale, home, time zone, hash seed and optimisation change no byte of a file, and print no escape."""
    done = llmprep("window", usual / NAME, *OPTIONS, "-o", "w.pt", env=env)

    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "w.pt").read_bytes() == (usual / "w.pt").read_bytes()
    assert b"\x1b" not in done.stdout


@pytest.mark.slow
def test_surroundings_change_no_embedding(usual: Path, llmprep: Run, tmp_path: Path) -> None:
    """The same for embeddings, with several of these at once."""
    env = {variable: value for each in SURROUNDINGS.values() for variable, value in each.items()}
    embed = ("embed", usual / "w.pt", "--dim", "8", "--shuffle", "-o")

    assert [llmprep(*embed, "there.pt", env=env).returncode, llmprep(*embed, "here.pt").returncode] == [0, 0]

    assert (tmp_path / "there.pt").read_bytes() == (tmp_path / "here.pt").read_bytes()


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_who_may_read(umask: int, mode: int, usual: Path, llmprep: Run, tmp_path: Path) -> None:
    """A new file has the permissions that the umask leaves."""
    prefix = ("bash", "-c", f'umask {umask:o} && exec "$@"', "bash")

    assert llmprep("window", usual / NAME, *OPTIONS, "-q", "-o", "w.pt", prefix=prefix).returncode == 0

    assert stat.S_IMODE((tmp_path / "w.pt").stat().st_mode) == mode


def test_a_current_folder_that_is_gone_does_not_matter(usual: Path, tmp_path: Path) -> None:
    """With it gone, absolute paths work, and a relative output is one line."""
    run = f"mkdir gone; cd gone; rmdir ../gone; llmprep window {usual / NAME} --max-length 8 --preview 200 -q -o"

    absolute = shell(f"{run} {tmp_path}/w.pt", tmp_path)
    relative = shell(f"{run} w.pt", tmp_path)

    assert (absolute.code, absolute.stderr) == (0, b"")
    assert (tmp_path / "w.pt").read_bytes() == (usual / "w.pt").read_bytes()
    check_error(relative, 1, "w.pt: ...")

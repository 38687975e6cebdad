"""Locales, homes, time zones, a folder that is gone: what surrounds a run changes no byte of a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from support.commands import SAMPLES, Call, Run
from support.refusals import check_error

from llmprep.cli.main import run

NAME = "\u0130stanbul.txt"
OPTIONS = ("--max-length", "8", "--preview", "200")
STRICT = {  # what is empty is unset
    "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict",
    "HOME": "/nonexistent", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "4242", "TERM": "", "COLUMNS": "0",
    "LINES": "x",
}  # fmt: skip
FOREIGN = {
    "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "default", "HOME": "",
    "USER": "", "LOGNAME": "", "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1",
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
}  # fmt: skip
each_surroundings = pytest.mark.parametrize("env", [STRICT, FOREIGN], ids=["strict", "foreign"])


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text of many scripts, and the windows that it gives in usual surroundings."""
    folder = tmp_path_factory.mktemp("usual")
    text = "".join((SAMPLES / name).read_text(encoding="utf-8")[:3000] for name in ("story.txt", "scripts.txt"))
    (folder / NAME).write_text(text + "\x1b[31m I\u0131 \u202e", encoding="utf-8")
    assert run(["window", str(folder / NAME), *OPTIONS, "-q", "-o", str(folder / "w.pt")]) == 0
    return folder


@each_surroundings
def test_surroundings_change_no_byte(env: Mapping[str, str], usual: Path, llmprep: Run, tmp_path: Path) -> None:
    """Locale, home, time zone, hash seed and optimisation change no byte of a file, and print no escape."""
    unset = [f"--unset={name}" for name, value in env.items() if not value]

    done = llmprep("window", usual / NAME, *OPTIONS, "-o", "w.pt", env=env, prefix=("env", *unset))

    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "w.pt").read_bytes() == (usual / "w.pt").read_bytes()
    assert b"\x1b" not in done.stdout


@pytest.mark.slow
def test_surroundings_change_no_embedding(usual: Path, llmprep: Run, tmp_path: Path) -> None:
    """The same for embeddings, with all of it at once."""
    embed = ("embed", usual / "w.pt", "--dim", "8", "--shuffle", "-o")

    assert [llmprep(*embed, "there.pt", env=STRICT | FOREIGN).returncode, llmprep(*embed, "here.pt").returncode] == [
        0,
        0,
    ]

    assert (tmp_path / "there.pt").read_bytes() == (tmp_path / "here.pt").read_bytes()


def test_a_current_folder_that_is_gone_does_not_matter(
    usual: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it gone, absolute paths work, and a relative output is one line."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    window = ("window", usual / NAME, *OPTIONS, "-q", "-o")

    absolute = call(*window, tmp_path / "w.pt")
    relative = call(*window, "w.pt")

    assert (absolute.code, absolute.stderr) == (0, b"")
    assert (tmp_path / "w.pt").read_bytes() == (usual / "w.pt").read_bytes()
    check_error(relative, 1, "w.pt: ...")

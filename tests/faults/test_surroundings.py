"""Locales, homes, time zones, a folder that is gone: what surrounds a run changes no byte of a file.

Last: nothing that only POSIX has stands in the way of commands that do not need it.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.commands import ROOT, SAMPLES, Call, Run, clean_environment
from support.refusals import check_error

NAME = "\u0130stanbul.txt"
WINDOW = ("window", NAME, "--max-length", "8", "--preview", "200", "-o")
STRICT = {  # what is empty is unset
    "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict", "COLUMNS": "0",
    "HOME": "/nonexistent", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "4242", "TERM": "", "LINES": "x",
}  # fmt: skip
FOREIGN = {
    "LC_ALL": "tr_TR.UTF-8", "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "default", "HOME": "", "USER": "", "LOGNAME": "",
    "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
}  # fmt: skip


@pytest.fixture
def usual(call: Call, tmp_path: Path) -> bytes:
    """The windows that a text of many scripts, which is in the folder, gives in usual surroundings."""
    text = "".join((SAMPLES / name).read_text(encoding="utf-8")[:3000] for name in ("story.txt", "scripts.txt"))
    (tmp_path / NAME).write_text(text + "\x1b[31m I\u0131 \u202e", encoding="utf-8")
    assert call(*WINDOW, "usual.pt").code == 0
    return (tmp_path / "usual.pt").read_bytes()


@pytest.mark.parametrize("env", [STRICT, pytest.param(FOREIGN, marks=pytest.mark.slow)], ids=["strict", "foreign"])
def test_surroundings_change_no_byte(env: Mapping[str, str], usual: bytes, llmprep: Run, tmp_path: Path) -> None:
    """Locale, home, time zone, hash seed and optimisation change no byte of a file, and print no escape."""
    unset = [f"--unset={name}" for name, value in env.items() if not value]
    done = llmprep(*WINDOW, "w.pt", env=env, prefix=("env", *unset))
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "w.pt").read_bytes() == usual
    assert b"\x1b" not in done.stdout


@pytest.mark.slow
def test_surroundings_change_no_embedding(usual: bytes, llmprep: Run, tmp_path: Path) -> None:
    """The same for embeddings, with all of it at once."""
    for output, env in (("there.pt", STRICT | FOREIGN), ("here.pt", {})):
        assert llmprep("embed", "usual.pt", "--dim", "8", "--shuffle", "-o", output, env=env).returncode == 0
    assert (tmp_path / "there.pt").read_bytes() == (tmp_path / "here.pt").read_bytes()


def test_a_current_folder_that_is_gone_does_not_matter(
    usual: bytes, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it gone, absolute paths work, and a relative output is one line."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    window = ("window", tmp_path / NAME, *WINDOW[2:])
    assert call(*window, tmp_path / "w.pt").code == 0
    check_error(call(*window, "w.pt"), 1, "w.pt: ...")
    assert (tmp_path / "w.pt").read_bytes() == usual


ELSEWHERE = """
import mmap, os, signal, sys

for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for module, names in (
    (os, "sched_getaffinity O_NOFOLLOW O_DIRECTORY O_NONBLOCK O_NOCTTY fchmod fdatasync pread sysconf geteuid getuid"),
    (signal, "SIGHUP SIGALRM setitimer pthread_sigmask"),
    (mmap, "MAP_SHARED MAP_PRIVATE MAP_NORESERVE PROT_READ PROT_WRITE"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

from llmprep.cli.main import run

sys.exit(any([run(line.split()) for line in sys.argv[1:]]))
"""
LINES = (
    "tokenize story.txt -o a.pt",
    "tokenize story.txt -o store/ --shard-bytes 9000 --jobs 1",
    "window story.txt --max-length 4 -o b.pt",
    "window store --max-length 8 -o c.pt",
    "pairs story.txt -o d.pt",
)


def test_commands_run_where_posix_is_missing(call: Call, tmp_path: Path) -> None:
    """Without its modules and names, the commands write the same bytes and say the same."""
    here, elsewhere = tmp_path, tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder in (here, elsewhere):
        (folder / "story.txt").write_bytes((SAMPLES / "story.txt").read_bytes())

    said = b"".join(call(*line.split()).stdout for line in LINES)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *LINES],
        cwd=elsewhere, env=clean_environment({"PYTHONPATH": str(ROOT)}), capture_output=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, said), done.stderr.decode()
    written = [path.relative_to(elsewhere) for path in elsewhere.rglob("*.pt") if path.is_file()]
    assert len(written) > 5
    assert all((here / path).read_bytes() == (elsewhere / path).read_bytes() for path in written)

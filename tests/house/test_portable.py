"""Nothing that only POSIX has stands in the way of commands that do not need it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import ROOT, SAMPLES, clean_environment

WITHOUT = """
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

sys.exit(run(sys.argv[1:]))
"""

COMMANDS = (
    ("tokenize", "story.txt", "-o", "a.pt"),
    ("tokenize", "story.txt", "-o", "store/", "--shard-bytes", "9000", "--jobs", "1"),
    ("window", "story.txt", "--max-length", "4", "-o", "a.pt"),
    ("window", "store", "--max-length", "8", "-o", "a.pt"),
    ("pairs", "story.txt", "-o", "a.pt"),
)


def run(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command line in a process that begins with some code."""
    environment = clean_environment({"PYTHONPATH": str(ROOT)})
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=60, check=False)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with the same story, one for each system."""
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "story.txt").write_bytes((SAMPLES / "story.txt").read_bytes())
    return tmp_path / "here", tmp_path / "elsewhere"


def test_commands_run_where_posix_is_missing(folders: tuple[Path, Path]) -> None:
    """Without its modules and names, the commands write the same bytes and say the same."""
    for arguments in COMMANDS:
        here, elsewhere = (
            run(code, folder, *arguments)
            for code, folder in zip(
                ("import sys\n" + WITHOUT[WITHOUT.index("from llmprep") :], WITHOUT), folders, strict=True
            )
        )
        assert (elsewhere.returncode, elsewhere.stdout) == (0, here.stdout), elsewhere.stderr.decode()
        written = [
            {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.pt") if p.is_file()} for folder in folders
        ]
        assert written[0] == written[1]

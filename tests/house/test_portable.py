"""Nothing that only POSIX has stands in the way of commands that do not need it."""

import subprocess
import sys
from pathlib import Path

from support.commands import ROOT, SAMPLES, Call, clean_environment

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

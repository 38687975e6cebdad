"""Promises of the lock: one build or merge at a time, or tasks together, on any file system and for any user."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_llmprep
from support.stores import build, contents, write_files

from llmprep.errors import DataError, OutputError, RefusedError
from llmprep.store.lock import locked
from llmprep.store.merge import merge_store

fcntl = pytest.importorskip("fcntl")

HOST = socket.gethostname()
HELD = f"^store: is being built by process {os.getpid()} on {HOST}"
NO_LOCKS = "store: its file system has no locks; a file .lock-held or .lock-task-... is one while a run lasts"


def without_locks(patch: pytest.MonkeyPatch, number: int) -> None:
    """Have the file system say with this error that it has no locks."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    patch.setattr(fcntl, "flock", refuse)


def locks_of(folder: Path) -> list[str]:
    """The names of the files that are locks where there are no others."""
    return sorted(path.name for path in folder.glob(".lock-*"))


def refuse_others(store: Path, corpus: Path, *, tasks: bool = True) -> list[str]:
    """Build, merge and, unless they share the folder, tasks are refused with the holder's name; return the reasons."""
    others: list[Callable[[], Any]] = [lambda: build(corpus, store), lambda: merge_store(store)]
    others += [lambda: build(corpus, store, task=(1, 2))] if tasks else []
    reasons = []
    for other in others:
        with pytest.raises(RefusedError, match=HELD) as raised:
            other()
        reasons.append(str(raised.value))
    return reasons


@pytest.mark.parametrize("number", [None, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_folder_that_is_held_is_refused(
    number: int | None, store: Path, built: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one builds, others are refused with its name, and tasks share; files are the locks where there are none."""
    (store / "tokens-00001.pt").unlink()
    if number is not None:
        without_locks(monkeypatch, number)
    with locked(store):
        reasons = refuse_others(store, corpus)
    with locked(store, shared=True) as hold:
        files = locks_of(store)
        hold.share()
        files += locks_of(store)
        reasons += refuse_others(store, corpus, tasks=False)
        notes = build(corpus, store, task=(2, 2)).notes if number is None else []
    if number is not None:
        assert files == [".lock-held", f".lock-task-{HOST}-{os.getpid()}"]
        assert all(", since 20" in reason and "; if it was killed, remove store/.lock-" in reason for reason in reasons)
        notes = build(corpus, store, task=(2, 2)).notes
    assert (NO_LOCKS in notes) == (number is not None)
    merge_store(store)
    assert (locks_of(store), contents(store)) == ([], contents(built))


@pytest.mark.parametrize("task", [None, (1, 2)], ids=["build", "task"])
def test_a_stale_lock_file_is_named(task: Any, store: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock file that a killed run has left is named, with its process, and what to do; a failed run leaves none."""
    without_locks(monkeypatch, errno.ENOSYS)
    gone = subprocess.Popen(["true"])
    gone.wait()
    held = f"process {gone.pid} on {HOST}, since long"
    (store / ".lock-held").write_text(f"{held}\n")
    line = f"^store: is being built by {held}; that has ended: remove store/.lock-held$"
    with pytest.raises(RefusedError, match=line):
        build(corpus, store, task=task)
    with pytest.raises(DataError):
        build(write_files(Path(), {"bad.txt": b"well " * 10 + b"\x92"}), "s", task=task)
    assert locks_of(Path("s")) == []


def test_a_lock_does_not_outlive_its_holder(store: Path, corpus: Path) -> None:
    """A lock file that is merely there, as after a kill, holds nobody up, and neither does the one that is left."""
    (store / ".lock").write_text("process 1 on elsewhere\n")
    build(corpus, store)
    with (store / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_that_is_not_signed_yet_is_waited_for(tmp_path: Path) -> None:
    """What a run of before has left in the lock file does not name who has the lock now."""
    (tmp_path / ".lock").write_text(f"process 99999999 on {HOST}\n")
    with (tmp_path / ".lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        threading.Timer(0.1, fcntl.flock, (held.fileno(), fcntl.LOCK_SH)).start()
        with locked(tmp_path, shared=True) as hold:
            assert not hold.alone


def test_a_lock_of_another_program_is_left_alone(corpus: Path, here: Path) -> None:
    """A file named as the lock that llmprep did not write, a hard link to one elsewhere, keeps what it holds."""
    write_files(Path(), {"victim.txt": "precious", "st/receipts/x": ""})
    Path("st/.lock").hardlink_to("victim.txt")
    with pytest.raises(OutputError, match=r"^st/\.lock: llmprep did not write it; remove it, or name another folder$"):
        build(corpus, "st")
    assert Path("victim.txt").read_text() == "precious"


def test_a_lock_that_cannot_be_written_is_named(corpus: Path, here: Path) -> None:
    """Where no byte can be written, the lock is the first file to say so, by its name."""
    limited = ("bash", "-c", 'ulimit -f 0 && exec "$@"', "bash")
    ended = run_llmprep("tokenize", corpus, "-o", "st/", "--jobs", "1", prefix=limited, cwd=here)
    assert (ended.returncode, ended.stderr) == (1, b"llmprep: error: st/.lock: File too large\n")


AsUser = Callable[..., tuple[int, str]]
TASK = ("tokenize", "in", "-o", "s/", "--shard-bytes", "100", "--jobs", "1", "--task")


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> Iterator[AsUser]:
    """Run a command as one of several users of a group, in a folder with two texts where that group may write."""
    caps = "+dac_read_search"  # so that this project is found where only root may look; it lends no right to write
    options = ("--regid", "5555", "--clear-groups", f"--inh-caps={caps}", f"--ambient-caps={caps}")
    able = os.geteuid() == 0 and shutil.which("setpriv")
    if not able or subprocess.run(["setpriv", *options, "true"], check=False).returncode:
        pytest.skip("needs root, and setpriv")

    def run(user: int, umask: str, *arguments: str) -> tuple[int, str]:
        prefix = ("setpriv", "--reuid", str(user), *options, "bash", "-c", f'umask {umask} && exec "$@"', "bash")
        ended = run_llmprep(*arguments, prefix=prefix)
        return ended.returncode, ended.stderr.decode()

    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.chdir(folder)
        write_files(Path("in"), {"a.txt": "a " * 50, "b.txt": "b " * 50})
        os.chown(folder, -1, 5555)
        Path(folder).chmod(0o2775)
        yield run


@pytest.mark.slow
@pytest.mark.parametrize(("umask", "mode"), [("002", None), ("022", 0o2775)])
def test_users_of_a_group_share_a_store(umask: str, mode: int | None, as_user: AsUser) -> None:
    """Users whose umask or whose folder lets the group write run tasks of one store, and merge it."""
    if mode is not None:
        Path("s").mkdir()
        Path("s").chmod(mode)
    runs = [(6001, *TASK, "1/2"), (6002, *TASK, "2/2"), (6002, "merge", "s")]
    assert [as_user(user, umask, *arguments) for user, *arguments in runs] == [(0, "")] * 3
    build("in", "fresh", 100)
    assert contents("s") == contents("fresh")


@pytest.mark.slow
def test_a_store_of_another_user_is_named_as_that(as_user: AsUser) -> None:
    """A folder that only its owner may write in is named, with the owner and what that one can do."""
    said = "belongs to user 6001, and this one may not write there; its owner can allow it: chmod -R g+w s"
    assert as_user(6001, "022", *TASK, "1/2") == (0, "")
    steps = [("s", "s", 0o2775), ("s/receipts", "s/.lock", 0o664), ("s/receipts", "s/receipts", 0o2775)]
    for named, opened, mode in steps:
        assert as_user(6002, "022", *TASK, "1/2") == (1, f"llmprep: error: {named}: {said}\n")
        Path(opened).chmod(mode)
    assert as_user(6002, "022", *TASK, "2/2") == (0, "")

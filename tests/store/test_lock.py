"""Promises of the lock: one build or merge at a time, or tasks together, on any file system and for any user."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_llmprep
from support.processes import file_size_limit, unprivileged
from support.stores import SHARD_BYTES, build, contents, write_files

from llmprep.errors import DataError, OutputError, RefusedError
from llmprep.store.lock import locked
from llmprep.store.merge import merge_store

fcntl = pytest.importorskip("fcntl")

HOST = socket.gethostname()
SIZED = ("--shard-bytes", str(SHARD_BYTES), "--jobs", "1")
HELD = f"^store: is being built by process {os.getpid()} on {HOST}"
NO_LOCKS = "store: its file system has no locks; a file .lock-held or .lock-task-... is one while a run lasts"


def without_locks(patch: pytest.MonkeyPatch, number: int) -> None:
    """Have the file system say with this error that it has no locks."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    patch.setattr(fcntl, "flock", refuse)


def locks_of(folder: str) -> list[str]:
    """The names of the files that are locks where there are no others."""
    return sorted(path.name for path in Path(folder).glob(".lock-*"))


@pytest.mark.parametrize("number", [None, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_folder_that_is_held_is_refused(
    number: int | None, store: Path, built: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one builds, others are refused with its name, and tasks share; files are the locks where there are none."""
    (store / "tokens-00001.pt").unlink()
    if number is not None:
        without_locks(monkeypatch, number)
    hint = "wait for it, or stop it" if number is None else ", since 20.*; if it was killed, remove store/.lock-"
    others: list[Callable[[], Any]] = [lambda: build(corpus, store), lambda: merge_store(store)]

    def refuse(*others: Callable[[], Any]) -> None:
        for other in others:
            with pytest.raises(RefusedError, match=f"{HELD}.*{hint}"):
                other()

    with locked(store):
        refuse(*others, lambda: build(corpus, store, task=(1, 2)))
    with locked(store, shared=True) as hold:
        files = locks_of("store")
        hold.share()
        files += locks_of("store")
        refuse(*others)
        notes = build(corpus, store, task=(2, 2)).notes if number is None else []
    if number is not None:  # this process has the name of one task only
        assert files == [".lock-held", f".lock-task-{HOST}-{os.getpid()}"]
        notes = build(corpus, store, task=(2, 2)).notes
    assert (NO_LOCKS in notes) == (number is not None)
    merge_store(store)
    assert (locks_of("store"), contents(store)) == ([], contents(built))


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
    assert locks_of("s") == []


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
    with file_size_limit(0), pytest.raises(OutputError, match=r"^st/\.lock: File too large$"):
        build(corpus, "st")


def test_a_folder_for_a_group_stays_one(corpus: Path, here: Path) -> None:
    """Who may write in the folder may write to its lock and its receipts, whatever the umask of the first user."""
    Path("s").mkdir()
    Path("s").chmod(0o775)
    before = os.umask(0o022)
    build(corpus, "s", task=(1, 2))
    os.umask(before)
    assert [Path(name).stat().st_mode & 0o777 for name in ("s/.lock", "s/receipts")] == [0o664, 0o775]


@pytest.mark.slow
def test_a_store_of_another_user_is_named_as_that(corpus: Path, here: Path) -> None:
    """What only its owner may write is named, with the owner and what that one can do; mended, the build goes on."""
    build(corpus, "s", task=(1, 2))
    said = f"belongs to user {Path('s').owner()}, and this one may not write there; its owner can allow it: chmod -R"
    names = ("s", "s/receipts", "s/.lock")
    for name in names:
        Path(name).chmod(0o555)
    for name in names:
        ended = run_llmprep("tokenize", corpus, "-o", "s/", *SIZED, "--task", "1/2", prefix=unprivileged(), cwd=here)
        assert (ended.returncode, ended.stderr.decode()) == (1, f"llmprep: error: {name}: {said} g+w s\n")
        Path(name).chmod(0o755)

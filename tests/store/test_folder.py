"""Promises of a store's folder: what is not the store's own is neither followed, nor written, nor removed.

Last, of its lock: one build or merge at a time, or tasks together, on any file system and for any user.
"""

import errno
import fcntl
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_llmprep
from support.processes import file_size_limit, unprivileged
from support.refusals import tree
from support.stores import SHARD_BYTES, build, contents, write_files

from llmprep.errors import DataError, FileFormatError, OutputError, RefusedError, UsageError
from llmprep.store.folder import is_store
from llmprep.store.lock import locked
from llmprep.store.manifest import read_manifest
from llmprep.store.merge import merge_store
from llmprep.store.verify import verify_store

FILES = (
    "tokens-00001.pt", "tokens-99999.pt", "manifest.json", "plan.json", ".lock", ".llmprep-0123456789abcdef.tmp",
    "receipts/00001.json", "receipts/99999.json", "receipts/.llmprep-0123456789abcdef.tmp", "receipts",
)  # fmt: skip
KINDS: dict[str, Callable[[Path], object]] = {
    "a link to a file": lambda path: path.symlink_to(Path("victim/x.json").absolute()),
    "a link to a folder": lambda path: path.symlink_to(Path("victim").absolute()),
    "a link to nothing": lambda path: path.symlink_to(Path("victim/none").absolute()),
    "a folder": Path.mkdir,
    "a file": lambda path: path.write_bytes(b"precious"),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize(
    ("name", "kind"), [(n, k) for n in FILES for k in KINDS if k != ("a folder" if n == "receipts" else "a file")]
)
def test_only_its_own_files_are_written(name: str, kind: str, store: Path, corpus: Path) -> None:
    """What has a name of the store's and is no file of its own is refused; nothing it leads to is touched."""
    write_files(Path("victim"), dict.fromkeys(("x.json", "00001.json", ".llmprep-a.tmp", "tokens-00000.pt"), "mine"))
    with suppress(FileNotFoundError):
        (store / name).rename("away")
    KINDS[kind](store / name)
    before = tree(Path())
    for write in (
        lambda: build(corpus, "store"),
        lambda: build(corpus, "store", restart=True),
        lambda: build(corpus, "store", task=(1, 2)),
        lambda: merge_store("store"),
    ):
        with pytest.raises(OutputError, match=f"^store/{name}: is "):
            write()
        assert tree(Path()) == before
    if "99999" not in name and ".llmprep" not in name and name != ".lock":
        linked = kind.startswith("a link") and name.startswith(("plan", "receipts"))
        what = "a folder" if name == "receipts" else "a file"
        with pytest.raises(FileFormatError, match=name + f": is a link, not {what} of the store's; remove" * linked):
            list(verify_store(store))


def test_a_store_is_known_by_its_plan_or_its_manifest(store: Path) -> None:
    """Also one that is not finished, or has lost its plan; texts beside a manifest of another program are none."""
    (store / "plan.json").rename("plan.json")
    assert is_store(store)
    (store / "manifest.json").unlink()
    assert not is_store(store)
    Path("plan.json").rename(store / "plan.json")
    assert is_store(store)
    assert not any(map(is_store, ("none", "store/plan.json", "a\0b", "x" * 300)))
    write_files(Path("texts"), dict.fromkeys(("manifest.json", "plan.json", "receipts/a.txt"), '{"name": "an app"}'))
    build("texts", "s")
    assert read_manifest(Path("s")).n_documents == 3


def test_the_folder_may_be_a_link_or_hold_what_a_run_left(built: Path, corpus: Path, here: Path) -> None:
    """A link as the folder means the one it leads to, where a run may have been killed before it wrote its plan."""
    left = {"receipts/.llmprep-0.tmp": "", ".lock": "process 1 on nowhere\n", ".llmprep-0.tmp": "the plan's first h"}
    write_files(Path("real"), left)
    Path("link").symlink_to("real")
    build(corpus, "link")
    assert (contents("real"), [*Path("real").rglob("*.tmp")], Path("link").is_symlink()) == (contents(built), [], True)


REFUSED: dict[str, tuple[str, str, type[Exception], str]] = {
    "a file for a folder": ("t.txt", "t.txt", UsageError, "t.txt: is a file; a token store is a folder"),
    "a folder in use": ("t.txt", "in/", OutputError, "in/: has other things in it (a.txt, ...); name a new folder"),
    "a link to nothing": ("t.txt", "link/", OutputError, "link/: is a link to nothing; make the folder that it leads"),
    "a pattern that finds the store": (
        "in/**", "in/old", UsageError, "in/old/manifest.json: lies inside the store's folder in/old; name a folder els"
    ),
    "a name for no file": ("t.txt", "s\0", OutputError, "s\0: no name holds a NUL character"),
    "a store for a text": ("in/old", "s", UsageError, "in/old: is a token store, which already holds tokens"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "folder", "error", "line"), list(REFUSED.values()), ids=list(REFUSED))
def test_what_makes_no_store_is_refused(path: str, folder: str, error: type[Exception], line: str, here: Path) -> None:
    """Each gets one line, and no folder is made."""
    write_files(here, {"t.txt": "some text", "in/a.txt": "more text"})
    build("t.txt", "in/old")
    Path("link").symlink_to("nothing")
    before = tree(Path())
    with pytest.raises(error, match=f"^{re.escape(line)}"):
        build(path, folder, restart=True)
    assert tree(Path()) == before


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
    others = (lambda: build(corpus, store), lambda: merge_store(store), lambda: build(corpus, store, task=(1, 2)))
    files: list[str] = []
    for shared in (False, True):
        with locked(store, shared=shared) as hold:
            files += locks_of("store")
            hold.share()
            files += locks_of("store")
            for other in others[: 3 - shared]:
                with pytest.raises(RefusedError, match=f"{HELD}.*{hint}"):
                    other()
            if shared and number is None:  # else one process has the name of one task only
                build(corpus, store, task=(2, 2))
    own = [".lock-held"] * 3 + [f".lock-task-{HOST}-{os.getpid()}"]
    assert files == (own if number else [])
    assert (NO_LOCKS in build(corpus, store, task=(2, 2)).notes) == (number is not None)
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

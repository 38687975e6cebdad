"""Promises of checking: before any work, what cannot be written or would lose something is refused."""

import errno
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from llmprep.errors import LlmprepError, OutputError, RefusedError, UsageError
from llmprep.output.checking import Kind, Output, check_output, check_space

LONG = "\u00e9" * 126 + ".pt"  # 255 bytes
INPUT, FOLDERS_NAME = "is also an input; name another output", "is the name of a folder, and this writes a file; name"
NO_PT, READ_ONLY = "exists and is not a .pt file; --force replaces it", "exists and is read-only; --force replaces it"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The current folder, with files of every kind."""
    for name, data in {"x": b"PK\x03\x04 old", "read-only": b"PK\x03\x04 old", "two": b"PK", "text": b"Te"}.items():
        Path(f"{name}.pt").write_bytes(data)
    Path("read-only.pt").chmod(0o444)
    Path("sub").mkdir()
    Path("link.pt").symlink_to("x.pt")
    Path("dangling.pt").symlink_to("new.pt")
    Path("hard.pt").hardlink_to("x.pt")
    return tmp_path


def test_what_loses_nothing_may_be_written(here: Path) -> None:
    """A new file and a .pt file, also where links lead, may be written, and any other with ``force``."""
    before = sorted(here.iterdir())
    for name in ("new.pt", "x.pt", LONG, "sub/../x.pt", "dangling.pt", "link.pt"):
        assert check_output(name, ["none.txt"]) == Output(name, (here / name).resolve(), direct=False)
    for name in ("read-only.pt", "two.pt", "text.pt"):
        assert check_output(name, force=True) == Output(name, here / name, direct=False)
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        *((name, RefusedError, NO_PT) for name in ("two.pt", "text.pt")),
        ("read-only.pt", RefusedError, READ_ONLY),
        *((name, UsageError, "is a folder; name a file in it") for name in ("sub", "")),
        *((name, UsageError, FOLDERS_NAME) for name in ("new/", "sub/.", "sub/..", ".", "new.pt//")),
        *((name, UsageError, INPUT) for name in ("x.pt", "link.pt", "hard.pt", "sub/../x.pt")),
        ("none/x.pt", OutputError, "there is no folder none; make it first"),
        ("x.pt/y.pt", OutputError, os.strerror(errno.ENOTDIR)),
        ("x\0.pt", OutputError, "no name holds a NUL character"),
        (f"x{LONG}", OutputError, os.strerror(errno.ENAMETOOLONG)),
    ],
)
def test_what_cannot_be_written_is_refused(name: str, error: type[LlmprepError], words: str, here: Path) -> None:
    """The error names the output and what is wrong; ``force`` helps against a `RefusedError` alone."""
    for force in (False, True)[: 1 if error is RefusedError else 2]:
        with pytest.raises(error, match=f"^{re.escape(f'{name}: {words}')}"):
            check_output(name, ["none.txt", "\0", Path("x.pt")], force=force)


def test_what_the_system_forbids_is_believed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, who runs some tests, has every right: these are asked for through ``os.access``, and a file is opened."""
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)
    with pytest.raises(RefusedError, match=f"^x.pt: {READ_ONLY}"):
        check_output("x.pt")
    with pytest.raises(OutputError, match=r"^new\.pt: its folder is not writable"):
        check_output("new.pt")
    monkeypatch.setattr(Path, "open", Mock(side_effect=PermissionError(errno.EACCES, "not for you")))
    with pytest.raises(OutputError, match=rf"^x\.pt: {os.strerror(errno.EACCES)}"):
        check_output("x.pt")


@pytest.mark.parametrize("force", [False, True])
def test_no_terminal_gets_binary(force: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal is refused as standard output, and under its own name too."""
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        for name, words in ((os.ttyname(theirs), "this is a terminal; name"), ("-", "standard output is a terminal")):
            with pytest.raises(UsageError, match=words):
                check_output(name, force=force)
        with pytest.raises(UsageError, match=r"^--html -: a page is for a browser and standard output is a terminal"):
            check_output("-", force=force, kind=Kind("a page", b"<", "a page is for a browser", "--html"))


def test_space_is_checked_before_work(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that cannot fit is refused with both numbers; devices, which may be inputs too, are not measured."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * 10**9))
    output, null = check_output("x.pt"), check_output(os.devnull, [os.devnull])
    check_space(output, 2 * 10**9)
    check_space(null, 3 * 10**9)
    assert null == Output(os.devnull, Path(os.devnull), direct=True)
    with pytest.raises(OutputError, match=r"x\.pt: needs 3\.0 GB, its disk has 2\.0 GB free"):
        check_space(output, 3 * 10**9)

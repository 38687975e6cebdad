"""Outputs that fail or must not be written: the old file or the new one, whole, and nothing else left behind."""

from __future__ import annotations

import os
import pty
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import Call, Run
from support.processes import ended_as, file_size_limit, finish, no_space, running, small_disk, unprivileged, wait_for
from support.refusals import OLD, Refusal, check_error, check_refusal, check_refused, each_row, fill, names

from llmprep.ptfile.reading import read_pt

TEXT = "It was the best of times, it was the worst of times. " * 40
WINDOWS = "window --max-length 9"
EMBED = "embed --max-length 9 --dim 8"
EVERY = ("tokenize", "pairs", WINDOWS, f"{WINDOWS} --dense", EMBED)
each_command = pytest.mark.parametrize("command", [command.split() for command in EVERY], ids=EVERY)


# --- no space left --------------------------------------------------------------------------------

FULL: list[Callable[[pytest.MonkeyPatch], None]] = [
    *(lambda patch, room=room: small_disk(patch, room) for room in (0, 1, 60, 400, 900)),
    lambda patch: patch.setattr(os, "fsync", no_space),
    lambda patch: patch.setattr(os, "replace", no_space),
]
"""Ways to have no space: after so many bytes, at the sync, at the rename."""


@each_command
def test_no_space_left(command: list[str], call: Call, tokens: Path) -> None:
    """Wherever space runs out, one line says so, the old file is intact and nothing is left behind."""
    Path("x.pt").write_bytes(OLD)

    for fill_disk in FULL:
        with pytest.MonkeyPatch.context() as patch:
            fill_disk(patch)
            check_refused(call, *command, tokens, "-o", "x.pt", "-q", code=1, line="x.pt: no space left...")
    check_refused(call, *command, tokens, "-o", "/dev/full", "-q", code=1, line="/dev/full: no space left...")


@pytest.mark.parametrize("more", [[], ["--dense"], ["--val-fraction", "0.5"]], ids=["views", "dense", "split"])
def test_a_file_size_limit(more: list[str], call: Call, tokens: Path) -> None:
    """Under a real limit one line names the output or the temporary file that met it; the old files are intact."""
    for name in ("x.pt", "x.train.windows.pt", "x.val.windows.pt"):
        Path(name).write_bytes(OLD)

    for n_bytes in (0, 100, 1000, 4000):
        with file_size_limit(n_bytes):
            ended = check_refused(call, *WINDOWS.split(), tokens, "-o", "x.pt", "-q", *more, code=1, line="...")
        assert "the file-size limit is reached" in ended.notes[0] or "temporary file in " in ended.notes[0]


# --- outputs that are refused ---------------------------------------------------------------------

LATIN: dict[str, str | bytes] = {"in.txt": b"caf\xe9", "text.txt": TEXT}
"""A file that is no UTF-8: whoever reads it ends with another error than whoever looks at the output first."""
NOTES = LATIN | {"notes.pt": "My notes."}


def linked(link: Callable[[Path, Path], object]) -> Callable[[Path], object]:
    """Make the files, and x.pt, which is a link to the first, or a folder."""

    def make(folder: Path) -> None:
        fill(folder, LATIN)
        link(folder / "x.pt", Path("in.txt"))

    return make


WRONG_OUTPUTS = {
    "in a missing folder": Refusal(
        LATIN, "in.txt -o none/x.pt", 1, "none/x.pt: there is no folder none...", commands=EVERY
    ),
    "a folder": Refusal(
        linked(lambda path, _: path.mkdir()), "in.txt -o x.pt", 2, "x.pt: is a folder...",
        commands=(*EVERY, f"{WINDOWS} --force"),
    ),
    "not a .pt file": Refusal(
        NOTES, "in.txt -o notes.pt", 6, "notes.pt: exists and is not a .pt file...", commands=EVERY
    ),
    "not a .pt file, by force": Refusal(
        NOTES, "in.txt -o notes.pt --force", 3, "in.txt: not valid UTF-8 at byte 3 (0xe9); ...", commands=EVERY
    ),
    "the input": Refusal(LATIN, "in.txt -o in.txt --force", 2, "in.txt: is also an input...", commands=EVERY),
    "the second input": Refusal(
        LATIN, "in.txt text.txt -o text.txt --force", 2, "text.txt: is also an input...", commands=EVERY
    ),
    "a link to the input": Refusal(
        linked(Path.symlink_to), "in.txt -o x.pt --force", 2, "x.pt: is also an input...", commands=EVERY
    ),
    "a hard link to the input": Refusal(
        linked(Path.hardlink_to), "in.txt -o x.pt --force", 2, "x.pt: is also an input...", commands=EVERY
    ),
    "the input, by its default name": Refusal(
        LATIN | {"x.tokens.pt": OLD}, "tokenize x.tokens.pt", 2, "x.tokens.pt: is also an input..."
    ),
    "a name too long": Refusal(LATIN, f"{WINDOWS} in.txt -o {'x' * 253}.pt", 1, "...ile name too long"),
    "the second file of a split": Refusal(
        LATIN | {"x.val.windows.pt": "My notes."}, f"{WINDOWS} in.txt --val-fraction 0.5 -o x.pt", 6,
        "x.val.windows.pt: exists and is not a .pt file...",
    ),
    "the weights of embed": Refusal(
        NOTES, f"{EMBED} in.txt -o e.pt --save-weights notes.pt", 6, "notes.pt: exists and is not a .pt file..."
    ),
    "the weights that are read": Refusal(
        LATIN | {"w.pt": OLD}, f"{EMBED} in.txt --weights w.pt -o w.pt", 2, "w.pt: is also an input..."
    ),
    "both weights": Refusal(
        LATIN | {"w.pt": OLD}, f"{EMBED} in.txt --weights ./w.pt -o e.pt --save-weights w.pt", 2, "w.pt: is also ..."
    ),
    "both outputs": Refusal(
        LATIN, f"{EMBED} in.txt -o new.pt --save-weights ./new.pt", 2, "--save-weights ./new.pt: is also the output..."
    ),
    "both outputs, standard output": Refusal(
        LATIN, f"{EMBED} in.txt -o - --save-weights -", 2, "--save-weights -: is also the output; ..."
    ),
}  # fmt: skip


@each_row(WRONG_OUTPUTS)
def test_an_output_that_must_not_be_written_is_refused(refusal: Refusal, call: Call) -> None:
    """Every output of every command is looked at before any work, through links, and with ``--force`` too."""
    check_refusal(call, refusal)


def test_a_read_only_folder_is_refused(llmprep: Run, tmp_path: Path) -> None:
    """A folder that may not be written is an error before any work, also for root without its privileges."""
    prefix = unprivileged()
    (tmp_path / "in.txt").write_bytes(b"caf\xe9")
    (tmp_path / "folder").mkdir(mode=0o555)

    ended = ended_as(llmprep("window", "in.txt", "-o", "folder/x.pt", prefix=prefix))

    check_error(ended, 1, "folder/x.pt: its folder is not writable")
    assert names(tmp_path / "folder") == set()


@each_command
def test_a_terminal_gets_no_binary(command: list[str], call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """``-o -`` to a terminal is refused before any work, in one line, and the terminal is sent nothing."""
    Path("in.txt").write_bytes(b"caf\xe9")
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stdout, os.fdopen(controller, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stdout", stdout)

        check_refused(call, *command, "in.txt", "-o", "-", code=2, line="...standard output is a terminal...")

        os.set_blocking(screen.fileno(), False)
        assert screen.read(100) is None


# --- outputs that are written ---------------------------------------------------------------------


@each_command
def test_every_output_gets_the_same_bytes(command: list[str], call: Call, tokens: Path) -> None:
    """A new file, an old .pt, any file by force, a FIFO and standard output get the same; a device stays."""
    received: list[bytes] = []
    Path("old.pt").write_bytes(OLD)
    Path("notes.txt").write_text("My notes.")
    os.mkfifo("fifo")
    reader = threading.Thread(target=lambda: received.append(Path("fifo").read_bytes()))
    reader.start()

    for output in ("new.pt", "old.pt", "fifo", os.devnull):
        assert call(*command, tokens, "-o", output, "-q").code == 0
    assert call(*command, tokens, "-o", "notes.txt", "-q", "--force").code == 0
    piped = call(*command, tokens, "-o", "-")
    reader.join(10)

    assert {Path(name).read_bytes() for name in ("new.pt", "old.pt", "notes.txt")} == {*received, piped.stdout}
    assert piped.stderr.count(b"\n") > 2
    assert stat.S_ISFIFO(Path("fifo").stat().st_mode)
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    assert names(Path()) == {"tokens.pt", "new.pt", "old.pt", "notes.txt", "fifo"}


def test_the_longest_name_can_be_written(call: Call, tokens: Path) -> None:
    """A name of 255 bytes works, though the temporary file needs a name beside it."""
    assert call(*WINDOWS.split(), tokens, "-o", "x" * 252 + ".pt", "-q").code == 0

    assert names(Path()) == {"tokens.pt", "x" * 252 + ".pt"}


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "dangling"])
def test_a_link_stays_one(there: bool, call: Call, tokens: Path) -> None:
    """What an output that is a link leads to, in another folder too, is replaced or made."""
    Path("sub").mkdir()
    if there:
        Path("sub/target.pt").write_bytes(OLD)
    Path("link.pt").symlink_to("sub/target.pt")

    assert call(*WINDOWS.split(), tokens, "-o", "link.pt", "-q").code == 0

    assert Path("link.pt").is_symlink()
    assert read_pt(Path("sub/target.pt")).tensors["input_ids"].shape[1] == 9
    assert names(Path("sub")) == {"target.pt"}


@pytest.mark.slow
def test_two_writers_of_one_output_both_succeed(tmp_path: Path) -> None:
    """Of two processes that write one output at the same time neither fails; the file is one of the two, whole."""
    arguments = ("window", "-", "-o", "x.pt", "-q", "--max-length")
    with (
        running(*arguments, "5", cwd=tmp_path, stdin=-1) as first,
        running(*arguments, "9", cwd=tmp_path, stdin=-1) as second,
    ):
        for writer in (first, second):
            assert writer.stdin is not None
            writer.stdin.write(TEXT.encode())
            writer.stdin.flush()
        wait_for(lambda: len(list(tmp_path.glob(".llmprep-*.tmp"))) == 2)
        assert [finish(writer).code for writer in (first, second)] == [0, 0]

    made = read_pt(tmp_path / "x.pt")
    assert made.tensors["input_ids"].shape[1] in (5, 9)
    assert made.meta["n_tokens"] == 561
    assert names(tmp_path) == {"x.pt"}

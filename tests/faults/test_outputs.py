"""Outputs that fail or must not be written: the old file or the new one, whole, and nothing else left behind."""

import os
import stat
import threading
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


@each_command
def test_no_space_left(command: list[str], call: Call, tokens: Path) -> None:
    """Wherever space runs out, one line says so, the old file is intact and nothing is left behind."""
    Path("x.pt").write_bytes(OLD)
    for place in (0, 1, 60, 900, "fsync", "replace"):
        with pytest.MonkeyPatch.context() as patch:
            if isinstance(place, int):
                small_disk(patch, place)
            else:
                patch.setattr(os, place, no_space)
            check_refused(call, *command, tokens, "-o", "x.pt", "-q", code=1, line="x.pt: no space left...")
    check_refused(call, *command, tokens, "-o", "/dev/full", "-q", code=1, line="/dev/full: no space left...")


@pytest.mark.parametrize("more", ["", "--dense", "--val-fraction 0.5"])
def test_a_file_size_limit(more: str, call: Call, tokens: Path) -> None:
    """Under a real limit one line names the output or the temporary file that met it; the old files are intact."""
    fill(Path(), dict.fromkeys(("x.pt", "x.train.windows.pt", "x.val.windows.pt"), OLD))
    for n_bytes in (0, 1000, 4000):
        with file_size_limit(n_bytes):
            ended = check_refused(call, *f"{WINDOWS} tokens.pt -o x.pt -q {more}".split(), code=1, line="...")
        assert "the file-size limit is reached" in ended.notes[0] or "temporary file in " in ended.notes[0]


LATIN: dict[str, str | bytes] = {"in.txt": b"caf\xe9", "text.txt": TEXT}
"""A file that is no UTF-8: whoever reads it ends with another error than whoever looks at the output first."""
NOTES = LATIN | {"notes.pt": "My notes."}
IS_INPUT, IS_NO_PT = "x.pt: is also an input...", "notes.pt: exists and is not a .pt file..."


def linked(folder: Path) -> None:
    """Make an input and links to it."""
    fill(folder, LATIN)
    (folder / "soft.pt").symlink_to("in.txt")
    (folder / "hard.pt").hardlink_to(folder / "in.txt")


WRONG_OUTPUTS = {
    "in a missing folder": Refusal(LATIN, "in.txt -o none/x.pt", 1, "none/x.pt: there is no ...", commands=EVERY),
    "a folder": Refusal(
        LATIN | {"x.pt/a": ""}, "in.txt -o x.pt", 2, "x.pt: is a folder...", commands=(*EVERY, f"{WINDOWS} --force")
    ),
    "not a .pt file": Refusal(NOTES, "in.txt -o notes.pt", 6, IS_NO_PT, commands=EVERY),
    "the second file of a split": Refusal(
        LATIN | {"x.val.windows.pt": "My notes."}, f"{WINDOWS} in.txt --val-fraction 0.5 -o x.pt", 6,
        "x.val.windows.pt: exists and is not a .pt file...",
    ),
    "the weights of embed": Refusal(NOTES, f"{EMBED} in.txt -o e.pt --save-weights notes.pt", 6, IS_NO_PT),
    "the second input": Refusal(
        LATIN, "in.txt text.txt -o text.txt --force", 2, "text.txt: is also an input...", commands=EVERY
    ),
    "links to the input": Refusal(
        linked, "in.txt --force", 2, "....pt: is also an input...",
        commands=(f"{EMBED} -o soft.pt", "tokenize -o hard.pt"),
    ),
    "the input, by its default name": Refusal(
        LATIN | {"x.tokens.pt": OLD}, "tokenize x.tokens.pt", 2, "x.tokens.pt: is also an input..."
    ),
    "the weights that are read": Refusal(
        LATIN | {"x.pt": OLD}, "in.txt --weights ./x.pt", 2, IS_INPUT,
        commands=(f"{EMBED} -o x.pt", f"{EMBED} -o e.pt --save-weights x.pt"),
    ),
    "both outputs": Refusal(
        LATIN, f"in.txt {EMBED[6:]}", 2, "--save-weights ...: is also the output; ...",
        commands=("embed -o new.pt --save-weights ./new.pt", "embed -o - --save-weights -"),
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
def test_every_output_gets_the_same_bytes(command: list[str], call: Call, tokens: Path) -> None:
    """A new file of the longest name, an old .pt, any file by force, a FIFO, standard output; a device stays one."""
    received: list[bytes] = []
    files = ("x" * 252 + ".pt", "old.pt", "notes.txt")
    fill(Path(), {"old.pt": OLD, "notes.txt": "My notes."})
    os.mkfifo("fifo")
    reader = threading.Thread(target=lambda: received.append(Path("fifo").read_bytes()))
    reader.start()

    for output in (*files, "fifo", os.devnull):
        assert call(*command, tokens, "-o", output, "-q", *["--force"] * (output == "notes.txt")).code == 0
    piped = call(*command, tokens, "-o", "-")
    reader.join(10)

    assert {Path(name).read_bytes() for name in files} == {*received, piped.stdout}
    assert piped.stderr.count(b"\n") > 2
    assert stat.S_ISFIFO(Path("fifo").stat().st_mode)
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    assert names(Path()) == {"tokens.pt", "fifo", *files}


@pytest.mark.slow
def test_two_writers_of_one_output_both_succeed(tmp_path: Path) -> None:
    """Of two processes that write one output at the same time neither fails; the file is one of the two, whole."""
    first, second = (("window", "-", "-o", "x.pt", "-q", "--max-length", length) for length in "59")
    with running(*first, cwd=tmp_path, stdin=-1) as one, running(*second, cwd=tmp_path, stdin=-1) as other:
        for writer in (one, other):
            assert writer.stdin is not None
            writer.stdin.write(TEXT.encode())
            writer.stdin.flush()
        wait_for(lambda: len(list(tmp_path.glob(".llmprep-*.tmp"))) == 2)
        assert [finish(writer).code for writer in (one, other)] == [0, 0]

    made = read_pt(tmp_path / "x.pt")
    assert (made.tensors["input_ids"].shape[1] in (5, 9), made.meta["n_tokens"]) == (True, 561)
    assert names(tmp_path) == {"x.pt"}

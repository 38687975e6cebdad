"""Rows 25 to 30, 32, 33 and 36 to 39 of the table of hostile inputs: outputs that fail, .pt files that lie."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
import pty
import resource
import shlex
import shutil
import stat
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from support.commands import Call, Ended, Run, clean_environment

from llmprep.formats.tokens import write_tokens
from llmprep.inputs import open_tokens
from llmprep.ptfile.reading import read_pt
from llmprep.store.manifest import seal

OLD = b"PK\x03\x04 the old file"
TEXT = "It was the best of times, it was the worst of times. " * 40


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A short text, in the folder that commands run in."""
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def token_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A tokens file of that text, made once."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    sink = io.BytesIO()
    write_tokens(sink, open_tokens([str(path)]), dtype="int64")
    return sink.getvalue()


@pytest.fixture
def tokens(token_bytes: bytes, tmp_path: Path) -> Path:
    """The tokens file, in the folder that commands run in; commands that take it need no vocabulary."""
    path = tmp_path / "tokens.pt"
    path.write_bytes(token_bytes)
    return path


def names(folder: Path) -> set[str]:
    """What lies in a folder."""
    return {path.name for path in folder.iterdir()}


def one_error(ended: Ended, code: int) -> str:
    """Check that a command ended with one line of error and no other word; return the line."""
    assert (ended.code, ended.stdout) == (code, b""), ended
    (line,) = ended.notes
    assert line.startswith("llmprep: error: ")
    return line


EVERY = {
    "tokenize": ["tokenize"],
    "pairs": ["pairs"],
    "window": ["window", "--max-length", "9"],
    "dense": ["window", "--max-length", "9", "--dense"],
    "embed": ["embed", "--max-length", "9", "--dim", "8"],
}
every_command = pytest.mark.parametrize("command", EVERY.values(), ids=EVERY)


# --- 25: no space left ----------------------------------------------------------------------------


class SmallDisk(io.FileIO):
    """A file on a disk with room for so many bytes: as the system does, it takes what fits, then fails."""

    room = 0

    def write(self, data: Any, /) -> int:
        """Write what fits."""
        if not SmallDisk.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = memoryview(data).cast("B")[: SmallDisk.room]
        SmallDisk.room -= len(part)
        return super().write(part)


@every_command
@pytest.mark.parametrize("room", [0, 1, 60, 400, 900])
def test_25_no_space_left_at_a_write(
    command: list[str], room: int, call: Call, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little fits, the error says so, the old file is intact and nothing is left behind."""
    (tmp_path / "x.pt").write_bytes(OLD)
    opened = os.fdopen

    def open_on_small_disk(descriptor: int, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if mode != "wb":
            return opened(descriptor, mode, *rest, **more)
        # a small buffer, so that any write may be the one that fails
        return io.BufferedWriter(SmallDisk(descriptor, mode), buffer_size=64)

    monkeypatch.setattr(SmallDisk, "room", room)
    monkeypatch.setattr(os, "fdopen", open_on_small_disk)

    ended = call(*command, tokens, "-o", "x.pt", "-q")

    assert "x.pt: no space left" in one_error(ended, 1)
    assert (tmp_path / "x.pt").read_bytes() == OLD
    assert names(tmp_path) == {"tokens.pt", "x.pt"}


@every_command
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_25_no_space_left_at_fsync_and_rename(
    command: list[str], step: str, call: Call, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that says it is full only at the end is heard there too."""
    (tmp_path / "x.pt").write_bytes(OLD)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, fail)

    ended = call(*command, tokens, "-o", "x.pt", "-q")

    assert "x.pt: no space left" in one_error(ended, 1)
    assert (tmp_path / "x.pt").read_bytes() == OLD
    assert names(tmp_path) == {"tokens.pt", "x.pt"}


@every_command
def test_25_a_full_device(command: list[str], call: Call, tokens: Path, tmp_path: Path) -> None:
    """A real device that is full gives the same error, also where its space is found used up at the last flush."""
    ended = call(*command, tokens, "-o", "/dev/full", "-q")

    assert "/dev/full: no space left" in one_error(ended, 1)
    assert names(tmp_path) == {"tokens.pt"}


@contextmanager
def file_size_limit(n_bytes: int) -> Iterator[None]:
    """Let the system take no file larger than this, as ``ulimit -f`` does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("n_bytes", [0, 100, 1000, 4000])
@pytest.mark.parametrize("more", [[], ["--dense"], ["--val-fraction", "0.5"]], ids=["views", "dense", "split"])
def test_25_a_file_size_limit(more: list[str], n_bytes: int, call: Call, tokens: Path, tmp_path: Path) -> None:
    """Under a real limit one line names the output or the temporary file that met it; the old files are intact."""
    outputs = {"x.train.windows.pt", "x.val.windows.pt"} if "--val-fraction" in more else {"x.pt"}
    for name in outputs:
        (tmp_path / name).write_bytes(OLD)

    with file_size_limit(n_bytes):
        ended = call("window", tokens, "--max-length", "9", "-o", "x.pt", "-q", *more)

    error = one_error(ended, 1)
    assert "the file-size limit is reached" in error or "temporary file in " in error
    assert names(tmp_path) == outputs | {"tokens.pt"}
    assert {(tmp_path / name).read_bytes() for name in outputs} == {OLD}


# --- 26: folders ----------------------------------------------------------------------------------


@pytest.fixture
def latin(tmp_path: Path) -> Path:
    """A file that is no UTF-8: whoever reads it ends with another error than whoever looks at the output first."""
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9")
    return path


@every_command
def test_26_a_missing_folder(command: list[str], call: Call, latin: Path, tmp_path: Path) -> None:
    """A folder that is not there is named before any work, and not made."""
    ended = call(*command, latin, "-o", "none/x.pt")

    assert "none/x.pt: there is no folder none" in one_error(ended, 1)
    assert names(tmp_path) == {"latin.txt"}


@every_command
def test_26_a_folder_as_output(command: list[str], call: Call, latin: Path, tmp_path: Path) -> None:
    """An output that is a folder is a usage error before any work, with ``--force`` too."""
    (tmp_path / "folder").mkdir()

    for force in ([], ["--force"]):
        ended = call(*command, latin, "-o", "folder", *force)
        assert "folder: is a folder" in one_error(ended, 2)


def test_26_a_read_only_folder(llmprep: Run, latin: Path, tmp_path: Path) -> None:
    """A folder that may not be written is an error before any work, also for root without its privileges."""
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o555)
    dropped = "-dac_override,-dac_read_search"
    prefix = ("setpriv", "--bounding-set", dropped, "--inh-caps", dropped) if os.access(folder, os.W_OK) else ()
    if prefix and (not shutil.which("setpriv") or subprocess.run([*prefix, "true"], check=False).returncode):
        pytest.skip("root cannot drop its privileges here")

    ended = llmprep("window", latin, "-o", "folder/x.pt", prefix=prefix)

    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr == b"llmprep: error: folder/x.pt: its folder is not writable\n"
    assert names(folder) == set()


# --- 27: existing outputs -------------------------------------------------------------------------


@every_command
def test_27_a_pt_file_is_replaced(command: list[str], call: Call, tokens: Path, tmp_path: Path) -> None:
    """An existing .pt is replaced without a word, as make needs it."""
    assert call(*command, tokens, "-o", "new.pt", "-q").code == 0
    (tmp_path / "x.pt").write_bytes(OLD)

    ended = call(*command, tokens, "-o", "x.pt", "-q")

    assert (ended.code, ended.stderr) == (0, b"") or command[0] == "embed"
    assert (tmp_path / "x.pt").read_bytes() == (tmp_path / "new.pt").read_bytes()


@every_command
def test_27_another_file_is_kept(command: list[str], call: Call, latin: Path, tmp_path: Path) -> None:
    """A file that is not a .pt, whatever it is called, is refused before any work unless ``--force`` is given."""
    notes = tmp_path / "notes.pt"
    notes.write_text("My notes.")

    refused = call(*command, latin, "-o", "notes.pt")
    forced = call(*command, latin, "-o", "notes.pt", "--force")

    assert "notes.pt: exists and is not a .pt file" in one_error(refused, 6)
    assert "not valid UTF-8" in one_error(forced, 3)
    assert notes.read_text() == "My notes."


def test_27_force_replaces(call: Call, tokens: Path, tmp_path: Path) -> None:
    """With ``--force`` a file that is not a .pt becomes one."""
    (tmp_path / "x.txt").write_text("My notes.")

    assert call("window", tokens, "--max-length", "9", "-o", "x.txt", "--force", "-q").code == 0

    assert torch.load(tmp_path / "x.txt", weights_only=True)["input_ids"].shape[1] == 9


def test_27_every_output_is_looked_at(call: Call, tokens: Path, tmp_path: Path) -> None:
    """The second file of a split, and the weights of `embed`, are no less protected than the first output."""
    (tmp_path / "x.val.windows.pt").write_text("My notes.")
    (tmp_path / "w.pt").write_text("My notes.")

    split = call("window", tokens, "--val-fraction", "0.5", "--max-length", "9", "-o", "x.pt")
    embed = call("embed", tokens, "--max-length", "9", "-o", "e.pt", "--save-weights", "w.pt")

    assert "x.val.windows.pt: exists and is not" in one_error(split, 6)
    assert "w.pt: exists and is not" in one_error(embed, 6)
    assert names(tmp_path) == {"tokens.pt", "x.val.windows.pt", "w.pt"}


# --- 28: an output that is an input ---------------------------------------------------------------


@every_command
@pytest.mark.parametrize("how", ["itself", "symbolic link", "hard link", "second input"])
def test_28_an_output_that_is_an_input(
    command: list[str], how: str, call: Call, latin: Path, text: Path, tmp_path: Path
) -> None:
    """It is refused before a byte is read, through links and with ``--force`` too."""
    output = tmp_path / "x.pt"
    match how:
        case "itself":
            output = latin
        case "symbolic link":
            output.symlink_to(latin.name)
        case "hard link":
            output.hardlink_to(latin)
        case _:
            output = text

    ended = call(*command, latin, text, "-o", output, "--force")

    assert "is also an input" in one_error(ended, 2)
    assert latin.read_bytes() == b"caf\xe9"
    assert text.read_text() == TEXT


def test_28_a_default_name_that_is_the_input(call: Call, tokens: Path) -> None:
    """`tokenize x.tokens.pt` would write x.tokens.pt: refused, and the file stays."""
    again = tokens.rename(tokens.with_name("x.tokens.pt"))
    before = again.read_bytes()

    assert "x.tokens.pt: is also an input" in one_error(call("tokenize", "x.tokens.pt"), 2)

    assert again.read_bytes() == before


def test_28_weights_are_an_input(call: Call, tokens: Path, tmp_path: Path) -> None:
    """The tables that `embed` reads are not overwritten by what it writes, nor do its two outputs meet."""
    size = ("--max-length", "9", "--dim", "8")
    assert call("embed", tokens, *size, "-o", "e.pt", "--save-weights", "w.pt", "-q").code == 0
    before = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "link.pt").symlink_to("w.pt")

    for more in (
        ("--weights", "w.pt", "-o", "w.pt"),
        ("--weights", "w.pt", "-o", "link.pt"),
        ("--weights", "link.pt", "-o", "e.pt", "--save-weights", "w.pt"),
        ("-o", "new.pt", "--save-weights", "./new.pt"),
        ("-o", "-", "--save-weights", "-"),
    ):
        assert "is also" in one_error(call("embed", tokens, *size, *more), 2)

    assert (tmp_path / "w.pt").read_bytes() == before
    assert names(tmp_path) == {"tokens.pt", "e.pt", "w.pt", "link.pt"}


# --- 29: devices, pipes and terminals -------------------------------------------------------------


@every_command
def test_29_the_null_device(command: list[str], call: Call, tokens: Path, tmp_path: Path) -> None:
    """The null device is written straight and stays what it is."""
    assert call(*command, tokens, "-o", os.devnull, "-q").code == 0

    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    assert names(tmp_path) == {"tokens.pt"}


@every_command
def test_29_a_named_pipe(command: list[str], call: Call, tokens: Path, tmp_path: Path) -> None:
    """A FIFO gets the bytes that a file gets, and stays a FIFO."""
    fifo, received = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reader.start()

    ended = call(*command, tokens, "-o", "fifo", "-q")
    reader.join(10)

    assert ended.code == 0
    assert call(*command, tokens, "-o", "x.pt", "-q").code == 0
    assert received == [(tmp_path / "x.pt").read_bytes()]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_29_standard_output_to_a_pipe(llmprep: Run, text: Path, tmp_path: Path) -> None:
    """With ``-o -`` a pipe gets the file and nothing else; the words go to standard error."""
    size = ("--max-length", "9", "--stride", "2")
    piped = llmprep("window", text, *size, "-o", "-")
    filed = llmprep("window", text, *size, "-o", "x.pt")

    assert (piped.returncode, filed.returncode) == (0, 0)
    assert piped.stdout == (tmp_path / "x.pt").read_bytes()
    assert b"---->" in piped.stderr
    assert b"---->" in filed.stdout
    assert names(tmp_path) == {"text.txt", "x.pt"}


@every_command
def test_29_a_terminal_is_refused(command: list[str], call: Call, latin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets no binary: refused before any work, in one line."""
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stdout, os.fdopen(controller, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stdout", stdout)

        ended = call(*command, latin, "-o", "-")

        os.set_blocking(screen.fileno(), False)
        assert screen.read(100) is None
    assert "standard output is a terminal" in one_error(ended, 2)


# --- 30: names ------------------------------------------------------------------------------------


def test_30_a_name_of_255_bytes(call: Call, tokens: Path, tmp_path: Path) -> None:
    """The longest name a file can have works, though the temporary file needs a name beside it."""
    longest = "x" * 252 + ".pt"

    assert call("window", tokens, "--max-length", "9", "-o", longest, "-q").code == 0
    assert "name too long" in one_error(call("window", tokens, "-o", f"x{longest}"), 1)

    assert names(tmp_path) == {"tokens.pt", longest}


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "dangling"])
def test_30_a_symbolic_link(there: bool, call: Call, tokens: Path, tmp_path: Path) -> None:
    """An output that is a link stays one; what it points to, in another folder too, is replaced or made."""
    (tmp_path / "sub").mkdir()
    target, link = tmp_path / "sub" / "target.pt", tmp_path / "link.pt"
    if there:
        target.write_bytes(OLD)
    link.symlink_to("sub/target.pt")

    assert call("window", tokens, "--max-length", "9", "-o", "link.pt", "-q").code == 0

    assert link.is_symlink()
    assert not target.is_symlink()
    assert torch.load(target, weights_only=True)["input_ids"].shape[1] == 9
    assert names(tmp_path / "sub") == {"target.pt"}


# --- 32: SIGKILL at every step --------------------------------------------------------------------

DRIVER = '''
import hashlib, io, json, os, signal, sys
from pathlib import Path
from llmprep.cli.main import run

outputs, arguments = sys.argv[1].split(","), sys.argv[2:]
taken = fatal = 0

def step(half=None):
    """Count a step; at the fatal one, do half of it, then die as a process that the kernel kills."""
    global taken
    taken += 1
    if taken == fatal:
        half and half()
        os.kill(os.getpid(), signal.SIGKILL)

class Raw(io.FileIO):
    def write(self, data):
        data = bytes(data)
        step(lambda: super(Raw, self).write(data[:len(data) // 2]))
        return super().write(data)

def watched(function):
    def call(*a, **k):
        step()
        return function(*a, **k)
    return call

def opened(descriptor, mode="r", *rest, real=os.fdopen, **more):
    if mode != "wb":
        return real(descriptor, mode, *rest, **more)
    step()
    return io.BufferedWriter(Raw(descriptor, mode), buffer_size=1)

def child(killed_at):
    global fatal
    pid = os.fork()
    if pid == 0:
        fatal = killed_at
        os._exit(run(arguments))
    return os.waitpid(pid, 0)[1]

def content(name):
    return hashlib.sha256(Path(name).read_bytes()).hexdigest() if Path(name).exists() else ""

os.fdopen = opened
os.fsync, os.replace, os.unlink = watched(os.fsync), watched(os.replace), watched(os.unlink)
fatal = -1
run(arguments)  # imports everything once, for all children
taken, limit, status = 0, 0, -1
while status != 0:
    for name in outputs:
        Path(name).write_bytes(b"PK\\x03\\x04 the old file")
    limit += 1
    status = child(limit)
    left = [content(name) for name in outputs]
    again = child(-1)
    rubbish = [path.name for path in Path().glob(".llmprep-*")]
    print(json.dumps([status, left, again, [content(name) for name in outputs], rubbish]))
'''


@pytest.mark.parametrize(
    ("more", "outputs"),
    [([], ["x.pt"]), (["--val-fraction", "0.5"], ["x.train.windows.pt", "x.val.windows.pt"])],
    ids=["one output", "two outputs"],
)
def test_32_killed_at_every_step(more: list[str], outputs: list[str], call: Call, tokens: Path, tmp_path: Path) -> None:
    """Killed at any write, in its middle, or at any sync or rename: the old file or the new one, whole.

    The next run succeeds, over whatever the killed one left, and removes it.
    """
    command = ["window", "tokens.pt", "--max-length", "9", "-o", "x.pt", "-q", *more]
    old, new = {}, {}
    assert call(*command).code == 0
    for name in outputs:
        new[name] = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        old[name] = hashlib.sha256(OLD).hexdigest()

    driven = subprocess.run(
        [sys.executable, "-c", DRIVER, ",".join(outputs), *command],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        timeout=60,
        check=True,
    )

    runs = [json.loads(line) for line in driven.stdout.splitlines()]
    assert len(runs) > 10 * len(outputs)
    assert [status for status, *_ in runs] == [9] * (len(runs) - 1) + [0]
    for _, left, again, after, rubbish in runs:
        assert again == 0
        assert rubbish == []
        assert after == list(new.values())
        for name, found in zip(outputs, left, strict=True):
            assert found in (old[name], new[name])
    seen = {tuple(left) for _, left, *_ in runs}
    assert {tuple(old.values()), tuple(new.values())} <= seen


# --- 33: two at once ------------------------------------------------------------------------------


def test_33_two_writers_of_one_output(llmprep: Run, tmp_path: Path) -> None:
    """Two processes that write one output at the same time both succeed; the file is one of the two, whole."""
    data, lengths, wanted = TEXT.encode(), ("5", "9"), []
    for length in lengths:
        assert llmprep("window", "-", "--max-length", length, "-o", "x.pt", stdin=data).returncode == 0
        wanted.append((tmp_path / "x.pt").read_bytes())

    writers = [
        subprocess.Popen(
            [sys.executable, "-m", "llmprep", "window", "-", "--max-length", length, "-o", "x.pt", "-q"],
            cwd=tmp_path,
            env=clean_environment(),
            stdin=subprocess.PIPE,
        )
        for length in lengths
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(data[:1000])
        writer.stdin.flush()
    wait_for(lambda: len(list(tmp_path.glob(".llmprep-*.tmp"))) == 2)
    for writer in writers:
        writer.communicate(data[1000:], timeout=20)

    assert [writer.returncode for writer in writers] == [0, 0]
    assert (tmp_path / "x.pt").read_bytes() in wanted
    assert names(tmp_path) == {"x.pt"}


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for a few seconds at most."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- 36 to 39: .pt files that lie -----------------------------------------------------------------

READERS = [
    ["window", "--max-length", "4"],
    ["pairs"],
    ["embed", "--max-length", "4", "--dim", "2"],
    ["embed", "tokens.pt", "--max-length", "4", "--weights"],
]
"""Commands that read a .pt file, whose name goes behind."""

TAKERS = [["tokenize"], *READERS[:-1]]
"""Those that take ids from it."""


def refused(call: Call, path: Path) -> set[str]:
    """Give a file to every command that reads one; each must refuse it. Return the errors."""
    before = names(path.parent)
    errors = {one_error(call(*command, path.name, "-o", "out.pt"), 4) for command in READERS}
    assert names(path.parent) == before
    assert all(error.startswith(f"llmprep: error: {path.name}: ") for error in errors)
    return errors


def pt_of(path: Path, pickled: bytes) -> Path:
    """Write a file that is sound but for its pickle."""
    records = {"data.pkl": pickled, "data/0": bytes(80), "byteorder": b"little", "version": b"3\n"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            archive.writestr(f"x/{name}", data)
    return path


class Calls:
    """Pickles as a call of a function, with whatever else an object may ask for."""

    def __init__(self, function: Any, *arguments: Any, more: tuple[Any, ...] = ()) -> None:
        self._reduced = function, arguments, *more

    def __reduce__(self) -> Any:
        """What pickle writes."""
        return self._reduced


CODE: dict[str, Callable[[str], bytes]] = {
    "os.system": lambda canary: pickle.dumps(Calls(os.system, f"mkdir {shlex.quote(canary)}"), 2),
    "under a key": lambda canary: pickle.dumps({"token_ids": Calls(os.mkdir, canary)}, 2),
    "as a key": lambda canary: pickle.dumps({Calls(os.mkdir, canary): 1}, 2),
    "in a list in a dict": lambda canary: pickle.dumps({"meta": {"a": [1, [Calls(os.mkdir, canary)]]}}, 2),
    "eval": lambda canary: pickle.dumps({"x": Calls(eval, f"__import__('os').mkdir({canary!r})")}, 2),
    "exec": lambda canary: pickle.dumps({"x": Calls(exec, f"import os; os.mkdir({canary!r})")}, 2),
    "as an argument": lambda canary: pickle.dumps(Calls(str, Calls(str, Calls(os.mkdir, canary))), 2),
    "as a state": lambda canary: pickle.dumps(Calls(OrderedDict, more=({"a": Calls(os.mkdir, canary)},)), 2),
    "as an item": lambda canary: pickle.dumps(
        Calls(OrderedDict, more=(None, None, iter([("a", Calls(os.mkdir, canary))]))), 2
    ),
    "twice": lambda canary: pickle.dumps(
        [Calls(os.mkdir, canary), Calls(os.rmdir, canary), Calls(os.mkdir, canary)], 2
    ),
    "protocol 0": lambda canary: pickle.dumps({"x": Calls(os.mkdir, canary)}, 0),
    "protocol 4": lambda canary: pickle.dumps({"x": Calls(os.mkdir, canary)}, 4),
    "protocol 5": lambda canary: pickle.dumps({"x": Calls(os.mkdir, canary)}, 5),
    "instance": lambda canary: f"(V{canary}\nios\nmkdir\n.".encode(),
    "object": lambda canary: f"(cos\nmkdir\nV{canary}\no.".encode(),
    "behind a sound value": lambda canary: pickle.dumps({"token_ids": [1], "x": Calls(os.mkdir, canary)}, 2),
    "thrown away": lambda canary: f"\x80\x02cos\nmkdir\nV{canary}\n\x85R0}}.".encode("latin-1"),
}


@pytest.mark.parametrize("make", CODE.values(), ids=CODE)
def test_36_nothing_in_a_file_is_run(make: Callable[[str], bytes], call: Call, tokens: Path, tmp_path: Path) -> None:
    """A pickle that Python would run, however it hides that, is refused by every command and not run."""
    canary = tmp_path / "canary"
    pickled = make(str(canary))
    pickle.loads(pickled)  # noqa: S301 - our own, to see that it bites
    canary.rmdir()

    errors = refused(call, pt_of(tmp_path / "x.pt", pickled))

    assert not canary.exists()
    assert all("nothing was run" in error for error in errors)


def valued(opcodes: bytes) -> bytes:
    """A pickle of a dict with one value, which the opcodes make."""
    return b"\x80\x02}X\x01\x00\x00\x00x" + opcodes + b"s."


BOMBS = {
    "lists that hold one list twice": valued(b"]q\x00" + b"](h\x00h\x00eq\x00" * 60),
    "tuples that hold one tuple twice": valued(b")q\x00" + b"h\x00h\x00\x86q\x00" * 60),
    "dicts that hold one dict twice": valued(
        b"}q\x00" + b"}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00uq\x00" * 60
    ),
    "a list that holds itself": valued(b"]q\x00h\x00a"),
    "deep lists": valued(b"]" * 10_000 + b"a" * 9_999),
    "deep tuples": valued(b")" + b"\x85" * 10_000),
    "text of 4 GB": valued(b"X\xff\xff\xff\xffabc"),
    "number of 2 GB": valued(b"\x8b\xff\xff\xff\x7fabc"),
    "memo of 4 billion": valued(b"Nr\xff\xff\xff\xffs}r\xfe\xff\xff\xffX\x01\x00\x00\x00x" + b"j\xfe\xff\xff\xff"),
}


@pytest.mark.parametrize("pickled", BOMBS.values(), ids=BOMBS)
def test_36_a_small_file_stays_small(pickled: bytes, call: Call, tokens: Path, tmp_path: Path) -> None:
    """A pickle that would unfold to more than its size is refused without unfolding."""
    path = pt_of(tmp_path / "x.pt", pickled)
    start = time.monotonic()

    refused(call, path)

    assert time.monotonic() - start < 5


@pytest.mark.slow
def test_36_a_pickle_of_endless_steps(call: Call, tokens: Path, tmp_path: Path) -> None:
    """Tens of millions of values that would fill the memory are refused on the way."""
    path = pt_of(tmp_path / "x.pt", b"\x80\x02" + b"N" * (60 << 20) + b".")

    assert "the pickle takes more than 8388608 steps" in one_error(call("window", path), 4)


def test_36_a_pickle_too_large(call: Call, tokens: Path, tmp_path: Path) -> None:
    """A pickle larger than any that describes tensors is not even begun."""
    path = pt_of(tmp_path / "x.pt", bytes(65 << 20))

    assert "its pickle has 68157440 bytes" in one_error(call("window", path), 4)


@contextmanager
def small_and_quick() -> Iterator[None]:
    """Check that the block takes less than 4 MB and 5 seconds."""
    start = time.monotonic()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 5


def zip_of(path: Path, records: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> Path:
    """Write a zip of any names, some of them twice."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, data in records:
            archive.writestr(name, data)
    return path


EMPTY = ("x/data.pkl", b"\x80\x02}.")


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([EMPTY, EMPTY], "duplicate record name"),
        ([EMPTY, ("y/data.pkl", EMPTY[1])], "duplicate record name"),
        ([EMPTY, ("x/../../evil", b"")], "unsafe"),
        ([EMPTY, ("../evil", b"")], "unsafe"),
        ([("../data.pkl", EMPTY[1])], "unsafe"),
        ([EMPTY, ("x/data\n/0\x1b[2J", b""), ("evil", b"")], "unsafe"),
        ([EMPTY, ("z/version", b"3\n")], "no data.pkl"),
        ([("x/notes.txt", b"a zip like any other")], "no data.pkl"),
    ],
)
def test_36_names_of_records(
    records: list[tuple[str, bytes]], reason: str, call: Call, tokens: Path, tmp_path: Path
) -> None:
    """Records that stand twice, or whose names lead out of the archive, are refused."""
    errors = refused(call, zip_of(tmp_path / "x.pt", records))

    assert all(reason in error for error in errors)
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_36_compressed_records(method: int, call: Call, tokens: Path, tmp_path: Path) -> None:
    """A record that would unpack to a thousand times its size is refused, packed as it is."""
    path = zip_of(tmp_path / "x.pt", [EMPTY, ("x/data/0", bytes(8 << 20))], method)
    assert path.stat().st_size < 20_000

    with small_and_quick():
        assert call("window", path).code == 4
    assert all("compressed" in error for error in refused(call, path))


# --- 37: sizes that lie ---------------------------------------------------------------------------


def utf8(text: str) -> bytes:
    """The opcode that pushes a text."""
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def integers(*numbers: int) -> bytes:
    """The opcodes that push numbers of up to 16 bytes."""
    return b"".join(b"\x8a\x10" + number.to_bytes(16, "little", signed=True) for number in numbers)


def tensor(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, n_storage: int = 10) -> bytes:
    """The opcodes of a tensor of int64 over record data/0, which holds ten."""
    storage = b"(" + utf8("storage") + b"ctorch\nLongStorage\n" + utf8("0") + utf8("cpu") + integers(n_storage) + b"tQ"
    place = integers(offset) + b"(" + integers(*shape) + b"t(" + integers(*strides) + b"t"
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + place + hooks + b"tR"


def tensors(*keys: str, **place: Any) -> bytes:
    """A pickle with one tensor under several keys."""
    return b"\x80\x02}(" + b"".join(utf8(key) + tensor(**place) for key in keys) + b"u."


KEYS = ("token_ids", "input_ids", "target_ids", "token_embedding.weight", "pos_embedding.weight")
"""Whatever the command looks for is there."""


def test_37_the_tensor_without_a_lie(call: Call, tokens: Path, tmp_path: Path) -> None:
    """What the tests below change is sound before: the same file with true sizes is read."""
    path = pt_of(tmp_path / "x.pt", tensors("token_ids", shape=(10,), strides=(1,), offset=0))

    assert call("window", path, "--encoding", "gpt2", "--max-length", "4", "-q").code == 0


@pytest.mark.parametrize(
    "place",
    [
        {"shape": (10**12,), "strides": (1,), "offset": 0, "n_storage": 10**12},
        {"shape": (10**6, 10**6), "strides": (10**6, 1), "offset": 0, "n_storage": 10**12},
        {"shape": (10**6, 10**6), "strides": (0, 0), "offset": 0},
        {"shape": (10**12, 4), "strides": (0, 1), "offset": 0},
        {"shape": (10**12,), "strides": (0,), "offset": 9},
        {"shape": (2, 5), "strides": (5, 0), "offset": 0},
        {"shape": (10,), "strides": (1,), "offset": 1},
        {"shape": (1,), "strides": (1,), "offset": 10},
        {"shape": (1,), "strides": (1,), "offset": 2**63 - 1},
        {"shape": (1,), "strides": (1,), "offset": -1},
        {"shape": (-1,), "strides": (1,), "offset": 0},
        {"shape": (-4, -4), "strides": (1, 1), "offset": 0},
        {"shape": (2, 4), "strides": (-4, 1), "offset": 4},
        {"shape": (2**32, 2**32), "strides": (2**32, 1), "offset": 0},
        {"shape": (2**63,), "strides": (1,), "offset": 0},
        {"shape": (2, 2, 2, 2), "strides": (1, 1, 1, 1), "offset": 0},
        {"shape": (10**12, 0), "strides": (1, 1), "offset": 11},
    ],
    ids=str,
)
def test_37_sizes_that_lie(place: dict[str, Any], call: Call, tokens: Path, tmp_path: Path) -> None:
    """A tensor that is larger than its record, repeats it or leaves it is refused at once, in little memory."""
    path = pt_of(tmp_path / "x.pt", tensors(*KEYS, **place))
    assert path.stat().st_size < 3000

    with small_and_quick():
        assert call("window", path).code == 4
    errors = refused(call, path)

    assert all("refused, nothing was run: a tensor" in error for error in errors)


def test_37_what_torch_expands(call: Call, tokens: Path, tmp_path: Path) -> None:
    """Even torch saves one element expanded to a table of 10^12: refused."""
    table = torch.zeros(1, dtype=torch.int64).expand(10**6, 10**6)
    torch.save(dict.fromkeys(KEYS, table), tmp_path / "x.pt")
    assert (tmp_path / "x.pt").stat().st_size < 3000

    with small_and_quick():
        assert call("window", "x.pt").code == 4
    assert all("stride 0" in error for error in refused(call, tmp_path / "x.pt"))


@pytest.mark.parametrize("n_vocab", [10**12, 10**10, 0, -1, True, 50257.0, "50257", None])
def test_37_a_vocabulary_size_that_lies(n_vocab: object, call: Call, tokens: Path, tmp_path: Path) -> None:
    """What ``meta`` says of the vocabulary allots no memory: a size that no vocabulary has is refused."""
    held = torch.load(tokens, weights_only=True)
    torch.save(held | {"meta": held["meta"] | {"n_vocab": n_vocab}}, tmp_path / "x.pt")

    with small_and_quick():
        assert call("tokenize", "x.pt").code == 4
    for command in TAKERS:
        assert "x.pt: meta: n_vocab" in one_error(call(*command, "x.pt"), 4)


# --- 38: damaged files ----------------------------------------------------------------------------


def legacy() -> bytes:
    """A file in the format that torch wrote before it wrote zips."""
    sink = io.BytesIO()
    torch.save({"token_ids": torch.arange(9)}, sink, _use_new_zipfile_serialization=False)
    return sink.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"P", b"PK\x03\x04", TEXT.encode(), b'{"token_ids": [1, 2, 3]}', legacy(), bytes(999), b"\x89PNG\r\n\x1a\n"],
    ids=["empty", "one byte", "four bytes", "text", "json", "legacy", "zeros", "picture"],
)
def test_38_not_a_pt_file(data: bytes, call: Call, tokens: Path, tmp_path: Path) -> None:
    """What is called .pt and is something else is not taken for text: it is ``not a .pt file``."""
    path = tmp_path / "x.pt"
    path.write_bytes(data)

    assert all("not a .pt file" in error for error in refused(call, path))


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.98, 0.9999])
def test_38_a_truncated_file(share: float, call: Call, tokens: Path, tmp_path: Path) -> None:
    """A file cut short anywhere is ``not a .pt file, or cut short``."""
    path = tmp_path / "x.pt"
    data = tokens.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    assert all("not a .pt file" in error for error in refused(call, path))


def test_38_one_flipped_bit(call: Call, tokens: Path, tmp_path: Path) -> None:
    """A bit flipped anywhere is an error, or lies where nothing is said, and the result is the same."""
    path, data = tmp_path / "x.pt", tokens.read_bytes()
    command = ("window", "x.pt", "--max-length", "4", "-o", "y.pt", "-q")
    path.write_bytes(data)
    assert call(*command).code == 0
    whole = (tmp_path / "y.pt").read_bytes()
    seen = set()

    for byte in (*range(4), *range(4, len(data), len(data) // 60)):
        (tmp_path / "y.pt").unlink(missing_ok=True)
        path.write_bytes(data[:byte] + bytes([data[byte] ^ 1 << byte % 7]) + data[byte + 1 :])
        ended = call(*command)
        seen.add(ended.code)
        if ended.code == 0:
            assert (tmp_path / "y.pt").read_bytes() == whole
        else:
            assert "x.pt: " in one_error(ended, 4)
            assert not (tmp_path / "y.pt").exists()

    assert seen == {0, 4}


@pytest.mark.parametrize("record", ["data/0", "data.pkl"])
def test_38_a_flipped_bit_in_a_record(record: str, call: Call, tokens: Path, tmp_path: Path) -> None:
    """Where the bit lies in ids or in their description, the error is the checksum's, for every command."""
    data = tokens.read_bytes()
    held = zipfile.ZipFile(tokens).read(f"archive/{record}")
    place = data.index(held) + len(held) // 2
    path = tmp_path / "x.pt"
    path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])

    assert all(f"checksum of record 'archive/{record}'" in error for error in refused(call, path))


# --- 39: other contents ---------------------------------------------------------------------------


def saved(path: Path, **values: object) -> Path:
    """Write with torch."""
    torch.save(values, path)
    return path


IDS = torch.arange(100)
ROWS = IDS.view(5, 20)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "no tensor"),
        ({"ids": IDS}, "holds ids"),
        ({"token_ids": IDS.float()}, "dtype float32"),
        ({"token_ids": IDS.bool()}, "dtype bool"),
        ({"token_ids": IDS.to(torch.uint8)}, "dtype uint8"),
        ({"token_ids": ROWS}, r"shape (5, 20)"),
        ({"token_ids": IDS[7]}, r"shape ()"),
        ({"token_ids": IDS.tolist()}, "no tensor"),
        ({"input_ids": ROWS}, "target_ids: missing"),
        ({"input_ids": ROWS, "target_ids": IDS}, "target_ids: shape (100,)"),
        ({"input_ids": ROWS, "target_ids": ROWS[:4]}, "differ in shape"),
        ({"input_ids": ROWS.double(), "target_ids": ROWS}, "input_ids: shape (5, 20), dtype float64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_39_wrong_dtype_rank_or_key(values: dict[str, object], reason: str, call: Call, tmp_path: Path) -> None:
    """A file that holds other tensors than ids is refused with what was found."""
    saved(tmp_path / "x.pt", **values)

    for command in TAKERS:
        assert reason in one_error(call(*command, "x.pt"), 4)
    assert names(tmp_path) == {"x.pt"}


def test_39_an_id_beyond_the_vocabulary_in_windows(call: Call, tmp_path: Path) -> None:
    """The first id that has no row in the table is named with its place, before the lookup."""
    rows = ROWS.clone()
    rows[3, 17] = 50300
    saved(tmp_path / "x.pt", input_ids=rows, target_ids=ROWS)
    saved(tmp_path / "y.pt", input_ids=ROWS, target_ids=rows)

    for name in ("x.pt", "y.pt"):
        error = one_error(call("embed", name, "--dim", "2", "--encoding", "gpt2"), 4)
        assert error == f"llmprep: error: {name}: id 50300 at [3, 17] >= vocabulary 50257"


@pytest.mark.parametrize("command", TAKERS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("wrong", "words"), [(50257, ">= vocabulary 50257"), (2**40, ">= vocabulary"), (-1, "is negative")]
)
def test_39_a_wrong_id_in_a_stream(command: list[str], wrong: int, words: str, call: Call, tmp_path: Path) -> None:
    """Every command that reads ids checks each of them, and says which is wrong and where."""
    ids = IDS.clone()
    ids[42] = wrong
    saved(tmp_path / "x.pt", token_ids=ids)

    assert f"x.pt: id {wrong} at [42] {words}" in one_error(call(*command, "x.pt", "--encoding", "gpt2"), 4)
    assert names(tmp_path) == {"x.pt"}


@pytest.mark.parametrize("command", TAKERS, ids=lambda command: command[0])
@pytest.mark.parametrize("held", ["token_ids", "input_ids"])
def test_39_a_file_that_does_not_tell_its_vocabulary(
    held: str, command: list[str], call: Call, llmprep: Run, tmp_path: Path
) -> None:
    """Ids of another program are nobody's until --encoding says whose: no vocabulary is guessed, also not of a pipe."""
    rows = dict.fromkeys(("input_ids", "target_ids"), IDS[:20].view(5, 4))
    saved(tmp_path / "x.pt", **rows if held == "input_ids" else {"token_ids": IDS})

    error = one_error(call(*command, "x.pt"), 2)
    piped = llmprep(*command, "-", "-o", "out.pt", stdin=(tmp_path / "x.pt").read_bytes())

    told = "does not tell which vocabulary its ids are of; name it with --encoding"
    assert error == f"llmprep: error: x.pt: {told}"
    assert (piped.returncode, piped.stderr.decode()) == (2, f"llmprep: error: -: {told}\n")
    assert names(tmp_path) == {"x.pt"}


def test_39_a_vocabulary_that_is_named_is_the_files(call: Call, vocab_dir: Path, tmp_path: Path) -> None:
    """With --encoding the ids are checked against that vocabulary, shown by it, and the output says so."""
    saved(tmp_path / "x.pt", token_ids=torch.tensor([40, 473, 1846, 100256, 7]))
    named = ["--encoding", "cl100k_base", "--vocab-dir", str(vocab_dir)]

    assert call("window", "x.pt", "--max-length", "2", *named, "-o", "w.pt").code == 0
    assert read_pt(tmp_path / "w.pt").meta["encoding"] == "cl100k_base"
    assert "id 100256 at [3] >= vocabulary 50257" in one_error(call("pairs", "x.pt", "--encoding", "gpt2"), 4)


def test_39_the_largest_id_is_right(call: Call, tmp_path: Path) -> None:
    """Id 50256, the end of text, is the last one that is right."""
    saved(tmp_path / "x.pt", token_ids=torch.full((9,), 50256))

    assert call("embed", "x.pt", "--encoding", "gpt2", "--max-length", "4", "--dim", "2", "-q").code == 0


TABLES = {"token_embedding.weight": torch.zeros(200, 3), "pos_embedding.weight": torch.zeros(20, 3)}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"token_embedding.weight": None}, "a weights file has"),
        ({"pos_embedding.weight": None}, "a weights file has"),
        ({"token_embedding.weight": torch.zeros(200)}, "need (V, D) and (C, D)"),
        ({"pos_embedding.weight": torch.zeros(20, 3, 1)}, "need (V, D) and (C, D)"),
        (
            {"token_embedding.weight": torch.zeros(200, 3, dtype=torch.int64)},
            "needs token_embedding.weight as float32",
        ),
        (
            {"pos_embedding.weight": torch.zeros(20, 3, dtype=torch.bool)},
            "needs pos_embedding.weight as float32",
        ),
        ({"pos_embedding.weight": torch.zeros(20, 4)}, "pos_embedding.weight"),
        ({"token_embedding.weight": torch.zeros(0, 3)}, "not empty"),
        ({"token_embedding.weight": torch.zeros(99, 3)}, "id 99 at [4, 19] >= vocabulary 99"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_39_weights_that_do_not_fit(
    changed: dict[str, torch.Tensor | None], reason: str, call: Call, tmp_path: Path
) -> None:
    """Tables of other names, ranks, widths and dtypes, or too short for the ids, are refused before the lookup."""
    saved(tmp_path / "x.pt", input_ids=ROWS, target_ids=ROWS)
    saved(tmp_path / "w.pt", **{key: table for key, table in (TABLES | changed).items() if table is not None})

    assert reason in one_error(call("embed", "x.pt", "--encoding", "gpt2", "--weights", "w.pt"), 4)
    assert names(tmp_path) == {"x.pt", "w.pt"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoding", 5),
        ("vocab_sha256", None),
        ("n_tokens", "many"),
        ("n_tokens", -1),
        ("content_sha256", 7),
        ("options", []),
        ("sources", {}),
        ("sources", ["text.txt"]),
        ("sources", [{}]),
        ("sources", [{"name": 1, "bytes": 2, "sha256": "", "tokens": 4, "documents": 1}]),
        ("sources", [{"name": "a", "bytes": None, "sha256": "", "tokens": 4, "documents": 1}]),
    ],
)
def test_39_meta_of_another_form(key: str, value: object, call: Call, tokens: Path, tmp_path: Path) -> None:
    """A ``meta`` whose figures are missing or of another type is refused by name, not stumbled over."""
    held = torch.load(tokens, weights_only=True)
    saved(tmp_path / "x.pt", **held | {"meta": held["meta"] | {key: value}})

    for command in TAKERS:
        error = one_error(call(*command, "x.pt"), 4)
        assert "x.pt: meta: " in error
        assert key in error


def test_39_text_in_meta_is_shown_inert(call: Call, tokens: Path, tmp_path: Path) -> None:
    """Control characters in what a file says of itself reach the terminal written out."""
    held = torch.load(tokens, weights_only=True)
    source = {"name": "\x1b[2Jtext", "bytes": 1, "sha256": "\x9b31m", "tokens": 1, "documents": 1}
    saved(tmp_path / "x.pt", **held | {"meta": held["meta"] | {"encoding": "\x1b[2J\u202e", "sources": [source]}})

    for command in TAKERS:
        for more in ([], ["--json"]):
            ended = call(*command, "x.pt", *more)
            assert ended.code in (0, 5)
            said = (ended.stdout + ended.stderr).decode()
            assert said.replace("\n", "").isprintable()


# --- names in files -------------------------------------------------------------------------------


def test_long_and_many_names_in_a_file_are_cut_short(call: Call, tmp_path: Path) -> None:
    """However many and long the names are that a file holds, a message about them stays one short line."""
    long = [f"{number}{'k' * 12_000}" for number in range(200)]
    (tmp_path / "a.jsonl").write_text(json.dumps(dict.fromkeys(long, "")), encoding="utf-8")
    pa.parquet.write_table(pa.table({name: ["x"] for name in long}), tmp_path / "a.parquet")
    saved(tmp_path / "tensors.pt", **{name: torch.zeros(1) for name in long})
    saved(tmp_path / "values.pt", **dict.fromkeys(long, 1))
    with zipfile.ZipFile(tmp_path / "records.pt", "w") as archive:
        archive.writestr("x" * 60_000, b"")

    for name, code in {"a.jsonl": 3, "a.parquet": 3, "tensors.pt": 4, "values.pt": 4, "records.pt": 4}.items():
        for command in (["tokenize", name, "-o", "out.pt"], ["inspect", name]):
            ended = call(*command)
            assert ended.code in (code, 4)
            assert len(ended.stderr) < 600


LONG = "k\x1b[2J" * 3000
Forge = Callable[[dict[str, Any]], object]


def forge_meta(key: str) -> Forge:
    """Put a long text into a field of a file's meta."""
    return lambda held: held["meta"].__setitem__(key, LONG)


FORGED: dict[str, Forge] = {
    "a tensor's name": lambda held: held.__setitem__(LONG, held["token_ids"]),
    "an option": lambda held: held["meta"]["options"].__setitem__(LONG, LONG),
    "many options": lambda held: held["meta"]["options"].update(dict.fromkeys(map(str, range(5000)), 1)),
    "an input's name": lambda held: held["meta"]["sources"][0].__setitem__("name", LONG),
    "a number": lambda held: held["meta"].__setitem__("n_vocab", 10**600),
    **{key: forge_meta(key) for key in ("format", "kind", "encoding", "vocab_sha256", "content_sha256")},
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_what_a_file_says_of_itself_is_told_in_short_lines(forge: Forge, call: Call, tmp_path: Path) -> None:
    """However long a file's own words are, and whatever is in them, each line about it is short and inert."""
    (tmp_path / "a.txt").write_text("a few words")
    call("tokenize", "a.txt", "-o", "x.pt")
    held = torch.load(tmp_path / "x.pt", weights_only=True)
    forge(held)
    torch.save(held, tmp_path / "x.pt")

    for command in (["window", "--max-length", "2", "-o", "out.pt"], ["inspect"], ["inspect", "--verify"], ["pairs"]):
        ended = call(*command, "x.pt")

        assert max(map(len, [*ended.lines, *ended.notes])) < 600
        assert b"\x1b" not in ended.stdout + ended.stderr


def test_what_a_store_says_of_itself_is_told_in_short_lines(call: Call, tmp_path: Path) -> None:
    """The same of a manifest and a plan that were changed and sealed again."""
    (tmp_path / "a.txt").write_text("a few words")
    arguments = ["tokenize", "a.txt", "-o", "st/", "--jobs", "1", "--val-fraction", "0.5"]
    assert call(*arguments).code == 0
    for name, part in (("plan.json", "options"), ("manifest.json", "options"), ("manifest.json", "splits")):
        path = tmp_path / "st" / name
        kept = path.read_bytes()
        values = json.loads(kept)
        del values["seal_sha256"]
        values[part][LONG] = [0, 0] if part == "splits" else LONG
        path.write_bytes(seal(values))

        for command in (["inspect", "st"], ["inspect", "st", "--verify"], arguments):
            ended = call(*command)
            assert max(map(len, [*ended.lines, *ended.notes])) < 600
            assert b"\x1b" not in ended.stdout + ended.stderr
        path.write_bytes(kept)

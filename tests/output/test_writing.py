from __future__ import annotations

import errno
import fcntl
import io
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from llmprep.errors import LlmprepError, OutputError, ReaderGoneError, RefusedError, UsageError
from llmprep.output import temporary as temporary_room
from llmprep.output.checking import Output, check_output, check_space
from llmprep.output.writing import open_output, open_outputs

OLD = b"PK\x03\x04 the old file"
NEW = b"the new file"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An existing file that begins as a .pt does."""
    path = tmp_path / "x.pt"
    path.write_bytes(OLD)
    return path


def write(output: Output, data: bytes = NEW) -> None:
    """Write a whole output."""
    with open_output(output) as sink:
        sink.write(data)


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def raising(error: BaseException) -> Callable[..., Any]:
    """A function that raises."""

    def fail(*_: object) -> None:
        raise error

    return fail


# --- check_output ---------------------------------------------------------------------------------


def test_a_new_file_may_be_written(tmp_path: Path) -> None:
    """A name that is not taken, in a folder that can be written, becomes a file under that name."""
    output = check_output(str(tmp_path / "x.pt"))

    assert output == Output(str(tmp_path / "x.pt"), tmp_path / "x.pt", direct=False)
    assert names(tmp_path) == []


def test_a_pt_file_may_be_replaced(old: Path) -> None:
    """An existing .pt file, known by its first bytes, may be replaced without a word."""
    assert check_output(str(old)).path == old


@pytest.mark.parametrize("data", [b"", b"PK", b"A text.\n"], ids=["empty", "two bytes", "text"])
def test_other_files_are_not_replaced_unless_forced(data: bytes, tmp_path: Path) -> None:
    """A file that is not a .pt is refused, whatever it is called, and allowed with ``force``."""
    path = tmp_path / "x.pt"
    path.write_bytes(data)

    with pytest.raises(RefusedError, match=r"exists and is not a \.pt file; --force"):
        check_output(str(path))
    assert check_output(str(path), force=True).path == path
    assert path.read_bytes() == data


def test_a_read_only_file_is_not_replaced_unless_forced(old: Path) -> None:
    """Who takes the right to write from a file means to keep it, also from root, who may write all."""
    old.chmod(0o444)

    with pytest.raises(RefusedError, match="exists and is read-only; --force replaces it"):
        check_output(str(old))
    write(check_output(str(old), force=True))

    assert (old.read_bytes(), stat.S_IMODE(old.stat().st_mode)) == (NEW, 0o444)


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_is_refused(force: bool, tmp_path: Path) -> None:
    """A folder is no output, with ``force`` either."""
    with pytest.raises(UsageError, match="is a folder; name a file in it"):
        check_output(str(tmp_path), force=force)


@pytest.mark.parametrize("name", ["new/", "sub/", "sub/.", "sub/..", ".", "new.pt//"])
def test_the_name_of_a_folder_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that only a folder can have, there or not, is no file without its slash."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()

    with pytest.raises(UsageError, match="is the name of a folder, and this writes a file"):
        check_output(name, force=True)


def test_a_file_that_cannot_be_read_is_an_error(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether an existing file is a .pt must be known before it is replaced."""
    monkeypatch.setattr(Path, "open", raising(PermissionError(errno.EACCES, "not for you")))

    with pytest.raises(OutputError, match=re.escape(f"{old}: {os.strerror(errno.EACCES)}")):
        check_output(str(old))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """Folders are not made: the one that is missing is named."""
    with pytest.raises(OutputError, match="there is no folder none"):
        check_output(str(tmp_path / "none" / "x.pt"))


def test_a_file_in_the_place_of_a_folder_is_an_error(old: Path) -> None:
    """A path that goes through a file cannot be written."""
    with pytest.raises(OutputError, match=re.escape(str(old / "y.pt"))):
        check_output(str(old / "y.pt"))


def test_a_folder_that_is_not_writable_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says of the folder is believed before any work; asked through ``os.access``, as root may all."""
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)

    with pytest.raises(OutputError, match="its folder is not writable"):
        check_output(str(tmp_path / "x.pt"))


@pytest.mark.parametrize("name", ["", "\0", "x\0.pt"])
def test_an_impossible_name_is_an_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that no file can have is one of our errors, not Python's."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(LlmprepError):
        check_output(name)


def test_a_name_of_255_bytes_is_the_longest(tmp_path: Path) -> None:
    """Names are measured in bytes: 255 work, 256 are an error before any work."""
    longest = "\u00e9" * 126 + ".pt"
    assert len(os.fsencode(longest)) == 255

    write(check_output(str(tmp_path / longest)))

    assert names(tmp_path) == [longest]
    with pytest.raises(OutputError, match="name too long"):
        check_output(str(tmp_path / f"x{longest}"))


@pytest.mark.parametrize("how", ["itself", "symbolic link", "hard link", "another spelling"])
def test_an_input_is_no_output(how: str, old: Path, tmp_path: Path) -> None:
    """An output that is one of the inputs is refused, by whatever name and whatever ``force`` says."""
    other = tmp_path / "other.pt"
    match how:
        case "itself":
            other = old
        case "symbolic link":
            other.symlink_to(old)
        case "hard link":
            other.hardlink_to(old)
        case _:
            (tmp_path / "sub").mkdir()
            other = tmp_path / "sub" / ".." / "x.pt"

    with pytest.raises(UsageError, match="is also an input; name another output"):
        check_output(str(other), ["none.txt", "\0", old], force=True)


def test_the_null_device_may_be_input_and_output() -> None:
    """Devices lose nothing when written, so one may be on both sides."""
    assert check_output(os.devnull, [os.devnull]) == Output(os.devnull, Path(os.devnull), direct=True)


def test_a_symbolic_link_stands_for_its_target(old: Path, tmp_path: Path) -> None:
    """Writing to a link replaces what it points to, also what is not there yet; the link stays."""
    for target in (old, tmp_path / "new.pt"):
        link = tmp_path / f"link-{target.name}"
        link.symlink_to(target.name)
        write(check_output(str(link)))

        assert link.is_symlink()
        assert target.read_bytes() == NEW


def test_a_terminal_gets_no_binary(monkeypatch: pytest.MonkeyPatch) -> None:
    """A .pt file on a terminal would do no good."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)

    with pytest.raises(UsageError, match="standard output is a terminal"):
        check_output("-")


def test_standard_output_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has no ``sys.stdout`` when the descriptor is closed: one clear error."""
    monkeypatch.setattr(sys, "stdout", None)

    with pytest.raises(OutputError, match="standard output is closed"):
        check_output("-")


class Usage(NamedTuple):
    """What ``shutil.disk_usage`` returns."""

    total: int
    used: int
    free: int


def test_space_is_checked_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that cannot fit is refused with both numbers; pipes and devices are not measured."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**10, 0, 2 * 10**9))
    output = check_output(str(tmp_path / "x.pt"))

    check_space(output, 2 * 10**9)
    check_space(check_output(os.devnull), 3 * 10**9)
    with pytest.raises(OutputError, match=r"needs 3\.0 GB, its disk has 2\.0 GB free"):
        check_space(output, 3 * 10**9)


# --- open_output ----------------------------------------------------------------------------------


def test_the_name_appears_when_all_is_written(old: Path, tmp_path: Path) -> None:
    """Until the block ends the name holds the old file; then the new one, and nothing else lies beside it."""
    with open_output(check_output(str(old))) as sink:
        sink.write(NEW)
        assert old.read_bytes() == OLD
        assert len(names(tmp_path)) == 2

    assert old.read_bytes() == NEW
    assert names(tmp_path) == ["x.pt"]


def test_bytes_reach_the_disk_before_the_name_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that survives a power cut: sync the file, rename it, sync the folder."""
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("folder" if is_folder else f"file of {os.fstat(descriptor).st_size} bytes")
        fsync(descriptor)

    def watched_replace(source: Any, target: Any) -> None:
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)

    write(check_output(str(tmp_path / "x.pt")))

    assert steps == [f"file of {len(NEW)} bytes", "rename", "folder"]


def test_no_name_moves_before_all_files_are_whole(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of outputs that belong together, one that cannot be finished leaves all names as they were."""
    fsyncs = iter([os.fsync, raising(OSError(errno.ENOSPC, "full"))])
    outputs = check_output(str(old)), check_output(str(tmp_path / "y.pt"))

    def fsync_once(descriptor: int) -> None:
        next(fsyncs)(descriptor)

    def write_both() -> None:
        with open_outputs(*outputs) as sinks:
            for sink in sinks:
                sink.write(NEW)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync_once)
        with pytest.raises(OutputError, match="no space left"):
            write_both()
    assert next(fsyncs, None) is None
    assert (names(tmp_path), old.read_bytes()) == (["x.pt"], OLD)

    write_both()
    assert (names(tmp_path), old.read_bytes()) == (["x.pt", "y.pt"], NEW)


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(143), OSError(errno.EIO, "x")])
def test_an_exception_leaves_the_old_file(error: BaseException, old: Path, tmp_path: Path) -> None:
    """Whatever ends the block, an interrupt included, passes by; the old file stays, the temporary one goes."""

    def begin() -> None:
        with open_output(check_output(str(old))) as sink:
            sink.write(NEW)
            raise error

    with pytest.raises(type(error)) as caught:
        begin()

    assert caught.value is error
    assert old.read_bytes() == OLD
    assert names(tmp_path) == ["x.pt"]


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left on the device"),
        (errno.EDQUOT, os.strerror(errno.EDQUOT)),
        (errno.EFBIG, "the file-size limit is reached"),
        (errno.EIO, os.strerror(errno.EIO)),
        (errno.EROFS, os.strerror(errno.EROFS)),
    ],
)
def test_a_failing_step_is_one_clear_error(
    step: str, number: int, words: str, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system call that fails gives the output's name and the system's reason; the old file stays."""
    output = check_output(str(old))

    with monkeypatch.context() as patched:
        patched.setattr(os, step, raising(OSError(number, os.strerror(number))))
        with pytest.raises(OutputError, match=re.escape(f"{old}: {words}")):
            write(output)

    assert old.read_bytes() == OLD
    assert names(tmp_path) == ["x.pt"]


def test_a_folder_that_cannot_be_synced_or_opened_is_no_error(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file is whole and in place by then; some file systems sync no folder, some folders cannot be read."""
    fsync, opened = os.fsync, os.open

    def fsync_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not for folders")
        fsync(descriptor)

    def open_files(path: Any, flags: int, *mode: Any, **folder: Any) -> int:
        if flags & os.O_DIRECTORY:
            raise PermissionError(errno.EACCES, "not for you")
        return opened(path, flags, *mode, **folder)

    for name, replacement in (("fsync", fsync_files), ("open", open_files)):
        old.write_bytes(OLD)
        with monkeypatch.context() as patched:
            patched.setattr(os, name, replacement)
            write(check_output(str(old)))
        assert old.read_bytes() == NEW


def test_the_file_may_be_read_as_the_umask_says(tmp_path: Path) -> None:
    """A new file has the mode that any program's has, not that of a private temporary file."""
    before = os.umask(0o027)
    try:
        write(check_output(str(tmp_path / "x.pt")))
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "x.pt").stat().st_mode) == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o4755])
def test_a_replaced_file_keeps_its_permissions(mode: int, old: Path) -> None:
    """Who could read the old file can read the new one, and nobody else; no bit that runs it as its owner is kept."""
    old.chmod(mode)

    with open_output(check_output(str(old), force=True)) as sink:
        (temporary,) = set(old.parent.iterdir()) - {old}
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        sink.write(NEW)

    assert stat.S_IMODE(old.stat().st_mode) == mode & 0o777


WRITE = """
import sys, time
from llmprep.output.checking import check_output
from llmprep.output.writing import open_output
with open_output(check_output(sys.argv[1])) as sink:
    sink.write(b"PK half")
    print("begun", flush=True)
    time.sleep(60 if len(sys.argv) == 2 else float(sys.argv[2]))
"""


def begin_writing(path: Path, *seconds: str) -> subprocess.Popen[bytes]:
    """A process that is in the midst of writing a file."""
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(path), *seconds], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    return process


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """A file that a killed process wrote goes when its output is written again; what others write or left stays."""
    for _ in range(2):
        with begin_writing(tmp_path / "x.pt") as killed, begin_writing(tmp_path / "y.pt") as other:
            killed.kill()
            other.kill()
    left = set(names(tmp_path))
    assert len(left) == 2  # the second run to each output removed what the first had left

    write(check_output(str(tmp_path / "x.pt")))

    assert "x.pt" in names(tmp_path)
    assert len(set(names(tmp_path)) & left) == 1


def test_what_is_being_written_is_not_removed(tmp_path: Path) -> None:
    """A run to the same output leaves alone what another is writing; both finish."""
    with begin_writing(tmp_path / "x.pt", "0.5") as other:
        write(check_output(str(tmp_path / "x.pt")))
        assert (tmp_path / "x.pt").read_bytes() == NEW
        assert len(names(tmp_path)) == 2

    assert other.returncode == 0
    assert (tmp_path / "x.pt").read_bytes() == b"PK half"
    assert names(tmp_path) == ["x.pt"]


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_leftover_is_left_alone(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A pipe, folder or link under the name of a temporary file is neither followed nor removed; another is taken."""
    with open_output(check_output(str(tmp_path / "x.pt"))):
        (name,) = names(tmp_path)
    (tmp_path / "x.pt").unlink()
    make(tmp_path / name)

    write(check_output(str(tmp_path / "x.pt")))

    assert names(tmp_path) == sorted([name, "x.pt"])
    assert (tmp_path / "x.pt").read_bytes() == NEW


def test_many_writers_each_finish(tmp_path: Path) -> None:
    """However many write to one output at once, each ends well, and the file is that of one of them."""
    output = check_output(str(tmp_path / "x.pt"))

    def write_often(number: int) -> None:
        for _ in range(20):
            with open_output(output) as sink:
                for _ in range(5):
                    sink.write(bytes([number]) * 1000)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write_often, range(8)))

    data = (tmp_path / "x.pt").read_bytes()
    assert (len(data), len(set(data))) == (5000, 1)
    assert names(tmp_path) == ["x.pt"]


def test_more_writers_than_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all names for temporary files are taken, a random one serves."""
    monkeypatch.setattr(temporary_room, "PLACES", 2)
    output = check_output(str(tmp_path / "x.pt"))

    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(open_output(output)).write(NEW)
        assert len(names(tmp_path)) == 5

    assert names(tmp_path) == ["x.pt"]


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    """Two outputs open under one name at once each become the whole file; the last to finish stays."""
    output = check_output(str(tmp_path / "x.pt"))

    with open_output(output) as first, open_output(output) as second:
        first.write(b"1" * 9)
        second.write(b"2" * 5)

    assert (tmp_path / "x.pt").read_bytes() == b"1" * 9
    assert names(tmp_path) == ["x.pt"]


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_private_from_its_first_moment(
    mode: int, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opened it before it is made private could go on reading: it is never open to others, not even empty."""
    old.chmod(mode)
    seen: list[int] = []
    flock = fcntl.flock

    def watch(descriptor: int, operation: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", watch)
    write(check_output(str(old), force=True))

    assert seen == [0o600]
    assert stat.S_IMODE(old.stat().st_mode) == mode


CROWD = """
import sys
from llmprep.output.checking import check_output
from llmprep.output.writing import open_output
for k in range(int(sys.argv[3])):
    with open_output(check_output(sys.argv[1])) as sink:
        for _ in range(3):
            sink.write(sys.argv[2].encode() * 1000)
"""


def test_many_writers_clean_up_and_never_after_each_other(tmp_path: Path) -> None:
    """Eight processes that write one output again and again each end well; the file is one's, whole, and alone."""
    target = tmp_path / "x.pt"
    target.write_bytes(OLD)
    command = [sys.executable, "-c", CROWD, str(target)]

    crowd = [subprocess.Popen([*command, f"PK\3\4{k}", "40"], stderr=subprocess.PIPE) for k in range(8)]
    errors = [writer.communicate(timeout=60)[1] for writer in crowd]

    assert [writer.returncode for writer in crowd] == [0] * 8, errors
    assert target.read_bytes() in [f"PK\3\4{k}".encode() * 3000 for k in range(8)]
    assert names(tmp_path) == ["x.pt"]


# --- devices and pipes ----------------------------------------------------------------------------


def test_a_device_is_written_straight() -> None:
    """The null device takes everything and stays a device."""
    write(check_output(os.devnull))

    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_a_full_device_is_an_error() -> None:
    """A device that takes nothing is an error with its name, at the latest when the block ends."""
    with pytest.raises(OutputError, match="/dev/full: no space left"):
        write(check_output("/dev/full"))


def test_a_pipe_without_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that has left is an error of its own, which the command line ends without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    output = Output(f"/dev/fd/{writer}", Path(f"/dev/fd/{writer}"), direct=True)

    try:
        with pytest.raises(ReaderGoneError):
            write(output)
    finally:
        os.close(writer)


def test_a_pipe_is_opened_by_the_name_that_is_given() -> None:
    """``/dev/fd/N``, as the shell's ``>(...)`` gives, leads to a pipe that has no other name; it is written."""
    reader, writer = os.pipe()
    try:
        output = check_output(f"/dev/fd/{writer}")
        write(output)

        assert output.direct
        assert os.read(reader, 100) == NEW
    finally:
        os.close(reader)
        os.close(writer)


def test_a_file_without_a_name_is_written_straight(tmp_path: Path) -> None:
    """``/dev/fd/N`` of a file that was removed: no file of the name that the system makes up appears."""
    with (tmp_path / "gone").open("w+b") as file:
        (tmp_path / "gone").unlink()

        write(check_output(f"/dev/fd/{file.fileno()}"))

        assert file.read() == NEW
    assert names(tmp_path) == []


@pytest.mark.parametrize("force", [False, True])
def test_no_terminal_gets_binary(force: bool) -> None:
    """A terminal is refused under its own name as standard output is."""
    descriptors = os.openpty()
    try:
        with pytest.raises(UsageError, match="this is a terminal; name a file"):
            check_output(os.ttyname(descriptors[1]), force=force)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def test_standard_output_gets_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """``-`` writes to standard output, behind what was printed before, and leaves it open."""
    raw = io.BytesIO()
    stdout = io.TextIOWrapper(raw)
    monkeypatch.setattr(sys, "stdout", stdout)
    stdout.write("before ")

    write(check_output("-"))

    assert raw.getvalue() == b"before " + NEW
    assert not stdout.closed


ENDS = """
import os, sys
from llmprep.output.checking import check_output
from llmprep.output.writing import open_output
from llmprep.output.temporary import remove_temporaries
output = check_output(sys.argv[1])

def write(stop):
    seen = 0
    def trace(frame, event, argument):
        nonlocal seen
        seen += frame.f_code.co_filename.endswith(("temporary.py", "output.py"))
        if seen == stop:
            sys.settrace(None)
            remove_temporaries()
            os._exit(7)
        return trace
    sys.settrace(trace)
    with open_output(output) as sink:
        sink.write(b"PK\\3\\4")
    os._exit(0)

for stop in range(1, 9999):
    child = os.fork() or write(stop)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code, *sorted(name for name in os.listdir() if name != "x.pt"))
    if code != 7:
        break
"""


def test_a_process_that_ends_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    """Whatever line is being run when a process must end, its temporary file goes; another writer's stays."""
    with open_output(check_output(str(tmp_path / "x.pt"))) as sink:
        sink.write(b"PK\3\4")
        (others,) = names(tmp_path)

        ended = subprocess.run(
            [sys.executable, "-c", ENDS, "x.pt"], cwd=tmp_path, capture_output=True, text=True, check=True
        )

    *stopped, whole = ended.stdout.splitlines()
    assert len(stopped) > 60
    assert {*stopped} == {f"7 {others}"}
    assert whole == f"0 {others}"

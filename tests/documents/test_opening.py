"""Promises of opening: bytes are read once, counted and hashed; a look takes nothing; a change is never passed over."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.documents import content, counts_of, piped, save

from llmprep.documents.opening import ByteStream, open_pipe, peek
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import Counts, count_remarks
from llmprep.errors import DataError, InputError

TEXT = "It was the best of times, caf\u00e9 and \u4e2d\u6587 alike, it was the worst of times.\n".encode()


def lowest_free_descriptor() -> int:
    descriptor = os.dup(2)
    os.close(descriptor)
    return descriptor


def drain(stream: ByteStream, size: int = 1000) -> bytes:
    """What is left of a stream."""
    return b"".join(iter(lambda: stream.read(size), b""))


# --- a look ahead ---------------------------------------------------------------------------------


@given(
    data=st.binary(min_size=1, max_size=200),
    looks=st.lists(st.integers(1, 300), max_size=4),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=5),
    step=st.integers(1, 300),
)
def test_a_look_takes_nothing(folder: Path, data: bytes, looks: list[int], sizes: list[int], step: int) -> None:
    """However much is looked at, and however often, all bytes are still read, counted and hashed once."""
    counts = counts_of(save(folder, data))
    done: list[tuple[object, ...]] = []

    for count in looks:
        assert peek(counts.source, count) == data[:count]
    with closing(ByteStream(counts, lambda *call: done.append(call), step)) as stream:
        parts: list[bytes] = []
        for count in [*looks, *sizes, *[50] * 200]:
            if count in looks:
                assert stream.peek(count) == data[sum(map(len, parts)) :][:count]
            parts.append(stream.read(count))
            assert len(parts[-1]) <= min(count, step)

    assert (b"".join(parts), counts.n_bytes, counts.sha256) == (data, len(data), "")
    for function, *arguments in done:  # the hashing, which may be done elsewhere, in this order
        function(*arguments)  # type: ignore[operator]
    assert counts.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("parts", [[bytes([byte]) for byte in TEXT], [TEXT], []], ids=["bytes", "at once", "nothing"])
def test_a_look_into_a_pipe_waits_for_enough_and_loses_nothing(parts: list[bytes]) -> None:
    """From a pipe that delivers one byte at a time the first bytes are all looked at; past its end is what came."""
    data = b"".join(parts)
    with piped(parts) as found:
        counts = Counts(open_pipe(found.source))
        assert open_pipe(counts.source) is counts.source
        for count in (4, 40, 1000, 2):
            assert peek(counts.source, count) == data[:count]

        blocks = list(read_blocks(counts, "universal", 16))

    assert b"".join(block.raw for block in blocks) == data
    assert (counts.n_bytes, counts.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_a_pipe_without_data_that_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A non-blocking standard input with no data yet is an error, and is not taken for an empty one."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading) as stdin, os.fdopen(writing, "wb"):
        monkeypatch.setattr("sys.stdin", stdin)

        with pytest.raises(InputError, match="-: is in non-blocking mode"):
            list(read_blocks(counts_of("-")))


# --- a change while reading -----------------------------------------------------------------------


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


CHANGES: dict[str, Callable[[Path], object]] = {
    "grow": grow,
    "shrink": lambda path: os.truncate(path, 2000),
    "rewrite": lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
    "touch": Path.touch,
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_is_an_error(change: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """A file that is changed while it is read is one error, never a mixture, of its blocks too."""
    path = save(tmp_path, pack((os.urandom(1 << 18).hex() + " word").encode()))
    os.utime(path, (0, 0))
    stream = ByteStream(counts_of(path))
    stream.read(1000)
    blocks = read_blocks(counts_of(path), "universal", 1 << 12)
    next(blocks, None) if pack is bytes else None
    CHANGES[change](path)

    with closing(stream), pytest.raises(InputError, match=r"a\.txt: changed while it was read; run again"):
        drain(stream)
    if pack is bytes and change != "rewrite":  # what was written is no UTF-8
        with pytest.raises(InputError, match="changed while it was read"):
            list(blocks)


def test_a_file_that_is_replaced_is_the_old_one(tmp_path: Path) -> None:
    """A new file under the same name does not show: what was opened is read to its end."""
    counts = counts_of(save(tmp_path, TEXT * 100))
    with closing(ByteStream(counts)) as stream:
        data = stream.read(1000)
        save(tmp_path, b"new " * 5000, "new").replace(tmp_path / "a.txt")
        data += drain(stream)

    assert data == TEXT * 100
    assert counts.sha256 == hashlib.sha256(data).hexdigest()


def test_a_file_that_vanishes_before_it_is_opened(tmp_path: Path) -> None:
    """Between the check and the reading a file may go; the error is the system's."""
    counts = counts_of(save(tmp_path, TEXT))
    (tmp_path / "a.txt").unlink()

    with pytest.raises(InputError, match=r"a\.txt: no such file or directory$"):
        list(read_blocks(counts))


# --- open and closed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [TEXT, gzip.compress(TEXT), b"caf\xe9 ", gzip.compress(TEXT)[:-3]], ids=["text", "gzip", "bad", "cut short"]
)
def test_a_file_is_closed_when_it_has_been_read(data: bytes, tmp_path: Path) -> None:
    """At its end, at an error and where nobody reads on: thousands of inputs need one descriptor at a time."""
    counts = counts_of(save(tmp_path, data))
    before = lowest_free_descriptor()

    with suppress(DataError):
        list(read_blocks(counts))
    assert lowest_free_descriptor() == before

    blocks = read_blocks(counts_of(save(tmp_path, TEXT * 100)), "universal", 100)
    next(blocks)
    assert lowest_free_descriptor() > before
    blocks.close()
    assert lowest_free_descriptor() == before


def test_standard_input_stays_open() -> None:
    """Standard input is read to its end, and is not ours to close."""
    with piped([TEXT]) as counts:
        list(read_blocks(counts))
        assert counts.n_bytes == len(TEXT)
        os.fstat(sys.stdin.fileno())


def test_remarks_are_counted(tmp_path: Path) -> None:
    """Each remark comes once, with the first input it applies to and how many there are."""
    paths = [save(tmp_path, b"plain", f"{name}.gz") for name in ("a", "b")]
    counted = [counts_of(path) for path in [*paths, save(tmp_path, b"plain")]]
    for counts in counted:
        list(read_blocks(counts))
        counts.remark("again")
        counts.remark("again")

    assert count_remarks(counted) == {
        "is not compressed, though its name says so; read as it is": (str(paths[0]), 2),
        "again": (str(paths[0]), 3),
    }
    assert content(paths[0]) == b"plain"

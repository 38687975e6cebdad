"""Promises of opening: bytes are read once, counted and hashed; a look takes nothing; a change is never passed over."""

import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.documents import counts_of, piped, save
from support.streams import sha256

from llmprep.documents.opening import ByteStream, open_pipe, peek
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import Counts
from llmprep.errors import InputError

TEXT = "It was the best of times, caf\u00e9 and \u4e2d\u6587 alike, it was the worst of times.\n".encode()


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_look_takes_nothing(step: int, tmp_path: Path) -> None:
    """However much is looked at, and however often, all bytes are still read, counted and hashed once, in order."""
    counts, hashing, got = counts_of(save(tmp_path, TEXT)), list[Any](), b""
    assert [peek(counts.source, count) for count in (1, 20, 1000)] == [TEXT[:1], TEXT[:20], TEXT]
    with closing(ByteStream(counts, lambda *call: hashing.append(call), step)) as stream:
        for look, count in [(4, 3), (50, 20), (9, 9), (2, 5), (1000, 30), *[(0, 50)] * (len(TEXT) + 1)]:
            assert stream.peek(look) == TEXT[len(got) :][:look]
            got += (part := stream.read(count))
            assert len(part) <= min(count, step)
    assert (got, counts.n_bytes, counts.sha256) == (TEXT, len(TEXT), "")
    for function, *arguments in hashing:  # which may be done elsewhere
        function(*arguments)
    assert counts.sha256 == sha256(TEXT)


@pytest.mark.parametrize("data", [TEXT, b""])
def test_a_look_into_a_pipe_waits_for_enough_and_loses_nothing(data: bytes) -> None:
    """From a pipe that delivers a byte at a time all first bytes are looked at; standard input is not ours to close."""
    with piped([bytes([byte]) for byte in data]) as found:
        counts = Counts(open_pipe(found.source))
        assert open_pipe(counts.source) is counts.source
        assert [peek(counts.source, count) for count in (4, 40, 1000, 2)] == [data[:4], data[:40], data, data[:2]]
        assert b"".join(block.raw for block in read_blocks(counts, "universal", 16)) == data
        os.fstat(sys.stdin.fileno())
    assert (counts.n_bytes, counts.sha256) == (len(data), sha256(data))


def test_a_pipe_without_data_that_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A non-blocking standard input with no data yet is an error, and is not taken for an empty one."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading) as stdin, os.fdopen(writing):
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(InputError, match="-: is in non-blocking mode"):
            list(read_blocks(counts_of("-")))


CHANGES: dict[str, Callable[[Path], object]] = {
    "grow": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "shrink": lambda path: os.truncate(path, 20_000),
    "rewrite": lambda path: path.write_bytes(path.read_bytes().upper()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_is_an_error(change: str, tmp_path: Path) -> None:
    """A file that is changed while it is read is one error, never a mixture."""
    path = save(tmp_path, b"some words " * 30_000)
    os.utime(path, (0, 0))
    blocks = read_blocks(counts_of(path), "universal", 1000)
    next(blocks)
    CHANGES[change](path)
    with pytest.raises(InputError, match=r"a\.txt: changed while it was read; run again"):
        list(blocks)


def test_a_file_that_is_replaced_is_the_old_one(tmp_path: Path) -> None:
    """A new file under the same name does not show once it is open; one that has gone before is the system's error."""
    blocks = read_blocks(counts := counts_of(save(tmp_path, TEXT * 100)), "keep", 1000)
    data = next(blocks).raw
    save(tmp_path, b"new " * 5000, "new").replace(tmp_path / "a.txt")
    assert data + b"".join(block.raw for block in blocks) == TEXT * 100
    assert counts.sha256 == sha256(TEXT * 100)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(InputError, match=r"a\.txt: no such file or directory$"):
        list(read_blocks(counts))

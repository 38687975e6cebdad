"""Files and pipes that hold texts, compressed or not, and what is read from them."""

import bz2
import contextlib
import gzip
import json
import lzma
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from llmprep.choices import BLOCK_BYTES, Newlines
from llmprep.documents.blocks import Block
from llmprep.documents.finding import find_sources
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import Counts

ZSTD = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstandard": lambda data: ZSTD.compress(data, options={ZSTD.CompressionParameter.checksum_flag: 1}),
}


def save(folder: Path, data: bytes | str, name: str = "a.txt") -> Path:
    """Write a file."""
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def json_lines(path: Path, texts: Sequence[str], field: str = "text") -> Path:
    """Write one record a line."""
    path.write_text("".join(json.dumps({"id": k, field: text}) + "\n" for k, text in enumerate(texts)))
    return path


def parquet(path: Path, texts: Sequence[object], field: str = "text", type_: Any = None, **more: Any) -> Path:
    """Write one record a row."""
    table = pa.table({"id": list(range(len(texts))), field: pa.array(texts, type_ or pa.string())})
    pa.parquet.write_table(table, path, **more)
    return path


def counts_of(path: Path | str, field: str | None = None) -> Counts:
    """Find the one source that a path names, with nothing counted yet."""
    (source,) = find_sources([str(path)], field)
    return Counts(source)


def read(path: Path | str, newlines: Newlines = "universal", block_bytes: int = BLOCK_BYTES) -> list[Block]:
    """All blocks of a file; the counts are those of any of them."""
    return list(read_blocks(counts_of(path), newlines, block_bytes))


def documents(blocks: Sequence[Block]) -> list[str]:
    """The texts of records, taken out of the blocks in which they are joined or cut."""
    found: list[bytes] = []
    for block in blocks:
        if block.raw:
            found[len(found) - (not block.first) :] = [(b"" if block.first else found[-1]) + block.data]
        else:
            found += block.data.split(b"<|endoftext|>")
            assert block.seams == block.data.count(b"<|endoftext|>")
    return [text.decode() for text in found]


def content(path: Path | str, block_bytes: int = BLOCK_BYTES) -> bytes:
    """What the blocks of a text join to, with its own line ends."""
    return b"".join(block.raw for block in read(path, "keep", block_bytes))


@contextlib.contextmanager
def piped(parts: Sequence[bytes], field: str | None = None) -> Iterator[Counts]:
    """Make standard input a pipe into which a thread writes some parts, one system call each; yields its source."""
    reading, writing = os.pipe()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb", buffering=0) as file:
            file.writelines(parts)

    thread = threading.Thread(target=write)
    thread.start()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(reading) as stdin:
        patch.setattr("sys.stdin", stdin)
        yield counts_of("-", field)
    thread.join()

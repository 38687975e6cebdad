"""Texts as sources, blocks and streams, and what those must give."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from llmprep.choices import BackendName, Newlines, Separator, Special
from llmprep.documents.blocks import Block
from llmprep.documents.finding import find_sources
from llmprep.documents.source import Counts, Source
from llmprep.ptfile.reading import PtFile, read_pt
from llmprep.tokens.backends import Encoder
from llmprep.tokens.stream import TokenStream, stream_text
from llmprep.vocabulary.vocabulary import Vocabulary
from support import reference

EOT = reference.END_OF_TEXT
Load = Callable[[str], Vocabulary]
Build = Callable[[str, Special, BackendName], Encoder]
Make = Callable[..., dict[str, Any]]
"""Runs a command that writes a file, which must go well; returns what torch makes of the file."""


def stream_paths(paths: Sequence[Path], *arguments: Any, **chosen: Any) -> TokenStream:
    """Open texts as one stream, with the other arguments of `stream_text`."""
    return stream_text(find_sources(list(map(str, paths))), *arguments, **chosen)


def text_block(text: str, offset: int = 0, name: str = "text") -> Block:
    """A block that holds a text."""
    data = text.encode()
    return Block(Counts(Source(name, name)), data, data, offset)


def all_ids(stream: TokenStream) -> list[int]:
    """Every id of a stream."""
    return [int(token) for block in stream for token in block]


def as_read(text: str, newlines: Newlines = "universal") -> str:
    """The text as Python's text mode gives it, without a byte order mark."""
    text = text.removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n") if newlines == "universal" else text


def expected_ids(
    documents: Sequence[str], encoding: str = "gpt2", separator: Separator = "eot", special: Special = "allow"
) -> list[int]:
    """Each document encoded whole by tiktoken, with the separator between any two that are not empty."""
    encoded = [reference.encode(text, encoding, special) for text in documents if text]
    between = [reference.tiktoken_encoding(encoding).eot_token] if separator == "eot" else []
    return [token for ids in encoded for token in (*between, *ids)][len(between) :]


def sha256(data: bytes) -> str:
    """A hash, as ``meta`` holds it."""
    return hashlib.sha256(data).hexdigest()


def ids_sha256(ids: Sequence[int]) -> str:
    """The content hash of ids, the obvious way: the sha256 over those of each 2^20 of them as little-endian uint32."""
    data = np.array(ids, "<u4").tobytes()
    leaves = [hashlib.sha256(data[k : k + (4 << 20)]).digest() for k in range(0, len(data), 4 << 20)]
    return hashlib.sha256(b"".join(leaves)).hexdigest()


def saved(path: Path, **values: object) -> PtFile:
    """A file of torch's, read by us."""
    import torch

    torch.save(values, path)
    return read_pt(path)


@contextmanager
def piped(path: Path, data: bytes) -> Iterator[Path]:
    """Make a pipe, and write to it from a thread, once; the name may be opened once."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,), daemon=True)
    writer.start()
    yield path
    writer.join(10)


def open_files() -> int:
    """How many file descriptors this process has."""
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - of a folder that changes while it is listed

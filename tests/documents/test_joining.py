"""Promises of joining: small files read at once and encoded together give what each gives alone, errors included."""

import gzip
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.stores import SMALL, write_files
from support.strategies import adversarial_text

from llmprep.choices import Effort, TextOptions
from llmprep.documents.blocks import SMALL_BYTES
from llmprep.documents.finding import find_sources
from llmprep.documents.joining import read_sources
from llmprep.documents.source import BOM, Counts, Source
from llmprep.errors import LlmprepError
from llmprep.tokens.backends import Encoder
from llmprep.tokens.stream import stream_part

ENCODER = Encoder(SMALL, "allow", "tiktoken")
ODD = [
    b"", BOM, BOM + b"marked", b"a\r\nb\r", b"an <|endoftext|> in it", b"<|", b'{"a": 1}\n', b' {"a": 1, "b"',
    b"caf\xe9", b"a\0b", b"\0\0", b"\xff\xfea\0", b"BZh91AY&SY", b"\x1f\x8b\x08", b"PK\x03\x04",
    b"%PDF-1.4\n%\xe2\xe3\xcf\xd3",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", b"/annex/objects/MD5-s0--a\n", b"7z",
    gzip.compress(b"packed", mtime=0), "\u00e9\u4e2d\n".encode() * 99,
]  # fmt: skip
LARGE = [b"xy " * (SMALL_BYTES // 3), b"xy " * SMALL_BYTES]
contents = st.sampled_from(ODD) | st.tuples(st.sampled_from(ODD), st.sampled_from(ODD)).map(b"".join)
files = st.tuples(contents | adversarial_text.map(str.encode), st.sampled_from([".txt", ".txt.gz", ".pt", ".md"]))


def outcome(groups: list[list[Source]], options: TextOptions, effort: Effort) -> tuple[list[int], list[object], str]:
    """The ids, counts and error of sources as one stream, a group read at a time."""
    ids: list[int] = []
    counted: list[object] = []
    try:
        for group in groups:
            stream = stream_part(group, options, effort, ENCODER, continues=bool(ids))
            for block in stream:
                ids += block.tolist()
            counted += map(asdict, stream.figures.counts)
    except LlmprepError as error:
        return ids, [], str(error)
    return ids, counted, ""


@settings(max_examples=50, deadline=None)
@given(files=st.lists(files, min_size=2, max_size=6), block_bytes=st.sampled_from([1, 40, 1 << 20]), keep=st.booleans())
@example(files=[(each, ".txt") for each in (*LARGE, b"end")], block_bytes=1 << 20, keep=True)
@example(files=[(each, ".txt") for each in ODD], block_bytes=1 << 20, keep=True)
def test_files_give_together_what_each_gives_alone(
    files: list[tuple[bytes, str]], block_bytes: int, keep: bool
) -> None:
    """Ids, counts, hashes, remarks and the first error are those of the files one by one, in blocks of any size."""
    with tempfile.TemporaryDirectory() as folder:
        named = {f"{number}{suffix}": data for number, (data, suffix) in enumerate([(b"begin", ".txt"), *files])}
        paths = write_files(Path(folder), named)
        sources = [Source(path, name, len(named[name])) for path, name in zip(paths, named, strict=True)]
        options, effort = TextOptions("keep" if keep else "universal"), Effort("tiktoken", 1, block_bytes)
        assert outcome([sources], options, effort) == outcome([[each] for each in sources], options, effort)


def test_a_thousand_small_files_are_one_block(tmp_path: Path) -> None:
    """What is small and plain costs no block of its own; one that is neither stands between two, in its place."""
    paths = write_files(tmp_path, {f"{number:04}.txt": f"text {number}" for number in range(1000)})
    Path(paths[500]).write_bytes(b"<|endoftext|>")
    counted = [Counts(source) for source in find_sources(paths)]
    assert [block.seams for block in read_sources(counted)] == [499, 0, 498]
    assert np.array_equal([counts.n_text for counts in counted[:11]], [6] * 10 + [7])

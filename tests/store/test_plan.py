"""Promises of a store's plan: it depends on corpus and options alone, and its shards join to the one stream."""

from __future__ import annotations

import functools
import gzip
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stores import SMALL, json_lines, write_files
from support.strategies import adversarial_text

from llmprep.choices import Effort, Sharding, Special, TextOptions
from llmprep.documents import blocks as blocks_room
from llmprep.documents.finding import find_sources
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import BOM, Counts, Source
from llmprep.errors import DataError, EmptyError, InputError
from llmprep.store.plan import PlannedCorpus, choose_shard_bytes, plan_corpus
from llmprep.store.schema import Span
from llmprep.store.shards import make_jobs
from llmprep.tokens.backends import Encoder
from llmprep.tokens.stream import TokenStream, stream_text
from llmprep.vocabulary.loading import load_vocabulary

EFFORT = Effort(backend="tiktoken")
Contents = tuple[str, bytes]
"""(suffix, bytes) of a file."""


def write(folder: Path, contents: Sequence[Contents]) -> list[str]:
    """Write files numbered in order; return their paths."""
    return write_files(folder, {f"{number}{suffix}": data for number, (suffix, data) in enumerate(contents)})


def ids_of(stream: TokenStream) -> list[int]:
    """All ids of a stream."""
    return [int(token_id) for block in stream for token_id in block]


def plan_of(paths: Sequence[str], shard_bytes: int, options: TextOptions | None = None) -> PlannedCorpus:
    """The plan of a corpus."""
    return plan_corpus(find_sources(paths), SMALL, options or TextOptions(), Sharding(shard_bytes))


@functools.cache
def encoder(special: Special) -> Encoder:
    """An encoder with the small vocabulary."""
    return Encoder(SMALL, special, "tiktoken")


def read_shards(paths: Sequence[str], shard_bytes: int, options: TextOptions | None = None) -> list[list[int]]:
    """Each shard's ids, read as a worker reads them."""
    options = options or TextOptions()
    jobs = make_jobs(plan_of(paths, shard_bytes, options), Path(), SMALL, options, EFFORT)
    return [
        ids_of(stream_text(job.sources, SMALL, options, EFFORT, encoder(options.special), continues=job.continues))
        for job in jobs
    ]


def single(paths: Sequence[str], options: TextOptions | None = None) -> list[int]:
    """The ids of the same corpus as one stream."""
    options = options or TextOptions()
    return ids_of(stream_text(find_sources(paths), SMALL, options, EFFORT, encoder(options.special)))


# --- the same stream ------------------------------------------------------------------------------

# NUL bytes make a short text look like no text at all.
texts = adversarial_text.map(lambda text: text.replace("\x00", ""))
chinese = st.text("\u4e2d\u6587\u3002\u65e5\u672c\n", max_size=100)
files = st.one_of(
    st.tuples(st.just(".txt"), texts.map(str.encode)),
    st.tuples(st.just(".txt"), chinese.map(str.encode)),
    st.tuples(st.just(".txt"), texts.map(lambda text: BOM + text.encode())),
    st.tuples(st.just(".txt"), texts.map(lambda text: text.replace("\n", "\r\n").encode())),
    st.tuples(st.just(".txt"), st.sampled_from([b"", BOM, b"\n", b"word", b"one two three " * 20])),
    st.tuples(st.just(".jsonl"), st.lists(texts, max_size=5).map(json_lines)),
    st.tuples(st.just(".txt.gz"), texts.map(lambda text: gzip.compress(text.encode(), mtime=0))),
)
text_options = st.builds(
    TextOptions,
    newlines=st.sampled_from(["universal", "keep"]),
    separator=st.sampled_from(["eot", "none"]),
    special=st.sampled_from(["allow", "text"]),
)


@given(
    contents=st.lists(files, min_size=1, max_size=5),
    shard_bytes=st.integers(1, 20) | st.integers(1, 1000),
    options=text_options,
)
def test_shards_join_to_the_one_stream(contents: list[Contents], shard_bytes: int, options: TextOptions) -> None:
    """For any files, options and size of shards, the shards' ids in order are the single stream's ids."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), contents)
        try:
            expected = single(paths, options)
        except EmptyError:
            with pytest.raises(EmptyError, match="empty: 0 tokens"):
                plan_of(paths, shard_bytes, options)
            return

        assert [*chain(*read_shards(paths, shard_bytes, options))] == expected


FIRST = {
    "an empty file": [(".txt", b"")],
    "only a mark": [(".txt", BOM)],
    "several marks": [(".txt", BOM), (".txt", BOM), (".txt", b""), (".txt", BOM)],
    "an empty gzip file": [(".txt.gz", gzip.compress(b"", mtime=0))],
    "a gzip file that holds a mark": [(".txt.gz", gzip.compress(BOM, mtime=0))],
    "records without text": [(".jsonl", json_lines(["", ""]))],
    "blank lines for records": [(".jsonl", b"\n\n")],
}


@pytest.mark.parametrize("before", list(FIRST.values()), ids=list(FIRST))
def test_the_first_document_has_no_separator(before: list[Contents], tmp_path: Path) -> None:
    """Whatever files without text come first and wherever shards end, the stream begins with the first text's ids."""
    paths = write(tmp_path, [*before, (".txt", b"ab"), *before, (".txt", b"c d")])
    first, second = (single([paths[number]]) for number in (len(before), -1))

    for shard_bytes in (1, 2, 3, 5, 8, 13, 30, 1000):
        assert [*chain(*read_shards(paths, shard_bytes))] == [*first, SMALL.eot_id, *second]


@pytest.mark.parametrize("shard_bytes", [4096, 100_000])
def test_a_text_with_few_places_to_cut_is_cut_there(shard_bytes: int, tmp_path: Path) -> None:
    """However far a safe cut lies after a span's nominal end, both neighbours move to it."""
    text = "\u4e2d" * 21_844 + "a " + "\u6587" * 43_690 + "ab c" + "\u65e5" * 700
    paths = write(tmp_path, [(".txt", text.encode())])

    held = [ids for ids in read_shards(paths, shard_bytes) if ids]

    assert [*chain(*held)] == single(paths)
    assert len(held) == (3 if shard_bytes < 100_000 else 2)


# --- a span that is read --------------------------------------------------------------------------


def read_span(source: Source, start: int, end: int, block_bytes: int = 100) -> bytes:
    """The bytes of one span of a file."""
    counts = Counts(replace(source, span=(start, end)))
    return b"".join(block.raw for block in read_blocks(counts, block_bytes=block_bytes))


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count what a process reads")
@pytest.mark.parametrize("contents", [(".txt", b"x " + b"-" * (1 << 20)), (".jsonl", b'"' + b"-" * (1 << 20) + b'"')])
def test_no_span_looks_for_a_cut_beyond_its_own(contents: Contents, tmp_path: Path) -> None:
    """Where there is no place to cut, each of many spans looks through its own bytes, and one reads them all."""
    (source,) = find_sources(write(tmp_path, [contents]))
    n_bytes, step = len(contents[1]), 1 << 14
    before = bytes_read()

    lengths = []
    for start in range(0, n_bytes, step):
        counts = Counts(replace(source, span=(start, min(start + step, n_bytes))))
        with suppress(DataError):  # the record is no object
            list(read_blocks(counts))
        lengths.append(counts.n_bytes)

    assert bytes_read() - before < 5 * n_bytes
    assert sum(lengths) == n_bytes
    assert max(lengths) > n_bytes - step


def bytes_read() -> int:
    """How many bytes this process has read, from files and elsewhere."""
    return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])


def test_the_cap_is_the_single_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of text without a place to cut, one span ends in the error of the file read whole; others are read."""
    monkeypatch.setattr(blocks_room, "MAX_UNCUT_BYTES", 1000)
    monkeypatch.setattr(blocks_room, "UNCUT_BYTES", 500)
    (source,) = find_sources(write(tmp_path, [(".txt", b"one two " + b"-" * 5000 + b"x y")]))

    with pytest.raises(DataError, match=r"0\.txt: \d+ bytes from byte 7 on without a letter or digit before white"):
        read_span(source, 0, 8)
    spans = ((0, 6), (3000, 5000), (5000, 5011))
    assert [read_span(source, *span) for span in spans] == [b"one two", b"", b" y"]


def test_a_size_that_is_not_the_files_loses_nothing(tmp_path: Path) -> None:
    """A file that holds more than it said is read to its end by its last span; one that holds less is an error."""
    (source,) = find_sources(write(tmp_path, [(".txt", b"word " * 40)]))

    assert read_span(replace(source, size=100), 50, 100, block_bytes=16) == b" word" * 29 + b" "
    with pytest.raises(InputError, match=r"0\.txt: has 200 bytes, and had 300 when it was found"):
        read_span(replace(source, size=300), 50, 300)


# --- what lies where ------------------------------------------------------------------------------


def test_small_files_share_a_shard_and_large_ones_are_split(tmp_path: Path) -> None:
    """Files are taken in order: together as long as there is room, in spans where one is larger than a shard."""
    paths = write(tmp_path, [(".txt", b"a" * size) for size in (10, 10, 45, 12, 8, 1, 20)])

    assert plan_of(paths, 20).plan.shards == [
        [Span(0, 0, None), Span(1, 0, None)],
        [Span(2, 0, 20)],
        [Span(2, 20, 40)],
        [Span(2, 40, 45), Span(3, 0, None)],
        [Span(4, 0, None), Span(5, 0, None)],
        [Span(6, 0, None)],
    ]


@pytest.mark.parametrize(
    "contents",
    [
        (".txt", gzip.compress(os.urandom(300).hex().encode(), mtime=0)),
        (".jsonl", gzip.compress(json_lines([os.urandom(9).hex() for _ in range(30)]), mtime=0)),
        (".parquet", b"PAR1" + bytes(300)),
    ],
    ids=["gzip", "compressed records", "parquet"],
)
def test_what_cannot_be_entered_in_the_middle_is_not_split(contents: Contents, tmp_path: Path) -> None:
    """A compressed file, whatever its name, and a Parquet file lie whole in one shard."""
    paths = write(tmp_path, [(".txt", b"before"), contents, (".txt", b"after")])

    assert plan_of(paths, 100).plan.shards == [[Span(number, 0, None)] for number in range(3)]


def test_the_default_size_makes_few_shards_of_any_corpus(tmp_path: Path) -> None:
    """Shards are of 16 MiB, doubled until there are 1,024 or they are of 1 GiB; a small corpus is one shard."""
    mebibyte = 1 << 20
    sizes = {0: 16, 16 << 10: 16, (16 << 10) + 1: 32, 512 << 10: 512, (512 << 10) + 1: 1024, 1 << 30: 1024}
    paths = write(tmp_path, [(".txt", b"one"), (".txt", b"two")])

    assert {n: choose_shard_bytes(n * mebibyte) // mebibyte for n in sizes} == sizes
    planned = plan_corpus(find_sources(paths), SMALL, TextOptions(), Sharding())
    assert (len(planned.plan.shards), planned.plan.options["shard_bytes"]) == (1, 16 * mebibyte)


def test_the_first_shard_with_text_is_known(tmp_path: Path) -> None:
    """The separator is left out in the shard of the first text, whose sources come as they were found."""
    paths = write(tmp_path, [(".txt", BOM), (".txt", BOM), (".txt", BOM + b"one two"), (".jsonl", json_lines(["x"]))])

    planned = plan_of(paths, 6)

    n_shards = len(planned.plan.shards)
    assert [planned.continues(number) for number in range(n_shards)] == [n != 1 for n in range(n_shards)]
    assert planned.sources == find_sources(paths)


# --- what it depends on ---------------------------------------------------------------------------


def test_the_plan_does_not_depend_on_where_the_corpus_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus that was copied elsewhere, or is named by another path, has the same plan."""
    contents = [(".txt", b"one two " * 9), (".txt", b"three")]
    planned = []
    for place in ("here", "there/and/deeper"):
        write(tmp_path / place, contents)
        planned.append(plan_of([str(tmp_path / place)], 30))
    monkeypatch.chdir(tmp_path / "there")
    planned.append(plan_of(["and/deeper/"], 30))

    plans = [each.plan for each in planned]
    assert [(plan.sha256, plan.shards, plan.names) for plan in plans] == [
        (plans[0].sha256, plans[0].shards, ["0.txt", "1.txt"])
    ] * 3


def test_the_plan_depends_on_corpus_and_options(tmp_path: Path) -> None:
    """Each option that decides a byte, and each file's name, size and place in the order, makes another plan."""
    paths = write(tmp_path / "a", [(".txt", b"one two three"), (".txt", b"four")])
    longer = write(tmp_path / "b", [(".txt", b"one two three"), (".txt", b"fourth")])
    renamed = write(tmp_path / "c", [(".md", b"one two three"), (".txt", b"four")])
    records = write(tmp_path / "d", [(".jsonl", b'{"text": "one", "body": "two"}')])
    gpt2, plain = load_vocabulary("gpt2"), TextOptions()

    hashes = [
        plan_corpus(find_sources(named, field), vocabulary, options, Sharding(shard_bytes)).plan.sha256
        for named, field, vocabulary, options, shard_bytes in (
            (paths, None, gpt2, plain, 8),
            (paths[::-1], None, gpt2, plain, 8),
            (paths[:1], None, gpt2, plain, 8),
            (longer, None, gpt2, plain, 8),
            (renamed, None, gpt2, plain, 8),
            (paths, None, gpt2, plain, 9),
            (paths, None, load_vocabulary("r50k_base"), plain, 8),
            (paths, None, gpt2, TextOptions(newlines="keep"), 8),
            (paths, None, gpt2, TextOptions(separator="none"), 8),
            (paths, None, gpt2, TextOptions(special="text"), 8),
            (records, "text", gpt2, plain, 8),
            (records, "body", gpt2, plain, 8),
        )
    ]

    assert len(set(hashes)) == len(hashes)
    again = plan_corpus(find_sources(paths), gpt2, plain, Sharding(8, val_fraction=0.5))
    assert again.plan.sha256 == hashes[0]  # a split is cut from the whole stream


# --- what cannot be planned -----------------------------------------------------------------------


def test_a_corpus_without_text_is_refused(tmp_path: Path) -> None:
    """A corpus that holds no text at all has no plan; a single file is named."""
    paths = write(tmp_path, [contents for before in FIRST.values() for contents in before])

    for named, name in ((paths, f"{len(paths)} inputs"), (paths[:1], paths[0])):
        with pytest.raises(EmptyError, match=f"^{name}: empty: 0 tokens$"):
            plan_of(named, 10)

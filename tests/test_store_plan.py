"""Promises of a store's plan: it follows from corpus and options alone, and its shards join to the one stream."""

from __future__ import annotations

import gzip
import json
import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import adversarial_text

from llmprep.choices import Effort, TextOptions
from llmprep.documents import blocks as blocks_room
from llmprep.documents.finding import find_sources
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import BOM, Source
from llmprep.errors import DataError, EmptyError, InputError, UsageError
from llmprep.store.plan import Piece, Plan, make_plan
from llmprep.store.shards import ShardJob, begun_documents, make_jobs
from llmprep.tokens.stream import TokenStream, stream_text
from llmprep.vocabulary.loading import END_OF_TEXT, Vocabulary, load_vocabulary

EFFORT = Effort(backend="tiktoken")
GPT2 = load_vocabulary("gpt2")
SMALL = replace(
    GPT2,
    ranks={token: rank for token, rank in GPT2.ranks.items() if rank < 600},
    special_tokens={END_OF_TEXT: 600},
    n_vocab=601,
)
"""GPT-2's pattern with its first merges: where text may be cut is the same, and a tokenizer is built in no time."""

Contents = tuple[str, bytes]
"""(suffix, bytes) of a file."""


def write(folder: Path, contents: Sequence[Contents]) -> list[str]:
    """Write files numbered in order; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}{suffix}" for number, (suffix, _) in enumerate(contents)]
    for path, (_, data) in zip(paths, contents, strict=True):
        path.write_bytes(data)
    return [str(path) for path in paths]


def ids_of(stream: TokenStream) -> list[int]:
    """All ids of a stream."""
    return [int(token_id) for block in stream for token_id in block]


def plan_of(paths: Sequence[str], shard_bytes: int, options: TextOptions | None = None) -> Plan:
    """The plan of a corpus."""
    return make_plan(find_sources(paths), SMALL, options or TextOptions(), shard_bytes)


def read_shards(plan: Plan, options: TextOptions | None = None) -> list[tuple[ShardJob, list[int]]]:
    """Each shard's job and ids, read as a worker reads them."""
    jobs = make_jobs(plan, Path(), SMALL, options or TextOptions(), EFFORT)
    return [(job, ids_of(stream_text(job.sources, SMALL, job.options, EFFORT, follows=job.follows))) for job in jobs]


def joined(paths: Sequence[str], shard_bytes: int, options: TextOptions | None = None) -> list[int]:
    """The ids of all shards, in order."""
    shards = read_shards(plan_of(paths, shard_bytes, options), options)
    return [token_id for _, ids in shards for token_id in ids]


def single(paths: Sequence[str], options: TextOptions | None = None) -> list[int]:
    """The ids of the same corpus as one stream."""
    return ids_of(stream_text(find_sources(paths), SMALL, options, EFFORT))


def records(texts: Sequence[str]) -> bytes:
    """JSON Lines of texts."""
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


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
    st.tuples(st.just(".jsonl"), st.lists(texts, max_size=5).map(records)),
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

        assert joined(paths, shard_bytes, options) == expected


FIRST = {
    "an empty file": [(".txt", b"")],
    "only a mark": [(".txt", BOM)],
    "several marks": [(".txt", BOM), (".txt", BOM), (".txt", b""), (".txt", BOM)],
    "an empty gzip file": [(".txt.gz", gzip.compress(b"", mtime=0))],
    "a gzip file that holds a mark": [(".txt.gz", gzip.compress(BOM, mtime=0))],
    "records without text": [(".jsonl", records(["", ""]))],
    "blank lines for records": [(".jsonl", b"\n\n")],
}


@pytest.mark.parametrize("shard_bytes", [1, 2, 3, 5, 8, 13, 30, 1000])
@pytest.mark.parametrize("before", list(FIRST.values()), ids=list(FIRST))
def test_the_first_document_has_no_separator(before: list[Contents], shard_bytes: int, tmp_path: Path) -> None:
    """Whatever files without text come first and wherever shards end, the stream begins with the first text's ids."""
    paths = write(tmp_path, [*before, (".txt", b"ab"), *before, (".txt", b"c d")])
    first, second = (single([paths[number]]) for number in (len(before), -1))

    assert joined(paths, shard_bytes) == [*first, SMALL.eot_id, *second]


@pytest.mark.parametrize("shard_bytes", [1, 7, 100, 4096, 100_000])
def test_a_text_with_few_places_to_cut_is_cut_there(shard_bytes: int, tmp_path: Path) -> None:
    """However far a safe cut lies behind a span's nominal end, both neighbours move to it."""
    text = "\u4e2d" * 21_844 + "a " + "\u6587" * 43_690 + "ab c" + "\u65e5" * 700
    step = max(shard_bytes, 2_000)  # so many spans would only repeat each other
    paths = write(tmp_path, [(".txt", text.encode())])

    shards = read_shards(plan_of(paths, step))

    held = [ids for _, ids in shards if ids]
    assert [token_id for ids in held for token_id in ids] == single(paths)
    assert len(held) == (3 if step < 100_000 else 2)


@given(text=texts, shard_bytes=st.integers(1, 60))
def test_spans_share_a_file_without_gap_or_overlap(text: str, shard_bytes: int) -> None:
    """What the spans of a file read follows one on the other, and each begins at a safe cut."""
    data = f"word {text} word".encode()
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), [(".txt", data)])
        read = [source for job, _ in read_shards(plan_of(paths, shard_bytes)) for source in job.sources]

    ends = [0]
    for source in read:
        begin = source.begin if source.span else 0
        if not source.n_bytes:
            continue  # its text belongs to the span before
        assert begin == ends[-1]
        ends.append(begin + source.n_bytes)
        if 0 < begin < len(data):
            assert data[:begin].decode()[-1].isalnum()
            assert data[begin:].decode()[0] in " \t\r\n\u3001\u3002\uff0c"
    assert ends[-1] == len(data)
    assert sum(map(begun_documents, read)) == 1


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count what a process reads")
@pytest.mark.parametrize("contents", [(".txt", b"x " + b"-" * (4 << 20)), (".jsonl", b'"' + b"-" * (4 << 20) + b'"')])
def test_no_span_looks_for_a_cut_beyond_its_own(contents: Contents, tmp_path: Path) -> None:
    """Where there is no place to cut, each of many spans looks through its own bytes, and one reads them all."""
    (path,) = write(tmp_path, [contents])
    n_bytes, step = len(contents[1]), 1 << 16
    (source,) = find_sources([path])
    before = bytes_read()

    lengths = []
    for start in range(0, n_bytes, step):
        part = replace(source, span=(start, min(start + step, n_bytes)))
        with suppress(DataError):  # the record is no object
            list(read_blocks(part))
        lengths.append(part.n_bytes)

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
    (path,) = write(tmp_path, [(".txt", b"one two " + b"-" * 5000 + b"x y")])
    (source,) = find_sources([path])

    def read(start: int, end: int) -> bytes:
        return b"".join(block.raw for block in read_blocks(replace(source, span=(start, end)), block_bytes=100))

    with pytest.raises(
        DataError, match=r"0\.txt: \d+ bytes from byte 7 on without a letter or digit before white space"
    ):
        read(0, 8)
    assert (read(0, 6), read(3000, 5000), read(5000, 5011)) == (b"one two", b"", b" y")


def test_a_size_that_is_not_the_files_loses_nothing(tmp_path: Path) -> None:
    """A file that holds more than it said is read to its end by its last span; one that holds less is an error."""
    (path,) = write(tmp_path, [(".txt", b"word " * 40)])
    (source,) = find_sources([path])

    def read(size: int, start: int) -> bytes:
        part = replace(source, size=size, span=(start, size))
        return b"".join(block.raw for block in read_blocks(part, block_bytes=16))

    assert read(100, 50) == b" word" * 29 + b" "
    with pytest.raises(InputError, match=r"0\.txt: has 200 bytes, and said that it has 300"):
        read(300, 50)


# --- what lies where ------------------------------------------------------------------------------


def test_small_files_share_a_shard_and_large_ones_are_split(tmp_path: Path) -> None:
    """Files are taken in order: together as long as there is room, in spans where one is larger than a shard."""
    paths = write(tmp_path, [(".txt", b"a" * size) for size in (10, 10, 45, 12, 8, 1)])

    plan = plan_of(paths, 20)

    assert plan.shards == [
        [Piece(0, 0, None), Piece(1, 0, None)],
        [Piece(2, 0, 20)],
        [Piece(2, 20, 40)],
        [Piece(2, 40, 45), Piece(3, 0, None)],
        [Piece(4, 0, None), Piece(5, 0, None)],
    ]


@pytest.mark.parametrize(
    "contents",
    [
        (".txt", gzip.compress(os.urandom(300).hex().encode(), mtime=0)),
        (".jsonl", gzip.compress(records([os.urandom(9).hex() for _ in range(30)]), mtime=0)),
        (".parquet", b"PAR1" + bytes(300)),
    ],
    ids=["gzip", "compressed records", "parquet"],
)
def test_what_cannot_be_entered_in_the_middle_is_not_split(contents: Contents, tmp_path: Path) -> None:
    """A compressed file, whatever its name, and a Parquet file lie whole in one shard."""
    paths = write(tmp_path, [(".txt", b"before"), contents, (".txt", b"behind")])

    plan = plan_of(paths, 100)

    assert plan.shards == [[Piece(0, 0, None)], [Piece(1, 0, None)], [Piece(2, 0, None)]]


@pytest.mark.parametrize("shard_bytes", [1, 20, 33, 66, 67, 1000])
def test_records_are_split_at_lines(shard_bytes: int, tmp_path: Path) -> None:
    """Each line of a large file of records is read once, whole, by the span that it begins in."""
    texts = [f"record {number} of some" for number in range(20)]
    lines = records(texts)
    paths = write(tmp_path, [(".jsonl", lines + b"\n \n" + lines.removesuffix(b"\n"))])

    read = [source for job, _ in read_shards(plan_of(paths, shard_bytes)) for source in job.sources]

    starts = {0, *(end.end() for end in re.finditer(b"\n", Path(paths[0]).read_bytes())), Path(paths[0]).stat().st_size}
    assert {source.begin for source in read if source.n_bytes} <= starts
    assert sum(source.n_bytes for source in read) == Path(paths[0]).stat().st_size
    assert sum(map(begun_documents, read)) == 40
    assert len(read) == -(-Path(paths[0]).stat().st_size // shard_bytes)


# --- what it depends on ---------------------------------------------------------------------------


def test_the_plan_does_not_depend_on_where_the_corpus_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus that was copied elsewhere, or is named by another path, has the same plan."""
    contents = [(".txt", b"one two " * 9), (".txt", b"three")]
    plans = []
    for place in ("here", "there/and/deeper"):
        write(tmp_path / place, contents)
        plans.append(plan_of([str(tmp_path / place)], 30))
    monkeypatch.chdir(tmp_path / "there")
    plans.append(plan_of(["and/deeper/"], 30))

    assert [plan.sha256 for plan in plans] == [plans[0].sha256] * 3
    assert [plan.shards for plan in plans] == [plans[0].shards] * 3


def test_the_plan_follows_from_corpus_and_options(tmp_path: Path) -> None:
    """Each option that decides a byte, and each file's name, size and place in the order, makes another plan."""
    paths = write(tmp_path / "a", [(".txt", b"one two three"), (".txt", b"four")])
    longer = write(tmp_path / "b", [(".txt", b"one two three"), (".txt", b"fourth")])
    renamed = write(tmp_path / "c", [(".md", b"one two three"), (".txt", b"four")])

    def hash_of(paths: Sequence[str], vocabulary: Vocabulary = GPT2, shard_bytes: int = 8, **chosen: str) -> str:
        options = TextOptions(**chosen)  # type: ignore[arg-type]
        return make_plan(find_sources(paths), vocabulary, options, shard_bytes).sha256

    hashes = [
        hash_of(paths),
        hash_of(paths[::-1]),
        hash_of(paths[:1]),
        hash_of(longer),
        hash_of(renamed),
        hash_of(paths, shard_bytes=9),
        hash_of(paths, load_vocabulary("r50k_base")),
        hash_of(paths, newlines="keep"),
        hash_of(paths, separator="none"),
        hash_of(paths, special="text"),
    ]
    records = write(tmp_path / "d", [(".jsonl", b'{"text": "one", "body": "two"}')])
    hashes += [make_plan(find_sources(records, name), GPT2, TextOptions(), 8).sha256 for name in ("text", "body")]

    assert len(set(hashes)) == len(hashes)
    assert hash_of(paths) == hashes[0]


# --- what cannot be planned -----------------------------------------------------------------------


def test_inputs_without_a_size_are_refused(tmp_path: Path) -> None:
    """Standard input and pipes cannot be planned: they have no size and can be read only once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    piped = find_sources([str(pipe)])
    stdin = [Source("-", "-")]

    for sources, name in ((piped, str(pipe)), (stdin, "-")):
        with pytest.raises(UsageError, match=f"^{name}: .*planned from files that tell their size"):
            make_plan(sources, SMALL, TextOptions(), 10)


def test_a_corpus_without_text_is_refused(tmp_path: Path) -> None:
    """A corpus that holds no text at all has no plan."""
    paths = write(tmp_path, [contents for before in FIRST.values() for contents in before])

    with pytest.raises(EmptyError, match=f"^{len(paths)} inputs: empty: 0 tokens$"):
        plan_of(paths, 10)


def test_looking_for_the_first_text_leaves_no_figures_behind(tmp_path: Path) -> None:
    """Planning reads the first blocks, but the sources' figures stay those of sources not yet read."""
    paths = write(tmp_path, [(".txt", BOM), (".txt", BOM + b"one two"), (".jsonl", records(["three"]))])

    plan = plan_of(paths, 100)

    assert plan.first == Piece(1, 0, None)
    assert plan.sources == find_sources(paths)
    assert np.array_equal([source.n_bytes for source in plan.sources], [0, 0, 0])

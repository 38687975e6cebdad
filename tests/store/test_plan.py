"""Promises of a store's plan: it depends on corpus and options alone, and its shards join to the one stream."""

import gzip
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stores import SMALL, json_lines, write_files
from support.strategies import adversarial_text

from llmprep.choices import Effort, Sharding, Special, TextOptions
from llmprep.documents import blocks
from llmprep.documents.cuts import Cuts
from llmprep.documents.finding import find_sources
from llmprep.documents.source import BOM, Source
from llmprep.errors import DataError, EmptyError, UsageError
from llmprep.store import plan
from llmprep.store.plan import PlannedCorpus, choose_shard_bytes, count_shards, fill_shards, plan_corpus
from llmprep.store.schema import Span
from llmprep.store.shards import make_jobs
from llmprep.tokens import stream
from llmprep.tokens.backends import Encoder
from llmprep.tokens.stream import stream_part
from llmprep.vocabulary.loading import load_vocabulary

EFFORT, PLAIN = Effort(backend="tiktoken"), TextOptions()
ENCODERS = {special: Encoder(SMALL, special, "tiktoken") for special in get_args(Special)}
Contents = tuple[str, bytes]
"""(suffix, bytes) of a file."""


def write(folder: Path, *contents: Contents) -> list[str]:
    """Write files numbered in order; return their paths."""
    return write_files(folder, {f"{number}{suffix}": data for number, (suffix, data) in enumerate(contents)})


def plan_of(paths: Sequence[str], shard_bytes: int, options: TextOptions = PLAIN) -> PlannedCorpus:
    """The plan of a corpus."""
    return plan_corpus(find_sources(paths), SMALL, options, Sharding(shard_bytes))


def spans_of(planned: PlannedCorpus) -> list[list[Span]]:
    """The spans of each shard."""
    return [[*planned.plan.shards.of(number)] for number in range(len(planned.plan.shards))]


def read(sources: Sequence[Source], options: TextOptions = PLAIN, *, continues: bool = False) -> list[int]:
    """The ids of sources as one stream."""
    part = stream_part(sources, options, EFFORT, ENCODERS[options.special], continues=continues)
    ids: list[int] = np.concatenate([*part, []]).tolist()
    return ids


def read_shards(paths: Sequence[str], shard_bytes: int, options: TextOptions = PLAIN) -> list[list[int]]:
    """Each shard's ids, read as a worker reads them."""
    jobs = make_jobs(plan_of(paths, shard_bytes, options), Path(), SMALL, options, EFFORT)
    return [read(job.sources, options, continues=job.continues) for job in jobs]


# NUL bytes make a short text look like no text at all.
texts = adversarial_text.map(lambda text: text.replace("\x00", "")) | st.text("\u4e2d\u6587\u3002\n", max_size=99)
files = st.one_of(
    st.tuples(st.just(".txt"), texts.map(str.encode)),
    st.tuples(st.just(".txt"), texts.map(lambda text: BOM + text.replace("\n", "\r\n").encode())),
    st.tuples(st.just(".txt"), st.sampled_from([b"", BOM, b"\n", b"word", b"one two three " * 20])),
    st.tuples(st.just(".jsonl"), st.lists(texts, max_size=5).map(json_lines)),
    st.tuples(st.just(".txt.gz"), texts.map(lambda text: gzip.compress(text.encode(), mtime=0))),
)
text_options = st.builds(
    TextOptions, *(st.sampled_from(values) for values in (["universal", "keep"], ["eot", "none"], ["allow", "text"]))
)


@settings(max_examples=40)
@given(st.lists(files, min_size=1, max_size=5), st.integers(1, 20) | st.integers(1, 1000), text_options)
def test_shards_join_to_the_one_stream(contents: list[Contents], shard_bytes: int, options: TextOptions) -> None:
    """For any files, options and size of shards, the shards' ids in order are the single stream's ids."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), *contents)
        try:
            expected = read(find_sources(paths), options)
        except EmptyError:
            with pytest.raises(EmptyError, match="empty: 0 tokens"):
                plan_of(paths, shard_bytes, options)
            return
        assert [*chain(*read_shards(paths, shard_bytes, options))] == expected


FIRST: list[list[Contents]] = [
    [(".txt", b"")],
    [(".txt", BOM), (".txt", BOM), (".txt", b""), (".txt", BOM)],
    [(".txt.gz", gzip.compress(b"", mtime=0)), (".txt.gz", gzip.compress(BOM, mtime=0))],
    [(".jsonl", json_lines(["", ""]))],
]


@pytest.mark.parametrize("before", FIRST)
def test_the_first_document_has_no_separator(before: list[Contents], tmp_path: Path) -> None:
    """Whatever files without text come first and wherever shards end, the first text does; alone they have no plan."""
    paths = write(tmp_path, *before, (".txt", b"ab"), *before, (".txt", b"c d"))
    first, second = (read(find_sources([paths[number]])) for number in (len(before), -1))
    for shard_bytes in (1, 2, 3, 5, 8, 13, 30, 1000):
        assert [*chain(*read_shards(paths, shard_bytes))] == [*first, SMALL.eot_id, *second]
    name = paths[0] if len(before) == 1 else f"{len(before)} inputs"
    with pytest.raises(EmptyError, match=f"^{name}: empty: 0 tokens$"):
        plan_of(paths[: len(before)], 10)


PACKED = gzip.compress(os.urandom(300).hex().encode(), mtime=0)


def test_files_are_taken_in_order(tmp_path: Path) -> None:
    """Together as long as there is room, in spans where one is larger than a shard and can be entered."""
    texts = write(tmp_path / "texts", *((".txt", b"a" * size) for size in (10, 10, 45, 12, 8, 1, 20)))
    assert spans_of(plan_of(texts, 20)) == [
        [Span(0, 0, None), Span(1, 0, None)], [Span(2, 0, 20)], [Span(2, 20, 40)], [Span(2, 40, 45), Span(3, 0, None)],
        [Span(4, 0, None), Span(5, 0, None)], [Span(6, 0, None)],
    ]  # fmt: skip
    whole = [(".txt", PACKED), (".jsonl", PACKED), (".parquet", b"PAR1" + bytes(300)), (".txt", b"x")]
    shards = spans_of(plan_of(write(tmp_path / "whole", *whole), 100))
    assert shards == [[Span(number, 0, None)] for number in range(4)]


def test_the_default_size_makes_few_shards_of_any_corpus(tmp_path: Path) -> None:
    """Shards are of 16 MiB, doubled until there are 1,024 or they are of 1 GiB."""
    mebibyte = 1 << 20
    sizes = {0: 16, 16 << 10: 16, (16 << 10) + 1: 32, 512 << 10: 512, (512 << 10) + 1: 1024, 1 << 30: 1024}
    assert {n: choose_shard_bytes(n * mebibyte) // mebibyte for n in sizes} == sizes
    sources = find_sources(write(tmp_path, (".txt", b"one")))
    assert plan_corpus(sources, SMALL, TextOptions(), Sharding()).plan.options["shard_bytes"] == 16 * mebibyte


def test_a_text_that_may_not_be_cut_is_whole_in_one_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON Lines have their spans as ever, and shards join to the one stream; a text that is too long is refused."""
    text, records = b"one two three, " * 60, json_lines([f"record {number}" for number in range(40)])
    paths = write(tmp_path, (".txt", text), (".jsonl", records), (".txt", b"the end"))
    expected, no_cuts = read(find_sources(paths)), Cuts(allowed=False)
    for module in (plan, stream):
        monkeypatch.setattr(module, "cuts_of", lambda _: no_cuts)

    planned = plan_of(paths, 100)
    assert [[*(span.source for span in spans)] for spans in spans_of(planned)] == [[0], *[[1]] * 8, [1, 2]]
    assert planned.parts(0)[0].span is None
    assert [*chain(*read_shards(paths, 100))] == read(find_sources(paths)) == expected
    monkeypatch.setattr(blocks, "MAX_UNCUT_BYTES", 800)
    with pytest.raises(DataError, match=r"0\.txt: one document of more than 800 bytes"):
        plan_of(paths, 100)


sizes = st.lists(st.integers(0, 40), min_size=1, max_size=12)


@settings(max_examples=40)
@given(sizes, st.integers(1, 20))
def test_shards_are_counted_as_they_are_filled(sizes: list[int], shard_bytes: int) -> None:
    """The count that is made before any shard is planned is theirs, for files of any sizes."""
    with tempfile.TemporaryDirectory() as folder:
        sources = find_sources(write(Path(folder), *((".txt", b"a" * size) for size in sizes)))
        assert count_shards(sources, shard_bytes) == len(fill_shards(sources, shard_bytes))


def test_a_size_that_makes_too_many_shards_asks_for_its_unit(tmp_path: Path) -> None:
    """More than 100,000 shards of a chosen size are refused, with a size that makes fewer; by default they are made."""
    paths = write(tmp_path, (".txt", b"one two " * 40_000), (".txt", b"end"))
    line = "--shard-bytes 3: is in bytes, and would make 106668 shards; at most 100000 are made: "
    line += "--shard-bytes 6 makes 53334"
    with pytest.raises(UsageError, match=f"^{re.escape(line)}$"):
        plan_of(paths, 3)
    assert len(plan_of(paths, 6).plan.shards) == 53_334


def test_the_plan_does_not_depend_on_where_the_corpus_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus that was copied elsewhere, or is named by another path, has the same plan, by the same stable hash."""
    for place in ("here", "there/and/deeper"):
        write(tmp_path / place, (".txt", b"one two " * 9), ("\u00e9.txt", b"three"))
    monkeypatch.chdir(tmp_path / "there")
    plan, other = (plan_of([str(path)], 30).plan for path in (tmp_path / "here", "and/deeper/"))
    corpus = [["0.txt", 72, "text"], ["1\u00e9.txt", 5, "text"]]
    assert [*plan.names] == ["0.txt", "1\u00e9.txt"]
    assert plan.sha256 == hashlib.sha256(json.dumps([plan.options, corpus], sort_keys=True).encode()).hexdigest()
    assert (other.sha256, other.shards, other.names) == (plan.sha256, plan.shards, plan.names)


def test_the_plan_depends_on_corpus_and_options(tmp_path: Path) -> None:
    """Each option that decides a byte, and each file's name, size and place in the order, makes another plan."""
    paths = write(tmp_path / "a", (".txt", b"one two three"), (".txt", b"four"))
    longer = write(tmp_path / "b", (".txt", b"one two three"), (".txt", b"fourth"))
    renamed = write(tmp_path / "c", (".md", b"one two three"), (".txt", b"four"))
    records = write(tmp_path / "d", (".jsonl", b'{"text": "one", "body": "two"}'))

    def hash_of(paths: Sequence[str], field: str | None = None, size: int = 8, *, name: str = "gpt2", **to: Any) -> str:
        planned = plan_corpus(find_sources(paths, field), load_vocabulary(name), TextOptions(**to), Sharding(size))
        return planned.plan.sha256

    hashes = [
        *map(hash_of, (paths, paths[::-1], paths[:1], longer, renamed)),
        *(hash_of(records, field) for field in ("text", "body")),
        hash_of(paths, size=9),
        hash_of(paths, name="r50k_base"),
        hash_of(paths, newlines="keep"),
        hash_of(paths, separator="none"),
        hash_of(paths, special="text"),
    ]
    assert len(set(hashes)) == len(hashes)

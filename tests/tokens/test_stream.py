"""Promises of a stream: ids and figures are those of the whole texts, however they are read and encoded."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import reference
from support.documents import counts_of, json_lines, save
from support.strategies import adversarial_text
from support.streams import EOT, Build, Load, all_ids, as_read, expected_ids, ids_sha256, open_files, sha256

from llmprep.choices import BackendName, Effort, Newlines, Separator, Special, TextOptions
from llmprep.documents.finding import find_sources
from llmprep.documents.source import Counts, Source
from llmprep.errors import DataError
from llmprep.tokens.backends import Encoder
from llmprep.tokens.figures import MAX_SOURCES, Figures, are_gaps, sum_or_list
from llmprep.tokens.spooling import open_spool, spool
from llmprep.tokens.stream import Distinct, Head, count_tokens, stream_part, stream_text
from llmprep.tokens.unicode17 import NEW_CODE_POINTS
from llmprep.vocabulary.vocabulary import Vocabulary

EXAMPLES = {"gpt2": 30, "p50k_base": 10, "cl100k_base": 10, "o200k_base": 5}
"""Encodings, and how many drawn streams each can afford."""
JOBS = (1, 3)
BACKENDS: tuple[BackendName, ...] = ("tiktoken", "gigatoken")

new_code_points = st.sampled_from(NEW_CODE_POINTS).flatmap(lambda ends: st.integers(*ends)).map(chr)
texts = st.lists(adversarial_text | new_code_points | st.just(EOT), max_size=3).map(
    lambda parts: "".join(parts).replace("\x00", "")
)
"""Without NULs: two of them in a short text are taken for binary data."""
efforts = st.builds(Effort, st.sampled_from(BACKENDS), st.sampled_from(JOBS), st.sampled_from((1, 2, 7, 64, 1 << 26)))
"""Ways to encode, of which none may show in an id or a figure."""
choices = st.builds(TextOptions, *map(st.sampled_from, (get_args(Newlines), get_args(Separator), get_args(Special))))


def write_texts(folder: Path, documents: Sequence[str | bytes]) -> Sequence[Source]:
    """Write each document to a file of its own: 0.txt, 1.txt, ..."""
    paths = [save(folder, document, f"{number}.txt") for number, document in enumerate(documents)]
    return find_sources(list(map(str, paths)))


@pytest.mark.parametrize("encoding", EXAMPLES)
def test_ids_and_figures_are_those_of_the_whole_texts(encoding: str, load: Load, build: Build, tmp_path: Path) -> None:
    """Texts full of places where a careless cut would change ids, and records of them, give tiktoken's ids.

    Figures add up. With ``special="error"``, texts pass exactly if no special token stands in them.
    """

    @settings(max_examples=EXAMPLES[encoding])
    @given(documents=st.lists(texts, max_size=4), options=choices, effort=efforts)
    @example(["", "\ufeff", f"one{EOT} two {EOT}{EOT}\n<|endof\ntext|>"], TextOptions(), Effort("tiktoken", 1, 7))
    def check(documents: list[str], options: TextOptions, effort: Effort) -> None:
        effort = replace(effort, backend="tiktoken") if encoding == "p50k_base" else effort  # the only one for it
        documents = [*documents, "the end"]  # so that the stream is not empty
        read = [as_read(text, options.newlines) for text in documents]
        sources = write_texts(tmp_path, documents)
        lines = json_lines(tmp_path / "records.jsonl", documents)
        given = (load(encoding), options, effort, build(encoding, options.special, effort.backend))

        stream, records = stream_text(sources, *given), stream_text([counts_of(lines).source], *given)
        if options.special == "error" and any(token in "".join(documents) for token in given[0].special_tokens):
            for refused in (stream, records):
                with pytest.raises(DataError, match="special token"):
                    all_ids(refused)
            return
        ids, ids_of_records = all_ids(stream), all_ids(records)

        assert ids == expected_ids(read, encoding, options.separator, options.special)
        figures = stream.figures
        assert (figures.n_tokens, figures.content_sha256) == (len(ids), ids_sha256(ids))
        assert figures.n_special == records.figures.n_special == sum(text.count(EOT) for text in documents)
        own = [len(reference.encode(text, encoding, options.special)) for text in read]
        assert [(source["name"], source["tokens"], source["documents"]) for source in figures.sources] == [
            (f"{number}.txt", n_tokens, int(n_tokens > 0)) for number, n_tokens in enumerate(own)
        ]
        assert [source["sha256"] for source in figures.sources] == [sha256(text.encode()) for text in documents]
        in_records = [as_read("a" + text, options.newlines)[1:] for text in documents]  # where a mark is a character
        assert ids_of_records == expected_ids(in_records, encoding, options.separator, options.special)
        (record,) = records.figures.sources
        n_held = len([*filter(None, documents)])
        n_separators = (n_held - 1) * (options.separator == "eot")
        assert (record["tokens"], record["documents"]) == (len(ids_of_records) - n_separators, n_held)

    check()


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        (["one", " two", "one"], [505, 50256, 734, 50256, 505]),
        (["one", "", "\ufeff", " two"], [505, 50256, 734]),
        (["", EOT, EOT, ""], [50256, 50256, 50256]),
        (["hel", "lo"], [2978, 50256, 5439]),
    ],
)
def test_documents_are_separated(documents: list[str], expected: list[int], tmp_path: Path, gpt2: Vocabulary) -> None:
    """One end-of-text id between two documents that hold text; one before the first if a stream continues another."""
    sources, files = write_texts(tmp_path, documents), open_files()
    blocks = list(stream_text(sources, gpt2))
    assert open_files() == files
    assert np.concatenate(blocks).tolist() == expected
    assert {(block.dtype, block.ndim) for block in blocks} == {(np.dtype(np.uint32), 1)}
    separate = [token for text in documents for token in reference.encode(as_read(text))]
    assert all_ids(stream_text(sources, gpt2, TextOptions(separator="none"))) == separate
    assert all_ids(stream_part(sources, TextOptions(), Effort(), Encoder(gpt2), continues=True)) == [50256, *expected]
    assert (
        all_ids(
            stream_part(write_texts(tmp_path, ["", "\ufeff"]), TextOptions(), Effort(), Encoder(gpt2), continues=True)
        )
        == []
    )


def test_a_stream_is_described_before_it_is_read(tmp_path: Path, gpt2: Vocabulary) -> None:
    """One input gives its path, several their number; vocabulary and options are known, and stages share all that."""
    sources = write_texts(tmp_path, ["one two three"] * 3)
    stream = stream_text(sources, gpt2)
    watched, origin = stream.through(head := Head(2)), stream.origin
    assert (watched.origin, watched.figures) == (origin, stream.figures)
    assert stream_text(sources[:1], gpt2).origin.name == str(tmp_path / "0.txt")
    assert (origin.name, origin.encoding, origin.n_vocab) == ("3 inputs", "gpt2", 50257)
    assert (origin.vocab_sha256, origin.load_vocabulary()) == (gpt2.sha256, gpt2)
    assert origin.options == {"newlines": "universal", "separator": "eot", "special": "allow"}
    assert all_ids(watched)[:2] == head.ids == reference.encode("one two")


def test_stages_watch_and_change_nothing() -> None:
    """`Head` keeps the first ids, `Distinct` counts different ones, `count_tokens` counts and hashes all."""
    blocks, ids = [[5, 99], [], [0, 5, 7], [5]], [5, 99, 0, 5, 7, 5]
    for size in (0, 2, 3, 9):
        head, distinct, counted = Head(size), Distinct(100), Figures(n_tokens=7)
        passed = head(distinct(count_tokens([np.array(block, np.uint32) for block in blocks], counted)))
        assert [block.tolist() for block in passed] == blocks
        assert (head.ids, distinct.count) == (ids[:size], 4)
        assert (counted.n_tokens, counted.content_sha256) == (6, ids_sha256(ids))


def test_a_spooled_stream_is_the_stream(tmp_path: Path) -> None:
    """What goes through the temporary file comes back the same, cannot be written, and leaves no name."""
    cases: list[list[list[int]]] = [[], [[]], [[1, 2**32 - 1], [], [7]]]
    for blocks in cases:
        ids: Any = spool((np.array(block, np.uint32) for block in blocks), tmp_path)
        assert ids.dtype == np.dtype("<u4")
        assert ids.tolist() == [token for block in blocks for token in block]
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 7


@pytest.mark.parametrize("n_ids", [100, 3_000_000])
def test_parts_of_a_spool_are_those_of_the_stream(n_ids: int) -> None:
    """Any part comes back, as often as it is asked for, of what stays in memory and of what does not."""
    ids = np.arange(n_ids, dtype=np.uint32)
    with open_spool() as spooled:
        spooled.fill(np.array_split(ids, 7))
        for start, end in [(n_ids - 50, n_ids), (0, 9), (5, 5), (0, n_ids)]:
            assert np.array_equal(spooled[start:end], ids[start:end])


@pytest.mark.parametrize("jobs", JOBS)
def test_only_what_is_asked_for_is_read(jobs: int, tmp_path: Path, gpt2: Vocabulary) -> None:
    """Whoever takes only the beginning has only the beginning read; then the file is closed."""
    sources, files = write_texts(tmp_path, [b"some words " * 100_000 + b"\xff"]), open_files()
    stream: Any = stream_text(sources, gpt2, effort=Effort("tiktoken", jobs, 1000))
    assert open_files() == files
    next(stream.blocks)
    stream.close()
    assert stream.figures.counts[0].n_bytes <= 4096 + 1000 * 12
    assert open_files() == files


FILLING = b" words" * 1000


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize(
    ("documents", "block_bytes", "message", "before"),
    [
        ([b"one two", b"not \xff", EOT], 1 << 20, r"1.txt: not valid UTF-8 at byte 4 ", ["one two"]),
        ([b"one", FILLING + b" \xff" + FILLING, EOT], 10, r"1.txt: .* byte 6001 ", ["one", FILLING.decode()]),
        ([FILLING + EOT.encode() + FILLING + b"\xff"], 50, r"0.txt: special token.* at byte 6000;", None),
        ([f"caf\u00e9 one\r\ntwo {EOT} {EOT}"], 7, r"0.txt: special token <\|endoftext\|> .* byte 15;", None),
    ],
)
def test_the_first_error_is_the_one_said(
    documents: list[str | bytes], block_bytes: int, message: str, before: Any, jobs: int, tmp_path: Path, load: Load
) -> None:
    """It is raised, whichever thread meets its own first, after every block before it; no input stays open."""
    files, sources, head = open_files(), write_texts(tmp_path, documents), Head(1 << 20)
    stream = stream_text(sources, load("gpt2"), TextOptions(special="error"), Effort("tiktoken", jobs, block_bytes))
    with pytest.raises(DataError, match=message):
        all_ids(stream.through(head))
    assert open_files() == files
    assert before is None or head.ids == expected_ids(before)


def counted(number: int, **more: Any) -> Counts:
    """A source that has been read, which holds its own number."""
    source, data = Source(f"/x/{number}", f"{number}.txt"), str(number).encode()
    return Counts(source, n_bytes=len(data), n_tokens=2, n_documents=1, sha256=sha256(data), **more)


def test_records_are_listed_or_summed_up() -> None:
    """Up to `MAX_SOURCES` records are listed; of more, one has the sums, and the hash of ``sha256sum``'s lines."""
    record, *others = sum_or_list([counted(3), counted(3, n_empty=2, gaps=[[2, 2]]), counted(3, n_empty=9, gaps=None)])
    assert record == {"name": "3.txt", "bytes": 1, "sha256": sha256(b"3"), "tokens": 2, "documents": 1}
    assert others == [record | {"empty": 2, "gaps": [[2, 2]]}, record | {"empty": 9, "gaps": None}]

    numbers = range(1000, 1000 + MAX_SOURCES + 1)
    many = [counted(number, n_empty=number % 2) for number in numbers]
    listing = "".join(f"{sha256(b'%d' % number)}  {number}.txt\n" for number in numbers)
    sums = {"bytes": 4 * len(many), "sha256": sha256(listing.encode()), "tokens": 2 * len(many), "documents": len(many)}
    assert Figures(many).sources == [{"name": f"{len(many)} inputs", **sums, "empty": MAX_SOURCES // 2}]
    assert "empty" not in sum_or_list([counted(0)] * len(many))[0]
    assert [record["name"] for record in sum_or_list(many[:-1])] == [f"{number}.txt" for number in numbers[:-1]]
    assert Figures(many, records=[{"name": "a"}]).sources == [{"name": "a"}]  # what a file says of its sources stands


def test_gaps_are_runs_in_order() -> None:
    """Gaps are None or runs [number, count] from 1 on, in order and apart; nothing in them is trusted."""
    for good in (None, [], [[1, 1]], [[1, 2], [4, 1], [9, 1 << 40]], [[1, (1 << 62) - 1]]):
        assert are_gaps(good), good
    bad: list[object] = ["", {}, [1, 2], [[0, 1]], [[1, 0]], [[1, 2, 3]], [(1, 2)], [[1, True]], [[1, 2.0]]]
    for value in (*bad, [[1, 1 << 62]], [[1, 2], [3, 1]], [[4, 1], [1, 2]]):  # two runs that touch are one
        assert not are_gaps(value), value

"""Promises of a stream: ids and figures are those of the whole texts, however they are read and encoded."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import reference
from support.commands import SAMPLES, clean_environment
from support.strategies import adversarial_text
from support.streams import (
    EOT,
    Build,
    Load,
    all_ids,
    as_read,
    expected_ids,
    ids_sha256,
    open_files,
    piped,
    sha256,
    stream_paths,
    threads_end,
    write_texts,
)

from llmprep.choices import BackendName, Effort, TextOptions
from llmprep.errors import DataError, EmptyError
from llmprep.tokens.figures import Figures
from llmprep.tokens.spooling import spool
from llmprep.tokens.stream import Distinct, Head, count_tokens, stream_text
from llmprep.vocabulary.loading import Vocabulary

EXAMPLES = {"gpt2": 60, "p50k_base": 20, "cl100k_base": 20, "o200k_base": 20}
"""Encodings, and how many drawn streams each can afford."""
JOBS = (1, 3)
BACKENDS: tuple[BackendName, ...] = ("tiktoken", "gigatoken")

# Two NULs in a short text are taken for binary data, which documents are tested for.
texts = adversarial_text.filter(lambda text: text.count("\x00") < 2)
efforts = st.builds(Effort, st.sampled_from(BACKENDS), st.sampled_from(JOBS), st.sampled_from((1, 2, 7, 64, 1 << 26)))
"""Ways to encode, of which none may show in an id or a figure."""
choices = st.builds(
    TextOptions,
    st.sampled_from(("universal", "keep")),
    st.sampled_from(("eot", "none")),
    st.sampled_from(("allow", "text", "error")),
)


# --- ids and figures ------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", EXAMPLES)
def test_ids_and_figures_are_those_of_the_whole_texts(encoding: str, load: Load, build: Build, folder: Path) -> None:
    """Texts full of places where a careless cut would change ids give tiktoken's ids, and every figure adds up.

    So do records of the same texts, many of which are encoded in one call. No other special token than the end-of-text
    string becomes an id. With ``special="error"``, texts pass exactly if no special token stands in them.
    """

    @settings(max_examples=EXAMPLES[encoding])
    @given(documents=st.lists(texts, max_size=5), options=choices, effort=efforts)
    @example(["", "\ufeff", f"one{EOT} two {EOT}{EOT}\n<|endof\ntext|>"], TextOptions(), Effort("tiktoken", 1, 7))
    def check(documents: list[str], options: TextOptions, effort: Effort) -> None:
        documents = [*documents, "the end"]  # so that the stream is not empty
        read = [as_read(text, options.newlines) for text in documents]
        lines = (json.dumps({"text": text}) for text in documents)
        (folder / "records.jsonl").write_text("\n".join(lines))
        sources = write_texts(folder, documents)
        given = (load(encoding), options, effort, build(encoding, options.special, effort.backend))

        stream, records = stream_text(sources, *given), stream_paths([folder / "records.jsonl"], *given)
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
        own_ids = [reference.encode(text, encoding, options.special) for text in read]
        assert figures.sources == [
            {
                "name": f"{number}.txt",
                "bytes": len(document.encode()),
                "sha256": sha256(document.encode()),
                "tokens": len(own),
                "documents": int(own != []),
            }
            for number, (document, own) in enumerate(zip(documents, own_ids, strict=True))
        ]
        in_records = [as_read("a" + text, options.newlines)[1:] for text in documents]  # where a mark is a character
        assert ids_of_records == expected_ids(in_records, encoding, options.separator, options.special)
        (record,) = records.figures.sources
        n_separators = (record["documents"] - 1) * (options.separator == "eot")
        assert (record["tokens"], record["documents"]) == (
            len(ids_of_records) - n_separators,
            len([*filter(None, documents)]),
        )

    check()


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_how_a_text_comes_does_not_show(
    backend: BackendName, jobs: int, tmp_path: Path, gpt2: Vocabulary, build: Build
) -> None:
    """From a file, a pipe or gzip come the same ids and figures, but for the bytes and hash of the file itself."""
    text = b"\r\n".join(path.read_bytes()[:2500] for path in sorted(SAMPLES.glob("*.txt")))
    (tmp_path / "text").write_bytes(text)
    (tmp_path / "packed").write_bytes(gzip.compress(text))
    encoder = build("gpt2", "allow", backend)

    with piped(tmp_path / "pipe", text) as pipe:
        ways = [*itertools.product((tmp_path / "text", tmp_path / "packed"), (7, 4096)), (pipe, 999)]
        found = [(path, stream_paths([path], gpt2, None, Effort(backend, jobs, size), encoder)) for path, size in ways]
        ids = [all_ids(stream) for _, stream in found]

    assert ids == [expected_ids([as_read(text.decode())])] * len(ids)
    for path, stream in found:
        held = (tmp_path / "packed").read_bytes() if path.name == "packed" else text
        counted = {"bytes": len(held), "tokens": len(ids[0]), "documents": 1}
        assert stream.figures.sources == [{"name": path.name, "sha256": sha256(held)} | counted]
        assert stream.figures.content_sha256 == ids_sha256(ids[0])


# --- separators -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        (["one"], [505]),
        (["one", " two"], [505, 50256, 734]),
        (["one", " two", "one"], [505, 50256, 734, 50256, 505]),
        (["", "one"], [505]),
        (["one", ""], [505]),
        (["one", "", "\ufeff", " two"], [505, 50256, 734]),
        ([EOT, EOT], [50256, 50256, 50256]),
        (["hel", "lo"], [2978, 50256, 5439]),
    ],
)
def test_separators_stand_between_documents(
    documents: list[str], expected: list[int], tmp_path: Path, gpt2: Vocabulary
) -> None:
    """One end-of-text id between two documents that hold text, none anywhere else; texts are never joined."""
    sources = write_texts(tmp_path, documents)

    blocks = list(stream_text(sources, gpt2))

    assert np.concatenate(blocks).tolist() == expected
    assert {(block.dtype, block.ndim) for block in blocks} == {(np.dtype(np.uint32), 1)}
    separate = [token for text in documents for token in reference.encode(as_read(text))]
    assert all_ids(stream_text(sources, gpt2, TextOptions(separator="none"))) == separate
    more = all_ids(stream_text(sources, gpt2, continues=True))
    assert more == [50256, *expected]


@pytest.mark.parametrize("documents", [[""], ["", ""], ["\ufeff"]])
def test_no_text_at_all_is_an_error(documents: list[str], tmp_path: Path, gpt2: Vocabulary) -> None:
    """Documents that are all empty give one error, at the end; only a stream that continues another may be empty."""
    sources = write_texts(tmp_path, documents)

    assert all_ids(stream_text(sources, gpt2, continues=True)) == []
    name = sources[0].path if len(sources) == 1 else "2 inputs"
    with pytest.raises(EmptyError, match=rf"^{name}: empty: 0 tokens$"):
        all_ids(stream_text(sources, gpt2))


# --- what is known before, and stages -------------------------------------------------------------


@pytest.mark.parametrize(("count", "name"), [(1, "0.txt"), (3, "3 inputs")])
def test_a_stream_is_described_before_it_is_read(count: int, name: str, tmp_path: Path, gpt2: Vocabulary) -> None:
    """One input gives its path, several their number; vocabulary and options are known, and stages share all that."""
    stream = stream_text(write_texts(tmp_path, ["one two three"] * count), gpt2)
    watched = stream.through(head := Head(2))

    assert (watched.origin, watched.figures) == (stream.origin, stream.figures)
    origin = stream.origin
    assert origin.name.endswith(name)
    assert (origin.encoding, origin.n_vocab, origin.vocab_sha256) == ("gpt2", 50257, gpt2.sha256)
    assert origin.load_vocabulary() is gpt2
    assert origin.options == {"newlines": "universal", "separator": "eot", "special": "allow"}
    assert all_ids(watched)[:2] == head.ids == reference.encode("one two")


@given(blocks=st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=6), size=st.integers(0, 12))
def test_stages_watch_and_change_nothing(blocks: list[list[int]], size: int) -> None:
    """`Head` keeps the first ids, `Distinct` counts different ones, `count_tokens` counts and hashes all."""
    ids = [token for block in blocks for token in block]
    head, distinct, counted = Head(size), Distinct(100), Figures(n_tokens=7)
    arrays = [np.array(block, np.uint32) for block in blocks]

    passed = list(head(distinct(count_tokens(arrays, counted))))

    assert [block.tolist() for block in passed] == blocks
    assert (head.ids, distinct.count) == (ids[:size], len(set(ids)))
    assert (counted.n_tokens, counted.content_sha256) == (len(ids), ids_sha256(ids))


@settings(max_examples=30)
@given(blocks=st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=9), max_size=9))
def test_a_spooled_stream_is_the_stream(blocks: list[list[int]], folder: Path) -> None:
    """What goes through the temporary file comes back the same, cannot be written, and leaves no name."""
    (folder / "spool").mkdir(exist_ok=True)

    ids: Any = spool((np.array(block, np.uint32) for block in blocks), folder / "spool")

    assert ids.dtype == np.dtype("<u4")
    assert ids.tolist() == [token for block in blocks for token in block]
    assert list((folder / "spool").iterdir()) == []
    if len(ids):
        with pytest.raises(ValueError, match="read-only"):
            ids[0] = 7


# --- special tokens in the text -------------------------------------------------------------------


@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("encoding", "text", "token"),
    [
        ("gpt2", f"caf\u00e9 one\r\ntwo {EOT} three {EOT}", EOT),
        ("gpt2", EOT, EOT),
        ("cl100k_base", f"one two <|fim_prefix|> three {EOT}", "<|fim_prefix|>"),
    ],
)
def test_special_error_names_the_first_token_and_its_place(
    encoding: str, text: str, token: str, block_bytes: int, tmp_path: Path, load: Load
) -> None:
    """With ``error``, any special token of the vocabulary ends the run with its byte offset in the file."""
    sources = write_texts(tmp_path, [text])
    stream = stream_text(sources, load(encoding), TextOptions(special="error"), Effort(block_bytes=block_bytes))

    with pytest.raises(DataError) as raised:
        all_ids(stream)

    offset = text.encode().index(token.encode())
    assert f"0.txt: special token {token} in the text at byte {offset};" in str(raised.value)


# --- what is read, and errors in order ------------------------------------------------------------


@pytest.mark.parametrize("jobs", JOBS)
def test_only_what_is_asked_for_is_read(jobs: int, tmp_path: Path, gpt2: Vocabulary) -> None:
    """Whoever takes only the beginning has only the beginning read; then the file is closed and the threads end."""
    (tmp_path / "a").write_bytes(b"some words " * 100_000 + b"\xff")
    threads, files = threading.active_count(), open_files()
    stream: Any = stream_paths([tmp_path / "a"], gpt2, effort=Effort("tiktoken", jobs, 1000))
    assert (open_files(), threading.active_count()) == (files, threads)

    next(stream.blocks)
    stream.blocks.close()

    assert stream.figures.counts[0].n_bytes <= 4096 + 1000 * 12
    assert threads_end(threads)
    assert open_files() == files


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_all_before_a_bad_byte_comes(backend: BackendName, jobs: int, tmp_path: Path, gpt2: Vocabulary) -> None:
    """However many threads read ahead, every block before the first error comes, in order, and then that error."""
    good = " ".join(f"word{number}" for number in range(100))
    sources = write_texts(tmp_path, [good, good.encode() + b" \xff " + good.encode(), b"\xfe"])
    stream = stream_text(sources, gpt2, TextOptions(), Effort(backend, jobs, block_bytes=10))
    head = Head(1 << 20)

    with pytest.raises(DataError, match=rf"1\.txt: not valid UTF-8 at byte {len(good) + 1} \(0xff\)"):
        all_ids(stream.through(head))

    assert head.ids == expected_ids([good, good])


FILLING = b" words" * 1000


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize(
    ("documents", "block_bytes", "message"),
    [
        ([b"some words", b"more " + EOT.encode(), b"not \xff text"], 1 << 20, "1.txt: special token"),
        ([b"some words", b"not \xff text", b"more " + EOT.encode()], 1 << 20, r"1.txt: not valid UTF-8 at byte 4 "),
        ([FILLING + EOT.encode() + FILLING + b"\xff"], 50, r"0.txt: special token.* at byte 6000;"),
        ([FILLING + b"\xff" + FILLING + EOT.encode()], 50, r"0.txt: not valid UTF-8 at byte 6000 "),
        ([FILLING + EOT.encode() + FILLING + EOT.encode()], 50, r"0.txt: special token.* at byte 6000;"),
    ],
)
def test_the_first_error_is_the_one_said(
    documents: list[bytes], block_bytes: int, message: str, jobs: int, tmp_path: Path, gpt2: Vocabulary
) -> None:
    """Of two errors the first in the texts is raised, whichever thread meets its own first; no input stays open."""
    files = open_files()
    sources = write_texts(tmp_path, documents)

    with pytest.raises(DataError, match=message):
        all_ids(stream_text(sources, gpt2, TextOptions(special="error"), Effort("tiktoken", jobs, block_bytes)))

    assert open_files() == files


# --- memory ---------------------------------------------------------------------------------------

MEASURE = """
import os, sys
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Prints a command's peak of memory. It is small itself: a process begins with the peak of the one that starts it."""


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_memory_does_not_grow_with_the_text(jobs: str, tmp_path: Path, story: Path) -> None:
    """Ten times the text takes the same memory, within 15 %."""
    peaks = []
    for n_bytes in (8_000_000, 80_000_000):
        path = tmp_path / "text.txt"
        path.write_bytes(story.read_bytes() * (n_bytes // story.stat().st_size))
        command = [sys.executable, "-m", "llmprep", "tokenize", str(path), "-o", os.devnull, "-q", "-j", jobs]
        environment = clean_environment()
        measured = [sys.executable, "-c", MEASURE, *command]
        peaks.append(int(subprocess.run(measured, env=environment, capture_output=True, check=True).stdout))

    small, large = peaks
    assert large < 1.15 * small

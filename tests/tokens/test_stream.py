"""Promises of a stream: ids and figures are those of the whole texts, however they are read and encoded."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import reference
from support.commands import SAMPLES, Run, clean_environment
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
from llmprep.ptfile.reading import read_pt
from llmprep.tokens.figures import Figures
from llmprep.tokens.stream import Distinct, Head, count_tokens, stream_text
from llmprep.vocabulary.loading import Vocabulary

EXAMPLES = {"gpt2": 60, "p50k_base": 20, "cl100k_base": 15, "o200k_base": 15}
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
    st.sampled_from(("allow", "text")),
)


# --- ids and figures ------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", EXAMPLES)
def test_ids_and_figures_are_those_of_the_whole_texts(encoding: str, load: Load, build: Build, folder: Path) -> None:
    """Texts full of places where a careless cut would change ids give tiktoken's ids, and every figure adds up."""

    @settings(max_examples=EXAMPLES[encoding])
    @given(documents=st.lists(texts, max_size=5), options=choices, effort=efforts)
    @example(["", "\ufeff", f"one{EOT} two {EOT}{EOT}\n<|endof\ntext|>"], TextOptions(), Effort("tiktoken", 1, 7))
    def check(documents: list[str], options: TextOptions, effort: Effort) -> None:
        documents = [*documents, "the end"]  # so that the stream is not empty
        encoder = build(encoding, options.special, effort.backend)

        stream = stream_text(write_texts(folder, documents), load(encoding), options, effort, encoder)
        ids = all_ids(stream)

        read = [as_read(text, options.newlines) for text in documents]
        assert ids == expected_ids(read, encoding, options.separator, options.special)
        figures = stream.figures
        assert (figures.n_tokens, figures.content_sha256) == (len(ids), ids_sha256(ids))
        assert figures.n_special == sum(text.count(EOT) for text in documents)
        assert figures.sources == [
            {
                "name": f"{number}.txt",
                "bytes": len(document.encode()),
                "sha256": sha256(document.encode()),
                "tokens": len(reference.encode(text, encoding, options.special)),
                "documents": int(text != ""),
            }
            for number, (document, text) in enumerate(zip(documents, read, strict=True))
        ]

    check()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("encoding", EXAMPLES)
def test_sample_texts_have_tiktokens_ids(encoding: str, backend: BackendName, load: Load, build: Build) -> None:
    """Prose, a program, twelve scripts, text with separators and records, read in small blocks, have tiktoken's ids."""
    paths = [SAMPLES / name for name in ("story.txt", "scripts.txt", "documents.txt", "tides.py", "records.jsonl")]
    *read, records = (path.read_text(encoding="utf-8") for path in paths)
    encoder = build(encoding, "allow", backend)

    ids = all_ids(stream_paths(paths, load(encoding), effort=Effort(backend, 2, 512), encoder=encoder))

    assert ids == expected_ids([*read, *(json.loads(line)["text"] for line in records.splitlines())], encoding)


def test_the_courses_text_has_the_courses_ids(verdict: Path, gpt2: Vocabulary) -> None:
    """The course's story gives 5,145 ids, those of the whole text encoded at once."""
    ids = all_ids(stream_paths([verdict], gpt2))

    assert len(ids) == 5145
    assert ids == reference.encode(verdict.read_text(encoding="utf-8"))


@settings(max_examples=25)
@given(documents=st.lists(texts.filter(bool), min_size=1, max_size=5), options=choices, effort=efforts)
def test_records_give_the_ids_of_documents(
    documents: list[str], options: TextOptions, effort: Effort, folder: Path, gpt2: Vocabulary, build: Build
) -> None:
    """Records, many of which are encoded in one call, give the ids that each gives alone, and their separators."""
    (folder / "records.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    options = replace(options, newlines="keep")

    encoder = build("gpt2", options.special, effort.backend)

    stream = stream_paths([folder / "records.jsonl"], gpt2, options, effort, encoder)
    ids = all_ids(stream)

    assert ids == expected_ids(documents, "gpt2", options.separator, options.special)
    (record,) = stream.figures.sources
    n_separators = (len(documents) - 1) * (options.separator == "eot")
    assert (record["tokens"], record["documents"]) == (len(ids) - n_separators, len(documents))
    assert stream.figures.n_special == sum(text.count(EOT) for text in documents)


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


@pytest.mark.slow
def test_where_the_bytes_go_does_not_show(llmprep: Run, story: Path, tmp_path: Path) -> None:
    """To a file, a pipe or standard output, from a file, standard input or ``/dev/stdin``: the same bytes."""
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)

    assert llmprep("tokenize", story, "-o", "file.pt", "-q").returncode == 0
    assert llmprep("tokenize", story, "-o", "pipe", "-q").returncode == 0
    to_stdout = llmprep("tokenize", story, "-o", "-", "-q", "-j", "1")

    expected = (tmp_path / "file.pt").read_bytes()
    assert reader.communicate(timeout=30)[0] == to_stdout.stdout == expected
    for name in ("-", "/dev/stdin"):  # a pipe is called as it was named; what is in it is the same
        done = llmprep("tokenize", name, "-o", "piped.pt", "-q", stdin=story.read_bytes())
        assert (done.returncode, done.stderr) == (0, b"")
        (source,) = read_pt(tmp_path / "piped.pt").meta["sources"]
        assert source["name"] == Path(name).name
        assert (tmp_path / "piped.pt").read_bytes()[: len(expected) // 2] == expected[: len(expected) // 2]


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


@pytest.mark.parametrize(("count", "name"), [(1, "0.txt"), (3, "3 inputs")])
def test_a_stream_is_named_after_its_inputs(count: int, name: str, tmp_path: Path, gpt2: Vocabulary) -> None:
    """One input gives its path, several their number; the vocabulary and the options are known before."""
    origin = stream_text(write_texts(tmp_path, ["text"] * count), gpt2).origin

    assert origin.name.endswith(name)
    assert (origin.encoding, origin.n_vocab, origin.vocab_sha256) == ("gpt2", 50257, gpt2.sha256)
    assert origin.load_vocabulary() is gpt2
    assert origin.options == {"newlines": "universal", "separator": "eot", "special": "allow"}


# --- stages ---------------------------------------------------------------------------------------


@given(
    blocks=st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=6),
    size=st.integers(0, 12),
)
def test_stages_watch_and_change_nothing(blocks: list[list[int]], size: int) -> None:
    """`Head` keeps the first ids, `Distinct` counts different ones, `count_tokens` counts and hashes all."""
    ids = [token for block in blocks for token in block]
    head, distinct, counted = Head(size), Distinct(100), Figures(n_tokens=7)
    arrays = [np.array(block, np.uint32) for block in blocks]

    passed = list(head(distinct(count_tokens(arrays, counted))))

    assert [block.tolist() for block in passed] == blocks
    assert (head.ids, distinct.count) == (ids[:size], len(set(ids)))
    assert (counted.n_tokens, counted.content_sha256) == (len(ids), ids_sha256(ids))


def test_a_stage_is_put_after_a_stream(tmp_path: Path, gpt2: Vocabulary) -> None:
    """``through`` leaves the stream as it is and returns one that the stage watches, with the same figures."""
    stream = stream_text(write_texts(tmp_path, ["one two three", "four five six"]), gpt2)
    head = Head(5)

    watched = stream.through(head)

    assert (watched.origin, watched.figures) == (stream.origin, stream.figures)
    assert head.ids == all_ids(watched)[:5] != []


# --- special tokens in the text -------------------------------------------------------------------


def test_other_special_tokens_stay_text(tmp_path: Path, load: Load) -> None:
    """Only the end-of-text string may become a special id, as in the course's call of ``encode``."""
    text = f"a<|fim_prefix|>b<|endofprompt|>{EOT}"

    ids = all_ids(stream_text(write_texts(tmp_path, [text]), load("cl100k_base")))

    assert ids == reference.encode(text, "cl100k_base")
    assert [token for token in ids if token > 100_256] == [100_257]


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


@settings(max_examples=20)
@given(text=texts, effort=efforts)
def test_special_error_lets_other_texts_pass(
    text: str, effort: Effort, folder: Path, gpt2: Vocabulary, build: Build
) -> None:
    """With ``error``, a text passes, with its ordinary ids, exactly if no special token stands in it."""
    sources, encoder = write_texts(folder, ["a " + text]), build("gpt2", "error", effort.backend)
    stream = stream_text(sources, gpt2, TextOptions(special="error"), effort, encoder)

    if EOT in text:
        with pytest.raises(DataError, match="special token"):
            all_ids(stream)
    else:
        assert all_ids(stream) == reference.encode(as_read("a " + text))


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
        command = [sys.executable, "-m", "llmprep", "tokenize", path, "-o", os.devnull, "-q", "-j", jobs]
        environment = clean_environment()
        measured = [sys.executable, "-c", MEASURE, *command]
        peaks.append(int(subprocess.run(measured, env=environment, capture_output=True, check=True).stdout))

    small, large = peaks
    assert large < 1.15 * small

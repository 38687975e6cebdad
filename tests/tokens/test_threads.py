"""Promises of streaming: the same bytes however a text is read, encoded and written, in memory that does not grow."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commands import ROOT, SAMPLES, Run, clean_environment
from support.reference import encode
from support.strategies import adversarial_text

from llmprep.choices import Effort, TextOptions
from llmprep.documents.finding import find_sources
from llmprep.documents.source import Source
from llmprep.errors import DataError, LlmprepError
from llmprep.formats.tokens import write_tokens
from llmprep.formats.windows import write_windows
from llmprep.ptfile.reading import read_pt
from llmprep.tokens.backends import Encoder
from llmprep.tokens.figures import MAX_SOURCES, sum_sources
from llmprep.tokens.stream import TokenStream, stream_text
from llmprep.tokens.threads import PART_BYTES, Hashing, map_in_order
from llmprep.vocabulary.loading import Vocabulary, load_vocabulary

ENCODINGS = ("gpt2", "p50k_base", "cl100k_base", "o200k_base")
BACKENDS = ("tiktoken", "gigatoken")
BLOCK_BYTES = (1, 7, 4096, 1 << 18)
JOBS = (1, 2)
TEXT = "\r\n".join(path.read_text(encoding="utf-8")[:2500] for path in sorted(SAMPLES.iterdir())).encode()

Load = Callable[[str], Vocabulary]


@pytest.fixture(scope="module")
def load(vocab_dir: Path) -> Load:
    """Load a vocabulary once."""
    return functools.cache(lambda name: load_vocabulary(name, str(vocab_dir)))


@pytest.fixture(scope="module")
def gpt2() -> Vocabulary:
    return load_vocabulary("gpt2")


@pytest.fixture(scope="module")
def encoders(gpt2: Vocabulary) -> dict[str, Encoder]:
    """An encoder of each backend, for many streams."""
    return {"tiktoken": Encoder(gpt2, backend="tiktoken"), "gigatoken": Encoder(gpt2, backend="gigatoken")}


def as_python_reads(path: Path) -> str:
    """The file as Python's text mode reads it."""
    with path.open(encoding="utf-8") as file:
        return file.read()


def open_stream(
    paths: Sequence[Path], vocabulary: Vocabulary, effort: Effort | None = None, encoder: Encoder | None = None
) -> TokenStream:
    """Open texts as one stream."""
    return stream_text(find_sources(list(map(str, paths))), vocabulary, TextOptions(), effort, encoder)


def written(stream: TokenStream) -> bytes:
    """The tokens file of a stream."""
    sink = io.BytesIO()
    write_tokens(sink, stream, dtype="int64")
    return sink.getvalue()


def threads_end(before: int) -> bool:
    """Tell whether there are soon no more threads than before."""
    end = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    return threading.active_count() <= before


@pytest.fixture
def feed() -> Iterator[Callable[[Path, bytes], Path]]:
    """Make a pipe under a path and write to it from a thread."""
    writers: list[threading.Thread] = []

    def make(path: Path, data: bytes) -> Path:
        path.parent.mkdir(exist_ok=True)
        os.mkfifo(path)
        writers.append(threading.Thread(target=path.write_bytes, args=(data,)))
        writers[-1].start()
        return path

    yield make
    for writer in writers:
        writer.join()


# --- the same bytes -------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("block_bytes", BLOCK_BYTES)
def test_how_a_text_is_read_and_encoded_does_not_show(
    block_bytes: int,
    backend: Any,
    jobs: int,
    tmp_path: Path,
    gpt2: Vocabulary,
    feed: Callable[[Path, bytes], Path],
    encoders: dict[str, Encoder],
) -> None:
    """From a file, a pipe or gzip, with either backend, any block size and number of threads: the same bytes."""
    effort, encoder = Effort(backend, jobs, block_bytes), encoders[backend]
    for folder in ("file", "gzip", "plain"):
        (tmp_path / folder).mkdir()
    (tmp_path / "plain" / "text").write_bytes(TEXT)
    (tmp_path / "file" / "text").write_bytes(TEXT)
    (tmp_path / "gzip" / "text").write_bytes(gzip.compress(TEXT))
    plain = open_stream([tmp_path / "plain" / "text"], gpt2, Effort("tiktoken"), encoders["tiktoken"])
    expected = written(plain)

    assert written(open_stream([tmp_path / "file" / "text"], gpt2, effort, encoder)) == expected
    assert written(open_stream([feed(tmp_path / "pipe" / "text", TEXT)], gpt2, effort, encoder)) == expected

    # The compressed file is another file: its bytes and hash in meta differ, and nothing else does.
    (tmp_path / "plain.pt").write_bytes(expected)
    (tmp_path / "gzip.pt").write_bytes(written(open_stream([tmp_path / "gzip" / "text"], gpt2, effort, encoder)))
    unpacked, packed = read_pt(tmp_path / "plain.pt"), read_pt(tmp_path / "gzip.pt")
    assert packed.tensors["token_ids"].tobytes() == unpacked.tensors["token_ids"].tobytes()
    (of_plain,), (of_packed,) = unpacked.meta.pop("sources"), packed.meta.pop("sources")
    assert packed.meta == unpacked.meta
    assert of_packed["bytes"] == (tmp_path / "gzip" / "text").stat().st_size
    assert of_packed["sha256"] == hashlib.sha256((tmp_path / "gzip" / "text").read_bytes()).hexdigest()
    assert of_packed | {"bytes": 0, "sha256": ""} == of_plain | {"bytes": 0, "sha256": ""}


@pytest.mark.parametrize(("max_length", "stride"), [(16, 4), (16, 16), (4, 50)])
def test_windows_do_not_show_it_either(
    max_length: int, stride: int, tmp_path: Path, gpt2: Vocabulary, encoders: dict[str, Encoder]
) -> None:
    """A windows file is the same too, where windows overlap, touch and lie apart."""
    (tmp_path / "text").write_bytes(TEXT)
    files = set()
    for backend, block_bytes, jobs in itertools.product(BACKENDS, (7, 4096), JOBS):
        sink = io.BytesIO()
        effort = Effort(backend, jobs, block_bytes)  # type: ignore[arg-type]
        stream = open_stream([tmp_path / "text"], gpt2, effort, encoders[backend])
        write_windows(sink, stream, max_length, stride, dtype="int32")
        files.add(sink.getvalue())

    assert len(files) == 1


@pytest.mark.slow
def test_where_the_bytes_go_does_not_show(llmprep: Run, story: Path, tmp_path: Path) -> None:
    """To a file, a pipe or standard output, from a file, standard input or ``/dev/stdin``: the same bytes."""
    text = story.read_bytes()
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)

    assert llmprep("tokenize", story, "-o", "file.pt", "-q").returncode == 0
    assert llmprep("tokenize", story, "-o", "pipe", "-q").returncode == 0
    to_stdout = llmprep("tokenize", story, "-o", "-", "-q", "-j", "1")

    expected = (tmp_path / "file.pt").read_bytes()
    assert reader.communicate(timeout=30)[0] == expected
    assert to_stdout.stdout == expected

    # A pipe is called as it was named; what is in it is the same.
    for name in ("-", "/dev/stdin"):
        done = llmprep("tokenize", name, "-o", "piped.pt", "-q", stdin=text)
        assert (done.returncode, done.stderr) == (0, b"")
        (source,) = read_pt(tmp_path / "piped.pt").meta["sources"]
        assert source["name"] == Path(name).name
        piped = (tmp_path / "piped.pt").read_bytes()
        assert (
            read_pt(tmp_path / "piped.pt").meta["content_sha256"]
            == read_pt(tmp_path / "file.pt").meta["content_sha256"]
        )
        assert piped[: len(expected) // 2] == expected[: len(expected) // 2]


# --- the same ids ---------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sample_texts_have_tiktokens_ids(encoding: str, backend: Any, load: Load) -> None:
    """The sample texts, streamed in small blocks by two threads, have the ids of tiktoken's calls on the wholes."""
    vocabulary = load(encoding)
    paths = [path for path in sorted(SAMPLES.iterdir()) if path.suffix != ".jsonl"]
    expected = [i for path in paths for i in (vocabulary.eot_id, *encode(as_python_reads(path), encoding))][1:]

    stream = open_stream(paths, vocabulary, Effort(backend, 2, 512))

    assert np.concatenate(list(stream)).tolist() == expected
    assert len(paths) == 5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_courses_story_has_tiktokens_ids(encoding: str, backend: Any, load: Load, verdict: Path) -> None:
    """The course's story has tiktoken's ids in every encoding; in gpt2 they are the course's 5,145."""
    vocabulary = load(encoding)

    ids = np.concatenate(list(open_stream([verdict], vocabulary, Effort(backend, 2, 1000)))).tolist()

    assert ids == encode(as_python_reads(verdict), encoding)
    assert encoding != "gpt2" or len(ids) == 5145


@given(
    texts=st.lists(adversarial_text, min_size=1, max_size=6).filter(any),
    block_bytes=st.sampled_from([1, 5, 100, 1 << 18]),
    jobs=st.sampled_from(JOBS),
)
@settings(max_examples=40)
def test_documents_keep_their_order_and_separators(
    texts: list[str],
    block_bytes: int,
    jobs: int,
    tmp_path_factory: pytest.TempPathFactory,
    gpt2: Vocabulary,
    encoders: dict[str, Encoder],
) -> None:
    """Several documents, encoded by several threads, are in order, one end-of-text id between any two with text."""
    folder = tmp_path_factory.getbasetemp()
    paths = [folder / f"document{k}" for k in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(b"a " + text.encode() if text else b"")  # no mark at a beginning, no zip
    held = [as_python_reads(path) for path, text in zip(paths, texts, strict=True) if text]
    expected = [i for text in held for i in (gpt2.eot_id, *encode(text))][1:]

    stream = open_stream(paths, gpt2, Effort("tiktoken", jobs, block_bytes), encoders["tiktoken"])

    assert np.concatenate(list(stream)).tolist() == expected


def test_figures_do_not_depend_on_threads(tmp_path: Path, gpt2: Vocabulary) -> None:
    """Counts, hashes and the head are the same with one thread and with several, and complete at the end."""
    (tmp_path / "a").write_bytes(TEXT * 3)
    (tmp_path / "b").write_bytes(TEXT)
    figures = []
    for jobs in (1, 2, 5):
        stream = open_stream([tmp_path / "a", tmp_path / "b"], gpt2, Effort("tiktoken", jobs, 999))
        stream.head_size = 300
        ids = np.concatenate(list(stream))
        assert stream.content_sha256 == hashlib.sha256(ids.astype("<u4").tobytes()).hexdigest()
        assert stream.n_tokens == len(ids)
        figures.append((stream.sources, stream.n_special, stream.head, stream.content_sha256))

    assert figures[0] == figures[1] == figures[2]
    assert figures[0][0][1]["sha256"] == hashlib.sha256(TEXT).hexdigest()
    assert len(figures[0][2]) == 300


@pytest.mark.parametrize("jobs", JOBS)
def test_what_is_not_asked_for_is_not_read(jobs: int, tmp_path: Path, gpt2: Vocabulary) -> None:
    """Whoever takes only the beginning has only the beginning read; then the file is closed and the threads end."""
    (tmp_path / "a").write_bytes(b"some words " * 100_000)
    before = threading.active_count()
    stream = open_stream([tmp_path / "a"], gpt2, Effort("tiktoken", jobs, 1000))
    blocks = iter(stream)

    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    stream.blocks = iter(())

    assert stream.documents[0].n_bytes <= 4096 + 1000 * 10
    assert stream.documents[0].stream is None
    assert threads_end(before)


# --- errors in order ------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", JOBS)
def test_the_first_error_in_small_files_is_the_one_said(jobs: int, tmp_path: Path, gpt2: Vocabulary) -> None:
    """Also where small texts go to a thread together, and reading meets the second error before that."""
    (tmp_path / "a").write_bytes(b"some words")
    (tmp_path / "b").write_bytes(b"more <|endoftext|>")
    (tmp_path / "c").write_bytes(b"not \xff text")
    found = find_sources([str(tmp_path / name) for name in "abc"])
    stream = stream_text(found, gpt2, TextOptions(special="error"), Effort("tiktoken", jobs))

    with pytest.raises(DataError, match="b: special token"):
        list(stream)

    assert [source.stream for source in found] == [None] * 3


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize(("first", "second"), [("special", "utf-8"), ("utf-8", "special"), ("special", "special")])
def test_the_first_error_in_the_texts_is_the_one_said(
    first: str, second: str, jobs: int, tmp_path: Path, gpt2: Vocabulary
) -> None:
    """Of two errors the one that stands first is raised, whichever thread meets its own first."""
    errors = {"special": (b" <|endoftext|>", "special token"), "utf-8": (b" \xff", "not valid UTF-8")}
    filling = b" words" * 1000
    (tmp_path / "a").write_bytes(filling + errors[first][0] + filling + errors[second][0] + filling)
    stream = stream_text(
        find_sources([str(tmp_path / "a")]), gpt2, TextOptions(special="error"), Effort("tiktoken", jobs, 50)
    )

    with pytest.raises(DataError, match=rf"{errors[first][1]}.* at byte 6001\b"):
        list(stream)


# --- map_in_order ---------------------------------------------------------------------------------


@given(delays=st.lists(st.integers(0, 3), max_size=30), jobs=st.integers(1, 8))
@settings(max_examples=15)
def test_results_come_in_order(delays: list[int], jobs: int) -> None:
    """However long each takes, results come in the order of the items."""

    def slow(item: tuple[int, int]) -> int:
        time.sleep(item[1] / 1000)
        return item[0]

    assert list(map_in_order(slow, enumerate(delays), jobs)) == list(range(len(delays)))


def test_one_job_is_no_thread() -> None:
    """With one job everything happens in the caller's thread, one item at a time."""
    seen: list[tuple[str, int]] = []

    def items() -> Iterator[int]:
        for k in range(3):
            seen.append(("item", k))
            yield k

    def work(k: int) -> threading.Thread:
        seen.append(("work", k))
        return threading.current_thread()

    assert set(map_in_order(work, items(), 1)) == {threading.current_thread()}
    assert seen == [(what, k) for k in range(3) for what in ("item", "work")]


@pytest.mark.parametrize("jobs", [2, 4])
def test_items_are_taken_a_few_ahead(jobs: int) -> None:
    """However slow the reader is, only a few items are taken before it has read: memory stays bounded."""
    taken = itertools.count()
    results = map_in_order(lambda item: item, iter(lambda: next(taken), None), jobs)

    for k in range(50):
        assert next(results) == k
        time.sleep(0.001)

    assert next(taken) <= 50 + 2 * jobs + 1
    results.close()  # type: ignore[attr-defined]


def fail_at(place: int, seconds: float = 0, error: type[Exception] = LlmprepError) -> Callable[[int], int]:
    """Make a function that fails for items from a place on, the first of them slowly."""

    def work(item: int) -> int:
        if item >= place:
            time.sleep(seconds if item == place else 0)
            raise error(str(item))
        return item

    return work


@pytest.mark.parametrize("jobs", [1, 2, 6])
@pytest.mark.parametrize("error", [LlmprepError, ValueError])
def test_the_first_error_in_order_is_raised(error: type[Exception], jobs: int) -> None:
    """Later items that fail sooner do not hide the first that fails; what came before it is delivered."""
    before = threading.active_count()
    got: list[int] = []

    with pytest.raises(error, match=r"^7$"):
        got.extend(map_in_order(fail_at(7, 0.05, error), range(100), jobs))

    results = map_in_order(fail_at(7, 0.05, error), range(100), jobs)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(error, match=r"^7$"):
        next(results)
    assert threads_end(before)


@pytest.mark.parametrize("jobs", [1, 2, 6])
def test_an_error_of_the_items_waits_its_turn(jobs: int) -> None:
    """When the next item cannot be had, all results before it come first, and an earlier error wins."""

    def items() -> Iterator[int]:
        yield from range(5)
        raise LlmprepError("items")

    results = map_in_order(fail_at(99), items(), jobs)
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(LlmprepError, match="items"):
        next(results)

    with pytest.raises(LlmprepError, match=r"^3$"):
        list(map_in_order(fail_at(3, 0.05), items(), jobs))


@pytest.mark.parametrize("left_at", [0, 3])
def test_threads_end_when_nobody_reads_on(left_at: int) -> None:
    """A reader that stops early leaves no thread behind, and nothing more is started."""
    before = threading.active_count()
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.01)

    results = map_in_order(work, range(10_000), 3)

    for _ in range(left_at):
        next(results)
    results.close()  # type: ignore[attr-defined]

    assert threads_end(before)
    assert len(begun) <= left_at + 3 * 3


def test_an_interrupt_stops_at_once() -> None:
    """An exception that is no error of ours, as an interrupt is, does not wait for what is being computed."""
    before = threading.active_count()
    begun = time.monotonic()

    def items() -> Iterator[int]:
        yield from range(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(map_in_order(lambda _: time.sleep(0.3), items(), 4))

    assert time.monotonic() - begun < 0.25
    assert threads_end(before)


# --- hashing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("threaded", [False, True])
@given(parts=st.lists(st.binary(max_size=20), max_size=200))
@settings(max_examples=25)
def test_hashes_are_made_in_order(threaded: bool, parts: list[bytes]) -> None:
    """Updates are made one after the other, and all of them before the block ends."""
    digest = hashlib.sha256()

    with Hashing(threaded=threaded) as run:
        for part in parts:
            run(digest.update, part)

    assert digest.digest() == hashlib.sha256(b"".join(parts)).digest()


def test_hashing_in_a_thread_keeps_close() -> None:
    """A thread that is slower than its caller holds it up, so that what waits to be hashed stays bounded."""
    done: list[int] = []
    behind = []

    def work(number: bytes) -> None:
        time.sleep(0.0005)
        done.append(int(number[-8:]))

    with Hashing(threaded=True) as run:
        for k in range(300):
            run(work, b"%0*d" % (PART_BYTES, k))
            behind.append(k - len(done))

    assert max(behind) <= 66
    assert done == list(range(300))


def test_the_thread_of_hashing_ends() -> None:
    """The thread is gone after the block, also when the block ended in an error; without one there is none."""
    before = threading.active_count()
    for threaded in (True, False):
        with Hashing(threaded=threaded) as run:
            run(len, "")
            assert threading.active_count() == before + threaded
        assert threading.active_count() == before

    def fail() -> None:
        with Hashing(threaded=True) as run:
            run(lambda _: time.sleep(0.01), b"some text")
            raise LlmprepError

    with pytest.raises(LlmprepError):
        fail()
    assert threading.active_count() == before


# --- many sources ---------------------------------------------------------------------------------


def sources(count: int) -> list[Source]:
    """Sources as they are after reading."""
    return [
        Source(
            f"/x/{k}",
            f"{k}.txt",
            n_bytes=k,
            sha256=hashlib.sha256(b"%d" % k).hexdigest(),
            n_tokens=2 * k,
            n_documents=1,
        )
        for k in range(count)
    ]


def test_many_inputs_are_summed_up(tmp_path: Path) -> None:
    """The one record of many inputs has their sums, and the hash of the list that ``sha256sum`` prints for them."""
    many = sources(50)
    for source in many:
        (tmp_path / source.name).write_bytes(b"%d" % source.n_bytes)
    names = [source.name for source in many]
    listing = subprocess.run(["sha256sum", *names], cwd=tmp_path, capture_output=True, check=True).stdout

    assert sum_sources(many) == {
        "name": "50 inputs",
        "bytes": 1225,
        "sha256": hashlib.sha256(listing).hexdigest(),
        "tokens": 2450,
        "documents": 50,
    }


@pytest.mark.parametrize("count", [1, MAX_SOURCES, MAX_SOURCES + 1])
def test_up_to_a_number_inputs_are_listed(count: int, gpt2: Vocabulary) -> None:
    """Up to `MAX_SOURCES` inputs stand in ``meta`` one by one, more as one."""
    stream = stream_text(sources(count), gpt2)

    if count <= MAX_SOURCES:
        assert [source["name"] for source in stream.sources] == [f"{k}.txt" for k in range(count)]
    else:
        assert stream.sources == [sum_sources(sources(count))]


# --- memory ---------------------------------------------------------------------------------------

MEASURE = """
import os, sys
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Prints a command's peak of memory. It is small itself: a process begins with the peak of the one that starts it."""


def peak(path: Path, *options: str) -> int:
    """Tokenize a file in a process of its own; return the process's peak of memory."""
    command = [sys.executable, "-m", "llmprep", "tokenize", str(path), "-o", "/dev/null", "-q", *options]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *command],
        env=clean_environment({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.slow
def test_memory_does_not_grow_with_the_text(jobs: int, tmp_path: Path, story: Path) -> None:
    """Ten times the text takes the same memory, within 15 %."""
    text = story.read_bytes()
    peaks = []
    for n_bytes in (8_000_000, 80_000_000):
        path = tmp_path / "text.txt"
        path.write_bytes(text * (n_bytes // len(text)))
        peaks.append(peak(path, "-j", str(jobs)))

    small, large = peaks
    assert large < 1.15 * small

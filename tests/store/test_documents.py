"""Promises of documents: where each begins and ends is known exactly, whatever the inputs, cuts and separators."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commands import Call
from support.golden import GOLDEN
from support.reference import encode
from support.refusals import check_error, check_refused
from support.stores import EOT, build, json_lines, make_corpus, write_files
from support.strategies import adversarial_text

from llmprep import TokenStore, WindowDataset
from llmprep.choices import Separator, TextOptions
from llmprep.documents.blocks import Block
from llmprep.documents.finding import find_sources
from llmprep.documents.source import Counts
from llmprep.errors import FileFormatError, UsageError
from llmprep.tokens.starts import HELD_BYTES, NotedStarts, StartFinder
from llmprep.vocabulary.vocabulary import END_OF_TEXT

Walked = tuple[int, int, str, int | None]


class Corpus(NamedTuple):
    """Inputs, and each document of them: its text, its input, its number there."""

    paths: list[str]
    documents: list[tuple[str, str, int]]


def make_inputs(folder: Path, texts: Sequence[str], seed: int) -> Corpus:
    """Write texts into plain and JSON Lines files, some of them empty; blank lines between records keep numbers."""
    chosen, files, documents = np.random.default_rng(seed), dict[str, bytes](), []
    waiting = list(texts)
    while waiting:
        name, n = f"{len(files):03d}", int(chosen.choice([1, 1, 3, 7]))
        part, waiting = waiting[:n], waiting[n:]
        if n == 1:
            files[f"{name}.txt"] = part[0].encode()
            documents.append((part[0], f"{name}.txt", 1))
            continue
        lines = [(text, bool(chosen.integers(3) == 0)) for text in part]
        files[f"{name}.jsonl"] = b"".join((b"\n" if blank else b"") + json_lines([text]) for text, blank in lines)
        number = 0
        for text, blank in lines:
            number += 1 + blank
            documents.append((text, f"{name}.jsonl", number))
    return Corpus(write_files(folder, files), [each for each in documents if each[0]])


def walk(corpus: Corpus, separator: Separator) -> tuple[list[int], list[Walked]]:
    """The slow way: encode one document after another."""
    ids: list[int] = []
    found: list[Walked] = []
    for text, name, number in corpus.documents:
        ids += [EOT] if found and separator == "eot" else []
        start = len(ids)
        ids += encode(text.replace("\r\n", "\n").replace("\r", "\n"))
        found.append((start, len(ids), name, number))
    return ids, found


def clip(found: Sequence[Walked], first: int, end: int) -> list[Walked]:
    """The documents, or their parts, in a split: those with a token in it, or that begin there without any."""
    inside = [each for each in found if first <= each[0] < end or each[0] < first < each[1]]
    return [(max(start, first) - first, min(stop, end) - first, *rest) for start, stop, *rest in inside]  # type: ignore[misc]


def listed(store: TokenStore) -> list[Walked]:
    """What a store says."""
    return [(each.start, each.end, each.source, each.record) for each in store.documents()]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.just("") | adversarial_text.map(lambda text: "a " + 3 * text.replace("\0", "")), min_size=1, max_size=12
    ),
    st.sampled_from(["eot", "none"]),
    st.integers(20, 400),
    st.integers(0, 99),
)
def test_documents_are_those_of_a_walk(texts: list[str], separator: Separator, shard_bytes: int, seed: int) -> None:
    """Documents equal those found one by one, forged boundaries in texts or not; each split has its part of one.

    NULs are left out: a file of some looks like UTF-32, and is refused.
    """
    with tempfile.TemporaryDirectory() as name:
        corpus = make_inputs(Path(name), ["begin", *texts, "the end of it all"], seed)
        ids, found = walk(corpus, separator)
        options = TextOptions(separator=separator)
        build(corpus.paths, f"{name}/store", shard_bytes, val_fraction=0.4, options=options)

        store = TokenStore(f"{name}/store")
        assert (list(store), listed(store)) == (ids, found)
        documents = store.documents()
        for part, (first, end) in store.manifest.splits.items():
            assert listed(TokenStore(f"{name}/store", part)) == clip(found, first, end)
        for at, (start, stop, *_) in enumerate(found):
            assert store.document(at).start == documents[at - len(found)].start == start
            assert all(documents.number_at(place) == at for place in (start, stop - 1) if start < stop)
        with pytest.raises(IndexError, match="documents"):
            documents.spans(1, len(found))
        with pytest.raises(IndexError, match=f"^document {len(found)} of {len(found)}$"):
            store.document(len(found))


def test_every_sort_of_input(tmp_path: Path) -> None:
    """Compressed files, files of several spans and such without text have their documents too."""
    make_corpus(tmp_path / "corpus")
    build(tmp_path / "corpus", "store", 3000)
    manifest = TokenStore("store").manifest
    documents = TokenStore("store").documents()
    assert len(documents) == manifest.n_documents == len(list(documents))
    begun = set(manifest.pieces.source[manifest.pieces.documents > 0].tolist())
    assert {each.source for each in documents} == {manifest.names[source] for source in begun}
    ends = [each.end for each in documents]
    assert [each.start for each in documents[1:]] == [end + 1 for end in ends[:-1]]
    assert (documents[0].start, ends[-1]) == (0, len(TokenStore("store")))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from([1, 2, EOT]), max_size=6), min_size=1, max_size=5), st.integers(1, 4))
def test_boundaries_in_texts(documents: list[list[int]], size: int) -> None:
    """With boundaries in texts a document begins at each id that follows an end of text, or an input's begin."""
    finding, position, wanted = StartFinder(TextOptions(boundaries="text"), EOT), 0, []
    counts = Counts(find_sources([__file__])[0])
    for document in documents:
        before = [EOT, *document]
        wanted += [position + k for k, (a, b) in enumerate(zip(before, document, strict=False)) if a == EOT != b]
        for at in range(0, max(1, len(document)), size):
            part = np.array(document[at : at + size], np.uint32)
            finding.look(Block(counts, b"", b"", 0, first=at == 0), part, position)
            position += len(part)
    assert np.concatenate([*finding.starts.blocks(), np.empty(0, np.int64)]).tolist() == wanted


def test_boundaries_in_texts_from_the_command_line(call: Call) -> None:
    """``--boundaries text`` notes them in files and stores, which verify; what it cannot mean is refused."""
    Path("a.txt").write_text(f"{END_OF_TEXT}one two{END_OF_TEXT}{END_OF_TEXT}three{END_OF_TEXT}")
    Path("b.txt").write_text("four")
    for output in ("t.pt", "store/"):
        ended = call("tokenize", "a.txt", "b.txt", "--boundaries", "text", "-o", output)
        assert (ended.code, call("inspect", output, "--verify").code) == (0, 0)
    assert torch.load("t.pt")["document_starts"].tolist() == [1, 5, 8]
    store = TokenStore("store")
    assert listed(store) == [(1, 4, "a.txt", 1), (5, 7, "a.txt", 1), (8, 9, "b.txt", 1)]
    line = "boundaries text: an end-of-text in a text ends a document only where it becomes its id, ..."
    check_refused(call, "tokenize", "a.txt", "--boundaries", "text", "--special", "text", code=2, line=line)
    check_refused(
        call, "tokenize", "a.txt", "--boundaries", "text", "--ids", code=2, line="--boundaries: --count and --ids ..."
    )
    with pytest.raises(UsageError, match="separator eot"):
        TextOptions(boundaries="text", separator="none")


def test_a_tokens_file_states_its_documents(call: Call) -> None:
    """A file of several documents has their starts, a file of one leaves them out; a copy of a store has them too."""
    Path("r.jsonl").write_bytes(json_lines(["one two", "", f"three {END_OF_TEXT}", "four"]))
    Path("one.txt").write_text("one two")
    build("r.jsonl", "store", 8)
    for name, source, wanted in (("a", "r.jsonl", [0, 3, 7]), ("b", "store", [0, 3, 7]), ("c", "one.txt", None)):
        assert call("tokenize", source, "-o", f"{name}.pt").code == 0
        held = torch.load(f"{name}.pt", mmap=True)
        assert ("document_starts" in held) == (wanted is not None)
        assert wanted is None or held["document_starts"].tolist() == wanted
    ended = call("inspect", "a.pt", "--verify")
    assert "verified: 3 documents, where each begins in order" in ended.lines
    assert call("tokenize", "a.pt", "-o", "d.pt").code == 0
    assert torch.load("d.pt")["document_starts"].tolist() == [0, 3, 7]


@pytest.mark.parametrize(
    ("starts", "line"),
    [
        (torch.tensor([0, 6, 3]), "...document_starts: 3 at [2] is not in order, or not within the 8 tokens"),
        (torch.tensor([0, 3, 9]), "...document_starts: 9 at [2] is not in order, or not within the 8 tokens"),
        (torch.tensor([-1, 3, 6]), "...document_starts: -1 at [0] is not in order, or not within the 8 tokens"),
        (torch.tensor([0, 2, 6]), "...document_starts: not all of them are after the same id, an end of text"),
        (torch.tensor([0, 3]), "...the number of document_starts is 2, meta says 3"),
        (torch.tensor([0, 3, 6], dtype=torch.int32), "...document_starts has shape (3,) and dtype int32; need ..."),
    ],
)
def test_wrong_starts_are_found(call: Call, starts: torch.Tensor, line: str) -> None:
    """``inspect --verify`` names what is wrong with the starts that a file states."""
    Path("r.jsonl").write_bytes(json_lines(["one two", "three four", "five six"]))
    assert call("tokenize", "r.jsonl", "-o", "a.pt").code == 0
    torch.save(torch.load("a.pt") | {"document_starts": starts}, "a.pt")
    check_error(call("inspect", "a.pt", "--verify", "--json"), 4, line)


def test_a_store_of_an_older_version(tmp_path: Path) -> None:
    """A store without starts tells them by its separators, where no text has one; elsewhere it is refused."""
    shutil.copytree(GOLDEN / "format-1" / "store", "old")
    old = TokenStore("old")
    if old.manifest.n_special:
        with pytest.raises(FileFormatError, match="build the store with --restart"):
            list(old.documents())
    else:
        eots = np.flatnonzero(np.array(list(old)) == EOT).tolist()
        assert [each.start for each in old.documents()] == [0, *[eot + 1 for eot in eots]]


def test_many_starts_are_kept_in_a_file() -> None:
    """Starts beyond what is held in memory come back in order, and more may be noted after they were read."""
    starts, n = NotedStarts(), HELD_BYTES // 8
    for first in range(0, 2 * n + 10, 1000):
        starts.add(np.arange(first, min(first + 1000, 2 * n + 10)))
    assert np.array_equal(np.concatenate([*starts.blocks()]), np.arange(2 * n + 10))
    starts.add(np.array([7]))
    assert (len(starts), int([*starts.blocks()][-1][-1])) == (2 * n + 11, 7)


@pytest.mark.parametrize("sources", [[7], [{"documents": "1"}], [{}], 7])
def test_a_strange_meta_tells_no_documents(sources: object) -> None:
    """What another program states of its sources is not trusted: the documents of such a file are not known."""
    torch.save({"token_ids": torch.arange(9), "meta": {"sources": sources}}, "a.pt")
    with pytest.raises(UsageError, match=r"^documents: .* without document_starts does not tell where documents begin"):
        WindowDataset("a.pt", 2, documents=True, check=False)

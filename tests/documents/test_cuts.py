"""Promises of cuts: blocks are cut and joined only as they allow, and hold the texts, whatever the sizes."""

import gzip
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.documents import counts_of, json_lines, parquet, piped, save
from support.stores import write_files

from llmprep.documents import blocks
from llmprep.documents.blocks import Block
from llmprep.documents.cuts import SECOND_CUT, TIKTOKEN_CUTS, Cuts, second_cut
from llmprep.documents.finding import find_sources
from llmprep.documents.joining import read_sources
from llmprep.documents.leaving_out import find_bad
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import Counts
from llmprep.errors import DataError

CUTS = [
    TIKTOKEN_CUTS,
    Cuts(allowed=False),
    Cuts(joint=None),
    Cuts(allowed=False, joint=None, specials=()),
    Cuts(joint=b"</s>", specials=(b"</s>", b"<s>", "\u2581".encode())),
    Cuts(allowed=False, joint="\uff5cend\uff5c".encode(), specials=("\uff5cend\uff5c".encode(),)),
]
texts = st.lists(
    st.sampled_from([*"ab <|>/s", "word ", "</s>", "<|endoftext|>", "\uff5c", "\uff5cend\uff5c"]), max_size=9
)
tokens = st.lists(st.text("ab1<>|_/", min_size=1, max_size=4).map(str.encode), max_size=4)


def texts_of(found: list[Block], cuts: Cuts) -> list[bytes]:
    """The documents of blocks, each joined block taken apart."""
    held: list[bytes] = []
    for block in found:
        parts = block.data.split(cuts.joint) if block.seams and cuts.joint else [block.data]
        assert len(parts) == block.seams + 1
        assert not block.seams or not any(map(cuts.may_hold_special, parts))
        assert cuts.allowed or block.first  # a document that is not cut is one block
        held[len(held) - (not block.first) :] = [(b"" if block.first else held[-1]) + parts[0], *parts[1:]]
    return held


@settings(max_examples=60)
@given(
    written=st.lists(texts.map("".join), min_size=1, max_size=6),
    cuts=st.sampled_from(CUTS),
    size=st.sampled_from([1, 9, 99]),
)
def test_blocks_hold_the_texts_and_are_as_cuts_allow(
    tmp_path_factory: pytest.TempPathFactory, written: list[str], cuts: Cuts, size: int
) -> None:
    """Files and records come back in order; none is joined that holds a special token, nor cut where that is not so."""
    folder, held = tmp_path_factory.mktemp("texts"), [text.encode() for text in written if text]
    paths = write_files(folder, {f"{number}.txt": text for number, text in enumerate(written)})
    counted = [Counts(source) for source in find_sources(paths)]
    assert texts_of([*read_sources(counted, "keep", size, cuts=cuts)], cuts) == held
    assert [counts.n_text for counts in counted if counts.n_text] == [*map(len, held)]
    records = counts_of(json_lines(folder / "a.jsonl", written))
    assert texts_of([*read_blocks(records, "keep", size, cuts=cuts)], cuts) == held


@given(tokens, st.binary(max_size=4), st.text("ab1<>|_/' ", max_size=20).map(str.encode))
def test_specials_and_second_cuts_are_these(held: list[bytes], other: bytes, data: bytes) -> None:
    """A special is found wherever it stands; a second cut is where one would be but for what stands in a token."""
    cuts = Cuts(specials=(*held, other), second=second_cut(held))
    assert cuts.may_hold_special(data) == any(special in data for special in cuts.specials)
    assert pickle.loads(pickle.dumps(cuts)) == cuts  # noqa: S301 - our own

    def kind(pair: bytes) -> bytes:
        return pair[1:] if not pair[1:].isalnum() else b"1a" if pair[:1].isdigit() else b"a1"

    def kinds(text: bytes) -> dict[int, bytes]:
        return {place.end(): kind(text[place.end() - 1 : place.end() + 1]) for place in SECOND_CUT.finditer(text)}

    within = {each for token in held for each in kinds(token).values()}
    expected = {place for place, each in kinds(data).items() if each not in within}
    assert {place.end() for place in cuts.second.finditer(data)} == expected


def test_what_may_not_be_cut_is_held_up_to_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer one is refused with what to do, however it comes, and left out where bad files are."""
    monkeypatch.setattr(blocks, "MAX_UNCUT_BYTES", 1000)
    cuts, fits, long = Cuts(allowed=False, joint=None), b"one " * 250, b"one " * 251
    advice = r"one document of more than 1000 bytes, .*; give shorter documents: several files, or JSON Lines records$"
    table = parquet(tmp_path / "a.parquet", [fits.decode(), long.decode()])
    for path in (save(tmp_path, long), save(tmp_path, gzip.compress(long), "a.txt.gz"), table):
        place = ": row 2" if path == table else ""
        with pytest.raises(DataError, match=f"{path.name}{place}: {advice}"):
            list(read_blocks(counts_of(path), "keep", 70, cuts=cuts))
    with piped([fits, b"more"]) as counts, pytest.raises(DataError, match=advice):
        list(read_blocks(counts, cuts=cuts))
    sources = find_sources(write_files(tmp_path, {"0.txt": fits, "1.txt.gz": gzip.compress(long)}))
    assert [*find_bad(sources, cuts)] == [1]
    assert [block.data for block in read_sources([Counts(sources[0])], "keep", 70, cuts=cuts)] == [fits]

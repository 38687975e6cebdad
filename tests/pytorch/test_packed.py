"""Promises of packed rows in a data set: what a walk over the packed parts tells, whatever they come from."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import strategies
from support.loading import sent
from support.reference import encode
from support.rows import EOT, assert_item, starts_of, tell, walk
from support.stores import build, json_lines, write_files
from torch.utils.data import DataLoader

from llmprep import BestFit, TextOptions, WindowDataset, WindowSampler, collate_windows, create_dataloader, open_tokens
from llmprep.errors import DataError, InputError, UsageError
from llmprep.formats.tokens import write_tokens
from llmprep.output.checking import check_output
from llmprep.output.writing import open_output
from llmprep.pytorch.batches import collate_padding_free
from llmprep.pytorch.documents import DocumentBatch, Marking
from llmprep.pytorch.packed import PackedStream
from llmprep.store.reading import TokenStore
from llmprep.windows.packed import DividedStream, KnownSpans, pack_all
from llmprep.windows.packing import Rule

TEXTS = [f"{'a text of words ' * (k * 7 % 5)}{k}" for k in range(40)]
SOURCES = ("texts.jsonl", "texts.tokens.pt", "store")


@pytest.fixture
def sources() -> Path:
    """The same texts as JSON Lines, as a tokens file and as a store, in the current folder."""
    write_files(Path(), {"texts.jsonl": json_lines(TEXTS)})
    build("texts.jsonl", "store", 500, val_fraction=0.5)
    with open_output(check_output("texts.tokens.pt")) as sink:
        write_tokens(sink, open_tokens("texts.jsonl"), dtype="uint16")
    return Path()


def packed(source: str, **choices: Any) -> WindowDataset:
    """Rows of 16 + 1 tokens."""
    return WindowDataset(source, 16, documents=True, **{"packing": "bestfit", **choices})


@given(strategies.documents.filter(any), st.sampled_from(["eot", "none"]), st.sampled_from(["old", "new"]),
       st.booleans(), st.integers(1, 9), st.integers(0, 3))  # fmt: skip
def test_rows_are_what_a_walk_tells(
    documents: list[list[int]], separator: str, belongs: Any, mask: bool, length: int, seed: int
) -> None:
    """For any documents and choices each row has the tokens of its parts, and fill that is of none of them."""
    walked = walk(documents, separator, belongs)
    starts, gap = np.array(starts_of(documents, separator), np.int64), int(separator == "eot")
    rows = pack_all(
        DividedStream(KnownSpans(starts, len(walked), gap), len(walked), belongs == "new"), Rule(length + 1, seed, 64)
    )
    stream = PackedStream(np.array([token for token, _ in walked], np.int64), rows, "", "", fill_id=EOT)
    batch = DocumentBatch.gathered(stream.document_rows(np.arange(len(rows))), Marking(belongs, mask))
    for number, item in enumerate(batch):
        _, part_starts, lengths = rows.take(np.array([number]))
        parts = zip(part_starts.tolist(), lengths.tolist(), strict=True)
        row = [token for start, n in parts for token in walked[start : start + n]]
        assert_item(item, tell([*row, *[(EOT, -1)] * (length + 1 - len(row))], mask=mask))
        assert item["n_tokens"] == len(row)
    assert sum(item["n_tokens"] for item in batch) == len(walked)
    rows_shown = [row[:3] for row in batch.rows.tokens.tolist()]
    assert stream.peek(len(rows) + 9, 2) == [(row[: min(2, length)], row[1:]) for row in rows_shown]


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_has_the_same_rows(source: str, sources: Path) -> None:
    """Texts, a tokens file and a store have the same rows, filled with end-of-text; also in other processes."""
    dataset = packed(source)
    expected = pack_all(
        DividedStream(KnownSpans(*known_starts(), 1), sum(len(encode(text)) + 1 for text in TEXTS) - 1),
        Rule(17, 123, 1 << 16),
    )
    ids = [token_id for text in TEXTS for token_id in [*encode(text), 50256]][:-1]
    assert len(dataset) == len(expected)
    for known in (dataset, sent(dataset)):
        for number in (0, 5, len(dataset) - 1):
            _, starts, lengths = expected.take(np.array([number]))
            row = [ids[at] for s, n in zip(starts.tolist(), lengths.tolist(), strict=True) for at in range(s, s + n)]
            assert known[number]["token_ids"].tolist() == [*row, *[50256] * (17 - len(row))]
    batches = [[*DataLoader(dataset, 4, collate_fn=collate_windows, num_workers=n)] for n in (0, 2)]
    assert [batch["input_ids"].tolist() for batch in batches[0]] == [
        batch["input_ids"].tolist() for batch in batches[1]
    ]
    assert repr(dataset) == f"WindowDataset({source!r}, {len(dataset)} windows of 16, bestfit, documents, gpt2)"


def known_starts() -> tuple[np.ndarray[Any, Any], int]:
    """Where the texts begin, and how many tokens there are."""
    starts = starts_of([encode(text) for text in TEXTS], "eot")
    return np.array(starts, np.int64), starts[-1] + len(encode(TEXTS[-1]))


def test_what_fills_a_row_vanishes(sources: Path) -> None:
    """Of all rows, padding-free batches have each token of the store once, and no other."""
    rows = packed("store")
    batch: dict[str, Any] = collate_padding_free([rows[number] for number in range(len(rows))])
    ids = [token_id for text in TEXTS for token_id in [*encode(text), 50256]][:-1]
    assert sorted(batch["input_ids"][0].tolist()) == sorted(ids)
    n_real = sum(int(batch["document_ids"].ge(0).sum()) for batch in loader())
    assert n_real == sum(min(16, int(rows[number]["n_tokens"])) for number in range(len(rows)))


def loader() -> Any:
    """A loader of packed rows, in a random order."""
    return create_dataloader(Path("store"), 3, 16, documents=True, packing="bestfit", drop_last=False)


def test_a_split_is_packed_alone_and_in_a_folder_of_choice(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each split's rows have its tokens, and their indexes lie where that is wanted, whatever folder is current."""
    Path("indexes").mkdir()
    chosen = BestFit(seed=4, index_dir="indexes")
    splits = [packed("store", split=split, packing=chosen) for split in ("train", "val")]
    for name, rows in zip(("train", "val"), splits, strict=True):
        found = [
            token
            for row in map(rows.__getitem__, range(len(rows)))
            for token in row["token_ids"][: row["n_tokens"]].tolist()
        ]
        assert sorted(found) == sorted(TokenStore("store", name))
    assert len([*Path("indexes").iterdir()]) == 2
    monkeypatch.chdir("store")
    assert sent(splits[1])[0]["token_ids"].tolist() == splits[1][0]["token_ids"].tolist()


def test_a_state_is_of_one_packing(sources: Path) -> None:
    """What a sampler has seen of one packing is not taken for what it has of another."""
    states = [WindowSampler(packed("store", packing=BestFit(seed=seed))) for seed in (1, 2)]
    with pytest.raises(UsageError, match="packing"):
        states[0].load_state_dict(states[1].state_dict())


def test_a_state_is_of_one_division_into_documents() -> None:
    """Equal ids divided into other documents are other rows; a store and a text of the same documents are the same."""
    identities = []
    for name, texts in (("a", ["one", " two", " three"]), ("b", ["one two", " three"]), ("c", ["one", " two three"])):
        write_files(Path(), {f"{name}.jsonl": json_lines(texts)})
        build(f"{name}.jsonl", name, None, options=TextOptions(separator="none"))
        identities.append(packed(name).identity())
    assert len({identity["content_sha256"] for identity in identities}) == 1
    assert identities[0] != identities[1] != identities[2]
    assert identities[1]["packing"] != identities[2]["packing"]
    build("a.jsonl", "separated", None)
    assert packed("a.jsonl").identity() == packed("separated").identity()


@pytest.mark.parametrize("source", ["texts.jsonl", "store"])
@pytest.mark.parametrize("packing", ["stream", "bestfit"])
def test_what_is_divided_anew_is_not_opened_for_what_it_was(source: str, packing: Any) -> None:
    """A data set that travels is refused where the same ids have become other documents by then."""
    options = TextOptions(separator="eot" if source == "texts.jsonl" else "none")
    ends = ["one<|endoftext|>two", "three"], ["one", "two<|endoftext|>three"]
    texts = ends if source == "texts.jsonl" else (["one two", " three"], ["one", " two three"])
    write_files(Path(), {"texts.jsonl": json_lines(texts[0])})
    build("texts.jsonl", "store", None, options=options)
    pickled = pickle.dumps(WindowDataset(source, 2, documents=True, packing=packing))
    assert len(pickle.loads(pickled))  # noqa: S301 - our own
    write_files(Path(), {"texts.jsonl": json_lines(texts[1])})
    build("texts.jsonl", "store", None, options=options, restart=True)
    with pytest.raises(InputError, match="has changed since"):
        pickle.loads(pickled)  # noqa: S301 - our own


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"documents": False}, r"^packing: rows of whole documents are dicts; give documents=True too$"),
    ({"stride": 16}, r"^stride: packed rows have none; leave it out$"),
    ({"packing": "tight"}, r"^packing 'tight': must be 'stream', 'bestfit' or a BestFit$"),
    ({"packing": BestFit(overlap=17)}, r"^overlap 17: must be at most max_length, which is 16$"),
    ({"source": "texts.jsonl", "packing": BestFit(index_dir=".")}, r"^index_dir: only the rows of a token store"),
    ({"source": np.arange(40)}, r"^documents: an array of ids does not tell"),
]


@pytest.mark.parametrize(("choice", "reason"), REFUSED)
def test_choices_that_do_not_go_together_are_refused(choice: dict[str, Any], reason: str, sources: Path) -> None:
    """What a packing cannot heed is one line with what to do."""
    with pytest.raises(UsageError, match=reason):
        WindowDataset(**{"source": "store", "max_length": 16, "documents": True, "packing": "bestfit", **choice})


def test_a_part_without_a_document_is_refused() -> None:
    """As a part without a window is."""
    write_files(Path(), {"one.txt": "a few words"})
    build("one.txt", "store", None, val_fraction=0.1)
    with pytest.raises(DataError, match=r"^store: holds no document to pack$"):
        packed("store", split="val")

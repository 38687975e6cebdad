"""Promises of the checks: what is counted is true, and what ruins a run is told from what does not."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.corpora import N_VOCAB, Texts, corpus_of, documents
from support.stores import make_store, reseal

from llmprep.errors import FileFormatError
from llmprep.store import portions
from llmprep.store.check import check_store
from llmprep.store.findings import Finding, Known, find, percent
from llmprep.store.portions import Corpus
from llmprep.store.reading import TokenStore
from llmprep.store.survey import survey_corpus


def findings(corpus: Corpus, known: Known | None = None, cut: int | None = None) -> dict[str, Finding]:
    """What is found of a corpus, by name; ``cut`` is where val begins."""
    splits = None if cut is None else ((0, cut), (cut, corpus.n_tokens))
    return {each.check: each for each in find(survey_corpus(corpus, splits), known or Known("not at hand"))}


@settings(max_examples=40)
@given(documents, st.integers(1, 30), st.integers(1, 5), st.data())
def test_what_is_counted_is_what_a_plain_loop_counts(
    texts: Texts, size: int, fetched: int, data: st.DataObject
) -> None:
    """Ids, documents of each kind, copies and val's copies of train, however many tokens and documents are held."""
    corpus = corpus_of(texts)
    cut = data.draw(st.integers(0, corpus.n_tokens))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portions, "FETCHED", fetched)
        survey = survey_corpus(corpus, ((0, cut), (cut, corpus.n_tokens)), size=size)
    starts, ends = (values.tolist() for values in corpus.spans(0, len(texts)))
    ids = corpus.read(0, corpus.n_tokens).tolist()
    assert survey.counts.tolist() == [ids.count(token_id) for token_id in range(N_VOCAB)]
    assert (survey.n_empty, survey.n_single) == (texts.count(()), sum(len(text) == 1 for text in texts))
    copies = [text for k, text in enumerate(texts) if text and text in texts[:k]]
    assert (survey.copied.n_documents, survey.copied.n_tokens) == (len(copies), sum(map(len, copies)))
    most = Counter(copies).most_common(1)
    assert survey.copied.most[1] == (most[0][1] if most else 0)
    if most:
        assert Counter(copies)[texts[survey.copied.most[0]]] == most[0][1]
    train = {text for text, end in zip(texts, ends, strict=True) if end <= cut}
    val = [text for text, start in zip(texts, starts, strict=True) if text and start >= cut]
    leaked = [text for text in val if text in train]
    assert survey.n_in_val == len(val)
    assert (survey.copied.n_leaked, survey.copied.n_leaked_tokens) == (len(leaked), sum(map(len, leaked)))


def sentences(count: int, seed: int = 3) -> Texts:
    """Documents of 20 to 60 of 1,000 ids, as frequent as words are."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(2, 1001)
    ids = random.choice(np.arange(1, 1000), 60 * count, p=shares / shares.sum()).reshape(count, 60)
    return [tuple(row[: random.integers(20, 60)].tolist()) for row in ids]


SOUND, OTHERS, ONE = sentences(60), sentences(60, seed=4), [(1, 2, 3, 4, 5)]
N_SOUND = len(SOUND)
IDS = sum(map(len, SOUND)) + N_SOUND - 1
LIFE: dict[str, tuple[Texts, int | None, set[str], set[str]]] = {
    "sound": (SOUND, None, set(), set()),
    "one unknown token": ([(7,) * 9999, (8,)], None, {"entropy", "commonest"}, {"one_token_documents"}),
    "half padding": ([text + (0,) * 60 for text in SOUND], None, {"commonest"}, set()),
    "every document twice": ([text for text in SOUND for _ in range(2)], None, {"duplicates"}, set()),
    "some copies": (SOUND + SOUND[:6], None, set(), {"duplicates"}),
    "val a copy of train": (SOUND * 2, IDS + 1, {"duplicates", "train_and_val"}, set()),
    "a document of train in val": ([*ONE, *SOUND, *OTHERS, *ONE], 5 + 1 + IDS + 1, set(), {"train_and_val"}),
    "few of the ids": ([tuple(range(1, 51)) * k for k in range(40, 80)], None, set(), {"vocabulary_used"}),
    "some empty": ([*SOUND, ()], None, set(), {"empty_documents"}),
    "mostly empty": (SOUND + [()] * N_SOUND, None, {"empty_documents"}, set()),
    "mostly of one token": (SOUND + [(k,) for k in range(N_SOUND + 1)], None, {"one_token_documents"}, set()),
}  # fmt: skip


@pytest.mark.parametrize("name", LIFE)
def test_what_ruins_a_run_is_told_from_what_does_not(name: str) -> None:
    """Corpora as they come from life fail exactly the checks that are about what is wrong with them."""
    texts, cut, ruinous, worth_a_look = LIFE[name]
    found = findings(corpus_of(texts, n_vocab=1000), cut=cut)
    assert {check for check, each in found.items() if each.verdict == "ruins a run"} == ruinous
    assert {check for check, each in found.items() if each.verdict == "look at this"} == worth_a_look


def test_checks_that_are_not_made_say_why() -> None:
    """Without documents, splits, vocabulary or model there is no number, and the reason stands in its place."""
    corpus = replace(corpus_of(SOUND, n_vocab=1000), n_documents=None)
    found = findings(corpus, Known("no vocabulary", undivided="it is old"))
    said = {check: each.says for check, each in found.items() if each.verdict == "not checked"}
    old = "where documents begin is not known: it is old"
    of_documents = ("empty_documents", "one_token_documents", "duplicates", "train_and_val")
    assert said == dict.fromkeys(("end_of_text", "unknown"), "no vocabulary") | dict.fromkeys(of_documents, old) | {
        "model_vocab": "model_vocab, how many ids the model has room for, is not given"
    }
    assert all((each.value is None) == (each.verdict == "not checked") for each in found.values())
    assert findings(corpus_of(SOUND, n_vocab=1000))["train_and_val"].says == "there are no splits train and val here"
    inside = findings(corpus_of(SOUND, n_vocab=1000), cut=IDS - 3)["train_and_val"]
    assert inside.says == "no document lies whole in val"


@pytest.mark.parametrize(
    ("n_rows", "verdict", "value"), [(3, "fine", 0), (9, "fine", 0), (2, "look at this", 0), (1, "ruins a run", 2)]
)
def test_ids_are_held_against_a_models(n_rows: int, verdict: str, value: int) -> None:
    """Only ids that have no row ruin a run; a vocabulary of more is worth a look."""
    found = findings(corpus_of([(0, 1, 1)]), Known("none", model_vocab=n_rows))["model_vocab"]
    assert (found.verdict, found.value) == (verdict, value)


def test_an_id_outside_the_vocabulary_is_refused() -> None:
    """Nothing is counted of a stream that holds an id which its vocabulary has not."""
    with pytest.raises(FileFormatError, match=r"a: id 2 at \[1\] >= vocabulary 2"):
        findings(corpus_of([(0, 2)], n_vocab=2))


def test_shares_are_not_rounded_to_none_or_all() -> None:
    """0 % and 100 % are said of nothing else."""
    assert [*map(percent, (0.0, 1e-9, 0.0101, 0.9999, 1 - 1e-9, 1.0))] == [
        "0 %", "under 0.01 %", "1.01 %", "99.99 %", "over 99.99 %", "100 %",
    ]  # fmt: skip


def test_a_store_that_does_not_tell_its_documents_is_checked_without(tmp_path: Path) -> None:
    """Where an older store's ids do not tell where documents begin, all that needs no documents is checked still."""
    folder = make_store(tmp_path / "old", [[1, 2, 3, 4] * 9, [5, 6, 7]], val_fraction=0.1)
    sound = {each.check: each for each in check_store(TokenStore(folder))}
    assert sound["duplicates"].says == "0 of 1 documents are copies of an earlier one"
    for place, to in ((["pieces", "documents"], "2 0"), (["n_documents"], 2), (["shards", 0, "documents"], 2)):
        reseal(folder / "manifest.json", place, to)
    for split in (None, "val"):
        old = {each.check: each for each in check_store(TokenStore(folder, split))}
        assert "does not state where documents begin" in old["duplicates"].says
        assert (old["duplicates"].verdict, old["entropy"] == sound["entropy"]) == ("not checked", split is None)

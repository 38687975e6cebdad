"""Promises of loading: tiktoken's own vocabularies, verified each time, built once a process; last, of their names."""

import hashlib
import importlib
import inspect
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import tiktoken.load
from support import reference
from tiktoken.model import MODEL_TO_ENCODING

from llmprep.errors import UsageError, VocabularyError
from llmprep.vocabulary import embedded, encodings
from llmprep.vocabulary.definitions import define, encoding_names
from llmprep.vocabulary.encodings import build_named
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.vocabulary.names import resolve_encoding
from llmprep.vocabulary.ranks import parse_ranks

EMBEDDED = ("gpt2", "r50k_base", "p50k_base", "p50k_edit")
CL100K = define("cl100k_base").rank_file.sha256


@pytest.mark.parametrize("name", encoding_names())
def test_a_vocabulary_is_tiktokens(name: str, vocab_dir: Path) -> None:
    """All of it is tiktoken's own encoding, of the published files; the rank file's hash is the one tiktoken pins."""
    theirs, ours = reference.tiktoken_encoding(name), load_vocabulary(name, vocab_dir)
    assert (ours.name, ours.n_vocab) == (name, theirs.n_vocab)
    assert (ours.pattern, ours.eot_id) == (theirs._pat_str, theirs.eot_token)
    assert ours.ranks == theirs._mergeable_ranks == parse_ranks(ours.rank_file)
    assert ours.special_tokens == theirs._special_tokens
    assert ours.sha256 == hashlib.sha256(ours.rank_file).hexdigest()
    assert ours.is_embedded == (name in EMBEDDED)
    assert "rank_file" not in repr(replace(ours, stated_ranks={}))
    definitions = importlib.import_module("tiktoken_ext.openai_public")  # of which we have a private copy
    assert f'"{ours.sha256}"' in inspect.getsource(definitions)
    assert definitions.load_tiktoken_bpe is tiktoken.load.load_tiktoken_bpe


def test_a_damaged_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank file of the package that is missing, or not what it was, is not used, though it was built before."""
    data, said = embedded.EMBEDDED.read_bytes(), list[str]()
    for name in EMBEDDED:  # neither a folder, nor a cache, nor the network is looked at
        assert load_vocabulary(name, tmp_path / "missing", said.append, download=False).is_embedded
    assert said == []
    monkeypatch.setattr(embedded, "EMBEDDED", tmp_path / "r50k_base.tiktoken")
    with pytest.raises(VocabularyError, match=r"r50k_base\.tiktoken: No such file.*reinstall llmprep"):
        load_vocabulary("gpt2")
    (tmp_path / "r50k_base.tiktoken").write_bytes(data.replace(b" 0\n", b" 1\n", 1))
    for name in EMBEDDED:
        with pytest.raises(VocabularyError, match=r"r50k_base\.tiktoken: damaged .*reinstall llmprep"):
            load_vocabulary(name)


def test_a_vocabulary_is_built_once(tmp_path: Path, cl100k: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each load gives the same object; a file that is missing, damaged or mended is found out all the same."""
    monkeypatch.setattr(encodings, "_built", {})
    gpt2 = load_vocabulary("gpt2")
    path = tmp_path / "cl100k_base.tiktoken"
    with pytest.raises(VocabularyError, match=r"cl100k_base\.tiktoken: not found"):
        load_vocabulary("cl100k_base", tmp_path, download=False)
    path.write_bytes(cl100k)
    built = load_vocabulary("cl100k_base", tmp_path)
    path.write_bytes(cl100k[:-1])
    with pytest.raises(VocabularyError, match="its sha256 is not"):
        load_vocabulary("cl100k_base", tmp_path)
    path.write_bytes(cl100k)
    assert load_vocabulary("gpt-4", tmp_path) is built is build_named("cl100k_base", cl100k)
    assert load_vocabulary("gpt2") is gpt2 is build_named("gpt2", None)
    with pytest.raises(VocabularyError, match=f"the ranks that were given do not have the sha256 {CL100K}"):
        build_named("cl100k_base", cl100k[:-1])


def test_the_variable_names_a_folder(vocab_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLMPREP_VOCAB_DIR is heeded without the command line; a folder that is named goes before it."""
    monkeypatch.setenv("LLMPREP_VOCAB_DIR", str(vocab_dir))
    (tmp_path / "cl100k_base.tiktoken").write_bytes(b"IQ== 0\n")
    assert load_vocabulary("cl100k_base").sha256 == CL100K
    with pytest.raises(VocabularyError, match="its sha256 is not"):
        load_vocabulary("cl100k_base", tmp_path)
    monkeypatch.setenv("LLMPREP_VOCAB_DIR", "")
    with pytest.raises(VocabularyError, match="no network in tests"):
        load_vocabulary("cl100k_base")
    with pytest.raises(UsageError, match="vocab_dir: is empty; name a folder, or leave it out"):
        load_vocabulary("cl100k_base", "")


def test_threads_load_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vocabularies that many threads load at the same time are each whole, with their own ranks, hash and size."""
    names = EMBEDDED * 4
    monkeypatch.setattr(encodings, "_built", {})
    with ThreadPoolExecutor(len(names)) as threads:
        found = list(threads.map(load_vocabulary, names))
    for name, loaded in zip(names, found, strict=True):
        theirs = reference.tiktoken_encoding(name)
        assert (loaded.name, loaded.n_vocab, loaded.ranks) == (name, theirs.n_vocab, theirs._mergeable_ranks)
        assert loaded.sha256 == hashlib.sha256(loaded.rank_file).hexdigest()


def test_every_name_means_what_it_means_to_tiktoken() -> None:
    """Encodings, models, and models with a version after their name resolve as tiktoken resolves them."""
    assert sorted(encoding_names()) == sorted(tiktoken.list_encoding_names())
    assert [resolve_encoding(name) for name in encoding_names()] == list(encoding_names())
    for model in (
        *MODEL_TO_ENCODING,
        "gpt-4o-2024-08-06",
        "gpt-4-0314",
        "gpt-3.5-turbo-0301",
        "ft:gpt-4o:mine",
        "o1-x",
    ):
        assert resolve_encoding(model) == tiktoken.encoding_name_for_model(model)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("gtp2", "did you mean .*gpt2.*"), ("GPT2", "did you mean gpt2.*"), ("x" * 99, "known are gpt2, r50k_base.*")],
)
def test_an_unknown_name_gets_near_ones(name: str, hint: str) -> None:
    """An unknown name is an error that begins with the option and says what could be meant, in a short line."""
    shown = f"{'x' * 39}..." if len(name) > 40 else name
    with pytest.raises(VocabularyError, match=f"^--encoding {shown}: unknown; {hint}$"):
        resolve_encoding(name)

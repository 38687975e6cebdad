"""A store or a file -> what would ruin a training run, and is seen weeks later if nobody looks: findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from llmprep.choices import Announce
from llmprep.errors import FileFormatError, VocabularyError, shorten
from llmprep.formats.ids import Array
from llmprep.formats.meta import checked_meta
from llmprep.formats.tokens import read_starts
from llmprep.formats.vocabularies import vocabulary_of
from llmprep.ptfile.reading import PtFile
from llmprep.store.findings import Finding, Known, find
from llmprep.store.portions import Corpus
from llmprep.store.survey import Splits, Tell, survey_corpus
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.vocabulary.references import Reference
from llmprep.vocabulary.vocabulary import Vocabulary
from llmprep.windows.packed import KnownSpans

if TYPE_CHECKING:
    from llmprep.store.documents import Documents
    from llmprep.store.reading import TokenStore


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked beside the checks of any corpus, and who is told how far it is.

    ``model_vocab`` is how many ids a model has room for, its ``vocab_size``. ``refers`` says where the vocabulary is to
    be found, if not in the store itself or in ``vocab_dir``; ``announce`` is called before it is downloaded.
    """

    model_vocab: int | None = None
    refers: Reference | None = None
    vocab_dir: str | None = None
    announce: Announce | None = None
    tell: Tell = lambda *_: None


def check_store(store: TokenStore, asking: Asking | None = None) -> Iterator[Finding]:
    """Yield a finding for each check of a store or split: its number and the verdict, or why it was not made.

    Reads every token once, and once more those of documents that are copies of others. Memory does not grow with the
    corpus; the temporary folder needs 8 bytes a document. Documents are alike if all of their ids are: short ones too,
    but what counts is how many *tokens* are in copies. Raises `FileFormatError` for a store that is damaged.

    >>> from llmprep import TokenStore
    >>> [each.check for each in check_store(TokenStore("corpus/")) if each.verdict != "fine"]  # doctest: +SKIP
    ['duplicates', 'train_and_val']
    """
    asking, manifest = asking or Asking(), store.manifest
    known = _known(asking, asking.refers or store.refers, manifest.options)
    corpus = Corpus(str(store.folder), len(store), manifest.n_vocab, store.read)
    try:
        documents = store.documents()
        divided = replace(corpus, n_documents=len(documents), spans=documents.spans)
        survey = survey_corpus(divided, _splits(store), asking.tell)
        known = replace(known, tell_source=partial(_tell_source, documents))
        known = replace(known, textless=(len(manifest.empty), manifest.n_empty))
    except (FileFormatError, VocabularyError) as error:  # of where documents begin, in a store of an older version
        known = replace(known, undivided=str(error))
        survey = survey_corpus(corpus, None, asking.tell)
    yield from find(survey, known)


def _splits(store: TokenStore) -> Splits | None:
    """Return where train and val are, if the whole store is open and has both."""
    stated = store.manifest.splits
    return (stated["train"], stated["val"]) if store.split is None and stated.keys() >= {"train", "val"} else None


def _tell_source(documents: Documents, number: int) -> str:
    """Return what a document is called: by its number in its source, as far as that is known."""
    found = documents[number]
    which = "one of the documents" if found.record is None else f"document {found.record}"
    return f"{which} of {shorten(found.source)}"


def check_file(file: PtFile, ids: Array, asking: Asking | None = None) -> Iterator[Finding]:
    """Yield the same of the ids (n,) of a tokens or windows file, as `check_store` does.

    Raises `FileFormatError` for an id that is not in the vocabulary, `UsageError` where it is not said which one it is.
    """
    asking, meta = asking or Asking(), checked_meta(file)
    known = _known(asking, asking.refers or vocabulary_of(file), meta["options"])
    starts = read_starts(file) if "token_ids" in file.tensors else None

    def read(first: int, count: int) -> Array:
        return ids[first : first + count]

    corpus = Corpus(file.name, len(ids), meta["n_vocab"], read)
    if starts is None:
        reason = "a file of windows does not tell" if "input_ids" in file.tensors else "the file does not state it"
        yield from find(survey_corpus(corpus, None, asking.tell), replace(known, undivided=reason))
        return
    documents = KnownSpans(starts, len(ids), int(known.separated))
    divided = replace(corpus, n_documents=len(documents), spans=documents.spans)
    yield from find(survey_corpus(divided, None, asking.tell), known)


def _known(asking: Asking, refers: Reference, options: Mapping[str, Any]) -> Known:
    """Return what is known of a corpus beside its ids."""
    separated = options.get("separator") == "eot"
    return Known(_vocabulary(asking, refers), separated=separated, model_vocab=asking.model_vocab)


def _vocabulary(asking: Asking, refers: Reference) -> Vocabulary | str:
    """Return the vocabulary, or why it is not at hand."""
    try:
        return load_vocabulary(refers, asking.vocab_dir, asking.announce)
    except VocabularyError as error:
        return str(error)

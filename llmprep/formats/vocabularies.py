"""Ids and the vocabulary that they are of: which one a file states, whether the ids are in it, their text."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from llmprep.choices import TokenizerFile, WhichVocabulary
from llmprep.errors import UsageError, shorten
from llmprep.formats.ids import MAX_ID, Array, check_ids, to_ids
from llmprep.formats.meta import checked_meta
from llmprep.formats.tokens import read_tokens
from llmprep.formats.windows import check_window_ids, read_windows
from llmprep.ptfile.reading import PtFile
from llmprep.tokens.decoding import Decoder
from llmprep.vocabulary.loading import (
    announce_by_warning,
    load_vocabulary,
    name_vocabulary,
    refer_to,
    resolve_vocab_dir,
    state_of,
)
from llmprep.vocabulary.references import Reference
from llmprep.vocabulary.vocabulary import Vocabulary


def vocabulary_of(file: PtFile, asked: WhichVocabulary | None = None) -> Reference:
    """Return which vocabulary a file states, or for a file that states none, the one that is asked for.

    Raises `UsageError` for another one than the file's, and if neither names one.
    """
    name, fingerprint = file.meta.get("encoding"), file.meta.get("fingerprint")
    if isinstance(name, str):
        return check_vocabulary(file.name, Reference(name, fingerprint), asked)
    if not asked:
        raise UsageError(
            f"{file.name}: does not tell which vocabulary its ids are of; name it with --encoding or --tokenizer"
        )
    return refer_to(asked)


def check_vocabulary(name: str, own: Reference, asked: WhichVocabulary | None) -> Reference:
    """Return ``own``, with the file that is asked for; raise `UsageError` if that is another vocabulary.

    They are told apart by their fingerprints, whatever they are called.
    """
    if not asked:
        return own
    wanted = refer_to(asked, expected=own.fingerprint)
    if not wanted.is_same(own):
        option = "--encoding" if isinstance(asked, str) else "--tokenizer"
        what = asked if isinstance(asked, str) else asked.path
        but = "" if wanted.name != own.name else f", and this one's fingerprint is {wanted.short}"
        raise UsageError(f"{option} {what}: {name} was made with {shorten(own.name)}{own.shown}{but}")
    return replace(own, file=own.file or asked) if isinstance(asked, TokenizerFile) else own


def check_file_ids(
    file: PtFile,
    asked: WhichVocabulary | None = None,
    load: Callable[[WhichVocabulary], Vocabulary] = load_vocabulary,
) -> None:
    """Check the ids of a tokens or windows file against the vocabulary that it states, or else the one ``asked`` for.

    If neither names one, no id may be negative. Raises `FileFormatError` for a wrong id, `UsageError` for another
    vocabulary than the file's.
    """
    if file.meta:
        n_vocab = checked_meta(file)["n_vocab"]
        vocabulary_of(file, asked)
    else:
        n_vocab = MAX_ID + 1 if asked is None else load(asked).n_vocab
    if "input_ids" in file.tensors:
        read_windows(file)
        check_window_ids(file, n_vocab)
    else:
        check_ids(read_tokens(file), n_vocab, file.name)


def decode_ids(
    ids: Array | Sequence[int] | Any,
    encoding: str | None = None,
    *,
    tokenizer: str | os.PathLike[str] | TokenizerFile | None = None,
    vocab_dir: str | os.PathLike[str] | None = None,
) -> str:
    r"""Decode ids (n,), an array, tensor or sequence of whole numbers, to their text, as tiktoken's ``decode`` does.

    Where the ids hold only a part of a character, U+FFFD takes its place. The vocabulary is gpt2's, or the one that
    ``encoding`` or ``tokenizer`` names, found as `encode_text` finds it. Raises `UsageError` for anything but whole
    numbers, and for an id that is not in the vocabulary.

    >>> decode_ids([40, 367, 2885, 1464])
    'I HAD always'
    """
    which = name_vocabulary(encoding, tokenizer)
    decoder = _decoder(which, resolve_vocab_dir(vocab_dir), state_of(which))
    given = to_ids(ids).tolist()
    wrong = decoder.first_unknown(given)
    if wrong is not None:
        raise UsageError(f"ids: id {given[wrong]}, item {wrong}, is not in {decoder.words}")
    return decoder.text(given)


@functools.lru_cache(maxsize=8)
def _decoder(
    which: WhichVocabulary,
    vocab_dir: str | None,
    state: tuple[object, ...],  # noqa: ARG001 - a file that was changed is read again
) -> Decoder:
    return Decoder.of(load_vocabulary(which, vocab_dir, announce_by_warning))

"""Ids and the vocabulary that they are of: which one a file states, whether the ids are in it, their text."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

from llmprep.choices import ENCODING
from llmprep.errors import UsageError, shorten
from llmprep.formats.ids import MAX_ID, Array, check_ids, to_ids
from llmprep.formats.meta import checked_meta
from llmprep.formats.tokens import read_tokens
from llmprep.formats.windows import check_window_ids, read_windows
from llmprep.ptfile.reading import PtFile
from llmprep.tokens.decoding import Decoder
from llmprep.vocabulary.loading import announce_by_warning, load_vocabulary, resolve_vocab_dir
from llmprep.vocabulary.names import resolve_encoding
from llmprep.vocabulary.vocabulary import Vocabulary


def encoding_of(file: PtFile, encoding: str | None = None) -> str:
    """Return the encoding that a file states, or for a file that states none, the one that is asked for.

    Raises `UsageError` for another one than the file's, and if neither names one.
    """
    own = file.meta.get("encoding")
    if isinstance(own, str):
        return check_encoding(file.name, own, encoding)
    if not encoding:
        raise UsageError(f"{file.name}: does not tell which vocabulary its ids are of; name it with --encoding")
    return resolve_encoding(encoding)


def check_encoding(name: str, own: str, encoding: str | None) -> str:
    """Return ``own``, or raise `UsageError` if another encoding is asked for."""
    if encoding and resolve_encoding(encoding) != own:
        raise UsageError(f"--encoding {encoding}: {name} was made with {shorten(own)}")
    return own


def check_file_ids(
    file: PtFile, encoding: str | None = None, load: Callable[[str], Vocabulary] = load_vocabulary
) -> None:
    """Check the ids of a tokens or windows file against the vocabulary that it states, or else that of ``encoding``.

    If neither names one, no id may be negative. Raises `FileFormatError` for a wrong id, `UsageError` for another
    encoding than the file's.
    """
    if file.meta:
        n_vocab = checked_meta(file)["n_vocab"]
        encoding_of(file, encoding)
    else:
        n_vocab = MAX_ID + 1 if encoding is None else load(encoding).n_vocab
    if "input_ids" in file.tensors:
        read_windows(file)
        check_window_ids(file, n_vocab)
    else:
        check_ids(read_tokens(file), n_vocab, file.name)


def decode_ids(
    ids: Array | Sequence[int] | Any,
    encoding: str = ENCODING,
    *,
    vocab_dir: str | os.PathLike[str] | None = None,
) -> str:
    r"""Decode ids (n,), an array, tensor or sequence of whole numbers, to their text, as tiktoken's ``decode`` does.

    Where the ids hold only a part of a character, U+FFFD takes its place. The vocabulary is found as `encode_text`
    finds it. Raises `UsageError` for anything but whole numbers, and for an id that is not in the vocabulary.

    >>> decode_ids([40, 367, 2885, 1464])
    'I HAD always'
    """
    decoder = _decoder(resolve_encoding(encoding), resolve_vocab_dir(vocab_dir))
    given = to_ids(ids).tolist()
    wrong = decoder.first_unknown(given)
    if wrong is not None:
        raise UsageError(f"ids: id {given[wrong]}, item {wrong}, is not in {decoder.words}")
    return decoder.text(given)


@functools.lru_cache(maxsize=8)
def _decoder(encoding: str, vocab_dir: str | None) -> Decoder:
    return Decoder.of(load_vocabulary(encoding, vocab_dir, announce_by_warning))

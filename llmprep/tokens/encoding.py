"""A text in memory -> its ids."""

from __future__ import annotations

import functools
import os
from typing import get_args

import numpy as np
import numpy.typing as npt

from llmprep.choices import BackendName, Special, TokenizerFile, WhichVocabulary
from llmprep.documents.blocks import Block
from llmprep.documents.source import Counts, Source
from llmprep.errors import UsageError
from llmprep.tokens.backends import Encoder
from llmprep.tokens.special import Specials, count_special
from llmprep.vocabulary.loading import (
    announce_by_warning,
    load_vocabulary,
    name_vocabulary,
    resolve_vocab_dir,
    state_of,
)


def encode_text(
    text: str,
    encoding: str | None = None,
    *,
    tokenizer: str | os.PathLike[str] | TokenizerFile | None = None,
    special: Special = "allow",
    vocab_dir: str | os.PathLike[str] | None = None,
) -> npt.NDArray[np.int64]:
    """Encode a text; return ids (n,) int64, those that are defined. Encoders are kept, so later calls are quick.

    The vocabulary is gpt2's, or that of the encoding or model that ``encoding`` names, or of the file that
    ``tokenizer`` names, a path or a `TokenizerFile`. The ids of a ``tokenizer.json`` are those of the tokenizers
    library, of all others tiktoken's. An encoding that is not part of the package is looked for in ``vocab_dir`` first,
    or else in the folder that LLMPREP_VOCAB_DIR names; a download is announced by a warning.

    Raises `UsageError` for anything but a str and for an unknown ``special``, `VocabularyError` for an unknown
    encoding, and with ``special="error"`` `DataError` for a special token in the text.

    >>> encode_text("I HAD always").tolist()
    [40, 367, 2885, 1464]
    """
    if not isinstance(text, str):
        raise UsageError(f"text: must be a str, not {type(text).__name__}")
    if str(special) not in get_args(Special):
        raise UsageError(f"special {special!r:.40}: must be {', '.join(get_args(Special))}")
    which = name_vocabulary(encoding, tokenizer)
    encoder, specials = _text_encoder(which, special, resolve_vocab_dir(vocab_dir), state_of(which))
    if not text.isascii():
        # Halves of surrogate pairs, which no UTF-8 file can hold: joined or replaced, as tiktoken's ``encode`` does.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    data = text.encode()
    block = Block(Counts(Source("text", "text")), data, data, 0)
    ids = encoder.encode(block)
    count_special(block, specials, special, ids)
    return ids.astype(np.int64)


@functools.lru_cache(maxsize=8)
def _text_encoder(
    which: WhichVocabulary,
    special: Special,
    vocab_dir: str | None,
    state: tuple[object, ...],  # noqa: ARG001 - a file that was changed is read again
) -> tuple[Encoder, Specials]:
    vocabulary = load_vocabulary(which, vocab_dir, announce_by_warning)
    backend: BackendName = "auto" if vocabulary.hf is not None else "tiktoken"
    return Encoder(vocabulary, special, backend), Specials.of(vocabulary)

"""The fast backend: a pool of gigatoken tokenizers of bounded memory."""

from __future__ import annotations

import importlib.util
import queue
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmprep.output.temporary import temporary_file
from llmprep.tokens.memory import resident_bytes, return_freed_memory
from llmprep.vocabulary.embedded import EMBEDDED, R50K_SHA256
from llmprep.vocabulary.vocabulary import END_OF_TEXT, Vocabulary

CACHE_BYTES = 48 << 20
"""Growth of resident memory at which a tokenizer is dropped, and with it its cache of words."""
FREED_BYTES = 24 << 20
"""Growth of resident memory at which what was freed is given back: of most texts, more than the cache takes."""
LARGE_VOCAB = 1 << 16
"""Ids from which on another tokenizer would bring a process with two jobs above 250 MB."""
LOOK_BYTES = 1 << 18
"""How much text is encoded between two readings of resident memory: one takes longer than a small text."""
SCHEMES = {"gpt2": "gpt2", "r50k_base": "gpt2", "cl100k_base": "gpt4", "o200k_base": "o200k", "o200k_harmony": "o200k"}
"""gigatoken's names for the patterns of encodings; others are left to tiktoken."""


def has_gigatoken() -> bool:
    """Tell whether the ``fast`` extra is installed."""
    return importlib.util.find_spec("gigatoken") is not None


def count_tokenizers(jobs: int, n_vocab: int, *, only_texts: bool) -> int:
    """Return how many tokenizers ``jobs`` threads share.

    That is one less where another thread parses records meanwhile, or where each holds a large vocabulary.

    >>> count_tokenizers(2, 50_257, only_texts=True), count_tokenizers(2, 200_019, only_texts=True)
    (2, 1)
    """
    return jobs if only_texts and n_vocab <= LARGE_VOCAB else max(1, jobs - 1)


@dataclass(slots=True)
class _Held:
    """A tokenizer; resident memory when it was built, and when memory was last given back; bytes not looked at."""

    tokenizer: Any
    built: int
    trimmed: int
    unseen: int = 0

    def is_too_large(self) -> bool:
        """Tell whether memory has grown too far since the tokenizer was built, after giving back what was freed."""
        if self.unseen < LOOK_BYTES:
            return False
        self.unseen = 0
        if resident_bytes() - self.trimmed >= FREED_BYTES:
            return_freed_memory()
            self.trimmed = resident_bytes()
        return self.trimmed - self.built >= CACHE_BYTES


class Gigatoken:
    """A pool of gigatoken tokenizers, one for each thread that encodes at the same time.

    Whether the end-of-text string is special is decided when a tokenizer is built, so there are two pools. A tokenizer
    remembers every word it has seen; when resident memory has grown by `CACHE_BYTES`, without what was freed, it is
    dropped, and the next text builds another. At most ``n_threads`` encode at the same time, others wait: each
    tokenizer has to learn its words by itself.
    """

    def __init__(self, vocabulary: Vocabulary, n_threads: int = 1) -> None:
        self._vocabulary = vocabulary
        self._turn = threading.Semaphore(n_threads)
        self._idle: dict[bool, queue.SimpleQueue[_Held]] = {
            True: queue.SimpleQueue(),
            False: queue.SimpleQueue(),
        }

    def encode(self, data: bytes, *, special: bool) -> npt.NDArray[np.uint32]:
        """Return the ids (n,) of UTF-8 text; with ``special``, the end-of-text string in it becomes its id."""
        with self._turn:
            return self._encode(data, special=special)

    def _encode(self, data: bytes, *, special: bool) -> npt.NDArray[np.uint32]:
        from gigatoken import BytesSource

        try:
            held = self._idle[special].get_nowait()
        except queue.Empty:
            tokenizer = self._build(special=special)
            held = _Held(tokenizer, built := resident_bytes(), built)
        # Unlike gigatoken's `encode`, this method does not hold the interpreter's lock. A list instead of a BytesSource
        # would make it import awkward, which takes longer than encoding 50 MB of text.
        rows, lengths = held.tokenizer.encode_batch_padded(BytesSource([data]), 0, parallel=False)
        held.unseen += len(data)
        if held.is_too_large():
            del held
            return_freed_memory()
        else:
            self._idle[special].put(held)
        ids: npt.NDArray[np.uint32] = rows[0, : lengths[0]]
        return ids

    def _build(self, *, special: bool) -> Any:
        """Build a tokenizer from a file that holds the ranks as they were verified."""
        from gigatoken import Tokenizer

        vocabulary = self._vocabulary
        options: dict[str, Any] = {
            "pretokenizer": SCHEMES[vocabulary.name],
            "special_tokens": {END_OF_TEXT: vocabulary.eot_id} if special else {},
        }
        if vocabulary.sha256 == R50K_SHA256:
            return Tokenizer.from_tiktoken(EMBEDDED, **options)
        with temporary_file(suffix=".tiktoken") as file:
            file.write(vocabulary.rank_file)
            file.flush()
            return Tokenizer.from_tiktoken(file.name, **options)

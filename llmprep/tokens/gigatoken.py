"""The fast backend: a pool of gigatoken tokenizers of bounded memory."""

from __future__ import annotations

import importlib.util
import queue
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from llmprep.output.temporary import temporary_file
from llmprep.tokens.memory import resident_bytes, return_freed_memory
from llmprep.vocabulary.embedded import EMBEDDED, R50K_SHA256
from llmprep.vocabulary.vocabulary import END_OF_TEXT, Vocabulary

CACHE_BYTES = 64 << 20
"""Growth of resident memory at which freed memory is given back, and then a tokenizer, with its cache of words."""
LOOK_BYTES = 1 << 18
"""How much text is encoded between two readings of resident memory: one takes longer than a small text."""
SCHEMES = {"gpt2": "gpt2", "r50k_base": "gpt2", "cl100k_base": "gpt4", "o200k_base": "o200k", "o200k_harmony": "o200k"}
"""gigatoken's names for the patterns of encodings; others are left to tiktoken."""


def has_gigatoken() -> bool:
    """Tell whether the ``fast`` extra is installed."""
    return importlib.util.find_spec("gigatoken") is not None


class Gigatoken:
    """A pool of gigatoken tokenizers, one for each thread that encodes at the same time.

    Whether the end-of-text string is special is decided when a tokenizer is built, so there are two pools. A tokenizer
    remembers every word it has seen; when resident memory has grown by `CACHE_BYTES`, and what was freed does not make
    half of that, it is dropped, and the next text builds another. At most ``n_threads`` encode at the same time, others
    wait: each tokenizer has to learn its words by itself.
    """

    def __init__(self, vocabulary: Vocabulary, n_threads: int = 1) -> None:
        self._vocabulary = vocabulary
        self._turn = threading.Semaphore(n_threads)
        self._idle: dict[bool, queue.SimpleQueue[tuple[Any, int, int]]] = {
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
            tokenizer, memory, unseen = self._idle[special].get_nowait()
        except queue.Empty:
            tokenizer, memory, unseen = self._build(special=special), resident_bytes(), 0
        # Unlike gigatoken's `encode`, this method does not hold the interpreter's lock. A list instead of a BytesSource
        # would make it import awkward, which takes longer than encoding 50 MB of text.
        rows, lengths = tokenizer.encode_batch_padded(BytesSource([data]), 0, parallel=False)
        unseen += len(data)
        if unseen >= LOOK_BYTES:
            unseen = 0
            if resident_bytes() - memory >= CACHE_BYTES:
                return_freed_memory()  # of which there is more than the cache, on most texts
                if resident_bytes() - memory >= CACHE_BYTES // 2:
                    tokenizer = None
                    return_freed_memory()
        if tokenizer is not None:
            self._idle[special].put((tokenizer, memory, unseen))
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

"""The fast backend: a pool of gigatoken tokenizers of bounded memory."""

from __future__ import annotations

import importlib.util
import os
import queue
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from llmprep.output.temporary import temporary_file
from llmprep.vocabulary.embedded import EMBEDDED, R50K_SHA256
from llmprep.vocabulary.loading import END_OF_TEXT, Vocabulary

CACHE_BYTES = 64 << 20
"""Growth of resident memory at which a gigatoken tokenizer, and with it its cache of words, is made anew."""
LOOK_BYTES = 1 << 18
"""How much text is encoded between two looks at resident memory, as a look takes longer than a small text."""
SCHEMES = {"gpt2": "gpt2", "r50k_base": "gpt2", "cl100k_base": "gpt4", "o200k_base": "o200k", "o200k_harmony": "o200k"}
"""gigatoken's names for the patterns it knows; other encodings are tiktoken's."""


def has_gigatoken() -> bool:
    """Tell whether the ``fast`` extra is installed."""
    return importlib.util.find_spec("gigatoken") is not None


class Gigatoken:
    """A pool of gigatoken tokenizers, one for each thread that encodes at the same time.

    Whether the end-of-text string is special is decided when a tokenizer is built, so there are two pools. A tokenizer
    remembers every word it has seen; when resident memory has grown too far it is dropped and built anew. ``most``
    threads encode at the same time, others wait: each tokenizer has to learn its words by itself.
    """

    def __init__(self, vocabulary: Vocabulary, most: int = 1) -> None:
        self._vocabulary = vocabulary
        self._turn = threading.Semaphore(most)
        self._idle: dict[bool, queue.SimpleQueue[tuple[Any, int, int]]] = {
            True: queue.SimpleQueue(),
            False: queue.SimpleQueue(),
        }

    def encode(self, data: bytes, *, special: bool) -> npt.NDArray[np.uint32]:
        with self._turn:
            return self._encode(data, special=special)

    def _encode(self, data: bytes, *, special: bool) -> npt.NDArray[np.uint32]:
        from gigatoken import BytesSource

        try:
            tokenizer, memory, unseen = self._idle[special].get_nowait()
        except queue.Empty:
            tokenizer, memory, unseen = self._build(special=special), resident_bytes(), 0
        # Of gigatoken's methods this one lets other threads run meanwhile (its `encode` holds the interpreter's lock),
        # and a BytesSource, unlike a list, does not make it import awkward, which takes longer than 50 MB of text.
        rows, lengths = tokenizer.encode_batch_padded(BytesSource([data]), 0, parallel=False)
        unseen += len(data)
        if unseen < LOOK_BYTES:
            self._idle[special].put((tokenizer, memory, unseen))
        elif resident_bytes() - memory < CACHE_BYTES:
            self._idle[special].put((tokenizer, memory, 0))
        else:
            del tokenizer
            give_memory_back()
        ids: npt.NDArray[np.uint32] = rows[0, : lengths[0]]
        return ids

    def _build(self, *, special: bool) -> Any:
        """Build a tokenizer; it reads the ranks from a file, one that is as it was when they were verified."""
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


def resident_bytes() -> int:
    """Return this process's resident memory, 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - called for every block
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def give_memory_back() -> None:
    """Return what was freed to the system, where its C library knows how: else memory grows with every tokenizer."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

"""The backend that is fastest on Chinese and Japanese: one fastokens tokenizer for all threads.

It cuts text into pieces as tiktoken does, but in two places: an apostrophe and U+017F are no contraction to it, and
with cl100k_base white space after the last line end of a text is a piece of its own. The second changes no id: no token
goes on after its last line end with white space. Texts with U+017F are refused, though few ids could differ.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmprep.output.temporary import temporary_file
from llmprep.tokens.memory import require_memory, return_freed_memory
from llmprep.vocabulary.vocabulary import END_OF_TEXT, Vocabulary

if TYPE_CHECKING:
    from concurrent.futures import Executor

ENCODINGS = ("cl100k_base", "o200k_base")
"""The encodings whose pattern the library knows by heart; with others it is slow."""
THREAD_BYTES = 8 << 20
"""How much text a thread encodes before another takes its place: what is remembered of more is seldom of use."""
BUILD_PER_ID = 1250
"""The most memory that building a tokenizer and encoding the first words take for each id, measured."""
LONG_S = "\u017f".encode()


def has_fastokens() -> bool:
    """Tell whether the ``fast`` extra is installed."""
    return importlib.util.find_spec("fastokens") is not None


def is_exact(data: bytes) -> bool:
    """Tell whether fastokens gives tiktoken's ids for UTF-8 text."""
    return LONG_S not in data


def is_mostly_chinese(data: bytes) -> bool:
    """Tell whether more than half of UTF-8 text is characters of Chinese or Japanese, U+3000 to U+9FFF."""
    values = np.frombuffer(data, np.uint8)
    return 6 * int(np.count_nonzero((values >= 0xE3) & (values <= 0xE9))) > len(data)  # each begins three bytes


class Fastokens:
    """A fastokens tokenizer, built when the first text is encoded; any number of threads may use it.

    It remembers words for as long as a thread lives; so ``n_threads`` of its own encode for all, and others follow
    after `THREAD_BYTES`.
    """

    def __init__(self, vocabulary: Vocabulary, n_threads: int = 1) -> None:
        self._vocabulary = vocabulary
        self._n_threads = n_threads
        self._threads = self._start_threads()
        self._given = 0
        self._turn = threading.Lock()
        self._tokenizer: Any = None

    def encode(self, data: bytes, *, special: bool) -> npt.NDArray[np.uint32]:
        """Return the ids (n,) of UTF-8 text; with ``special``, the end-of-text string in it becomes its id."""
        text = data.decode()
        with self._turn:
            if self._tokenizer is None:
                self._tokenizer = self._build()
            if self._given >= self._n_threads * THREAD_BYTES:
                self._threads.shutdown()
                return_freed_memory()
                self._threads, self._given = self._start_threads(), 0
            self._given += len(data)
            encode = self._tokenizer.encode_batch_flat
            encoding = self._threads.submit(encode, [text], split_special_tokens=not special)
        ids, _ = encoding.result()
        return np.frombuffer(ids, np.uint32)

    def _start_threads(self) -> Executor:
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(self._n_threads)

    def _build(self) -> Any:
        """Build the tokenizer from a file that holds the ranks as they were verified."""
        os.environ.setdefault("FASTOKENS_BPE_THREADS", "1")  # no threads of its own beside those that encode
        from fastokens import Tokenizer

        vocabulary = self._vocabulary
        require_memory(BUILD_PER_ID * vocabulary.n_vocab)
        with temporary_file(suffix=".tiktoken") as file:
            file.write(vocabulary.rank_file)
            file.flush()
            tokenizer = Tokenizer.from_tiktoken(
                file.name, encoding=vocabulary.name, special_tokens={END_OF_TEXT: vocabulary.eot_id}
            )
        return_freed_memory()
        return tokenizer

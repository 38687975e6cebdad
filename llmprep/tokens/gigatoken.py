"""The fast backend: a pool of gigatoken tokenizers of bounded memory."""

from __future__ import annotations

import functools
import importlib.util
import json
import queue
import threading
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from llmprep.output.temporary import temporary_file
from llmprep.tokens.memory import resident_bytes, return_freed_memory
from llmprep.vocabulary.byte_alphabet import LETTERS
from llmprep.vocabulary.embedded import EMBEDDED, R50K_SHA256
from llmprep.vocabulary.ranks import Ranks, write_ranks
from llmprep.vocabulary.vocabulary import ENCODING_KIND, Vocabulary

CACHE_BYTES = 48 << 20
"""Growth of resident memory at which a tokenizer is dropped, and with it its cache of words."""
FREED_BYTES = 24 << 20
"""Growth of resident memory at which what was freed is given back: of most texts, more than the cache takes."""
LARGE_VOCAB = 1 << 16
"""Ids from which on another tokenizer would bring a process with two jobs above 250 MB."""
LOOK_BYTES = 1 << 18
"""How much text is encoded between two readings of resident memory: one takes longer than a small text."""
SCHEMES = {"gpt2": "gpt2", "r50k_base": "gpt2", "cl100k_base": "gpt4", "o200k_base": "o200k", "o200k_harmony": "o200k"}
"""gigatoken's names for the patterns of encodings; others of tiktoken's are left to tiktoken."""

JSON_SPELLINGS: dict[str, str | None] = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    **dict.fromkeys(("llama3", "o200k", "qwen2", "qwen35", "tekken")),
}
"""The patterns that it knows in a tokenizer.json: as they are spelled there, or None for the first known spelling."""


def scheme_of(vocabulary: Vocabulary) -> str | None:
    """Return gigatoken's name for the pattern of a vocabulary, None if it does not know it, or not exactly."""
    if vocabulary.kind == ENCODING_KIND:
        return SCHEMES.get(vocabulary.name)
    known = vocabulary.known
    if known is None or known.scheme is None or not (vocabulary.all_made or known.name in JSON_SPELLINGS):
        return None
    return known.scheme if vocabulary.ranks else None


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

    Whether the end-of-text string is special is decided when a tokenizer is built, so there are two pools; a text
    without that string goes to the one that most texts need. A tokenizer remembers every word it has seen; when
    resident memory has grown by `CACHE_BYTES`, without what was freed, it is dropped, and the next text builds another.
    At most ``n_threads`` encode at the same time, others wait: each tokenizer has to learn its words by itself.
    """

    def __init__(self, vocabulary: Vocabulary, n_threads: int = 1) -> None:
        self._vocabulary = vocabulary
        self._end = None if vocabulary.end_of_text is None else vocabulary.end_of_text.encode()
        self._turn = threading.Semaphore(n_threads)
        self._idle: dict[bool, queue.SimpleQueue[_Held]] = {
            True: queue.SimpleQueue(),
            False: queue.SimpleQueue(),
        }

    @functools.cached_property
    def _dense(self) -> Dense:
        return Dense.of(self._vocabulary)

    def encode(self, data: bytes, *, special: bool) -> npt.NDArray[np.uint32]:
        """Return the ids (n,) of UTF-8 text; with ``special``, the end-of-text string in it becomes its id."""
        with self._turn:
            return self._encode(data, special=special or (self._end is not None and self._end not in data))

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
        return ids if self._dense.table is None else self._dense.table[ids]

    def _build(self, *, special: bool) -> Any:
        """Build a tokenizer from a file that holds the ranks as they were verified."""
        from gigatoken import Tokenizer

        vocabulary, dense = self._vocabulary, self._dense
        if not vocabulary.all_made:
            return Tokenizer.from_json(json_of(vocabulary, dense, special=special))
        end = vocabulary.end_of_text if special else None
        options: dict[str, Any] = {
            "pretokenizer": scheme_of(vocabulary),
            "special_tokens": {} if end is None else {end: dense.eot_id},
        }
        if vocabulary.sha256 == R50K_SHA256:
            return Tokenizer.from_tiktoken(EMBEDDED, **options)
        with temporary_file(suffix=".tiktoken") as file:
            file.write(vocabulary.rank_lines() if dense.table is None else write_ranks(dense.ranks))
            file.flush()
            return Tokenizer.from_tiktoken(file.name, **options)


@dataclass(frozen=True, slots=True)
class Dense:
    """Ranks as gigatoken takes them: from 0 on without a hole, with every byte among them.

    Only the order of ranks decides what is merged, so each is replaced by its place in that order, and ``table`` has
    the id of each place. It is None where the ranks are so already. Bytes that no text holds stand at the end, and
    behind them the end-of-text token, which may be made by merging as well.
    """

    eot_id: int | None
    ranks: Ranks
    table: npt.NDArray[np.uint32] | None = None

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Self:
        """Return the dense ranks of a vocabulary."""
        missing = [byte for byte in map(bytes, zip(range(256), strict=True)) if byte not in vocabulary.ranks]
        ordered = sorted(vocabulary.ranks, key=vocabulary.ranks.__getitem__)
        apart = vocabulary.eot_id is None or vocabulary.eot_id >= len(ordered)
        if not missing and apart and vocabulary.ranks[ordered[-1]] == len(ordered) - 1:
            return cls(vocabulary.eot_id, vocabulary.ranks)
        ids = [*map(vocabulary.ranks.__getitem__, ordered), *[0] * len(missing), vocabulary.eot_id or 0]
        dense = {token: place for place, token in enumerate([*ordered, *missing])}
        return cls(len(dense), dense, np.array(ids, np.uint32))


def json_of(vocabulary: Vocabulary, dense: Dense, *, special: bool) -> str:
    """Return a tokenizer.json for ranks that merging does not all make: in no other file gigatoken takes such.

    It looks pieces up first, and lists every split of every rank, which is how tiktoken merges.
    """
    ranks, known = dense.ranks, vocabulary.known
    letters = {value: LETTERS[value] for value in range(256)}
    vocab = {token.decode("latin-1").translate(letters): rank for token, rank in ranks.items()}
    merges = [
        f"{name[:k]} {name[k:]}"
        for name in sorted(vocab, key=vocab.__getitem__)
        for k in range(1, len(name))
        if name[:k] in vocab and name[k:] in vocab
    ]
    pattern = known and (JSON_SPELLINGS[known.name] or known.splits[0])
    end = {"id": dense.eot_id, "content": vocabulary.end_of_text, "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": [end | flags] if special and vocabulary.end_of_text is not None else [],
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
            "decoder": level,
            "model": {"type": "BPE", "ignore_merges": True, "vocab": vocab, "merges": merges},
        }
    )

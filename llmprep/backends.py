"""Blocks of text -> ids, by two backends that give one answer.

tiktoken is the definition. gigatoken gives the same ids many times faster, but carries a newer Unicode table: it
differs where a text holds a code point that Unicode 17 added, and blocks with one go to tiktoken. A small sample of
what gigatoken encodes is encoded again by tiktoken, and a difference ends the run.
"""

from __future__ import annotations

import importlib.util
import mmap
import os
import queue
import re
import resource
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from llmprep.documents import SECOND_CUT, Block, last_safe_cut
from llmprep.errors import BackendsDifferError, DataError, UsageError
from llmprep.ptfile import temporary_file
from llmprep.vocabulary import EMBEDDED, END_OF_TEXT, R50K_SHA256, Vocabulary

Ids = npt.NDArray[np.uint32]
BackendName: TypeAlias = Literal["auto", "tiktoken", "gigatoken"]

LARGE_BYTES = 4 << 20
"""From here on gigatoken, which takes longer to start, is done sooner."""

SAMPLE_BYTES = 4096
SAMPLE_EVERY = 16
CACHE_BYTES = 64 << 20
"""Growth of resident memory at which a gigatoken tokenizer, and with it its cache of words, is made anew."""

LOOK_BYTES = 1 << 18
"""How much text is encoded between two looks at resident memory, as a look takes longer than a small text."""

SPARE_BYTES = 64 << 20
SPARE_PER_BYTE = 52
"""What encoding takes at most, measured: so much at once, and so much for a byte of a text that cannot be split."""

SCHEMES = {"gpt2": "gpt2", "r50k_base": "gpt2", "cl100k_base": "gpt4", "o200k_base": "o200k", "o200k_harmony": "o200k"}
"""gigatoken's names for the patterns it knows; other encodings are tiktoken's."""

NEW_CODE_POINTS = (
    (0x88F, 0x88F),
    (0xC5C, 0xC5C),
    (0xCDC, 0xCDC),
    (0x1ACF, 0x1ADD),
    (0x1AE0, 0x1AEB),
    (0xA7CE, 0xA7CF),
    (0xA7D2, 0xA7D2),
    (0xA7D4, 0xA7D4),
    (0xA7F1, 0xA7F1),
    (0x10940, 0x10959),
    (0x10EC5, 0x10EC7),
    (0x10EFA, 0x10EFB),
    (0x11B60, 0x11B67),
    (0x11DB0, 0x11DDB),
    (0x11DE0, 0x11DE9),
    (0x16EA0, 0x16EB8),
    (0x16EBB, 0x16ED3),
    (0x16FF2, 0x16FF6),
    (0x187F8, 0x187FF),
    (0x18D09, 0x18D1E),
    (0x18D80, 0x18DF2),
    (0x1E6C0, 0x1E6DE),
    (0x1E6E0, 0x1E6F5),
    (0x1E6FE, 0x1E6FF),
    (0x2B73A, 0x2B73F),
    (0x2CEA2, 0x2CEAD),
    (0x323B0, 0x33479),
)
"""Code points that Unicode 17 added and that any of the patterns treats as a letter, digit or mark, as ranges.
`tests/new_code_points.py` derives them by comparing both libraries over every code point."""


@dataclass(slots=True)
class Encoder:
    """Encodes blocks; may be called from several threads. ``used`` counts the blocks that each backend encoded.

    Only the end-of-text string can become a special id, and only with ``special="allow"`` or at the seams of a batch;
    all others stay text, which is what the reference's ``allowed_special={"<|endoftext|>"}`` does. ``expected_bytes``
    is how much is to come, as far as that is known; ``auto`` takes the backend that will be done sooner. Of ``jobs``
    threads, all but one encode with gigatoken: writing and hashing what it yields keeps a core busy.
    """

    vocabulary: Vocabulary
    special: str = "allow"
    backend: BackendName = "auto"
    expected_bytes: int = 0
    jobs: int = 1
    used: Counter[str] = field(default_factory=Counter)
    _seen_bytes: int = 0
    _tiktoken: Callable[[str, bool], Ids] = field(init=False, repr=False)
    _gigatoken: _Gigatoken | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        self._tiktoken = _tiktoken(self.vocabulary)
        if self.backend == "gigatoken" and not has_gigatoken():
            raise UsageError("--backend gigatoken: needs an extra: pip install 'llmprep[fast]'")
        if self.backend != "tiktoken" and self.vocabulary.name in SCHEMES and has_gigatoken():
            self._gigatoken = _Gigatoken(self.vocabulary, most=max(1, self.jobs - 1))

    def encode(self, block: Block) -> Ids:
        """Return the ids of one block, (n,) uint32. Raises `DataError` for what tiktoken cannot encode."""
        require_memory(SPARE_BYTES + SPARE_PER_BYTE * len(block.data))
        special = block.seams > 0 or self.special == "allow"
        self._seen_bytes += len(block.data)
        large = max(self.expected_bytes, self._seen_bytes) >= LARGE_BYTES
        if self._gigatoken and (large or self.backend == "gigatoken") and not has_new_code_point(block.data):
            ids = self._gigatoken.encode(block.data, special=special)
            self._compare(block, ids, special=special)
            self.used["gigatoken"] += 1
            return ids
        return self._encode_exactly(block, special=special)

    def _encode_exactly(self, block: Block, *, special: bool) -> Ids:
        try:
            ids = self._tiktoken(block.text, special)
        except ValueError as error:
            if self._gigatoken and not has_new_code_point(block.data):
                self.used["gigatoken"] += 1
                return self._gigatoken.encode(block.data, special=special)
            raise DataError(
                f"{block.source.path}: tiktoken cannot encode the {len(block.raw or block.data)} bytes from "
                f"{block.where} on ({str(error)[:80]}); a run of about 1,000,000 white-space characters is too long "
                f"for it: shorten it, or install the extra: pip install 'llmprep[fast]'"
            ) from error
        self.used["tiktoken"] += 1
        return ids

    def _compare(self, block: Block, ids: Ids, *, special: bool) -> None:
        """Encode some blocks, chosen by their place, with tiktoken too: a small one whole, else its start."""
        if zlib.crc32(f"{block.source.name} {block.where}".encode()) % SAMPLE_EVERY and self.used["gigatoken"]:
            return
        whole = len(block.data) <= SAMPLE_BYTES
        head = block.data[:SAMPLE_BYTES]
        part = block.data if whole else head[: last_safe_cut(head) or last_safe_cut(head, SECOND_CUT)]
        expected = self._tiktoken(part.decode(), special)
        if not np.array_equal(expected, ids if whole else ids[: len(expected)]):
            raise BackendsDifferError(
                f"{block.source.path}: gigatoken and tiktoken differ in the {len(part)} bytes from {block.where} on; "
                f"use --backend tiktoken, and please report this"
            )


def has_gigatoken() -> bool:
    """Tell whether the ``fast`` extra is installed."""
    return importlib.util.find_spec("gigatoken") is not None


def has_new_code_point(data: bytes) -> bool:
    """Tell whether UTF-8 text holds one of `NEW_CODE_POINTS`, which the backends treat differently."""
    return not data.isascii() and _may_have_new(data) and _NEW.search(data.decode()) is not None


_NEW = re.compile("[" + "".join(f"{chr(low)}-{chr(high)}" for low, high in NEW_CODE_POINTS) + "]")


def _may_have_new(data: bytes) -> bool:
    """Tell whether any character begins with the same two bytes as a new one: quick to rule out."""
    values = np.frombuffer(data, np.uint8)
    return any(
        _NEW_BEGINNINGS[lead, values[np.flatnonzero(values == lead) + 1]].any() for lead in _NEW_LEADS if lead in data
    )


def _beginnings() -> npt.NDArray[np.bool_]:
    """Whether a new code point begins with two bytes, as a table of the first and the second."""
    found = np.zeros((256, 256), np.bool_)
    for low, high in NEW_CODE_POINTS:
        for code in range(low, high + 1):
            found[*chr(code).encode()[:2]] = True
    return found


_NEW_BEGINNINGS = _beginnings()
_NEW_LEADS = np.flatnonzero(_NEW_BEGINNINGS.any(axis=1)).tolist()


def _tiktoken(vocabulary: Vocabulary) -> Callable[[str, bool], Ids]:
    from tiktoken import Encoding

    encoding = Encoding(
        vocabulary.name,
        pat_str=vocabulary.pattern,
        mergeable_ranks=vocabulary.ranks,
        special_tokens=vocabulary.special_tokens,
    )
    allowed = {True: {END_OF_TEXT}, False: set[str]()}
    return lambda text, special: encoding.encode_to_numpy(text, allowed_special=allowed[special], disallowed_special=())


class _Gigatoken:
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

    def encode(self, data: bytes, *, special: bool) -> Ids:
        with self._turn:
            return self._encode(data, special=special)

    def _encode(self, data: bytes, *, special: bool) -> Ids:
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
        ids: Ids = rows[0, : lengths[0]]
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


def require_memory(n_bytes: int) -> None:
    """Raise `MemoryError` if a limit leaves less than this: the backends do not raise, they abort the process."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        return
    try:
        mmap.mmap(-1, n_bytes).close()
    except OSError as error:
        raise MemoryError from error


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

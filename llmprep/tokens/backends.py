"""Blocks of text -> ids, by three backends that give one answer.

tiktoken is the definition. gigatoken gives the same ids many times faster, but carries a newer Unicode table: it
differs where a text holds a code point that Unicode 17 added, and blocks with one go to tiktoken. fastokens is faster
still on Chinese and Japanese, once it is loaded, and knows fewer encodings. A small sample of what the two encode is
encoded again by tiktoken, and a difference ends the run.
"""

from __future__ import annotations

import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from llmprep.choices import BackendName, Special
from llmprep.documents.blocks import SECOND_CUT, Block, find_safe_cut, last_safe_cut
from llmprep.errors import BackendsDifferError, DataError, UsageError
from llmprep.tokens.fastokens import ENCODINGS, Fastokens, has_fastokens, is_exact, is_mostly_chinese
from llmprep.tokens.gigatoken import SCHEMES, Gigatoken, has_gigatoken
from llmprep.tokens.memory import require_memory
from llmprep.tokens.unicode17 import find_new_code_points, has_new_code_point
from llmprep.vocabulary.vocabulary import END_OF_TEXT, Vocabulary

if TYPE_CHECKING:
    from tiktoken import Encoding

Ids: TypeAlias = npt.NDArray[np.uint32]
LARGE_BYTES = 4 << 20
"""The size from which on gigatoken, which takes longer to start, finishes first."""
CHINESE_BYTES = {"cl100k_base": 20 << 20}
"""The size from which on fastokens, which takes longest to start, finishes a Chinese text first, by encoding. With
o200k_base it takes some 300 MB of memory, and so is used only where it is asked for."""
SAMPLE_EVERY = 16
"""One block in this many, on average, is encoded by both backends."""
SAMPLE_BYTES = 4096
"""How much of such a block is compared."""
SPARE_BYTES = 64 << 20
SPARE_PER_BYTE = 52
"""The most memory that encoding takes, measured: a fixed part, and a part for each byte of a text without a cut."""
NEAR_BYTES = 4096
"""How much text between two new code points is left to tiktoken too: going back and forth costs more."""
ALLOWED = {True: {END_OF_TEXT}, False: set[str]()}


@dataclass(slots=True)
class Encoder:
    """Encodes blocks; may be called from several threads. ``used`` counts the blocks that each backend encoded.

    Only the end-of-text string can become a special id, and only with ``special="allow"`` or at the seams of a batch;
    all others stay text, which is what the reference's ``allowed_special={"<|endoftext|>"}`` does. ``expected_bytes``
    is how much is to come, as far as that is known; ``auto`` takes the backend that will finish first, fastokens if the
    first block is Chinese or Japanese. Of the threads that call it, ``n_tokenizers`` encode at the same time with a
    fast one. Raises `UsageError` if a backend is asked for and not installed.
    """

    vocabulary: Vocabulary
    special: Special = "allow"
    backend: BackendName = "auto"
    expected_bytes: int = 0
    n_tokenizers: int = 1
    used: Counter[str] = field(default_factory=Counter)
    _seen_bytes: int = 0
    _tiktoken: Encoding = field(init=False, repr=False)
    _gigatoken: Gigatoken | None = field(init=False, repr=False, default=None)
    _fastokens: Fastokens | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        installed = {"gigatoken": has_gigatoken, "fastokens": has_fastokens}.get(self.backend)
        if installed and not installed():
            raise UsageError(f"--backend {self.backend}: needs an extra: pip install 'llmprep[fast]'")
        self._tiktoken = tiktoken_encoding(self.vocabulary)
        if may_use_fastokens(self.vocabulary.name, self.backend, self.expected_bytes):
            self._fastokens = Fastokens(self.vocabulary, self.n_tokenizers)
        if self.backend in ("auto", "gigatoken") and self.vocabulary.name in SCHEMES and has_gigatoken():
            self._gigatoken = Gigatoken(self.vocabulary, self.n_tokenizers)

    def encode(self, block: Block) -> Ids:
        """Return the ids of one block, (n,) uint32. Raises `DataError` for what tiktoken cannot encode."""
        require_memory(SPARE_BYTES + SPARE_PER_BYTE * len(block.data))
        special = block.seams > 0 or self.special == "allow"
        if self.backend == "auto" and not self._seen_bytes and not is_mostly_chinese(block.data):
            self._fastokens = None
        self._seen_bytes += len(block.data)
        fastokens = self._fastokens  # another thread may take it away
        if fastokens and is_exact(block.data):
            ids = fastokens.encode(block.data, special=special)
            self._compare(block, ids, "fastokens", special=special)
            self.used["fastokens"] += 1
            return ids
        large = max(self.expected_bytes, self._seen_bytes) >= LARGE_BYTES
        if not self._gigatoken or not (large or self.backend == "gigatoken"):
            return self._encode_exactly(block, special=special)
        parts = [*split_at_new(block.data)]
        if all(new for _, new in parts):
            return self._encode_exactly(block, special=special)
        try:
            encoded = [self._by_either(part, new=new, special=special) for part, new in parts]
        except ValueError:
            return self._encode_exactly(block, special=special)  # which says what is wrong
        ids = encoded[0] if len(encoded) == 1 else np.concatenate(encoded)
        self._compare(block, ids, "gigatoken", special=special)
        self.used["gigatoken"] += 1
        if len(parts) > 1:
            self.used["tiktoken"] += 1
        return ids

    def _by_either(self, data: bytes, *, new: bool, special: bool) -> Ids:
        if new or self._gigatoken is None:
            return self._by_tiktoken(data.decode(), special=special)
        return self._gigatoken.encode(data, special=special)

    def _by_tiktoken(self, text: str, *, special: bool) -> Ids:
        return self._tiktoken.encode_to_numpy(text, allowed_special=ALLOWED[special], disallowed_special=())

    def _encode_exactly(self, block: Block, *, special: bool) -> Ids:
        try:
            ids = self._by_tiktoken(block.text, special=special)
        except ValueError as error:
            if self._gigatoken and not has_new_code_point(block.data):
                self.used["gigatoken"] += 1
                return self._gigatoken.encode(block.data, special=special)
            raise DataError(
                f"{block.counts.source.path}: tiktoken cannot encode the {len(block.raw or block.data)} bytes from "
                f"{block.where} on ({str(error)[:80]}); a run of about 1,000,000 white-space characters is too long "
                f"for it: shorten it, or install the extra: pip install 'llmprep[fast]'"
            ) from error
        self.used["tiktoken"] += 1
        return ids

    def _compare(self, block: Block, ids: Ids, backend: str, *, special: bool) -> None:
        """Encode the first block, and others chosen by their place, with tiktoken too: a small one whole, or its start.

        Raises `BackendsDifferError`.
        """
        if zlib.crc32(f"{block.counts.source.name} {block.where}".encode()) % SAMPLE_EVERY and self.used[backend]:
            return
        whole = len(block.data) <= SAMPLE_BYTES
        head = block.data[:SAMPLE_BYTES]
        part = block.data if whole else head[: last_safe_cut(head) or last_safe_cut(head, SECOND_CUT)]
        expected = self._by_tiktoken(part.decode(), special=special)
        if not np.array_equal(expected, ids if whole else ids[: len(expected)]):
            raise BackendsDifferError(
                f"{block.counts.source.path}: {backend} and tiktoken differ in the {len(part)} bytes from "
                f"{block.where} on; use --backend tiktoken, and please report this"
            )


def may_use_fastokens(encoding: str, backend: BackendName, expected_bytes: int) -> bool:
    """Tell whether fastokens encodes what suits it, with an encoding, of a text of so many bytes."""
    if backend == "auto" and expected_bytes < CHINESE_BYTES.get(encoding, sys.maxsize):
        return False
    return backend in ("auto", "fastokens") and encoding in ENCODINGS and has_fastokens()


def split_at_new(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield the parts of UTF-8 text, each with whether it holds a new code point, and so is for tiktoken.

    Such a part reaches from the safe cut before to the one after, and over what comes soon after.
    """
    spans: list[list[int]] = []
    for place in find_new_code_points(data):
        before = spans[-1][1] if spans else 0
        if not spans or place >= before + NEAR_BYTES:
            spans.append([before + last_safe_cut(data[before:place]), before])
        if place >= spans[-1][1]:
            spans[-1][1] = find_safe_cut(data, place) or len(data)
    if not spans:
        yield data, False
        return
    for (start, end), before in zip(spans, [0, *(end for _, end in spans)], strict=False):
        if start > before:
            yield data[before:start], False
        yield data[start:end], True
    if spans[-1][1] < len(data):
        yield data[spans[-1][1] :], False


MAX_ENCODINGS = 4
_encodings: dict[tuple[str, str], Encoding] = {}
"""The encodings that this process has built last, by the name and the sha256 of the vocabulary, oldest first."""


def tiktoken_encoding(vocabulary: Vocabulary) -> Encoding:
    """Return tiktoken's encoding of a vocabulary, built once a process: that takes about 40 ms."""
    from tiktoken import Encoding

    key = vocabulary.name, vocabulary.sha256
    encoding = _encodings.get(key)
    if encoding is None:
        encoding = Encoding(
            vocabulary.name,
            pat_str=vocabulary.pattern,
            mergeable_ranks=vocabulary.ranks,
            special_tokens=vocabulary.special_tokens,
        )
        if len(_encodings) >= MAX_ENCODINGS:
            _encodings.pop(next(iter(_encodings)), None)
        _encodings[key] = encoding
    return encoding

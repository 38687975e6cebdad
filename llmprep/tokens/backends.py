"""Blocks of text -> ids, by backends that give one answer.

A vocabulary says who defines its ids: tiktoken, or for a ``tokenizer.json`` the tokenizers library. gigatoken gives the
same ids many times faster, but carries a newer Unicode table: it differs where a text holds a code point that Unicode
17 added, and blocks with one go elsewhere. fastokens is faster still on Chinese and Japanese, once it is loaded, and
knows fewer encodings. A small sample of what a fast one encodes is encoded again by the definition, and a difference
ends the run.
"""

from __future__ import annotations

import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from llmprep.choices import BackendName, Special
from llmprep.documents.blocks import Block
from llmprep.documents.cuts import Cuts, last_safe_cut
from llmprep.errors import BackendsDifferError, DataError, UsageError
from llmprep.tokens.cutting import cuts_of
from llmprep.tokens.fastokens import ENCODINGS, Fastokens, has_fastokens, is_exact, is_mostly_chinese
from llmprep.tokens.gigatoken import Gigatoken, has_gigatoken, scheme_of
from llmprep.tokens.huggingface import Defined
from llmprep.tokens.memory import require_memory
from llmprep.tokens.tiktoken import Ids, Tiktoken
from llmprep.tokens.tokenizers import has_tokenizers
from llmprep.tokens.unicode17 import Ranges, has_new_code_point, split_at_new
from llmprep.vocabulary.vocabulary import ENCODING_KIND, Vocabulary

LARGE_BYTES = 4 << 20
"""The size from which on gigatoken, which takes longer to start, finishes first."""
CHINESE_BYTES = {"cl100k_base": 20 << 20}
"""The size from which on fastokens, which takes longest to start, finishes a Chinese text first, by encoding. With
o200k_base it takes some 300 MB of memory, and so is used only where it is asked for."""
DEFINED_BYTES = 1 << 19
"""The size from which on proving that others give the ids of a ``tokenizer.json``, and loading one, takes less time
than they save."""
SAMPLE_EVERY = 16
"""One block in this many, on average, is encoded by both backends."""
SAMPLE_BYTES = 4096
"""How much of such a block is compared."""
SPARE_BYTES = 64 << 20
SPARE_PER_BYTE = 52
"""The most memory that encoding takes, measured: a fixed part, and a part for each byte of a text without a cut."""


@dataclass(slots=True)
class Encoder:
    """Encodes blocks; may be called from several threads. ``used`` counts the blocks that each backend encoded.

    Only the end-of-text string can become a special id, and only with ``special="allow"`` or at the seams of a batch;
    all others stay text, which is what the reference's ``allowed_special={"<|endoftext|>"}`` does. What becomes of them
    with a ``tokenizer.json`` is for its definition to say. ``expected_bytes`` is how much is to come, as far as that is
    known; ``auto`` takes the backend that will finish first, fastokens if the first block is Chinese or Japanese. Of
    the threads that call it, ``n_tokenizers`` encode at the same time with a fast one. Raises `UsageError` if a backend
    is asked for and not installed, or cannot encode with this vocabulary.
    """

    vocabulary: Vocabulary
    special: Special = "allow"
    backend: BackendName = "auto"
    expected_bytes: int = 0
    n_tokenizers: int = 1
    used: Counter[str] = field(default_factory=Counter)
    _seen_bytes: int = 0
    _turn: Lock = field(init=False, repr=False, default_factory=Lock)
    _is_fast: bool = field(init=False, repr=False, default=False)
    _cuts: Cuts = field(init=False, repr=False)
    _defined: Defined | None = field(init=False, repr=False, default=None)
    _tiktoken: Tiktoken | None = field(init=False, repr=False, default=None)
    _gigatoken: Gigatoken | None = field(init=False, repr=False, default=None)
    _fastokens: Fastokens | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        vocabulary = self.vocabulary
        _require(self.backend, vocabulary)
        self._cuts = cuts_of(vocabulary)
        if may_use_fastokens(vocabulary, self.backend, self.expected_bytes):
            self._fastokens = Fastokens(vocabulary, self.n_tokenizers)
        if vocabulary.hf is None:
            self._make_others()
        else:
            self._defined = Defined(vocabulary, self.special)

    def _make_others(self) -> None:
        """Make the backends that encode beside the definition of a ``tokenizer.json``, once they are needed."""
        with self._turn:
            vocabulary = self.vocabulary
            if not self._is_fast and vocabulary.is_for_tiktoken:
                self._tiktoken = Tiktoken(vocabulary)
            wanted = self.backend in ("auto", "gigatoken") and has_gigatoken()
            if not self._is_fast and wanted and scheme_of(vocabulary):
                self._gigatoken = Gigatoken(vocabulary, self.n_tokenizers)
            self._is_fast = True

    def is_by_definition(self) -> bool:
        """Tell whether a ``tokenizer.json`` is encoded by its definition: it was asked for, or finishes first."""
        defined = self._defined
        if defined is None or self.backend == "tokenizers":
            return defined is not None
        small = max(self.expected_bytes, self._seen_bytes) < DEFINED_BYTES
        if self.backend == "auto" and small and defined.is_defining:
            return True
        self._make_others()
        return self._tiktoken is None and self._gigatoken is None

    def encode_each(self, blocks: Sequence[Block]) -> list[Ids]:
        """Return the ids of each block, as `encode` does: small ones of a library whose calls cost much in one call."""
        if len(blocks) == 1 or self._defined is None or not self.is_by_definition():
            return [*map(self.encode, blocks)]
        n_bytes = sum(len(block.data) for block in blocks)
        require_memory(SPARE_BYTES + SPARE_PER_BYTE * n_bytes)
        self._seen_bytes += n_bytes
        self.used["tokenizers"] += len(blocks)
        return self._defined.encode_each(blocks)

    def encode(self, block: Block) -> Ids:
        """Return the ids of one block, (n,) uint32. Raises `DataError` for what cannot be encoded."""
        require_memory(SPARE_BYTES + SPARE_PER_BYTE * len(block.data))
        if self.backend == "auto" and not self._seen_bytes and not is_mostly_chinese(block.data):
            self._fastokens = None
        self._seen_bytes += len(block.data)
        if self._defined is None:
            ids, backend = self._encode_plain(block, block.data, special=self._takes_end(block))
        else:
            ids, backend = self._encode_defined(self._defined, block)
        self._compare(block, ids, backend)
        self.used[backend] += 1
        return ids

    def _encode_defined(self, defined: Defined, block: Block) -> tuple[Ids, str]:
        """Encode with a ``tokenizer.json``: its added tokens are found first, and what is between them is normalised.

        What other libraries cannot encode exactly goes to the one that defines it.
        """
        parts = None if self.is_by_definition() else defined.parts(block)
        if parts is None:
            return defined.encode(block), "tokenizers"
        encoded: list[Ids] = []
        backend = "tiktoken" if self._tiktoken else "gigatoken"
        for part in parts:
            if isinstance(part, int):
                encoded.append(np.array([part], np.uint32))
                continue
            ids, backend = self._encode_plain(block, part, special=block.seams > 0)
            encoded.append(ids)
        ids = encoded[0] if len(encoded) == 1 else np.concatenate([np.empty(0, np.uint32), *encoded])
        if not block.seams and defined.is_forged(ids):
            return defined.encode(block), "tokenizers"  # which says what is wrong
        return ids, backend

    def _encode_plain(self, block: Block, data: bytes, *, special: bool) -> tuple[Ids, str]:
        """Return the ids of some text of a block, in which no token but the end-of-text string is looked for."""
        fastokens = self._fastokens  # another thread may take it away
        if fastokens and is_exact(data):
            return fastokens.encode(data, special=special), "fastokens"
        large = max(self.expected_bytes, self._seen_bytes) >= LARGE_BYTES
        must = self.backend == "gigatoken" or self._tiktoken is None
        if not self._gigatoken or not (large or must):
            return self._encode_exactly(block, data, special=special)
        if self._defined is not None:
            self._defined.load()  # now: what memory grows by later counts as gigatoken's
        parts = (
            [*split_at_new(data, self._newer)]
            if self._cuts.allowed
            else [(data, has_new_code_point(data, self._newer))]
        )
        if all(new for _, new in parts):
            return self._encode_exactly(block, data, special=special)
        try:
            encoded = [self._by_either(block, part, new=new, special=special) for part, new in parts]
        except ValueError:
            return self._encode_exactly(block, data, special=special)  # which says what is wrong
        if len(parts) > 1:
            self.used[self._exact_name] += 1
        return encoded[0] if len(encoded) == 1 else np.concatenate(encoded), "gigatoken"

    def _takes_end(self, block: Block) -> bool:
        """Whether the end-of-text string in a block becomes its id."""
        return block.seams > 0 or self.special == "allow"

    @property
    def _newer(self) -> Ranges:
        """Code points beside those of Unicode 17 on which gigatoken differs with this pattern."""
        return self.vocabulary.known.newer if self.vocabulary.known else ()

    @property
    def _exact_name(self) -> str:
        return "tiktoken" if self._tiktoken else "tokenizers"

    def _by_either(self, block: Block, data: bytes, *, new: bool, special: bool) -> Ids:
        if new or self._gigatoken is None:
            return self._by_exact(block, data, special=special)
        return self._gigatoken.encode(data, special=special)

    def _by_exact(self, block: Block, data: bytes, *, special: bool) -> Ids:
        """Encode with tiktoken, or where the pattern is more than one, with the definition."""
        if self._tiktoken is None and self._defined is not None:
            return self._defined.encode_plain(block, data, special=special)
        assert self._tiktoken is not None  # noqa: S101 - a vocabulary has a pattern, or is defined by a file
        return self._tiktoken.encode(data, special=special)

    def _encode_exactly(self, block: Block, data: bytes, *, special: bool) -> tuple[Ids, str]:
        try:
            return self._by_exact(block, data, special=special), self._exact_name
        except ValueError as error:
            if self._gigatoken and not has_new_code_point(data, self._newer):
                return self._gigatoken.encode(data, special=special), "gigatoken"
            raise DataError(
                f"{block.counts.source.path}: {self._exact_name} cannot encode the {len(block.raw or block.data)} "
                f"bytes from {block.where} on ({str(error)[:80]}); {self._advice()}"
            ) from error

    def _advice(self) -> str:
        if self.vocabulary.known is None:
            return "see --pattern"
        return (
            "a run of about 1,000,000 white-space characters is too long for it: shorten it, or install the extra: "
            "pip install 'llmprep[fast]'"
        )

    def _compare(self, block: Block, ids: Ids, backend: str) -> None:
        """Encode the first block, and others chosen by their place, as defined: a small one whole, or its start.

        Raises `BackendsDifferError`.
        """
        definition = self.vocabulary.definition
        if backend == definition or (self._defined is not None and not self._defined.may_compare(block.data)):
            return
        if zlib.crc32(f"{block.counts.source.name} {block.where}".encode()) % SAMPLE_EVERY and self.used[backend]:
            return
        whole = len(block.data) <= SAMPLE_BYTES
        head = block.data[:SAMPLE_BYTES]
        if not whole and not self._cuts.allowed:
            return
        part = block.data if whole else head[: last_safe_cut(head) or last_safe_cut(head, self._cuts.second)]
        if self._defined is None:
            expected = self._by_exact(block, part, special=self._takes_end(block))
        elif whole or self._defined.may_cut(block):
            expected = self._defined.encode_part(block, part)
        else:
            return
        if not np.array_equal(expected, ids if whole else ids[: len(expected)]):
            raise BackendsDifferError(
                f"{block.counts.source.path}: {backend} and {definition} differ in the {len(part)} bytes from "
                f"{block.where} on; use --backend {definition}, and please report this"
            )


def _require(backend: BackendName, vocabulary: Vocabulary) -> None:
    """Raise `UsageError` if a backend is asked for that is not installed, or that cannot encode with a vocabulary."""
    if backend == "tokenizers" and vocabulary.hf is None:
        raise UsageError(f"--backend tokenizers: {vocabulary.name} is defined by tiktoken; leave it out")
    installed = {"gigatoken": has_gigatoken, "fastokens": has_fastokens, "tokenizers": has_tokenizers}.get(backend)
    if installed and not installed():
        extra = "hf" if backend == "tokenizers" else "fast"
        raise UsageError(f"--backend {backend}: needs an extra: pip install 'llmprep[{extra}]'")
    if vocabulary.hf is not None and backend not in ("auto", "tokenizers"):
        several = "it has several patterns" if backend == "tiktoken" and vocabulary.pattern is None else ""
        if only := vocabulary.hf.obstacle or several:
            raise UsageError(f"--backend {backend}: cannot encode exactly with {vocabulary.name}: {only}")
    unknown = (backend == "gigatoken" and scheme_of(vocabulary) is None) or (
        backend == "fastokens" and not may_use_fastokens(vocabulary, backend, 0)
    )
    if unknown:
        raise UsageError(f"--backend {backend}: does not know the pattern of {vocabulary.name}; leave it out")


def has_others(vocabulary: Vocabulary, backend: BackendName) -> bool:
    """Tell whether another library than the definition encodes much text with a ``tokenizer.json``."""
    fast = backend in ("auto", "gigatoken") and has_gigatoken()
    return backend != "tokenizers" and (vocabulary.is_for_tiktoken or (fast and scheme_of(vocabulary) is not None))


def may_use_fastokens(vocabulary: Vocabulary, backend: BackendName, expected_bytes: int) -> bool:
    """Tell whether fastokens encodes what suits it, with a vocabulary, of a text of so many bytes."""
    if vocabulary.kind != ENCODING_KIND or vocabulary.name not in ENCODINGS:
        return False
    if backend == "auto" and expected_bytes < CHINESE_BYTES.get(vocabulary.name, sys.maxsize):
        return False
    return backend in ("auto", "fastokens") and has_fastokens()

"""What a vocabulary is: what every kind of file that describes one is read into."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from llmprep.errors import UsageError
from llmprep.vocabulary.embedded import is_embedded
from llmprep.vocabulary.ranks import Ranks, write_ranks
from llmprep.vocabulary.stated import AddedToken

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from llmprep.vocabulary.patterns import KnownPattern

END_OF_TEXT = "<|endoftext|>"
"""The end-of-text token of tiktoken's encodings."""


class Proof:
    """The ranks with which other libraries give the ids of a ``tokenizer.json``, or the ``obstacle``: then none.

    ``work`` returns both. It takes about a second, and so is called when either is first asked for: a small text is
    encoded sooner by the library that defines its ids, which needs no proof.
    """

    def __init__(self, work: Callable[[], tuple[Ranks, str]]) -> None:
        self._work = work

    @functools.cached_property
    def _worked_out(self) -> tuple[Ranks, str]:
        return self._work()

    @property
    def ranks(self) -> Ranks:
        """The ranks; empty where there is an obstacle."""
        return self._worked_out[0]

    @property
    def obstacle(self) -> str:
        """Why no other library can encode; empty where one can."""
        return self._worked_out[1]


@dataclass(frozen=True, slots=True)
class HuggingFace:
    """What a ``tokenizer.json`` defines beside ranks: its definition is the ``tokenizers`` library with ``canonical``.

    ``canonical`` is the file without what does not belong to a token stream. ``added`` tokens are found in the text
    before anything else, then each part between them is normalised by ``normalizer`` ("" is none). ``tokens`` are the
    bytes of every id. ``end_is_entry``: the end-of-text token is an entry of the model as well, so that what becomes of
    a text when it is normalised may have its id. ``unknown_id`` stands for text that has no entry, where there may be
    some.
    """

    canonical: str = field(repr=False)
    added: tuple[AddedToken, ...] = field(repr=False)
    normalizer: str
    tokens: Mapping[int, bytes] = field(repr=False)
    proof: Proof = field(repr=False, compare=False, default_factory=lambda: Proof(lambda: ({}, "")))
    end_is_entry: bool = False
    unknown_id: int | None = None

    @property
    def obstacle(self) -> str:
        """Why no other library can encode with it; empty where one can."""
        return self.proof.obstacle


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A vocabulary: ``n_vocab`` is the largest id plus one, ``fingerprint`` tells it from every other.

    ``pattern`` cuts a text into the pieces within which bytes are merged by ``ranks``; it is None where there is no one
    such pattern. ``known`` is the entry of that pattern, or of several, among the known ones. ``sha256`` is of
    the ranks as tiktoken writes them, or else of the canonical ``tokenizer.json``. ``end_of_text`` is None where there
    is no special token at all. ``all_made``: it is known that merging makes every rank; others are found only where
    they are a whole piece.

    ``rank_file`` is the content as it was verified: whoever may write where it lies cannot change it any more.
    """

    name: str
    kind: str
    pattern: str | None = field(repr=False)
    stated_ranks: Ranks = field(repr=False)
    special_tokens: dict[str, int] = field(repr=False)
    sha256: str = field(repr=False)
    n_vocab: int
    rank_file: bytes = field(repr=False)
    fingerprint: str
    end_of_text: str | None = END_OF_TEXT
    known: KnownPattern | None = field(default=None, repr=False)
    all_made: bool = field(default=False, repr=False)
    hf: HuggingFace | None = field(default=None, repr=False)

    @property
    def ranks(self) -> Ranks:
        """Token -> id, as tiktoken merges; empty where only the tokenizers library can encode."""
        return self.stated_ranks if self.hf is None else self.hf.proof.ranks

    @property
    def is_for_tiktoken(self) -> bool:
        """Whether tiktoken gives its ids: it has one pattern, and ranks."""
        return self.pattern is not None and bool(self.ranks)

    @property
    def is_embedded(self) -> bool:
        """Whether every installation of llmprep has it."""
        return self.kind == ENCODING_KIND and is_embedded(self.sha256)

    @property
    def definition(self) -> str:
        """The library whose ids are the right ones."""
        return "tiktoken" if self.hf is None else "tokenizers"

    @property
    def eot_id(self) -> int | None:
        """The id of the end-of-text token, None where the vocabulary has no special token."""
        return None if self.end_of_text is None else self.special_tokens[self.end_of_text]

    @property
    def unknown_id(self) -> int | None:
        """The id that stands for text which the vocabulary does not have; None where it has all, or no such token."""
        return None if self.hf is None else self.hf.unknown_id

    def require_eot(self, why: str) -> int:
        """Return the id of the end-of-text token. Raises `UsageError` where there is none."""
        if self.eot_id is None:
            named = "; or name those that it goes with by --special-tokens FILE" if self.kind == "rank file" else ""
            raise UsageError(f"{self.name}: has no special token, and so none that ends a text: {why}{named}")
        return self.eot_id

    @property
    def may_cut(self) -> bool:
        """Whether a text may be cut at a safe cut: that is proven for known patterns only."""
        return self.known is not None and self.known.may_cut

    @property
    def loses(self) -> Literal["nothing", "form", "text"]:
        """What its ids do not tell of the text that they are of: its normal form, or parts of the text itself."""
        if self.hf is None:
            return "nothing"
        return "text" if self.hf.obstacle else "form" if self.hf.normalizer else "nothing"

    def token_table(self) -> dict[int, bytes]:
        """Return the bytes of every id, special tokens included."""
        if self.hf is not None:
            return dict(self.hf.tokens)
        table = {rank: token for token, rank in self.ranks.items()}
        table.update({rank: token.encode() for token, rank in self.special_tokens.items()})
        return table

    @property
    def token_bytes(self) -> npt.NDArray[np.int32]:
        """How many bytes of text each id stands for, (n_vocab,) int32; 0 for special tokens and unused ids.

        Divided into a loss in bits, their sum over the targets gives bits per byte.

        >>> from llmprep import load_vocabulary
        >>> load_vocabulary("gpt2").token_bytes[[464, 220, 50256]].tolist()
        [3, 1, 0]
        """
        import numpy as np

        counts = np.zeros(self.n_vocab, np.int32)
        for number, token in self.token_table().items():
            counts[number] = len(token)
        counts[[*self.special_tokens.values()]] = 0
        return counts

    def rank_lines(self) -> bytes:
        """Return the ranks as tiktoken writes them, one ``base64(token) rank`` a line."""
        return self.rank_file or write_ranks(self.ranks)


ENCODING_KIND = "encoding of tiktoken"

"""What a vocabulary is: what every kind of file that describes one is read into."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmprep.vocabulary.embedded import is_embedded
from llmprep.vocabulary.ranks import Ranks

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A byte-pair vocabulary. ``sha256`` is of its rank file; ``n_vocab`` is the largest id plus one.

    ``rank_file`` is that file's content as it was verified: whoever may write where it lies cannot change it any more.
    """

    name: str
    pattern: str
    ranks: Ranks
    special_tokens: dict[str, int]
    sha256: str
    n_vocab: int
    rank_file: bytes = field(repr=False)

    @property
    def is_embedded(self) -> bool:
        """Whether every installation of llmprep has it."""
        return is_embedded(self.sha256)

    @property
    def eot_id(self) -> int:
        """The id of the end-of-text token."""
        return self.special_tokens[END_OF_TEXT]

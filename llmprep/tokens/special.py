"""A block of text -> how many end-of-text strings stand in it, or an error for any special token."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from llmprep.choices import Special
from llmprep.documents.blocks import Block
from llmprep.errors import DataError
from llmprep.vocabulary.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Specials:
    """What is looked for in texts, in UTF-8: any special token of a vocabulary, and the one that ends a text."""

    pattern: re.Pattern[bytes]
    end_of_text: bytes | None
    eot_id: int | None = None
    """Set for a ``tokenizer.json``, whose end-of-text token may be made of other text than its own, as of full-width
    letters."""

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Self:
        """Return what is to be found for a vocabulary; of two that begin in one place, the longer one."""
        tokens = sorted(map(str.encode, vocabulary.special_tokens), key=len, reverse=True)
        end_of_text = vocabulary.end_of_text
        pattern = re.compile(b"|".join(map(re.escape, tokens)) if tokens else rb"(?!)")
        forged = None if vocabulary.hf is None else vocabulary.eot_id
        return cls(pattern, None if end_of_text is None else end_of_text.encode(), forged)


def count_special(block: Block, specials: Specials, special: Special, ids: npt.NDArray[np.uint32]) -> int:
    """Return how many end-of-text strings the texts of a block hold; those that join its documents do not count.

    ``ids`` are the block's (n,), in which there may be more of them than were spelled out.

    With ``special="error"``, raise `DataError` for the first special token in them, with its place.
    """
    if block.seams:
        return 0  # documents that hold one are not joined
    found = specials.pattern.search(block.data) if special == "error" else None
    if found:
        token = found.group()
        place = block.raw.find(token)  # -1 where a line end in it was another one
        where = block.place or (f"byte {block.offset + place}" if place >= 0 else block.where)
        raise DataError(
            f"{block.counts.source.path}: special token {token.decode()} in the text at {where}; "
            f"--special allow takes it as its id, --special text as plain text"
        )
    spelled = 0 if specials.end_of_text is None else block.data.count(specials.end_of_text)
    return spelled if specials.eot_id is None else max(spelled, int((ids == specials.eot_id).sum()))

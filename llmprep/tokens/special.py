"""A block of text -> how many end-of-text strings stand in it, or an error for any special token."""

from __future__ import annotations

import re

from llmprep.choices import Special
from llmprep.documents.blocks import Block
from llmprep.errors import DataError
from llmprep.vocabulary.vocabulary import END_OF_TEXT, Vocabulary


def special_pattern(vocabulary: Vocabulary) -> re.Pattern[bytes]:
    """Return a pattern that matches any special token of a vocabulary in UTF-8."""
    return re.compile(b"|".join(re.escape(token.encode()) for token in vocabulary.special_tokens))


def count_special(block: Block, specials: re.Pattern[bytes], special: Special) -> int:
    """Return how many end-of-text strings the texts of a block hold; those that join its documents do not count.

    With ``special="error"``, raise `DataError` for the first of ``specials`` in them, with its place.
    """
    if block.seams or b"|" not in block.data:
        return 0  # documents that hold one are not joined
    if special == "error":
        found = specials.search(block.raw or block.data)
        if found:
            where = block.place or f"byte {block.offset + found.start()}"
            raise DataError(
                f"{block.counts.source.path}: special token {found.group().decode()} in the text at {where}; "
                f"--special allow takes it as its id, --special text as plain text"
            )
    return block.data.count(END_OF_TEXT.encode())

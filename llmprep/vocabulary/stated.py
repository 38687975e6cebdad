"""What a vocabulary file says of itself, whatever its kind: what each reader of a kind returns."""

from __future__ import annotations

from dataclasses import dataclass

from llmprep.vocabulary.ranks import Ranks

FORMAT = "llmprep-vocabulary/1"
"""The format of the file that llmprep itself writes."""
CARRIED = "vocabulary.json"
"""What that file is called in the folder of the store that it belongs to."""


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is found in the text before anything else happens to it, as the ``tokenizers`` library has it.

    One that is not ``special`` is found always, a special one only where special tokens are allowed. A ``normalized``
    one is looked for after the text was normalised. ``lstrip`` and ``rstrip`` take the white space before and after it,
    and one that is a ``single_word`` is not found within a word.
    """

    content: str
    id: int
    special: bool = True
    normalized: bool = False
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False


@dataclass(frozen=True, slots=True)
class Stated:
    """A byte-pair vocabulary as its file states it. What the file does not say is None.

    ``kind`` is in words, as "rank file"; ``remarks`` are sentences on what in the file was left out.
    """

    kind: str
    ranks: Ranks
    special_tokens: dict[str, int]
    pattern: str | None = None
    end_of_text: str | None = None
    remarks: tuple[str, ...] = ()

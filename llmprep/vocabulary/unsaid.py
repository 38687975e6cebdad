"""A vocabulary file that does not say all -> what it does say, and what must still be said."""

from __future__ import annotations

from dataclasses import replace

from llmprep.choices import Announce, TokenizerFile
from llmprep.errors import UsageError
from llmprep.vocabulary.opening import open_tokenizer
from llmprep.vocabulary.vocabulary import Vocabulary


def open_as_stated(asked: TokenizerFile, announce: Announce | None = None) -> tuple[Vocabulary, dict[str, str]]:
    """Read a vocabulary as `open_tokenizer` does, also where something must still be said, which is returned too.

    That is a field of ``asked`` and a sentence on what is not said; an example stands in its place in the vocabulary.
    """
    unsaid: dict[str, str] = {}
    while True:
        try:
            return open_tokenizer(asked, announce), unsaid
        except UsageError as error:
            if error.lacks is None:
                raise
            field, unsaid[field], example = error.lacks
            asked = replace(asked, **{field: example})

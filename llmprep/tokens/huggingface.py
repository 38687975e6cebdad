"""What a ``tokenizer.json`` defines: its tokenizers library, and the parts that other libraries may encode for it.

The library finds added tokens in the text first, then normalises each part between them, and encodes each by itself.
So the parts can be encoded by any library that gives the same ids for a plain text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np

from llmprep.choices import Special
from llmprep.documents.blocks import Block
from llmprep.errors import DataError, UsageError, VocabularyError, plural
from llmprep.tokens.added import AddedTokens
from llmprep.tokens.lines import find_differing
from llmprep.tokens.normalizing import NormalForm, is_normal, normalise
from llmprep.tokens.tiktoken import Ids
from llmprep.tokens.tokenizers import Tokenizers, has_tokenizers, is_defining, library_line
from llmprep.vocabulary.vocabulary import HuggingFace, Vocabulary


class Defined:
    """A vocabulary that the tokenizers library defines; any number of threads may use it.

    With ``special="text"``, special tokens in the text stay text; added tokens that are not special are found always.
    Raises `UsageError` where the end-of-text token is one of those, and `VocabularyError` where the library is needed
    and not there.
    """

    def __init__(self, vocabulary: Vocabulary, special: Special) -> None:
        hf = vocabulary.hf
        assert hf is not None  # noqa: S101 - the caller has looked
        self._hf: HuggingFace = hf
        self._name = vocabulary.name
        self._special = special == "allow"
        self._keeps_text = special == "text"
        self._end = vocabulary.end_of_text
        if special == "text" and any(token.content == self._end and not token.special for token in hf.added):
            raise UsageError(
                f"--special text: {vocabulary.name} does not mark its end-of-text token {self._end} as special, so it "
                f"is found in any text; leave it out"
            )
        self._may_cut = vocabulary.may_cut
        self._eot_id = vocabulary.eot_id
        self._added = AddedTokens(hf.added if vocabulary.known else ())  # else the library finds them, in any way
        self.is_at_hand = has_tokenizers()
        self.is_defining = self.is_at_hand and is_defining(library_line())
        if not self.is_at_hand and hf.obstacle:
            raise VocabularyError(
                f"{vocabulary.name}: only the tokenizers library can encode with it, as {hf.obstacle}; install the "
                f"extra: pip install 'llmprep[hf]'"
            )
        self._tokenizers = Tokenizers(hf.canonical, vocabulary.n_vocab) if self.is_at_hand else None

    def parts(self, block: Block) -> list[bytes | int] | None:
        """Return the parts of a block: plain text, normalised, and the ids of added tokens; None where that fails.

        Joined documents stay joined, by the end-of-text string.
        """
        if block.seams:
            return self._joined(block.data)
        if not self._added.holds_any(block.data):
            whole = self._normalised(block.data)
            return None if whole is None else [whole]
        parts: list[bytes | int] = []
        for data, found in self._added.split(block.data, special=self._special):
            part = found if found is not None else self._normalised(data)
            if part is None:
                return None
            parts.append(part)
        return parts

    def _normalised(self, data: bytes) -> bytes | None:
        if self._is_normal(data):
            return data
        text = normalise(data.decode(), cast("NormalForm", self._hf.normalizer))
        return None if text is None else text.encode()

    def _is_normal(self, data: bytes) -> bool:
        return not self._hf.normalizer or is_normal(data, cast("NormalForm", self._hf.normalizer))

    def _joined(self, data: bytes) -> list[bytes | int] | None:
        """Normalise documents that are joined, each by itself; the result may hold no token that was not there.

        Where all of it is a normal form, so is each document, as every part of one is.
        """
        if self._is_normal(data):
            return [data]
        joint = (self._end or "").encode()
        documents = [self._normalised(each) for each in data.split(joint)]
        if any(each is None or self._added.holds_any(each) for each in documents):
            return None
        return [joint.join(each for each in documents if each is not None)]

    def load(self) -> None:
        """Build the library's tokenizer now, if the library is at hand."""
        if self._tokenizers is not None:
            self._tokenizers.load(special=self._special)

    def encode(self, block: Block) -> Ids:
        """Return the ids of a block as the library defines them."""
        return self.encode_part(block, block.data)

    def encode_part(self, block: Block, data: bytes) -> Ids:
        """Return the ids of the beginning of a block, or of the whole of it, as the library defines them."""
        library = self._library()
        with _placed(block, data):
            if not block.seams:
                return self._checked(library.encode(data, special=self._special))
            return self._with_seams(library.encode_many(data.split((self._end or "").encode()), special=self._special))

    def _checked(self, ids: Ids) -> Ids:
        """Return ids of a text; raise `DataError` where the model made the end-of-text token of what is to stay text.

        A Unigram model has its special tokens among its entries, and takes them from any text that spells them.
        """
        if self.is_forged(ids):
            raise DataError(
                f"{self._name} makes its end-of-text token {self._end} of plain text too; give --special allow, or "
                f"error"
            )
        return ids

    def is_forged(self, ids: Ids) -> bool:
        """Tell whether ids of a text that is to stay text hold the end-of-text token."""
        return self._keeps_text and self._eot_id is not None and bool((ids == self._eot_id).any())

    def encode_each(self, blocks: Sequence[Block]) -> list[Ids]:
        """Return the ids of each of several small blocks, by one call of the library where none joins documents."""
        if any(block.seams for block in blocks):
            return [*map(self.encode, blocks)]
        try:
            encoded = self._library().encode_many([block.data for block in blocks], special=self._special)
            return [*map(self._checked, encoded)]
        except DataError:
            return [*map(self.encode, blocks)]  # one by one, which says in which it is

    def _with_seams(self, documents: Sequence[Ids]) -> Ids:
        seam = np.array([self._eot_id], np.uint32)
        return np.concatenate([part for ids in documents for part in (seam, ids)][1:])

    def encode_plain(self, block: Block, data: bytes, *, special: bool) -> Ids:
        """Return the ids of text of a block that holds no added token but, if ``special``, the end-of-text string."""
        library = self._library()
        with _placed(block, data):
            return library.encode(data, special=special)

    def may_compare(self, data: bytes) -> bool:
        """Tell whether the library that is installed gives the ids that are defined, for a text."""
        return self.is_defining or (self.is_at_hand and find_differing(data.decode()) is None)

    def may_cut(self, block: Block) -> bool:
        """Tell whether the beginning of a block may be encoded by itself."""
        return self._may_cut and not block.seams and not self._added.holds_any(block.data)

    def _library(self) -> Tokenizers:
        if self._tokenizers is None:
            raise VocabularyError(
                f"{self._name}: the text holds what only the tokenizers library can encode exactly; install the "
                f"extra: pip install 'llmprep[hf]'"
            )
        return self._tokenizers


@contextmanager
def _placed(block: Block, data: bytes) -> Iterator[None]:
    """Have an error say in which source some text of a block stands, and about where."""
    try:
        yield
    except DataError as error:
        path, size = block.counts.source.path, plural(len(data), "byte")
        raise DataError(f"{path}: in the {size} from {block.where} on, {error}") from error

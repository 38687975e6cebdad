"""What a notebook shows: tokens as a value of their own, `Tokens`, and the parts that a store or a data set shows.

To show is not to check, to download or to fail: of what is shown no more is read than what is seen, a vocabulary that
is not on this computer leaves ids without their text, and what cannot be read is said in its place.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from llmprep.choices import Special, TokenizerFile
from llmprep.errors import DataError, LlmprepError, UsageError, plural, shorten
from llmprep.formats.ids import to_ids
from llmprep.preview.plain import visible
from llmprep.preview.still import COLUMNS_SHOWN, pairs_html, token_html, windows_html
from llmprep.tokens.decoding import text_of
from llmprep.tokens.encoding import encode_text
from llmprep.vocabulary.loading import announce_by_warning, load_vocabulary, name_vocabulary, refer_to
from llmprep.vocabulary.references import Reference
from llmprep.windows.counts import check_size
from llmprep.windows.pairs import Pairs

IDS_SHOWN = 32
IDS_NAMED = 16
"""Tokens whose text a repr begins with."""
REPLACED = "\ufffd"
"""What a part of a character is decoded to."""
PAIRS_SHOWN = 16
WINDOWS_SHOWN = 3

Folder: TypeAlias = str | os.PathLike[str] | None
"""Where a vocabulary is looked for first."""
Row: TypeAlias = tuple[list[int], list[int]]
"""A window: its input, its target."""


class Tokens:
    """Token ids, in order, with the vocabulary that they are of: a value that shows itself in a notebook.

    Made of ids, an array (n,), Tensor or list of whole numbers, or by `of_text` of a text. ``encoding`` is the name of
    an encoding or a model, gpt2 unless given, or ``tokenizer`` that of a vocabulary file. An encoding is looked for, as
    elsewhere in ``vocab_dir`` first, when text is asked for. Iterating gives ids; so does a number, ``tokens[7]``, and
    a slice gives `Tokens`. Where numpy, torch or `WindowDataset` take an array they take these. Raises `UsageError` for
    what holds no ids, `VocabularyError` for an unknown encoding.

    >>> tokens = Tokens.of_text("I HAD always")
    >>> tokens
    Tokens(4 tokens, gpt2: 'I HAD always')
    >>> list(tokens), tokens[:2].text
    ([40, 367, 2885, 1464], 'I H')
    """

    def __init__(
        self,
        ids: npt.ArrayLike | Tokens | Sequence[int],
        encoding: str | None = None,
        *,
        tokenizer: str | os.PathLike[str] | TokenizerFile | None = None,
        vocab_dir: Folder = None,
    ) -> None:
        if isinstance(ids, str | os.PathLike):
            raise UsageError(f"ids: a {type(ids).__name__} is not ids; Tokens.of_text takes a text, open_tokens a file")
        self._ids: npt.NDArray[np.int64] = to_ids(ids).astype(np.int64)
        self._ids.flags.writeable = False
        self._refers = refer_to(name_vocabulary(encoding, tokenizer), announce_by_warning)
        self._vocab_dir = vocab_dir

    @classmethod
    def of_text(
        cls,
        text: str,
        encoding: str | None = None,
        *,
        tokenizer: str | os.PathLike[str] | TokenizerFile | None = None,
        special: Special = "allow",
        vocab_dir: Folder = None,
    ) -> Tokens:
        """Encode a text, as `encode_text` does."""
        ids = encode_text(text, encoding, tokenizer=tokenizer, special=special, vocab_dir=vocab_dir)
        return cls(ids, encoding, tokenizer=tokenizer, vocab_dir=vocab_dir)

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """The ids, (n,) int64, not to be written to."""
        return self._ids

    @property
    def n_tokens(self) -> int:
        """How many tokens there are: the length."""
        return len(self._ids)

    @property
    def encoding(self) -> str:
        """What the vocabulary of the ids is called."""
        return self._refers.name

    @property
    def refers(self) -> Reference:
        """The vocabulary of the ids."""
        return self._refers

    @property
    def text(self) -> str:
        """The text, a part of a character as U+FFFD. Raises `VocabularyError` where the vocabulary cannot be found."""
        vocabulary = load_vocabulary(self._refers, self._vocab_dir, announce_by_warning)
        return text_of(self._ids.tolist(), vocabulary.token_table())

    def pairs(self, context_size: int = 4, n_windows: int = 1) -> TokenPairs:
        """Grow contexts of 1 to ``context_size`` tokens, each with the token that comes next, for each window in turn.

        Window k begins at token k * context_size. Raises `DataError` where there are too few tokens.
        """
        size, count = check_size("context_size", context_size), check_size("n_windows", n_windows)
        needed = size * count + 1
        if len(self) < needed:
            asked = f"{plural(count, 'window')} with contexts of up to {size}"
            raise DataError(f"{plural(len(self), 'token')}: {asked} take {needed:,}; lower context_size or n_windows")
        return TokenPairs(Pairs(self._ids[:needed], size, count), self._refers, self._vocab_dir)

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids.tolist())

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Tokens: ...
    def __getitem__(self, index: int | slice) -> int | Tokens:
        if isinstance(index, slice):
            part = object.__new__(type(self))
            part._ids, part._refers, part._vocab_dir = self._ids[index], self._refers, self._vocab_dir
            return part
        return int(self._ids[range(len(self))[index]])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(
            self._ids, dtype, copy=copy is not False
        )  # torch warns of an array that is not to be written to

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]

    def __repr__(self) -> str:
        first, table = self._ids[:IDS_NAMED].tolist(), find_table(self._refers, self._vocab_dir)
        more = "..." * (len(self) > len(first))
        text = text_of(first, table)
        begin = repr(shorten(f"{text.rstrip(REPLACED)}{more}" if more else text)) if table else f"{first}{more}"
        return f"{type(self).__name__}({plural(len(self), 'token')}, {self.encoding}: {begin})"

    def _repr_html_(self) -> str:
        said = f"{type(self).__name__}({plural(len(self), 'token')}, {self.encoding})"
        return draw_ids(said, lambda count: self._ids[:count], len(self), self._refers, self._vocab_dir)


@dataclass(frozen=True, slots=True, repr=False)
class TokenPairs:
    """Growing contexts of `Tokens`, each with the token that comes next; iterating gives (context ids, target id).

    >>> Tokens([290, 4920, 2241]).pairs(2)
    TokenPairs(2 pairs, contexts of up to 2 tokens, 1 window, gpt2)
    >>> list(Tokens([290, 4920, 2241]).pairs(2))
    [([290], 4920), ([290, 4920], 2241)]
    """

    grown: Pairs
    refers: Reference
    vocab_dir: Folder = None

    def __len__(self) -> int:
        return len(self.grown)

    def __iter__(self) -> Iterator[tuple[list[int], int]]:
        return iter(self.grown)

    def __repr__(self) -> str:
        return f"Token{repr(self.grown)[:-1]}, {self.refers.name})"

    def _repr_html_(self) -> str:
        shown = list(itertools.islice(self.grown, PAIRS_SHOWN))
        note = f"the first {PAIRS_SHOWN} pairs of {len(self):,}" if len(self) > PAIRS_SHOWN else ""
        return _draw(repr(self), lambda table: (pairs_html(shown, table), note), self.refers, self.vocab_dir)


def find_table(refers: Reference | None, vocab_dir: Folder = None) -> Mapping[int, bytes]:
    """Return the bytes of each id of a vocabulary; of none where it is unknown, or not at hand."""
    try:
        return {} if refers is None else load_vocabulary(refers, vocab_dir, download=False).token_table()
    except LlmprepError:
        return {}


def draw_ids(
    said: str, take: Callable[[int], npt.NDArray[Any]], total: int, refers: Reference | None, vocab_dir: Folder = None
) -> str:
    """Return HTML of the first ids of ``total``, under what is ``said`` of them; ``take(n)`` gives the first n."""
    note = f"the first {IDS_SHOWN} tokens of {total:,}" if total > IDS_SHOWN else ""
    return _draw(said, lambda table: (token_html(take(IDS_SHOWN).tolist(), table), note), refers, vocab_dir)


def draw_windows(
    said: str,
    take: Callable[[int, int], Sequence[Row]],
    shape: tuple[int, int],
    refers: Reference | None,
    vocab_dir: Folder = None,
) -> str:
    """Return HTML of the first windows of (N, L); ``take(n, length)`` gives the first n, each cut to a length."""
    count, length = shape
    notes = [
        *([f"the first {WINDOWS_SHOWN} windows of {count:,}"] if count > WINDOWS_SHOWN else []),
        *([f"the first {COLUMNS_SHOWN} tokens of {length:,}"] if length > COLUMNS_SHOWN else []),
    ]

    def body(table: Mapping[int, bytes]) -> tuple[str, str]:
        return windows_html(take(WINDOWS_SHOWN, COLUMNS_SHOWN), table), ", of each ".join(notes)

    return _draw(said, body, refers, vocab_dir)


def _draw(
    said: str, body: Callable[[Mapping[int, bytes]], tuple[str, str]], refers: Reference | None, vocab_dir: Folder
) -> str:
    """Return what is said, what ``body`` draws with the vocabulary, or why it cannot, and its note."""
    table = find_table(refers, vocab_dir)
    try:
        drawn, note = body(table)
    except LlmprepError as error:
        drawn, note = "", f"its tokens cannot be shown: {error}"
    if drawn and not table:
        note = f"{note}{'; ' if note else ''}without text: {_missing(refers)}"
    below = f'<div style="font-size:13px;opacity:.7">{escape(visible(note))}</div>' if note else ""
    return f"<div><code>{escape(visible(said))}</code>{drawn}{below}</div>"


def _missing(refers: Reference | None) -> str:
    if refers is None:
        return "the encoding is not known"
    return f"the vocabulary of {shorten(refers.name)} is not on this computer"

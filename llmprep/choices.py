"""What may be chosen, as plain values: each choice, and each default that several places share, stands here once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from llmprep.errors import UsageError

Newlines: TypeAlias = Literal["universal", "keep"]
"""What becomes of CRLF and CR: LF, as in Python's text mode, or themselves."""
Separator: TypeAlias = Literal["eot", "none"]
"""What stands between documents: the end-of-text id, or nothing."""
SeparatorBelongs: TypeAlias = Literal["old", "new"]
"""The document that the separator is a part of: the one that it ends, or the one that it begins."""
Special: TypeAlias = Literal["allow", "text", "error"]
"""What an end-of-text string in a text becomes: its id, plain text, or an error."""
Boundaries: TypeAlias = Literal["documents", "text"]
"""Where a document begins in the stream: where one of the inputs does, or after each end-of-text in a text, too."""
IdDtype: TypeAlias = Literal["int64", "int32", "uint16"]
FloatDtype: TypeAlias = Literal["float32", "float16", "bfloat16"]
BackendName: TypeAlias = Literal["auto", "tiktoken", "gigatoken", "fastokens", "tokenizers"]
"""Which tokenizer encodes; the ids are the same. ``auto`` takes the one that will finish first."""
ExecutorName: TypeAlias = Literal["local", "ray"]
"""Where the shards of a token store are built."""
OnBad: TypeAlias = Literal["stop", "skip"]
"""What a file that cannot be read as text does: it ends the run, or is left out whole."""
Exhausted: TypeAlias = Literal["repeat", "stop", "drop"]
"""What becomes of a mixture where a source has no more windows: its next epoch, the end, or the others share on."""
Color: TypeAlias = Literal["auto", "always", "never"]
"""When output has colours; ``auto``: as NO_COLOR and FORCE_COLOR say, or else on a terminal that shows them."""
DrawOrder: TypeAlias = Literal["dataloader", "ch02"]
"""The order in which random numbers are drawn: that of the course's notebook of this name."""

ENCODING = "gpt2"
TEXT_FIELD = "text"
ID_DTYPE: IdDtype = "int64"
MAX_LENGTH = 256
SEED = 123
BLOCK_BYTES = 1 << 20
BUFFER = 1 << 16
"""Documents that are packed together."""

Announce: TypeAlias = Callable[[str], None]
"""Is called with one sentence at a time: what a person should know while a run goes on."""


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """A file that a vocabulary is read from, and what the file itself does not say.

    ``path`` is a ``tokenizer.json`` or a folder that holds one, a tiktoken rank file, a pickled tiktoken encoding, a
    minbpe model, a ``tekken.json``, or a token store. ``pattern`` is the name of a known pattern or a regular
    expression, for a rank file; ``special_tokens`` the path of a JSON object, token -> id; ``eot`` the token that ends
    a text.
    """

    path: str
    pattern: str | None = None
    special_tokens: str | None = None
    eot: str | None = None

    @classmethod
    def named(cls, tokenizer: object) -> TokenizerFile:
        """Return the file that a path names, or one as it is. Raises `UsageError` for anything else."""
        if isinstance(tokenizer, cls):
            return tokenizer
        if not isinstance(tokenizer, str | bytes | os.PathLike):
            kind = type(tokenizer).__name__
            raise UsageError(f"tokenizer: must be the path of a file, or a TokenizerFile, not a {kind}")
        return cls(os.fsdecode(tokenizer))


WhichVocabulary: TypeAlias = str | TokenizerFile
"""The name of an encoding or a model, or a file."""


@dataclass(frozen=True, slots=True)
class TextOptions:
    """The options that decide which ids a text becomes."""

    newlines: Newlines = "universal"
    separator: Separator = "eot"
    special: Special = "allow"
    boundaries: Boundaries = "documents"

    def __post_init__(self) -> None:
        if self.boundaries == "text" and (self.separator, self.special) != ("eot", "allow"):
            raise UsageError(
                "boundaries text: an end-of-text in a text ends a document only where it becomes its id, with special "
                "allow, and stands between documents, with separator eot"
            )

    def content(self) -> dict[str, str]:
        """Return them as plain values, for ``meta``; boundaries, which decide no id, where they are not the default."""
        stated: dict[str, str] = {"newlines": self.newlines, "separator": self.separator, "special": self.special}
        return stated | ({} if self.boundaries == "documents" else {"boundaries": self.boundaries})


@dataclass(frozen=True, slots=True)
class Effort:
    """How to encode; nothing here changes a byte of the output. ``jobs`` threads encode; 1 means no threads at all.

    ``memory`` is how many bytes the run may take: jobs and blocks are made fewer and smaller where that is needed. It
    holds ``beside``, the bytes that the process has in memory for anything but encoding.
    """

    backend: BackendName = "auto"
    jobs: int = 1
    block_bytes: int = BLOCK_BYTES
    memory: int | None = None
    beside: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """How inputs are read. None stands for what was not chosen: a .pt file or a store has made those choices already.

    ``encoding`` is the name of an encoding or a model; ``tokenizer`` names, in its place, the file of another
    vocabulary, and becomes a `TokenizerFile` that stands there. ``vocab_dir`` is a folder with vocabulary files,
    ``text_field`` the field of JSON Lines records, or the column of Parquet rows, that holds the text. ``on_bad``
    "skip" leaves out whole each file that is not text, is damaged or cannot be read; ``skip_binary`` leaves out those
    of folders and patterns whose first bytes are no text's. A ``text`` is read in the place of any input that is named.
    Raises `UsageError` for two vocabularies.
    """

    encoding: WhichVocabulary | None = None
    options: TextOptions | None = None
    vocab_dir: str | None = None
    text_field: str | None = None
    effort: Effort = Effort()
    announce: Announce | None = None
    on_bad: OnBad | None = None
    skip_binary: bool = False
    text: str | None = None
    tokenizer: str | os.PathLike[str] | TokenizerFile | None = None

    def __post_init__(self) -> None:
        if self.tokenizer is None:
            return
        if self.encoding is not None:
            raise UsageError("encoding, tokenizer: both name a vocabulary; leave one out")
        object.__setattr__(self, "encoding", TokenizerFile.named(self.tokenizer))
        object.__setattr__(self, "tokenizer", None)

    def for_text(self) -> TextReading:
        """Return every choice that texts need, with the defaults for what was not chosen."""
        return TextReading(self.encoding or ENCODING, self.options or TextOptions(), self.effort)


@dataclass(frozen=True, slots=True)
class TextReading:
    """How texts are encoded, every choice made."""

    encoding: WhichVocabulary
    options: TextOptions
    effort: Effort


@dataclass(frozen=True, slots=True)
class Sharding:
    """How a corpus is divided into the shards of a token store.

    ``shard_bytes`` is the size in bytes of the text of a shard; None chooses one by the size of the corpus.
    ``val_fraction`` is the part of the tokens, the last ones, that makes the split ``val``; None makes no splits.
    """

    shard_bytes: int | None = None
    val_fraction: float | None = None


@dataclass(frozen=True, slots=True)
class Building:
    """Where and by whom the shards of a token store are built: nothing here changes a byte of them.

    ``jobs`` processes build on this machine, with 1 the calling one alone; or the cores of a Ray cluster do, at
    ``address`` or started for the occasion. ``task`` (i, N) builds every Nth shard from number i (1 to N) on, as one
    of N commands that share the folder; `merge_store` then finishes the store. ``restart`` removes what was begun.
    """

    jobs: int = 1
    executor: ExecutorName = "local"
    address: str | None = None
    task: tuple[int, int] | None = None
    restart: bool = False


@dataclass(frozen=True, slots=True)
class BestFit:
    """Packing of whole documents into rows of max_length + 1 tokens, by best-fit decreasing.

    The longest of ``buffer`` documents comes first, and goes where it leaves the least room. ``seed`` decides which
    documents are packed together, from all over the corpus, and the order of the rows. A longer document is cut into
    full rows and a rest: each of its parts begins with the last ``overlap`` tokens of the one before it. With none, a
    token stands in one row only, and the first of a part is the target of nothing; with 1, it is. ``truncate`` keeps
    of such a document its first row alone: the rest is lost, counted and listed. The index lies in ``index_dir``, or
    else in the store's folder.
    """

    seed: int = SEED
    buffer: int = BUFFER
    overlap: int = 0
    truncate: bool = False
    index_dir: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` for what no packing can have."""
        for name, least in (("seed", 0), ("buffer", 1), ("overlap", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UsageError(f"{name} {value!r:.40}: must be a whole number from {least} on")
        if not isinstance(self.truncate, bool):
            raise UsageError(f"truncate {self.truncate!r:.40}: must be True or False")
        if self.truncate and self.overlap:
            raise UsageError("overlap: is of the parts of a long document, and truncate keeps one; leave one out")

    @classmethod
    def chosen(cls, packing: object) -> BestFit | None:
        """Return how documents are packed; None for windows of the stream. Raises `UsageError` for anything else."""
        if isinstance(packing, cls):
            return packing
        if packing not in ("stream", "bestfit"):
            raise UsageError(f"packing {packing!r:.40}: must be 'stream', 'bestfit' or a BestFit")
        return cls() if packing == "bestfit" else None

    def content(self) -> dict[str, Any]:
        """Return what decides the rows, as plain values, for ``meta``."""
        return {"seed": self.seed, "buffer": self.buffer, "overlap": self.overlap, "truncate": self.truncate}


Packing: TypeAlias = Literal["stream", "bestfit"] | BestFit
"""How rows are filled: with the stream as it comes, or with whole documents, in the default way or a chosen one."""

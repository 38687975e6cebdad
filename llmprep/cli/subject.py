"""What `inspect` looks at, as which windows, and by which vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from llmprep.choices import MAX_LENGTH, TokenizerFile, WhichVocabulary
from llmprep.cli.options import (
    Eot,
    MaxLengthOfText,
    Pattern,
    SpecialTokens,
    Stride,
    TokenizerPath,
    VocabDir,
    filled,
    which_vocabulary,
)
from llmprep.errors import UsageError


@dataclass(frozen=True, slots=True)
class Subject:
    """What is inspected, and as which windows its ids are looked at."""

    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            parser=filled,
            help="A token store, a .pt file that llmprep wrote, or a file of a vocabulary; for --step also stores with "
            "weights, as web/=0.7 code/=0.3, or with the names that the run's WindowMixture gives them, as "
            "web=data/w/=0.7.",
            show_default=False,
        ),
    ]
    max_length: MaxLengthOfText = None
    stride: Stride = None
    tokenizer: TokenizerPath = None
    pattern: Pattern = None
    special_tokens: SpecialTokens = None
    eot: Eot = None
    vocab_dir: VocabDir = None

    @property
    def path(self) -> str:
        """The path. Raises `UsageError` for several."""
        if len(self.paths) > 1:
            raise UsageError(f"{self.paths[1]}: one PATH at a time is inspected; several are a mixture, for --step")
        return self.paths[0]

    def which(self) -> WhichVocabulary | None:
        """Return the vocabulary that text is shown by, as the options name it."""
        return which_vocabulary(None, self.tokenizer, self.pattern, self.special_tokens, self.eot)

    def itself(self) -> TokenizerFile:
        """Return the path as the file of a vocabulary."""
        return TokenizerFile(self.path, self.pattern, self.special_tokens, self.eot)

    @property
    def of_tokens(self) -> dict[str, object]:
        """The options that say how tokens are looked at, with their values."""
        return {"--tokenizer": self.tokenizer, "--max-length": self.max_length, "--stride": self.stride}

    def shape(self, max_length: int | None = None, stride: int | None = None) -> tuple[int, int]:
        """Return max_length and stride: the file's own, where it has some, or else what was chosen."""
        if max_length is not None and stride is not None:
            if (self.max_length or max_length, self.stride or stride) != (max_length, stride):
                raise UsageError(f"--max-length, --stride: this file has windows of {max_length}, stride {stride}")
            return max_length, stride
        chosen = self.max_length or MAX_LENGTH
        return chosen, self.stride or chosen

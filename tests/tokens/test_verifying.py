"""Promises of verifying a vocabulary: each backend is compared with the definition, and a difference ends it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from llmprep.choices import BackendName, TokenizerFile
from llmprep.documents.blocks import Block
from llmprep.errors import BackendsDifferError
from llmprep.tokens import verifying
from llmprep.tokens.backends import Encoder
from llmprep.tokens.tiktoken import Ids
from llmprep.tokens.verifying import SCRIPTS, verify_vocabulary
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.vocabulary.patterns import resolve_pattern
from llmprep.vocabulary.vocabulary import Vocabulary

Make: TypeAlias = Callable[[str], Vocabulary]
PATTERNS = {"gpt2": resolve_pattern("gpt2")[0], "other": "[a-z]+|[^a-z]+"}


@pytest.fixture
def ranked(tmp_path: Path) -> Make:
    """What makes a vocabulary of the 256 bytes and "th" with a pattern; tiktoken defines its ids."""

    def make(pattern: str) -> Vocabulary:
        path = tmp_path / "bytes.model"
        path.write_text(f"minbpe v1\n{PATTERNS[pattern]}\n0\n116 104\n")
        return load_vocabulary(TokenizerFile(str(path)))

    return make


def wrong_by(backend: BackendName, text: str) -> type[Encoder]:
    """An encoder that leaves out the last id of one text, with one backend."""

    class Wrong(Encoder):
        def encode(self, block: Block) -> Ids:
            ids = super().encode(block)
            return ids[:-1] if self.used[backend] and block.data == text.encode() else ids

    return Wrong


def test_each_backend_is_compared(ranked: Make) -> None:
    """What cannot encode is named with the reason, and is not said to give the same ids."""
    first, *others = verify_vocabulary(ranked("gpt2"))
    assert first.startswith("tiktoken: the definition; 2,011 texts of ten scripts, ")
    assert others == ["gigatoken: the same ids"]
    assert [*verify_vocabulary(ranked("other"))][1:] == [
        "gigatoken: not used: does not know the pattern of bytes.model"
    ]


@pytest.mark.parametrize(
    ("backend", "pattern", "reason"),
    [
        ("gigatoken", "gpt2", "gigatoken and tiktoken differ in {text!r:.200}"),
        ("tiktoken", "other", "the ids of {text!r:.200} are not those of all of it"),
    ],
)
def test_one_id_of_one_text_is_found(
    backend: BackendName,
    pattern: str,
    reason: str,
    ranked: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever backend lacks it, the definition too, where no other library tells what is right."""
    text = SCRIPTS[-1]
    monkeypatch.setattr(verifying, "Encoder", wrong_by(backend, text))
    with pytest.raises(BackendsDifferError, match=f"^{re.escape('bytes.model: ' + reason.format(text=text))}$"):
        list(verify_vocabulary(ranked(pattern)))

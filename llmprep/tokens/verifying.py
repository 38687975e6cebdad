"""A vocabulary -> whether each backend gives the ids that are defined, for texts of ten scripts and hostile ones."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from llmprep.choices import BackendName
from llmprep.documents.blocks import Block
from llmprep.documents.source import Counts, Source
from llmprep.errors import BackendsDifferError, UsageError, VocabularyError, plural
from llmprep.tokens.backends import Encoder
from llmprep.tokens.decoding import Decoder
from llmprep.tokens.tokenizers import has_tokenizers
from llmprep.vocabulary.vocabulary import Vocabulary

BACKENDS: tuple[BackendName, ...] = ("tiktoken", "gigatoken", "tokenizers")
SCRIPTS: Sequence[str] = (
    "The cat sat on the mat, didn't it? I'LL say so; WE'VE 12345 reasons.",
    "L'été, à Noël, où l'on s'en va; naïve cœur — ça y est: 3,14 €.",
    "O ήλιος ανατέλλει στις 06:30 κάθε πρωί.",
    "Съешь ещё этих мягких французских булок, да выпей чаю в 1999 году.",
    "שלום עולם, זה משפט קצר עם 42 מילים.",
    "مرحبا بالعالم، هذه جملة قصيرة ٢٠٢٤.",
    "नमस्ते दुनिया, यह १२३ शब्दों का वाक्य है।",
    "สวัสดีชาวโลก นี่คือประโยคสั้นๆ ๑๒๓",
    "今日は良い天気ですね。カタカナとひらがな、漢字。",
    "敏捷的棕色狐狸跳过了那只懒狗\uff0c共计12345次。",
    "안녕하세요 세계, 이것은 짧은 문장입니다 2024.",
)
"""A sentence of each script that texts may be cut in, and one with marks."""
PIECES: Sequence[str] = (
    *(" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "'s", "'LL", "'", "a", "B", "\u00e9", "e\u0301", "\u00df"),
    *("\u4e2d", "\u6587", "1", "12", "1234567", "\u0663", "\u2167", "\u00bd", ".", "...", "/", "_", "<", "|", ">"),
    *("\u200d", "\U0001f469\u200d\U0001f4bb", "\U0001f1e9\U0001f1ea", "\ufe0f", "\x00"),
)
"""What hostile texts are made of."""
N_HOSTILE = 2000


def verify_vocabulary(vocabulary: Vocabulary) -> Iterator[str]:
    """Yield a line for each backend that can encode with a vocabulary: that its ids are those that are defined.

    Raises `BackendsDifferError` with the first text of which they are not, and `VocabularyError` where the library
    that defines them is not installed.
    """
    texts = [*SCRIPTS, *_hostile(vocabulary)]
    definition: BackendName = "tiktoken" if vocabulary.hf is None else "tokenizers"
    expected = _encode(vocabulary, definition, texts)
    if vocabulary.hf is None:
        _check_text(vocabulary, texts, expected)
    counted = f"{plural(len(texts), 'text')} of ten scripts, {plural(sum(map(len, expected)), 'token')}"
    yield f"{definition}: the definition; {counted}"
    unable: dict[str, list[str]] = {}
    for backend in BACKENDS:
        if backend == definition or (backend == "tokenizers" and vocabulary.hf is None):
            continue
        try:
            found = _encode(vocabulary, backend, texts)
        except UsageError as error:
            reason = str(error).removeprefix(f"--backend {backend}: ").removesuffix("; leave it out")
            unable.setdefault(reason, []).append(backend)
            continue
        for text, ids, wanted in zip(texts, found, expected, strict=True):
            if ids != wanted:
                raise BackendsDifferError(f"{vocabulary.name}: {backend} and {definition} differ in {text!r:.200}")
        yield f"{backend}: the same ids"
    for reason, names in unable.items():
        yield f"{', '.join(names)}: not used: {reason}"


def _encode(vocabulary: Vocabulary, backend: BackendName, texts: Sequence[str]) -> list[list[int]]:
    if backend == "tokenizers" and not has_tokenizers():
        raise VocabularyError(f"{vocabulary.name}: --verify compares with tokenizers: pip install 'llmprep[hf]'")
    encoder = Encoder(vocabulary, backend=backend)
    blocks = (Block(Counts(Source("text", "text")), data, data, 0) for data in map(str.encode, texts))
    return [encoder.encode(block).tolist() for block in blocks]


def _check_text(vocabulary: Vocabulary, texts: Sequence[str], encoded: Sequence[list[int]]) -> None:
    """Raise `BackendsDifferError` where the ids of a text are not those of all of its bytes."""
    decoder = Decoder.of(vocabulary)
    for text, ids in zip(texts, encoded, strict=True):
        if decoder.data(ids) != text.encode():
            raise BackendsDifferError(f"{vocabulary.name}: the ids of {text!r:.200} are not those of all of it")


def _hostile(vocabulary: Vocabulary) -> list[str]:
    """Return texts of pieces that patterns treat in special ways, with special tokens, whole and in part."""
    draw = random.Random(0)  # noqa: S311 - texts, no secret
    tokens = [*vocabulary.special_tokens][:8]
    pieces = [*PIECES, *tokens, *(token[: len(token) // 2] for token in tokens)]
    return ["".join(draw.choices(pieces, k=draw.randint(1, 24))) for _ in range(N_HOSTILE)]

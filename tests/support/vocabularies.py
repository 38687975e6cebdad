"""Small vocabularies of every kind, trained on the sample story, each with the library that defines its ids."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from llmprep.choices import TokenizerFile
from llmprep.vocabulary.patterns import resolve_pattern
from support.commands import SAMPLES

STORY = (SAMPLES / "story.txt").read_text(encoding="utf-8")
LLAMA3 = resolve_pattern("llama3")[0]


@dataclass(frozen=True, slots=True)
class Kind:
    """A vocabulary's file as it is named, and its definition: a text -> ids, with the id that ends a text."""

    file: TokenizerFile
    define: Callable[[str], list[int]]
    eot_id: int | None

    @property
    def options(self) -> list[str]:
        """The options that name it on a command line."""
        said = {"--pattern": self.file.pattern, "--special-tokens": self.file.special_tokens, "--eot": self.file.eot}
        given = [word for option, value in said.items() if value is not None for word in (option, value)]
        return ["--tokenizer", self.file.path, *given, *([] if self.eot_id is not None else ["--separator", "none"])]

    def stream(self, documents: Iterable[str]) -> list[int]:
        """The ids of documents, each encoded whole, with the end-of-text id between them if there is one."""
        ids: list[int] = []
        for number, document in enumerate(documents):
            ids += [self.eot_id] if number and self.eot_id is not None else []
            ids += self.define(document)
        return ids


def make_kinds(folder: Path) -> dict[str, Kind]:
    """Train them, write their files into a folder, and return them by name."""
    ranks = _train_ranks()
    special = {"<|bos|>": len(ranks), "[EOS]": len(ranks) + 1}
    return {
        **{name: _trained(folder / name, name, eot) for name, eot in JSON_KINDS.items()},
        **_of_ranks(folder, ranks, special),
        "tekken": _tekken(folder / "tekken.json", ranks),
        "minbpe": _minbpe(folder / "mini.model", {"<|end|>": 258}),
        "minbpe-bare": _minbpe(folder / "bare.model", {}),
    }


JSON_KINDS = {"bpe": "[EOT]", "nfc": "</s>", "bare": None, "unigram": "</s>", "wordpiece": "[SEP]"}
"""Those of a tokenizer.json, with the token that ends a text."""


def _trained(folder: Path, name: str, eot: str | None) -> Kind:
    """A tokenizer.json that the tokenizers library trains; the last two only that library can encode."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    unknown = "[UNK]"
    tokens: list[str] = [unknown, eot] if eot else []
    trainer: Any
    if name == "unigram":
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer, made.normalizer = pre_tokenizers.Metaspace(), normalizers.NFKC()
        trainer = trainers.UnigramTrainer(vocab_size=500, show_progress=False, special_tokens=tokens, unk_token=unknown)
    elif name == "wordpiece":
        made = Tokenizer(models.WordPiece(unk_token=unknown))
        made.pre_tokenizer, made.normalizer = pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer()
        trainer = trainers.WordPieceTrainer(vocab_size=500, show_progress=False, special_tokens=tokens)
    else:
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        if name == "nfc":
            made.normalizer = normalizers.NFC()
        alphabet = byte_level.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=700, show_progress=False, special_tokens=tokens, initial_alphabet=alphabet
        )
    made.train_from_iterator([STORY], trainer)
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    return Kind(
        TokenizerFile(str(folder / "tokenizer.json"), eot=eot),
        lambda text: list(made.encode(text, add_special_tokens=False).ids),
        made.token_to_id(eot) if eot else None,
    )


def _train_ranks() -> dict[bytes, int]:
    trained = import_module("rustbpe").Tokenizer()
    trained.train_from_iterator(iter([STORY]), 256 + 300, pattern=LLAMA3)
    return {bytes(token): rank for token, rank in trained.get_mergeable_ranks()}


def _defined(file: TokenizerFile, ranks: dict[bytes, int], special: dict[str, int], eot: str | None) -> Kind:
    """What tiktoken defines; as everywhere, the only special token that a text may hold is the one that ends texts."""
    from tiktoken import Encoding

    encoding = Encoding("of the test", pat_str=LLAMA3, mergeable_ranks=ranks, special_tokens=special)
    allowed = set() if eot is None else {eot}
    return Kind(
        file,
        lambda text: encoding.encode(text, allowed_special=allowed, disallowed_special=()),
        None if eot is None else special[eot],
    )


def _of_ranks(folder: Path, ranks: dict[bytes, int], special: dict[str, int]) -> dict[str, Kind]:
    """A rank file with what is said beside it, and nanochat's pickle of the same."""
    from tiktoken import Encoding

    lines = (base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())
    (folder / "own.tiktoken").write_bytes(b"".join(lines))
    (folder / "special.json").write_text(json.dumps(special))
    said = TokenizerFile(str(folder / "own.tiktoken"), "llama3", str(folder / "special.json"), "[EOS]")
    encoding = Encoding("rustbpe", pat_str=LLAMA3, mergeable_ranks=ranks, special_tokens=special)
    (folder / "tokenizer.pkl").write_bytes(pickle.dumps(encoding))
    pickled = TokenizerFile(str(folder / "tokenizer.pkl"), eot="<|bos|>")
    return {
        "ranks": _defined(said, ranks, special, "[EOS]"),
        "pickle": _defined(pickled, ranks, special, "<|bos|>"),
    }


def _tekken(path: Path, ranks: dict[bytes, int]) -> Kind:
    names = ("<unk>", "<s>", "</s>")
    stated = {
        "config": {
            "pattern": LLAMA3,
            "num_vocab_tokens": len(ranks),
            "default_vocab_size": len(ranks) + 1000,
            "default_num_special_tokens": 1000,
            "version": "v3",
        },
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
            for token, rank in ranks.items()
        ],
        "special_tokens": [{"rank": n, "token_str": name, "is_control": True} for n, name in enumerate(names)],
    }
    path.write_text(json.dumps(stated))
    moved = {token: rank + 1000 for token, rank in ranks.items()}
    return _defined(TokenizerFile(str(path), eot="</s>"), moved, {name: n for n, name in enumerate(names)}, "</s>")


def _minbpe(path: Path, special: dict[str, int]) -> Kind:
    """Two merges: "th" and "the"."""
    merges = [b"th", b"the"]
    ranks = {bytes([byte]): byte for byte in range(256)} | {token: 256 + n for n, token in enumerate(merges)}
    tokens = "".join(f"{token} {number}\n" for token, number in special.items())
    path.write_text(f"minbpe v1\n{LLAMA3}\n{len(special)}\n{tokens}116 104\n256 101\n")
    eot = next(iter(special), None)
    return _defined(TokenizerFile(str(path), eot=eot), ranks, special, eot)

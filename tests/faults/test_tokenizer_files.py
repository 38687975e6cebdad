"""Promises of vocabulary files from anywhere: the ids that are defined, or one line of error."""

import json
import os
import pickle
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from support.byte_level import ALPHABET, BYTE_LEVEL, added, document
from support.commands import Call
from support.reference import rank_lines
from support.refusals import Refusal, check_error, check_refusal, each_row, fill

from llmprep.choices import TokenizerFile
from llmprep.vocabulary.loading import load_vocabulary

tokenizers = pytest.importorskip("tokenizers")
TEXT = "a < b ab abc ABC <x> \uff1cx\uff1e <|endoftext|> abcabc  \n\n x1234 \u0130\u00e9e\u0301 b ab<x >\u2163\u200d\n"
END = added("<|endoftext|>", 258)
ENTRIES = {"ab": 256, "abc": 257}
BYTES = {character: byte for byte, character in enumerate(ALPHABET)}
LATER = {"ab": 3000, "abc": 3001, "<|endoftext|>": 3002}
"""With an entry for the end of text, whose id the library would else count up to."""
AFTER = BYTE_LEVEL | {"use_regex": False}
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def tokenizer(*tokens: Any, **changes: Any) -> bytes:
    """A byte-level file with an end-of-text token, and other tokens."""
    return json.dumps(document(ENTRIES, [["a", "b"], ["ab", "c"]], added_tokens=[END, *tokens], **changes)).encode()


def split(pattern: str, behavior: str = "Isolated", *, invert: bool = False, then: Any = AFTER) -> dict[str, Any]:
    """A pre-tokenizer that splits by a pattern first."""
    step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}
    return {"type": "Sequence", "pretokenizers": [step, *(then if isinstance(then, list) else [then])]}


def model(entries: Mapping[str, int], *merges: str, **rest: Any) -> dict[str, Any]:
    """Changes to entries and merges."""
    pairs = [merge.split() for merge in merges or ("a b", "ab c")]
    return {f"model_{name}": value for name, value in {"vocab": dict(entries), "merges": pairs, **rest}.items()}


def x(**flags: Any) -> dict[str, Any]:
    return added("<x>", 259, **flags)


THREE = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
UNK = {"unk_token": "u"}
SINGLE = {"type": "Digits", "individual_digits": True}
NO_SIGN, NO_FF = ({c: n for c, n in BYTES.items() if c != none} | LATER for none in ("<", ALPHABET[255]))
UNKNOWN = "its pattern is not among those that are known"
FILES = {
    "plain": (tokenizer(), ""),
    "no space before": (tokenizer(pre_tokenizer=BYTE_LEVEL | {"add_prefix_space": True}), "adds a space"),
    "dropout": (tokenizer(model_dropout=0.9), ""),
    "truncation": (tokenizer(truncation=THREE), ""),
    "found always": (tokenizer(added("<x", 259, special=False)), ""),
    "begins another": (tokenizer(added("<", 259, special=False), x(), added("<x", 260)), ""),
    "holds white space": (tokenizer(added("b ab", 259), added("  ", 260, special=False)), ""),
    "single_word": (tokenizer(x(single_word=True)), "is found with single_word"),
    "lstrip": (tokenizer(x(lstrip=True)), "is found with lstrip"),
    "rstrip": (tokenizer(x(rstrip=True)), "is found with rstrip"),
    "normalized": (tokenizer(x(normalized=True), normalizer={"type": "NFKC"}), "is found after NFKC"),
    "forged by NFKC": (tokenizer(x(), normalizer={"type": "NFKC"}), ""),
    "NFC": (tokenizer(x(), normalizer={"type": "NFC"}), ""),
    "lower case": (tokenizer(normalizer={"type": "Lowercase"}), "the normalizer is Lowercase"),
    "other ids": (tokenizer(added("<x>", 2000)), ""),
    "ids from 3": (tokenizer(x(), **model({c: n + 3 for c, n in BYTES.items()} | LATER)), ""),
    "holes": (tokenizer(**model({c: n * 2 for c, n in BYTES.items()} | LATER)), ""),
    "shared id": (
        tokenizer(x(), **model({c: n + 3 for c, n in BYTES.items()} | {"ab": 300, "abc": 301})), "has the id of",
    ),
    "outside the alphabet": (tokenizer(**model(BYTES | ENTRIES | {"\u4e2d": 400})), ""),
    "empty entry": (tokenizer(**model(BYTES | ENTRIES | {"": 400})), ""),
    "no byte": (tokenizer(**model(NO_SIGN)), "the byte 0x3C is no entry"),
    "never there": (tokenizer(**model(NO_FF)), ""),
    "not reached": (tokenizer(**model(BYTES | ENTRIES | {"\u0120b": 400})), ""),
    "looked up": (tokenizer(**model(BYTES | ENTRIES | {"\u0120abcabc": 400}, ignore_merges=True)), ""),
    "a pair": (tokenizer(**model(BYTES | ENTRIES | {"\u0120b": 400}, ignore_merges=True)), "which is not in merges"),
    "every split": (tokenizer(**model(BYTES | ENTRIES | {"bc": 400}, "a b", "a bc", "ab c")), ""),
    "out of order": (tokenizer(**model(BYTES | ENTRIES | {"bc": 400}, "b c", "a b")), "merges are not in the order"),
    "inverted": (tokenizer(pre_tokenizer=split(GPT2, "Removed", invert=True)), ""),
    "removed": (tokenizer(pre_tokenizer=split(GPT2, "Removed")), "Removed, not by a Regex, Isolated"),
    "merged": (tokenizer(pre_tokenizer=split(GPT2, "MergedWithPrevious")), "MergedWithPrevious, not by"),
    "digits": (tokenizer(pre_tokenizer=split(GPT2, then=[SINGLE, AFTER])), "Digits"),
    "two splits": (tokenizer(pre_tokenizer=split(GPT2, then=BYTE_LEVEL)), UNKNOWN),
    "end of line": (tokenizer(pre_tokenizer=split(r"(?m)$|\w+|[[:alpha:]]|(?<=a)b|.")), UNKNOWN),
    "words": (tokenizer(**model({"a": 0, "u": 1}, type="WordLevel", **UNK)), "WordLevel, not"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "obstacle"), FILES.values(), ids=FILES.keys())
def test_ids_are_those_of_the_library(content: bytes, obstacle: str, call: Call, tmp_path: Path) -> None:
    """Whatever a file has, its ids are the library's: by a fast backend where that is proven, else by the library."""
    (tmp_path / "t.json").write_bytes(content)
    (tmp_path / "t.txt").write_text(TEXT, encoding="utf-8", newline="")
    bare = json.loads(content) | dict.fromkeys(("truncation", "padding", "post_processor"))
    bare["model"] |= {"dropout": None}
    defined = tokenizers.Tokenizer.from_str(json.dumps(bare)).encode(TEXT, add_special_tokens=False).ids
    backends = ["tokenizers"] if obstacle else ["tiktoken", "gigatoken", "tokenizers"]
    for backend in ("auto", *backends):
        ended = call("tokenize", "t.txt", "--ids", "--tokenizer", "t.json", "--backend", backend)
        assert (ended.code, [*map(int, ended.stdout.split())]) == (0, defined), ended
    said = call("inspect", "t.json", "--json").value
    assert said["encoded_by"] in backends
    assert obstacle in said.get("not_faster", "") if obstacle else said["encoded_by"] != "tokenizers"


RANKS = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"abc": 257}
SPECIAL = '{"<|endoftext|>": 258, "<x>": 259}'
WITH = "--tokenizer v.tiktoken --pattern gpt2 --special-tokens s.json"
COMMANDS = ("tokenize t.txt -o o.pt", "window t.txt --max-length 4 -o o.pt")


def files(**named: str | bytes) -> dict[str, str | bytes]:
    """A text, ranks, special tokens, and others by the stem of their names."""
    other = {f"{stem}.{'json' if stem != 'pkl' else 'pkl'}": data for stem, data in named.items()}
    return {"t.txt": "words ab \u3333 abc\n", "v.tiktoken": rank_lines(RANKS), "s.json": SPECIAL, **other}


def pickled(pattern: str, **special_tokens: int) -> bytes:
    return pickle.dumps(tiktoken.Encoding("t", pat_str=pattern, mergeable_ranks=RANKS, special_tokens=special_tokens))


def wrong(content: bytes, line: str, code: int = 4, notes: int = 0, arguments: str = "") -> Refusal:
    """A file that is refused, under the name t.json."""
    return Refusal(files(t=content), f"--tokenizer t.json {arguments}", code, line, notes, COMMANDS[:1])


def ranked(arguments: str, code: int, line: str, notes: int = 0, **named: str | bytes) -> Refusal:
    return Refusal(files(**named), arguments, code, line, notes, COMMANDS[:1])


LIMITS = {"max_input_chars_per_word": 9, "continuing_subword_prefix": "##"}
WORD_PIECE: dict[str, Any] = {"type": "WordPiece", "vocab": {"a": 0}, **LIMITS, **UNK}
WORDS = {"added_tokens": [END | {"id": 1}], "pre_tokenizer": split(".", then=[]), "model": WORD_PIECE}
EMPTY = {"type": "Replace", "pattern": {"String": ""}, "content": "x"}
CHARSMAP = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
NO_LIST, ASKED = {"type": "Sequence"}, "--backend tokenizers"
TRIED = "t.json: cannot be used, as trying it ended with: ..."
REFUSED = {
    "endless": wrong(tokenizer(pre_tokenizer=split(r"(?:z|zz)+$|.")), f"{TRIED}retry-limit-in-match over"),
    "a panic": wrong(tokenizer(normalizer=EMPTY), f"{TRIED}index out of bounds..."),
    "a wrong table": wrong(tokenizer(normalizer=CHARSMAP), f"{TRIED}Cannot parse precompiled_charsmap..."),
    "a wrong prefix": wrong(
        tokenizer(**model({"a": 0, "\u00e9": 1}, "a \u00e9", continuing_subword_prefix="###")),
        f"{TRIED}slice index...",
    ),
    "no pattern": wrong(tokenizer(pre_tokenizer=split("(")), f"{TRIED}parenthesis..."),
    "no such step": wrong(tokenizer(pre_tokenizer={"type": "Guess"}), f"{TRIED}did not match any variant..."),
    "no list of normalizers": wrong(tokenizer(normalizer=NO_LIST | {"normalizers": 5}), f"{TRIED}invalid type..."),
    "no list of splits": wrong(tokenizer(pre_tokenizer=NO_LIST | {"pretokenizers": 5}), f"{TRIED}invalid type..."),
    "no list of decoders": wrong(
        tokenizer(decoder=NO_LIST | {"decoders": 5}), "tokenizer.json: tokenizers cannot build it: ...", arguments=ASKED
    ),
    "truncated": wrong(tokenizer()[:-70], "t.json: not a valid tokenizer.json: ..."),
    "nested": wrong(b'{"model": {}, "a": ' + b"[" * 200_000, "t.json: ...: lists nested too deeply"),
    "a key twice": wrong(b'{"model": {"a": 1, "a": 2}}', "t.json: ...the key a stands twice"),
    "a large id": wrong(tokenizer(**model(BYTES | ENTRIES | {"z": 1 << 24})), "t.json: has the id 16777216, ..."),
    "no end": wrong(tokenizer().replace(b"endoftext", b"pad"), "t.json: does not say which token ends ...", 2),
    "no such end": wrong(tokenizer(), "--eot x: no special token of t.json; it has <|endoftext|>", 2, 0, "--eot x"),
    "found always": wrong(
        tokenizer().replace(b'"special": true', b'"special": false'),
        "--special text: t.json does not mark its end-of-text token <|endoftext|> as special, so it is found ...",
        2, 0, "--special text",
    ),
    "no unknown token": wrong(json.dumps(WORDS).encode(), "t.txt: in the 17 bytes from byte 0 on, tokenizers ...", 3),
    "its pattern": wrong(tokenizer(), "--pattern: t.json is a tokenizer.json, which has its own; leave it out", 2, 0,
                         "--pattern gpt2"),
    "no pattern said": ranked("--tokenizer v.tiktoken", 2, "v.tiktoken: does not say by which pattern ...: one of ..."),
    "empty matches": ranked(f"{WITH} --pattern x*", 2, "--pattern x*: matches nothing at some places, ..."),
    "text lost": ranked(f"{WITH} --pattern [a-z]+", 2, "--pattern [a-z]+: does not match every text: 'H' is lost, ..."),
    "text lost later": ranked(
        rf"{WITH} --pattern '[^\u3333]+'", 3,
        "t.txt: ...the 17 bytes from byte 0 on (the pattern matches 14 of these 17 bytes; ...",
    ),
    "no special tokens": ranked("s.json --tokenizer v.tiktoken --pattern gpt2", 2, "v.tiktoken: has no special ..."),
    "no file of them": ranked(f"{WITH}x", 5, "--special-tokens s.jsonx: no such file"),
    "empty token": ranked(WITH, 4, "s.json: a special token is empty; ...", s='{"": 300}'),
    "one in another": ranked(WITH, 4, "s.json: the special token xy begins with another, ...", s='{"x": 3, "xy": 4}'),
    "an entry's id": ranked(WITH, 4, "v.tiktoken: the special token x has the id 97 of another entry", s='{"x": 97}'),
    "too large an id": ranked(WITH, 4, "s.json: the id 2147483648 is not from 0 to 2147483647", s='{"x": 2147483648}'),
    "a pickle": ranked("--tokenizer pkl.pkl", 4, "pkl.pkl: its pattern ...", pkl=pickled("[a-z]+")),
    "a pickle of two": ranked("--tokenizer pkl.pkl", 2, "pkl.pkl: does not say ...", pkl=pickled(GPT2, a=300, b=301)),
    "its configuration": ranked(
        "--tokenizer t.json", 4, "tokenizer_config.json: no valid JSON: ...", t=tokenizer(), tokenizer_config="{"
    ),
}  # fmt: skip


@each_row(REFUSED)
def test_what_is_wrong_is_one_line(refusal: Refusal, call: Call, tmp_path: Path) -> None:
    """A wrong file is one line with what is wrong, and nothing is written; no library leaves a trace beside it."""
    standard_error = os.dup(2)
    with tempfile.TemporaryFile() as traces:
        os.dup2(traces.fileno(), 2)
        try:
            check_refusal(call, refusal)
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
        assert os.fstat(traces.fileno()).st_size == 0


KINDS = {
    "proven": ({"t.json": tokenizer(x())}, "--tokenizer t.json", [259]),
    "by its library": ({"t.json": tokenizer(x(), normalizer={"type": "Lowercase"})}, "--tokenizer t.json", [259]),
    "ranks": (files(), WITH, list(b"<x>")),
}


@pytest.mark.parametrize(("made", "arguments", "other"), KINDS.values(), ids=KINDS.keys())
def test_special_is_about_the_end_of_text(made: Any, arguments: str, other: list[int], call: Call) -> None:
    """``allow`` is what the definition does, ``text`` keeps all special tokens, and ``error`` names the first."""
    line = "a<x><|endoftext|>"
    fill(Path(), {**made, "t.txt": line})
    found = [
        call("tokenize", "t.txt", "--ids", *arguments.split(), "--special", special) for special in ("allow", "text")
    ]
    assert [[*map(int, ended.stdout.split())] for ended in found] == [[97, *other, 258], [*line.encode()]]
    error = "t.txt: special token <x> in the text at byte 1; --special allow ..."
    refused = call("tokenize", "t.txt", "--ids", *arguments.split(), "--special", "error")
    check_error(refused, 3, error, notes=len(refused.notes) - 1)


def test_without_its_library_only_what_is_proven_is_taken(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``tokenizers``, and without gigatoken, tiktoken encodes what is proven; the obstacle is named if not."""
    others = {name: FILES[name] for name in ("NFC", "single_word", "digits", "words")}
    others["endless"] = tokenizer(pre_tokenizer=split("(?:z|zz)+$|.")), UNKNOWN  # which is not even tried
    fill(Path(), {"t.txt": TEXT} | {f"{name}.json": content for name, (content, _) in others.items()})
    usual = call("tokenize", "t.txt", "--ids", "--tokenizer", "NFC.json").stdout
    for missing in ("tokenizers", "gigatoken"):
        monkeypatch.setitem(sys.modules, missing, None)
        assert call("tokenize", "t.txt", "--ids", "--tokenizer", "NFC.json").stdout == usual
        for name, (_, obstacle) in others.items():
            if obstacle:
                line = f"{name}.json: only the tokenizers library can encode with it, as ...{obstacle}...; install ..."
                ended = call("tokenize", "t.txt", "--ids", "--tokenizer", f"{name}.json")
                check_error(ended, 5, line, notes=len(ended.notes) - 1)
    fill(Path(), {"t.txt": "\u32ff"})
    line = "NFC.json: the text holds what only the tokenizers library can encode exactly; install the extra: ..."
    check_error(call("tokenize", "t.txt", "--ids", "--tokenizer", "NFC.json"), 5, line)


def test_an_id_of_two_is_the_added_tokens(call: Call) -> None:
    """Where ids do not begin at 0, an added token may have that of an entry: its text is what the library shows."""
    content = FILES["shared id"][0]
    fill(Path(), {"t.json": content})
    library = tokenizers.Tokenizer.from_str(content.decode())
    shared, shown = library.token_to_id("<|endoftext|>"), library.decode([258], skip_special_tokens=False)
    assert shared == json.loads(content)["model"]["vocab"][ALPHABET[255]] == 258
    assert call("decode", "258", "--tokenizer", "t.json").stdout.decode().strip() == shown == "<|endoftext|>"
    vocabulary = load_vocabulary(TokenizerFile("t.json"))
    assert (vocabulary.token_table()[258], vocabulary.token_bytes[258]) == (b"<|endoftext|>", 0)

"""Promises of the library behind a tokenizer.json: its own ids, in the threads that ask, and one line for a fault."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import adversarial_text
from support.tokenizer_files import byte_level

from llmprep.errors import DataError, FileFormatError
from llmprep.tokens import tokenizers as module
from llmprep.tokens.tokenizers import Tokenizers, has_tokenizers, is_defining, library_line
from llmprep.vocabulary.stated import AddedToken

library = pytest.importorskip("tokenizers")
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("a", "a"), ("Ġ", "Ġ"), ("e", "Ġ"), ("Ċ", "Ċ")]
ADDED = [
    AddedToken("<|endoftext|>", 300),
    AddedToken("  ", 301, special=False),
    AddedToken("the", 302, normalized=True),
]
PARTS: list[dict[str, Any]] = [
    {},
    {
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False},
    },
    {
        "normalizer": {"type": "BertNormalizer", "lowercase": True}
        | dict.fromkeys(("clean_text", "handle_chinese_chars", "strip_accents"), True)
    },
]


@pytest.mark.parametrize("parts", PARTS)
@given(texts=st.lists(adversarial_text, max_size=3))
def test_ids_are_the_librarys_own(parts: dict[str, Any], texts: list[str]) -> None:
    """One text or many, with special tokens or without: the ids of ``encode``, which holds the interpreter's lock."""
    content = byte_level(ADDED, MERGES, **parts)
    tokenizer, defining = Tokenizers(content), library.Tokenizer.from_str(content)
    for special in (True, False):
        defining.encode_special_tokens = not special
        expected = [defining.encode(text, add_special_tokens=False).ids for text in texts]
        many = tokenizer.encode_many([text.encode() for text in texts], special=special)
        assert [ids.tolist() for ids in many] == expected
        assert [tokenizer.encode(text.encode(), special=special).tolist() for text in texts] == expected
        assert all(ids.dtype == np.uint32 for ids in many)


def test_what_is_wrong_is_one_line() -> None:
    """A file that cannot be built, a text that cannot be encoded; whether the library is there, and which."""
    with pytest.raises(FileFormatError, match=r"^tokenizer\.json: tokenizers cannot build it: [^\n]+ line 1 column 1"):
        Tokenizers("{").encode(b"a", special=True)
    no_unknown = {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "[UNK]", "max_input_chars_per_word": 9}
    words = Tokenizers(byte_level(model=no_unknown | {"continuing_subword_prefix": "##"}, pre_tokenizer=None))
    with pytest.raises(DataError, match=r"^tokenizers cannot encode this text: WordPiece error: Missing \[UNK\]"):
        words.encode(b"b", special=True)
    assert has_tokenizers()
    assert library.__version__.startswith(f"{library_line()}.")
    assert [is_defining(line) for line in ("0.23", "1.0")] == [True, False]


def test_another_line_encodes_what_is_the_same_in_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a line that does not define, a text with a character on which they may differ is refused, and named."""
    tokenizer = Tokenizers(byte_level())
    texts = [b"plain", "\u00e9\u4e2d\U0001f600".encode(), "a \u20c1\U0001fa8e".encode()]
    expected = [ids.tolist() for ids in tokenizer.encode_many(texts, special=True)]
    monkeypatch.setattr(module, "library_line", lambda: "1.0")
    assert [ids.tolist() for ids in tokenizer.encode_many(texts[:2], special=True)] == expected[:2]
    with pytest.raises(DataError, match=r"^the text holds U\+20C1, for which tokenizers 1\.0 may .* 'tokenizers<1'$"):
        tokenizer.encode_many(texts, special=True)


IN_A_PROCESS = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from llmprep.tokens import tokenizers as module
from llmprep.tokens.tokenizers import Tokenizers
tokenizer = Tokenizers(sys.stdin.read())
before = len(os.listdir("/proc/self/task"))
with ThreadPoolExecutor(2) as threads:
    all(threads.map(lambda n: tokenizer.encode_many([b"the text"] * 500, special=True), range(20)))
    print(len(os.listdir("/proc/self/task")) - before)
if not os.fork():
    os._exit(len(tokenizer.encode_many([b"the text"] * 9, special=True)))
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how many threads there are")
def test_the_library_starts_no_threads() -> None:
    """It has those that call it, even for a batch, so it says nothing when the process is forked."""
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    command = [sys.executable, "-c", IN_A_PROCESS]
    ended = subprocess.run(
        command, input=byte_level(ADDED, MERGES), capture_output=True, text=True, env=environment, check=True
    )
    assert (ended.stdout.split(), ended.stderr) == (["2", "9"], "")

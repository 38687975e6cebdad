"""Promises of patterns: what is known splits alike in every library that may encode by it; what is not is tried."""

from importlib.util import find_spec

import pytest
from support import sweeping

from llmprep.errors import FileFormatError, UsageError
from llmprep.vocabulary.definitions import define
from llmprep.vocabulary.patterns import (
    KNOWN,
    KnownPattern,
    find_known,
    find_known_to_tiktoken,
    know_stated,
    resolve_pattern,
)

NAMES = [known.name for known in KNOWN]
needs_both = pytest.mark.skipif(None in map(find_spec, ("tokenizers", "gigatoken")), reason="takes both libraries")


@needs_both
@pytest.mark.parametrize("step", [2003, pytest.param(199, marks=pytest.mark.slow)])
@pytest.mark.parametrize("known", KNOWN, ids=NAMES)
def test_libraries_split_alike(known: KnownPattern, step: int) -> None:
    """By any spelling of a known pattern tiktoken and tokenizers split alike, and gigatoken but for what is listed.

    `sweeping` tries every code point; here are some of them, all that are listed, and random texts: a few as they are,
    or many, ten joined, as compiling a pattern takes longer than splitting by it.
    """
    listed = sorted({code for low, high in known.newer for code in range(low, high + 1)})
    codes = [code for code in sweeping.CODES[::step] if code not in sweeping.guarded(known)]
    texts = [text for text in sweeping.random_texts(200_000 // step) if not {*map(ord, text)} & sweeping.guarded(known)]
    if step < 1000:
        texts = ["".join(texts[first : first + 10]) for first in range(0, len(texts), 10)]
    for library, differ in sweeping.differences(known, 1 if step > 1000 else 2).items():
        assert sweeping.differing(differ, codes) == []
        assert [text for text in texts if differ(text)] == []
        assert not listed or sweeping.differing(differ, listed) == (listed if library == "gigatoken" else [])


@pytest.mark.skipif(find_spec("tokenizers") is None, reason="takes tokenizers")
def test_cl100k_is_another_pattern_to_tokenizers() -> None:
    """What is known for tiktoken alone is not split alike: the test above would show it."""
    text, cl100k = "\n\nx ".join(sweeping.random_texts(100)), resolve_pattern("cl100k")[0]
    assert not sweeping.splits_so(cl100k, sweeping.pieces_by_tokenizers([cl100k])(text))


def test_patterns_are_found_by_name_and_by_spelling() -> None:
    """Each name leads to its pattern, tiktoken's own patterns are known, and line ends may be raw."""
    cl100k, llama3 = (resolve_pattern(name)[0] for name in ("cl100k", "llama3"))
    assert [sweeping.splits_so(split, ["a", " \n", " "]) for split in (cl100k, llama3)] == [False, True]
    every = [name for known in KNOWN for name in (known.name, *known.names)]
    assert len({*every}) == len(every)
    for known in KNOWN:
        raw = [split.replace(r"\r\n", "\r\n") for split in known.splits]
        assert find_known(raw) is (known if known.by_tokenizers else None)
        if len(known.splits) == 1:
            assert {resolve_pattern(name) for name in (known.name, *known.names, known.splits[0])} == {
                (known.splits[0], known)
            }
    found = [find_known_to_tiktoken(define(name).pattern) for name in ("r50k_base", "cl100k_base", "o200k_base")]
    assert [known and known.name for known in found] == ["gpt2", "cl100k", "o200k"]
    assert (find_known(()), find_known((r"\p{N}{1,3}",))) == (None, None)
    assert resolve_pattern(r"\p{L}+|\P{L}") == (r"\p{L}+|\P{L}", None)
    assert [know_stated("t", pattern) for pattern in (cl100k, r"\p{L}+|\P{L}")] == [
        find_known_to_tiktoken(cl100k),
        None,
    ]
    with pytest.raises(FileFormatError, match=r"^t: its pattern gpt2: does not match every text"):
        know_stated("t", "gpt2")


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("qwen4", "--pattern qwen4: unknown; did you mean qwen"),
        ("ours", "--pattern ours: unknown; known are gpt2, cl100k, llama3.*; or give the pattern"),
        ("", "--pattern : unknown; known are"),
        ("deepseek_v3", "--pattern deepseek_v3: is 3 patterns applied in turn, which only a tokenizer.json can have"),
        (r"(\w", r"--pattern \(\\w: is no regular expression that tiktoken takes: .*parenthesis"),
        (r"\w+|\s+", "',' is lost, which tiktoken would drop in silence"),
    ],
)
def test_what_is_no_pattern_is_refused(given: str, what: str) -> None:
    """What is neither a known name nor a pattern that covers all texts is refused in one line, with what is known."""
    with pytest.raises(UsageError, match=what) as refused:
        resolve_pattern(given)
    assert "\n" not in str(refused.value)

"""Promises of cutting: what a vocabulary's cuts allow changes no id, whatever tokens its file adds."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.stores import SMALL

from llmprep.documents.cuts import SAFE_CUT, TIKTOKEN_CUTS
from llmprep.tokens.cutting import cuts_of
from llmprep.vocabulary.definitions import define
from llmprep.vocabulary.stated import AddedToken
from llmprep.vocabulary.vocabulary import HuggingFace

FLAGS = ("normalized", "lstrip", "rstrip", "single_word")
CONTENTS = [
    "<eos>", "</s>", "[SEP]", "\uff5cend\u2581of\u2581it\uff5c", "ab", "b c", "a,b", "b1", "1a", ">ab", "<", "eos>",
    "<eos>a", "<s><s>", "s>", " a", "a ", "\u4e2d\u6587", "\u4e2d,", "s b", "> ", "a>", "b\u226f", "l\u00b7 a", "  ",
]  # fmt: skip
PIECES = [*CONTENTS, *"ab1<>/ \n,|\u4e2d\uff0c\u3002\u0338\u0140\u017f", "<s>", "<eo", "os>", "a b", "\uff1c/s\uff1e"]
texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


def token(content: str, *on: str) -> AddedToken:
    return AddedToken(content, 0, **dict.fromkeys(on, True))


flags = st.sets(st.sampled_from(FLAGS), max_size=1)
tokens_added = st.lists(
    st.builds(lambda content, on: token(content, *on), st.sampled_from(CONTENTS), flags),
    min_size=1, max_size=3, unique_by=lambda each: each.content,
)  # fmt: skip


def encoder_of(tokens: Sequence[AddedToken], normalizer: str) -> Callable[[bytes], list[int]]:
    """The tokenizers library itself, which gives one id a character, but for the tokens."""
    tokenizers = pytest.importorskip("tokenizers")
    chars = {char: number for number, char in enumerate(sorted(set("?".join(PIECES))))}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(chars, [], unk_token="?"))  # noqa: S106 - no password
    if normalizer:
        made.normalizer = getattr(tokenizers.normalizers, normalizer)()
    for each in tokens:
        made.add_tokens([tokenizers.AddedToken(each.content, special=False, **{on: getattr(each, on) for on in FLAGS})])
    return lambda data: list(made.encode(data.decode()).ids)


@settings(max_examples=300)
@given(tokens=tokens_added, normalizer=st.sampled_from(["", "NFC", "NFKC"]), text=texts, other=texts)
@example([token("a,b", "normalized")], "NFKC", "a\uff0cb", "")
@example([token("b\u226f", "normalized")], "NFC", "b>\u0338", "")
@example([token("</s>", "normalized")], "NFKC", "\uff1c/s\uff1e", "")
@example([token("<eos>"), token("<eos>a")], "", "", "a")
@example([token("<eos>"), token("<")], "", "a", "b")
@example([token("<s><s>")], "", "<s>", "")
@example([token("b1", "rstrip")], "", "b1 a", "b")
@example([token("a>", "single_word")], "", "1a>", "b")
@example([token("<eos>"), token(">ab", "lstrip")], "", " a,b", " >ab")
def test_no_cut_and_no_joint_changes_an_id(tokens: list[AddedToken], normalizer: str, text: str, other: str) -> None:
    """The definition gives the ids of the whole for the parts, at each place that is allowed, and between documents.

    Joined documents do not hold the id that joins them, and no token holds a place where text may be cut.
    """
    end, data, more = tokens[0].content, text.encode(), other.encode()
    plain = {each.content: number for number, each in enumerate(tokens, 256)}
    hf = HuggingFace("", tuple(tokens), normalizer, {})
    stated = replace(SMALL, hf=hf, stated_ranks={b"a": 0}, special_tokens=plain, end_of_text=end)
    cuts, encode = cuts_of(stated), encoder_of(tokens, normalizer)
    assert not any(cuts.second.search(each.content.encode()) for each in tokens)
    places = {place.end() for pattern in (SAFE_CUT, cuts.second) for place in pattern.finditer(data)}
    for place in places if cuts.allowed else ():
        assert encode(data[:place]) + encode(data[place:]) == encode(data), place

    ranks = {bytes([number]): number for number in range(256)}
    byte_level = tiktoken.Encoding("x", pat_str=SMALL.pattern or "", mergeable_ranks=ranks, special_tokens=plain)
    by_tiktoken = lambda data: byte_level.encode(data.decode(), allowed_special={end}, disallowed_special=())  # noqa: E731
    for joined, define_ids in ((cuts, encode), (cuts_of(replace(stated, hf=None)), by_tiktoken)):
        if joined.joint is None or joined.may_hold_special(data) or joined.may_hold_special(more):
            continue
        ids, (joint,), others = define_ids(data), define_ids(joined.joint), define_ids(more)
        assert define_ids(data + joined.joint + more) == [*ids, joint, *others]
        assert joint not in (*ids, *others)


def test_those_of_tiktoken_are_one() -> None:
    """Its encodings share one value; one without special tokens joins nothing, nor one with a token that begins others.

    Which of two tokens that begin in one place tiktoken finds is for chance to say.
    """
    for name in tiktoken.list_encoding_names():
        assert cuts_of(replace(SMALL, special_tokens=define(name).special_tokens)) == TIKTOKEN_CUTS
    assert cuts_of(replace(SMALL, special_tokens={"</s>": 1, "<": 2}, end_of_text="</s>")).joint is None
    bare = replace(SMALL, special_tokens={}, end_of_text=None)
    assert (cuts_of(bare).joint, cuts_of(bare).may_hold_special(b"<|endoftext|>")) == (None, False)

"""Promises of every fast path: it gives what the general path gives, which is the slow, obvious one, with less work."""

from hypothesis import given, settings
from hypothesis import strategies as st
from support.reference import encode
from support.strategies import adversarial_text
from support.streams import text_block

from llmprep.documents.blocks import find_safe_cut
from llmprep.tokens.backends import Encoder, split_at_new
from llmprep.tokens.unicode17 import NEW_CODE_POINTS, find_new_code_points
from llmprep.vocabulary.loading import load_vocabulary

NEW = {code for low, high in NEW_CODE_POINTS for code in range(low, high + 1)}
text_with_new = st.lists(
    adversarial_text | st.sampled_from(["x " * 3000, " word", "\u4e2d\u3002", *map(chr, sorted(NEW)[::400])]),
    max_size=12,
).map("".join)
"""Text with code points on which the backends differ, some of them far apart."""


@given(text_with_new)
def test_only_what_is_near_a_new_code_point_is_left_to_tiktoken(text: str) -> None:
    """The parts are the text, cut at safe places alone, and no part for gigatoken holds a new code point."""
    data = text.encode()
    parts = [*split_at_new(data)]
    assert b"".join(part for part, _ in parts) == data
    assert all(new or not NEW.intersection(map(ord, part.decode())) for part, new in parts)
    assert [len(text[:k].encode()) for k, char in enumerate(text) if ord(char) in NEW] == [*find_new_code_points(data)]
    place = 0
    for part, _ in parts[:-1]:
        place += len(part)
        assert find_safe_cut(data, place) == place


@settings(max_examples=40)
@given(text=text_with_new)
def test_backends_and_tiktoken(text: str) -> None:
    """Both backends together give the ids that tiktoken gives for the whole text."""
    encoder = Encoder(load_vocabulary("gpt2"), "allow", "gigatoken")
    assert encoder.encode(text_block(text)).tolist() == encode(text)

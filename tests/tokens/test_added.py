"""Promises of the finder of added tokens: it finds what the ``tokenizers`` library finds."""

import itertools
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tokenizer_files import byte_level

from llmprep.tokens.added import AddedTokens
from llmprep.tokens.tokenizers import Tokenizers
from llmprep.vocabulary.stated import AddedToken

library = pytest.importorskip("tokenizers")
tokens = st.lists(st.builds(AddedToken, st.text("abc<\u4e2d", max_size=4), st.just(0), st.booleans(), st.booleans()))


@given(drawn=tokens, text=st.text("abc<\u4e2d", max_size=30), special=st.booleans())
def test_what_is_found_is_what_the_library_finds(drawn: list[AddedToken], text: str, special: bool) -> None:
    """Tokens that begin, end or hold each other, empty or twice there, special or not, in both passes."""
    numbered = [replace(token, id=256 + n) for n, token in enumerate(drawn)]
    defining = library.Tokenizer.from_str(byte_level(numbered))
    added = [replace(token, id=defining.token_to_id(token.content) or 0) for token in drawn]
    finder, data, plain = AddedTokens(added), text.encode(), Tokenizers(byte_level())
    defining.encode_special_tokens = not special
    parts = finder.split(data, special=special)
    found = [[token] if token is not None else plain.encode(part, special=True).tolist() for part, token in parts]
    assert [*itertools.chain.from_iterable(found)] == defining.encode(text, add_special_tokens=False).ids
    assert b"".join(part for part, _ in parts) == data
    assert finder.holds_any(data) or all(token is None for _, token in parts)
    assert finder.holds_any(data) is any(token.content in text for token in added if token.content)


def test_tokens_of_any_shape() -> None:
    """One that begins another at each of 300 bytes; many beginnings; those that take white space are not taken."""
    deep = AddedTokens([AddedToken("a" * n, n) for n in range(1, 300)])
    assert deep.split(b"a" * 301, special=True) == [(b"a" * 299, 299), (b"aa", 2)]
    many = AddedTokens([AddedToken(chr(0x4E00 + n) + chr(code), n) for n in range(300) for code in (97, 98)])
    assert many.split("\u4e2da, \u4e2dc".encode(), special=True) == [
        ("\u4e2da".encode(), 45),
        (", \u4e2dc".encode(), None),
    ]
    for n in range(3):
        with pytest.raises(ValueError, match="without lstrip, rstrip and single_word"):
            AddedTokens([AddedToken("a", 1, False, False, *(option == n for option in range(3)))])  # noqa: FBT003


def test_text_without_a_token_is_looked_through_fast() -> None:
    """Less than a tenth of a second for 20 MB, and so 6,000 tokens of one beginning cost no time."""
    finder = AddedTokens([AddedToken(f"<unused{n}>", n) for n in range(6000)])
    text = b"plain words with a < in them\n" * 700_000
    started = time.process_time()
    assert not finder.holds_any(text)
    assert time.process_time() - started < 0.1

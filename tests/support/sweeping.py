"""Do two libraries split a text alike by a pattern? Shown by vocabularies whose ids tell where the pieces end.

``PYTHONPATH=tests python -m support.sweeping NAME`` tries a known pattern over every code point and 100,000 texts, and
prints the code points on which tiktoken and ``tokenizers``, and tiktoken and gigatoken, differ: in a few minutes.
"""

import base64
import functools
import random
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import tiktoken

from llmprep.tokens.unicode17 import NEW_CODE_POINTS
from llmprep.vocabulary.patterns import KNOWN, KnownPattern
from support.strategies import PIECES

CODES = [*range(0xD800), *range(0xE000, 0x34000), *range(0xE0000, 0xE1000), *range(0x40000, 0x110000, 257)]
"""Every code point that may be assigned, and some of those that are not."""
BYTES = {bytes([value]): value for value in range(256)}


def around(letter: str) -> str:
    """A letter in the surroundings on which patterns depend."""
    c = letter
    return (
        f" a{c}b {c}A{c}1{c}2 x{c}'ve{c} {c}{c}\n{c}.{c} q'{c} a'l{c} a{c}\r\n {c} \n  "
        f"{c}a {c}\u4e2d{c}\u00e9\u0301{c}/\r{c} end"
    )


def random_texts(count: int, seed: int = 7) -> Iterator[str]:
    """Texts of pieces that are hard to split, and of any code points."""
    chance = random.Random(seed)  # noqa: S311 - the same each time
    more = ["\u017f", "\u212a", "'", "'\u017f", "\u02b0", "\u0300", "\u200d", "\u4e00", "\u3005", "\u30fc", "'l", "L"]
    more += ["\v", "\f", "\x1c", "\u180e", "\u2003", "\U0001d400", "\U00020000", "\u00aa", "#", "!", "/\n", "I", "E"]
    for _ in range(count):
        parts = (chance.choice(PIECES + more), chr(chance.choice(CODES)))
        chosen = (
            chance.choice(PIECES + more) if chance.random() < 0.9 else parts[1] for _ in range(chance.randint(1, 14))
        )
        yield "".join(chosen)


def pieces_by_tokenizers(splits: Iterable[str]) -> Callable[[str], list[str]]:
    """The pieces of a text, as ``tokenizers`` splits it."""
    from tokenizers import Regex, pre_tokenizers

    splitter = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated") for split in splits])
    return lambda text: [text[begin:end] for _, (begin, end) in splitter.pre_tokenize_str(text)]


def splits_so(pattern: str, pieces: list[str]) -> bool:
    """Whether tiktoken splits a text into these pieces.

    In this vocabulary every piece is a token, and so are up to eight of them together: tiktoken looks a whole piece up
    first, so that equal ids are equal pieces, but for one that is more than eight of them.
    """
    parts = [piece.encode() for piece in pieces]
    ranks = dict(BYTES)
    for size in range(1, 9):
        for first in range(len(parts) - size + 1):
            ranks.setdefault(b"".join(parts[first : first + size]), len(ranks))
    encoding = tiktoken.Encoding("pieces", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return encoding.encode("".join(pieces), disallowed_special=()) == [ranks[part] for part in parts]


def all_pairs(seed: int, first: Iterable[bytes] = ()) -> dict[bytes, int]:
    """Ranks in which any two bytes merge, in a random order after those that are first.

    Where two pieces become one, the pair that lies across is merged, if it comes before its neighbours.
    """
    return BYTES | {pair: 256 + rank for rank, pair in enumerate(dict.fromkeys([*first, *shuffled_pairs(seed)]))}


@functools.cache
def shuffled_pairs(seed: int) -> list[bytes]:
    """Any two bytes, in a random order."""
    pairs = [bytes([one, other]) for one in range(256) for other in range(256)]
    random.Random(seed).shuffle(pairs)  # noqa: S311
    return pairs


def encoder(known: KnownPattern, ranks: dict[bytes, int]) -> Callable[[str], list[int]]:
    """Encode a text with the definition of a known pattern: tiktoken, or ``tokenizers`` where it has several splits."""
    pattern = known.splits[0] if len(known.splits) == 1 else "(?s).+"
    encoding = tiktoken.Encoding("pairs", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    encode = partial(encoding.encode, disallowed_special=())
    if len(known.splits) == 1:
        return encode
    pieces = pieces_by_tokenizers(known.splits)
    return lambda text: [number for piece in pieces(text) for number in encode(piece)]


def gigatoken_encoder(known: KnownPattern, ranks: dict[bytes, int]) -> Callable[[str], list[int]]:
    """Encode a text with gigatoken's scheme for a known pattern."""
    from gigatoken import BytesSource, Tokenizer

    with tempfile.NamedTemporaryFile(suffix=".tiktoken") as file:
        file.write(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()))
        file.flush()
        tokenizer: Any = Tokenizer.from_tiktoken(file.name, pretokenizer=known.scheme, special_tokens={})

    def encode(text: str) -> list[int]:
        rows, lengths = tokenizer.encode_batch_padded(BytesSource([text.encode()]), 0, parallel=False)
        ids: list[int] = rows[0, : lengths[0]].tolist()
        return ids

    return encode


def differences(known: KnownPattern, seeds: int) -> dict[str, Callable[[str], bool]]:
    """What tells whether two libraries split a text otherwise, by their names."""
    found: dict[str, Callable[[str], bool]] = {}
    if known.by_tokenizers and len(known.splits) == 1:
        several_pieces = [pieces_by_tokenizers([spelling]) for spelling in (*known.splits, *known.spellings)]
        found["tokenizers"] = lambda text: not all(splits_so(known.splits[0], split(text)) for split in several_pieces)
    if known.scheme:
        several = [all_pairs(seed) for seed in range(seeds)]
        pairs = [(encoder(known, ranks), gigatoken_encoder(known, ranks)) for ranks in several]
        found["gigatoken"] = lambda text: any(exact(text) != fast(text) for exact, fast in pairs)
    return found


def differing(differ: Callable[[str], bool], codes: list[int]) -> list[int]:
    """The code points on which two libraries differ: halves of what differs are looked at again."""
    if not differ("".join(around(chr(code)) for code in codes)):
        return []
    half = len(codes) // 2
    return [*differing(differ, codes[:half]), *differing(differ, codes[half:])] if half else codes


def guarded(known: KnownPattern) -> set[int]:
    """The code points on which gigatoken is known to differ."""
    return {code for low, high in (*NEW_CODE_POINTS, *known.newer) for code in range(low, high + 1)}


if __name__ == "__main__":
    for pattern in (pattern for pattern in KNOWN if pattern.name in sys.argv[1:]):
        for library, differ in differences(pattern, 4).items():
            codes = {
                code for first in range(0, len(CODES), 128) for code in differing(differ, CODES[first : first + 128])
            }
            texts = [text for text in random_texts(100_000) if not {*map(ord, text)} & (codes | guarded(pattern))]
            wrong = [text for text in texts if differ(text)]
            new = ", ".join(f"U+{code:04X}" for code in sorted(codes - guarded(pattern)))
            sys.stdout.write(f"{pattern.name}: {library}: {len(codes)} code points, not known: {new}; texts: {wrong}\n")

"""The alphabet in which a byte-level ``tokenizer.json`` writes bytes: each of the 256 is one printable character."""

from __future__ import annotations

from itertools import chain

PRINTED = frozenset(chain(range(0x21, 0x7F), range(0xA1, 0xAD), range(0xAE, 0x100)))
"""The bytes that stand for themselves; each other one is the next character from U+0100 on."""
_OTHERS = [byte for byte in range(256) if byte not in PRINTED]
ALPHABET = {chr(byte): byte for byte in PRINTED} | {chr(0x100 + k): byte for k, byte in enumerate(_OTHERS)}
"""Character -> byte."""
OUTSIDE = "\uffff"
_MEANT = dict.fromkeys(map(chr, range(256)), OUTSIDE) | {letter: chr(byte) for letter, byte in ALPHABET.items()}
_TABLE = str.maketrans(_MEANT)
LETTERS = [letter for letter, _ in sorted(ALPHABET.items(), key=lambda item: item[1])]
"""The character of each byte."""


def bytes_of(token: str) -> bytes | None:
    """Return the bytes that a token stands for; None where it holds a character outside the alphabet.

    >>> bytes_of("\u0120a"), bytes_of(" a")
    (b' a', None)
    """
    try:
        return token.translate(_TABLE).encode("latin-1")
    except UnicodeEncodeError:
        return None

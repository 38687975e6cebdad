r"""The patterns that split a text into pieces before bytes are merged: those that are known, by name.

Of a known pattern it was shown, over every code point in many surroundings and over random texts, that tiktoken
(fancy-regex) and ``tokenizers`` 0.23 (Oniguruma) split alike (`tests/support/sweeping.py`). Any other may split
differently: ``$``, ``\w``, ``(?s)`` and ``{1,3}+`` mean something else in each, and that is why two that are known for
tiktoken are not known for ``tokenizers``.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmprep.errors import FileFormatError, UsageError, printable, shorten
from llmprep.vocabulary.probing import probe

_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SIGNS = r" ?[^\s\p{L}\p{N}]+"
_SPACE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_UPPER_NOT_HAN = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
_LOWER_NOT_HAN = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
_PATTERNS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|"
    r"\s*[\r\n]|\s+(?!\S)|\s",
    "llama3": rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_SIGNS}[\r\n]*|{_SPACE}",
    "minbpe": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|"
    r"\s+(?!\S)|\s+",
    "nanochat": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|"
    r"\s+(?!\S)|\s+",
    "qwen2": rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_SIGNS}[\r\n]*|{_SPACE}",
    "qwen35": rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|"
    rf"{_SPACE}",
    "o200k": rf"{_UPPER}*{_LOWER}+{_CONTRACTION}?|{_UPPER}+{_LOWER}*{_CONTRACTION}?|\p{{N}}{{1,3}}|{_SIGNS}[\r\n/]*|"
    rf"{_SPACE}",
    "tekken": rf"{_UPPER}*{_LOWER}+|{_UPPER}+{_LOWER}*|\p{{N}}|{_SIGNS}[\r\n/]*|{_SPACE}",
    "kimi": rf"[\p{{Han}}]+|{_UPPER_NOT_HAN}*{_LOWER_NOT_HAN}+{_CONTRACTION}?|"
    rf"{_UPPER_NOT_HAN}+{_LOWER_NOT_HAN}*{_CONTRACTION}?|\p{{N}}{{1,3}}|{_SIGNS}[\r\n]*|{_SPACE}",
    "deepseek_v3": r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"""
    rf" ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACE}",
}
_GPT2_SPELLINGS = (
    rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+|{_SIGNS}|\s+(?!\S)|\s+",
    rf"'(?:[sdmt]|ll|ve|re)| ?\p{{L}}+| ?\p{{N}}+|{_SIGNS}|\s+(?!\S)|\s+",
)
_GLOTTAL_STOP = ((0x295, 0x295),)
"""No small letter any more since Unicode 17."""
_NEW_SIGNS = (
    (0x20C1, 0x20C1), (0x2B96, 0x2B96), (0xFBC3, 0xFBD2), (0xFD90, 0xFD91), (0xFDC8, 0xFDCE), (0x10ED0, 0x10ED8),
    (0x1CCFA, 0x1CCFC), (0x1CEBA, 0x1CED0), (0x1CEE0, 0x1CEF0), (0x1F6D8, 0x1F6D8), (0x1F777, 0x1F77A),
    (0x1F8D0, 0x1F8D8), (0x1FA54, 0x1FA57), (0x1FA8A, 0x1FA8A), (0x1FA8E, 0x1FA8E), (0x1FAC8, 0x1FAC8),
    (0x1FACD, 0x1FACD), (0x1FAEA, 0x1FAEA), (0x1FAEF, 0x1FAEF), (0x1FBFA, 0x1FBFA),
)  # fmt: skip
"""Signs that Unicode 17 added."""


@dataclass(frozen=True, slots=True)
class KnownPattern:
    """A pattern that is known.

    ``splits`` are applied in turn, each to the pieces of the one before; most are one, and ``spellings`` are others of
    that one. ``names`` are others of its name. ``may_cut``: text may be cut where `llmprep.documents.blocks` cuts it.
    ``scheme`` is gigatoken's name of the same pattern, None where it has none; it splits otherwise at the code points
    of `llmprep.tokens.unicode17` and those that ``newer`` has, as ranges. ``by_tokenizers``: that library splits alike.
    """

    name: str
    splits: tuple[str, ...]
    names: tuple[str, ...] = ()
    spellings: tuple[str, ...] = ()
    scheme: str | None = None
    newer: tuple[tuple[int, int], ...] = ()
    may_cut: bool = True
    by_tokenizers: bool = True


def _known(name: str, *names: str, scheme: str | None = None, **rest: Any) -> KnownPattern:
    return KnownPattern(name, (_PATTERNS[name],), names, scheme=scheme, **rest)


KNOWN = (
    _known("gpt2", "r50k", "r50k_base", "p50k", "p50k_base", "gpt3", scheme="gpt2", spellings=_GPT2_SPELLINGS),
    # Not llama3: white space at the end of a text is one piece.
    _known("cl100k", "cl100k_base", "gpt4", scheme="gpt4", by_tokenizers=False),
    _known(
        "llama3", "llama3.1", "llama3.2", "llama3.3", "olmo2", "olmo3", "glm4", "minbpe", "rustbpe",
        scheme="olmo3", spellings=(_PATTERNS["minbpe"],),
    ),
    _known(
        "o200k", "o200k_base", "o200k_harmony", "gpt4o", "gpt-oss", "llama4", scheme="o200k", newer=_GLOTTAL_STOP
    ),
    _known("qwen2", "qwen", "qwen2.5", "qwen3", scheme="qwen2"),
    _known("qwen35", "qwen3.5", "qwen3.6", scheme="qwen35"),
    _known("nanochat"),
    _known("tekken", "nemotron", "mistral_nemo", scheme="nemotron", newer=_GLOTTAL_STOP),
    _known("kimi", "kimi_k2", "moonlight", scheme="kimi", newer=_GLOTTAL_STOP),
    KnownPattern(
        "deepseek_v3",
        (r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", _PATTERNS["deepseek_v3"]),
        ("deepseek_r1",),
        scheme="deepseek_v3",
        newer=_NEW_SIGNS,
    ),
    # A text is one piece, as minbpe's BasicTokenizer has it.
    KnownPattern("whole", ("(?s).+",), may_cut=False, by_tokenizers=False),
)  # fmt: skip
"""All that are known."""


def find_known(splits: Sequence[str]) -> KnownPattern | None:
    """Return the known pattern that a ``tokenizer.json`` spells so, as the splits that are applied in turn.

    None where there is none, and where ``tokenizers``, which defines such a file, splits otherwise than tiktoken.
    """
    known = _by_spelling().get(tuple(map(_escape, splits)))
    return known if known is not None and known.by_tokenizers else None


def find_known_to_tiktoken(pattern: str) -> KnownPattern | None:
    """Return the known pattern that is spelled so for tiktoken, None where there is none."""
    return _by_spelling().get((_escape(pattern),))


def resolve_pattern(text: str) -> tuple[str, KnownPattern | None]:
    """Return one regular expression for a pattern's name, or for a pattern, and the known pattern that it is, if any.

    Raises `UsageError` for what is neither, for a pattern of several splits, and for one that fails when it is tried.
    """
    known = _by_name().get(text) or find_known_to_tiktoken(text)
    if known is not None:
        if len(known.splits) > 1:
            raise UsageError(
                f"--pattern {known.name}: is {len(known.splits)} patterns applied in turn, which only a tokenizer.json "
                f"can have; name that file"
            )
        return known.splits[0], known
    near = difflib.get_close_matches(text.lower(), _by_name(), n=3, cutoff=0.75)
    if near or text.replace("_", "").replace("-", "").replace(".", "").isalnum() or not text:
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {list_patterns()}; or give the pattern"
        raise UsageError(f"--pattern {shorten(text)}: unknown; {hint}")
    probe(f"--pattern {shorten(text)}", text, UsageError)
    return text, None


def know_stated(name: str, pattern: str) -> KnownPattern | None:
    """Return the known pattern that a file states for tiktoken; None for one that is not known, which is tried.

    A file's pattern is never taken for a name. Raises `FileFormatError` where the trial fails.
    """
    known = find_known_to_tiktoken(pattern)
    if known is None:
        probe(f"{name}: its pattern {shorten(printable(pattern))}", pattern, FileFormatError)
    return known


def list_patterns() -> str:
    """Return the names of the patterns that a rank file can have, for messages."""
    return ", ".join(known.name for known in KNOWN if len(known.splits) == 1)


def _escape(split: str) -> str:
    """Return a split with line ends written as escapes, which is the same pattern."""
    return split.replace("\r", r"\r").replace("\n", r"\n")


@functools.cache
def _by_spelling() -> dict[tuple[str, ...], KnownPattern]:
    return {
        tuple(map(_escape, splits)): known
        for known in KNOWN
        for splits in (known.splits, *((spelling,) for spelling in known.spellings))
    }


@functools.cache
def _by_name() -> dict[str, KnownPattern]:
    return {name: known for known in KNOWN for name in (known.name, *known.names)}

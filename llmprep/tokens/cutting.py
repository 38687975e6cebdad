"""A vocabulary -> where its texts may be cut, and how small ones are joined, so that every id stays what it is.

Special and added tokens are found in a text before its pattern is. So a cut must not stand within one, nor decide
whether one is found; and what joins two documents must be found between them, and change nothing in them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from llmprep.documents.cuts import TIKTOKEN_CUTS, Cuts, last_safe_cut, second_cut
from llmprep.vocabulary.stated import AddedToken
from llmprep.vocabulary.vocabulary import Vocabulary

_latest: list[tuple[Vocabulary, Cuts]] = []
"""The vocabulary that was asked for last, and its cuts: it may have thousands of tokens."""


def cuts_of(vocabulary: Vocabulary) -> Cuts:
    """Return where texts may be cut, and how they are joined, that are encoded with a vocabulary."""
    if not _latest or _latest[0][0] is not vocabulary:
        _latest[:] = [(vocabulary, _find_cuts(vocabulary))]
    return _latest[0][1]


def _find_cuts(vocabulary: Vocabulary) -> Cuts:
    hf, eot = vocabulary.hf, vocabulary.end_of_text
    added, normalizer = (hf.added, hf.normalizer) if hf else ((), "")
    tokens = {token.encode() for token in [*vocabulary.special_tokens, *(token.content for token in added)]}
    allowed = (
        vocabulary.may_cut
        and not any(map(last_safe_cut, tokens))
        and not any(_reaches_over(token, normalizer) for token in added)
    )
    joint = None if eot is None else eot.encode()
    if joint is None or not _merges_apart(vocabulary, joint) or not _joins(joint, tokens, added):
        joint = None
    (start,) = TIKTOKEN_CUTS.specials
    specials = (start,) if tokens and all(token.startswith(start) for token in tokens) else tuple(sorted(tokens))
    return Cuts(allowed, joint, specials, second_cut(tokens))


def _merges_apart(vocabulary: Vocabulary, joint: bytes) -> bool:
    """Tell whether no text without the end-of-text string can merge to its id, whichever backend merges.

    Of a ``tokenizer.json`` that is told without its ranks, which take a second to prove.
    """
    hf = vocabulary.hf
    if hf is None:
        return bool(vocabulary.ranks) and joint not in vocabulary.ranks
    made = hf.end_is_entry and (hf.normalizer or not vocabulary.all_made)
    return vocabulary.known is not None and vocabulary.unknown_id != vocabulary.eot_id and not made


def _reaches_over(token: AddedToken, normalizer: str) -> bool:
    """Tell whether an added token that holds no safe cut may yet be found in other places where a text is cut at one.

    One that takes the white space after it does, if text may be cut there. So does one that must stand apart from
    letters, as a cut takes them away. One that is looked for in the normalised text holds a cut where its own text has
    none: NFKC makes an ASCII comma of that before which text may be cut; NFC changes no ASCII. White space before a
    token is no matter, since no cut stands within it.
    """
    changes = token.normalized and normalizer != "" and not (normalizer == "NFC" and token.content.isascii())
    return token.single_word or changes or (token.rstrip and last_safe_cut(f"{token.content} ".encode()) > 0)


def _joins(joint: bytes, tokens: Collection[bytes], added: Sequence[AddedToken]) -> bool:
    """Tell whether a special token is found between any two documents that it joins, and all others in these as alone.

    No token takes white space or looks at its neighbours, and none begins with it, holds it, or ends as it begins: else
    the end of one document would make another token with it.
    """
    if joint not in tokens or any(token.lstrip or token.rstrip or token.single_word for token in added):
        return False
    if any(token.normalized and token.content.encode() == joint for token in added):
        return False
    if any(token != joint and (joint in token or joint.startswith(token)) for token in tokens):
        return False
    begins = [joint[:size] for size in range(1, len(joint))]
    return not any(token.endswith(begin) for token in tokens for begin in begins if len(begin) < len(token))

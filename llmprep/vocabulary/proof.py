"""A ``tokenizer.json`` -> ranks and patterns with which tiktoken gives the same ids, or what stands in the way.

The library that defines the ids merges listed pairs, the one that stands first in the list first. tiktoken merges any
two parts whose join has a rank, the lowest rank first. Both take the leftmost of equals. Before it merges, tiktoken
looks the whole piece up; the library does so with ``ignore_merges`` only.

Why the two agree. Let the library merge the bytes of each entry t alone (`merges.merge_alone`). It ends in one part,
and then t is *made*, by its last merge, its own pair; or it ends in two parts or more.

1. Both libraries begin with the same parts, the bytes. Suppose that they have the same parts so far, and that two of
   them beside each other, (c, d), are together the bytes of an entry t. No merge has crossed the ends of t, and those
   within t were each the first of what could be merged there. So merging t alone comes to (c, d) as well. If t is
   made, (c, d) is its own pair. If not, (c, d) is where it ends, and the pair is not listed.
2. So all that the library can merge are own pairs of entries that are made. A listed pair that is the own pair of
   nothing never comes up: most of those are, where every split of every token is listed.
3. So all that tiktoken can merge are these too, if it has no rank for an entry that ends in two parts.
4. It takes the lowest id, and the library the earliest place. If own pairs in the order of their places make entries in
   the order of their ids, these are the same merge, and the parts stay the same.
5. Whole pieces. Without ``ignore_merges`` only what is made may have a rank: then looking up gives what merging gives.
   With it each entry that a piece can be has one; those that end in two parts are an obstacle, by 3.

Entries that hold a character outside the alphabet of bytes, or a byte that is no entry, are no part of any text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmprep.errors import shorten
from llmprep.vocabulary.byte_alphabet import bytes_of
from llmprep.vocabulary.merges import Merged, merge_alone
from llmprep.vocabulary.ranks import Ranks
from llmprep.vocabulary.stated import AddedToken
from llmprep.vocabulary.tokenizer_json import TokenizerJson

BYTE_LEVEL_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What ByteLevel splits by where it splits itself: GPT-2's pattern, as GPT-2 spelled it."""
FORMS = ("NFC", "NFD", "NFKC", "NFKD")
NOT_IN_UTF8 = frozenset({0xC0, 0xC1, *range(0xF5, 0x100)})
"""The 13 bytes that no text has: they need no entry."""
MAX_WORK = 2**29
"""The sum of the squares of lengths that is merged alone, which takes some seconds. Real files have up to 2**24."""


@dataclass(frozen=True, slots=True)
class Splitting:
    """How pieces are made of a text: each part of it between added tokens is normalised, and split.

    ``splits`` are regular expressions, each applied to the pieces of the one before. What is between two matches is a
    piece for the library, and lost by tiktoken: so they must be known to match every character.
    """

    splits: tuple[str, ...]
    normalizer: str


@dataclass(frozen=True, slots=True)
class Proven:
    """What gives the same ids: pieces are made as `Splitting` has them, and merged by ``ranks``."""

    ranks: Ranks
    splits: tuple[str, ...]
    normalizer: str
    added: tuple[AddedToken, ...]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """The first thing for which only the ``tokenizers`` library can encode, as a sentence."""

    reason: str


def prove(tokenizer: TokenizerJson) -> Proven | Obstacle:
    """Return the ranks and patterns of a file, or the first thing that stands in the way: 1 s for 130,000."""
    splitting = prove_splitting(tokenizer)
    if isinstance(splitting, Obstacle):
        return splitting
    ranks = _ranks(tokenizer.document["model"])
    if isinstance(ranks, Obstacle):
        return ranks
    return Proven(ranks, splitting.splits, splitting.normalizer, tokenizer.added)


def prove_splitting(tokenizer: TokenizerJson) -> Splitting | Obstacle:
    """Return how pieces are made, or the first thing for which no other library makes the same: at once."""
    document = tokenizer.document
    if obstacle := _model_obstacle(document["model"]):
        return Obstacle(obstacle)
    forms = flatten(document.get("normalizer"), "normalizers")
    names = [str(form.get("type")) for form in forms]
    if len(names) > 1 or not set(names) <= set(FORMS):
        return Obstacle(f"the normalizer is {', '.join(names)}")
    splits = _splits(flatten(document.get("pre_tokenizer"), "pretokenizers"))
    if isinstance(splits, Obstacle):
        return splits
    if obstacle := _added_obstacle(tokenizer.added, names) or _id_obstacle(tokenizer.added, document["model"]["vocab"]):
        return Obstacle(obstacle)
    return Splitting(splits, "".join(names))


def flatten(step: Any, key: str) -> list[dict[str, Any]]:
    """Return the steps of a normalizer or pre-tokenizer in their order: those of a Sequence, and of one within it."""
    match step:
        case None:
            return []
        case dict() if step.get("type") == "Sequence" and isinstance(step.get(key), list):
            return [inner for each in step[key] for inner in flatten(each, key)]
        case dict() if isinstance(step.get("type"), str | None):
            return [step]
        case _:  # nothing whose type is known, or is a list
            return [{"type": shorten(repr(step))}]


def _model_obstacle(model: dict[str, Any]) -> str:
    """Return why these are no merges of bytes alone, or nothing."""
    if model["type"] != "BPE":
        return f"the model is {model['type']}, not BPE"
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            return f"the model's {key} is {shorten(repr(model[key]))}"
    return ""


def _splits(steps: list[dict[str, Any]]) -> tuple[str, ...] | Obstacle:
    """Return the patterns of the pre-tokenizers: Splits, and then ByteLevel, which turns each piece into bytes."""
    names = [str(step.get("type")) for step in steps]
    if not names or names[-1] != "ByteLevel" or set(names[:-1]) - {"Split"}:
        return Obstacle(f"the pre-tokenizers are {', '.join(names) or 'none'}, not Splits and then ByteLevel")
    *before, last = steps
    if last.get("add_prefix_space") is not False:
        return Obstacle("ByteLevel adds a space before each text")
    splits = []
    for step in before:
        match step:
            case {"pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False}:
                splits.append(pattern)
            case {"pattern": {"Regex": str(pattern)}, "behavior": "Removed", "invert": True} if len(before) == 1:
                splits.append(pattern)  # what does not match is lost, as by tiktoken
            case _:
                return Obstacle(f"a Split is {_described(step)}, not by a Regex, Isolated")
    own = last.get("use_regex", True) is not False
    return (*splits, *([BYTE_LEVEL_PATTERN] if own else []))


def _described(split: dict[str, Any]) -> str:
    """Return what a Split does, in its own words."""
    pattern = split.get("pattern")
    kind = next(iter(pattern), "nothing") if isinstance(pattern, dict) else "nothing"
    return f"by a {kind}, {split.get('behavior')}{', inverted' if split.get('invert') else ''}"


def _added_obstacle(added: tuple[AddedToken, ...], forms: list[str]) -> str:
    """Return which added token is found otherwise than as its exact characters in the text itself, or nothing."""
    for token in added:
        for flag in ("lstrip", "rstrip", "single_word"):
            if getattr(token, flag):
                return f"the added token {shorten(repr(token.content))} is found with {flag}"
        if token.normalized and forms:
            return f"the added token {shorten(repr(token.content))} is found after {forms[0]}"
    return ""


def _id_obstacle(added: tuple[AddedToken, ...], vocab: dict[str, int]) -> str:
    """Return which added token has the id of another token, or nothing.

    Of two added tokens of one id the library finds one only. One that has an entry's cannot be told from it in the ids,
    and so documents could not be joined by it.
    """
    owners = {number: content for content, number in vocab.items()}
    for token in added:
        owner = owners.setdefault(token.id, token.content)
        if owner != token.content:
            return f"the added token {_quoted(token.content)} has the id of {_quoted(owner)}, {token.id}"
    return ""


def _ranks(model: Mapping[str, Any]) -> Ranks | Obstacle:
    """Return the ranks that make tiktoken merge as the model does, by the proof above, or what stands in the way."""
    vocab, looked_up = model["vocab"], bool(model.get("ignore_merges"))
    ranks = {token: number for token, number in zip(map(bytes_of, vocab), vocab.values(), strict=True) if token}
    present = {token[0] for token in ranks if len(token) == 1}
    if missing := set(range(256)) - NOT_IN_UTF8 - present:
        return Obstacle(f"the byte 0x{min(missing):02X} is no entry of the vocabulary")
    lacking = bytes(sorted(set(range(256)) - present))
    if lacking:
        ranks = {token: number for token, number in ranks.items() if len(token.translate(None, lacking)) == len(token)}
    if sum(len(token) ** 2 for token in ranks) > MAX_WORK:
        return Obstacle("its entries are too long to merge each of them alone")
    merged = merge_alone(ranks, vocab, model["merges"])
    if obstacle := _order_obstacle(merged, model["merges"]) or (_pair_obstacle(merged, vocab) if looked_up else ""):
        return Obstacle(obstacle)
    unmade = set() if looked_up else set(merged.ids[merged.left > 1].tolist())
    return {token: number for token, number in ranks.items() if number not in unmade} if unmade else ranks


def _order_obstacle(merged: Merged, merges: list[list[str]]) -> str:
    """Return which two own pairs make entries whose ids fall along the list, or nothing."""
    made = merged.left == 1
    ids, places = merged.ids[made], merged.places[made]
    ids, places = ids[places.argsort()], sorted(places.tolist())
    falls = (ids[1:] < ids[:-1]).nonzero()[0]
    if not len(falls):
        return ""
    at = int(falls[0])
    first, second = (" ".join(map(_quoted, merges[places[number]])) for number in (at, at + 1))
    return (
        f"the merges are not in the order of ids: {second} makes {ids[at + 1]}, "
        f"and {first}, which stands before it, {ids[at]}"
    )


def _pair_obstacle(merged: Merged, vocab: dict[str, int]) -> str:
    """Return the shortest entry that ends as two parts, which tiktoken would merge, or nothing."""
    ends = (merged.left == 2).nonzero()[0]
    if not len(ends):
        return ""
    row = ends[-1]  # the longest come first
    names = dict(zip(vocab.values(), vocab, strict=True))
    left, right = (_quoted(names[number]) for number in merged.pairs[row].tolist())
    number = int(merged.ids[row])
    return f"token {number}, {_quoted(names[number])}, is the pair {left} {right}, which is not in merges"


def _quoted(token: str) -> str:
    return shorten(repr(token))

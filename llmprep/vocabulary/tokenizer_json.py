"""A Hugging Face ``tokenizer.json`` -> what it states, checked: read strictly, and without what no stream of ids has.

Both lines of the ``tokenizers`` library take files that are wrong: a key that stands twice, two tokens of one id, an
added token of no characters. What such a file means is not for us to choose, so it is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, TypeAlias

from llmprep.errors import FileFormatError, plural, shorten
from llmprep.vocabulary.stated import AddedToken
from llmprep.vocabulary.strict_json import parse_object, without_collecting

MAX_DEPTH = 32
"""Objects and lists in each other. Real files have 6."""
MAX_ID = 2**31
"""Ids are smaller, so that they fit in int32."""
FLAGS = ("special", "normalized", "lstrip", "rstrip", "single_word")
NOT_IDS = ("truncation", "padding", "post_processor")

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TokenizerJson:
    """A ``tokenizer.json`` of the right shape, less what does not belong to a stream of ids.

    ``document`` is the file without truncation, padding, post-processor and dropout, its merges as lists of two, and
    ``canonical`` its one spelling, which two files share that differ in these or in white space and order of keys only:
    entries stand in the order of their ids, other keys in that of the alphabet.
    ``left_out`` is said of the file. ``added`` has the ids that ``tokenizers`` 0.23 gives, whatever the file states.
    """

    document: Json
    canonical: str
    left_out: tuple[str, ...]
    added: tuple[AddedToken, ...]


def read_tokenizer_json(name: str, data: bytes) -> TokenizerJson:
    """Read a file's content. Raises `FileFormatError` with the file's ``name``, the place in it, and what is wrong."""
    try:
        with without_collecting():
            return _read(data)
    except UnicodeEncodeError:
        raise FileFormatError(f"{name}: not a valid tokenizer.json: half of a surrogate pair stands in it") from None
    except (ValueError, RecursionError, FileFormatError) as error:
        reason = "lists nested too deeply" if isinstance(error, RecursionError) else error
        raise FileFormatError(f"{name}: not a valid tokenizer.json: {reason}") from error


def _read(data: bytes) -> TokenizerJson:
    """Raises `FileFormatError`, ValueError and RecursionError."""
    document = _parse(data)
    model = _checked_model(document.get("model"))
    _check_depth([value for key, value in document.items() if key != "model"])
    added, moved = _read_added(document.get("added_tokens", []), model["vocab"])
    left_out = (*_left_out(document), *moved)
    document |= {"model": model | {"dropout": None}, **dict.fromkeys(NOT_IDS)}
    canonical = json.dumps(_in_order(document), ensure_ascii=False, separators=(",", ":"))
    canonical.encode()
    return TokenizerJson(document, canonical, left_out, added)


def _in_order(document: Json) -> Json:
    """Return a document whose keys are in order: sorting entries by their ids, as they mostly are, takes no time."""
    model = document["model"]
    vocab, merges = model["vocab"], model.get("merges")
    if isinstance(vocab, dict):
        vocab = dict(sorted(vocab.items(), key=itemgetter(1)))
    small = {key: value for key, value in model.items() if key not in {"vocab", "merges"}}
    ordered: Json = _sorted(document | {"model": small})
    ordered["model"] |= {"vocab": vocab} if merges is None else {"merges": merges, "vocab": vocab}
    return ordered


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [*map(_sorted, value)] if isinstance(value, list) else value


def _parse(data: bytes) -> Json:
    """Return the object that the bytes are. Raises `FileFormatError` and ValueError."""
    document = parse_object(data)
    if document.get("version", "1.0") != "1.0":
        raise FileFormatError(f"version is {_shown(document['version'])}, not '1.0'")
    return document


def _check_depth(value: Any) -> None:
    """Raise `FileFormatError` where lists and objects stand in each other more deeply than any real file has them."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise FileFormatError(f"lists nested more than {MAX_DEPTH} deep")
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]


def _checked_model(model: Any) -> Json:
    """Return the model with its type and its merges as lists of two. Raises `FileFormatError`."""
    if not isinstance(model, dict):
        raise FileFormatError("model is missing, or no object")
    kind = model.get("type", "BPE" if "merges" in model else None)  # files of 2020 do not say it
    _check_depth([value for key, value in model.items() if key not in {"vocab", "merges"}])
    if kind == "Unigram":
        _check_pieces(model.get("vocab"))
    elif kind in ("BPE", "WordPiece", "WordLevel"):  # no set: a list has no hash
        _check_vocab(model.get("vocab"))
    else:
        raise FileFormatError(f"model.type is {_shown(kind)}, not BPE, WordPiece, WordLevel or Unigram")
    checked = model | {"type": kind}
    if kind == "BPE":
        prefix = model.get("continuing_subword_prefix")
        if not isinstance(prefix, str | None) or not isinstance(model.get("ignore_merges", False), bool):
            raise FileFormatError(
                "model.continuing_subword_prefix is no text, or model.ignore_merges not true or false"
            )
        checked["merges"] = _read_merges(model.get("merges"), model["vocab"], prefix or "")
    return checked


def _check_vocab(vocab: Any) -> None:
    """Raise `FileFormatError` unless each entry has an id of its own."""
    if not isinstance(vocab, dict) or not vocab:
        raise FileFormatError("model.vocab is no object of tokens and ids")
    for token, number in vocab.items():
        if type(number) is not int or not 0 <= number < MAX_ID:
            raise FileFormatError(
                f"model.vocab: {_shown(token)} has the id {_shown(number)}, not one of 0 to 2**31 - 1"
            )
    if len(set(vocab.values())) < len(vocab):
        owners: dict[int, str] = {}
        token, number = next((t, n) for t, n in vocab.items() if owners.setdefault(n, t) != t)
        raise FileFormatError(f"model.vocab: {_shown(owners[number])} and {_shown(token)} have one id, {number}")


def _check_pieces(vocab: Any) -> None:
    """Raise `FileFormatError` unless these are the pieces of a Unigram model, each with a finite score."""
    if not isinstance(vocab, list) or not vocab:
        raise FileFormatError("model.vocab is no list of pieces and scores")
    for number, entry in enumerate(vocab):
        match entry:
            case [str(), float() | int() as score] if math.isfinite(score) and not isinstance(score, bool):
                continue
            case _:
                raise FileFormatError(f"model.vocab: entry {number} is not a piece with a score")


def _read_merges(merges: Any, vocab: dict[str, int], prefix: str) -> list[list[str]]:
    """Return the merges of a BPE model as lists of two entries. Raises `FileFormatError` for one that names no entry.

    The later parts of a word have the ``prefix``, which their product has once. All are looked at together, as there
    are hundreds of thousands; one by one only where something is wrong with one of them.
    """
    if not isinstance(merges, list):
        raise FileFormatError("model.merges is no list")
    if merges and isinstance(merges[0], str):  # as in merges.txt, whose first line may be its version
        split = [merge.split(" ") if isinstance(merge, str) else None for merge in merges]
        merges = [pair for pair in split if pair is None or not pair[0].startswith("#version")]
    if set(map(type, merges)) - {list} or set(map(len, merges)) - {2} or set(map(type, chain(*merges))) - {str}:
        number = next(n for n, merge in enumerate(merges) if not _is_pair(merge))
        raise FileFormatError(f"model.merges: merge {number} is not a pair of tokens")
    pairs: list[list[str]] = merges
    cut = len(prefix)
    products = map("".join, pairs) if not cut else (left + right[cut:] for left, right in pairs)
    if not (vocab.keys() >= set(chain(*pairs)) and vocab.keys() >= set(products)):
        number, unknown = next(_unknown_parts(pairs, vocab, cut))
        raise FileFormatError(f"model.merges: merge {number} names {_shown(unknown)}, which is not in model.vocab")
    return pairs


def _is_pair(merge: Any) -> bool:
    return type(merge) is list and len(merge) == 2 and type(merge[0]) is type(merge[1]) is str


def _unknown_parts(pairs: list[list[str]], vocab: dict[str, int], cut: int) -> Iterator[tuple[int, str]]:
    """Iterate over what is no entry of the pairs and of what they make, with the number of the merge."""
    for number, (left, right) in enumerate(pairs):
        yield from ((number, part) for part in (left, right, left + right[cut:]) if part not in vocab)


def _read_added(entries: Any, vocab: dict[str, int] | list[Any]) -> tuple[tuple[AddedToken, ...], list[str]]:
    """Return the added tokens with the ids that the library gives, and what is to be said where the file says others.

    The library reads the stated ids and does not heed them. An entry of the model keeps its id. Each other token gets
    the next number, from the count of the model's entries on: an entry's, where ids do not begin at 0.
    """
    known = vocab if isinstance(vocab, dict) else {piece: number for number, (piece, _) in enumerate(vocab)}
    found: dict[str, AddedToken] = {}
    moved, following = [], len(vocab)
    for content, stated, flags in _checked_added(entries):
        if content in found:
            raise FileFormatError(f"added_tokens: {_shown(content)} is added twice")
        number = known.get(content, following)
        following += content not in known
        found[content] = AddedToken(content, number, **flags)
        if number != stated:
            moved.append(f"{_shown(content)}, {stated}, which the library gives {number}")
    said = f"the stated ids of {plural(len(moved), 'added token')}, as of {moved[0]}" if moved else ""
    return tuple(found.values()), [said] if said else []


def _checked_added(entries: Any) -> Iterator[tuple[str, int, dict[str, bool]]]:
    """Iterate over content, stated id and flags of each added token. Raises `FileFormatError` for what is none."""
    if not isinstance(entries, list):
        raise FileFormatError("added_tokens is no list")
    for place, entry in enumerate(entries):
        where = f"added_tokens: token {place}"
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise FileFormatError(f"{where} is no object with its content")
        content, number = entry["content"], entry.get("id")
        if not content:
            raise FileFormatError(f"{where} has no characters")
        if type(number) is not int or not 0 <= number < MAX_ID:
            raise FileFormatError(f"{where}, {_shown(content)}, has the id {_shown(number)}, not one of 0 to 2**31 - 1")
        if wrong := next((flag for flag in FLAGS if not isinstance(entry.get(flag), bool)), ""):
            raise FileFormatError(f"{where}, {_shown(content)}: {wrong} is neither true nor false")
        yield content, number, {flag: entry[flag] for flag in FLAGS}


def _left_out(document: Json) -> Iterator[str]:
    """Iterate over what a file asks for that a stream of ids does not have."""
    truncation, dropout = document.get("truncation"), document["model"].get("dropout")
    if truncation is not None:
        length = truncation.get("max_length") if isinstance(truncation, dict) else None
        yield f"truncation to {plural(length, 'token')}" if isinstance(length, int) else "truncation"
    if document.get("padding") is not None:
        yield "padding"
    if dropout:
        yield f"dropout {_shown(dropout)}"
    for kind in step_types(document.get("post_processor"), "processors"):
        if kind != "ByteLevel":  # which only moves offsets
            yield f"a post-processor, {kind}"


def step_types(step: Any, key: str) -> Iterator[str]:
    """Iterate over the types of a step and, where it is a sequence, of those in it."""
    if isinstance(step, dict) and step.get("type") == "Sequence":
        inner = step.get(key)
        for each in inner if isinstance(inner, list) else []:
            yield from step_types(each, key)
    elif step is not None:
        yield str(step.get("type")) if isinstance(step, dict) else "of no type"


def _shown(value: Any) -> str:
    """Return a value of the file, fit for a message."""
    return shorten(repr(value))

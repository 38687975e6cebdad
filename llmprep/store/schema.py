"""The form of manifest, plan and receipts: their keys, and what is wrong with one. Nothing in them is trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from llmprep.formats.meta import wrong_keys
from llmprep.tokens.figures import are_gaps

FORMAT = "llmprep-store/1"
MAX_INT = 1 << 62
KEYS: dict[str, type] = {
    "format": str,
    "llmprep_version": str,
    "encoding": str,
    "vocab_sha256": str,
    "n_vocab": int,
    "dtype": str,
    "options": dict,
    "plan_sha256": str,
    "n_tokens": int,
    "n_documents": int,
    "n_special": int,
    "n_boms": int,
    "content_sha256": str,
    "sources": list,
    "empty": list,
    "shards": list,
    "splits": dict,
}
SHARD_KEYS: dict[str, type] = {
    "file": str,
    "tokens": int,
    "documents": int,
    "bytes": int,
    "sha256": str,
    "pieces": list,
}
PLAN_KEYS: dict[str, type] = {"plan_sha256": str, "options": dict, "corpus": list, "shards": list, "n_vocab": int}
OPTION_KEYS: dict[str, type] = {
    "llmprep_version": str,
    "encoding": str,
    "vocab_sha256": str,
    "newlines": str,
    "separator": str,
    "special": str,
    "text_field": str,
    "shard_bytes": int,
}
RECEIPT_KEYS: dict[str, type] = {
    "plan_sha256": str,
    "file": str,
    "bytes": int,
    "sha256": str,
    "tokens": int,
    "documents": int,
    "special": int,
    "boms": int,
    "recipe": list,
    "content": list,
    "pieces": list,
}
COUNTS = ("n_tokens", "n_documents", "n_special", "n_boms")
PIECE_LENGTH = 6


def find_faults(values: object) -> list[str]:
    """Return what keeps values from being a manifest, in words; empty if nothing does."""
    if not isinstance(values, dict):
        return ["is not an object"]
    if values.get("format") != FORMAT:
        return [f"format is {str(values.get('format'))[:40]!r}, this llmprep reads {FORMAT!r}"]
    wrong = wrong_keys(values, KEYS)
    for number, shard in enumerate(values["shards"] if not wrong else ()):
        wrong += wrong_keys(shard, SHARD_KEYS, f"shard {number}: ")
    for look in (_figures, _sources, _shards, _totals, _splits):
        wrong = wrong or list(look(values))
    return wrong


def is_plan(values: object) -> bool:
    """Tell what `prepare` writes from any other value."""
    if not isinstance(values, dict) or wrong_keys(values, PLAN_KEYS) or wrong_keys(values["options"], OPTION_KEYS):
        return False
    fraction = values.get("val_fraction", 0)
    parts = [part for pieces in values["shards"] for part in (pieces if type(pieces) is list else [None])]
    return (
        (fraction is None or (type(fraction) is float and 0 < fraction < 1))
        and 1 <= values["n_vocab"] <= 1 << 31
        and len(values["shards"]) > 0
        and all(map(_is_entry, values["corpus"]))
        and all(_is_part(part, len(values["corpus"])) for part in parts)
    )


def _is_entry(entry: object) -> bool:
    """Tell [name, bytes, modification time, hash of a sample] of a file."""
    return type(entry) is list and list(map(type, entry)) == [str, int, int, str] and is_count(entry[1])


def _is_part(part: object, n_sources: int) -> bool:
    """Tell [source, start, end or None]."""
    if type(part) is not list or len(part) != 3 or not all(map(is_count, part[:2])) or part[0] >= n_sources:
        return False
    return part[2] is None or (is_count(part[2]) and part[1] <= part[2])


def is_receipt(values: object, n_pieces: int | None = None) -> bool:
    """Tell the receipt of a shard, of so many pieces where that is known, from any other value."""
    if not isinstance(values, dict) or wrong_keys(values, RECEIPT_KEYS):
        return False
    if n_pieces is not None and len(values["pieces"]) != n_pieces:
        return False
    figures = [values[key] for key in ("bytes", "tokens", "documents", "special", "boms")]
    return (
        all(map(is_count, [*figures, values.get("empty", 0)]))
        and all(_is_piece([0, *_listed(piece)], [None]) for piece in values["pieces"])
        and len(values["content"]) == len(values["pieces"])
        and all(list(map(type, _listed(each))) == [int, int, str, str] for each in values["content"])
    )


def _listed(value: object) -> list[Any]:
    return value if type(value) is list else []


def is_count(value: object) -> bool:
    """Tell a number of things from any other value."""
    return type(value) is int and 0 <= value < MAX_INT


def _figures(values: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{key} is out of range" for key in COUNTS if not is_count(values[key]))
    if not is_count(values.get("n_empty", 0)):
        yield "n_empty is out of range"
    if not 1 <= values["n_vocab"] <= 1 << 31:
        yield "n_vocab is out of range"
    elif values["dtype"] != store_dtype(values["n_vocab"]):
        yield f"dtype is not {store_dtype(values['n_vocab'])}, as {values['n_vocab']} ids need"
    if not re.fullmatch(r"[\w.-]{1,80}", values["encoding"], re.ASCII):
        yield "encoding is no name of an encoding"
    hashes = ("vocab_sha256", "plan_sha256", "content_sha256")
    yield from (f"{key} is no sha256" for key in hashes if not re.fullmatch("[0-9a-f]{64}", values[key]))


def _sources(values: Mapping[str, Any]) -> Iterator[str]:
    for number, source in enumerate(values["sources"]):
        if type(source) is not list or len(source) != 2 or type(source[0]) is not str or not is_count(source[1]):
            yield f"source {number} is no [name, bytes]"
    if not all(is_count(number) and number < len(values["sources"]) for number in values["empty"]):
        yield "empty does not list numbers of sources"


def _shards(values: Mapping[str, Any]) -> Iterator[str]:
    for number, shard in enumerate(values["shards"]):
        if shard["file"] != shard_name(number):
            yield f"shard {number}: file is {shard['file'][:40]!r}, should be {shard_name(number)!r}"
        if not all(is_count(shard[key]) for key in ("tokens", "documents", "bytes")):
            yield f"shard {number}: tokens, documents or bytes are out of range"
        if not all(_is_piece(piece, values["sources"]) for piece in shard["pieces"]):
            yield f"shard {number}: a piece is no [source, begin, end, tokens, documents, text, gaps if any]"


def _is_piece(piece: object, sources: list[Any]) -> bool:
    if type(piece) is not list or not all(map(is_count, piece[:PIECE_LENGTH])):
        return False
    if len(piece) != PIECE_LENGTH and not (len(piece) == PIECE_LENGTH + 1 and are_gaps(piece[-1])):
        return False
    source, begin, end = piece[:3]
    return bool(source < len(sources) and begin <= end)


def _totals(values: Mapping[str, Any]) -> Iterator[str]:
    """Shards add up to the whole, and pieces, with a separator before each document but the first, to their shard."""
    for key, part in (("n_tokens", "tokens"), ("n_documents", "documents")):
        total = sum(shard[part] for shard in values["shards"])
        if total != values[key]:
            yield f"{key} is {values[key]}, the shards have {total}"
    begun = False
    for number, shard in enumerate(values["shards"]):
        tokens = documents = 0
        for _, _, _, n_tokens, n_documents, *_ in shard["pieces"]:
            tokens += n_tokens + count_separators(n_documents, values["options"], begun=begun)
            documents += n_documents
            begun = begun or n_documents > 0
        if (tokens, documents) != (shard["tokens"], shard["documents"]):
            yield f"shard {number}: its pieces do not add up to its tokens and documents"


def count_separators(n_documents: int, options: Mapping[str, Any], *, begun: bool) -> int:
    """Return how many separators stand before documents that begin in a piece; the corpus's first has none."""
    return max(0, n_documents - (not begun)) if options.get("separator") == "eot" else 0


def _splits(values: Mapping[str, Any]) -> Iterator[str]:
    spans = list(values["splits"].values())
    if not all(type(span) is list and len(span) == 2 and all(map(is_count, span)) for span in spans):
        yield "splits are no [first token, token behind the last]"
        return
    ordered = sorted(spans)
    if any(first > behind or behind > values["n_tokens"] for first, behind in ordered):
        yield f"splits are not within the {values['n_tokens']} tokens"
    if any(before[1] > after[0] for before, after in pairwise(ordered)):
        yield "splits share tokens"


def shard_name(number: int) -> str:
    """File name of a shard.

    >>> shard_name(7)
    'tokens-00007.pt'
    """
    return f"tokens-{number:05d}.pt"


def store_dtype(n_vocab: int) -> str:
    """Return the smallest dtype that holds every id: only readers that know read a store."""
    return "uint16" if n_vocab <= 65_536 else "int32"

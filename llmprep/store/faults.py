"""What is wrong with the JSON of a store's files. Nothing in them is trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from llmprep.formats.meta import wrong_keys
from llmprep.store.schema import FORMAT, FORMAT_1, Piece, count_separators, shard_name, store_dtype
from llmprep.tokens.figures import are_gaps

MAX_INT = 1 << 62
MAX_VOCAB = 1 << 31
MANIFEST_KEYS: dict[str, type] = {
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
HASHES = ("vocab_sha256", "plan_sha256", "content_sha256")
PIECE_LENGTH = len(Piece._fields) - 1
"""Without gaps."""


# --- the plan and the receipts --------------------------------------------------------------------


def is_plan(stated: object) -> bool:
    """Tell the JSON of a plan from any other value."""
    if not isinstance(stated, dict) or wrong_keys(stated, PLAN_KEYS) or wrong_keys(stated["options"], OPTION_KEYS):
        return False
    fraction = stated.get("val_fraction", 0)
    spans = [span for shard in stated["shards"] for span in (shard if type(shard) is list else [None])]
    return (
        (fraction is None or (type(fraction) is float and 0 < fraction < 1))
        and 1 <= stated["n_vocab"] <= MAX_VOCAB
        and len(stated["shards"]) > 0
        and all(map(_is_entry, stated["corpus"]))
        and all(_is_span(span, len(stated["corpus"])) for span in spans)
    )


def _is_entry(entry: object) -> bool:
    """Tell [name, bytes, modification time, hash of a sample] of a file."""
    return type(entry) is list and list(map(type, entry)) == [str, int, int, str] and _is_count(entry[1])


def _is_span(span: object, n_sources: int) -> bool:
    """Tell [source, start, end or None]."""
    if type(span) is not list or len(span) != 3 or not all(map(_is_count, span[:2])) or span[0] >= n_sources:
        return False
    return span[2] is None or (_is_count(span[2]) and span[1] <= span[2])


def is_receipt(stated: object, n_pieces: int | None = None) -> bool:
    """Tell the JSON of a shard's receipt, of ``n_pieces`` pieces where that is known, from any other value."""
    if not isinstance(stated, dict) or wrong_keys(stated, RECEIPT_KEYS):
        return False
    if n_pieces is not None and len(stated["pieces"]) != n_pieces:
        return False
    figures = [stated[key] for key in ("bytes", "tokens", "documents", "special", "boms")]
    return (
        all(map(_is_count, [*figures, stated.get("empty", 0)]))
        and all(_is_piece([0, *_as_list(piece)], 1) for piece in stated["pieces"])
        and len(stated["content"]) == len(stated["pieces"])
        and all(list(map(type, _as_list(each))) == [int, int, str, str] for each in stated["content"])
    )


def _as_list(value: object) -> list[Any]:
    return value if type(value) is list else []


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < MAX_INT


def _is_piece(piece: object, n_sources: int) -> bool:
    """Tell [source, begin, end, tokens, documents, text], and gaps if there are any."""
    if type(piece) is not list or not all(map(_is_count, piece[:PIECE_LENGTH])):
        return False
    if len(piece) != PIECE_LENGTH and not (len(piece) == PIECE_LENGTH + 1 and are_gaps(piece[-1])):
        return False
    source, begin, end = piece[:3]
    return bool(source < n_sources and begin <= end)


# --- the manifest ---------------------------------------------------------------------------------


def find_faults(stated: object) -> list[str]:
    """Return what keeps JSON from being that of a manifest, in words; empty if nothing does."""
    if not isinstance(stated, dict):
        return ["is not an object"]
    if stated.get("format") not in (FORMAT, FORMAT_1):
        return [f"format is {str(stated.get('format'))[:40]!r}, this llmprep reads {FORMAT!r}"]
    wrong = wrong_keys(stated, MANIFEST_KEYS)
    for number, shard in enumerate(stated["shards"] if not wrong else ()):
        wrong += wrong_keys(shard, SHARD_KEYS, f"shard {number}: ")
    for look in (_figures, _sources, _shards, _totals, _splits):
        wrong = wrong or list(look(stated))
    return wrong


def _figures(stated: Mapping[str, Any]) -> Iterator[str]:
    counts = ("n_tokens", "n_documents", "n_special", "n_boms")
    yield from (f"{key} is out of range" for key in counts if not _is_count(stated[key]))
    if not _is_count(stated.get("n_empty", 0)):
        yield "n_empty is out of range"
    if not 1 <= stated["n_vocab"] <= MAX_VOCAB:
        yield "n_vocab is out of range"
    elif stated["dtype"] != store_dtype(stated["n_vocab"]):
        yield f"dtype is not {store_dtype(stated['n_vocab'])}, as {stated['n_vocab']} ids need"
    if not re.fullmatch(r"[\w.-]{1,80}", stated["encoding"], re.ASCII):
        yield "encoding is no name of an encoding"
    yield from (f"{key} is no sha256" for key in HASHES if not re.fullmatch("[0-9a-f]{64}", stated[key]))


def _sources(stated: Mapping[str, Any]) -> Iterator[str]:
    for number, source in enumerate(stated["sources"]):
        if type(source) is not list or len(source) != 2 or type(source[0]) is not str or not _is_count(source[1]):
            yield f"source {number} is no [name, bytes]"
    if not all(_is_count(number) and number < len(stated["sources"]) for number in stated["empty"]):
        yield "empty does not list numbers of sources"


def _shards(stated: Mapping[str, Any]) -> Iterator[str]:
    n_sources = len(stated["sources"])
    for number, shard in enumerate(stated["shards"]):
        if shard["file"] != shard_name(number):
            yield f"shard {number}: file is {shard['file'][:40]!r}, should be {shard_name(number)!r}"
        if not all(_is_count(shard[key]) for key in ("tokens", "documents", "bytes")):
            yield f"shard {number}: tokens, documents or bytes are out of range"
        if not all(_is_piece(piece, n_sources) for piece in shard["pieces"]):
            yield f"shard {number}: a piece is no [source, begin, end, tokens, documents, text, gaps if any]"


def _totals(stated: Mapping[str, Any]) -> Iterator[str]:
    """Shards add up to the whole, and pieces, with a separator before each document but the first, to their shard."""
    for key, part in (("n_tokens", "tokens"), ("n_documents", "documents")):
        total = sum(shard[part] for shard in stated["shards"])
        if total != stated[key]:
            yield f"{key} is {stated[key]}, the shards have {total}"
    begun = False
    for number, shard in enumerate(stated["shards"]):
        tokens = documents = 0
        for _, _, _, n_tokens, n_documents, *_ in shard["pieces"]:
            tokens += n_tokens + count_separators(n_documents, stated["options"], begun=begun)
            documents += n_documents
            begun = begun or n_documents > 0
        if (tokens, documents) != (shard["tokens"], shard["documents"]):
            yield f"shard {number}: its pieces do not add up to its tokens and documents"


def _splits(stated: Mapping[str, Any]) -> Iterator[str]:
    spans = list(stated["splits"].values())
    if not all(type(span) is list and len(span) == 2 and all(map(_is_count, span)) for span in spans):
        yield "splits are no [first token, end]"
        return
    ordered = sorted(spans)
    if any(first > end or end > stated["n_tokens"] for first, end in ordered):
        yield f"splits are not within the {stated['n_tokens']} tokens"
    if any(before[1] > after[0] for before, after in pairwise(ordered)):
        yield "splits share tokens"

"""What is wrong with the JSON of a store's files. Nothing in them is trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from llmprep.documents.names import SEPARATOR
from llmprep.formats.meta import store_dtype, wrong_keys, wrong_left_out
from llmprep.store.columns import FIGURES, MAX_INT, Pieces, Stamps, count_separators, exact_sum, is_count, split_numbers
from llmprep.store.format_1 import find_row_faults, in_columns
from llmprep.store.schema import FORMAT, FORMAT_1, WHOLE, Receipt, shard_name, sources_of

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
    "names": str,
    "sizes": str,
    "empty": str,
    "shards": list,
    "pieces": dict,
    "splits": dict,
}
SHARD_KEYS: dict[str, type] = {
    "file": str,
    "tokens": int,
    "documents": int,
    "bytes": int,
    "sha256": str,
    "first": int,
    "n_pieces": int,
}
PLAN_KEYS: dict[str, type] = {
    "plan_sha256": str,
    "options": dict,
    "names": str,
    "stamps": dict,
    "shards": list,
    "n_vocab": int,
}
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
    "stamps": dict,
    "hashes": str,
    "pieces": dict,
}
OLD_DTYPES = {"uint32": "int32"}
"""What older versions wrote in the place of a dtype."""
HASHES = ("vocab_sha256", "plan_sha256", "content_sha256")


# --- the plan and the receipts --------------------------------------------------------------------


def is_plan(stated: object) -> bool:
    """Tell the JSON of a plan from any other value."""
    if not isinstance(stated, dict) or wrong_keys(stated, PLAN_KEYS) or wrong_keys(stated["options"], OPTION_KEYS):
        return False
    if wrong_left_out(stated):
        return False
    fraction, stamps = stated.get("val_fraction", 0), Stamps.from_json(stated["stamps"])
    return (
        (fraction is None or (type(fraction) is float and 0 < fraction < 1))
        and 1 <= stated["n_vocab"] <= MAX_VOCAB
        and len(stated["shards"]) > 0
        and stamps is not None
        and n_names(stated["names"]) == len(stamps)
        and all(_is_row(row, len(stamps)) for row in stated["shards"])
    )


def _is_row(row: object, n_sources: int) -> bool:
    """Tell a row of `ShardSpans`."""
    if type(row) is not list or len(row) != 5 or not all(type(each) is int and WHOLE <= each < MAX_INT for each in row):
        return False
    first, count, start, end, last_end = row
    is_span = start >= 0 and (end == WHOLE or start <= end)
    return bool(0 <= first <= first + count <= n_sources and count > 0 and is_span and (last_end == WHOLE or count > 1))


def is_receipt(stated: object, n_pieces: int | None = None) -> bool:
    """Tell the JSON of a shard's receipt, of ``n_pieces`` pieces where that is known, from any other value."""
    if not isinstance(stated, dict) or wrong_keys(stated, RECEIPT_KEYS):
        return False
    figures = [stated[key] for key in ("bytes", "tokens", "documents", "special", "boms")]
    if not all(map(is_count, [*figures, stated.get("empty", 0)])):
        return False
    receipt = Receipt.from_json(stated)
    return receipt is not None and n_pieces in (None, len(receipt.pieces))


def n_names(joined: str) -> int:
    """Return how many names `split_names` makes of some that were joined."""
    return joined.count(SEPARATOR) + 1


# --- the manifest ---------------------------------------------------------------------------------


def find_faults(stated: object) -> list[str]:
    """Return what keeps JSON from being that of a manifest, in words; empty if nothing does."""
    if not isinstance(stated, dict):
        return ["is not an object"]
    if stated.get("format") not in (FORMAT, FORMAT_1):
        return [f"format is {str(stated.get('format'))[:40]!r}, this llmprep reads {FORMAT!r}"]
    if stated["format"] == FORMAT_1:
        wrong = find_row_faults(stated)
        if wrong:
            return wrong
        stated = in_columns(stated)
    wrong = wrong_keys(stated, MANIFEST_KEYS) or wrong_left_out(stated)
    for number, shard in enumerate(stated["shards"] if not wrong else ()):
        wrong += wrong_keys(shard, SHARD_KEYS, f"shard {number}: ")
    for look in (_figures, _sources, _shards, _pieces, _splits):
        wrong = wrong or list(look(stated))
    return wrong


def _figures(stated: Mapping[str, Any]) -> Iterator[str]:
    counts = ("n_tokens", "n_documents", "n_special", "n_boms")
    yield from (f"{key} is out of range" for key in counts if not is_count(stated[key]))
    if not is_count(stated.get("n_empty", 0)):
        yield "n_empty is out of range"
    if not 1 <= stated["n_vocab"] <= MAX_VOCAB:
        yield "n_vocab is out of range"
    elif stated["dtype"] not in (store_dtype(stated["n_vocab"]), OLD_DTYPES.get(store_dtype(stated["n_vocab"]))):
        yield f"dtype is not {store_dtype(stated['n_vocab'])}, as {stated['n_vocab']} ids need"
    if not re.fullmatch(r"[\w.-]{1,80}", stated["encoding"], re.ASCII):
        yield "encoding is not the name of an encoding"
    if not re.fullmatch("[0-9a-f]{64}", str(stated.get("fingerprint", "0" * 64))):
        yield "fingerprint is not a sha256"
    yield from (f"{key} is not a sha256" for key in HASHES if not re.fullmatch("[0-9a-f]{64}", stated[key]))


def _sources(stated: Mapping[str, Any]) -> Iterator[str]:
    n_sources, sizes, empty = n_names(stated["names"]), split_numbers(stated["sizes"]), split_numbers(stated["empty"])
    if sizes is None or len(sizes) != n_sources:
        yield "sizes are no bytes of each of the names"
    if empty is None or (empty >= n_sources).any():
        yield "empty does not list numbers of sources"


def _shards(stated: Mapping[str, Any]) -> Iterator[str]:
    n_sources = n_names(stated["names"])
    for number, shard in enumerate(stated["shards"]):
        if shard["file"] != shard_name(number):
            yield f"shard {number}: file is {shard['file'][:40]!r}, should be {shard_name(number)!r}"
        if not all(is_count(shard[key]) for key in ("tokens", "documents", "bytes", "first", "n_pieces")):
            yield f"shard {number}: tokens, documents, bytes, first or n_pieces are out of range"
        elif shard["first"] + shard["n_pieces"] > n_sources:
            yield f"shard {number}: first and n_pieces are no numbers of sources"
    for key, part in (("n_tokens", "tokens"), ("n_documents", "documents")):
        total = sum(shard[part] for shard in stated["shards"])
        if total != stated[key]:
            yield f"{key} is {stated[key]}, the shards have {total}"


def _pieces(stated: Mapping[str, Any]) -> Iterator[str]:
    """Pieces, with a separator before each document but the first, add up to their shard."""
    shards = stated["shards"]
    n_pieces = sum(shard["n_pieces"] for shard in shards)
    for figure in FIGURES:
        column = split_numbers(stated["pieces"].get(figure))
        if column is None or len(column) != n_pieces:
            yield f"pieces: {figure} is not a list of {n_pieces} numbers"
            return
    pieces = Pieces.from_json(stated["pieces"], sources_of([(shard["first"], shard["n_pieces"]) for shard in shards]))
    if pieces is None:
        yield "pieces: one ends before it begins, or its gaps are none"
        return
    in_texts = stated["options"].get("boundaries") == "text"  # documents begin within those of the pieces, too
    for shard, (number, sums) in zip(shards, enumerate(sum_pieces(pieces, shards, stated["options"])), strict=True):
        if sums != (shard["tokens"], sums[1] if in_texts else shard["documents"]):
            yield f"shard {number}: its pieces do not add up to its tokens and documents"


def _splits(stated: Mapping[str, Any]) -> Iterator[str]:
    spans = list(stated["splits"].values())
    if not all(type(span) is list and len(span) == 2 and all(map(is_count, span)) for span in spans):
        yield "splits are no [first token, end]"
        return
    ordered = sorted(spans)
    if any(first > end or end > stated["n_tokens"] for first, end in ordered):
        yield f"splits are not within the {stated['n_tokens']} tokens"
    if any(before[1] > after[0] for before, after in pairwise(ordered)):
        yield "splits share tokens"


def sum_pieces(
    pieces: Pieces, shards: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> Iterator[tuple[int, int]]:
    """Yield tokens and documents of each shard's pieces, as Python's numbers, which have no end."""
    at, begun = 0, False
    for shard in shards:
        end = at + shard["n_pieces"]
        tokens, documents = (exact_sum(column[at:end]) for column in (pieces.tokens, pieces.documents))
        yield tokens + count_separators(documents, options, begun=begun), documents
        at, begun = end, begun or documents > 0

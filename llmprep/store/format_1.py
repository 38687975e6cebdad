"""Manifest, plan and receipts of the format before, which have a list for each file -> the same in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llmprep.documents.names import Names
from llmprep.formats.meta import wrong_keys
from llmprep.store.columns import Piece, Pieces, is_count, join_hex, join_numbers
from llmprep.store.schema import WHOLE
from llmprep.tokens.figures import are_gaps

PIECE_LENGTH = len(Piece._fields) - 1
"""Without gaps."""


def find_row_faults(stated: Mapping[str, Any]) -> list[str]:
    """Return what keeps the lists of a manifest from being those of sources and pieces, in words."""
    wrong = wrong_keys(stated, {"sources": list, "empty": list, "shards": list})
    for number, shard in enumerate(stated["shards"] if not wrong else ()):
        wrong += wrong_keys(shard, {"pieces": list}, f"shard {number}: ")
    if wrong:
        return wrong
    wrong = [
        f"source {number} is no [name, bytes]" for number, each in enumerate(stated["sources"]) if not _is_sized(each)
    ]
    if not all(map(is_count, stated["empty"])):
        wrong.append("empty does not list numbers of sources")
    for number, shard in enumerate(stated["shards"]):
        if not all(map(_is_piece, shard["pieces"])):
            wrong.append(f"shard {number}: a piece is no [source, begin, end, tokens, documents, text, gaps if any]")
        elif any(piece[0] != shard["pieces"][0][0] + nth for nth, piece in enumerate(shard["pieces"])):
            wrong.append(f"shard {number}: its pieces are not of sources that follow each other")
    return wrong


def in_columns(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a manifest states, whose lists have no faults, in columns."""
    pieces = [Piece(*piece) for shard in stated["shards"] for piece in shard["pieces"]]
    shards = [
        shard | {"first": shard["pieces"][0][0] if shard["pieces"] else 0, "n_pieces": len(shard["pieces"])}
        for shard in stated["shards"]
    ]
    return {
        **stated,
        "names": Names.of(name for name, _ in stated["sources"]).join(),
        "sizes": _column([size for _, size in stated["sources"]]),
        "empty": _column(stated["empty"]),
        "shards": shards,
        "pieces": Pieces.of(pieces).to_json(),
    }


def plan_in_columns(stated: object) -> object:
    """Return what a plan states in columns if it is one of this format, else as it is."""
    if not isinstance(stated, dict) or wrong_keys(stated, {"corpus": list, "shards": list}):
        return stated
    corpus, shards = stated["corpus"], stated["shards"]
    if not all(_are(entry, [str, int, int, str]) and all(map(is_count, entry[1:3])) for entry in corpus):
        return stated
    if not all(type(shard) is list and shard and all(map(_is_span, shard)) for shard in shards):
        return stated
    return {
        **stated,
        "names": Names.of(name for name, *_ in corpus).join(),
        "stamps": _stamps([stamp for _, *stamp in corpus]),
        "shards": [_row(shard) for shard in shards],
    }


def receipt_in_columns(stated: object) -> object:
    """Return what a receipt states in columns if it is one of this format, else as it is."""
    if not isinstance(stated, dict) or wrong_keys(stated, {"content": list, "pieces": list}):
        return stated
    content, pieces = stated["content"], [[0, *piece] for piece in stated["pieces"] if type(piece) is list]
    if len(pieces) != len(stated["pieces"]) or not all(map(_is_piece, pieces)):
        return stated
    if not all(
        _are(each, [int, int, str, str]) and all(map(is_count, each[:2])) and len(each[3]) == 64 for each in content
    ):
        return stated
    return {
        **stated,
        "stamps": _stamps([stamp for *stamp, _ in content]),
        "hashes": "".join(sha256 for *_, sha256 in content),
        "pieces": Pieces.of([Piece(*piece) for piece in pieces]).to_json(),
    }


def _stamps(rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    times = np.array([time for _, time, _ in rows], np.int64)
    return {
        "sizes": _column([size for size, *_ in rows]),
        "times": join_hex(times),
        "samples": "".join(sample for *_, sample in rows),
    }


def _row(spans: Sequence[Sequence[Any]]) -> list[int]:
    """Return the row of `ShardSpans` for a shard's [source, start, end or None]."""
    ends = [WHOLE if end is None else end for _, _, end in spans]
    first, start, _ = spans[0]
    return [first, len(spans), start, ends[0], ends[-1] if len(spans) > 1 else WHOLE]


def _column(numbers: Sequence[int]) -> str:
    return join_numbers(np.array(numbers, np.int64))


def _are(value: object, kinds: Sequence[type]) -> bool:
    return type(value) is list and [*map(type, value)] == kinds


def _is_sized(source: object) -> bool:
    """Tell [name, bytes]."""
    return type(source) is list and _are(source, [str, int]) and is_count(source[1])


def _is_span(span: object) -> bool:
    """Tell [source, start, end or None]."""
    return type(span) is list and len(span) == 3 and all(map(is_count, [*span[:2], span[2] or 0]))


def _is_piece(piece: object) -> bool:
    """Tell [source, begin, end, tokens, documents, text], and gaps if there are any."""
    if type(piece) is not list or not all(map(is_count, piece[:PIECE_LENGTH])):
        return False
    if len(piece) != PIECE_LENGTH and not (len(piece) == PIECE_LENGTH + 1 and are_gaps(piece[-1])):
        return False
    return bool(piece[1] <= piece[2])

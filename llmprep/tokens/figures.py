"""What is said of the sources of a stream."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from llmprep.documents.source import Source

MAX_RECORDS = 1 << 62


def are_gaps(value: object) -> bool:
    """Tell runs [number, count], each behind the one before, or None, from any other value."""
    if value is None:
        return True
    behind = 1
    for run in value if isinstance(value, list) else [None]:
        if not isinstance(run, list) or len(run) != 2 or any(type(each) is not int for each in run):
            return False
        if run[0] < behind or not 1 <= run[1] <= MAX_RECORDS - run[0]:
            return False
        behind = run[0] + run[1] + 1
    return True


MAX_SOURCES = 1024
"""Up to so many inputs are listed one by one in ``meta``; more are summed up in one record."""


def sum_or_list(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Return one record per input, in order; of more than `MAX_SOURCES`, one for all."""
    return [sum_sources(sources)] if len(sources) > MAX_SOURCES else [source_record(source) for source in sources]


def source_record(source: Source) -> dict[str, Any]:
    """Return what ``meta`` says of one input."""
    record: dict[str, Any] = {
        "name": source.name,
        "bytes": source.n_bytes,
        "sha256": source.sha256,
        "tokens": source.n_tokens,
        "documents": source.n_documents,
    }
    return (
        record
        | ({"empty": source.n_empty} if source.n_empty else {})
        | ({} if source.gaps == [] else {"gaps": source.gaps})
    )


def sum_sources(sources: Sequence[Source]) -> dict[str, Any]:
    """Return one record for many inputs; its sha256 is of the list that ``sha256sum`` prints for them."""
    listing = hashlib.sha256()
    for source in sources:
        listing.update(f"{source.sha256}  {source.name}\n".encode())
    return {
        "name": f"{len(sources)} inputs",
        "bytes": sum(source.n_bytes for source in sources),
        "sha256": listing.hexdigest(),
        "tokens": sum(source.n_tokens for source in sources),
        "documents": sum(source.n_documents for source in sources),
    } | ({"empty": n_empty} if (n_empty := sum(source.n_empty for source in sources)) else {})

"""What is counted while a stream passes, and the records of its sources for ``meta``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmprep.documents.source import Counts, LeftOut
from llmprep.tokens.starts import Starts

MAX_NUMBER = 1 << 62
"""The largest number that a record of a source can have."""
MAX_SOURCES = 1024
"""The number of inputs up to which ``meta`` lists them one by one; more are summed up in one record."""


@dataclass(slots=True)
class Figures:
    """What has been counted of a stream so far; final after its last block.

    ``counts`` are those of its sources, one by one, while texts are read; ``records`` is what a file or store says of
    its sources. ``n_special`` counts the end-of-text strings in the texts themselves. ``used`` says how many blocks
    each backend encoded. ``chained`` tells a ``content_sha256`` that a file of the format before states. ``left_out``
    are the inputs that gave nothing, as they could not be read. ``starts`` are where documents begin, if that is
    known.
    """

    counts: Sequence[Counts] = field(default=(), repr=False)
    records: Sequence[dict[str, Any]] = field(default=(), repr=False)
    n_tokens: int = 0
    n_special: int = 0
    content_sha256: str = ""
    chained: bool = False
    left_out: Sequence[LeftOut] = ()
    used: Mapping[str, int] = field(default_factory=dict)
    starts: Starts | None = field(default=None, repr=False)

    @property
    def sources(self) -> list[dict[str, Any]]:
        """One record per source, in order, for ``meta``; for more than `MAX_SOURCES`, one for all."""
        return [*self.records] or sum_or_list(self.counts)


def sum_or_list(counted: Sequence[Counts]) -> list[dict[str, Any]]:
    """Return one record per source, in order; for more than `MAX_SOURCES`, one for all."""
    return [_sum(counted)] if len(counted) > MAX_SOURCES else [_record(counts) for counts in counted]


def _record(counts: Counts) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": counts.source.name,
        "bytes": counts.n_bytes,
        "sha256": counts.sha256,
        "tokens": counts.n_tokens,
        "documents": counts.n_documents,
    }
    if counts.n_empty:
        record["empty"] = counts.n_empty
    if counts.gaps != []:
        record["gaps"] = counts.gaps
    return record


def _sum(counted: Sequence[Counts]) -> dict[str, Any]:
    """Return one record for many sources; its sha256 is that of the lines that ``sha256sum`` prints for them."""
    listing = hashlib.sha256()
    for counts in counted:
        listing.update(f"{counts.sha256}  {counts.source.name}\n".encode())
    record: dict[str, Any] = {
        "name": f"{len(counted)} inputs",
        "bytes": sum(counts.n_bytes for counts in counted),
        "sha256": listing.hexdigest(),
        "tokens": sum(counts.n_tokens for counts in counted),
        "documents": sum(counts.n_documents for counts in counted),
    }
    n_empty = sum(counts.n_empty for counts in counted)
    return record | ({"empty": n_empty} if n_empty else {})


def state_left_out(left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """Return what a file or store says of inputs that were left out: nothing, where there were none."""
    return {"left_out": [{"name": each.name, "reason": each.reason} for each in left_out]} if left_out else {}


def left_out_of(stated: Mapping[str, Any]) -> list[LeftOut]:
    """Return the inputs that a file or store says were left out."""
    return [LeftOut(each["name"], each["reason"]) for each in stated.get("left_out", ())]


def are_gaps(value: object) -> bool:
    """Tell whether a value is None, or a list of runs [number, count] in order, none of which touches the next.

    >>> are_gaps([[2, 3], [9, 1]]), are_gaps([[2, 3], [5, 1]])
    (True, False)
    """
    if value is None:
        return True
    smallest = 1
    for run in value if isinstance(value, list) else [None]:
        if not isinstance(run, list) or len(run) != 2 or any(type(each) is not int for each in run):
            return False
        if run[0] < smallest or not 1 <= run[1] <= MAX_NUMBER - run[0]:
            return False
        smallest = run[0] + run[1] + 1
    return True

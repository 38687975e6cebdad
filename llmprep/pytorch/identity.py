"""What a data set is, in plain values, so that a state of one is not taken for a state of another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from torch.utils.data import ConcatDataset, Subset

from llmprep.errors import UsageError, shorten

Identity: TypeAlias = dict[str, Any]
"""Plain values that are equal only where the windows of two data sets are."""


def identify(dataset: object) -> Identity | None:
    """Return what a data set is, or None where that is not known.

    A `WindowDataset` says it by its method ``identity``, as a data set of your own may; a Subset or ConcatDataset is
    what its parts are.
    """
    if isinstance(dataset, Subset):
        indices = np.asarray(dataset.indices, "<i8")
        return {"subset_sha256": hashlib.sha256(indices.data).hexdigest(), "of": identify(dataset.dataset)}
    if isinstance(dataset, ConcatDataset):
        return {"parts": [identify(part) for part in dataset.datasets]}
    own = getattr(dataset, "identity", None)
    return dict(own()) if callable(own) else None


def compare_identities(stated: object, own: Identity | None) -> None:
    """Raise `UsageError` that names the first thing in which two data sets differ."""
    if stated is None and own is not None:
        raise UsageError(
            "state: does not tell which data set it is of; if it is of this sampler's, put what that is under its key "
            "'dataset': dataset.identity()"
        )
    if isinstance(stated, Mapping) and own is not None:
        for key, value in own.items():
            compare_values(key, stated.get(key), value)
    compare_values("dataset", stated, own)


def compare_values(name: str, stated: object, own: object) -> None:
    """Raise `UsageError` if a state's value is not the sampler's own."""
    if stated != own:
        raise UsageError(
            f"{name} {shorten(str(stated))}: this sampler has {shorten(str(own))}; the state is of another data set"
        )

"""The sources of a mixture: opened, each with its weight, and seen to belong together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from llmprep.errors import InputError, UsageError, shorten, visible_name
from llmprep.pytorch.datasets import WindowDataset
from llmprep.pytorch.documents import Marking
from llmprep.pytorch.mixing import Source
from llmprep.store.reading import TokenStore
from llmprep.vocabulary.references import Reference


def read_sources(sources: object) -> tuple[dict[str, Any], dict[str, object]]:
    """Return the sources and their weights by name, in the order of the names; None is the weight of one without.

    Raises `UsageError` unless they are a mapping of a name to a source, or to a pair of a source and its weight.
    """
    if not isinstance(sources, Mapping) or not sources:
        raise UsageError("sources: give a name, a source and a weight for each, such as {'web': ('web/', 0.7), ...}")
    for name, given in sources.items():
        if not isinstance(name, str) or not name:
            raise UsageError(f"sources: {name!r:.40} is no name; give a str")
        if isinstance(given, tuple) and len(given) != 2:
            raise UsageError(f"{visible_name(name)}: needs a source and its weight, and is a tuple of {len(given)}")
    pairs = {name: given if isinstance(given, tuple) else (given, None) for name, given in sorted(sources.items())}
    return {name: source for name, (source, _) in pairs.items()}, {name: weight for name, (_, weight) in pairs.items()}


def open_sources(
    sources: Mapping[str, Any], max_length: int | None, stride: int | None, choices: Mapping[str, Any]
) -> dict[str, WindowDataset]:
    """Open each source that is not a data set already, by the choices for them all.

    Raises as `WindowDataset` does, and `UsageError` for sources that do not go together: of other vocabularies, or with
    windows of other lengths.
    """
    made = {name: source for name, source in sources.items() if isinstance(source, WindowDataset)}
    if choices and len(made) == len(sources):
        raise UsageError(f"{next(iter(choices))}: all sources are data sets, which have made that choice; leave it out")
    if max_length is None and made:
        max_length = next(iter(made.values())).max_length
    datasets = {}
    for name, source in sources.items():
        datasets[name] = made[name] if name in made else _open(source, max_length, stride, choices)
        if max_length not in (None, datasets[name].max_length):
            raise UsageError(
                f"{visible_name(name)}: has windows of {datasets[name].max_length}, where {max_length} is asked for or "
                f"others have it; all windows of a mixture are of one length"
            )
        max_length = datasets[name].max_length
        if stride not in (None, datasets[name].stride):
            raise UsageError(f"{visible_name(name)}: has stride {datasets[name].stride}, and {stride} is asked for")
    markings = {name: dataset.marking for name, dataset in datasets.items()}
    for (name, first), (other, second) in itertools.pairwise(markings.items()):
        if first != second:
            raise UsageError(
                f"{visible_name(name)} and {visible_name(other)}: tell their documents in two ways ({_said(first)}, "
                f"{_said(second)}); a mixture has one"
            )
    _check_vocabularies({name: dataset.refers for name, dataset in datasets.items() if dataset.refers is not None})
    return datasets


def source_of(name: str, dataset: WindowDataset, seed: int) -> Source:
    """Return what the arithmetic of a mixture knows of a data set."""
    own = dataset.identity()
    return Source.of(name, len(dataset), seed=seed, content=(own["content_sha256"], own["first_token"]))


def _open(source: Any, max_length: int | None, stride: int | None, choices: Mapping[str, Any]) -> WindowDataset:
    if not isinstance(source, TokenStore):
        return WindowDataset(source, max_length, stride, **choices)
    split = choices.get("split")
    if source.split is not None and split not in (None, source.split):
        raise UsageError(f"split {shorten(str(split))}: the store is opened as its split {source.split}")
    kept = {**choices, "split": source.split or split}
    dataset = WindowDataset(source.refers.folder or source.folder, max_length, stride, **kept)
    if dataset.identity()["content_sha256"] != source.content_sha256:
        raise InputError(f"{source.folder}: has changed since it was opened: it holds other ids; open it anew")
    return dataset


def _check_vocabularies(known: Mapping[str, Reference]) -> None:
    """Raise `UsageError` that names the first two sources whose ids are not of one vocabulary."""
    for (name, first), (other, second) in itertools.pairwise(known.items()):
        if not (first.is_same(second) or second.is_same(first)):
            raise UsageError(
                f"{visible_name(name)} and {visible_name(other)}: are of two vocabularies, "
                f"{visible_name(first.name)}{_print_of(first, second)} and "
                f"{visible_name(second.name)}{_print_of(second, first)}; a mixture has one"
            )


def _said(marking: Marking | None) -> str:
    return "not at all" if marking is None else str(marking)


def _print_of(one: Reference, other: Reference) -> str:
    return one.shown or (f" (fingerprint {one.short})" if one.name == other.name else "")

"""``meta``: what a file states of itself, made and checked; and the one checker of typed keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmprep import __version__
from llmprep.errors import FileFormatError, UsageError, list_names, shorten
from llmprep.ptfile.reading import PtFile
from llmprep.tokens.figures import Figures, are_gaps, state_left_out
from llmprep.tokens.stream import Origin

FORMAT, FORMAT_1 = "llmprep/2", "llmprep/1"
"""Files of the format before are read too: in them ``content_sha256`` is a chain, not a tree."""
MAX_VOCAB = 1 << 24
MAX_FAULTS = 8
"""How many faults of one ``meta`` an error names."""
META: dict[str, type] = {
    "format": str,
    "kind": str,
    "encoding": str,
    "vocab_sha256": str,
    "n_vocab": int,
    "n_tokens": int,
    "options": dict,
    "sources": list,
}
SOURCE: dict[str, type] = {"name": str, "bytes": int, "sha256": str, "tokens": int, "documents": int}
LEFT_OUT: dict[str, type] = {"name": str, "reason": str}
WINDOW_OPTIONS: dict[str, type] = {"max_length": int, "stride": int, "dense": bool}


def checked_meta(file: PtFile) -> dict[str, Any]:
    """Return a file's ``meta``, in which a shard of a store states no ``content_sha256``.

    Raises `FileFormatError` that lists what is missing or wrong in it.
    """
    meta, name = file.meta, file.name
    if not meta:
        keys = list_names([*file.values, *file.tensors])
        raise FileFormatError(f"{name}: has no meta: llmprep did not write it; its keys: {keys}")
    if "format" in meta and meta["format"] not in (FORMAT, FORMAT_1):
        raise FileFormatError(f"{name}: format is {meta['format']!r:.40}, this llmprep reads {FORMAT!r}")
    may_be_shard = [*file.tensors] == ["token_ids"] and meta.get("format") == FORMAT and "content_sha256" not in meta
    wrong = (
        wrong_keys(meta, META if may_be_shard else META | {"content_sha256": str})
        or _wrong_sources(meta["sources"])
        or _wrong_numbers(meta)
        or wrong_left_out(meta)
    )
    if not wrong and "input_ids" in file.tensors:
        wrong = _wrong_window_options(meta["options"])
    if wrong:
        raise FileFormatError(f"{name}: meta: {'; '.join(wrong[:MAX_FAULTS])}")
    return meta


def _wrong_sources(sources: list[Any]) -> list[str]:
    wrong = [each for source in sources for each in wrong_keys(source, SOURCE, "sources: ")]
    if not wrong and not all(are_gaps(source.get("gaps", [])) for source in sources):
        wrong.append("sources: gaps are no runs [number, count] in order")
    return wrong


def _wrong_numbers(meta: Mapping[str, Any]) -> list[str]:
    if not 1 <= meta["n_vocab"] <= MAX_VOCAB:
        return [f"n_vocab {shorten(str(meta['n_vocab']))} is out of range"]
    return [] if meta["n_tokens"] >= 0 else [f"n_tokens {shorten(str(meta['n_tokens']))} is out of range"]


def _wrong_window_options(options: Mapping[str, Any]) -> list[str]:
    sizes = ("max_length", "stride")
    return wrong_keys(options, WINDOW_OPTIONS) or [f"{key} is less than 1" for key in sizes if options[key] < 1]


def wrong_keys(values: object, wanted: Mapping[str, type], where: str = "") -> list[str]:
    """Return what keeps ``values`` from being a dict that has each wanted key, of exactly its type; [] if nothing.

    ``where`` stands before each of the sentences, one a key. Keys that nobody wants are no fault.

    >>> wrong_keys({"tokens": True}, {"tokens": int, "file": str}, "shard 3: ")
    ['shard 3: tokens is missing or no int', 'shard 3: file is missing or no str']
    """
    held = values if isinstance(values, dict) else {}
    return [
        f"{where}{key} is missing or no {kind.__name__}"
        for key, kind in wanted.items()
        if type(held.get(key)) is not kind
    ]


def check_dtype(dtype: str, n_vocab: int) -> None:
    """Raise `UsageError` if ids of this vocabulary do not fit the dtype."""
    if dtype == "uint16" and n_vocab > 65_536:
        raise UsageError(f"--dtype uint16: holds ids up to 65535, this vocabulary has {n_vocab}; use int32 or int64")


def store_dtype(n_vocab: int) -> str:
    """Return the smallest dtype that holds every id: only readers that know read a store."""
    return "uint16" if n_vocab <= 65_536 else "uint32"


def make_meta(kind: str, origin: Origin, figures: Figures, **options: object) -> dict[str, Any]:
    """Return ``meta`` for a file made from a stream that has been read to its end."""
    return {
        "format": FORMAT_1 if figures.chained else FORMAT,
        "kind": kind,
        "llmprep_version": __version__,
        "encoding": origin.encoding,
        "vocab_sha256": origin.vocab_sha256,
        **({"fingerprint": origin.refers.fingerprint} if origin.refers.fingerprint else {}),
        "n_vocab": origin.n_vocab,
        "n_tokens": figures.n_tokens,
        "options": {**origin.options, **options},
        "sources": figures.sources,
        **state_left_out(figures.left_out),
        **({"content_sha256": figures.content_sha256} if figures.content_sha256 else {}),
    }


def wrong_left_out(stated: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with what a file or store says was left out; [] if nothing, or if it says nothing."""
    listed = stated.get("left_out", [])
    if type(listed) is not list:
        return ["left_out is not a list"]
    return [each for row in listed for each in wrong_keys(row, LEFT_OUT, "left_out: ")]


def is_chained(meta: Mapping[str, Any]) -> bool:
    """Tell whether the ``content_sha256`` that a file states is that of the format before."""
    return bool(meta.get("format") == FORMAT_1)


def require_stated(name: str, what: str, found: object, stated: object) -> None:
    """Raise `FileFormatError` if what was found is not what ``meta`` states."""
    if found != stated:
        raise FileFormatError(f"{name}: {what} is {found}, meta says {shorten(str(stated), 80)}")

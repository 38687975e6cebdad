"""An encoding -> its pattern, its special tokens, and which file holds its ranks, as tiktoken itself defines them.

tiktoken defines an encoding by a function that downloads its ranks. That function is called here in a private copy of
its module, with a loader in the place of the downloader that only notes which file it is asked for.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from llmprep.errors import VocabularyError
from llmprep.vocabulary.ranks import RankFile, Ranks


@dataclass(frozen=True, slots=True)
class Definition:
    """All of an encoding but its ranks, and the file that holds these."""

    pattern: str
    special_tokens: dict[str, int]
    rank_file: RankFile


@functools.cache
def encoding_names() -> tuple[str, ...]:
    """Return the names of tiktoken's encodings."""
    return tuple(_load_definitions().ENCODING_CONSTRUCTORS)


@functools.cache
def define(encoding: str) -> Definition:
    """Return the definition of an encoding, by its own name. Raises `VocabularyError` where tiktoken has lost them."""
    module = _load_definitions()  # a copy of our own: what is set in it is seen by no other thread
    asked: list[RankFile] = []

    def note(address: str, expected_hash: str) -> Ranks:
        asked.append(RankFile(address, expected_hash))
        return {}

    def note_gpt2(**_: str) -> Ranks:  # its two original files hold the ranks that r50k_base's one file holds
        asked.append(define("r50k_base").rank_file)
        return {}

    module.load_tiktoken_bpe = note  # type: ignore[attr-defined]
    module.data_gym_to_mergeable_bpe_ranks = note_gpt2  # type: ignore[attr-defined]
    defined: dict[str, Any] = module.ENCODING_CONSTRUCTORS[encoding]()
    return Definition(defined["pat_str"], defined["special_tokens"], asked[-1])


def _load_definitions() -> ModuleType:
    """Load a private copy of tiktoken's module of definitions."""
    import importlib.util

    spec = importlib.util.find_spec("tiktoken_ext.openai_public")
    if spec is None or spec.loader is None:
        raise VocabularyError("tiktoken is installed without its definitions; reinstall tiktoken")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

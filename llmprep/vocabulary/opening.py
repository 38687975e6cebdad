"""A vocabulary file, as it was asked for -> the vocabulary."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from llmprep.choices import Announce, TokenizerFile
from llmprep.errors import FileFormatError, LlmprepError, UsageError, VocabularyError
from llmprep.vocabulary.building import build_from_json, build_ranked
from llmprep.vocabulary.end_of_text import choose_end_of_text, read_config_token
from llmprep.vocabulary.fingerprint import fingerprint_of_json, fingerprint_of_ranks
from llmprep.vocabulary.hazards import is_hazardous
from llmprep.vocabulary.minbpe import read_minbpe
from llmprep.vocabulary.packing import unpack
from llmprep.vocabulary.patterns import know_stated, list_patterns, resolve_pattern
from llmprep.vocabulary.pickled import read_pickled
from llmprep.vocabulary.probing import probe_tokenizer
from llmprep.vocabulary.rank_lines import read_rank_lines
from llmprep.vocabulary.ranks import write_ranks
from llmprep.vocabulary.sound import check_sound
from llmprep.vocabulary.special_tokens import read_special_tokens
from llmprep.vocabulary.stated import Stated
from llmprep.vocabulary.tekken import read_tekken
from llmprep.vocabulary.tokenizer_files import CONFIG, Kind, read_beside, read_file, read_regular, recognise
from llmprep.vocabulary.tokenizer_json import Json, read_tokenizer_json
from llmprep.vocabulary.unknown import may_drop
from llmprep.vocabulary.vocabulary import ENCODING_KIND, Vocabulary

_READERS: Mapping[Kind, Callable[[str, bytes], Stated]] = {
    "rank file": read_rank_lines,
    "pickle": read_pickled,
    "minbpe": read_minbpe,
    "tekken": read_tekken,
}
DROPS = "has no token for text that it has no entry for: characters of that kind are left out of the ids"
MAX_OPENED = 4
_opened: dict[tuple[str, ...], Vocabulary] = {}
"""The vocabularies that this process has opened last, oldest first, by all that they were made of."""


def is_vocabulary(path: str) -> bool:
    """Tell by its content whether a path names the file of a vocabulary, or a folder that holds one."""
    try:
        return bool(recognise(*read_file(path)))
    except LlmprepError:
        return False


def open_tokenizer(asked: TokenizerFile, announce: Announce | None = None) -> Vocabulary:
    """Read a vocabulary from a file; the same object for the same content.

    ``announce`` is called with what was left out of it, and with which token ends a text where there was a choice.
    Raises `UsageError` for what must be said beside the file and is not, or must not be; `FileFormatError` for a file
    that is damaged or no vocabulary; `VocabularyError` for one that is not there.
    """
    path, data = read_file(asked.path)
    config = read_beside(path, CONFIG)
    tokens = None if asked.special_tokens is None else _read_tokens(asked.special_tokens)
    contents = (hashlib.sha256(each or b"").hexdigest() for each in (data, config, tokens))
    key = (*contents, *map(repr, (Path(path).name, tokens is None, asked.pattern, asked.eot)))
    return _opened.get(key) or _hold(
        key, _open(_Asked(path, data, config, tokens, asked), announce or (lambda _: None))
    )


def _hold(key: tuple[str, ...], opened: Vocabulary) -> Vocabulary:
    """Hold a vocabulary for the next time, in the place of the oldest of several; return it."""
    _opened.pop(key, None)
    if len(_opened) >= MAX_OPENED:
        _opened.pop(next(iter(_opened)), None)
    _opened[key] = opened
    return opened


@dataclass(frozen=True, slots=True)
class _Asked:
    """A file with its content, those of the files beside it, and what was said of it."""

    path: str
    data: bytes
    config: bytes | None
    tokens: bytes | None
    said: TokenizerFile

    def refuse(self, kind: str) -> None:
        """Raise `UsageError` where something was said that a file of this kind says itself."""
        said = {"--pattern": self.said.pattern, "--special-tokens": self.said.special_tokens}
        for option, given in said.items():
            if given is not None:
                raise UsageError(f"{option}: {self.path} is a {kind}, which has its own; leave it out")


def _open(asked: _Asked, announce: Announce) -> Vocabulary:
    kind = recognise(asked.path, asked.data)
    if kind == "llmprep":
        asked.refuse("vocabulary that llmprep wrote")
        if asked.said.eot is not None:
            raise UsageError(f"--eot: {asked.path} was written by llmprep, which has settled that; leave it out")
        return _tried(asked.path, unpack(asked.path, asked.data))
    if kind == "tokenizer.json":
        asked.refuse(kind)
        return _open_json(asked, announce)
    return _open_ranked(asked, _READERS[kind](asked.path, asked.data), announce)


def _open_json(asked: _Asked, announce: Announce) -> Vocabulary:
    tokenizer = read_tokenizer_json(asked.path, asked.data)
    special = [token.content for token in tokenizer.added if token.special]
    stated = None if asked.config is None else read_config_token(str(Path(asked.path).with_name(CONFIG)), asked.config)
    end, choice = choose_end_of_text(
        asked.path,
        special or [token.content for token in tokenizer.added],
        asked=asked.said.eot,
        stated=stated,
        stated_by=CONFIG,
    )
    left_out = "; ".join(tokenizer.left_out)
    drops = DROPS if may_drop(tokenizer.document) else ""
    vocabulary = _tried(asked.path, build_from_json(_name(asked.path), tokenizer, end), tokenizer.document)
    _announce(asked, announce, [left_out and f"left out: {left_out}", drops, choice])
    return vocabulary


def _tried(path: str, vocabulary: Vocabulary, document: Json | None = None) -> Vocabulary:
    """Return a vocabulary that its library stands, where that is at hand. Raises `FileFormatError` where it does not.

    Whoever names a file may have it from anywhere, and only what is proven is known to come to an end.
    """
    hf = vocabulary.hf
    if vocabulary.known is not None:
        return vocabulary
    if hf is None and vocabulary.kind != ENCODING_KIND:
        know_stated(path, str(vocabulary.pattern))
    if hf is not None and find_spec("tokenizers") is not None and is_hazardous(document or json.loads(hf.canonical)):
        probe_tokenizer(path, hf.canonical, FileFormatError)
    return vocabulary


def _open_ranked(asked: _Asked, stated: Stated, announce: Announce) -> Vocabulary:
    if stated.pattern is not None:
        asked.refuse(stated.kind)
        pattern = stated.pattern
        known = know_stated(asked.path, pattern)
    elif asked.said.pattern is None:
        reason = "does not say by which pattern texts are cut; name it with --pattern: one of"
        raise UsageError.lacking(asked.path, f"{reason} {list_patterns()}, or a regular expression", "pattern", "gpt2")
    else:
        pattern, known = resolve_pattern(asked.said.pattern)
    if asked.tokens is not None:
        stated = replace(stated, special_tokens=read_special_tokens(str(asked.said.special_tokens), asked.tokens))
        check_sound(asked.path, stated.ranks, stated.special_tokens)
    elif asked.said.eot is not None and stated.kind == "rank file":
        raise UsageError(
            "--eot: a rank file has no special tokens; name those that it goes with by --special-tokens FILE"
        )
    end, choice = choose_end_of_text(asked.path, stated.special_tokens, asked=asked.said.eot, stated=stated.end_of_text)
    _announce(asked, announce, [*stated.remarks, choice])
    return build_ranked(_name(asked.path), stated, pattern, known, end)


def _announce(asked: _Asked, announce: Announce, remarks: Sequence[str]) -> None:
    if said := "; ".join(filter(None, remarks)):
        announce(f"{asked.path}: {said}")


def open_expected(asked: TokenizerFile, fingerprint: str | None, announce: Announce | None = None) -> Vocabulary:
    """Read a vocabulary from a file, as `open_tokenizer` does.

    Where nothing is said beside the file, and it can be the vocabulary of this fingerprint, it is that one.
    """
    if fingerprint is not None and asked == TokenizerFile(asked.path):
        found = open_with_fingerprint(asked.path, fingerprint)
        if found is not None:
            return found
    return open_tokenizer(asked, announce)


def open_with_fingerprint(path: str, fingerprint: str) -> Vocabulary | None:
    """Read a vocabulary from a file, if it says all of itself and has this fingerprint; None otherwise.

    Of a file that does not say which token ends a text, each is tried.
    """
    path, data = read_file(path)
    key = hashlib.sha256(data).hexdigest(), Path(path).name, fingerprint
    found = _opened.get(key) or _find_expected(path, data, fingerprint)
    return None if found is None else _hold(key, found)


def _find_expected(path: str, data: bytes, fingerprint: str) -> Vocabulary | None:
    kind = recognise(path, data)
    if kind == "rank file":
        return None
    if kind == "llmprep":
        found = unpack(path, data)
        return _tried(path, found) if found.fingerprint == fingerprint else None
    if kind == "tokenizer.json":
        tokenizer = read_tokenizer_json(path, data)
        sha256 = hashlib.sha256(tokenizer.canonical.encode()).hexdigest()
        for end in (None, *(token.content for token in tokenizer.added)):
            if fingerprint_of_json(sha256, end) == fingerprint:
                return _tried(path, build_from_json(_name(path), tokenizer, end), tokenizer.document)
        return None
    stated = _READERS[kind](path, data)
    pattern = stated.pattern or ""
    sha256 = hashlib.sha256(write_ranks(stated.ranks)).hexdigest()
    for end in (None, *stated.special_tokens):
        if fingerprint_of_ranks(sha256, pattern, stated.special_tokens, end) == fingerprint:
            return build_ranked(_name(path), stated, pattern, know_stated(path, pattern), end)
    return None


def _read_tokens(path: str) -> bytes:
    """Return the content of the file of special tokens, which no folder stands for."""
    if not Path(path).exists():
        raise VocabularyError(f"--special-tokens {path}: no such file")
    return read_regular(path)


def _name(path: str) -> str:
    """Return what a vocabulary is called in files: the name of its file, of plain characters."""
    return re.sub(r"[^\w.-]", "_", Path(path).name, flags=re.ASCII)[:80] or "tokenizer"

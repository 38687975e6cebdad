"""Mistral's ``tekken.json``: entries, whose ids begin after those of the special tokens, and a pattern."""

from __future__ import annotations

import binascii
from typing import Any

from llmprep.errors import FileFormatError
from llmprep.vocabulary.ranks import Ranks
from llmprep.vocabulary.sound import MAX_ID, check_sound
from llmprep.vocabulary.stated import Stated
from llmprep.vocabulary.strict_json import read_json_object

END_OF_TEXT = "</s>"
_FIRST_NAMES = (
    "<unk>", "<s>", END_OF_TEXT, "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]",
    "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
)  # fmt: skip
"""The special tokens of files that name none, as ``mistral_common`` has them."""


def read_tekken(name: str, data: bytes) -> Stated:
    """Read a ``tekken.json`` as ``mistral_common`` does: only the entries that its sizes count are in the vocabulary.

    An entry's id is its rank, and the special tokens' number more. Raises `FileFormatError`.
    """
    document = read_json_object(name, data)
    config, vocab = document.get("config"), document.get("vocab")
    if not isinstance(config, dict) or not isinstance(vocab, list):
        raise FileFormatError(f"{name}: has no config and vocab, as a tekken.json has")
    pattern = config.get("pattern")
    size, n_special = config.get("default_vocab_size"), config.get("default_num_special_tokens")
    if not isinstance(pattern, str) or type(size) is not int or type(n_special) is not int:
        raise FileFormatError(f"{name}: config has no pattern, default_vocab_size and default_num_special_tokens")
    n_entries = size - n_special
    if n_special < 0 or not 256 <= n_entries <= len(vocab) or size > MAX_ID:
        raise FileFormatError(
            f"{name}: default_vocab_size {size} less default_num_special_tokens {n_special} is not from 256 to the "
            f"{len(vocab)} entries of vocab"
        )
    special_tokens = _special_tokens(name, document.get("special_tokens"), n_special)
    ranks = _ranks(name, vocab[:n_entries], n_special)
    check_sound(name, ranks, special_tokens)
    left_out = len(vocab) - n_entries
    remarks = (f"left out the last {left_out:,} entries of vocab, which default_vocab_size does not count",)
    end_of_text = END_OF_TEXT if END_OF_TEXT in special_tokens else None
    return Stated("tekken", ranks, special_tokens, pattern, end_of_text, remarks if left_out else ())


def _ranks(name: str, entries: list[Any], n_special: int) -> Ranks:
    """Return the ranks of entries, which stand in their order."""
    ranks: Ranks = {}
    for place, entry in enumerate(entries):
        try:
            token, rank = binascii.a2b_base64(entry["token_bytes"], strict_mode=True), entry["rank"]
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{name}: entry {place} of vocab has no rank and token_bytes in base64") from error
        if type(rank) is not int or rank != place:
            raise FileFormatError(f"{name}: entry {place} of vocab has the rank {rank!r:.20}")
        if not token or ranks.setdefault(token, rank + n_special) != rank + n_special:
            raise FileFormatError(f"{name}: entry {place} of vocab is empty, or stands twice")
    return ranks


def _special_tokens(name: str, stated: object, n_special: int) -> dict[str, int]:
    """Return the special tokens by id, those without a name named as ``mistral_common`` names them."""
    if stated is None:
        stated = [{"rank": rank, "token_str": token} for rank, token in enumerate(_FIRST_NAMES[:n_special])]
    if not isinstance(stated, list) or len(stated) > n_special:
        raise FileFormatError(f"{name}: special_tokens is no list of at most {n_special}")
    tokens: dict[str, int] = {}
    for place, entry in enumerate(stated):
        token, rank = (entry.get("token_str"), entry.get("rank")) if isinstance(entry, dict) else (None, None)
        if not isinstance(token, str) or type(rank) is not int or not 0 <= rank < n_special or token in tokens:
            raise FileFormatError(f"{name}: entry {place} of special_tokens has no token_str of its own and rank")
        tokens[token] = rank
    return tokens | {f"<SPECIAL_{rank}>": rank for rank in range(len(stated), n_special)}

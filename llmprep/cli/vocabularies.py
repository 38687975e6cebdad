"""What `inspect` says of a vocabulary file, and how its proof is run."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from llmprep.choices import TokenizerFile, WhichVocabulary
from llmprep.cli.batches import Batches
from llmprep.cli.looking import Look
from llmprep.cli.picture import Pictures
from llmprep.cli.printer import Printer
from llmprep.errors import UsageError, plural, shorten
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.vocabulary.vocabulary import Vocabulary

TOKENS_SHOWN = 8


def refuse_beside_vocabulary(
    path: str, look: Look, batches: Batches, pictures: Pictures, tokenizer: str | None
) -> None:
    """Raise `UsageError` for an option that says nothing of a vocabulary."""
    given = {
        "--window, --around, --where": look.inside,
        "--batch-size": batches.batch_size is not None,
        "--html, --svg": pictures.html is not None or pictures.svg is not None,
        "--tokenizer": tokenizer is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{path}: is a vocabulary, which holds no tokens; leave out {option}")


def inspect_vocabulary(printer: Printer, asked: WhichVocabulary | None, *, verify: bool) -> None:
    """Say what a vocabulary file is, who defines its ids and who can encode with it; with ``verify`` run the proof."""
    from llmprep.tokens.verifying import verify_vocabulary
    from llmprep.vocabulary.opening import open_tokenizer

    assert isinstance(asked, TokenizerFile)  # noqa: S101 - a path was given
    vocabulary = open_tokenizer(asked, printer.note)
    facts = _facts(vocabulary)
    printer.lines(f"{key:<16} {plain.visible(_worded(value))}" for key, value in facts.items())
    values: dict[str, Any] = {"command": "inspect", "path": asked.path, **facts}
    if verify:
        values["verified"] = []
        for line in verify_vocabulary(vocabulary):
            printer.lines([f"verified: {plain.visible(line)}"])
            values["verified"].append(line)
    printer.object(values)


def _facts(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return what there is to say, as values of a JSON object."""
    hf = vocabulary.hf
    special, end = vocabulary.special_tokens, vocabulary.end_of_text
    always = {token.content: token.id for token in hf.added if not token.special} if hf is not None else {}
    known = vocabulary.known
    return {
        "kind": vocabulary.kind,
        "name": vocabulary.name,
        "n_vocab": vocabulary.n_vocab,
        "n_entries": len(vocabulary.token_table()) - len(special),
        "special_tokens": special,
        **({"found_always": always} if always else {}),
        "end_of_text": "none" if end is None else f"{end} {special.get(end, '')}",
        "pattern": known.name if known is not None else (vocabulary.pattern or "not one pattern that is known"),
        "normalizer": (hf.normalizer if hf is not None else "") or "none",
        "fingerprint": vocabulary.fingerprint,
        **_backends(vocabulary),
    }


def _backends(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return who defines the ids, who encodes a large text here, and why one that is faster does not."""
    from llmprep.tokens.gigatoken import has_gigatoken, scheme_of
    from llmprep.vocabulary.fingerprint import LINE

    hf = vocabulary.hf
    fast = scheme_of(vocabulary) is not None and has_gigatoken()
    encodes = "gigatoken" if fast else ("tiktoken" if vocabulary.pattern is not None else "tokenizers")
    why = hf.obstacle if hf is not None else ""
    if not why and not fast:
        why = (
            "gigatoken does not know its pattern"
            if scheme_of(vocabulary) is None
            else "gigatoken is not installed: pip install 'llmprep[fast]'"
        )
    return {
        "defined_by": "tiktoken" if hf is None else LINE,
        "encoded_by": encodes,
        **({"not_faster": why} if why else {}),
    }


def _worded(value: object) -> str:
    if isinstance(value, Mapping):
        shown = ", ".join(f"{shorten(str(key))} {number}" for key, number in islice(value.items(), TOKENS_SHOWN))
        more = f", ... ({plural(len(value), 'token')})" if len(value) > TOKENS_SHOWN else ""
        return f"{shown}{more}" if value else "none"
    return plain.number(value) if type(value) is int else shorten(str(value), 200)

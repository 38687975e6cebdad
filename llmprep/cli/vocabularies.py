"""What `inspect` says of a vocabulary file, and how its proof is run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from llmprep.choices import TokenizerFile
from llmprep.cli.batches import Batches
from llmprep.cli.looking import Look
from llmprep.cli.picture import Pictures
from llmprep.cli.printer import Printer
from llmprep.errors import UsageError, shorten
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.vocabulary.vocabulary import HuggingFace, Vocabulary

TOKENS_SHOWN = 4
UNSAID = {
    "pattern": ("pattern", "fingerprint", "encoded_by", "not_faster"),
    "eot": ("end_of_text", "fingerprint"),
}
"""What cannot be known of a vocabulary while something is not said, the first of which is that itself."""


def refuse_beside_vocabulary(
    path: str, look: Look, batches: Batches, pictures: Pictures, others: Mapping[str, object]
) -> None:
    """Raise `UsageError` for an option that says nothing of a vocabulary; ``others`` are such, with their values."""
    given = {
        "--window, --around, --where": look.inside,
        "--batch-size": batches.batch_size is not None,
        "--html, --svg": pictures.html is not None or pictures.svg is not None,
        **{option: value not in (None, False) for option, value in others.items()},
    }
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{path}: is a vocabulary, which holds no tokens; leave out {option}")


def inspect_vocabulary(printer: Printer, asked: TokenizerFile, *, verify: bool) -> None:
    """Say what a vocabulary file is, who defines its ids and who can encode with it; with ``verify`` run the proof.

    What the file does not say and no option does is named. Raises `UsageError` where that is to be verified.
    """
    from llmprep.tokens.verifying import verify_vocabulary
    from llmprep.vocabulary.unsaid import open_as_stated

    vocabulary, unsaid = open_as_stated(asked, printer.note)
    if unsaid and verify:
        raise UsageError(f"{asked.path}: {next(iter(unsaid.values()))}")
    unknown = {key for name in unsaid for key in UNSAID[name]}
    lacks = {UNSAID[name][0]: f"the file {reason}" for name, reason in unsaid.items()}
    described = _facts(vocabulary) | lacks
    shown = {key: value for key, value in described.items() if key in lacks or key not in unknown}
    printer.lines(f"{key:<16} {plain.visible(text)}" for key, text in _worded(shown))
    facts = {key: value for key, value in shown.items() if key not in lacks}
    values: dict[str, Any] = {
        "command": "inspect",
        "path": asked.path,
        **facts,
        **({"unsaid": unsaid} if unsaid else {}),
    }
    if verify:
        values["verified"] = []
        for line in verify_vocabulary(vocabulary):
            printer.lines([f"verified: {plain.visible(line)}"])
            values["verified"].append(line)
    printer.object(values)


def _facts(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return what there is to say, as values of a JSON object."""
    hf, known = vocabulary.hf, vocabulary.known
    special, end = vocabulary.special_tokens, vocabulary.end_of_text
    steps = _steps(hf) if hf is not None else {}
    always = {token.content: token.id for token in hf.added if not token.special} if hf is not None else {}
    unknown = f"none that is known: {steps['pre_tokenizer'] or 'nothing'}" if hf is not None else vocabulary.pattern
    return {
        "kind": vocabulary.kind + (f", {steps['model']}" if hf is not None else ""),
        "name": vocabulary.name,
        "n_vocab": vocabulary.n_vocab,
        "n_entries": len(vocabulary.token_table()) - len(special),
        "special_tokens": special,
        **({"found_always": always} if always else {}),
        "end_of_text": None if end is None else end,
        **({"unknown_id": vocabulary.unknown_id} if vocabulary.unknown_id is not None else {}),
        "pattern": unknown if known is None else known.name,
        "normalizer": steps.get("normalizer", ""),
        "fingerprint": vocabulary.fingerprint,
        **_backends(vocabulary),
    }


def _steps(hf: HuggingFace) -> dict[str, str]:
    """Return the model of a tokenizer.json, and its normalizers and pre-tokenizers, in the file's own words."""
    from llmprep.vocabulary.proof import flatten

    document = json.loads(hf.canonical)
    keys = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}
    steps = {name: ", ".join(str(step["type"]) for step in flatten(document[name], key)) for name, key in keys.items()}
    return {"model": str(document["model"]["type"]), **steps}


def _backends(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return who defines the ids, who of those that are installed encodes a large text, and why nobody faster does."""
    from llmprep.tokens.gigatoken import has_gigatoken, scheme_of
    from llmprep.tokens.tokenizers import has_tokenizers
    from llmprep.vocabulary.fingerprint import LINE

    hf = vocabulary.hf
    fast = scheme_of(vocabulary) is not None and has_gigatoken()
    encodes = "gigatoken" if fast else ("tiktoken" if vocabulary.is_for_tiktoken else "tokenizers")
    why = hf.obstacle if hf is not None else ""
    if not why and not fast:
        why = (
            "gigatoken does not know its pattern"
            if scheme_of(vocabulary) is None
            else "gigatoken is not installed: pip install 'llmprep[fast]'"
        )
    return {
        "defined_by": "tiktoken" if hf is None else LINE,
        "encoded_by": encodes if encodes != "tokenizers" or has_tokenizers() else None,
        **({"not_faster": why} if why else {}),
    }


def _worded(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each fact in words; why nobody faster encodes stands beside who does."""
    special = facts["special_tokens"]
    for key, value in facts.items():
        if key == "not_faster":
            continue
        text = plain.number(value) if type(value) is int else str(value or "none")
        if key == "special_tokens" and not value and facts["kind"] == "rank file":
            text = "none in the file; name those that it goes with by --special-tokens FILE"
        elif isinstance(value, Mapping):
            text = _tokens(value)
        elif key == "end_of_text" and value in special:
            text = f"{shorten(value)} {special[value]}"
        elif key == "encoded_by" and "not_faster" in facts:
            able = f"{value}, nobody faster" if value else "nobody before pip install 'llmprep[hf]'"
            text = f"{able}: {facts['not_faster']}"
        yield key.removeprefix("n_"), shorten(text, 240)


def _tokens(tokens: Mapping[str, int]) -> str:
    """Return how many tokens there are, and the first."""
    shown = ", ".join(f"{shorten(str(key))} {number}" for key, number in islice(tokens.items(), TOKENS_SHOWN))
    return f"{plain.number(len(tokens))}: {shown}{', ...' * (len(tokens) > TOKENS_SHOWN)}" if tokens else "none"

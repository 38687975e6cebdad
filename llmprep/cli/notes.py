"""What every command says of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmprep.errors import VocabularyError
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.cli.printer import Show
    from llmprep.tokens.figures import Figures
    from llmprep.tokens.stream import Origin


def decoder(show: Show, origin: Origin) -> plain.Decode | None:
    """Return ids -> text, or None where the vocabulary is not to be had: previews then show ids only."""
    from llmprep.tokens.decoding import decode_ids, token_table

    try:
        table = token_table(origin.load_vocabulary(download=False))
    except VocabularyError as error:
        show.note(f"text is not shown: {error}")
        return None
    return lambda ids: decode_ids(ids, table)


def say_notes(show: Show, origin: Origin, figures: Figures) -> None:
    """Say what was dropped, skipped or found while reading."""
    from llmprep.documents.source import count_remarks

    empty = [each.source.path for each in figures.counts if each.sha256 and not each.n_chars]
    if empty:
        names = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
        show.note(f"{plain.plural(len(empty), 'empty input')} skipped: {names}")
    say_empty_records(show, sum(each.n_empty for each in figures.counts))
    for each in figures.counts:
        if each.bom:
            show.note(f"{each.source.path}: byte order mark dropped")
    say_remarks(show, count_remarks(figures.counts))
    if figures.n_special:
        taken = {"allow": "taken as its id", "text": "taken as plain text"}[origin.options["special"]]
        show.note(f"<|endoftext|> stands {figures.n_special} times in the text itself, {taken} (--special)")


def say_empty_records(show: Show, count: int) -> None:
    """Say that there were records without text."""
    if count:
        show.note(f"{plain.plural(count, 'empty record')} skipped; the others keep their numbers")


def say_remarks(show: Show, remarks: Mapping[str, tuple[str, int]]) -> None:
    """Say what a person should know of inputs: each remark with the first it is true of, and of how many it is."""
    for remark, (name, count) in remarks.items():
        show.note(f"{name}{f' (and {count - 1} more)' if count > 1 else ''}: {remark}")


def special_lines(figures: Figures) -> list[str]:
    """Say, on every run over texts, how many end-of-text strings stood in them: a text can forge a boundary."""
    if not figures.counts:
        return []
    backends = " and ".join(name for name in sorted(figures.used) if figures.used[name])
    return [f"<|endoftext|> in the text itself: {plain.number(figures.n_special)}; encoded by {backends}"]


def common_figures(origin: Origin, figures: Figures, **more: object) -> dict[str, Any]:
    """The keys that every JSON object has."""
    return {
        "n_tokens": figures.n_tokens,
        "n_special": figures.n_special,
        "encoding": origin.encoding,
        "sources": figures.sources,
        "content_sha256": figures.content_sha256,
        **more,
    }

"""What every command says of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmprep.cli.printer import Printer
from llmprep.errors import VocabularyError
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.tokens.figures import Figures
    from llmprep.tokens.stream import Origin
    from llmprep.vocabulary.vocabulary import Vocabulary


def decode_with(vocabulary: Vocabulary) -> plain.Decode:
    """Return a function from ids to their text."""
    from llmprep.tokens.decoding import decode_ids, token_table

    table = token_table(vocabulary)
    return lambda ids: decode_ids(ids, table)


def find_decoder(printer: Printer, origin: Origin) -> plain.Decode | None:
    """Return a function from ids to their text, or None, and say so, where the vocabulary is not on this machine."""
    try:
        return decode_with(origin.load_vocabulary(download=False))
    except VocabularyError as error:
        printer.note(f"text is not shown: {error}")
        return None


def say_notes(printer: Printer, origin: Origin, figures: Figures) -> None:
    """Say what was dropped, skipped or found while reading."""
    from llmprep.documents.source import count_remarks

    say_empty_inputs(printer, [each.source.path for each in figures.counts if each.sha256 and not each.n_chars])
    say_empty_records(printer, sum(each.n_empty for each in figures.counts))
    for each in figures.counts:
        if each.bom:
            printer.note(f"{each.source.path}: byte order mark dropped")
    say_remarks(printer, count_remarks(figures.counts))
    if figures.n_special:
        taken = {"allow": "taken as its id", "text": "taken as plain text"}[origin.options["special"]]
        printer.note(f"<|endoftext|> stands {figures.n_special} times in the text itself, {taken} (--special)")


def say_empty_inputs(printer: Printer, names: list[str]) -> None:
    """Name inputs without text, a few of many."""
    if names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        printer.note(f"{plain.plural(len(names), 'empty input')} skipped: {shown}")


def say_empty_records(printer: Printer, count: int) -> None:
    """Say that there were records without text."""
    if count:
        printer.note(f"{plain.plural(count, 'empty record')} skipped; the others keep their numbers")


def say_remarks(printer: Printer, remarks: Mapping[str, tuple[str, int]]) -> None:
    """Say each remark on inputs once, with the first input that it applies to, and to how many more it applies."""
    for remark, (name, count) in remarks.items():
        printer.note(f"{name}{f' (and {count - 1} more)' if count > 1 else ''}: {remark}")


def special_lines(figures: Figures) -> list[str]:
    """Say, on every run over texts, how many end-of-text strings they hold: a text can forge a boundary."""
    if not figures.counts:
        return []
    backends = " and ".join(name for name in sorted(figures.used) if figures.used[name])
    return [f"<|endoftext|> in the text itself: {plain.number(figures.n_special)}; encoded by {backends}"]


def stream_values(origin: Origin, figures: Figures) -> dict[str, Any]:
    """Return the keys that the JSON object of every command has."""
    return {
        "n_tokens": figures.n_tokens,
        "n_special": figures.n_special,
        "encoding": origin.encoding,
        "sources": figures.sources,
        "content_sha256": figures.content_sha256,
    }

"""What every command says of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmprep.cli.printer import Printer
from llmprep.errors import VocabularyError, plural
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.documents.source import LeftOut
    from llmprep.tokens.decoding import Decoder
    from llmprep.tokens.figures import Figures
    from llmprep.tokens.stream import Origin


def find_decoder(printer: Printer, origin: Origin) -> Decoder | None:
    """Return what makes text of ids to be shown, or None, and say so, where the vocabulary is not on this machine."""
    from llmprep.tokens.decoding import Decoder

    try:
        return Decoder.of(origin.load_vocabulary(download=False))
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
        vocabulary = origin.vocabulary
        eot = "" if vocabulary is None else f" {vocabulary.eot_id}"
        end = plain.visible("" if vocabulary is None else vocabulary.end_of_text or "")
        taken = f"encoded as token{eot}" if origin.options["special"] == "allow" else "encoded as plain text"
        found = "once" if figures.n_special == 1 else f"{plain.number(figures.n_special)} times"
        printer.note(f"{end} found {found} in the text itself; {taken} (see --special)")


def say_empty_inputs(printer: Printer, names: list[str]) -> None:
    """Name inputs without text, a few of many."""
    if names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        printer.note(f"{plural(len(names), 'empty input')} skipped: {shown}")


def say_empty_records(printer: Printer, count: int) -> None:
    """Say that there were records without text."""
    if count:
        printer.note(f"{plural(count, 'empty record')} skipped; the others keep their numbers")


def say_remarks(printer: Printer, remarks: Mapping[str, tuple[str, int]]) -> None:
    """Say each remark on inputs once, with the first input that it applies to, and to how many more it applies."""
    for remark, (name, count) in remarks.items():
        printer.note(f"{name}{f' (and {count - 1} more)' if count > 1 else ''}: {remark}")


def left_out_words(n_inputs: int, left_out: Sequence[LeftOut]) -> str:
    """Return what the last line says of inputs that were left out, if any were, beside those that were read."""
    return f"; {plural(n_inputs, 'input')}, {len(left_out):,} left out" if n_inputs and left_out else ""


def stream_values(origin: Origin, figures: Figures) -> dict[str, Any]:
    """Return the keys that the JSON object of every command has."""
    return {
        "n_tokens": figures.n_tokens,
        "n_special": figures.n_special,
        "encoding": origin.encoding,
        "encoded_by": sorted(name for name, n_blocks in figures.used.items() if n_blocks),
        "sources": figures.sources,
        "content_sha256": figures.content_sha256,
        **left_out_values(figures.left_out),
    }


def left_out_values(left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """Return the key that a JSON object has where inputs were left out: all of them, each with the reason."""
    shown = [{"name": plain.visible(each.name), "reason": plain.visible(each.reason)} for each in left_out]
    return {"left_out": shown} if shown else {}

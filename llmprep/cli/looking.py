"""A look inside a stream of ids: windows by number, by a text they hold, and where they came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmprep.cli.printer import Printer
from llmprep.errors import DataError, UsageError, VocabularyError, shorten
from llmprep.preview import plain

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from llmprep.store.provenance import Stretches

IDS_SHOWN = 24
CHARS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Look:
    """Which windows are shown."""

    windows: Annotated[
        list[int] | None,
        typer.Option("--window", metavar="N", min=0, help="Show window N; may be given several times."),
    ] = None
    around: Annotated[
        str | None, typer.Option("--around", metavar="TEXT", help="Show the first window that holds this text.")
    ] = None
    where: Annotated[
        int | None,
        typer.Option("--where", metavar="N", min=0, help="Say which file, document and bytes window N is from."),
    ] = None

    @property
    def inside(self) -> bool:
        """Whether any window is wanted."""
        return bool(self.windows) or self.around is not None or self.where is not None


@dataclass(frozen=True, slots=True)
class Opened:
    """A store or file as one stream of ids, with its description."""

    path: str
    facts: Mapping[str, Any]
    n_tokens: int
    ids: Any
    stretches: Stretches | None
    encoding: str
    max_length: int
    stride: int

    def read(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return up to ``count`` ids of the stream, from the one numbered ``first`` on."""
        import numpy as np

        from llmprep.store.reading import TokenStore

        if isinstance(self.ids, TokenStore):
            return self.ids.read(first, min(count, self.n_tokens - first)).astype(np.int64)
        return np.asarray(self.ids[first : first + count], np.int64)


@dataclass(frozen=True, slots=True)
class Text:
    """What it takes to show ids as text."""

    table: Mapping[int, bytes]
    eot_id: int


def show_windows(printer: Printer, opened: Opened, look: Look, vocab_dir: str | None) -> list[dict[str, Any]]:
    """Show the windows that are wanted, the first one if none is; return them as values of a JSON object."""
    text: Text | None = None
    try:
        text = _load_text(printer, opened.encoding, vocab_dir)
    except VocabularyError as error:
        if look.around is not None:
            raise
        printer.note(f"text is not shown: {error}")
    return [_show_window(printer, opened, number, text) for number in _choose(printer, opened, look, text)]


def _load_text(printer: Printer, encoding: str, vocab_dir: str | None) -> Text:
    from llmprep.tokens.decoding import token_table
    from llmprep.vocabulary.loading import load_vocabulary

    vocabulary = load_vocabulary(encoding, vocab_dir, printer.note)
    return Text(token_table(vocabulary), vocabulary.eot_id)


def _choose(printer: Printer, opened: Opened, look: Look, text: Text | None) -> list[int]:
    """Return the numbers of the windows to show. Raises `UsageError` for one that there is not."""
    from llmprep.windows.counts import count_windows, require_windows

    count = count_windows(opened.n_tokens, opened.max_length, opened.stride)
    if look.inside:
        require_windows(opened.n_tokens, opened.max_length, opened.stride, opened.path)
    numbers = [*(look.windows or []), *([] if look.where is None else [look.where])]
    if look.around is not None and text is not None:
        numbers.append(_find_window(printer, opened, look.around, text, count))
    numbers = numbers or ([0] if count else [])
    for number in numbers:
        if number >= count:
            raise UsageError(
                f"window {number}: there are {count} windows of {opened.max_length}, stride {opened.stride}"
            )
    return numbers


def _find_window(printer: Printer, opened: Opened, wanted: str, text: Text, count: int) -> int:
    """Return the number of the first window whose input holds a text, or if none does, of one near it."""
    from llmprep.store.search import find_text

    needle = os.fsencode(wanted)  # a command line may hold bytes that are no UTF-8
    if not needle:
        raise UsageError("--around: needs a text to look for")
    found = find_text(opened.read, opened.n_tokens, needle, text.table)
    if found is None:
        raise DataError(f"{opened.path}: does not contain {wanted!r}")
    first, last = found
    number = max(0, -(-(last + 1 - opened.max_length) // opened.stride))
    if number * opened.stride <= first and number < count:
        return number
    printer.note(f"no window holds all of {wanted!r}: it is in tokens {first} to {last}")
    return min(first // opened.stride, count - 1)


def _show_window(printer: Printer, opened: Opened, number: int, text: Text | None) -> dict[str, Any]:
    """Show one window, its document boundaries marked, and where it came from."""
    first = number * opened.stride
    ids = opened.read(first, opened.max_length + 1).tolist()
    shown = " ".join(map(str, ids[:IDS_SHOWN])) + (" ..." if len(ids) > IDS_SHOWN else "")
    printer.lines([f"window {number}: tokens {first} to {first + opened.max_length - 1}", f"  ids   {shown}"])
    values: dict[str, Any] = {"window": number, "input_ids": ids[:-1], "target_ids": ids[1:]}
    if text is None:
        return values
    values["text"] = _mark_documents(ids[:-1], text)
    printer.lines([f"  text  {plain.visible(values['text'])}"])
    if opened.stretches:
        values["places"] = _find_places(opened, first, text)
        printer.lines(f"  from  {_worded(place)}" for place in values["places"])
    return values


def _find_places(opened: Opened, first: int, text: Text) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from llmprep.store.provenance import find_places

    count = opened.max_length + 1
    stretches = opened.stretches.within(first, first + count) if opened.stretches else []
    return [asdict(place) for place in find_places(opened.read, stretches, first, count, text.table, text.eot_id)]


def _worded(place: Mapping[str, Any]) -> str:
    unit = "bytes" if place["exact"] else "bytes of its text"
    document = "one of its documents" if place["document"] is None else f"document {place['document']}"
    name = plain.visible(shorten(place["name"], CHARS_SHOWN))
    return f"{name}, {document}, {unit} {place['begin']} to {place['end']}"


def _mark_documents(ids: list[int], text: Text) -> str:
    """Return the text of ids, with each document boundary set off."""
    from llmprep.tokens.decoding import decode_ids

    parts: list[str] = []
    run: list[int] = []
    for token_id in [*ids, text.eot_id]:
        if token_id != text.eot_id:
            run.append(token_id)
            continue
        parts.append(decode_ids(run, text.table))
        run = []
    return " =====| document |===== ".join(parts)

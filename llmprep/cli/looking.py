"""A look inside a stream of ids: windows by number, by a text they hold, and where they came from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmprep.cli.printer import Printer
from llmprep.errors import DataError, UsageError, VocabularyError, shorten
from llmprep.preview import plain
from llmprep.preview.characters import REACH, group_tokens, split_lines

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from llmprep.store.provenance import Place, Stretches
    from llmprep.tokens.decoding import Decoder
    from llmprep.vocabulary.references import Reference

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
    refers: Reference
    max_length: int
    stride: int

    @property
    def id_bytes(self) -> int:
        """How many bytes an id has where it lies."""
        import numpy as np

        from llmprep.store.reading import TokenStore

        return np.dtype(self.ids.manifest.dtype if isinstance(self.ids, TokenStore) else self.ids.dtype).itemsize

    def read(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return up to ``count`` ids of the stream, from the one numbered ``first`` on."""
        import numpy as np

        from llmprep.store.reading import TokenStore

        if isinstance(self.ids, TokenStore):
            return self.ids.read(first, min(count, self.n_tokens - first)).astype(np.int64)
        return np.asarray(self.ids[first : first + count], np.int64)


@dataclass(frozen=True, slots=True)
class Text:
    """What it takes to show ids as text; ``eot_id`` is -1 where no token ends a text.

    ``loses`` says whether the bytes of the ids are those of the text that they are of, as `Vocabulary` does.
    """

    decoder: Decoder
    eot_id: int
    loses: str


def show_windows(printer: Printer, opened: Opened, look: Look, vocab_dir: str | None) -> list[dict[str, Any]]:
    """Show the windows that are wanted, the first one if none is; return them as values of a JSON object."""
    text = find_text(printer, opened.refers, vocab_dir, needed=look.around is not None)
    return [_show_window(printer, opened, number, text) for number in _choose(printer, opened, look, text)]


def find_text(printer: Printer, refers: Reference, vocab_dir: str | None, *, needed: bool = False) -> Text | None:
    """Return what it takes to show ids as text, or None, and say so, where there is no vocabulary, or raise."""
    from llmprep.tokens.decoding import Decoder
    from llmprep.vocabulary.loading import load_vocabulary

    try:
        vocabulary = load_vocabulary(refers, vocab_dir, printer.note)
    except VocabularyError as error:
        if needed:
            raise
        printer.note(f"text is not shown: {error}")
        return None
    return Text(Decoder.of(vocabulary), -1 if vocabulary.eot_id is None else vocabulary.eot_id, vocabulary.loses)


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
            shape = f"windows of {opened.max_length}, stride {opened.stride}"
            raise UsageError(f"window {number}: {shape}, are numbered from 0 to {count - 1}")
    return numbers


def _find_window(printer: Printer, opened: Opened, wanted: str, text: Text, count: int) -> int:
    """Return the number of the first window whose input holds a text, or if none does, of one near it."""
    from llmprep.store.search import find_text

    needle = os.fsencode(wanted)  # a command line may hold bytes that are no UTF-8
    if not needle:
        raise UsageError("--around: needs a text to look for")
    found = find_text(opened.read, opened.n_tokens, needle, text.decoder.table)
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
    values["text"] = _mark_documents(ids[:-1], text.decoder.text, text.eot_id)
    printer.lines([f"  text  {plain.visible(_mark_documents(ids[:-1], text.decoder, text.eot_id))}"])
    printer.lines(f"  split {line}" for line in _lines_of_edges(opened, first, text.decoder))
    if opened.stretches:
        values["places"] = _find_places(opened, first, text)
        printer.lines(f"  from  {word_place(place)}" for place in values["places"])
    return values


def _lines_of_edges(opened: Opened, first: int, decoder: Decoder) -> Iterator[str]:
    """Say which characters are split by the begin or the end of a window."""
    rows: list[list[int]] = []
    for edge in filter(None, (first, first + opened.max_length)):
        begin = max(0, edge - REACH)
        ids = opened.read(begin, 2 * REACH).tolist()
        spans = [(group.first, group.first + len(group.labels)) for group in group_tokens(decoder.tokens(ids))]
        rows += [ids[i:j] for i, j in spans if begin + i < edge < begin + j]
    return split_lines(rows, decoder)


def _find_places(opened: Opened, first: int, text: Text) -> list[dict[str, Any]]:
    """Return where a window is from; without the bytes, where those of its ids are not known to be the text's."""
    from dataclasses import asdict

    from llmprep.store.provenance import find_places

    count = opened.max_length + 1
    stretches = opened.stretches.within(first, first + count) if opened.stretches else []
    return [
        asdict(place) | ({} if _tells_bytes(text, place) else {"begin": None, "end": None, "exact": False})
        for place in find_places(opened.read, stretches, first, count, text.decoder.table, text.eot_id)
    ]


def _tells_bytes(text: Text, place: Place) -> bool:
    """Tell whether the bytes of ids can be counted for those of a text: in all, they must then be as many."""
    return text.loses == "nothing" or (text.loses == "form" and place.exact)


def word_place(place: Mapping[str, Any]) -> str:
    """Return where tokens are from, in words, by the fields of a `Place`."""
    unit = "bytes" if place["exact"] else "bytes of its text"
    document = "one of its documents" if place["document"] is None else f"document {place['document']}"
    name = plain.visible(shorten(place["name"], CHARS_SHOWN))
    return f"{name}, {document}" + ("" if place["begin"] is None else f", {unit} {place['begin']} to {place['end']}")


def _mark_documents(ids: list[int], decode: plain.Decode, eot_id: int) -> str:
    """Return the text of ids, with each document boundary set off."""
    parts: list[str] = []
    run: list[int] = []
    for token_id in [*ids, eot_id]:
        if token_id != eot_id:
            run.append(token_id)
            continue
        parts.append(decode(run))
        run = []
    return " =====| document |===== ".join(parts)

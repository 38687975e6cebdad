"""`tokenize --count` and `--ids`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmprep.cli.notes import say_notes
from llmprep.errors import EmptyError
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.cli.printer import Show
    from llmprep.tokens.backends import Ids
    from llmprep.tokens.stream import TokenStream


def print_counts(show: Show, streams: Iterable[TokenStream]) -> None:
    """Print tokens per input as ``wc`` does, and a total if there are several."""
    counts: list[tuple[int, str]] = []
    for stream in streams:
        counts.append((sum(map(len, _blocks(stream))), plain.visible(stream.origin.name)))
        if stream.figures.n_tokens:
            say_notes(show, stream.origin, stream.figures)
    total = sum(count for count, _ in counts)
    if not total:
        raise _all_empty(name for _, name in counts)
    width = len(str(total))
    rows = [*counts, (total, "total")] if len(counts) > 1 else counts
    show.lines(f"{count:>{width}} {name}" for count, name in rows)
    show.object({"command": "tokenize", "counts": [{"name": n, "tokens": c} for c, n in counts], "n_tokens": total})


def _blocks(stream: TokenStream) -> Iterator[Ids]:
    """Yield a stream's blocks; one that is empty has none, which among others is no error."""
    try:
        yield from stream
    except EmptyError:
        return


def _all_empty(names: Iterable[str]) -> EmptyError:
    return EmptyError(f"{', '.join(names)}: empty: 0 tokens")


def print_ids(show: Show, streams: Iterable[TokenStream]) -> None:
    """Print each input's ids on one line, as they come, or all in one object; an empty one among others has none."""
    rows: list[dict[str, Any]] = []
    lines = _IdLines(show)
    for stream in streams:
        row: list[int] = []
        for block in _blocks(stream):
            ids = block.tolist()
            row += ids if show.as_json else ()
            lines.add(ids)
        lines.end()
        rows.append({"name": plain.visible(stream.origin.name), "token_ids": row})
        if stream.figures.n_tokens:
            say_notes(show, stream.origin, stream.figures)
    if not lines.begun:
        raise _all_empty(row["name"] for row in rows)
    show.object({"command": "tokenize", "ids": rows})


@dataclass(slots=True)
class _IdLines:
    """Prints ids line by line; blank lines wait for the first id, as without any the run is an error."""

    show: Show
    begun: bool = False
    gap: str = ""

    def add(self, ids: list[int]) -> None:
        self.show.text(self.gap + " ".join(map(str, ids)))
        self.begun, self.gap = True, " "

    def end(self) -> None:
        if self.begun:
            self.show.text("\n")
            self.gap = ""
        else:
            self.gap += "\n"

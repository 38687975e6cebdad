"""What max_length and stride do to a text: in one sentence, or as sums, a rule, and a drawing of the first windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from llmprep.errors import plural
from llmprep.preview.characters import seen
from llmprep.preview.fitting import columns_of
from llmprep.preview.plain import Decode, number, visible
from llmprep.windows.counts import count_windows
from llmprep.windows.coverage import Coverage, target_counts

Line: TypeAlias = list[tuple[str, str]]
"""A line in parts, each with what it is: ``input``, ``target``, ``label``, or nothing."""

MAX_WORDS = 64
"""Up to how many tokens are drawn with their own text."""
_WINDOWS = 4
"""How many windows are drawn, if there are as many."""
_COLUMNS = 60
"""The widest drawing to scale."""
_LABEL = 9
"""The columns of a line's label."""
_CELL = 14
"""The widest cell of a token's text."""
_BLOCKS = 4
"""Into how many blocks of lines a drawing in words may be broken."""


def summary(coverage: Coverage, max_length: int, stride: int) -> str:
    """Return one sentence: how many windows there are, and what becomes of the tokens.

    >>> from llmprep.windows.coverage import cover
    >>> summary(cover(6259, 4, 4), 4, 4)
    '1,564 windows of 4, stride 4, from 6,259 tokens; all but the last 2 are used.'
    >>> summary(cover(7, 2, 4), 2, 4)
    '2 windows of 2, stride 4, from 7 tokens; 6 are used, 1 between windows is not.'
    """
    c = coverage
    begin = f"{plural(c.n_windows, 'window')} of {max_length}, stride {stride}, from {plural(c.n_tokens, 'token')}"
    last = f"the last {number(c.n_tail)}" if c.n_tail > 1 else "the last one"
    if c.n_gap:
        left = f"{number(c.n_gap)} between windows" + (f" and {last}" if c.n_tail else "")
        return f"{begin}; {number(c.n_used)} are used, {left} {'is' if c.n_gap + c.n_tail == 1 else 'are'} not."
    return f"{begin}; " + (f"all but {last} are used." if c.n_tail else "every token is used.")


def coverage_lines(coverage: Coverage, max_length: int, stride: int) -> Iterator[str]:
    """Yield three lines of sums: how many tokens are inputs, targets, used, left over and shared."""
    c = coverage
    used = f"all {number(c.n_tokens)}" if c.n_used == c.n_tokens else f"{number(c.n_used)} of {number(c.n_tokens)}"
    inputs = f"{plural(c.n_input, 'token')} {'serves' if c.n_input == 1 else 'serve'} as input"
    yield f"{inputs}, {number(c.n_target)} as target; {used} are used."
    gaps = f"{number(c.n_gap)} between windows, " if stride > max_length else ""
    sums = f"{number(c.n_used)} + {number(c.n_gap)} + {number(c.n_tail)} = {number(c.n_tokens)}"
    yield f"Never used: {gaps}{number(c.n_tail)} at the end; {sums}."
    yield f"Neighbouring windows share {plural(c.overlap, 'token') if c.overlap else 'no tokens'}."


@dataclass(frozen=True, slots=True)
class Drawn:
    """The windows that a drawing shows: the first ones of a text, and only such as there are."""

    n_windows: int
    max_length: int
    stride: int

    @property
    def n_tokens(self) -> int:
        """How many tokens they span, the last target included."""
        return (self.n_windows - 1) * self.stride + self.max_length + 1

    def counts(self) -> list[int]:
        """Return how often each of these tokens is a target in these windows."""
        counts: list[int] = target_counts(self.n_tokens, self.max_length, self.stride).tolist()
        return counts


def find_drawn(n_tokens: int, max_length: int, stride: int) -> Drawn:
    """Return which windows of a text are drawn; there is at least one."""
    return Drawn(min(_WINDOWS, count_windows(n_tokens, max_length, stride)), max_length, stride)


def explain_lines(
    coverage: Coverage,
    drawn: Drawn,
    ids: Sequence[int] = (),
    decode: Decode | None = None,
    *,
    width: int = 80,
) -> Iterator[Line]:
    """Yield the sums, the rule in words, a drawing of the first windows, and what the choice means for training.

    With ``decode``, and ``ids`` that hold all drawn tokens, `MAX_WORDS` at most, the drawing has the text's own tokens
    where that fits lines of ``width``. Else it is to scale.
    """
    max_length, stride = drawn.max_length, drawn.stride
    yield from _words(coverage_lines(coverage, max_length, stride))
    yield []
    span = f"k*{stride} to k*{stride}+{max_length - 1}"
    yield [(f"Window k reads tokens {span}; its target is the same span, one token later.", "")]
    yield []
    cells = _cells(ids, decode) if decode is not None and drawn.n_tokens <= min(len(ids), MAX_WORDS) else []
    blocks = list(_blocks(cells[: drawn.n_tokens], max(20, width - _LABEL)))
    yield from _drawing_in_words(drawn, blocks) if 0 < len(blocks) <= _BLOCKS else _drawing_to_scale(drawn, width)
    yield []
    yield from _words(_consequences(coverage, max_length, stride))


def _words(lines: Iterator[str]) -> Iterator[Line]:
    return ([(line, "")] for line in lines)


def _label(text: str) -> tuple[str, str]:
    return f"{text:<{_LABEL}}", "label"


def _legend(n_windows: int, more: str = "") -> Line:
    windows = "this window" if n_windows == 1 else f"these {n_windows} windows"
    return [(f"(target: how often each token is a target in {windows}{more})", "label")]


# --- a drawing with the text's own tokens -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cell:
    """A token in its column: its place, its text, and the columns that the text takes and that the cell has."""

    place: int
    text: str
    taken: int
    width: int


def _cells(ids: Sequence[int], decode: Decode) -> list[_Cell]:
    """Return the cell of each token; text that is too wide for one ends with dots."""
    from rich.cells import set_cell_size

    cells = []
    for place, token_id in enumerate(ids):
        text = seen(visible(decode([token_id])))
        if columns_of(text) > _CELL:
            text = set_cell_size(text, _CELL - 3) + "..."
        taken = columns_of(text)
        cells.append(_Cell(place, text, taken, max(taken, len(str(place)))))
    return cells


def _blocks(cells: Sequence[_Cell], width: int) -> Iterator[list[_Cell]]:
    """Yield the cells in groups that each fit into ``width`` columns, with one between neighbours."""
    block: list[_Cell] = []
    used = 0
    for cell in cells:
        if block and used + cell.width > width:
            yield block
            block, used = [], 0
        block.append(cell)
        used += cell.width + 1
    if block:
        yield block


def _drawing_in_words(drawn: Drawn, blocks: Sequence[list[_Cell]]) -> Iterator[Line]:
    """Draw each token as a column, and a line for each window: ``#`` under its inputs, ``>`` under its last target."""
    counts = drawn.counts()
    for block in blocks:
        yield [_label("token"), *_row(block, lambda cell: (str(cell.place), "label"))]
        yield [_label(""), *((cell.text + " " * (cell.width - cell.taken + 1), "text") for cell in block)]
        for k in range(drawn.n_windows):
            first = k * drawn.stride
            if block[0].place <= first + drawn.max_length and block[-1].place >= first:
                yield [_label(f"window {k}"), *_row(block, partial(_mark, first=first, max_length=drawn.max_length))]
        yield [_label("target"), *_row(block, lambda cell: (str(counts[cell.place]), ""))]
        yield []
    yield _legend(drawn.n_windows)


def _row(block: Sequence[_Cell], part: Callable[[_Cell], tuple[str, str]]) -> Line:
    """Return the parts of a line, each followed by blanks to the end of its cell and one more."""
    parts: Line = []
    for cell in block:
        text, kind = part(cell)
        parts += [(text, kind), (" " * (cell.width - len(text) + 1), "")]
    return parts


def _mark(cell: _Cell, first: int, max_length: int) -> tuple[str, str]:
    """Return the mark of a window that begins at ``first`` under a token."""
    if first <= cell.place < first + max_length:
        return "#" * cell.taken, "input"
    return (">" * cell.taken, "target") if cell.place == first + max_length else ("", "")


# --- a drawing to scale -----------------------------------------------------------------------------


def _drawing_to_scale(drawn: Drawn, width: int) -> Iterator[Line]:
    """Draw a line for each window, ``#`` for input tokens and ``>`` for the last target; a long span is to scale."""
    n_tokens, max_length, stride = drawn.n_tokens, drawn.max_length, drawn.stride
    unit = -(-n_tokens // min(_COLUMNS, width - _LABEL - 1))
    columns = -(-n_tokens // unit)
    yield [_label("token"), (_ruler(columns, unit), "label")]
    for k in range(drawn.n_windows):
        begin, end = k * stride // unit, max(k * stride // unit + 1, (k * stride + max_length) // unit)
        yield [_label(f"window {k}"), (" " * begin, ""), ("#" * (end - begin), "input"), (">", "target")]
    marks = "".join(str(n) if n < 10 else "+" for n in drawn.counts()[::unit])
    yield [_label("target"), (marks, "")]
    scale = "; each column is one token" if unit == 1 else f"; each column is {unit} tokens"
    yield _legend(drawn.n_windows, scale + "; + stands for 10 or more" * ("+" in marks))


def _ruler(columns: int, unit: int) -> str:
    """Number the columns by their first tokens; a number that would not fit whole is left out."""
    step = 5 if unit == 1 else 10
    labels = (f"{column * unit:<{step}}" for column in range(0, columns, step))
    ruler = "".join(labels).rstrip()
    return ruler if len(ruler) <= columns else ruler[: ruler.rindex(" ")].rstrip()


# --- what it means ----------------------------------------------------------------------------------


def _consequences(coverage: Coverage, max_length: int, stride: int) -> Iterator[str]:
    """Say how often tokens are targets, which tokens are skipped, and what is left at the end."""
    c = coverage
    if stride < max_length:
        times = c.n_windows * max_length / max(1, c.n_target)
        shared = f"neighbours share {max_length - stride} of {max_length} tokens"
        yield f"stride {stride} < max_length {max_length}: {shared}."
        yield (
            f"A token is a target {times:.1f} times on average, each time with a context of another length: more "
            "windows from the same text, not more text."
        )
    elif stride == max_length:
        yield f"stride = max_length = {stride}: windows touch and do not overlap."
        yield (
            "Every token except the first is a target once per epoch."
            if not c.n_tail
            else ("Every token that is used, except the first, is a target once per epoch.")
        )
    else:
        yield f"stride {stride} > max_length {max_length}: {_skipped(c, stride - max_length - 1, max_length)}"
    if c.n_tail:
        last = f"The last {number(c.n_tail)} tokens are" if c.n_tail > 1 else "The last token is"
        yield f"{last} left over: a window needs {plural(max_length, 'token')} and one more as target."
    else:
        yield "The last token is the last target: none is left over."


def _skipped(c: Coverage, n_between: int, max_length: int) -> str:
    """Say how many tokens between two windows are never used; one window has nothing beside it."""
    if c.n_windows == 1:
        return "this text has one window, and so no gap."
    if not n_between:
        return "the token between two windows is the last target of the first, and no input."
    is_are = "token between windows is" if n_between == 1 else "tokens between windows are"
    never = f"{number(n_between)} {is_are} never used, {number(c.n_gap)} of {number(c.n_tokens)} in this text"
    return f"{never}. Use --stride {max_length} to use them all."

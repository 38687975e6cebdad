"""What max_length and stride do to a text, as lines and a drawing."""

from __future__ import annotations

from collections.abc import Iterator

from llmprep.preview.plain import number, plural
from llmprep.windows.coverage import Coverage, target_counts

_COLUMNS = 60
"""The widest drawing."""
_WINDOWS = 4
"""How many windows are drawn."""


def coverage_lines(coverage: Coverage, max_length: int, stride: int) -> Iterator[str]:
    """Yield three lines that account for every token: how many windows, which tokens they use, which they never do."""
    c = coverage
    yield f"{number(c.n_tokens)} tokens -> {plural(c.n_windows, 'window')} of {max_length}, stride {stride}"
    uses = f"input at least once {number(c.n_input)}, target at least once {number(c.n_target)}"
    yield f"{uses}, either {number(c.n_used)}"
    gaps = f"gaps {number(c.n_gap)}, " if stride > max_length else ""
    yield (
        f"never used: {gaps}tail {number(c.n_tail)}; "
        f"{number(c.n_used)} + {number(c.n_gap)} + {number(c.n_tail)} = {number(c.n_tokens)}; "
        f"neighbours share {plural(c.overlap, 'token')}"
    )


def explain_lines(coverage: Coverage, max_length: int, stride: int) -> Iterator[str]:
    """Yield the rule in words, a drawing of the first windows, and what the choice means for training."""
    span = f"k*{stride} to k*{stride}+{max_length - 1}"
    yield f"Window k reads tokens {span}; its target is the same span, one token later."
    yield ""
    yield from _drawing(max_length, stride)
    yield ""
    yield from _consequences(coverage, max_length, stride)


def _drawing(max_length: int, stride: int) -> Iterator[str]:
    """Draw a line for each window, ``#`` for input tokens and ``>`` for the last target; a long span is to scale."""
    n_tokens = (_WINDOWS - 1) * stride + max_length + 1
    unit = -(-n_tokens // _COLUMNS)
    columns = -(-n_tokens // unit)
    scale = "each column is one token" if unit == 1 else f"each column is {unit} tokens"
    yield f"{'token':<9}{_ruler(columns, unit)}   ({scale})"
    for k in range(_WINDOWS):
        begin, end = k * stride // unit, max(k * stride // unit + 1, (k * stride + max_length) // unit)
        yield f"{f'window {k}':<9}{' ' * begin}{'#' * (end - begin)}>"
    counts = target_counts(n_tokens, max_length, stride)[::unit]
    marks = "".join(str(n) if n < 10 else "+" for n in counts.tolist())
    yield f"{'target':<9}{marks}"
    yield f"(target: how often each token is a target in these {_WINDOWS} windows; + stands for 10 or more)"


def _ruler(columns: int, unit: int) -> str:
    """Number the columns by their first tokens; a number that would not fit whole is left out."""
    step = 5 if unit == 1 else 10
    labels = (f"{column * unit:<{step}}" for column in range(0, columns, step))
    ruler = "".join(labels).rstrip()
    return ruler if len(ruler) <= columns else ruler[: ruler.rindex(" ")].rstrip()


def _consequences(coverage: Coverage, max_length: int, stride: int) -> Iterator[str]:
    """Say how often tokens are targets, which tokens are skipped, and what is left at the end."""
    c = coverage
    if stride < max_length:
        times = c.n_windows * max_length / max(1, c.n_target)
        shared = f"neighbours share {max_length - stride} of {max_length} tokens"
        yield f"stride {stride} < max_length {max_length}: {shared}."
        yield f"A token is a target {times:.1f} times on average, each time with a context of another length:"
        yield "more windows from the same text, not more text."
    elif stride == max_length:
        yield f"stride = max_length = {stride}: windows touch and do not overlap."
        yield "Each token is a target once per epoch, all but the first, which nothing precedes."
    else:
        skipped = plural(stride - max_length - 1, "token")
        yield f"stride {stride} > max_length {max_length}: between two windows {skipped} are read by none,"
        yield f"{number(c.n_gap)} of {number(c.n_tokens)} in this text. Use --stride {max_length} to lose none."
    if c.n_tail:
        needs = f"a window needs {max_length} tokens and one more as target"
        yield f"The tail, the last {plural(c.n_tail, 'token')}, fills no window ({needs})."
    else:
        yield "The last token is the last target: there is no tail."

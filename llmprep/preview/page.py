"""Values -> a whole page of HTML, in one file that asks nothing of any network.

Its still parts are drawn here, and are all that is seen without JavaScript; page.js redraws them as sliders move. All
text from files is made visible and escaped, or stands in JSON as numbers; the policy in the page's head lets no script
run but page.js, which it knows by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template

from llmprep.choices import SEED
from llmprep.errors import plural
from llmprep.preview.explain import summary
from llmprep.preview.plain import number, visible
from llmprep.preview.still import pairs_html, windows_html
from llmprep.preview.strip import example_html, number_words, strip_html
from llmprep.tokens.merging import MAX_BYTES, Piece
from llmprep.windows.coverage import Coverage, cover

MAGIC = b"<!doctype html><!-- llmprep page -->"
"""The first bytes of a page, by which one is told from other files."""
TOKENS_SHOWN = 2000
BYTES_SHOWN = 20_000
IDS_HELD = 20_000
"""The most tokens, and bytes of them, that a page shows as text, and the most ids that windows and batches are made
of: whatever they are, a page has less than 1 MB."""
COLUMNS = 64
"""Tokens of a window that the sliders show."""
MAX_SHUFFLED = 1_000_000
"""The most windows that a page works out an order of."""
CELLS_SHOWN, CELL_BYTES_SHOWN = 240, 4_000
"""The most tokens, and bytes of them, in the contexts and targets that are shown as pairs."""
CONTEXT_SHOWN = 32
_WINDOWS, _BATCHES, _BATCH_COLUMNS = 2, 5, 32
"""Windows, batches and windows of a batch that are shown without JavaScript."""


UNMERGED = "How a word becomes tokens is not shown for this vocabulary: no one pattern and list of merges is known."
"""What is said of merges where there are none to show."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows. ``ids`` are the first of ``n_tokens``, as many as `fit_ids` leaves, and ``more`` follow them.

    ``table`` holds their bytes, and is empty where the vocabulary is missing; ``pieces`` are those of ``ids``, if
    it ``merges`` bytes in a way that can be shown. The sliders begin at ``max_length`` and ``stride``, the batches as
    the four after ``pairs`` say. Windows of a ``store`` are shuffled by llmprep's own sampler, others by torch's.
    """

    title: str
    encoding: str
    n_tokens: int
    ids: Sequence[int]
    max_length: int
    stride: int
    table: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    eot_id: int | None = None
    more: Sequence[int] = ()
    pieces: Sequence[Piece] = ()
    pairs: Sequence[tuple[list[int], int]] = ()
    batch_size: int = 4
    shuffle: bool = False
    seed: int = SEED
    drop_last: bool = False
    store: bool = False
    merges: bool = True


def fit_ids(ids: Sequence[int], table: Mapping[int, bytes]) -> list[int]:
    """Return the first ids, as many as a page shows."""
    shown: list[int] = []
    n_bytes = 0
    for token_id in ids[:TOKENS_SHOWN]:
        n_bytes += len(table.get(token_id, b""))
        if n_bytes > BYTES_SHOWN:
            break
        shown.append(token_id)
    return shown


def draw_page(page: Page) -> str:
    """Return the page's document; for the same values, the same to the last character."""
    script = _asset("page.js")
    words = number_words(page.pieces)
    sizes = page.max_length, page.stride
    coverage = cover(page.n_tokens, *sizes)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(_asset("page.html")).substitute(
        script_hash=f"'sha256-{digest}'",
        title=escape(visible(page.title)),
        css=_asset("page.css"),
        js=script,
        data=_data(page, words),
        facts=escape(visible(f"{plural(page.n_tokens, 'token')}, {page.encoding}")),
        pairs=_pairs_section(page) if page.pairs else "",
        tokens_words=_tokens_words(page),
        bare="" if page.table else " bare",
        tokens=strip_html(page.ids, page.table, page.eot_id, page.pieces),
        word=example_html(page.pieces) if page.merges else f"<p>{UNMERGED}</p>",
        max_length=page.max_length,
        stride=page.stride,
        slider_max=max(*sizes, min(page.n_tokens - 1, max(64, 2 * page.max_length))),
        sentence=summary(coverage, *sizes),
        account=_account(coverage),
        windows=_first_windows(page),
        boundaries=_boundaries(page),
        batch_size=page.batch_size,
        shuffle=" checked" if page.shuffle else "",
        seed=page.seed if page.seed < 1 << 53 else page.seed % (1 << 32),  # of which torch takes 32 bits
        drop_last=" checked" if page.drop_last else "",
        batches_words=_batches_words(coverage.n_windows, page),
        batches=_first_batches(coverage.n_windows, page.batch_size),
        order_words=_order_words(page.store),
    )


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _data(page: Page, words: Mapping[bytes, int]) -> str:
    """Return what page.js reads, as JSON in which no character ends the element that it stands in."""
    by_data = {piece.data: piece for piece in page.pieces}
    coded = ([data.hex(), [n for step in by_data[data].steps for n in step], by_data[data].n_tokens] for data in words)
    values = {
        "n": page.n_tokens,
        "eot": page.eot_id,
        "more": list(page.more),
        "words": list(coded),
        "columns": COLUMNS,
        "longest": MAX_BYTES,
        "unmerged": "" if page.merges else UNMERGED,
        "most": MAX_SHUFFLED,
        "store": page.store,
    }
    return json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")


# --- tokens ---------------------------------------------------------------------------------------


def _tokens_words(page: Page) -> str:
    shown = len(page.ids)
    what = f"The first {number(shown)} of {plural(page.n_tokens, 'token')}"
    what = what if shown < page.n_tokens else f"All {plural(shown, 'token')}"
    if not page.table:
        return f"{what}. The vocabulary is not on this machine: the text is not shown, only ids."
    merged = page.merges and any(piece.steps for piece in page.pieces)
    word = "; click one, or press Enter, to see how its word is merged" if merged else ""
    return (
        f"{what}, a background for each. Point at one to see its id and bytes. "
        f'<span class="scripts">The arrow keys move among them{word}. </span>'
        "A byte such as <code>\\xe4</code> is a part of the character above it."
    )


def _pairs_section(page: Page) -> str:
    shown = list(_fit_pairs(page))
    longer = any(len(context) > CONTEXT_SHOWN for context, _ in page.pairs[: len(shown)])
    notes = [f"The first {plural(len(shown), 'pair')}."] * (len(page.pairs) > len(shown))
    notes += [f"Of longer contexts, the last {CONTEXT_SHOWN} tokens are shown."] * longer
    return (
        '<section id="pairs" aria-labelledby="pairs-title"><h2 id="pairs-title">Contexts and targets</h2>'
        f"<p>Each context grows by one token, and the target is the token that follows. {' '.join(notes)}</p>"
        f"{pairs_html(shown, page.table)}</section>"
    )


def _fit_pairs(page: Page) -> Iterator[tuple[list[int], int]]:
    """Yield the first pairs, with the ends of long contexts; one at least."""
    n_cells, n_bytes = 0, 0
    for row, (context, target) in enumerate(page.pairs):
        cells = [*context[-CONTEXT_SHOWN:], target]
        n_cells += len(cells)
        n_bytes += sum(len(page.table.get(token_id, b"")) for token_id in cells)
        if row and (n_cells > CELLS_SHOWN or n_bytes > CELL_BYTES_SHOWN):
            return
        yield cells[:-1], target


# --- windows and batches, as page.js draws them too -------------------------------------------------


def _account(coverage: Coverage) -> str:
    c = coverage
    cells = {
        "windows": c.n_windows,
        "as input": c.n_input,
        "as target": c.n_target,
        "overlap": c.overlap,
        "in gaps": c.n_gap,
        "in the tail": c.n_tail,
    }
    figures = "".join(f"<div><dt>{name}</dt><dd>{number(value)}</dd></div>" for name, value in cells.items())
    total = f"{number(c.n_used)} used + {number(c.n_gap)} in gaps + {number(c.n_tail)} in the tail"
    return f'<dl class="figures">{figures}</dl><p class="sum">{total} = {plural(c.n_tokens, "token")}</p>'


def _first_windows(page: Page) -> str:
    starts = [k * page.stride for k in range(_WINDOWS) if k * page.stride + page.max_length < len(page.ids)]
    rows = [list(page.ids[start : start + page.max_length + 1]) for start in starts]
    if not rows:
        return "<p>No window lies wholly in the tokens that this page holds.</p>"
    return windows_html([(row[:-1], row[1:]) for row in rows], page.table)


def _boundaries(page: Page) -> str:
    count = sum(token_id == page.eot_id for token_id in page.ids)
    if not count:
        return "No document boundary stands among the tokens that this page holds."
    return f"{plural(count, 'document boundary', 'document boundaries')} among the tokens that this page holds."


def _batches_words(n_windows: int, page: Page) -> str:
    count = n_windows // page.batch_size if page.drop_last else -(-n_windows // page.batch_size)
    batches = plural(count, "batch", "batches")
    return f"{batches} of {number(page.batch_size)} an epoch; without JavaScript, the first ones stand in order here."


def _first_batches(n_windows: int, size: int) -> str:
    rows = []
    for batch in range(min(_BATCHES, -(-n_windows // size))):
        windows = range(batch * size, min((batch + 1) * size, n_windows))
        cells = "".join(f'<td><span class="number">{number(k)}</span></td>' for k in windows[:_BATCH_COLUMNS])
        cells += f"<td>\u2026 {number(len(windows) - _BATCH_COLUMNS)} more</td>" * (len(windows) > _BATCH_COLUMNS)
        rows.append(f'<tr><th scope="row">batch {batch}</th>{cells}</tr>')
    return f'<table class="grid"><tbody>{"".join(rows)}</tbody></table>'


def _order_words(store: bool) -> str:
    whose = "llmprep's WindowSampler's, as for every token store" if store else "torch's own"
    return (
        f"The numbers are those of windows. Shuffled, they stand in an order that is {whose}: the one that "
        "<code>torch.manual_seed(seed)</code> and then <code>llmprep.create_dataloader(shuffle=True)</code> give."
    )

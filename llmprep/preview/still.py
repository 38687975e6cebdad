"""Ids -> fragments of HTML that need no style sheet and no script: what a notebook and a page show of them.

Each is one ``<div>``. Nothing in it acts: text is made visible, then escaped, and each token is set apart, so that what
is written from right to left cannot move its neighbours. A token has a background of its own, and so is readable on
white and on black.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from llmprep.preview.characters import Group, group_tokens

COLOURS = ("#bfe3f5", "#f7e6a2", "#c8eac2", "#f0cfe8")
COLUMNS_SHOWN = 16
"""Tokens of a window that are shown."""

_OUTER = (
    "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:13px;line-height:1.5;overflow-x:auto"
)
_GROUP = "display:inline-block;vertical-align:bottom;margin:2px 4px 4px 0;text-align:center"
_CELL = "display:inline-block;vertical-align:bottom;margin-right:1px"
_LABEL = (
    "display:block;min-width:1ch;padding:1px 3px;border-radius:4px;color:#16191f;"
    "white-space:pre;unicode-bidi:isolate;text-align:left"
)
_ID = "display:block;font-size:11px;opacity:.7"
_TABLE = "border-collapse:collapse;margin:4px 0 10px"
_HEAD = "padding:2px 10px 6px 0;text-align:left;font-weight:normal;opacity:.7;vertical-align:top"
_PLACE = "padding:1px 2px;text-align:left;vertical-align:top;white-space:nowrap;border:0;background:none"


def token_html(ids: Sequence[int], table: Mapping[int, bytes]) -> str:
    """Return tokens in colour above their ids; the bytes of a split character stand under the character.

    ``table`` holds the bytes of each id; where it lacks one, as all where the vocabulary is missing, the id is alone.
    """
    return _div(_tokens(ids, table))


def windows_html(rows: Sequence[tuple[list[int], list[int]]], table: Mapping[int, bytes]) -> str:
    """Return each window as two rows, input over target, token under token; of a long one the first columns."""
    return _div(_window(number, *row, table) for number, row in enumerate(rows))


def pairs_html(pairs: Iterable[tuple[list[int], int]], table: Mapping[int, bytes]) -> str:
    """Return a row for each pair: the context's tokens, an arrow, the target."""
    rows = "".join(
        f'<tr><td style="{_PLACE}">{"".join(_tokens(context, table))}</td>'
        f'<td style="{_PLACE};padding:2px 10px;vertical-align:middle">\u2192</td>'
        f'<td style="{_PLACE}">{"".join(_tokens([target], table, len(context)))}</td></tr>'
        for context, target in pairs
    )
    return _div([f'<table style="{_TABLE}" aria-label="contexts and targets"><tbody>{rows}</tbody></table>'])


def describe(token_id: int, table: Mapping[int, bytes]) -> str:
    """Return what is said of a token besides its text.

    >>> describe(290, {290: b" and"}), describe(7, {})
    ('id 290, bytes 20 61 6e 64', 'id 7')
    """
    token = table.get(token_id)
    return f"id {token_id}" if token is None else f"id {token_id}, bytes {token.hex(' ')}"


def _div(parts: Iterable[str]) -> str:
    return f'<div style="{_OUTER}">{"".join(parts)}</div>'


def _tokens(ids: Sequence[int], table: Mapping[int, bytes], colour: int = 0) -> Iterator[str]:
    """Yield the groups of some tokens; the first has the colour of this number."""
    for group in group_tokens([table.get(i, b"") for i in ids]):
        members = ids[group.first : group.first + len(group.labels)]
        cells = "".join(
            _cell(token_id, label, table, colour + group.first + k)
            for k, (token_id, label) in enumerate(zip(members, group.labels, strict=True))
        )
        yield f'<span style="{_GROUP}">{_character(group)}{cells}</span>'


def _character(group: Group) -> str:
    """Return the text of several tokens that share a character, to stand above them."""
    return f'<span style="display:block;unicode-bidi:isolate">{escape(group.text)}</span>' * (len(group.labels) > 1)


def _cell(token_id: int, label: str, table: Mapping[int, bytes], colour: int) -> str:
    style = f"{_LABEL};background:{COLOURS[colour % len(COLOURS)]}"
    token = f'<span style="{style}">{escape(label)}</span>' if token_id in table else ""
    return (
        f'<span style="{_CELL}" title="{describe(token_id, table)}">{token}<span style="{_ID}">{token_id}</span></span>'
    )


def _window(number: int, inputs: list[int], targets: list[int], table: Mapping[int, bytes]) -> str:
    """Return one window as a table of two rows, the target's colours moved by one, as its tokens are."""
    longer = len(inputs) - COLUMNS_SHOWN
    more = f'<td style="{_PLACE};padding:2px 8px">\u2026 {longer} more</td>' if longer > 0 else ""
    rows = "".join(
        f'<tr><th scope="row" style="{_HEAD}">{name}</th>{_columns(ids, table, shift)}{more}</tr>'
        for name, ids, shift in (("input", inputs, 0), ("target", targets, 1))
    )
    caption = f'<caption style="text-align:left;padding:2px 0;opacity:.7">window {number}</caption>'
    return f'<table style="{_TABLE}">{caption}<tbody>{rows}</tbody></table>'


def _columns(ids: list[int], table: Mapping[int, bytes], shift: int) -> str:
    """Return a row's places, each a token's own; a character that is split between them shows as bytes."""
    shown = ids[:COLUMNS_SHOWN]
    labels = [label for group in group_tokens([table.get(i, b"") for i in shown]) for label in group.labels]
    return "".join(
        f'<td style="{_PLACE}">{_cell(token_id, label, table, place + shift)}</td>'
        for place, (token_id, label) in enumerate(zip(shown, labels, strict=True))
    )

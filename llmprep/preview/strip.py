"""Tokens as running text, in which words can be chosen, and how one word was merged: parts of a page.

page.css gives them their looks, and page.js draws the merges of the word that is chosen in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from llmprep.errors import plural
from llmprep.preview.characters import Group, group_tokens
from llmprep.preview.still import describe
from llmprep.tokens.merging import Piece

Table = Mapping[int, bytes]


def number_words(pieces: Sequence[Piece]) -> dict[bytes, int]:
    """Return the number of each word whose merges are known."""
    return {data: k for k, data in enumerate(dict.fromkeys(piece.data for piece in pieces if piece.data))}


def strip_html(ids: Sequence[int], table: Table, eot_id: int | None, pieces: Sequence[Piece]) -> str:
    """Return tokens as text, each with its id and bytes; those of a word are in an element with the word's number.

    After a newline follows a line, after an end-of-text token a rule. ``table`` and ``pieces`` are as in a page.
    """
    return "".join(_words(ids, table, eot_id, pieces))


def _words(ids: Sequence[int], table: Table, eot_id: int | None, pieces: Sequence[Piece]) -> Iterator[str]:
    groups, words = list(group_tokens([table.get(i, b"") for i in ids])), number_words(pieces)
    starts = {group.first for group in groups} | {len(ids)}
    begun = {piece.first: piece for piece in pieces if piece.data and piece.first + piece.n_tokens in starts}
    end = 0
    for group in groups:
        piece = begun.get(group.first)
        if piece is not None:
            yield f'<span class="w" data-w="{words[piece.data]}">'
            end = piece.first + piece.n_tokens
        after = group.first + len(group.labels)
        yield _group(group, ids[group.first : after], table, eot_id)
        if end == after:
            yield "</span>"
            end = 0
        yield _after(ids[after - 1], table, eot_id)


def _group(group: Group, ids: Sequence[int], table: Table, eot_id: int | None) -> str:
    """Return tokens that stand together; above those that share a character, the character."""
    chips = ""
    for k, (token_id, label) in enumerate(zip(ids, group.labels, strict=True)):
        look = "end" if token_id == eot_id else f"c{(group.first + k) % 4}"
        shown = escape(label) if token_id in table else str(token_id)
        chips += f'<b class="t {look}" data-i="{token_id}" title="{describe(token_id, table)}">{shown}</b>'
    return f'<span class="g"><i>{escape(group.text)}</i>{chips}</span>' if len(group.labels) > 1 else chips


def _after(token_id: int, table: Table, eot_id: int | None) -> str:
    """Return what sets off what follows a token: a line after a newline, a rule after the end of a document."""
    if token_id == eot_id:
        return '<span class="boundary">document boundary</span>'
    return "<br>" if table.get(token_id, b"").endswith(b"\n") else ""


def example_html(pieces: Sequence[Piece]) -> str:
    """Return how one word is merged, the first of several tokens or else of several bytes, as page.js draws any."""
    known = [piece for piece in pieces if piece.steps]
    piece = next((piece for piece in known if piece.n_tokens > 1), known[0] if known else None)
    if piece is None:
        return "<p>No merge is known of the tokens shown here.</p>"
    parts = [bytes([byte]) for byte in piece.data]
    rows = [_row(parts, None, plural(len(parts), "byte"))]
    for place, token_id in piece.steps:
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
        rows.append(_row(parts, place, f"id {token_id}"))
    merges, lead = plural(len(piece.steps), "merge"), "leads" if len(piece.steps) == 1 else "lead"
    said = f"<p>{merges}, lowest id first, {lead} to {plural(piece.n_tokens, 'token')}.</p>"
    return f'{said}<ol class="steps">{"".join(rows)}</ol>'


def _row(parts: Sequence[bytes], merged: int | None, said: str) -> str:
    labels = [next(group_tokens([part])).text for part in parts]
    chips = (f"<b{' class=new' * (k == merged)}>{escape(label)}</b>" for k, label in enumerate(labels))
    return f"<li>{''.join(chips)}<i>{said}</i></li>"

"""A stream -> the stream of a training file and that of a validation file."""

from __future__ import annotations

from dataclasses import replace

from llmprep.formats.ids import Array, id_blocks
from llmprep.tokens.spooling import spool
from llmprep.tokens.stream import TokenStream, count_tokens
from llmprep.windows.counts import split_place


def split_stream(stream: TokenStream, val_fraction: float) -> tuple[TokenStream, TokenStream]:
    """Cut a stream once, before windowing, so that training and validation share no token.

    The last ``floor(n * val_fraction)`` tokens are for validation. Reads the stream to its end.
    """
    ids = spool(iter(stream))
    place = split_place(len(ids), val_fraction)
    return _part(stream, val_fraction, "train", ids[:place]), _part(stream, val_fraction, "val", ids[place:])


def _part(stream: TokenStream, val_fraction: float, part: str, ids: Array) -> TokenStream:
    options = {**stream.origin.options, "val_fraction": val_fraction, "part": part}
    origin = replace(stream.origin, name=f"{stream.origin.name} ({part})", options=options)
    figures = replace(stream.figures, records=stream.figures.sources, starts=None)
    return TokenStream(origin, count_tokens(id_blocks(ids), figures), figures)

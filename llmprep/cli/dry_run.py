"""A dry run: what would be read and written, and about how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from llmprep.documents.decompressing import is_compressed
from llmprep.documents.source import Source
from llmprep.errors import DataError, UsageError
from llmprep.preview import plain
from llmprep.tokens.estimate import Estimate
from llmprep.windows.counts import require_windows, split_place

if TYPE_CHECKING:
    from llmprep.cli.printer import Show
    from llmprep.inputs import Reading


def require_windows_of(
    guess: Estimate, sources: Sequence[Source], max_length: int, stride: int, val_fraction: float | None
) -> None:
    """Raise `DataError`, as the run will, where it is certain that there is no window, or in a part of a split none."""
    name = sources[0].path if len(sources) == 1 else f"{len(sources)} inputs"
    if not guess.is_exact:
        most = guess.n_bytes + len(sources)  # a token has a byte or more, and each text one separator
        if not guess.n_unsized and most <= max_length and not any(map(_is_packed, sources)):
            raise DataError(f"{name}: at most {most} tokens, which give no window of max_length {max_length}")
        return
    cut = guess.tokens if val_fraction is None else split_place(guess.tokens, val_fraction)
    parts = [("", cut)] if val_fraction is None else [(" (train)", cut), (" (val)", guess.tokens - cut)]
    for part, n_tokens in parts:
        require_windows(n_tokens, max_length, stride, f"{name}{part}")


def _is_packed(source: Source) -> bool:
    """Tell whether a file's text may have more bytes than the file."""
    return source.format == "parquet" or is_compressed(source)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a dry run is of: an output, its dtype (None: a token store's), and the windows that it is to have."""

    output: str
    dtype: str | None = None
    ids_per_token: float = 1
    max_length: int | None = None
    stride: int = 1
    val_fraction: float | None = None


def show_plan(show: Show, paths: list[str], reading: Reading, planned: Planned) -> None:
    """Say what would be read and written, and about how many tokens, bytes and minutes that is.

    What a run would refuse, and is certain without encoding all, is refused.
    """
    from llmprep.choices import Effort, TextOptions
    from llmprep.cli.dry_run import require_windows_of
    from llmprep.documents.finding import find_sources
    from llmprep.formats.meta import check_dtype
    from llmprep.inputs import is_text
    from llmprep.ptfile.layout import DTYPES
    from llmprep.store.schema import store_dtype
    from llmprep.tokens.estimate import estimate_tokens
    from llmprep.vocabulary.loading import load_vocabulary

    if not is_text(paths):
        raise UsageError(f"--dry-run: {paths[0]}: its tokens are made already; there is nothing to estimate")
    sources = find_sources(paths, reading.text_field, reading.announce)
    effort = reading.effort or Effort()
    vocabulary = load_vocabulary(reading.encoding or "gpt2", reading.vocab_dir, reading.announce)
    dtype, output = planned.dtype or store_dtype(vocabulary.n_vocab), planned.output
    check_dtype(dtype, vocabulary.n_vocab)
    guess = estimate_tokens(sources, vocabulary, reading.options or TextOptions(), effort)
    if planned.max_length is not None:
        require_windows_of(guess, sources, planned.max_length, planned.stride, planned.val_fraction)
    n_bytes = round(guess.tokens * planned.ids_per_token * DTYPES[dtype].itemsize)
    minutes = guess.seconds / effort.jobs / 60
    show.object(
        {
            "command": "dry-run",
            "inputs": [{"name": plain.visible(source.path), "bytes": source.size} for source in sources],
            "output": output,
            "estimate": {**asdict(guess), "output_bytes": n_bytes, "minutes": round(minutes, 4)},
        }
    )
    sizes = ["?" if source.size is None else plain.size(source.size) for source in sources]
    show.lines(f"{size:>11} {plain.visible(source.path)}" for size, source in zip(sizes, sources, strict=True))
    unsized = f", and {plain.plural(guess.n_unsized, 'input')} of unknown size" if guess.n_unsized else ""
    bounds = f"95 % between {plain.number(guess.low)} and {plain.number(guess.high)}"
    made = f"{plain.visible(output)}, about {plain.size(n_bytes)}, in about {minutes:.1f} minutes"
    show.lines([f"would read {plain.plural(len(sources), 'input')}, {plain.size(guess.n_bytes)}{unsized}"])
    show.lines([f"would give about {plain.number(guess.tokens)} tokens ({bounds})"])
    show.lines([f"would write {made}; nothing was written"])

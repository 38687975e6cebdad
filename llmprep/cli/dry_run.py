"""A dry run: what would be read and written, and about how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from llmprep.choices import Reading
from llmprep.cli.notes import left_out_values
from llmprep.cli.printer import Printer
from llmprep.errors import DataError, UsageError, plural
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.documents.source import Source
    from llmprep.formats.windows import WindowOptions
    from llmprep.inputs import Texts
    from llmprep.store.unfinished import Rest
    from llmprep.tokens.estimate import Estimate
    from llmprep.tokens.projection import Projection
    from llmprep.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Planned:
    """What a dry run is of: an output, its dtype (None: a token store's), and the windows that it is to have.

    ``rest`` is what is left to be built of a store that was begun.
    """

    output: str
    dtype: str | None = None
    ids_per_token: float = 1
    max_length: int | None = None
    stride: int = 1
    val_fraction: float | None = None
    rest: Rest | None = None


def plan_windows(output: str, options: WindowOptions, val_fraction: float | None) -> Planned:
    """Return what is planned for windows files, with the number of ids that they hold for each token of the text."""
    max_length, stride = options.max_length, options.stride
    per_token = 2 * max_length / stride if options.dense else min(1.0, (max_length + 1) / stride)
    return Planned(output, options.dtype, per_token, max_length, stride, val_fraction)


def show_plan(printer: Printer, paths: list[str], reading: Reading, planned: Planned) -> None:
    """Say what would be read and written, and about how many tokens, bytes and minutes that is.

    What a run would refuse, as far as that is certain without encoding everything, is refused.
    """
    from llmprep.formats.meta import check_dtype, store_dtype
    from llmprep.inputs import Texts, open_input
    from llmprep.tokens.estimate import estimate_tokens
    from llmprep.tokens.projection import fit_effort, project_memory
    from llmprep.tokens.stream import require_separator
    from llmprep.vocabulary.loading import load_vocabulary

    if reading.text is not None:
        raise UsageError("--dry-run: a text that is given itself is encoded at once; leave out --dry-run")
    found = open_input(paths, reading, check=False, pipes="unread")
    if not isinstance(found, Texts):
        raise UsageError(f"--dry-run: {paths[0]}: already holds tokens; there is nothing to estimate")
    chosen = reading.for_text()
    vocabulary: Vocabulary = load_vocabulary(chosen.encoding, reading.vocab_dir, reading.announce)
    require_separator(found.sources, vocabulary, chosen.options)
    dtype = planned.dtype or store_dtype(vocabulary.n_vocab)
    check_dtype(dtype, vocabulary.n_vocab)
    effort = fit_effort(found.sources, vocabulary, chosen.effort, processes=planned.dtype is None)
    estimate = estimate_tokens(found.sources, vocabulary, chosen.options, replace(effort, memory=None))
    if planned.max_length is not None:
        _require_windows(estimate, found.sources, planned, in_bytes=vocabulary.loses == "nothing")
    if planned.rest is not None:
        estimate = _shared(estimate, planned.rest.share)
    projection = project_memory(found.sources, vocabulary, effort, processes=planned.dtype is None)
    _show(printer, found, estimate, planned, dtype, projection)


def _shared(estimate: Estimate, share: float) -> Estimate:
    """Return what is estimated of a share of the text."""
    tokens, low, high = (round(each * share) for each in (estimate.tokens, estimate.low, estimate.high))
    n_bytes = round(estimate.n_bytes * share)
    return replace(estimate, n_bytes=n_bytes, tokens=tokens, low=low, high=high, seconds=estimate.seconds * share)


def _require_windows(estimate: Estimate, sources: Sequence[Source], planned: Planned, *, in_bytes: bool) -> None:
    """Raise `DataError`, as the run will, where it is certain that there is no window, or in a part of a split none.

    ``in_bytes`` says that a text has no more tokens than bytes.
    """
    from llmprep.documents.recognising import is_packed
    from llmprep.windows.counts import require_windows, split_place

    max_length, val_fraction = planned.max_length or 1, planned.val_fraction
    name = sources[0].path if len(sources) == 1 else f"{len(sources)} inputs"
    if not estimate.is_exact:
        bound = estimate.n_bytes + len(sources)  # a token has a byte or more, and each text one separator
        if in_bytes and not estimate.n_unsized and bound <= max_length and not any(map(is_packed, sources)):
            raise DataError(f"{name}: at most {bound} tokens, which give no window of max_length {max_length}")
        return
    cut = estimate.tokens if val_fraction is None else split_place(estimate.tokens, val_fraction)
    parts = [("", cut)] if val_fraction is None else [(" (train)", cut), (" (val)", estimate.tokens - cut)]
    for part, n_tokens in parts:
        require_windows(n_tokens, max_length, planned.stride, f"{name}{part}")


def _rest_lines(rest: Rest | None) -> list[str]:
    if rest is None:
        return []
    return [f"{plain.number(rest.n_missing)} of {plural(rest.n_shards, 'shard')} are to be built"]


def _show(
    printer: Printer,
    found: Texts,
    estimate: Estimate,
    planned: Planned,
    dtype: str,
    projection: Projection,
) -> None:
    from llmprep.ptfile.layout import DTYPES

    n_bytes = round(estimate.tokens * planned.ids_per_token * DTYPES[dtype].itemsize)
    minutes = estimate.seconds / projection.jobs / 60
    most = plain.visible(projection.needs_most)
    printer.object(
        {
            "command": "dry-run",
            "inputs": [{"name": plain.visible(source.path), "bytes": source.size} for source in found.sources],
            "output": planned.output,
            **({} if planned.rest is None else {"shards": asdict(planned.rest)}),
            "estimate": {**asdict(estimate), "output_bytes": n_bytes, "minutes": round(minutes, 4)},
            "memory": {"bytes": projection.n_bytes, "jobs": projection.jobs, "needs_most": most},
            **left_out_values(found.left_out),
        }
    )
    sizes = ["?" if source.size is None else plain.size(source.size) for source in found.sources]
    printer.lines(f"{size:>11} {plain.visible(source.path)}" for size, source in zip(sizes, found.sources, strict=True))
    unsized = f", and {plural(estimate.n_unsized, 'input')} of unknown size" if estimate.n_unsized else ""
    unsized += f", {len(found.left_out):,} left out" if found.left_out else ""
    bounds = f"95 % between {plain.number(estimate.low)} and {plain.number(estimate.high)}"
    output = f"{plain.visible(planned.output)}, about {plain.size(n_bytes)}, in about {minutes:.1f} minutes"
    printer.lines(
        [
            *_rest_lines(planned.rest),
            f"would read {plural(len(found.sources), 'input')}, {plain.size(estimate.n_bytes)}{unsized}",
            f"would give about {plural(estimate.tokens, 'token')} ({bounds})",
            f"would take up to {plain.size(projection.n_bytes)} of memory, with {plural(projection.jobs, 'job')}",
            f"would write {output}; nothing was written",
        ]
    )

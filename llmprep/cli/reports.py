"""What each command says of its result: in words, on a terminal in colour, or as one JSON object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from llmprep.errors import EmptyError, UsageError, VocabularyError
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.cli.show import Show
    from llmprep.embedding import Plan, Tables
    from llmprep.inputs import Reading
    from llmprep.tokens import Ids, TokenStream
    from llmprep.windows import Pairs

PAIRS_SHOWN = 8
TOKENS_SHOWN = 48
IDS_SHOWN = 16
MAX_HEAD = 1 << 16


def decoder(show: Show, stream: TokenStream) -> plain.Decode | None:
    """Return ids -> text, or None where the vocabulary is not to be had: previews then show ids only."""
    from llmprep.tokens import decode_ids, token_table

    try:
        table = token_table(stream.require_vocabulary(download=False))
    except VocabularyError as error:
        show.note(f"text is not shown: {error}")
        return None
    return lambda ids: decode_ids(ids, table)


def say_notes(show: Show, stream: TokenStream) -> None:
    """Say what was dropped, skipped or found while reading."""
    from llmprep.documents import count_remarks

    empty = [source.path for source in stream.documents if source.sha256 and not source.n_chars]
    if empty:
        names = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
        show.note(f"{plain.plural(len(empty), 'empty input')} skipped: {names}")
    say_empty_records(show, sum(source.n_empty for source in stream.documents))
    for source in stream.documents:
        if source.bom:
            show.note(f"{source.path}: byte order mark dropped")
    say_remarks(show, count_remarks(stream.documents))
    if stream.n_special:
        taken = {"allow": "taken as its id", "text": "taken as plain text"}[stream.options["special"]]
        show.note(f"<|endoftext|> stands {stream.n_special} times in the text itself, {taken} (--special)")


def say_empty_records(show: Show, count: int) -> None:
    """Say that there were records without text."""
    if count:
        show.note(f"{plain.plural(count, 'empty record')} skipped; the others keep their numbers")


def say_remarks(show: Show, remarks: Mapping[str, tuple[str, int]]) -> None:
    """Say what a person should know of inputs: each remark with the first it is true of, and of how many it is."""
    for remark, (name, count) in remarks.items():
        show.note(f"{name}{f' (and {count - 1} more)' if count > 1 else ''}: {remark}")


def special_lines(stream: TokenStream) -> list[str]:
    """Say, on every run over texts, how many end-of-text strings stood in them: a text can forge a boundary."""
    if not stream.documents:
        return []
    backends = " and ".join(name for name in sorted(stream.used) if stream.used[name])
    return [f"<|endoftext|> in the text itself: {plain.number(stream.n_special)}; encoded by {backends}"]


def _figures(stream: TokenStream, **more: object) -> dict[str, Any]:
    """The keys that every JSON object has."""
    return {
        "n_tokens": stream.n_tokens,
        "n_special": stream.n_special,
        "encoding": stream.encoding,
        "sources": stream.sources,
        "content_sha256": stream.content_sha256,
        **more,
    }


# --- a dry run ------------------------------------------------------------------------------------


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
    from llmprep.documents import find_sources
    from llmprep.estimate import estimate_tokens, require_windows_of
    from llmprep.inputs import is_text
    from llmprep.kinds import check_dtype
    from llmprep.ptfile import DTYPES
    from llmprep.store.form import store_dtype
    from llmprep.tokens import Effort, TextOptions
    from llmprep.vocabulary import load_vocabulary

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


# --- tokenize -------------------------------------------------------------------------------------


def print_counts(show: Show, streams: Iterable[TokenStream]) -> None:
    """Print tokens per input as ``wc`` does, and a total if there are several."""
    counts: list[tuple[int, str]] = []
    for stream in streams:
        counts.append((sum(map(len, _blocks(stream))), plain.visible(stream.name)))
        if stream.n_tokens:
            say_notes(show, stream)
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
        rows.append({"name": plain.visible(stream.name), "token_ids": row})
        if stream.n_tokens:
            say_notes(show, stream)
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


def watch(stream: TokenStream) -> Callable[[], int]:
    """Keep a head for the preview and count distinct ids as the stream is read; call the result for the count."""
    import numpy as np

    stream.head_size = TOKENS_SHOWN
    seen = np.zeros(stream.n_vocab, bool)

    def watched(blocks: Iterator[Ids]) -> Iterator[Ids]:
        for block in blocks:
            seen[block] = True
            yield block

    stream.blocks = watched(stream.blocks)
    return lambda: int(seen.sum())


def show_tokens(show: Show, stream: TokenStream, *, output: str, n_bytes: int, n_distinct: int) -> None:
    """Say what `tokenize` made."""
    n_chars = sum(source.n_chars for source in stream.documents)
    per_token = n_chars / stream.n_tokens
    say_notes(show, stream)
    show.object(
        _figures(
            stream,
            command="tokenize",
            output=output,
            output_bytes=n_bytes,
            n_distinct=n_distinct,
            n_chars=n_chars,
            chars_per_token=round(per_token, 4),
            first_ids=stream.head[:IDS_SHOWN],
        )
    )
    if not show.words:
        return
    n_read = sum(source["bytes"] for source in stream.sources)
    encoding = plain.visible(stream.encoding)
    made = f"{plain.plural(stream.n_tokens, 'token')} ({encoding}), {plain.number(n_distinct)} distinct"
    text = f", {plain.plural(n_chars, 'character')} ({per_token:.2f} per token)" if n_chars else ""
    show.lines([f"{made}{text}, {plain.plural(n_read, 'byte')}", *special_lines(stream)])
    decode = decoder(show, stream)
    if show.on_terminal and decode is not None:
        from llmprep.preview.screen import token_strip

        show.render(token_strip(stream.head, decode, show.width()))
    else:
        shown = stream.head[:IDS_SHOWN]
        show.lines([" ".join(map(str, shown))])
        if decode is not None:
            show.lines(["|".join(plain.visible(decode([i])) for i in shown)])
    show.lines([f"{plain.visible(output)}: token_ids [{stream.n_tokens}], {plain.size(n_bytes)}"])


# --- pairs ----------------------------------------------------------------------------------------


def show_pairs(show: Show, stream: TokenStream, pairs: Pairs, *, output: str | None) -> None:
    """Show growing contexts and their targets."""
    say_notes(show, stream)
    decode = decoder(show, stream)
    listed = list(pairs)
    if show.as_json:
        show.object(
            {
                "command": "pairs",
                "encoding": stream.encoding,
                "output": output,
                "pairs": [
                    {"context": context, "target": target}
                    | ({"context_text": decode(context), "target_text": decode([target])} if decode else {})
                    for context, target in listed
                ],
            }
        )
    elif show.words and show.on_terminal:
        from llmprep.preview.screen import pair_table

        show.render(pair_table(listed, decode))
    elif show.words:
        show.lines(plain.pair_lines(listed, decode))


# --- window ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class WindowReport:
    """Collects what `window` made, one part (or training and validation part) at a time."""

    show: Show
    max_length: int
    stride: int
    windows: int
    explain: bool
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)

    def keep_head(self, stream: TokenStream) -> None:
        """Have the stream keep the ids that a preview of its first windows needs."""
        need = max(0, self.windows - 1) * self.stride + self._length + 1
        stream.head_size = min(MAX_HEAD, need) if self.windows else 0

    @property
    def _length(self) -> int:
        """How much of a window is shown: all of it as JSON, as many contexts as a person reads in words."""
        return self.max_length if self.show.as_json else min(self.max_length, PAIRS_SHOWN)

    def add(self, stream: TokenStream, *, output: str, n_bytes: int) -> None:
        """Say what became of one stream."""
        from llmprep.windows import cover

        coverage = cover(stream.n_tokens, self.max_length, self.stride)
        part = str(stream.options.get("part", ""))
        if part != "val":
            say_notes(self.show, stream)
        rows = self._first_windows(stream)
        if len(rows) < min(self.windows, coverage.n_windows):
            self.show.note(
                f"--preview {self.windows}: {len(rows)} shown; a preview reads the first {MAX_HEAD:,} tokens"
            )
        self.objects[part] = _figures(
            stream,
            command="window",
            output=output,
            output_bytes=n_bytes,
            max_length=self.max_length,
            stride=self.stride,
            n_windows=coverage.n_windows,
            coverage=asdict(coverage),
            windows=[{"input_ids": ids[:-1], "target_ids": ids[1:]} for ids in rows],
        )
        if self.show.words:
            self._say(stream, output, n_bytes)

    def finish(self) -> None:
        """Print the one JSON object, if that was asked for."""
        self.show.object(self.objects.get("", {"command": "window", **self.objects}))

    def _say(self, stream: TokenStream, output: str, n_bytes: int) -> None:
        from llmprep.preview.explain import coverage_lines, explain_lines
        from llmprep.windows import cover

        coverage = cover(stream.n_tokens, self.max_length, self.stride)
        self.show.lines([*coverage_lines(coverage, self.max_length, self.stride), *special_lines(stream)])
        if self.explain:
            self.show.lines(["", *explain_lines(coverage, self.max_length, self.stride), ""])
        self._preview(stream)
        shape = f"[{coverage.n_windows}, {self.max_length}]"
        self.show.lines([f"{plain.visible(output)}: input_ids and target_ids {shape}, {plain.size(n_bytes)}"])

    def _first_windows(self, stream: TokenStream) -> list[list[int]]:
        """The ids of what is shown of each window, its last target included; none that the head cuts short."""
        held = len(stream.head) // self.stride + 1
        starts = (k * self.stride for k in range(min(self.windows, held)))
        rows = (stream.head[start : start + self._length + 1] for start in starts)
        return [row for row in rows if len(row) == self._length + 1]

    def _preview(self, stream: TokenStream) -> None:
        rows = self._first_windows(stream)
        decode = decoder(self.show, stream) if rows else None
        for number, row in enumerate(rows):
            pairs = [(row[:k], row[k]) for k in range(1, len(row))]
            if self.show.on_terminal:
                from llmprep.preview.screen import pair_table

                self.show.render(pair_table(pairs, decode, title=f"window {number}"))
            else:
                self.show.lines(plain.pair_lines(pairs, decode))
            if self.max_length > PAIRS_SHOWN:
                self.show.lines([f"... and {self.max_length - PAIRS_SHOWN} longer contexts in this window"])


# --- embed ----------------------------------------------------------------------------------------


def say_size(show: Show, plan: Plan, output: str) -> None:
    """Say, before any work, what will be written."""
    n, length, dim = plan.shape
    show.note(f"{output}: {n} windows x {length} tokens x {dim} numbers, {plan.dtype}: {plain.size(plan.n_bytes)}")


def show_embeddings(show: Show, plan: Plan, tables: Tables, stream: TokenStream, *, output: str) -> None:
    """Tell the story of the shapes, and show the first numbers, to compare with."""
    say_notes(show, stream)
    rows, length = min(plan.batch_size, plan.n_windows), plan.max_length
    token, dim = [rows, length, plan.dim], plan.dim
    first = [round(float(value), 5) for value in tables.token.weight.detach()[0, :3]]
    show.object(
        _figures(
            stream,
            command="embed",
            output=output,
            shape=list(plan.shape),
            first_batch=token,
            token_table=[plan.n_vocab, dim],
            position_table=[plan.context_length, dim],
            token_table_begins=first,
        )
    )
    if not show.words:
        return
    if show.on_terminal:
        from llmprep.preview.screen import shape_story

        show.render(shape_story((rows, length), dim, plan.n_vocab, plan.context_length))
    else:
        show.lines([f"[{rows}, {length}] -> token {token} + position [{length}, {dim}] -> {token}"])
        show.lines([f"token table [{plan.n_vocab}, {dim}], positional table [{plan.context_length}, {dim}]"])
    show.lines([f"token table begins {', '.join(f'{value:.5f}' for value in first)}"])
    show.lines([f"{plain.visible(output)}: input_embeddings {list(plan.shape)}, {plain.size(plan.n_bytes)}"])

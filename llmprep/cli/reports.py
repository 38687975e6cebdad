"""What each command says of its result: in words, on a terminal in colour, or as one JSON object."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from llmprep.cli.notes import common_figures, decoder, say_notes, special_lines
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.cli.printer import Show
    from llmprep.inputs import WindowSource
    from llmprep.pytorch.embedding import Plan, Tables
    from llmprep.tokens.stream import TokenStream
    from llmprep.windows.pairs import Pairs

PAIRS_SHOWN = 8
TOKENS_SHOWN = 48
IDS_SHOWN = 16
MAX_HEAD = 1 << 16


def show_tokens(
    show: Show, stream: TokenStream, head: list[int], *, output: str, n_bytes: int, n_distinct: int
) -> None:
    """Say what `tokenize` made."""
    n_chars = sum(each.n_chars for each in stream.figures.counts)
    per_token = n_chars / stream.figures.n_tokens
    say_notes(show, stream.origin, stream.figures)
    show.object(
        common_figures(
            stream.origin,
            stream.figures,
            command="tokenize",
            output=output,
            output_bytes=n_bytes,
            n_distinct=n_distinct,
            n_chars=n_chars,
            chars_per_token=round(per_token, 4),
            first_ids=head[:IDS_SHOWN],
        )
    )
    if not show.words:
        return
    n_read = sum(source["bytes"] for source in stream.figures.sources)
    encoding = plain.visible(stream.origin.encoding)
    made = f"{plain.plural(stream.figures.n_tokens, 'token')} ({encoding}), {plain.number(n_distinct)} distinct"
    text = f", {plain.plural(n_chars, 'character')} ({per_token:.2f} per token)" if n_chars else ""
    show.lines([f"{made}{text}, {plain.plural(n_read, 'byte')}", *special_lines(stream.figures)])
    decode = decoder(show, stream.origin)
    if show.on_terminal and decode is not None:
        from llmprep.preview.screen import token_strip

        show.render(token_strip(head, decode, show.width()))
    else:
        shown = head[:IDS_SHOWN]
        show.lines([" ".join(map(str, shown))])
        if decode is not None:
            show.lines(["|".join(plain.visible(decode([i])) for i in shown)])
    show.lines([f"{plain.visible(output)}: token_ids [{stream.figures.n_tokens}], {plain.size(n_bytes)}"])


def show_pairs(show: Show, stream: TokenStream, pairs: Pairs, *, output: str | None) -> None:
    """Show growing contexts and their targets."""
    say_notes(show, stream.origin, stream.figures)
    decode = decoder(show, stream.origin)
    listed = list(pairs)
    if show.as_json:
        show.object(
            {
                "command": "pairs",
                "encoding": stream.origin.encoding,
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


@dataclass(slots=True)
class WindowReport:
    """Collects what `window` made, one part (or training and validation part) at a time."""

    show: Show
    max_length: int
    stride: int
    windows: int
    explain: bool
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)

    def head_size(self) -> int:
        """Return how many ids a preview of the first windows needs."""
        need = max(0, self.windows - 1) * self.stride + self._length + 1
        return min(MAX_HEAD, need) if self.windows else 0

    @property
    def _length(self) -> int:
        """How much of a window is shown: all of it as JSON, as many contexts as a person reads in words."""
        return self.max_length if self.show.as_json else min(self.max_length, PAIRS_SHOWN)

    def add(self, stream: TokenStream, head: list[int], *, output: str, n_bytes: int) -> None:
        """Say what became of one stream."""
        from llmprep.windows.coverage import cover

        coverage = cover(stream.figures.n_tokens, self.max_length, self.stride)
        part = str(stream.origin.options.get("part", ""))
        if part != "val":
            say_notes(self.show, stream.origin, stream.figures)
        rows = self._first_windows(head)
        if len(rows) < min(self.windows, coverage.n_windows):
            self.show.note(
                f"--preview {self.windows}: {len(rows)} shown; a preview reads the first {MAX_HEAD:,} tokens"
            )
        self.objects[part] = common_figures(
            stream.origin,
            stream.figures,
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
            self._say(stream, head, output, n_bytes)

    def finish(self) -> None:
        """Print the one JSON object, if that was asked for."""
        self.show.object(self.objects.get("", {"command": "window", **self.objects}))

    def _say(self, stream: TokenStream, head: list[int], output: str, n_bytes: int) -> None:
        from llmprep.preview.explain import coverage_lines, explain_lines
        from llmprep.windows.coverage import cover

        coverage = cover(stream.figures.n_tokens, self.max_length, self.stride)
        self.show.lines([*coverage_lines(coverage, self.max_length, self.stride), *special_lines(stream.figures)])
        if self.explain:
            self.show.lines(["", *explain_lines(coverage, self.max_length, self.stride), ""])
        self._preview(stream, head)
        shape = f"[{coverage.n_windows}, {self.max_length}]"
        self.show.lines([f"{plain.visible(output)}: input_ids and target_ids {shape}, {plain.size(n_bytes)}"])

    def _first_windows(self, head: list[int]) -> list[list[int]]:
        """The ids of what is shown of each window, its last target included; none that the head cuts short."""
        held = len(head) // self.stride + 1
        starts = (k * self.stride for k in range(min(self.windows, held)))
        rows = (head[start : start + self._length + 1] for start in starts)
        return [row for row in rows if len(row) == self._length + 1]

    def _preview(self, stream: TokenStream, head: list[int]) -> None:
        rows = self._first_windows(head)
        decode = decoder(self.show, stream.origin) if rows else None
        for number, row in enumerate(rows):
            pairs = [(row[:k], row[k]) for k in range(1, len(row))]
            if self.show.on_terminal:
                from llmprep.preview.screen import pair_table

                self.show.render(pair_table(pairs, decode, title=f"window {number}"))
            else:
                self.show.lines(plain.pair_lines(pairs, decode))
            if self.max_length > PAIRS_SHOWN:
                self.show.lines([f"... and {self.max_length - PAIRS_SHOWN} longer contexts in this window"])


def say_size(show: Show, plan: Plan, output: str) -> None:
    """Say, before any work, what will be written."""
    n, length, dim = plan.shape
    show.note(f"{output}: {n} windows x {length} tokens x {dim} numbers, {plan.dtype}: {plain.size(plan.n_bytes)}")


def show_embeddings(show: Show, plan: Plan, tables: Tables, source: WindowSource, *, output: str) -> None:
    """Tell the story of the shapes, and show the first numbers, to compare with."""
    say_notes(show, source.origin, source.figures)
    rows, length = min(plan.batch_size, plan.n_windows), plan.max_length
    token, dim = [rows, length, plan.dim], plan.dim
    first = [round(float(value), 5) for value in tables.token.weight.detach()[0, :3]]
    show.object(
        common_figures(
            source.origin,
            source.figures,
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

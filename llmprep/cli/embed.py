"""`embed`: windows -> token + positional embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmprep import choices
from llmprep.cli.groups import Inputs, Target, Words
from llmprep.cli.notes import left_out_words, say_notes, stream_values
from llmprep.cli.options import DropLast, MaxLengthOfText, Shuffle, Stride, filled, output_name
from llmprep.cli.printer import Printer
from llmprep.cli.progress import Passing
from llmprep.cli.spread import spread
from llmprep.errors import UsageError, plural
from llmprep.preview import plain

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader

    from llmprep.inputs import WindowSource
    from llmprep.output.checking import Output
    from llmprep.ptfile.reading import PtFile
    from llmprep.pytorch.embedded import Tables
    from llmprep.pytorch.embedding import EmbeddingSizes


LARGE_BYTES = 10 * 10**9
"""More embeddings than this are not written by mistake."""


@dataclass(frozen=True, slots=True)
class TableOptions:
    """The two tables: how large they are, how they are drawn, or where they are read from."""

    dim: Annotated[
        int | None,
        typer.Option("--dim", metavar="INT", min=1, max=65536, help="Give each token so many numbers. Default: 256."),
    ] = None
    context_length: Annotated[
        int | None,
        typer.Option(
            "--context-length",
            metavar="INT",
            min=1,
            max=2**31 - 1,
            help="Give the positional table so many rows. Default: 1024.",
        ),
    ] = None
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**64 - 1, metavar="INT", help="Draw random numbers from this seed.")
    ] = choices.SEED
    order: Annotated[
        choices.DrawOrder | None,
        typer.Option(
            "--order",
            help="Draw random numbers as the course's dataloader.ipynb (both tables, then the loader) or its "
            "ch02.ipynb run from the top (a 6 x 3 example, token table, loader, positional table). "
            "Default: dataloader.",
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="PATH", parser=filled, help="Take both tables from this .pt file."),
    ] = None
    save_weights: Annotated[
        str | None,
        typer.Option("--save-weights", metavar="PATH", parser=output_name, help="Write both tables to this .pt file."),
    ] = None


@dataclass(frozen=True, slots=True)
class Batching:
    """Which windows make the batches, and in which order."""

    max_length: MaxLengthOfText = None
    stride: Stride = None
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", metavar="INT", min=1, max=2**31 - 1, help="Take so many windows into a batch."),
    ] = 8
    batches: Annotated[
        int | None, typer.Option("--batches", metavar="N", min=1, help="Embed so many batches. Default: all.")
    ] = None
    shuffle: Shuffle = False
    drop_last: DropLast = False


@dataclass(frozen=True, slots=True)
class Computing:
    """How the embeddings are computed and written."""

    dtype: Annotated[choices.FloatDtype, typer.Option("--dtype", help="Write embeddings of this dtype.")] = "float32"
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", parser=filled, help="Compute on this device: cpu, cuda, ...")
    ] = "cpu"
    yes: Annotated[bool, typer.Option("--yes", help="Write all embeddings, however large they are.")] = False


@spread
def embed(
    texts: Inputs, batching: Batching, tables: TableOptions, computing: Computing, target: Target, words: Words
) -> None:
    """Turn windows into token + positional embeddings.

    Examples:
      llmprep embed story.windows.pt
      llmprep embed story.txt --max-length 4 --save-weights tables.pt
    """
    from llmprep.cli.depfile import plan_depfile, write_depfile
    from llmprep.cli.naming import check_outputs, name_output
    from llmprep.inputs import open_windows
    from llmprep.ptfile.reading import read_pt
    from llmprep.pytorch import embedding
    from llmprep.pytorch.embedded import embed_batches

    printer, paths = words.printer(target.output, tables.save_weights), texts.paths()
    reading = texts.reading(printer, beside=embedding.TORCH_BYTES)
    read_too = [tables.weights] if tables.weights else []
    (output,) = check_outputs(paths, [name_output(paths, target.output, "embeddings")], target, read_too)
    outputs = [output, *_check_weights_output(paths, output, tables, target)]
    depfile = plan_depfile(printer, paths, target, outputs, [texts.files_from, tables.weights])
    order = embedding.choose_order(tables.order, shuffle=batching.shuffle, weights=tables.weights)
    device = embedding.check_device(computing.device)
    with words.progress() as progress:
        source = open_windows(paths, batching.max_length, batching.stride, reading, progress.watch)
    weights = read_pt(Path(tables.weights)) if tables.weights else None
    sizes = _find_sizes(source, weights, batching, tables, computing)
    _refuse_too_large(sizes, output, batching, computing)
    sizes.check_memory(texts.memory)
    _check_sizes(printer, source, sizes, output)
    drawing = embedding.Drawing(tables.seed, order, batching.shuffle)
    drawn, batches = embedding.create_tables(sizes, _load(source, batching), drawing, weights)
    blocks = Passing(embed_batches(batches, drawn, device=device, dtype=sizes.dtype), sizes.n_bytes)
    chosen = embedding.content_options(sizes, drawing, weights)
    with words.progress(look=blocks.far):
        n_bytes = _write(outputs, source, sizes, drawn, iter(blocks), chosen)
    write_depfile(depfile)
    _show(printer, source, sizes, drawn, list(zip(outputs, n_bytes, strict=True)))


def _check_weights_output(paths: list[str], output: Output, tables: TableOptions, target: Target) -> list[Output]:
    from llmprep.cli.naming import files_of, refuse_promises
    from llmprep.output.checking import check_output

    if not tables.save_weights:
        return []
    read = [*files_of(paths), *([tables.weights] if tables.weights else [])]
    refuse_promises(tables.save_weights, force=target.force)
    saved = check_output(tables.save_weights, read, force=target.force)
    if saved.path == output.path:
        raise UsageError(f"--save-weights {tables.save_weights}: is also the output; name another file")
    return [saved]


def _find_sizes(
    source: WindowSource, weights: PtFile | None, batching: Batching, tables: TableOptions, computing: Computing
) -> EmbeddingSizes:
    from llmprep.pytorch.embedding import EmbeddingOptions, find_sizes

    options = EmbeddingOptions(
        dim=tables.dim,
        context_length=tables.context_length,
        batch_size=batching.batch_size,
        batches=batching.batches,
        drop_last=batching.drop_last,
        dtype=computing.dtype,
    )
    return find_sizes(source.rows.shape, source.origin.n_vocab, weights, options)


def _refuse_too_large(sizes: EmbeddingSizes, output: Output, batching: Batching, computing: Computing) -> None:
    """Raise `UsageError` for more than `LARGE_BYTES`, unless it is known what was asked for."""
    if sizes.n_bytes > LARGE_BYTES and batching.batches is None and not computing.yes:
        raise UsageError(
            f"{output.name}: {_worded(sizes)}; more than {plain.size(LARGE_BYTES)} needs --yes, or --batches N for "
            f"only N batches of {sizes.batch_size}, or a smaller --dim or --dtype"
        )


def _worded(sizes: EmbeddingSizes) -> str:
    n, length, dim = sizes.shape
    size = f"{plural(n, 'window')} x {plural(length, 'token')} x {plural(dim, 'number')}"
    return f"{size}, {sizes.dtype}: {plain.size(sizes.n_bytes)}"


def _check_sizes(printer: Printer, source: WindowSource, sizes: EmbeddingSizes, output: Output) -> None:
    """Check the ids and the space on the disk, and say, before any work, what will be written."""
    from llmprep.formats.ids import check_ids
    from llmprep.output.checking import check_space

    check_ids(source.rows, sizes.n_vocab, source.origin.name)
    check_space(output, sizes.n_bytes)
    printer.note(f"{output.name}: {_worded(sizes)}")


def _load(source: WindowSource, batching: Batching) -> DataLoader[Tensor]:
    """Load the windows in their order, many at once: in the file the batches are one after the other anyway."""
    from llmprep.pytorch.embedded import windows_at_once
    from llmprep.pytorch.loaders import create_row_loader

    at_once = windows_at_once(source.rows.shape[1])
    return create_row_loader(source.rows, batch_size=at_once, shuffle=batching.shuffle)


def _write(
    outputs: list[Output],
    source: WindowSource,
    sizes: EmbeddingSizes,
    tables: Tables,
    blocks: Iterator[memoryview],
    chosen: dict[str, object],
) -> list[int]:
    """Write the embeddings, and the tables where they were asked for; return the size of each file."""
    from llmprep.formats.embeddings import write_embeddings
    from llmprep.formats.meta import make_meta
    from llmprep.formats.weights import write_weights
    from llmprep.output.writing import open_outputs
    from llmprep.pytorch.embedding import weight_arrays

    meta = make_meta("embeddings", source.origin, source.figures, **chosen)
    with open_outputs(*outputs) as (sink, *weights_sinks):
        n_bytes = write_embeddings(sink, blocks, sizes.shape, dtype=sizes.dtype, meta=meta)
        return [n_bytes, *(write_weights(each, weight_arrays(tables)) for each in weights_sinks)]


def _show(
    printer: Printer, source: WindowSource, sizes: EmbeddingSizes, tables: Tables, made: list[tuple[Output, int]]
) -> None:
    """Tell the story of the shapes, show the first numbers, to compare with, and name what was ``made``."""
    from llmprep.cli.written import made_line, made_values

    (output, n_bytes), *saved = made
    say_notes(printer, source.origin, source.figures)
    rows, length, dim = min(sizes.batch_size, sizes.n_windows), sizes.max_length, sizes.dim
    batch = [rows, length, dim]
    first = [round(float(value), 5) for value in tables.token.weight.detach()[0, :3]]
    printer.object(
        {
            **stream_values(source.origin, source.figures),
            "command": "embed",
            **made_values(output, n_bytes),
            "shape": list(sizes.shape),
            "first_batch": batch,
            "token_table": [sizes.n_vocab, dim],
            "position_table": [sizes.context_length, dim],
            "token_table_begins": first,
            **({"weights": made_values(*saved[0])} if saved else {}),
        }
    )
    if not printer.words:
        return
    if printer.on_terminal:
        from llmprep.preview.screen import shape_story

        printer.render(shape_story((rows, length), dim, sizes.n_vocab, sizes.context_length))
    else:
        printer.lines([f"[{rows}, {length}] -> token {batch} + position [{length}, {dim}] -> {batch}"])
        printer.lines([f"token table [{sizes.n_vocab}, {dim}], positional table [{sizes.context_length}, {dim}]"])
    printer.lines([f"token table begins {', '.join(f'{value:.5f}' for value in first)}"])
    left_out = left_out_words(len(source.figures.counts), source.figures.left_out)
    printer.lines([made_line(output, f"input_embeddings {list(sizes.shape)}", n_bytes) + left_out])
    printer.lines(made_line(weights, "both tables", size) for weights, size in saved)

"""The commands. Each body reads as the data's way, one line per room; the rooms are imported inside."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmprep import __version__
from llmprep.cli import counts, options, reports
from llmprep.cli import dry_run as dry_run_of
from llmprep.cli.building import StoreChoices, check_folder, make_store, merge_store
from llmprep.cli.naming import check_outputs, files_of, output_name, split_names
from llmprep.cli.printer import Show
from llmprep.cli.progress import Progress
from llmprep.errors import UsageError
from llmprep.tokens.cores import default_jobs

if TYPE_CHECKING:
    from llmprep.choices import TextOptions
    from llmprep.inputs import Reading

app = typer.Typer(
    name="llmprep",
    help="Turn text into next-token training windows.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        Show().lines([f"llmprep {__version__}"])
        raise typer.Exit


@app.callback()
def llmprep(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Turn text into next-token training windows."""


@app.command()
def tokenize(
    inputs: options.Inputs = None,
    output: options.OutputName = None,
    encoding: options.Encoding = None,
    vocab_dir: options.VocabDir = None,
    newlines: options.NewlinesOption = None,
    separator: options.SeparatorOption = None,
    special: options.SpecialOption = None,
    field: options.FieldOption = None,
    files_from: options.FilesFrom = None,
    null: options.NulSeparated = False,
    backend: options.BackendOption = options.Backend.auto,
    jobs: options.Jobs = None,
    dry_run: options.DryRun = False,
    dtype: options.DtypeOption = None,
    count: Annotated[bool, typer.Option("--count", help="Print tokens per file and a total; write nothing.")] = False,
    ids: Annotated[bool, typer.Option("--ids", help="Print ids, a line per file; write nothing.")] = False,
    shard_bytes: options.ShardBytes = None,
    shard_tokens: options.ShardTokens = None,
    executor: options.ExecutorOption = options.ExecutorName.local,
    address: options.Address = None,
    task: options.Task = None,
    restart: options.Restart = False,
    val_fraction: options.ValFraction = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Encode texts into one file of token ids, or into a token store (-o FOLDER/)."""
    show = Show(quiet, as_json, binary=output == "-")
    paths = _paths(inputs, files_from, nul_separated=null)
    progress = Progress(quiet=quiet)

    def read() -> Reading:
        chosen = _text_options(newlines, separator, special)
        return _reading(show, progress, encoding, vocab_dir, chosen, field, backend, jobs)

    choices = StoreChoices(
        shard_bytes, shard_tokens, _cores(jobs), executor.value, address, task, restart, val_fraction
    )
    if choices.wants_store(output) and not (count or ids):
        from llmprep.documents.finding import find_sources

        choices.check(dtype=dtype, force=force)
        sources = find_sources(paths, field, None if dry_run else show.note)
        folder = check_folder(output, paths, sources)
        if dry_run:
            dry_run_of.show_plan(show, paths, read(), dry_run_of.Planned(f"{folder}/"))
        else:
            make_store(show, folder, sources, choices, read)
        return
    from llmprep.formats.tokens import write_tokens
    from llmprep.inputs import open_each, open_tokens
    from llmprep.output.writing import open_output

    reading = read()
    if count or ids:
        if (count and ids) or any((output, dtype, shard_bytes, shard_tokens, force, dry_run)):
            raise UsageError("--count and --ids write no file and exclude each other; leave out the rest")
        streams = open_each(paths, reading)
        (counts.print_counts if count else counts.print_ids)(show, streams)
        return
    (target,) = check_outputs(paths, [output_name(paths, output, "tokens")], force=force, chosen=output is not None)
    if dry_run:
        dry_run_of.show_plan(show, paths, reading, dry_run_of.Planned(target.name, _id_dtype(dtype)))
        return
    stream = open_tokens(paths, reading)
    distinct = reports.watch(stream)
    with open_output(target) as sink, progress:
        n_bytes = write_tokens(sink, stream, dtype=_id_dtype(dtype))
    reports.show_tokens(show, stream, output=target.name, n_bytes=n_bytes, n_distinct=distinct())


@app.command()
def pairs(
    inputs: options.Inputs = None,
    output: options.OutputName = None,
    context_size: options.ContextSize = 4,
    start: Annotated[int, typer.Option("--start", min=0, metavar="INT", help="Token to start at.")] = 0,
    windows: Annotated[
        int,
        typer.Option("--windows", metavar="N", min=1, max=1_000_000, help="Neighbouring windows to grow."),
    ] = 1,
    encoding: options.Encoding = None,
    vocab_dir: options.VocabDir = None,
    newlines: options.NewlinesOption = None,
    separator: options.SeparatorOption = None,
    special: options.SpecialOption = None,
    field: options.FieldOption = None,
    files_from: options.FilesFrom = None,
    null: options.NulSeparated = False,
    backend: options.BackendOption = options.Backend.auto,
    jobs: options.Jobs = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Show growing contexts, each with the token that follows; -o writes them."""
    from llmprep.formats.meta import make_meta
    from llmprep.formats.pairs import write_pairs
    from llmprep.inputs import open_tokens
    from llmprep.output.checking import check_output
    from llmprep.output.writing import open_output
    from llmprep.windows.pairs import grow_pairs
    from llmprep.windows.views import take_span

    show = Show(quiet, as_json, binary=output == "-")
    paths = _paths(inputs, files_from, nul_separated=null)
    progress = Progress(quiet=quiet)
    chosen = _text_options(newlines, separator, special)
    reading = _reading(show, progress, encoding, vocab_dir, chosen, field, backend, jobs)
    target = check_output(output, files_of(paths), force=force) if output else None
    if force and target is None:
        raise UsageError("--force: goes with -o")
    stream = open_tokens(paths, reading)
    count = context_size * windows + 1
    with progress:
        ids = take_span(stream, start, count, name=stream.name, to_the_end=target is not None)
    eot_id = stream.require_vocabulary(show.note).eot_id
    grown = grow_pairs(ids, context_size, n_windows=windows, pad_id=eot_id)
    if target is not None:
        meta = make_meta("pairs", stream, start=start, context_size=context_size, windows=windows, dtype="int64")
        with open_output(target) as sink:
            write_pairs(sink, grown, meta)
    reports.show_pairs(show, stream, grown, output=target.name if target else None)


@app.command()
def window(
    inputs: options.Inputs = None,
    output: options.OutputName = None,
    max_length: options.MaxLength = 256,
    stride: options.Stride = None,
    dry_run: options.DryRun = False,
    dtype: options.DtypeOption = None,
    dense: Annotated[bool, typer.Option("--dense", help="Write contiguous tensors, not views of one storage.")] = False,
    val_fraction: options.ValFraction = None,
    explain: Annotated[bool, typer.Option("--explain", help="Draw what max-length and stride do.")] = False,
    preview: options.Preview = 2,
    encoding: options.Encoding = None,
    vocab_dir: options.VocabDir = None,
    newlines: options.NewlinesOption = None,
    separator: options.SeparatorOption = None,
    special: options.SpecialOption = None,
    field: options.FieldOption = None,
    files_from: options.FilesFrom = None,
    null: options.NulSeparated = False,
    backend: options.BackendOption = options.Backend.auto,
    jobs: options.Jobs = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Slice texts or a tokens file into input and target windows."""
    from llmprep.formats.windows import write_windows
    from llmprep.inputs import open_tokens, split_stream
    from llmprep.output.writing import open_outputs

    show = Show(quiet, as_json, binary=output == "-")
    paths = _paths(inputs, files_from, nul_separated=null)
    progress = Progress(quiet=quiet)
    chosen = _text_options(newlines, separator, special)
    reading = _reading(show, progress, encoding, vocab_dir, chosen, field, backend, jobs)
    stride = stride or max_length
    names = split_names(output_name(paths, output, "windows"), val_fraction)
    targets = check_outputs(paths, names, force=force, chosen=output is not None)
    if dry_run:
        copies = 2 * max_length / stride if dense else min(1.0, (max_length + 1) / stride)
        planned = dry_run_of.Planned(" and ".join(names), _id_dtype(dtype), copies, max_length, stride, val_fraction)
        dry_run_of.show_plan(show, paths, reading, planned)
        return
    stream = open_tokens(paths, reading)
    report = reports.WindowReport(show, max_length, stride, preview, explain)
    report.keep_head(stream)
    sizes: list[int] = []
    with open_outputs(*targets) as sinks:
        with nullcontext() if val_fraction is None else progress:
            parts = [stream] if val_fraction is None else split_stream(stream, val_fraction)
        for sink, part in zip(sinks, parts, strict=True):
            with progress if val_fraction is None else nullcontext():
                n_bytes = write_windows(
                    sink, part, max_length, stride, dtype=_id_dtype(dtype), dense=dense, announce=show.note
                )
            sizes.append(n_bytes)
    for target, part, n_bytes in zip(targets, parts, sizes, strict=True):
        report.add(part, output=target.name, n_bytes=n_bytes)
    report.finish()


@app.command()
def embed(
    inputs: options.Inputs = None,
    output: options.OutputName = None,
    max_length: options.MaxLengthOfText = None,
    stride: options.Stride = None,
    dim: Annotated[
        int | None,
        typer.Option("--dim", metavar="INT", min=1, max=65536, help="Numbers per token. Default: 256."),
    ] = None,
    context_length: Annotated[
        int | None,
        typer.Option(
            "--context-length",
            metavar="INT",
            min=1,
            max=2**31 - 1,
            help="Rows of the positional table. Default: 1024.",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="INT", min=1, max=2**31 - 1, help="Windows in a batch.")
    ] = 8,
    batches: Annotated[
        int | None, typer.Option("--batches", metavar="N", min=1, help="Batches to embed. Default: all.")
    ] = None,
    seed: options.Seed = 123,
    order: options.OrderOption = None,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Take windows in a random order.")] = False,
    drop_last: Annotated[bool, typer.Option("--drop-last", help="Leave out an incomplete last batch.")] = False,
    dtype: Annotated[
        options.FloatDtype, typer.Option("--dtype", help="Dtype of the embeddings in the file.")
    ] = options.FloatDtype.float32,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", parser=options.filled, help="Where to compute: cpu, cuda, ...")
    ] = "cpu",
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="PATH", parser=options.filled, help="Take both tables from this .pt file."),
    ] = None,
    save_weights: options.SaveWeights = None,
    encoding: options.Encoding = None,
    vocab_dir: options.VocabDir = None,
    newlines: options.NewlinesOption = None,
    separator: options.SeparatorOption = None,
    special: options.SpecialOption = None,
    field: options.FieldOption = None,
    files_from: options.FilesFrom = None,
    null: options.NulSeparated = False,
    backend: options.BackendOption = options.Backend.auto,
    jobs: options.Jobs = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Turn windows into token + positional embeddings."""
    from llmprep.formats.embeddings import write_embeddings
    from llmprep.formats.ids import check_ids
    from llmprep.formats.meta import make_meta
    from llmprep.formats.weights import write_weights
    from llmprep.inputs import open_windows
    from llmprep.output.checking import check_output, check_space
    from llmprep.output.writing import open_outputs
    from llmprep.ptfile.reading import read_pt
    from llmprep.pytorch import embedding
    from llmprep.pytorch.loaders import create_row_loader

    show = Show(quiet, as_json, binary="-" in (output, save_weights))
    paths = _paths(inputs, files_from, nul_separated=null)
    progress = Progress(quiet=quiet)
    chosen = _text_options(newlines, separator, special)
    reading = _reading(show, progress, encoding, vocab_dir, chosen, field, backend, jobs)
    name = output_name(paths, output, "embeddings")
    also_read = [weights] if weights else []
    (target,) = check_outputs(paths, [name], also_read, force=force, chosen=output is not None)
    weights_target = check_output(save_weights, [*files_of(paths), *also_read], force=force) if save_weights else None
    if weights_target and weights_target.path == target.path:
        raise UsageError(f"--save-weights {save_weights}: is also the output; name another file")
    drawn = embedding.choose_order(order and order.value, shuffle=shuffle, weights=weights)
    where = embedding.check_device(device)
    with progress:
        source = open_windows(paths, max_length, stride, reading)
    given = read_pt(Path(weights)) if weights else None
    plan = embedding.make_plan(
        source.rows.shape,
        source.stream.n_vocab,
        given,
        dim=dim,
        context_length=context_length,
        batch_size=batch_size,
        batches=batches,
        drop_last=drop_last,
        dtype=dtype.value,
    )
    check_ids(source.rows, plan.n_vocab, source.stream.name)
    check_space(target, plan.n_bytes)
    reports.say_size(show, plan, target.name)
    loader = create_row_loader(source.rows, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)
    tables, rows = embedding.create_tables(plan, loader, seed=seed, order=drawn, weights=given)
    embedded = embedding.embed_batches(rows, tables, device=where, dtype=plan.dtype)
    chosen_here = embedding.describe(plan, seed=seed, shuffle=shuffle, order=drawn, weights=given)
    meta = make_meta("embeddings", source.stream, **chosen_here)
    with open_outputs(target, *([weights_target] if weights_target else [])) as (sink, *weights_sinks):
        write_embeddings(sink, map(embedding.raw_bytes, embedded), plan.shape, dtype=plan.dtype, meta=meta)
        for weights_sink in weights_sinks:
            write_weights(weights_sink, embedding.weight_arrays(tables))
    reports.show_embeddings(show, plan, tables, source.stream, output=target.name)


@app.command()
def inspect(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", parser=options.filled, help="A token store or a .pt file of llmprep's.", show_default=False
        ),
    ],
    windows: Annotated[
        list[int] | None,
        typer.Option("--window", metavar="N", min=0, help="Show window N; may be given several times."),
    ] = None,
    around: Annotated[
        str | None, typer.Option("--around", metavar="TEXT", help="Show the first window that holds this text.")
    ] = None,
    where: Annotated[
        int | None,
        typer.Option("--where", metavar="N", min=0, help="Say which file, document and bytes window N is from."),
    ] = None,
    max_length: options.MaxLengthOfText = None,
    stride: options.Stride = None,
    verify: Annotated[bool, typer.Option("--verify", help="Recompute every hash and check every invariant.")] = False,
    vocab_dir: options.VocabDir = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Say what a token store or a .pt file is, from what, with which options; look inside; check it."""
    from llmprep.cli.inspect import Look, inspect_path

    show = Show(quiet, as_json)
    inspect_path(show, path, Look(windows or [], around, where, max_length, stride, verify, vocab_dir))


@app.command()
def merge(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER", parser=options.filled, help="A store that tasks have built.", show_default=False
        ),
    ],
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Finish a token store that `tokenize --task I/N` has built in parts."""
    merge_store(Show(quiet, as_json), folder, _cores(None))


def _paths(inputs: list[str] | None, files_from: str | None, *, nul_separated: bool) -> list[str]:
    """Return the inputs named on the command line and in the list of files."""
    from llmprep.documents.finding import read_names

    listed = read_names(files_from, nul_separated=nul_separated) if files_from else []
    if nul_separated and not files_from:
        raise UsageError("--null: goes with --files-from")
    paths = [*(inputs or []), *listed]
    if files_from == "-" and "-" in paths:
        raise UsageError("-: standard input can be read only once")
    if not paths:
        raise UsageError("Missing argument 'FILE...'; name a text, or - for standard input")
    return paths


def _reading(
    show: Show,
    progress: Progress,
    encoding: str | None,
    vocab_dir: str | None,
    chosen: TextOptions | None,
    field: str | None,
    backend: options.Backend,
    jobs: int | None,
) -> Reading:
    """Gather how inputs are read."""
    from llmprep.choices import Effort
    from llmprep.inputs import Reading

    effort = Effort(backend=backend.value, jobs=_cores(jobs))
    return Reading(encoding, chosen, vocab_dir, field, effort, announce=show.note, watch=progress.watch)


def _id_dtype(dtype: options.IdDtype | None) -> str:
    return (dtype or options.IdDtype.int64).value


def _cores(jobs: int | None) -> int:
    """Return how many jobs were chosen, or else the cores there are for this process."""
    return default_jobs() if jobs is None else jobs


def _text_options(
    newlines: options.Newlines | None, separator: options.Separator | None, special: options.Special | None
) -> TextOptions | None:
    """Return what was chosen for texts, or None: a .pt file takes no such options."""
    from llmprep.choices import TextOptions

    given = {"newlines": newlines, "separator": separator, "special": special}
    chosen = {name: choice.value for name, choice in given.items() if choice is not None}
    return TextOptions(**chosen) if chosen else None  # type: ignore[arg-type]

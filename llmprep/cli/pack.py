"""`pack`: an index of rows of whole documents, beside a token store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmprep.choices import BUFFER, MAX_LENGTH, SEED, BestFit, SeparatorBelongs
from llmprep.cli.groups import Words
from llmprep.cli.options import filled, window_number
from llmprep.cli.progress import Far
from llmprep.cli.spread import spread
from llmprep.errors import UsageError, plural
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.store.reading import TokenStore
    from llmprep.windows.packed import Fill


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows the documents are packed into."""

    max_length: Annotated[
        int,
        typer.Option(
            "--max-length",
            metavar="INT",
            parser=window_number,
            help=f"Put so many tokens, and the one that follows, into a row. Default: {MAX_LENGTH}.",
            show_default=False,
        ),
    ] = MAX_LENGTH
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME", parser=filled, help="Pack this part of the store, such as train."),
    ] = None
    separator_belongs: Annotated[
        SeparatorBelongs,
        typer.Option("--separator-belongs", help="Keep a separator with the document that it ends, or opens."),
    ] = "old"
    seed: Annotated[
        int, typer.Option("--seed", metavar="INT", min=0, max=2**64 - 1, help="Bring documents together by this seed.")
    ] = SEED
    buffer: Annotated[
        int, typer.Option("--buffer", metavar="N", min=1, max=2**24, help="Place so many documents together.")
    ] = BUFFER
    overlap: Annotated[
        int,
        typer.Option(
            "--overlap",
            metavar="N",
            min=0,
            max=2**31 - 2,
            help="Begin each part of a long document with the last N tokens of the part before. With 1, each token is "
            "a target.",
        ),
    ] = 0
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Keep one row of a longer document; the rest is lost, and listed.")
    ] = False
    index_dir: Annotated[
        str | None,
        typer.Option(
            "--index-dir", metavar="DIR", parser=filled, help="Write the index to this folder. Default: the store's."
        ),
    ] = None

    def chosen(self) -> BestFit:
        """Return how documents are packed."""
        return BestFit(self.seed, self.buffer, self.overlap, self.truncate, self.index_dir)


@spread
def pack(
    store: Annotated[str, typer.Argument(metavar="STORE", parser=filled, help="A token store.", show_default=False)],
    rows: Rows,
    words: Words,
) -> None:
    """Pack the documents of a token store, whole, into rows, by an index beside it that copies no token.

    Examples:
      llmprep pack store/ --max-length 2048
      llmprep pack store/ --max-length 2048 --split train --overlap 1 --json | jq .fill_percent
    """
    from llmprep.inputs import open_input
    from llmprep.store.packing import Packing, build_packing, open_packing
    from llmprep.store.reading import TokenStore

    printer, far = words.printer(), Far()
    opened = open_input([store], split=rows.split, check=False)
    if not isinstance(opened, TokenStore):
        raise UsageError(f"{store}: is not a token store; make one with llmprep tokenize {store} -o FOLDER/")

    def see(fill: Fill) -> None:
        nonlocal far
        far = Far(n_tokens=fill.n_tokens, name="packing")

    packing = Packing(opened, rows.max_length, rows.chosen(), rows.separator_belongs)
    found = packing.path.exists()
    with words.progress(look=lambda: far):
        path = build_packing(packing, see)
    fill, n_bytes = open_packing(packing).fill, path.stat().st_size
    made = {"output": str(path), "output_bytes": n_bytes, "unchanged": found}
    printer.object({"command": "pack", "path": store, **made, "max_length": rows.max_length, **packing_facts(fill)})
    printer.lines(packing_lines(fill))
    printer.lines([f"{plain.visible(str(path))}: {'unchanged, ' * found}{plain.size(n_bytes)}"])


def packing_facts(fill: Fill) -> dict[str, Any]:
    """Return what becomes of the tokens, as values of a JSON object."""
    return {
        "n_rows": fill.n_rows,
        "fill_percent": round(100 * fill.share, 3),
        "n_documents": fill.n_documents,
        "n_split": fill.n_split,
        "n_cuts": fill.n_cuts,
        "n_tokens": fill.n_tokens,
        "n_lost": fill.n_lost,
        "n_repeated": fill.n_repeated,
        "n_filler": fill.n_filler,
        "n_targets": fill.n_targets,
    }


def store_packings(store: TokenStore) -> dict[str, Any]:
    """Return the same for each packing index in a store's folder, by its name; nothing where there is none."""
    from llmprep.store.packings import STALE, find_packings

    found = {name: STALE if fill is None else packing_facts(fill) for name, fill in find_packings(store)}
    return {"packings": found} if found else {}


def packing_lines(fill: Fill) -> list[str]:
    """Say the same in words."""
    share = f"{100 * fill.share:.2f} % full"
    lines = [f"{plural(fill.n_rows, 'row')} of {plural(fill.width, 'token')}, {share}: {_documents(fill)}"]
    fate = "each in one row" if not fill.n_lost else f"{plain.number(fill.n_lost)} lost, each other one in one row"
    again = f", {plain.number(fill.n_repeated)} in a second one too" if fill.n_repeated else ""
    lines.append(f"{plural(fill.n_tokens, 'token')}: {fate}{again}")
    cut = f"; {plain.number(fill.n_cuts)} after a cut are none, which --overlap 1 mends" if fill.n_cuts else ""
    return [*lines, f"{plural(fill.n_targets, 'target')} within a document{'' if fill.n_repeated else cut}"]


def _documents(fill: Fill) -> str:
    documents, split = plural(fill.n_documents, "document"), plain.number(fill.n_split)
    if not fill.n_split:
        return f"{documents}, all whole"
    done = f"cut at {plural(fill.n_cuts, 'place')}" if fill.n_cuts else "truncated"
    return f"{documents}, {split} of them longer than a row and {done}"

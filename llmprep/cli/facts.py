"""What `inspect` says of a thing in a few words each, of a store that is not finished, and of neither."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from llmprep.cli.printer import Printer
from llmprep.errors import FileFormatError, UsageError, shorten
from llmprep.preview import plain

ITEMS_SHOWN = 24
CHARS_SHOWN = 200
"""Of what a file says of itself; ``--json`` has all of it."""


def fact_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each fact."""
    for key, value in facts.items():
        if isinstance(value, dict) and value and all(isinstance(held, dict) for held in value.values()):
            yield from fact_lines(value)
            continue
        yield f"{plain.visible(shorten(key.removeprefix('n_'))):<16} {plain.visible(_worded(value))}"


def _worded(value: object) -> str:
    if isinstance(value, dict):
        items = [
            f"{shorten(str(key)).removeprefix('n_')} {_worded(held)}"
            for key, held in islice(value.items(), ITEMS_SHOWN)
        ]
        return ", ".join(items + ["..."] * (len(value) > ITEMS_SHOWN)) or "none"
    if isinstance(value, list):
        return " to ".join(map(_worded, value))
    return plain.number(value) if type(value) is int else shorten(str(value), CHARS_SHOWN)


def tell_unfinished(printer: Printer, folder: Path) -> NoReturn:
    """Say what is done of a store that has no manifest, and raise `FileFormatError` that says how to go on."""
    from llmprep.store.manifest import read_plan
    from llmprep.store.schema import shard_name
    from llmprep.store.unfinished import done_shards, remedy

    plan = read_plan(folder)
    done = done_shards(folder, plan)
    n_done, n_shards = len(done), len(plan.shards)
    facts = {
        "kind": "token store, unfinished",
        "encoding": plan.options["encoding"],
        "n_tokens": sum(receipt.tokens for receipt in done),
        "n_sources": len(plan.names),
        "shards_done": f"{n_done} of {n_shards}",
    }
    printer.lines(fact_lines(facts))
    printer.object({"command": "inspect", "path": str(folder), **facts, "n_done": n_done, "n_shards": n_shards})
    files = {receipt.file for receipt in done}
    missing = [number for number in range(n_shards) if shard_name(number) not in files]
    how = remedy(folder, missing) if missing else "finish it with llmprep merge, or its command"
    raise FileFormatError(f"{folder}: is not finished: {n_done} of {n_shards} shards are done; {how}")


def refuse_text(path: Path) -> NoReturn:
    """Raise `FileFormatError` that says why a path is no .pt file, no store, or what it is beside a vocabulary."""
    from llmprep.ptfile.reading import read_pt
    from llmprep.store.manifest import read_manifest
    from llmprep.vocabulary.tokenizer_files import BESIDE, read_file, recognise

    if path.is_file():
        try:
            recognise(*read_file(path))
        except FileFormatError as error:
            if BESIDE in str(error):
                raise
    (read_manifest if path.is_dir() else read_pt)(path)
    raise UsageError(f"{path}: is a text; name a token store or a .pt file")

"""`merge`: finishes a token store that tasks have built in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmprep.cli.groups import Words, count_jobs
from llmprep.cli.options import filled
from llmprep.cli.progress import Far
from llmprep.cli.spread import spread
from llmprep.cli.store import show_store

if TYPE_CHECKING:
    from llmprep.store.schema import Receipt


@spread
def merge(
    folder: Annotated[
        str,
        typer.Argument(metavar="FOLDER", parser=filled, help="A store that tasks have built.", show_default=False),
    ],
    words: Words,
) -> None:
    """Finish a token store that `tokenize --task I/N` has built in parts.

    Examples:
      llmprep merge store/
      llmprep merge store/ --json | jq .n_tokens
    """
    from pathlib import Path

    from llmprep.documents.leaving_out import announce_left_out
    from llmprep.store.folder import manifest_status
    from llmprep.store.merge import merge_store

    printer, before = words.printer(), manifest_status(folder)
    far = Far()

    def add(receipt: Receipt) -> None:
        nonlocal far
        far = Far(far.n_bytes + receipt.bytes, None, far.n_tokens + receipt.tokens, receipt.file)

    with words.progress(look=lambda: far):
        manifest = merge_store(Path(folder), count_jobs(None), printer.note, add)
    announce_left_out(manifest.left_out, printer.note)
    show_store(printer, Path(folder), manifest, before)

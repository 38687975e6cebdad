"""`merge`: finishes a token store that tasks have built in parts."""

from __future__ import annotations

from typing import Annotated

import typer

from llmprep.cli.groups import Words, count_jobs
from llmprep.cli.options import filled
from llmprep.cli.spread import spread
from llmprep.cli.store import show_store


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
    """
    from pathlib import Path

    from llmprep.documents.leaving_out import announce_left_out
    from llmprep.store.folder import manifest_status
    from llmprep.store.merge import merge_store

    printer, before = words.printer(), manifest_status(folder)
    manifest = merge_store(Path(folder), count_jobs(None), printer.note)
    announce_left_out(manifest.left_out, printer.note)
    show_store(printer, Path(folder), manifest, before)

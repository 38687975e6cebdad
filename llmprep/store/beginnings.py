"""Where documents begin in a shard: as its file states it, or, in a store of an older version, as its ids tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from llmprep.errors import FileFormatError
from llmprep.formats.ids import Array
from llmprep.formats.tokens import read_starts
from llmprep.ptfile.reading import PtFile
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.vocabulary.references import Reference

if TYPE_CHECKING:
    from llmprep.store.schema import Manifest

Places = npt.NDArray[np.int64]


def stated_starts(file: PtFile, n_documents: int) -> Places | None:
    """Return where documents begin in a shard, (documents,) int64, mapped; None where an older version wrote it.

    Raises `FileFormatError` if they are not as many as the manifest states.
    """
    if not n_documents:
        return np.empty(0, np.int64)
    if "document_starts" not in file.tensors:
        return None
    starts = read_starts(file)
    if starts is None or len(starts) != n_documents:
        raise FileFormatError(f"{file.name}: does not hold the {n_documents} document_starts that are stated")
    return starts


def derive_starts(ids: Array, number: int, manifest: Manifest, refers: Reference, name: str) -> Places:
    """Return where documents begin in a shard whose file does not state it.

    That can be told where documents are separated, and no text of the shard has an end-of-text token of its own. Raises
    `FileFormatError` elsewhere, and `VocabularyError` where the end-of-text id is not known without a download.
    """
    n_documents = manifest.shards[number].documents
    is_first = not any(shard.documents for shard in manifest.shards[:number])
    after = np.empty(0, np.int64)
    if manifest.options.get("separator") == "eot":
        eot_id = load_vocabulary(refers, download=False).eot_id
        after = np.flatnonzero(ids == eot_id) + 1
    starts = np.concatenate([np.zeros(int(is_first), np.int64), after])
    if len(starts) != n_documents:
        raise FileFormatError(
            f"{name}: does not state where documents begin, as an older version wrote it, and its ids do not tell; "
            f"build the store with --restart"
        )
    return starts

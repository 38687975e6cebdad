"""A rank file -> its content, from the nearest place: the package, a folder, tiktoken's cache, the network."""

from __future__ import annotations

from collections.abc import Sequence

from llmprep.choices import Announce
from llmprep.errors import VocabularyError
from llmprep.vocabulary.downloading import download
from llmprep.vocabulary.embedded import is_embedded, read_embedded
from llmprep.vocabulary.folders import folders_to_search, read_from_folder
from llmprep.vocabulary.ranks import RankFile


def find_rank_file(
    file: RankFile, vocab_dir: str | None, announce: Announce | None = None, *, may_download: bool = True
) -> bytes:
    """Return a rank file's content, verified by its hash; a download, and what cannot be used, is announced before.

    Raises `VocabularyError`, which names every place that was tried.
    """
    if is_embedded(file.sha256):
        return read_embedded(file.sha256)
    data, tried, rejected = _search_folders(file, vocab_dir)
    if data is None and not may_download:
        raise _not_found(file, tried)
    if announce is not None:
        for what in rejected:
            announce(f"not used: {what}")
    if data is not None:
        return data
    try:
        return download(file, announce)
    except (OSError, ValueError) as error:
        tried.append(f"{file.host} ({getattr(error, 'reason', None) or error})")
        raise _not_found(file, tried) from error


def _search_folders(file: RankFile, vocab_dir: str | None) -> tuple[bytes | None, list[str], list[str]]:
    """Return the content, None if no folder has it, what was tried, and what of that could not be used, in words."""
    tried: list[str] = []
    rejected: list[str] = []
    for folder in folders_to_search(vocab_dir):
        data, unusable = read_from_folder(folder, file)
        rejected += unusable
        tried += unusable
        if data is not None:
            return data, tried, rejected
        if folder.required and unusable:  # what the user named is not passed over for a cache
            raise _not_found(file, tried)
        tried.append(f"{folder.label} {folder.path} (no {file.name} in it)")
    return None, tried, rejected


def _not_found(file: RankFile, tried: Sequence[str]) -> VocabularyError:
    return VocabularyError(
        f"{file.name}: not found; tried {'; '.join(tried)}; put the file into a folder and name that with --vocab-dir "
        f"or LLMPREP_VOCAB_DIR, from Python with vocab_dir"
    )

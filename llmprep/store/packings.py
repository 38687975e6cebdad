"""The packing indexes in a store's folder: found, and packed anew to be compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from llmprep.choices import BestFit
from llmprep.errors import FileFormatError, InputError, UsageError, plural
from llmprep.formats.packing import read_packing
from llmprep.ptfile.reading import PtFile, read_pt
from llmprep.store.packing import INDEXES, Packing, shards_sha256
from llmprep.store.reading import TokenStore
from llmprep.windows.packed import Fill, PackedRows, pack_blocks

STALE = "is of what the store held before; it can be removed"


def find_packings(store: TokenStore) -> Iterator[tuple[str, Fill | None]]:
    """Yield the name and the figures of each index in a store's folder; None for one of what it held before.

    Raises `FileFormatError` for what is no index.
    """
    for path in sorted(store.folder.glob(INDEXES)):
        file, rows = _open(path, check_crc=False)
        yield path.name, rows.fill if _is_of(file, store) else None


def verify_packings(folder: Path) -> Iterator[str]:
    """Pack anew for each index in a store's folder, and yield a line for it.

    Raises `FileFormatError` for one that has other rows.
    """
    for path in sorted(folder.glob(INDEXES)):
        (file, rows), store = _open(path, check_crc=True), TokenStore(folder, check=False)
        if _is_of(file, store):
            _compare(rows, _packing_of(file, folder))
            fate = f"{rows.fill.n_lost} of {plural(rows.fill.n_tokens, 'token')} lost"
            yield f"{path.name}: {plural(len(rows), 'row')} as they are packed anew, {fate}"
        else:
            yield f"{path.name}: {STALE}"


def _open(path: Path, *, check_crc: bool) -> tuple[PtFile, PackedRows]:
    try:
        file = read_pt(path, check_crc=check_crc)
        return file, read_packing(file)
    except FileFormatError as error:
        raise FileFormatError(f"{error}; an index can be removed, and packed again") from error


def _is_of(file: PtFile, store: TokenStore) -> bool:
    return file.meta.get("shards_sha256") == shards_sha256(store)


def _packing_of(file: PtFile, folder: Path) -> Packing:
    """Return the packing that an index states it is of. Raises `FileFormatError` if it states none."""
    options = file.meta["options"]
    try:
        chosen = BestFit(**{key: options[key] for key in BestFit().content()})
        store = TokenStore(folder, options["split"], check=False)
        packing = Packing(store, options["max_length"], chosen, options["separator_belongs"])
        _ = packing.rule
    except (KeyError, TypeError, InputError, UsageError) as error:
        raise FileFormatError(f"{file.name}: its meta does not state how it was packed; remove it") from error
    return packing


def _compare(rows: PackedRows, packing: Packing) -> None:
    """Raise `FileFormatError` unless these are the rows of a packing, and no others."""
    fill, at, part, lost = Fill(packing.rule.width), 0, 0, 0
    for lengths, block in pack_blocks(packing.corpus(), packing.rule):
        fill = fill.with_documents(lengths, packing.rule)
        for packed in block:
            fill = fill.with_rows(packed)
            found = {
                "row_starts": (part + np.cumsum(packed.counts), at + 1),
                "part_starts": (packed.starts, part),
                "part_lengths": (packed.lengths, part),
                "lost_starts": (packed.lost_starts, lost),
                "lost_lengths": (packed.lost_lengths, lost),
            }
            for name, (wanted, first) in found.items():
                if not np.array_equal(getattr(rows, name)[first : first + len(wanted)], wanted):
                    raise FileFormatError(f"{rows.name}: {name} are not those that packing gives; remove it")
            at, part, lost = at + len(packed.counts), part + len(packed.starts), lost + len(packed.lost_starts)
    if fill != rows.fill or (at, part, lost) != (len(rows), len(rows.part_starts), len(rows.lost_starts)):
        raise FileFormatError(f"{rows.name}: has other rows than packing gives; remove it")

"""Manifest, plan and receipts: read from a store's folder, and checked."""

from __future__ import annotations

from pathlib import Path

from llmprep.errors import FileFormatError, InputError
from llmprep.missing import advise_missing
from llmprep.store.faults import find_faults, is_plan, is_receipt
from llmprep.store.folder import MANIFEST, PLAN, receipt_path
from llmprep.store.format_1 import in_columns, plan_in_columns, receipt_in_columns
from llmprep.store.schema import FORMAT_1, Manifest, Plan, Receipt, shard_name
from llmprep.store.sealed import read_sealed

ANEW = "build the store with --restart, or, where tasks build it, remove the folder"


def read_manifest(folder: Path) -> Manifest:
    """Read and check a manifest. Raises `FileFormatError` with a precise list of what is wrong."""
    path = folder / MANIFEST
    try:
        stated = read_sealed(path, find_faults)
        return Manifest.from_json(in_columns(stated) if stated["format"] == FORMAT_1 else stated)
    except FileNotFoundError as error:
        raise FileFormatError(
            f"{folder}: has no {MANIFEST}: the store is not finished; run its command again, or llmprep merge"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raise `FileFormatError` that lists every shard that is missing, extra or of another size."""
    wrong = []
    for shard in manifest.shards:
        path = folder / shard.file
        if not path.is_file():
            wrong.append(f"{shard.file} is missing")
        elif path.stat().st_size != shard.bytes:
            wrong.append(f"{shard.file} has {path.stat().st_size} bytes, the manifest says {shard.bytes}")
    known = {shard.file for shard in manifest.shards}
    extra = sorted(path.name for path in folder.glob("tokens-*.pt") if path.name not in known)
    wrong += [f"{name} is not in the manifest" for name in extra]
    if wrong:
        raise FileFormatError(f"{folder}: {'; '.join(wrong[:8])}{'; ...' if len(wrong) > 8 else ''}")


def read_plan(folder: Path) -> Plan:
    """Read and check the plan of a store. Raises `FileFormatError`, and `InputError` where there is no folder."""
    path = folder / PLAN
    try:
        stated = plan_in_columns(read_sealed(path))
    except FileNotFoundError as error:
        if not folder.exists():
            raise InputError(f"{folder}: no such file or directory{advise_missing(str(folder))}") from error
        raise FileFormatError(f"{folder}: has no {PLAN}; so it is not a token store") from error
    except NotADirectoryError as error:
        raise FileFormatError(f"{folder}: is a file; a token store is a folder") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except FileFormatError as error:
        raise FileFormatError(f"{error}; {ANEW}") from error
    if not isinstance(stated, dict) or not is_plan(stated):
        raise FileFormatError(f"{path}: is not what llmprep writes; {ANEW}")
    return Plan.from_json(stated)


def read_receipt(folder: Path, number: int, n_pieces: int | None = None) -> Receipt | None:
    """Return the receipt of a shard, of ``n_pieces`` pieces if that is known; None if there is none that is sound."""
    try:
        receipt = receipt_at(receipt_path(folder, number), n_pieces)
    except PermissionError as error:
        raise InputError(f"{error.filename}: permission denied; another user has made it") from error
    except (OSError, FileFormatError):
        return None
    return receipt if receipt is not None and receipt.file == shard_name(number) else None


def receipt_at(path: Path, n_pieces: int | None = None) -> Receipt | None:
    """Return the receipt that a file states, None if it states something else. Raises as `read_sealed` does."""
    stated = receipt_in_columns(read_sealed(path))
    return Receipt.from_json(stated) if isinstance(stated, dict) and is_receipt(stated, n_pieces) else None

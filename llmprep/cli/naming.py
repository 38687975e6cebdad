"""Names of outputs: as given, or derived from the input; and what a derived name must not replace."""

from __future__ import annotations

import glob
import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmprep.errors import FileFormatError, InputError, RefusedError, UsageError, list_names

if TYPE_CHECKING:
    from llmprep.cli.groups import Target
    from llmprep.documents.source import Counts, Source
    from llmprep.output.checking import Output


def files_of(paths: list[str]) -> list[str]:
    """Return every file that the inputs stand for: none of them may be the output."""
    from llmprep.documents.expanding import expand_paths

    return [path for path, _ in expand_paths(paths)]


def name_output(inputs: list[str], output: str | None, kind: str) -> str:
    """Return the output's name: as given, else the input's with the kind of file, in the current folder."""
    if output is not None:
        return output
    if not inputs:
        raise UsageError("--text has no name; name the output with -o")
    from llmprep.missing import explain_dash, is_address

    if dashed := explain_dash(inputs):
        raise InputError(dashed)
    if len(inputs) != 1:
        raise UsageError(f"{len(inputs)} inputs go into one file; name the output with -o")

    path = Path(inputs[0])
    if inputs == ["-"]:
        raise UsageError("standard input has no name; name the output with -o")
    is_pattern = glob.has_magic(inputs[0]) and not os.path.lexists(path) and not is_address(inputs[0])
    if is_pattern and files_of(inputs):
        raise UsageError("a pattern has no name; name the output with -o")
    stem = (path.resolve() if path.name in ("", "..") else path).stem
    for made in (".tokens", ".windows"):
        stem = stem.removesuffix(made)
    return f"{stem}.{kind}.pt"


PROMISES = {
    ".json", ".jsonl", ".ndjson", ".txt", ".md", ".csv", ".tsv", ".html", ".npy", ".npz", ".bin", ".dat", ".parquet",
    ".arrow", ".safetensors", ".pkl", ".h5", ".zip", ".gz", ".bz2", ".xz", ".zst", ".pt", ".svg", ".png", ".pdf",
}  # fmt: skip
"""Endings of names that promise a format."""
INSTEAD = {
    ".json": ", or --json for JSON on standard output",
    ".jsonl": ", or --json for JSON on standard output",
    ".html": ", or --html for a page",
    ".svg": ", or --svg for a picture",
}
"""What gives the format that a name promises, where a .pt file is written."""


def refuse_promises(name: str, *, force: bool, ending: str = ".pt", written: str = "a .pt file") -> None:
    """Raise `UsageError` for the name of a new output that promises another format, unless that is meant."""
    path = Path(name)
    own = path.suffix.lower()
    if own in PROMISES - {ending} and not force and not os.path.lexists(name):
        instead = INSTEAD.get(own, "") if ending == ".pt" else ""
        raise UsageError(
            f"{name}: {written} is written, whatever its name; name it {path.with_suffix(ending)}{instead}, or --force"
        )


def split_names(name: str, val_fraction: float | None) -> list[str]:
    """Return one name, or those of the training and the validation file."""
    if val_fraction is None:
        return [name]
    if not 0 < val_fraction < 1:
        raise UsageError(f"--val-fraction {val_fraction}: must be larger than 0 and smaller than 1")
    if name == "-":
        raise UsageError("--val-fraction writes two files; name them with -o, not -")
    from llmprep.output.checking import require_file_name

    require_file_name(name)
    path = Path(name)
    stem = path.name.removesuffix(".pt").removesuffix(".windows")
    return [str(path.with_name(f"{stem}.{part}.windows.pt")) for part in ("train", "val")]


def check_outputs(paths: list[str], names: list[str], target: Target, read_too: Sequence[str] = ()) -> list[Output]:
    """Check outputs before any work; ``read_too`` are files that are read besides the inputs.

    A name that was derived must not replace what was made from other inputs: that is a `RefusedError`.
    """
    from llmprep.output.checking import check_output

    for name in names:
        refuse_promises(name, force=target.force)
    outputs = [check_output(name, [*files_of(paths), *read_too], force=target.force) for name in names]
    for output in () if target.output is not None or target.force else outputs:
        if output.path is not None and not output.direct and output.path.exists():
            _refuse_other_origin(output.name, output.path, paths[0])
    return outputs


Record = tuple[object, object, object]
"""Name, bytes and sha256 of a source."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """What ``meta`` of a file made from an input would say of it; ``content`` reads the input, when it is called."""

    names: list[object]
    changed: float
    content: Callable[[], list[Record]]


def _refuse_other_origin(name: str, path: Path, given: str) -> None:
    """Refuse to replace a file that was made from another input than the one that is given.

    Names of sources decide first. Where they are equal, an input that is newer than the file counts as edited, and an
    older one must hold what the file was made from. A newer folder may also have gained or lost files.
    """
    from llmprep.formats.meta import wrong_left_out
    from llmprep.ptfile.reading import read_pt
    from llmprep.tokens.figures import left_out_of

    try:
        meta = read_pt(path, check_crc=False).meta
    except FileFormatError:
        return  # damaged, or a part of a file
    left_out = {each.name for each in left_out_of(meta)} if not wrong_left_out(meta) else set()
    stated, origin = _records(meta.get("sources")), _origin_of(given, left_out)
    names = [record[0] for record in stated]
    newer = origin.changed >= path.stat().st_mtime_ns
    if newer and Path(given).is_dir():
        return
    if names == origin.names and (newer or stated == origin.content()):
        return
    made_from = list_names(list(map(str, names))) if names else "what it does not tell"
    another = "another " if names == origin.names else ""
    raise RefusedError(
        f"{name}: was made from {another}{made_from}, not from {given}; name the output with -o, or --force"
    )


def _origin_of(given: str, left_out: set[str]) -> _Origin:
    """Return what is known of an input, of a folder of texts without the files that were left out before."""
    from llmprep.choices import Reading
    from llmprep.documents.finding import find_sources
    from llmprep.inputs import Texts, open_input, stream_store
    from llmprep.ptfile.reading import PtFile
    from llmprep.store.folder import is_store
    from llmprep.store.reading import TokenStore

    if left_out and Path(given).is_dir() and not is_store(given):
        kept = [source for source in find_sources([given], on_bad="skip") if source.name not in left_out]
        return _origin_of_texts(kept, given)
    match open_input([given], check=False, pipes="unread"):
        case TokenStore() as store:
            changed: float = (store.folder / "manifest.json").stat().st_mtime_ns
            records = _records(stream_store(store, Reading()).figures.sources)
        case PtFile() as file:
            changed, records = _last_change(Path(file.name), given), _records(file.meta.get("sources"))
        case Texts(sources):
            return _origin_of_texts(sources, given)
    return _Origin([record[0] for record in records], changed, lambda: records)


def _origin_of_texts(sources: Sequence[Source], given: str) -> _Origin:
    from llmprep.documents.source import Counts
    from llmprep.tokens.figures import sum_or_list

    changed = max((math.inf if s.size is None else _last_change(Path(s.path), given) for s in sources), default=0)
    names = [record["name"] for record in sum_or_list(list(map(Counts, sources)))]
    return _Origin(names, changed, lambda: _records(sum_or_list(list(map(_hashed, sources)))))


def _records(sources: object) -> list[Record]:
    listed = sources if isinstance(sources, list) else []
    return [(each.get("name"), each.get("bytes"), each.get("sha256")) for each in listed if isinstance(each, dict)]


def _last_change(path: Path, given: str) -> int:
    """Return when a file was changed, or names came and went in its part of a folder that was given, in ns."""
    folders = [parent for parent in path.parents if parent.is_relative_to(given)] if Path(given).is_dir() else []
    return max(each.stat().st_mtime_ns for each in (path, *folders))


def _hashed(source: Source) -> Counts:
    from llmprep.documents.source import Counts

    with Path(source.path).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Counts(source, n_bytes=source.size or 0, sha256=sha256)

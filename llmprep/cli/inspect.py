"""`inspect`: what a token store or a .pt file is, a look inside, and a check of all it states."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmprep.errors import DataError, UsageError, VocabularyError, shorten
from llmprep.preview import plain

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from llmprep.cli.printer import Show
    from llmprep.store.provenance import Piece

SHOWN_IDS = 24
SHOWN_CHARS = 200
"""Of what a file says of itself; ``--json`` has all of it."""
BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Look:
    """What to look at, besides the description."""

    windows: list[int]
    around: str | None
    where: int | None
    max_length: int | None
    stride: int | None
    verify: bool
    vocab_dir: str | None

    @property
    def inside(self) -> bool:
        """Whether any window is wanted."""
        return bool(self.windows) or self.around is not None or self.where is not None


@dataclass(frozen=True, slots=True)
class Opened:
    """A store or file as one stream of ids with its description."""

    path: Path
    facts: Mapping[str, Any]
    n_tokens: int
    ids: Any
    pieces: list[Piece]
    encoding: str
    max_length: int
    stride: int

    def read(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return ids of the stream."""
        import numpy as np

        from llmprep.store.reading import TokenStore

        if isinstance(self.ids, TokenStore):
            return self.ids.read(first, min(count, self.n_tokens - first)).astype(np.int64)
        return np.asarray(self.ids[first : first + count], np.int64)


def inspect_path(show: Show, name: str, look: Look) -> None:
    """Describe a path; then show, find, place and verify what was asked for."""
    path = Path(name)
    opened = _open(path, look)
    if look.inside and not opened.n_tokens:
        raise UsageError(
            f"{name}: holds no continuous token ids to look into; leave out --window, --around and --where"
        )
    report: dict[str, Any] = {"command": "inspect", "path": name, **opened.facts}
    show.lines(
        f"{plain.visible(shorten(key.removeprefix('n_'))):<16} {plain.visible(_worded(value))}"
        for key, value in opened.facts.items()
    )
    if look.verify:
        report["verified"] = list(_verify(path))
        show.lines(f"verified: {plain.visible(line)}" for line in report["verified"])
    if opened.n_tokens and (look.inside or not look.verify):
        report["shown"] = [_show_window(show, opened, number, look) for number in _wanted(show, opened, look)]
    show.object(report)


def _worded(value: object) -> str:
    if isinstance(value, dict):
        items = [f"{shorten(str(key))} {_worded(held)}" for key, held in islice(value.items(), SHOWN_IDS)]
        return ", ".join(items + ["..."] * (len(value) > SHOWN_IDS)) or "none"
    if isinstance(value, list):
        return " to ".join(map(_worded, value))
    return plain.number(value) if type(value) is int else shorten(str(value), SHOWN_CHARS)


def _verify(path: Path) -> Iterator[str]:
    from llmprep.formats.verify import verify_file
    from llmprep.store.verify import verify_store

    return verify_store(path) if path.is_dir() else verify_file(path)


def _open(path: Path, look: Look) -> Opened:
    from llmprep.ptfile.reading import read_pt

    if path.is_dir():
        return _open_store(path, look)
    if not path.exists():
        from llmprep.errors import InputError

        raise InputError(f"{path}: no such file or directory")
    return _open_file(read_pt(path), path, look)


def _open_store(path: Path, look: Look) -> Opened:
    from llmprep.store.provenance import store_pieces
    from llmprep.store.reading import TokenStore

    store = TokenStore(path)
    values = store.manifest.values
    max_length, stride = _shape(look, None, None)
    facts = {
        "kind": "token store",
        **_common(values),
        "n_documents": values["n_documents"],
        "n_sources": len(values["sources"]),
        "n_shards": len(store.manifest.shards),
        "dtype": values["dtype"],
        "splits": values["splits"],
        **_windows_facts(values["n_tokens"], max_length, stride),
    }
    pieces = store_pieces(store.manifest)
    return Opened(path, facts, len(store), store, pieces, values["encoding"], max_length, stride)


def _open_file(file: Any, path: Path, look: Look) -> Opened:
    from llmprep.formats.ids import check_ids
    from llmprep.formats.meta import checked_meta
    from llmprep.formats.tokens import read_tokens
    from llmprep.formats.weights import has_weights
    from llmprep.formats.windows import check_window_ids, read_windows
    from llmprep.store.provenance import file_pieces
    from llmprep.windows.views import stream_of

    if has_weights(file):
        return Opened(path, _weights_facts(file), 0, [], [], "", *_shape(look, None, None))
    meta = checked_meta(file)
    options = meta["options"]
    shapes = {key: f"{list(array.shape)} {file.dtypes[key]}" for key, array in file.tensors.items()}
    facts: dict[str, Any] = {"kind": meta["kind"], **_common(meta), "n_sources": len(meta["sources"]), **shapes}
    ids: Any = []
    own: tuple[int | None, int | None] = (None, None)
    if "token_ids" in file.tensors:
        ids = read_tokens(file)
        check_ids(ids, meta["n_vocab"], file.name)
    if "input_ids" in file.tensors:
        windows = read_windows(file)
        check_window_ids(file, meta["n_vocab"])
        own = options["max_length"], options["stride"]
        if len(windows[0]) and options["stride"] <= options["max_length"]:
            ids = stream_of(*windows, options["stride"]) if options["dense"] else file.storages["input_ids"]
    max_length, stride = _shape(look, *own)
    if len(ids):
        facts |= _windows_facts(meta["n_tokens"], max_length, stride)
    pieces = file_pieces(meta) if len(ids) and options.get("part", "train") == "train" else []
    return Opened(path, facts, len(ids), ids, pieces, meta["encoding"], max_length, stride)


def _weights_facts(file: Any) -> dict[str, Any]:
    from llmprep.formats.weights import read_weights, weight_keys

    tables = zip(weight_keys(file), read_weights(file), strict=True)
    return {"kind": "weights", **{key: f"{list(table.shape)} {file.dtypes[key]}" for key, table in tables}}


def _common(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in ("encoding", "n_tokens", "options", "content_sha256")}


def _windows_facts(n_tokens: int, max_length: int, stride: int) -> dict[str, int]:
    from llmprep.windows.counts import count_windows

    return {"n_windows": count_windows(n_tokens, max_length, stride), "max_length": max_length, "stride": stride}


def _shape(look: Look, max_length: int | None, stride: int | None) -> tuple[int, int]:
    if max_length is not None and stride is not None:
        if (look.max_length or max_length, look.stride or stride) != (max_length, stride):
            raise UsageError(f"--max-length, --stride: this file has windows of {max_length}, stride {stride}")
        return max_length, stride
    chosen = look.max_length or 256
    return chosen, look.stride or chosen


def _wanted(show: Show, opened: Opened, look: Look) -> list[int]:
    """Numbers of the windows to show; the first one if none was asked for."""
    from llmprep.windows.counts import count_windows, require_windows

    count = count_windows(opened.n_tokens, opened.max_length, opened.stride)
    if look.inside:
        require_windows(opened.n_tokens, opened.max_length, opened.stride, str(opened.path))
    wanted = list(look.windows)
    if look.where is not None:
        wanted.append(look.where)
    if look.around is not None:
        wanted.append(_around(show, opened, look, count))
    wanted = wanted or ([0] if count else [])
    for number in wanted:
        if number >= count:
            raise UsageError(
                f"window {number}: there are {count} windows of {opened.max_length}, stride {opened.stride}"
            )
    return wanted


def _table(show: Show, opened: Opened, look: Look) -> tuple[dict[int, bytes], int]:
    from llmprep.tokens.decoding import token_table
    from llmprep.vocabulary.loading import load_vocabulary

    vocabulary = load_vocabulary(opened.encoding, look.vocab_dir, show.note)
    return token_table(vocabulary), vocabulary.eot_id


def _around(show: Show, opened: Opened, look: Look, count: int) -> int:
    """Return the number of the first window whose input holds a text, or if none does, of one near it."""
    first, last = _find(show, opened, look)
    number = max(0, -(-(last + 1 - opened.max_length) // opened.stride))
    if number * opened.stride <= first and number < count:
        return number
    show.note(f"no window holds all of {look.around!r}: it is in tokens {first} to {last}")
    return min(first // opened.stride, count - 1)


def _find(show: Show, opened: Opened, look: Look) -> tuple[int, int]:
    """Return the places of the tokens in which a text begins first, and ends."""
    table, _ = _table(show, opened, look)
    needle = os.fsencode(look.around or "")  # a command line may hold bytes that are no UTF-8
    if not needle:
        raise UsageError("--around: needs a text to look for")
    kept = b""
    starts: list[int] = []
    for first in range(0, opened.n_tokens, BLOCK):
        parts = [table.get(i, b"") for i in opened.read(first, BLOCK).tolist()]
        data = kept + b"".join(parts)
        at = data.find(needle)
        if at >= 0:
            byte = at - len(kept)
            return _token_at(byte, first, parts, starts), _token_at(byte + len(needle) - 1, first, parts, starts)
        kept = data[len(data) - len(needle) + 1 :] if len(needle) > 1 else b""
        starts = [len(part) for part in parts[-len(needle) :]]
    raise DataError(f"{opened.path}: holds no {look.around!r}")


def _token_at(byte: int, first: int, parts: list[bytes], before: list[int]) -> int:
    """The token that holds a byte of a block; a negative byte lies in the tokens before it."""
    place = first
    while byte < 0:
        place -= 1
        byte += before[place - first]
    if place < first:
        return place
    for part in parts:
        if byte < len(part):
            return place
        byte -= len(part)
        place += 1
    return place


def _show_window(show: Show, opened: Opened, number: int, look: Look) -> dict[str, Any]:
    """Show one window, its document boundaries marked, and where it came from."""
    first = number * opened.stride
    ids = opened.read(first, opened.max_length + 1).tolist()
    shown = " ".join(map(str, ids[:SHOWN_IDS])) + (" ..." if len(ids) > SHOWN_IDS else "")
    show.lines([f"window {number}: tokens {first} to {first + opened.max_length - 1}", f"  ids   {shown}"])
    found: dict[str, Any] = {"window": number, "input_ids": ids[:-1], "target_ids": ids[1:]}
    try:
        table, eot_id = _table(show, opened, look)
    except VocabularyError as error:
        show.note(f"text is not shown: {error}")
        return found
    text = _marked(ids[:-1], table, eot_id)
    show.lines([f"  text  {plain.visible(text)}"])
    found["text"] = text
    if opened.pieces:
        from llmprep.store.provenance import find_places

        places = find_places(opened.read, opened.pieces, first, opened.max_length + 1, table, eot_id)
        found["places"] = [
            {"name": p.name, "document": p.document, "begin": p.begin, "end": p.end, "exact": p.exact} for p in places
        ]
        show.lines(f"  from  {_told(place)}" for place in found["places"])
    return found


def _told(place: Mapping[str, Any]) -> str:
    what = "bytes" if place["exact"] else "bytes of its text"
    document = "one of its documents" if place["document"] is None else f"document {place['document']}"
    return (
        f"{plain.visible(shorten(place['name'], SHOWN_CHARS))}, {document}, {what} {place['begin']} to {place['end']}"
    )


def _marked(ids: list[int], table: Mapping[int, bytes], eot_id: int) -> str:
    """Text of ids, with each document boundary set off."""
    from llmprep.tokens.decoding import decode_ids

    parts: list[str] = []
    run: list[int] = []
    for token_id in [*ids, eot_id]:
        if token_id != eot_id:
            run.append(token_id)
            continue
        parts.append(decode_ids(run, table))
        run = []
    return " =====| document |===== ".join(parts)

"""Token stores: a corpus of every kind of text, building from Python, stores of given ids, what their files hold."""

import functools
import gzip
import hashlib
import json
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from llmprep.choices import Building, Effort, Reading, Sharding, TextOptions
from llmprep.documents.names import Names
from llmprep.ptfile.reading import read_pt
from llmprep.store.build import BuiltStore, build_store
from llmprep.store.columns import Piece, Pieces
from llmprep.store.schema import Manifest, Shard, shard_name
from llmprep.store.sealed import file_sha256, seal, write_sealed
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.vocabulary.vocabulary import END_OF_TEXT
from support.commands import SAMPLES
from support.reference import encode
from support.refusals import fill

STORY, RECORDS = ((SAMPLES / name).read_text(encoding="utf-8") for name in ("story.txt", "records.jsonl"))
EOT = 50256
N_VOCAB = 50_257
ZEROS = "0" * 64
SHARD_BYTES = 9000

GPT2 = load_vocabulary("gpt2")
SMALL = replace(
    GPT2,
    stated_ranks={token: rank for token, rank in GPT2.ranks.items() if rank < 600},
    special_tokens={END_OF_TEXT: 600},
    sha256=ZEROS,
    fingerprint=ZEROS,
    n_vocab=601,
)
"""GPT-2's pattern with its first merges: where text may be cut is the same, and a tokenizer is built in no time."""


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> list[str]:
    """Write files into a folder, which is made if it is missing; return their paths."""
    fill(folder, files)
    return [str(folder / name) for name in files]


def json_lines(texts: Sequence[str]) -> bytes:
    """JSON Lines of texts."""
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def make_corpus(folder: Path) -> Path:
    """Write texts of every sort: several spans, nothing, a mark, CRLF, records, gzip, no place to cut."""
    files: Mapping[str, str | bytes] = {
        "a_long.txt": STORY,
        "b_empty.txt": "",
        "c_marked.txt": "\ufeffmarked\r\nby Windows\r\n",
        "d_records.jsonl": RECORDS,
        "e_packed.txt.gz": gzip.compress(STORY[:4000].encode(), mtime=0),
        "sub/f_uncut.txt": "\u2026\u2026\n" * 1200,
    }
    write_files(folder, files)
    return folder


def ids_of_corpus() -> list[int]:
    """The corpus's ids the plain way: each document encoded whole, the end-of-text id between them."""
    records = [json.loads(line)["text"] for line in RECORDS.splitlines()]
    texts = [STORY, "marked\nby Windows\n", *records, STORY[:4000], "\u2026\u2026\n" * 1200]
    return [token_id for text in texts for token_id in [*encode(text), EOT]][:-1]


def edit_keeping_stamp(path: Path) -> None:
    """Change a file but neither its size nor its time, as an archive may that gives all its files one time."""
    before = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes().swapcase())
    os.utime(path, ns=(before, before))


class Build(NamedTuple):
    """What `build_store` gave, and what it announced."""

    built: BuiltStore
    notes: list[str]


def build(
    paths: str | Path | Sequence[str | Path],
    folder: str | Path,
    shard_bytes: int | None = SHARD_BYTES,
    *,
    val_fraction: float | None = None,
    options: TextOptions | None = None,
    encoding: str | None = None,
    **building: Any,
) -> Build:
    """Build a store in this process, unless ``building`` says otherwise."""
    notes: list[str] = []
    reading = Reading(encoding, options, effort=Effort(backend="tiktoken"), announce=notes.append)
    built = build_store(paths, folder, reading, Sharding(shard_bytes, val_fraction), Building(**building))
    return Build(built, notes)


def make_store(folder: Path, shards: Sequence[Sequence[int]], val_fraction: float | None = None) -> Path:
    """Write a store with exactly these ids in its shards."""
    folder.mkdir(parents=True, exist_ok=True)
    stated: list[Shard] = []
    pieces: list[Piece] = []
    for number, ids in enumerate(shards):
        path, n_documents = folder / shard_name(number), int(number == 0)
        torch.save({"token_ids": torch.tensor(ids, dtype=torch.uint16)}, path)
        pieces.append(Piece(0, 0, 0, len(ids), n_documents, 0))
        stated.append(Shard(path.name, len(ids), n_documents, path.stat().st_size, file_sha256(path), 0, 1))
    ids = [token_id for shard in shards for token_id in shard]
    cut = len(ids) - int(len(ids) * (val_fraction or 0))
    splits = {} if val_fraction is None else {"train": (0, cut), "val": (cut, len(ids))}
    content = hashlib.sha256(np.array(ids, "<u4").tobytes()).hexdigest()
    manifest = Manifest(
        "0", "gpt2", ZEROS, N_VOCAB, "uint16", {}, ZEROS, len(ids), 1, 0, 0, content, Names.of("a"),
        np.zeros(1, np.int64), np.empty(0, np.int64), stated, Pieces.of(pieces), splits,
    )  # fmt: skip
    write_sealed(folder / "manifest.json", manifest.to_json())
    return folder


def contents(folder: Path | str) -> dict[str, bytes]:
    """The bytes of a finished store's files."""
    folder = Path(folder)
    return {path.name: path.read_bytes() for path in sorted([*folder.glob("tokens-*.pt"), folder / "manifest.json"])}


def receipts_of(folder: Path | str) -> dict[str, bytes]:
    """The bytes of a store's receipts."""
    return {path.name: path.read_bytes() for path in sorted(Path(folder, "receipts").glob("*.json"))}


def reseal(path: Path, place: Sequence[Any], to: object) -> None:
    """Change one value of a sealed file, and seal it again."""
    values = json.loads(path.read_bytes())
    del values["seal_sha256"]
    functools.reduce(operator.getitem, place[:-1], values)[place[-1]] = to
    path.write_bytes(seal(values))


def stream_of(folder: Path | str) -> list[int]:
    """The ids of all shards of a store, one after the other."""
    shards = [read_pt(path).tensors["token_ids"] for path in sorted(Path(folder).glob("tokens-*.pt"))]
    ids: list[int] = np.concatenate(shards).tolist()
    return ids


def written_at(folder: Path | str) -> dict[str, tuple[int, int]]:
    """When each shard was written, and which file it is."""
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in Path(folder).glob("tokens-*.pt")}


def flip(path: Path, place: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)

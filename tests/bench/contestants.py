"""The ways to turn a text into training data that are compared: `python contestants.py NAME TEXT OUT`.

llmprep is run as the command that it is; any other way is a function from a text and an output path to the number of
tokens, run in a process of its own. Either prints one line of JSON with `n_tokens`. Libraries are imported inside the
functions, so each pays for its own. Worker processes: as many as there are cores.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gpt2

MAX_LENGTH, STRIDE = 256, 128
PIECE_BYTES = 1 << 18
CORES = len(os.sched_getaffinity(0))

Way = Callable[[Path, Path], int]


# --- the textbook way: rasbt/LLMs-from-scratch, chapter 2 -----------------------------------------


def textbook(text: Path, out: Path) -> int:
    """Do what the course's GPTDatasetV1 does, then stack and save its rows."""
    import torch

    encoding = gpt2.encoding()
    inputs, targets = [], []
    token_ids = encoding.encode(text.read_text(encoding="utf-8"), allowed_special={gpt2.END_OF_TEXT})
    for i in range(0, len(token_ids) - MAX_LENGTH, STRIDE):
        input_chunk = token_ids[i : i + MAX_LENGTH]
        target_chunk = token_ids[i + 1 : i + MAX_LENGTH + 1]
        inputs.append(torch.tensor(input_chunk))
        targets.append(torch.tensor(target_chunk))
    torch.save({"input_ids": torch.stack(inputs), "target_ids": torch.stack(targets)}, out)
    return len(token_ids)


# --- bare tokenizers: nothing is written ----------------------------------------------------------


def pieces(text: Path, size: int = PIECE_BYTES) -> Iterator[bytes]:
    """Yield a file's bytes in pieces of about ``size``, cut before a space."""
    rest = b""
    with text.open("rb", buffering=0) as file:
        while data := file.read(size):
            data = rest + data
            cut = max(0, data.rfind(b" "))
            rest = data[cut:]
            yield data[:cut]
    yield rest


def bare_tiktoken(text: Path, _: Path) -> int:
    """Call `encode_to_numpy` piece by piece."""
    encoding = gpt2.encoding()
    return sum(len(encoding.encode_to_numpy(piece.decode(), disallowed_special=())) for piece in pieces(text))


def bare_gigatoken(text: Path, _: Path) -> int:
    """Call `Tokenizer.encode` piece by piece."""
    tokenizer = gpt2.giga_tokenizer()
    return sum(len(tokenizer.encode(piece)) for piece in pieces(text))


def bare_gigatoken_padded(text: Path, _: Path) -> int:
    """Call `encode_batch_padded` piece by piece, which is what llmprep calls."""
    from gigatoken import BytesSource

    tokenizer = gpt2.giga_tokenizer()
    tokens = 0
    for piece in filter(None, pieces(text)):
        _rows, lengths = tokenizer.encode_batch_padded(BytesSource([piece]), 0, parallel=False)
        tokens += int(lengths[0])
    return tokens


# --- what else one would take ---------------------------------------------------------------------


def gigatoken_files(text: Path, out: Path) -> int:
    """Let gigatoken encode the file on all cores, and save the ids as one array."""
    import awkward
    import numpy as np

    tokenizer = gpt2.giga_tokenizer()
    ids = awkward.to_numpy(awkward.flatten(tokenizer.encode_files(text)))
    with out.open("wb") as file:
        np.save(file, ids.astype(np.int64))
    return len(ids)


def nanogpt(text: Path, out: Path) -> int:
    """Do what nanoGPT's data scripts do: encode the whole text to a list, write uint16 into a memory-mapped file."""
    import numpy as np

    encoding = gpt2.encoding()
    ids = encoding.encode_ordinary(text.read_text(encoding="utf-8"))
    mapped = np.memmap(out, dtype=np.uint16, mode="w+", shape=(len(ids),))
    mapped[:] = ids
    mapped.flush()
    return len(ids)


def hugging_face(text: Path, out: Path) -> int:
    """Do what transformers' run_clm.py does: map lines to ids, group those into blocks with labels; save to disk."""
    import datasets

    encoding = gpt2.encoding()

    def encode(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return {"input_ids": encoding.encode_ordinary_batch(batch["text"], num_threads=1)}

    def group(batch: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        ids = list(itertools.chain.from_iterable(batch["input_ids"]))
        blocks = [ids[k : k + MAX_LENGTH] for k in range(0, len(ids) - len(ids) % MAX_LENGTH, MAX_LENGTH)]
        return {"input_ids": blocks, "labels": blocks.copy()}

    datasets.disable_progress_bars()
    lines = datasets.load_dataset("text", data_files=str(text), split="train", keep_linebreaks=True)
    ids = lines.map(encode, batched=True, remove_columns=["text"], num_proc=CORES)
    blocks = ids.map(group, batched=True, num_proc=CORES)
    blocks.save_to_disk(out)
    return len(blocks) * MAX_LENGTH


def litdata_encode(span: tuple[int, int], *, text: str) -> Iterator[Any]:
    """Yield the ids of a span of the text as litdata stores them."""
    import torch

    with Path(text).open("rb") as file:
        file.seek(span[0])
        piece = file.read(span[1]).decode()
    yield torch.tensor(gpt2.encoding().encode_ordinary(piece), dtype=torch.int32)


def litdata_optimize(text: Path, out: Path) -> int:
    """Let litdata's workers encode pieces into chunks for its `TokensLoader`."""
    from litdata import TokensLoader, optimize

    sizes = [len(piece) for piece in pieces(text)]
    spans = list(zip(itertools.accumulate(sizes, initial=0), sizes, strict=False))
    optimize(
        functools.partial(litdata_encode, text=str(text)),
        spans,
        str(out),
        chunk_bytes="64MB",
        item_loader=TokensLoader(block_size=MAX_LENGTH + 1),
        num_workers=CORES,
        reorder_files=False,
        keep_data_ordered=True,
        start_method="fork",
        verbose=False,
    )
    index = json.loads((out / "index.json").read_text(encoding="utf-8"))
    return sum(chunk["dim"] for chunk in index["chunks"])


def datatrove_tokenizer(text: Path, out: Path) -> int:
    """Let datatrove's workers encode pieces of 4 KiB, the size of a web page, with Hugging Face tokenizers."""
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.tokens import DocumentTokenizer

    def read(_: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        for number, piece in enumerate(pieces(text, 4096)):
            if number % world_size == rank and piece:
                yield Document(text=piece.decode(), id=str(number))

    writer = DocumentTokenizer(str(out), str(gpt2.TOKENIZER_JSON), shuffle_documents=False)
    LocalPipelineExecutor(
        [read, writer], tasks=CORES, workers=CORES, logging_dir=str(out.with_name("logs")), skip_completed=False
    ).run()
    return sum(file.stat().st_size for file in out.glob("*.ds")) // 2


# --- the list -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way, and what to know of it.

    ``run`` is a function, or options of `llmprep window`. ``needs``: packages that llmprep does without;
    ``processes``: it has workers; ``writes``: it leaves a result on disk.
    """

    run: Way | tuple[str, ...]
    what: str
    needs: tuple[str, ...] = ()
    processes: bool = False
    writes: bool = True

    @property
    def missing(self) -> str:
        """The packages that it needs and that are not installed."""
        return ", ".join(name for name in self.needs if find_spec(name) is None)

    @property
    def must_run(self) -> bool:
        """Whether a failure is ours: it is llmprep, or needs no more than llmprep does."""
        return not self.missing and (not self.needs or not callable(self.run))


GIGATOKEN = ("gigatoken",)
CONTESTANTS = {
    "textbook": Contestant(textbook, "tiktoken to a list, a loop of slices, torch.save; windows of 256, stride 128"),
    "llmprep": Contestant((), "llmprep window --max-length 256 --stride 128"),
    "llmprep gigatoken": Contestant(("--backend", "gigatoken"), "--backend gigatoken", GIGATOKEN),
    "llmprep tiktoken": Contestant(("--backend", "tiktoken"), "--backend tiktoken"),
    "llmprep uint16": Contestant(("--dtype", "uint16"), "--dtype uint16"),
    "llmprep one job": Contestant(("--jobs", "1"), "--jobs 1"),
    "bare tiktoken": Contestant(
        bare_tiktoken, "encode_to_numpy on pieces of 256 KiB, one thread, nothing written", writes=False
    ),
    "bare gigatoken": Contestant(
        bare_gigatoken, "Tokenizer.encode on pieces of 256 KiB, one thread, nothing written", GIGATOKEN, writes=False
    ),
    "bare gigatoken padded": Contestant(
        bare_gigatoken_padded,
        "encode_batch_padded(BytesSource([piece])), otherwise the same",
        GIGATOKEN,
        writes=False,
    ),
    "gigatoken files": Contestant(
        gigatoken_files, "encode_files on all cores, numpy.save as int64; ids, no windows", ("gigatoken", "awkward")
    ),
    "nanoGPT": Contestant(nanogpt, "tiktoken to a list, uint16 memmap; ids, no windows"),
    "datasets": Contestant(
        hugging_face,
        "load text, map tiktoken, group into blocks of 256, save_to_disk; encodes line by line",
        ("datasets",),
        processes=True,
    ),
    "litdata": Contestant(
        litdata_optimize, "optimize with tiktoken for TokensLoader, int32; ids", ("litdata",), processes=True
    ),
    "datatrove": Contestant(
        datatrove_tokenizer,
        "DocumentTokenizer with tokenizers' BPE on documents of 4 KiB, uint16; ids, no windows",
        ("datatrove", "tokenizers"),
        processes=True,
    ),
}


def command_of(name: str, text: Path, out: Path) -> list[str]:
    """Return the command that runs a contestant."""
    run = CONTESTANTS[name].run
    if callable(run):
        return [sys.executable, __file__, name, str(text), str(out)]
    sizes = ("--max-length", str(MAX_LENGTH), "--stride", str(STRIDE))
    return [
        sys.executable,
        "-m",
        "llmprep",
        "window",
        str(text),
        "-o",
        str(out),
        *sizes,
        "--preview",
        "0",
        "--json",
        *run,
    ]


if __name__ == "__main__":
    name, source, target = sys.argv[1:]
    print(json.dumps({"n_tokens": CONTESTANTS[name].run(Path(source), Path(target))}), flush=True)

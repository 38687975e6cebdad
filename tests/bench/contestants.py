"""The ways to turn a text into training data that are compared: `python contestants.py NAME TEXT OUT`.

Each is a function from a text and an output path to `(seconds, tokens)`. The seconds run from the moment when libraries
and tokenizer are loaded to the moment when the result is written; they and the tokens are printed as one line of JSON.
Libraries are imported inside the functions, so each pays for its own. Worker processes: as many as there are cores.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import gpt2

MAX_LENGTH, STRIDE = 256, 128
PIECE_BYTES = 1 << 18
CORES = len(os.sched_getaffinity(0))

Outcome = tuple[float, int]
clock = time.perf_counter


# --- the textbook way: rasbt/LLMs-from-scratch, chapter 2 -----------------------------------------


def textbook(text: Path, out: Path) -> Outcome:
    """Do what the course's GPTDatasetV1 does, then stack and save its rows."""
    import torch

    encoding = gpt2.encoding()
    started = clock()
    inputs, targets = [], []
    token_ids = encoding.encode(text.read_text(encoding="utf-8"), allowed_special={gpt2.END_OF_TEXT})
    for i in range(0, len(token_ids) - MAX_LENGTH, STRIDE):
        input_chunk = token_ids[i : i + MAX_LENGTH]
        target_chunk = token_ids[i + 1 : i + MAX_LENGTH + 1]
        inputs.append(torch.tensor(input_chunk))
        targets.append(torch.tensor(target_chunk))
    torch.save({"input_ids": torch.stack(inputs), "target_ids": torch.stack(targets)}, out)
    return clock() - started, len(token_ids)


# --- llmprep --------------------------------------------------------------------------------------


def llmprep(*options: str) -> Callable[[Path, Path], Outcome]:
    """Return `llmprep window` with some options."""
    return functools.partial(llmprep_window, options=options)


def llmprep_window(text: Path, out: Path, *, options: tuple[str, ...]) -> Outcome:
    """Run the command as it is. Its clock starts when texts are opened and the vocabulary is loaded, and stands still
    while the first gigatoken tokenizer is made."""
    from llmprep.cli import boundary

    backends: Any = import_module("llmprep.backends")
    kinds: Any = import_module("llmprep.kinds")
    moments: dict[str, float] = {}
    stream: list[Any] = []
    stream_text, encode, build = kinds.stream_text, backends._Gigatoken.encode, backends._Gigatoken._build

    def timed_stream_text(*arguments: Any) -> Any:
        stream.append(stream_text(*arguments))
        moments["start"] = clock()
        return stream[0]

    def timed_encode(*arguments: Any, **choices: Any) -> Any:
        moments.setdefault("building", clock())
        return encode(*arguments, **choices)

    def timed_build(*arguments: Any, **choices: Any) -> Any:
        tokenizer = build(*arguments, **choices)
        moments.setdefault("built", clock())
        return tokenizer

    kinds.stream_text = timed_stream_text
    backends._Gigatoken.encode, backends._Gigatoken._build = timed_encode, timed_build
    sizes = ("--max-length", str(MAX_LENGTH), "--stride", str(STRIDE))
    code = boundary.run(["window", str(text), "-o", str(out), *sizes, "--preview", "0", *options])
    if code:
        sys.exit(code)
    waited = moments.get("built", 0.0) - moments.get("building", 0.0)
    return clock() - moments["start"] - waited, stream[0].n_tokens


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


def bare_tiktoken(text: Path, _: Path) -> Outcome:
    """Call `encode_to_numpy` piece by piece."""
    encoding = gpt2.encoding()
    encoding.encode_to_numpy("a")  # the first call imports numpy
    started = clock()
    tokens = sum(len(encoding.encode_to_numpy(piece.decode(), disallowed_special=())) for piece in pieces(text))
    return clock() - started, tokens


def bare_gigatoken(text: Path, _: Path) -> Outcome:
    """Call `Tokenizer.encode` piece by piece."""
    tokenizer = gpt2.giga_tokenizer()
    tokenizer.encode(b"a")  # the first call imports numpy
    started = clock()
    tokens = sum(len(tokenizer.encode(piece)) for piece in pieces(text))
    return clock() - started, tokens


def bare_gigatoken_padded(text: Path, _: Path) -> Outcome:
    """Call `encode_batch_padded` piece by piece, which is what llmprep calls."""
    from gigatoken import BytesSource

    tokenizer = gpt2.giga_tokenizer()
    tokenizer.encode(b"a")
    started, tokens = clock(), 0
    for piece in filter(None, pieces(text)):
        _rows, lengths = tokenizer.encode_batch_padded(BytesSource([piece]), 0, parallel=False)
        tokens += int(lengths[0])
    return clock() - started, tokens


# --- what else one would take ---------------------------------------------------------------------


def gigatoken_files(text: Path, out: Path) -> Outcome:
    """Let gigatoken encode the file on all cores, and save the ids as one array."""
    import awkward
    import numpy as np

    tokenizer = gpt2.giga_tokenizer()
    started = clock()
    ids = awkward.to_numpy(awkward.flatten(tokenizer.encode_files(text)))
    with out.open("wb") as file:
        np.save(file, ids.astype(np.int64))
    return clock() - started, len(ids)


def nanogpt(text: Path, out: Path) -> Outcome:
    """Do what nanoGPT's data scripts do: encode the whole text to a list, write uint16 into a memory-mapped file."""
    import numpy as np

    encoding = gpt2.encoding()
    started = clock()
    ids = encoding.encode_ordinary(text.read_text(encoding="utf-8"))
    mapped = np.memmap(out, dtype=np.uint16, mode="w+", shape=(len(ids),))
    mapped[:] = ids
    mapped.flush()
    return clock() - started, len(ids)


def hugging_face(text: Path, out: Path) -> Outcome:
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
    started = clock()
    lines = datasets.load_dataset("text", data_files=str(text), split="train", keep_linebreaks=True)
    ids = lines.map(encode, batched=True, remove_columns=["text"], num_proc=CORES)
    blocks = ids.map(group, batched=True, num_proc=CORES)
    blocks.save_to_disk(out)
    return clock() - started, len(blocks) * MAX_LENGTH


def litdata_encode(span: tuple[int, int], *, text: str) -> Iterator[Any]:
    """Yield the ids of a span of the text as litdata stores them."""
    import torch

    with Path(text).open("rb") as file:
        file.seek(span[0])
        piece = file.read(span[1]).decode()
    yield torch.tensor(gpt2.encoding().encode_ordinary(piece), dtype=torch.int32)


def litdata_optimize(text: Path, out: Path) -> Outcome:
    """Let litdata's workers encode pieces into chunks for its `TokensLoader`."""
    from litdata import TokensLoader, optimize

    started = clock()
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
    seconds = clock() - started
    index = json.loads((out / "index.json").read_text(encoding="utf-8"))
    return seconds, sum(chunk["dim"] for chunk in index["chunks"])


def datatrove_tokenizer(text: Path, out: Path) -> Outcome:
    """Let datatrove's workers encode pieces of 4 KiB, the size of a web page, with Hugging Face tokenizers."""
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.tokens import DocumentTokenizer

    def read(_: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        for number, piece in enumerate(pieces(text, 4096)):
            if number % world_size == rank and piece:
                yield Document(text=piece.decode(), id=str(number))

    started = clock()
    writer = DocumentTokenizer(str(out), str(gpt2.TOKENIZER_JSON), shuffle_documents=False)
    LocalPipelineExecutor(
        [read, writer], tasks=CORES, workers=CORES, logging_dir=str(out.with_name("logs")), skip_completed=False
    ).run()
    seconds = clock() - started
    return seconds, sum(file.stat().st_size for file in out.glob("*.ds")) // 2


# --- the list -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way, and what to know of it. ``processes``: it has workers; ``writes``: it leaves a result on disk."""

    run: Callable[[Path, Path], Outcome]
    what: str
    processes: bool = False
    writes: bool = True
    plotted: bool = True


CONTESTANTS = {
    "textbook": Contestant(textbook, "tiktoken to a list, a loop of slices, torch.save; windows of 256, stride 128"),
    "llmprep": Contestant(llmprep(), "llmprep window --max-length 256 --stride 128"),
    "llmprep gigatoken": Contestant(llmprep("--backend", "gigatoken"), "--backend gigatoken", plotted=False),
    "llmprep tiktoken": Contestant(llmprep("--backend", "tiktoken"), "--backend tiktoken"),
    "llmprep uint16": Contestant(llmprep("--dtype", "uint16"), "--dtype uint16", plotted=False),
    "llmprep one job": Contestant(llmprep("--jobs", "1"), "--jobs 1", plotted=False),
    "bare tiktoken": Contestant(
        bare_tiktoken, "encode_to_numpy on pieces of 256 KiB, one thread, nothing written", writes=False
    ),
    "bare gigatoken": Contestant(
        bare_gigatoken, "Tokenizer.encode on pieces of 256 KiB, one thread, nothing written", writes=False
    ),
    "bare gigatoken padded": Contestant(
        bare_gigatoken_padded,
        "encode_batch_padded(BytesSource([piece])), otherwise the same",
        writes=False,
        plotted=False,
    ),
    "gigatoken files": Contestant(gigatoken_files, "encode_files on all cores, numpy.save as int64; ids, no windows"),
    "nanoGPT": Contestant(nanogpt, "tiktoken to a list, uint16 memmap; ids, no windows"),
    "datasets": Contestant(
        hugging_face,
        "load text, map tiktoken, group into blocks of 256, save_to_disk; encodes line by line",
        processes=True,
    ),
    "litdata": Contestant(litdata_optimize, "optimize with tiktoken for TokensLoader, int32; ids", processes=True),
    "datatrove": Contestant(
        datatrove_tokenizer,
        "DocumentTokenizer with tokenizers' BPE on documents of 4 KiB, uint16; ids, no windows",
        processes=True,
    ),
}


if __name__ == "__main__":
    name, source, target = sys.argv[1:]
    taken, n_tokens = CONTESTANTS[name].run(Path(source), Path(target))
    print(json.dumps({"seconds": taken, "tokens": n_tokens}), flush=True)

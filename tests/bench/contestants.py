"""The ways to turn a text into training data that are compared: `python contestants.py NAME TEXT OUT`.

llmprep is run as the command that it is; any other way is a function from a text and an output path to the number of
tokens, run in a process of its own. Either prints one line of JSON with `n_tokens`. Libraries are imported inside the
functions, so each pays for its own. Windows are of 256 tokens, with a stride of 128.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import gpt2

MAX_LENGTH, STRIDE = 256, 128

Way = Callable[[Path, Path], int]


def textbook(text: Path, out: Path) -> int:
    """Do what the course's GPTDatasetV1 does (rasbt/LLMs-from-scratch, chapter 2), then stack and save its rows."""
    import torch

    inputs, targets = [], []
    token_ids = gpt2.encoding().encode(text.read_text(encoding="utf-8"), allowed_special={gpt2.END_OF_TEXT})
    for i in range(0, len(token_ids) - MAX_LENGTH, STRIDE):
        inputs.append(torch.tensor(token_ids[i : i + MAX_LENGTH]))
        targets.append(torch.tensor(token_ids[i + 1 : i + MAX_LENGTH + 1]))
    torch.save({"input_ids": torch.stack(inputs), "target_ids": torch.stack(targets)}, out)
    return len(token_ids)


def nanogpt(text: Path, out: Path) -> int:
    """Do what nanoGPT's data scripts do: encode the whole text to a list, write uint16 into a memory-mapped file."""
    import numpy as np

    ids = gpt2.encoding().encode_ordinary(text.read_text(encoding="utf-8"))
    mapped = np.memmap(out, dtype=np.uint16, mode="w+", shape=(len(ids),))
    mapped[:] = ids
    mapped.flush()
    return len(ids)


CONTESTANTS: dict[str, Way | tuple[str, ...]] = {
    "textbook": textbook,
    "llmprep": (),
    "llmprep uint16": ("--dtype", "uint16"),
    "llmprep one job": ("--jobs", "1"),
    "llmprep tiktoken": ("--backend", "tiktoken"),
    "nanoGPT, ids only": nanogpt,
}
"""Functions, or options of `llmprep window`."""


def command_of(name: str, text: Path) -> tuple[str, ...]:
    """Return the command that runs a contestant."""
    run = CONTESTANTS[name]
    if callable(run):
        return (sys.executable, __file__, name, str(text), str(gpt2.OUT))
    window = (sys.executable, "-m", "llmprep", "window", str(text), "-o", str(gpt2.OUT), "--preview", "0", "--json")
    return (*window, "--max-length", str(MAX_LENGTH), "--stride", str(STRIDE), *run)


if __name__ == "__main__":
    _, name, source, target = sys.argv
    way = CONTESTANTS[name]
    if callable(way):
        print(json.dumps({"n_tokens": way(Path(source), Path(target))}), flush=True)

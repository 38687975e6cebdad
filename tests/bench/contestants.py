"""The ways to turn a text into training data that are compared: `python contestants.py NAME TEXT OUT`.

llmprep is run as the command that it is; any other way is a function from a text and an output path to the number of
tokens, run in a process of its own. Either prints one line of JSON with `n_tokens`. Libraries are imported inside the
functions, so each pays for its own.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import gpt2

MAX_LENGTH, STRIDE = 256, 128
PIECE_BYTES = 1 << 18

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


def pieces(text: Path) -> Iterator[bytes]:
    """Yield a file's bytes in pieces of about 256 KiB, cut before a space."""
    rest = b""
    with text.open("rb", buffering=0) as file:
        while data := file.read(PIECE_BYTES):
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
    from gigatoken import Tokenizer

    special = {gpt2.END_OF_TEXT: 50256}
    tokenizer = Tokenizer.from_tiktoken(gpt2.RANKS, pretokenizer="gpt2", special_tokens=special)
    return sum(len(tokenizer.encode(piece)) for piece in pieces(text))


def nanogpt(text: Path, out: Path) -> int:
    """Do what nanoGPT's data scripts do: encode the whole text to a list, write uint16 into a memory-mapped file."""
    import numpy as np

    ids = gpt2.encoding().encode_ordinary(text.read_text(encoding="utf-8"))
    mapped = np.memmap(out, dtype=np.uint16, mode="w+", shape=(len(ids),))
    mapped[:] = ids
    mapped.flush()
    return len(ids)


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way, and what to know of it.

    ``run`` is a function, or options of `llmprep window`; ``needs``: a package that llmprep does without; ``writes``:
    it leaves a result on disk.
    """

    run: Way | tuple[str, ...]
    what: str
    needs: str = ""
    writes: bool = True

    @property
    def missing(self) -> bool:
        """Whether it needs a package that is not installed."""
        return bool(self.needs) and find_spec(self.needs) is None


CONTESTANTS = {
    "textbook": Contestant(textbook, "tiktoken to a list, a loop of slices, torch.save; windows of 256, stride 128"),
    "llmprep": Contestant((), "llmprep window --max-length 256 --stride 128"),
    "llmprep uint16": Contestant(("--dtype", "uint16"), "--dtype uint16"),
    "llmprep one job": Contestant(("--jobs", "1"), "--jobs 1"),
    "llmprep tiktoken": Contestant(("--backend", "tiktoken"), "--backend tiktoken"),
    "bare tiktoken": Contestant(
        bare_tiktoken, "encode_to_numpy on pieces of 256 KiB, one thread, nothing written", writes=False
    ),
    "bare gigatoken": Contestant(
        bare_gigatoken, "Tokenizer.encode on pieces of 256 KiB, one thread, nothing written", "gigatoken", writes=False
    ),
    "nanoGPT": Contestant(nanogpt, "tiktoken to a list, uint16 memmap; ids, no windows"),
}


def command_of(name: str, text: Path, out: Path) -> list[str]:
    """Return the command that runs a contestant."""
    run = CONTESTANTS[name].run
    if callable(run):
        return [sys.executable, __file__, name, str(text), str(out)]
    window = [sys.executable, "-m", "llmprep", "window", str(text), "-o", str(out), "--preview", "0", "--json"]
    return [*window, "--max-length", str(MAX_LENGTH), "--stride", str(STRIDE), *run]


if __name__ == "__main__":
    name, source, target = sys.argv[1:]
    print(json.dumps({"n_tokens": CONTESTANTS[name].run(Path(source), Path(target))}), flush=True)

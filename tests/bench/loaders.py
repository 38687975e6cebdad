"""Compare loaders of shuffled windows from one token store: `python loaders.py [MB]`.

Each yields batches of 32 windows of 1,024 ids, inputs and targets as int64, in a process of its own; they take turns.
Before it is timed, one window of each of its first batches is looked up in the stream. Rates are medians of the batches
really taken, and leave out start-up. Writes build/bench-loaders.json. litdata is listed where it is not installed; the
exit code is 1 if any other loader has failed.
"""

import argparse
import json
import mmap
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from gpt2 import BUILD, FOLDER
from measure import Result, Run, race

STORE, FLAT, CHUNKS = FOLDER / "store", FOLDER / "flat.bin", FOLDER / "litdata"
BATCH_SIZE, MAX_LENGTH = 32, 1024
WARM_UP, BATCHES, ROUNDS = 20, 1000, 7
LITDATA, LITDATA_IDS = find_spec("litdata") is not None, 1 << 24


def llmprep_batches(num_workers: int) -> Iterable[Any]:
    """llmprep's Dataset and sampler in torch's DataLoader."""
    from torch.utils.data import DataLoader

    from llmprep import WindowDataset, WindowSampler, collate_windows

    dataset = WindowDataset(STORE, MAX_LENGTH, MAX_LENGTH)
    sampler = WindowSampler(dataset, seed=1)
    return DataLoader(
        dataset, BATCH_SIZE, sampler=sampler, num_workers=num_workers, collate_fn=collate_windows, drop_last=True
    )


def loop_batches(*, mapped: bool) -> Iterator[Any]:
    """The plain loop of nanoGPT's kind: random places of a flat file, each slice widened, then stacked.

    The same file as an np.memmap, as there, or as a plain array over the same map, of which slices are cheaper.
    """
    import numpy as np
    import torch

    ids = np.memmap(FLAT, np.uint16, "r")
    if not mapped:
        ids = np.asarray(ids)
    while True:
        starts = torch.randint(len(ids) - MAX_LENGTH, (BATCH_SIZE,)).tolist()
        inputs = [torch.from_numpy(ids[k : k + MAX_LENGTH].astype(np.int64)) for k in starts]
        targets = [torch.from_numpy(ids[k + 1 : k + 1 + MAX_LENGTH].astype(np.int64)) for k in starts]
        yield torch.stack(inputs), torch.stack(targets)


def litdata_batches(num_workers: int) -> Iterator[Any]:
    """litdata's streaming dataset of blocks of 1,025 ids, cut in two and widened here."""
    from litdata import StreamingDataLoader, StreamingDataset, TokensLoader

    dataset = StreamingDataset(str(CHUNKS), item_loader=TokensLoader(MAX_LENGTH + 1), shuffle=True, drop_last=True)
    for block in StreamingDataLoader(dataset, batch_size=BATCH_SIZE, num_workers=num_workers):
        rows = block.long()
        yield rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


LOADERS: dict[str, Callable[[], Iterable[Any]]] = {
    "memmap loop": partial(loop_batches, mapped=True),
    "plain array loop": partial(loop_batches, mapped=False),
    "llmprep": partial(llmprep_batches, 0),
    "llmprep, 2 workers": partial(llmprep_batches, 2),
    "litdata": partial(litdata_batches, 0),
    "litdata, 2 workers": partial(litdata_batches, 2),
}


def main() -> int:
    """Prepare, let the loaders take turns, show."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("megabytes", metavar="MB", type=int, nargs="?", default=200)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--run", metavar="LOADER", help="measure this one only, on what is there")
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps({"parts": {"a window": run(arguments.run)}}), flush=True)
        return 0
    prepare(arguments.megabytes)
    results = [Result(name, 0, (sys.executable, __file__, "--run", name)) for name in LOADERS]
    for result in results:
        if result.name.startswith("litdata") and not LITDATA:
            result.runs.append(Run(error="not installed"))
    race(results, arguments.rounds)
    failed = {result.name: result.error for result in results if result.error}
    show(arguments.megabytes, {result.name: 1 / result.timed() for result in results if not result.error}, failed)
    return int(any(not name.startswith("litdata") for name in failed))


def prepare(megabytes: int) -> None:
    """Make the text, the store, the same ids as a flat file, and litdata's chunks of them."""
    text, one_file = FOLDER / f"english-{megabytes}.txt", FOLDER / "tokens.pt"
    subprocess.run([sys.executable, str(Path(__file__).with_name("texts.py")), str(text)], check=True)
    tokenize = [sys.executable, "-m", "llmprep", "tokenize", "-q"]
    subprocess.run([*tokenize, str(text), "-o", f"{STORE}/", "--restart"], check=True)
    subprocess.run([*tokenize, str(STORE), "-o", str(one_file), "--dtype", "uint16"], check=True)
    import torch

    torch.load(one_file, weights_only=True, mmap=True)["token_ids"].numpy().tofile(FLAT)
    if not LITDATA:
        return
    from litdata import TokensLoader, optimize

    starts = list(range(0, FLAT.stat().st_size // 2, LITDATA_IDS))
    optimize(
        litdata_ids, starts, str(CHUNKS), chunk_bytes="64MB", item_loader=TokensLoader(MAX_LENGTH + 1), num_workers=1,
        reorder_files=False, mode="overwrite", start_method="fork", verbose=False,
    )  # fmt: skip


def litdata_ids(start: int) -> Iterator[Any]:
    """Yield some of the stream's ids as litdata stores them."""
    import numpy as np
    import torch

    yield torch.from_numpy(np.memmap(FLAT, np.uint16, "r")[start : start + LITDATA_IDS].astype(np.int32))


def run(name: str) -> float:
    """Take batches from one loader, and return its seconds a window; each is looked at, so that it is really there."""
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    in_a_pass = FLAT.stat().st_size // 2 // MAX_LENGTH // BATCH_SIZE
    batches = iter(LOADERS[name]())
    for inputs, targets in islice(batches, min(WARM_UP, in_a_pass // 4)):
        check(inputs, targets)
    began = time.perf_counter()
    taken = total = 0
    for inputs, targets in islice(batches, BATCHES):
        taken += 1
        total += int(inputs[0, 0]) + int(targets[-1, -1])
    if not total:
        raise ValueError("the store is too small for a batch")
    return (time.perf_counter() - began) / (taken * BATCH_SIZE)


def check(inputs: Any, targets: Any) -> None:
    """Raise ValueError unless a batch has the right shapes and dtypes, and its first row stands in the stream."""
    import torch

    if inputs.shape != (BATCH_SIZE, MAX_LENGTH) or (inputs.dtype, targets.dtype) != (torch.int64,) * 2:
        raise ValueError(f"a batch of {inputs.shape} {inputs.dtype}")
    if not torch.equal(inputs[:, 1:], targets[:, :-1]):
        raise ValueError("targets are not inputs moved by one")
    with FLAT.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        row = torch.cat([inputs[0], targets[0, -1:]]).numpy().astype("<u2").tobytes()
        if stream.find(row) % 2:  # also where it is not found
            raise ValueError("a window that is not in the stream")


def show(megabytes: int, table: dict[str, float], failed: dict[str, str]) -> None:
    """Print a table; what failed is in it with its reason."""
    print(
        f"up to {BATCHES} batches of {BATCH_SIZE} windows of {MAX_LENGTH}, shuffled; a store of {megabytes} MB of text"
    )
    for name in LOADERS:
        print(f"{name:<20} {failed.get(name) or f'{table[name]:>9,.0f} windows/s'}")
    values = {"megabytes": megabytes, "cores": os.cpu_count(), "windows_per_second": table, "failed": failed}
    (BUILD / "bench-loaders.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""Compare loaders of shuffled windows from one token store: `python loaders.py [MB]`.

Each yields batches of 32 windows of 1,024 ids, inputs and targets as int64, in a process of its own; they take turns.
Before it is timed, one window of each of its first batches is looked up in the stream. Rates are medians of the batches
really taken, and leave out start-up. Writes build/bench-loaders.json. litdata is listed where it is not installed; the
exit code is 1 if any other loader has failed.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import islice
from typing import Any

from gpt2 import BUILD
from measure import HERE

FOLDER = BUILD / "bench"
STORE, FLAT, CHUNKS = FOLDER / "store", FOLDER / "flat.bin", FOLDER / "litdata"
BATCH_SIZE, MAX_LENGTH = 32, 1024
WARM_UP, BATCHES, ROUNDS = 20, 1000, 7
LITDATA_IDS = 1 << 24
BASE = "memmap loop"


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
    BASE: partial(loop_batches, mapped=True),
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
        print(json.dumps(run(arguments.run)), flush=True)
        return 0
    prepare(arguments.megabytes)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in LOADERS}
    absent = "" if find_spec("litdata") else "not installed"
    failed = {name: absent for name in LOADERS if absent and name.startswith("litdata")}
    for number in range(arguments.rounds):
        for name in (name for name in LOADERS if name not in failed):
            command = [sys.executable, __file__, "--run", name]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            if ended.returncode:
                failed[name] = "failed: " + (ended.stderr.strip().splitlines() or ["no message"])[-1][:160]
                print(f"{name} {failed[name]}", file=sys.stderr)
            else:
                results[name].append(json.loads(ended.stdout.splitlines()[-1]))
                print(f"round {number + 1}, {name}: {results[name][-1]['rate']:,.0f} windows/s", file=sys.stderr)
    show(arguments.megabytes, results, failed)
    return int(any(not name.startswith("litdata") for name in failed))


def prepare(megabytes: int) -> None:
    """Make the text, the store, the same ids as a flat file, and litdata's chunks of them."""
    text, one_file = FOLDER / f"english-{megabytes}.txt", FOLDER / "tokens.pt"
    subprocess.run([sys.executable, str(HERE / "texts.py"), str(text)], check=True)
    tokenize = [sys.executable, "-m", "llmprep", "tokenize", "-q"]
    subprocess.run([*tokenize, str(text), "-o", f"{STORE}/", "--restart"], check=True)
    subprocess.run([*tokenize, str(STORE), "-o", str(one_file), "--dtype", "uint16"], check=True)
    import torch

    torch.load(one_file, weights_only=True, mmap=True)["token_ids"].numpy().tofile(FLAT)
    if find_spec("litdata") is None:
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


def run(name: str) -> dict[str, float]:
    """Take batches from one loader; each is looked at, so that it is really there."""
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    in_a_pass = FLAT.stat().st_size // 2 // MAX_LENGTH // BATCH_SIZE
    started = time.perf_counter()
    batches = iter(LOADERS[name]())
    for inputs, targets in islice(batches, min(WARM_UP, in_a_pass // 4)):
        check(name, inputs, targets)
    began = time.perf_counter()
    taken = total = 0
    for inputs, targets in islice(batches, BATCHES):
        taken += 1
        total += int(inputs[0, 0]) + int(targets[-1, -1])
    seconds = time.perf_counter() - began
    if not taken:
        message = f"{name}: the store is too small for a batch"
        raise ValueError(message)
    return {"rate": taken * BATCH_SIZE / seconds, "batches": taken, "start_up": began - started, "checksum": total}


def check(name: str, inputs: Any, targets: Any) -> None:
    """Raise ValueError unless a batch has the right shapes and dtypes, and its first row stands in the stream."""
    import torch

    if inputs.shape != (BATCH_SIZE, MAX_LENGTH) or (inputs.dtype, targets.dtype) != (torch.int64,) * 2:
        message = f"{name}: a batch of {inputs.shape} {inputs.dtype}"
        raise ValueError(message)
    if not torch.equal(inputs[:, 1:], targets[:, :-1]):
        message = f"{name}: targets are not inputs moved by one"
        raise ValueError(message)
    with FLAT.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        row = torch.cat([inputs[0], targets[0, -1:]]).numpy().astype("<u2").tobytes()
        if stream.find(row) % 2:  # also where it is not found
            message = f"{name}: a window that is not in the stream"
            raise ValueError(message)


def show(megabytes: int, results: dict[str, list[dict[str, float]]], failed: dict[str, str]) -> None:
    """Print a table; what failed is in it with its reason."""
    table = {name: statistics.median(run["rate"] for run in runs) for name, runs in results.items() if runs}
    print(
        f"up to {BATCHES} batches of {BATCH_SIZE} windows of {MAX_LENGTH}, shuffled; a store of {megabytes} MB of text"
    )
    for name in LOADERS:
        if name in failed:
            print(f"{name:<20} {failed[name]}")
            continue
        ratio = table[name] / table[BASE] if BASE in table else float("nan")
        start_up = statistics.median(run["start_up"] for run in results[name])
        print(f"{name:<20} {table[name]:>9,.0f} windows/s   x {ratio:.2f} of the {BASE}   start-up {start_up:.2f} s")
    values = {"megabytes": megabytes, "cores": os.cpu_count(), "windows_per_second": table, "failed": failed}
    (BUILD / "bench-loaders.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

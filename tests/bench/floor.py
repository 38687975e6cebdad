"""What a text costs at least: `python floor.py THREADS TEXT OUT`.

Bare gigatoken on blocks of 1 MiB, one sha256 of the text, one of the ids as uint32, the CRC-32 of the ids as uint16 and
a plain write of these, each timed by itself, after imports and when the tokenizers are there. Threads share the text
evenly, and the slowest is told. Prints JSON; `n_records` is how many documents texts.py makes of the text.
"""

import json
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

import gpt2
from texts import RECORD_BYTES, parts_of

PARTS = ("encode", "sha256 of text", "sha256 of ids", "crc32", "write")
BLOCK_BYTES = 1 << 20


def work(tokenizer: Any, data: bytes, out: Path) -> tuple[int, dict[str, float]]:
    """Do everything to a text; return its number of ids, and the seconds of each part."""
    from gigatoken import BytesSource

    of_text, of_ids, crc, n_tokens = sha256(), sha256(), 0, 0
    spent = dict.fromkeys(PARTS, 0.0)
    with out.open("wb", buffering=0) as file:
        for block in parts_of(data, BLOCK_BYTES):
            marks = [perf_counter()]
            rows, lengths = tokenizer.encode_batch_padded(BytesSource([block]), 0, parallel=False)
            ids = rows[0, : lengths[0]]
            marks.append(perf_counter())
            of_text.update(block)
            marks.append(perf_counter())
            of_ids.update(ids.astype("<u4", copy=False))
            marks.append(perf_counter())
            crc = zlib.crc32(narrow := ids.astype("<u2"), crc)
            marks.append(perf_counter())
            file.write(narrow)
            marks.append(perf_counter())
            n_tokens += len(ids)
            for k, part in enumerate(PARTS):
                spent[part] += marks[k + 1] - marks[k]
    return n_tokens, spent


def floor(threads: int, text: Path, out: Path) -> dict[str, Any]:
    """Share a text among threads."""
    data = text.read_bytes()
    shares = list(parts_of(data, len(data) // threads))
    made = [gpt2.gigatoken() for _ in shares]
    outs = [out.with_name(f"{out.name}-{k}") for k in range(len(shares))]
    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(work, made, shares, outs))
    slowest = max((spent for _, spent in done), key=lambda spent: sum(spent.values()))
    n_records = sum(1 for _ in parts_of(data, RECORD_BYTES))
    return {"n_tokens": sum(n for n, _ in done), "n_records": n_records, "parts": slowest}


if __name__ == "__main__":
    print(json.dumps(floor(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))), flush=True)

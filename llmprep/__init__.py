r"""llmprep turns text into training windows for language models.

    paths --documents--> blocks of text --tokens--> ids --windows--> windows --kinds, ptfile--> .pt file
                                                      \--preview--> what a person sees
    corpus --store, executors--> a folder of shards          a text, .pt file or store --inputs--> ids
    .pt file or store --datasets, sampler--> torch Dataset / DataLoader
    windows --embedding--> input embeddings

The public names below are imported on first use, so that ``import llmprep`` costs nothing. This module itself imports
nothing: with ``python -m llmprep`` it runs while the current folder is still searched first.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # to a type checker it is True
if TYPE_CHECKING:
    from llmprep.errors import LlmprepError
    from llmprep.pytorch.batches import collate_windows
    from llmprep.pytorch.datasets import WindowDataset
    from llmprep.pytorch.loaders import create_dataloader, load_windows
    from llmprep.pytorch.sampler import WindowSampler
    from llmprep.tokens.encoding import encode_text

__all__ = [
    "LlmprepError",
    "WindowDataset",
    "WindowSampler",
    "collate_windows",
    "create_dataloader",
    "encode_text",
    "load_windows",
]

_ROOMS = {
    "LlmprepError": "errors",
    "WindowDataset": "pytorch.datasets",
    "WindowSampler": "pytorch.sampler",
    "collate_windows": "pytorch.batches",
    "create_dataloader": "pytorch.loaders",
    "encode_text": "tokens.encoding",
    "load_windows": "pytorch.loaders",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'llmprep' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"llmprep.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

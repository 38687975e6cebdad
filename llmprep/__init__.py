r"""llmprep turns text into training windows for language models.

    paths --documents--> blocks of text --tokens--> ids --windows--> windows --formats, ptfile, output--> .pt files
                         vocabulary --^                  \--preview--> what a person sees
    a name --inputs--> texts, a .pt file or a store      corpus --store--> shards, read as one stream
    ids, files, stores --pytorch--> Dataset, sampler, batches, embeddings
    ids, windows, pairs --showing--> what a notebook shows of them

The public names below are imported on first use, so that ``import llmprep`` costs nothing. This module itself imports
nothing: with ``python -m llmprep`` it runs while the current folder is still searched first.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # to a type checker it is True
if TYPE_CHECKING:
    from llmprep.choices import BestFit, Building, Effort, Reading, Sharding, TextOptions, TokenizerFile
    from llmprep.errors import LlmprepError
    from llmprep.formats.vocabularies import decode_ids
    from llmprep.inputs import open_tokens
    from llmprep.pytorch.batches import collate_windows
    from llmprep.pytorch.datasets import WindowDataset
    from llmprep.pytorch.loaders import create_dataloader, load_windows
    from llmprep.pytorch.mixture import WindowMixture
    from llmprep.pytorch.mixture_plan import trace_mixture
    from llmprep.pytorch.sampler import WindowSampler
    from llmprep.pytorch.steps import trace_steps
    from llmprep.showing import Tokens
    from llmprep.store.build import build_store
    from llmprep.store.reading import TokenStore
    from llmprep.tokens.encoding import encode_text
    from llmprep.vocabulary.loading import load_vocabulary
    from llmprep.vocabulary.vocabulary import Vocabulary
    from llmprep.windows.planning import Goal, plan_run
    from llmprep.windows.schedule import Sampling

__all__ = [
    "BestFit",
    "Building",
    "Effort",
    "Goal",
    "LlmprepError",
    "Reading",
    "Sampling",
    "Sharding",
    "TextOptions",
    "TokenStore",
    "TokenizerFile",
    "Tokens",
    "Vocabulary",
    "WindowDataset",
    "WindowMixture",
    "WindowSampler",
    "build_store",
    "collate_windows",
    "create_dataloader",
    "decode_ids",
    "encode_text",
    "load_vocabulary",
    "load_windows",
    "open_tokens",
    "plan_run",
    "trace_mixture",
    "trace_steps",
]

_ROOMS = {
    "BestFit": "choices",
    "Building": "choices",
    "Effort": "choices",
    "Goal": "windows.planning",
    "LlmprepError": "errors",
    "Reading": "choices",
    "Sampling": "windows.schedule",
    "Sharding": "choices",
    "TextOptions": "choices",
    "TokenStore": "store.reading",
    "TokenizerFile": "choices",
    "Tokens": "showing",
    "Vocabulary": "vocabulary.vocabulary",
    "WindowDataset": "pytorch.datasets",
    "WindowMixture": "pytorch.mixture",
    "WindowSampler": "pytorch.sampler",
    "build_store": "store.build",
    "collate_windows": "pytorch.batches",
    "create_dataloader": "pytorch.loaders",
    "decode_ids": "formats.vocabularies",
    "encode_text": "tokens.encoding",
    "load_vocabulary": "vocabulary.loading",
    "load_windows": "pytorch.loaders",
    "open_tokens": "inputs",
    "plan_run": "windows.planning",
    "trace_mixture": "pytorch.mixture_plan",
    "trace_steps": "pytorch.steps",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'llmprep' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"llmprep.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

"""Promises of looking back at steps: what they are said to have seen is what loaders gave, and what lies in the files.

Of ``pytorch/steps.py``, ``pytorch/mixture_plan.py`` and ``store/tracing.py``.
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import pytest
from support.reference import tiktoken_encoding
from support.stores import GPT2, build, make_corpus, write_files
from torch.utils.data import DataLoader

from llmprep.choices import Exhausted, TextOptions
from llmprep.errors import DataError, UsageError
from llmprep.pytorch.datasets import WindowDataset
from llmprep.pytorch.mixture import WindowMixture
from llmprep.pytorch.mixture_plan import mix_stores, plan_mixture, trace_mixture
from llmprep.pytorch.sampler import WindowSampler
from llmprep.pytorch.steps import trace_steps
from llmprep.store.provenance import Place
from llmprep.store.reading import TokenStore
from llmprep.store.tracing import trace_runs
from llmprep.windows.planning import Goal
from llmprep.windows.schedule import Sampling


def texts_of(folder: Path) -> dict[tuple[str, int], bytes]:
    """The text of each document, by the name of its file and its number there."""
    texts: dict[tuple[str, int], bytes] = {}
    for path in folder.rglob("*.*"):
        data, name = path.read_bytes(), str(path.relative_to(folder))
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        lines = [json.loads(line)["text"].encode() for line in data.splitlines()] if path.suffix == ".jsonl" else [data]
        texts |= {(name, number): line for number, line in enumerate(lines, 1)}
    return texts


def bytes_of(places: Iterable[Place], folder: Path, texts: Mapping[tuple[str, int], bytes]) -> bytes:
    """What places name: bytes of the file, or of a document's text, newlines as Python reads them."""
    parts = []
    for place in places:
        assert place.document is not None
        text = texts[place.name, place.document].removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
        parts.append(((folder / place.name).read_bytes() if place.exact else text)[place.begin : place.end])
    return b"".join(parts)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of texts of every sort, with a second file of records, some of them empty or with an end of text."""
    folder = make_corpus(tmp_path / "corpus")
    records = ["one two", "", "three<|endoftext|>four", "\u4e2d\u6587 five", ""]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in records)
    write_files(folder, {"z.jsonl": lines, "g_windows.txt": "one line\r\n" * 1500})
    return folder


@pytest.mark.filterwarnings("ignore:the last")
@pytest.mark.parametrize(
    ("ranks", "batch_size", "drop_last", "separator"),
    [(3, 4, False, "eot"), (1, 5, False, "none"), (1, 5, True, "eot")],
)
def test_steps_saw_what_loaders_gave(
    corpus: Path, ranks: int, batch_size: int, drop_last: bool, separator: str
) -> None:
    """Over two epochs, of all ranks, row for row: the loaders' ids, whose bytes are those of the files named."""
    build(corpus, "store", val_fraction=0.1, options=TextOptions(separator=separator))  # type: ignore[arg-type]
    whole = TokenStore("store")
    for part in ("train", "val"):
        store = TokenStore("store", part)
        sampling = Sampling(48, 40, batch_size, ranks, drop_last, seed=7)
        n_steps = sampling.schedule(len(store)).steps_per_epoch
        seen = iter(trace_steps(store, sampling, (1, 2 * n_steps)))
        dataset = WindowDataset("store", 48, 40, split=part)
        samplers = [
            WindowSampler(dataset, seed=7, rank=rank, world_size=ranks, batch_size=batch_size) for rank in range(ranks)
        ]
        loaders = [DataLoader(dataset, batch_size, sampler=each, drop_last=drop_last) for each in samplers]
        separators = {document.start - 1 for document in whole.documents()} if separator == "eot" else set()
        texts, decode = texts_of(corpus), tiktoken_encoding("gpt2").decode_bytes
        for epoch in range(2):
            passes = [iter(loader) for loader in loaders]
            for step in range(1 + epoch * n_steps, 1 + (epoch + 1) * n_steps):
                for rank, batches in enumerate(passes):
                    for row, (inputs, targets) in enumerate(zip(*next(batches), strict=True)):
                        found = next(seen)
                        assert (found.step, found.epoch, found.rank, found.row) == (step, epoch, rank, row)
                        ids = [*inputs.tolist(), targets[-1].item()]
                        assert store[found.first : found.first + 49].tolist() == ids
                        first = store.first + found.first
                        kept = [each for place, each in enumerate(ids, first) if place not in separators]
                        assert bytes_of(found.places, corpus, texts) == decode(kept)
        assert next(seen, None) is None


def test_every_run_of_tokens_is_traced(corpus: Path) -> None:
    """From any token on: the places have the bytes of the tokens, separators left out, and one a document."""
    build(corpus, "store")
    store, texts, decode = TokenStore("store"), texts_of(corpus), tiktoken_encoding("gpt2").decode_bytes
    ids, separators = store[:], {document.start - 1 for document in store.documents()}
    firsts = sorted({*range(0, len(store) - 5, 7), *(place + k for place in separators for k in (-4, 0) if place > 4)})
    for first, places in zip(firsts, trace_runs(store, firsts, 5, GPT2.token_table()), strict=True):
        kept = [int(ids[place]) for place in range(first, first + 5) if place not in separators]
        assert bytes_of(places, corpus, texts) == decode(kept)
        assert len({(place.name, place.document) for place in places}) == len(places)
    assert {place.begin for places in trace_runs(store, firsts[:9], 5) for place in places} == {None}


@pytest.mark.filterwarnings("ignore:the last")
@pytest.mark.parametrize("exhausted", ["repeat", "stop", "drop"])
def test_steps_of_a_mixture_are_its_loaders(corpus: Path, exhausted: Exhausted) -> None:
    """Over more than a pass: a mixture's steps saw the rows of its loaders; a plan counts them, store by store."""
    build(corpus / "a_long.txt", "web")
    build([corpus / "z.jsonl", corpus / "d_records.jsonl"], "code", val_fraction=0.3)
    stores = {"web": TokenStore("web"), "code": TokenStore("code", "train")}
    sampling, weights = Sampling(16, 12, 3, 2, seed=9), {"web": 0.6, "code": 0.4}
    sources = {name: (store, weights[name]) for name, store in stores.items()}
    mixture = WindowMixture(sources, 16, 12, seed=9, exhausted=exhausted)
    mixing = mix_stores(stores, weights, sampling, exhausted)
    n_steps = len(mixture) // 6
    seen = trace_mixture(stores, weights, sampling, (1, n_steps + 5), exhausted=exhausted)
    loaders = [DataLoader(mixture, 3, sampler=mixture.sampler(rank=r, world_size=2, batch_size=3)) for r in range(2)]
    batches = [[batch for _ in range(2) for batch in loader] for loader in loaders]
    rows = [row for step in zip(*batches, strict=True) for inputs, _ in step for row in inputs.tolist()]
    assert len(rows) == 2 * 6 * n_steps
    for found, row in zip(seen, rows, strict=False):
        assert found.source is not None
        assert stores[found.source][found.first : found.first + 16].tolist() == row
    for steps in (1, 7, n_steps, n_steps + 5):
        planned = plan_mixture(mixing, sampling, Goal(steps=steps))
        taken = Counter(found.source or "" for found in seen if found.step <= steps)
        assert {source.name: source.n_windows for source in planned.sources} == {"web": 0, "code": 0} | taken
        assert (planned.n_windows, planned.passes) == (6 * steps, Fraction(steps, n_steps))
        assert {s.name: s.epochs * len(mixture.sources[s.name]) for s in planned.sources} == taken
    gone = [source.used_up for source in planned.sources if source.used_up is not None]
    assert gone == [start for start, counts in mixture.stages if start and len(counts) == 1]


def test_steps_of_an_epoch_are_those_over_all(corpus: Path) -> None:
    """Counted within an epoch, steps are the same windows as over all epochs; those that are not there are refused."""
    build(corpus, "store")
    store, sampling = TokenStore("store"), Sampling(64, 64, 4, 2)
    n_steps = sampling.schedule(len(store)).steps_per_epoch
    within, over = (trace_steps(store, sampling, (2 + k, 3 + k), epoch=e) for k, e in ((0, 3), (3 * n_steps, None)))
    assert [(each.step, each.epoch) for each in within[::8]] == [(2, 3), (3, 3)]
    assert [(each.window, each.places) for each in within] == [(each.window, each.places) for each in over]
    for steps, epoch, said in (
        ((0, 1), None, "from 1 on"),
        ((3, 2), None, "first comes first"),
        ((1, 999), 1, "an epoch"),
    ):
        with pytest.raises(UsageError, match=said):
            trace_steps(store, sampling, steps, epoch=epoch)
    with pytest.raises(DataError, match="the largest max_length that works"):
        trace_steps(store, Sampling(10**6, 1), (1, 1))

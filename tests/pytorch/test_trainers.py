"""Promises of the sampler under loaders and trainers that others wrote: torch, torchdata, Lightning and accelerate.

Nothing is imitated: each is used as its users would. Three passes give the epochs 0, 1 and 2; stopped anywhere and made
anew, everything goes on as if it had not stopped.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.commands import ROOT
from support.loading import numbered, numbers
from torch.utils.data import DataLoader

from llmprep.pytorch.batches import collate_windows
from llmprep.pytorch.sampler import WindowSampler

SEED = 3
BATCH = 4
EXACT, PARTIAL = 44, 42
"""Numbers of windows: 11 batches, or 10 and a last one of two windows."""

Batches = list[list[int]]
Seen = dict[int, Batches]
"""The batches of each epoch, by the number that Lightning gives it."""
Fit = Callable[..., Seen]
Loading = dict[str, Any]

ALONE: Loading = {}
WORKERS: Loading = {"num_workers": 2}
READER: Loading = {"num_workers": 1, "prefetch_factor": 4}
STAYING: Loading = {**READER, "persistent_workers": True}
DROPPED: Loading = {"drop_last": True}
LOADINGS: list[Any] = [
    pytest.param(ALONE, id="no workers"),
    pytest.param(READER, id="a worker"),
    pytest.param(STAYING, id="a worker that stays"),
]
CASES: list[Any] = [
    pytest.param(EXACT, ALONE, id="no workers, whole batches"),
    pytest.param(PARTIAL, DROPPED, id="no workers, the partial last batch dropped"),
    pytest.param(PARTIAL, WORKERS, id="2 workers, a partial last batch"),
    pytest.param(PARTIAL, {**STAYING, **DROPPED}, id="a worker that stays, the partial last batch dropped"),
]
LIGHTNING = [CASES[1], pytest.param(PARTIAL, READER, id="a worker, a partial last batch"), CASES[3]]

pytestmark = [
    pytest.mark.slow,
    # Python 3.12 warns where a process with threads forks, as torch's workers do.
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    # torchdata 0.11 and Lightning 2.6 call what torch 2.13 will take away.
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
    # Lightning says that there could be more workers, and that a plain DataLoader cannot resume by itself.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable"),
]


def one_pass(loader: Any) -> Batches:
    """The batches of one pass, as window numbers."""
    return [numbers(batch) for batch in loader]


def epochs(n: int, count: int, *, drop_last: bool = False, **_: Any) -> list[Batches]:
    """What the first epochs must be, from the order itself."""
    orders = [list(WindowSampler(range(n), seed=SEED, epoch=epoch)) for epoch in range(count)]
    whole = range(0, n - n % BATCH if drop_last else n, BATCH)
    return [[order[first : first + BATCH] for first in whole] for order in orders]


def made(kind: type[DataLoader[Any]], n: int, seed: int = SEED, **loading: Any) -> Any:
    """A loader with a sampler of its own."""
    dataset = numbered(n)
    sampler = WindowSampler(dataset, seed=seed)
    return kind(dataset, BATCH, sampler=sampler, collate_fn=collate_windows, **loading)


def flat(passes: list[Batches]) -> Batches:
    """Batch after batch."""
    return [batch for each in passes for batch in each]


@pytest.fixture(scope="module")
def stateful() -> type[DataLoader[Any]]:
    """The loader of torchdata."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    loader: type[DataLoader[Any]] = StatefulDataLoader
    return loader


# --- torch and torchdata --------------------------------------------------------------------------


@pytest.mark.parametrize("loading", LOADINGS)
@pytest.mark.parametrize("kind", ["torch", "torchdata"])
def test_passes_of_a_loader_are_epochs(kind: str, loading: Loading, stateful: type[DataLoader[Any]]) -> None:
    """Three passes are the epochs 0, 1 and 2, however often a loader asks for an iterator; without batches too."""
    loader_of = DataLoader if kind == "torch" else stateful
    dataset = numbered(6)
    single = loader_of(dataset, None, sampler=WindowSampler(dataset, seed=SEED), **loading)
    loader = made(loader_of, PARTIAL, **loading)

    assert [one_pass(loader) for _ in range(3)] == epochs(PARTIAL, 3)
    for epoch in epochs(6, 3):
        assert [int(window[0][0]) // 10 for window in single] == list(itertools.chain(*epoch))


def every_state(loader: Any, passes: int) -> Iterator[tuple[int, int, Any]]:
    """Run passes, and give the loader's state before, between and after all batches, with the epoch and the batch.

    At the end of a pass there are two: before the loader was asked for more, and after.
    """
    for epoch in range(passes):
        done = 0
        for done, _ in enumerate(loader, 1):
            yield epoch, done, copy.deepcopy(loader.state_dict())
        yield epoch, done, copy.deepcopy(loader.state_dict())


@pytest.mark.parametrize("first", [None, 0, 1], ids=["", "in a loop that counts from 0", "in a loop that goes on"])
@pytest.mark.parametrize(("n", "loading"), CASES)
def test_a_stateful_loader_goes_on_after_any_batch(
    n: int, loading: Loading, first: int | None, stateful: type[DataLoader[Any]]
) -> None:
    """A state taken anywhere gives what was to come, over the next boundary too; set_epoch changes nothing."""
    expected = epochs(n, 4, **loading)
    last = len(expected[0])
    wanted = ((0, 7), (1, 7), (0, last), (1, last)) if first is None else ((1, 7), (1, last))
    states = [each for each in every_state(made(stateful, n, **loading), 2) if each[:2] in wanted]
    assert len(states) == len(wanted) * 3 // 2  # two at the end of an epoch, before and after the loop has come to it

    for epoch, done, state in states:
        loader = made(stateful, n, seed=9, **loading)
        loader.load_state_dict(state)
        coming = []
        for number in range(0 if first is None else first + done // last, 2 if first is None else first + 3):
            if first is not None:
                loader.sampler.set_epoch(number)
            coming += one_pass(loader)
        rest = flat([expected[epoch][done:], *expected[epoch + 1 :]])
        assert coming == rest[: len(coming)], (epoch, done)
        assert len(coming) >= last, (epoch, done)


@pytest.mark.parametrize("loading", LOADINGS)
def test_a_stateful_loader_goes_on_from_odd_places(loading: Loading, stateful: type[DataLoader[Any]]) -> None:
    """From a pass not begun after a break, from an older snapshot, and in epochs that workers read ahead whole."""
    expected = epochs(PARTIAL, 4)
    loader = made(stateful, PARTIAL, **loading)
    for _ in range(3):
        next(iter(loader))
    iter(loader)
    resumed = made(stateful, PARTIAL, **loading)
    resumed.load_state_dict(copy.deepcopy(loader.state_dict()))
    assert one_pass(resumed) == expected[3]

    loader = made(stateful, PARTIAL, snapshot_every_n_steps=3, **loading)
    state = next(state for _, done, state in every_state(loader, 1) if done == 8)
    resumed = made(stateful, PARTIAL, snapshot_every_n_steps=3, **loading)
    resumed.load_state_dict(state)
    assert [one_pass(resumed), one_pass(resumed)] == [expected[0][8:], expected[1]]

    short = epochs(6, 4)
    for epoch, done, state in list(every_state(made(stateful, 6, **loading), 2))[2:]:
        resumed = made(stateful, 6, **loading)
        resumed.load_state_dict(state)
        coming = flat([one_pass(resumed) for _ in range(2)])
        assert coming == flat([short[epoch][done:], *short[epoch + 1 :]])[: len(coming)]


# --- Lightning ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def windows_module() -> type[Any]:
    """The DataModule that README shows."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    (block,) = (each for each in blocks if "LightningDataModule" in each)
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - our own README
    module: type[Any] = names["Windows"]
    return module


class KilledError(Exception):
    """Ends a training as if it were killed."""


def a_model(path: Path, save: tuple[str, int] | None) -> Any:
    """A model that keeps the batches of each epoch in ``seen``, and where ``save`` says writes a checkpoint and dies.

    ``save`` is after a ("step", count) or at the end of an ("epoch", number).
    """
    from pytorch_lightning import LightningModule

    class Model(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.seen: Seen = {}

        def training_step(self, batch: Any, _index: int) -> torch.Tensor:
            self.seen.setdefault(self.current_epoch, []).append(numbers(batch))
            return (self.weight * 0).sum()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD([self.weight], lr=0.1)

        def on_train_batch_end(self, *_: Any) -> None:
            self.end(("step", self.global_step))

        def on_train_epoch_end(self) -> None:
            self.end(("epoch", self.current_epoch))

        def end(self, now: tuple[str, int]) -> None:
            if now == save:
                self.trainer.save_checkpoint(path)
                raise KilledError

    return Model()


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """Train with a fresh Trainer, and return the batches of each of its epochs.

    ``save`` says when a checkpoint is written, after which the training is killed; ``resume`` goes on from it.
    """
    from pytorch_lightning import LightningDataModule, Trainer

    def train(data: Any, save: tuple[str, int] | None = None, *, resume: bool = False, **choices: Any) -> Seen:
        path = tmp_path / "a.ckpt"
        model = a_model(path, save)
        quiet = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
        choices = {"max_epochs": 3, "accelerator": "cpu", "devices": 1, **dict.fromkeys(quiet, False), **choices}
        trainer = Trainer(**choices)
        given = "datamodule" if isinstance(data, LightningDataModule) else "train_dataloaders"
        with pytest.raises(KilledError) if save else contextlib.nullcontext():
            trainer.fit(model, **{given: data}, ckpt_path=path if resume else None)
        seen: Seen = model.seen
        return seen

    return train


def gone_on(expected: list[Batches], epoch: int, done: int, until: int = 3) -> Seen:
    """What Lightning must see from so many batches of an epoch on."""
    rest = {epoch: expected[epoch][done:], **{later: expected[later] for later in range(epoch + 1, until)}}
    return {each: batches for each, batches in rest.items() if batches}


@pytest.mark.parametrize(("n", "loading"), LIGHTNING)
def test_lightning_goes_on_with_the_module_of_readme(
    n: int, loading: Loading, fit: Fit, windows_module: type[Any]
) -> None:
    """A checkpoint in an epoch, at its last batch and at its end, goes on exactly in a fresh Trainer; and once more.

    Its epochs are the sampler's, though it sets the epoch after workers have begun to read.
    """
    expected = epochs(n, 3, **loading)
    last = len(expected[0])
    saves = {("step", 7): (0, 7), ("step", last): (1, 0), ("epoch", 0): (1, 0), ("step", last + 7): (1, 7)}

    def module() -> Any:
        return windows_module(numbered(n), BATCH, seed=SEED, **loading)

    assert fit(module()) == dict(enumerate(expected))
    for save, (epoch, done) in saves.items():
        fit(module(), save)
        assert fit(module(), resume=True) == gone_on(expected, epoch, done), save

    fit(module(), ("step", 7))
    fit(module(), ("step", 9), resume=True)
    assert fit(module(), resume=True) == gone_on(expected, 0, 9)


@pytest.mark.parametrize(("n", "loading"), LIGHTNING[:2])
def test_lightning_goes_on_with_a_stateful_loader(
    n: int, loading: Loading, fit: Fit, stateful: type[DataLoader[Any]]
) -> None:
    """Lightning keeps such a loader's state itself: a checkpoint in any epoch's middle goes on exactly."""
    expected = epochs(n, 3, **loading)
    last = len(expected[0])

    for epoch in range(2):
        fit(made(stateful, n, **loading), ("step", epoch * last + 7))
        resumed = made(stateful, n, **loading)
        assert fit(resumed, resume=True) == gone_on(expected, epoch, 7)
        assert len(resumed) == last


@pytest.mark.parametrize(("start", "loading"), [(28, ALONE), (38, READER), (0, STAYING)])
def test_a_fresh_lightning_goes_on_with_a_loaded_sampler(start: int, loading: Loading, fit: Fit) -> None:
    """A Trainer that counts from 0 goes on at the loaded place, and then from epoch to epoch."""
    order = list(WindowSampler(range(PARTIAL), seed=SEED, epoch=1))[start:]
    loader = made(DataLoader, PARTIAL, seed=9, **loading)
    loader.sampler.load_state_dict(WindowSampler(numbered(PARTIAL), seed=SEED, epoch=1, start=start).state_dict())

    seen = fit(loader)

    assert list(itertools.chain(*seen.pop(0))) == order
    assert seen == dict(enumerate(epochs(PARTIAL, 4)[2:], 1))


@pytest.mark.parametrize("loading", [ALONE, READER], ids=["no workers", "a worker"])
def test_lightning_loses_an_epoch_after_its_last_batch(loading: Loading, fit: Fit, stateful: type[Any]) -> None:
    """README's first warning, which holds for torchdata's sampler as well: with workers the next epoch is empty.

    The loader that is loaded at its end is at its end, and Lightning takes it for the next epoch's. Should this fail,
    Lightning has learned it: the warning may go.
    """
    fit(made(stateful, PARTIAL, **loading), ("step", 11))
    seen = fit(made(stateful, PARTIAL, **loading), resume=True)

    assert seen == gone_on(epochs(PARTIAL, 3), 2 if loading else 1, 0)


@pytest.mark.parametrize("kind", ["torch", "torchdata"])
def test_lightning_goes_on_after_an_epoch_with_the_first_order(kind: str, fit: Fit, stateful: type[Any]) -> None:
    """README's second warning, which holds for torch's DistributedSampler as well: workers read before set_epoch.

    Should this fail, Lightning has learned it: the warning may go.
    """
    loader_of, expected = DataLoader if kind == "torch" else stateful, epochs(PARTIAL, 3)

    assert fit(made(loader_of, PARTIAL, **READER)) == dict(enumerate(expected))
    fit(made(loader_of, PARTIAL, **READER), ("epoch", 0))
    assert fit(made(loader_of, PARTIAL, **READER), resume=True) == {1: expected[0], 2: expected[2]}


# --- accelerate -----------------------------------------------------------------------------------


@pytest.fixture
def prepared() -> Callable[..., tuple[Any, Any]]:
    """An Accelerator made anew, and the loader that it prepares."""
    from accelerate import Accelerator, DataLoaderConfiguration

    def prepare(loader: DataLoader[Any], *, stateful: bool = False) -> tuple[Any, Any]:
        choices = DataLoaderConfiguration(use_stateful_dataloader=stateful)
        accelerator = Accelerator(cpu=True, dataloader_config=choices)
        return accelerator, accelerator.prepare(loader)

    return prepare


@pytest.mark.parametrize("loading", [ALONE, READER], ids=["no workers", "a worker"])
def test_accelerate_passes_are_epochs(
    loading: Loading, prepared: Callable[..., tuple[Any, Any]], stateful: type[DataLoader[Any]]
) -> None:
    """It sets the epoch, from 0 on, before each pass: that changes nothing, also of a place that was loaded before."""
    expected = epochs(PARTIAL, 4)
    _, plain = prepared(made(DataLoader, PARTIAL, **loading))
    _, other = prepared(made(stateful, PARTIAL, **loading), stateful=True)
    loaded = made(DataLoader, PARTIAL, seed=9, **loading)
    loaded.sampler.load_state_dict(WindowSampler(numbered(PARTIAL), seed=SEED, epoch=1, start=28).state_dict())
    _, loaded = prepared(loaded)

    assert [one_pass(plain) for _ in range(3)] == [one_pass(other) for _ in range(3)] == expected[:3]
    assert [one_pass(loaded) for _ in range(3)] == [expected[1][7:], *expected[2:]]


@pytest.mark.parametrize(
    ("loading", "told"), [(DROPPED, False), (ALONE, True), (READER, False), ({**STAYING, **DROPPED}, True)]
)
def test_accelerate_goes_on_after_any_batch(
    loading: Loading, told: bool, tmp_path: Path, prepared: Callable[..., tuple[Any, Any]], stateful: type[Any]
) -> None:
    """save_state in an epoch, at its last batch and after it, and load_state in an Accelerator made anew.

    Its loader counts from 0 again, or is told the epoch.
    """
    expected = epochs(PARTIAL, 5, **loading)
    last = len(expected[0])
    for epoch, done in ((0, 7), (1, 7), (1, last), (1, None)):
        accelerator, loader = prepared(made(stateful, PARTIAL, **loading), stateful=True)
        for _ in range(epoch + (done is None)):
            one_pass(loader)
        for now, _ in enumerate(loader if done else [], 1):
            if now == done:
                break
        accelerator.save_state(tmp_path)

        again, resumed = prepared(made(stateful, PARTIAL, seed=9, **loading), stateful=True)
        again.load_state(tmp_path)
        if told:
            resumed.set_epoch(epoch + (done in (None, last)))
        coming = flat([one_pass(resumed) for _ in range(2)])
        rest = flat([expected[epoch][last if done is None else done :], *expected[epoch + 1 :]])
        assert coming == rest[: len(coming)]
        assert len(coming) > last


@pytest.mark.parametrize(("epoch", "loading"), [(0, ALONE), (1, READER)])
def test_accelerate_skips_first_batches(epoch: int, loading: Loading, prepared: Callable[..., tuple[Any, Any]]) -> None:
    """set_epoch and skip_first_batches go on where a loop stopped, with a sampler that was not loaded."""
    expected = epochs(PARTIAL, 4)
    accelerator, loader = prepared(made(DataLoader, PARTIAL, **loading))

    loader.set_epoch(epoch)
    coming = [one_pass(accelerator.skip_first_batches(loader, 7))]
    for later in (epoch + 1, epoch + 2):
        loader.set_epoch(later)
        coming.append(one_pass(loader))

    assert coming == [expected[epoch][7:], expected[epoch + 1], expected[epoch + 2]]


def test_accelerate_shares_batches_out() -> None:
    """Its processes draw one order, of a sampler that knows of no ranks, and each window comes once an epoch."""
    from accelerate import Accelerator
    from accelerate.data_loader import prepare_data_loader

    Accelerator(cpu=True)
    shares = [
        prepare_data_loader(made(DataLoader, PARTIAL), num_processes=2, process_index=process, even_batches=False)
        for process in range(2)
    ]

    for epoch in epochs(PARTIAL, 3):
        assert [one_pass(share) for share in shares] == [epoch[0::2], epoch[1::2]]

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

import numpy as np
import pytest
import torch
from support.commands import ROOT, Call
from torch.utils.data import DataLoader, DistributedSampler

from llmprep.pytorch.batches import collate_windows
from llmprep.pytorch.datasets import WindowDataset
from llmprep.pytorch.loaders import create_dataloader
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

WORKERS: list[Any] = [
    pytest.param({}, id="no workers"),
    pytest.param({"num_workers": 2}, id="2 workers"),
    pytest.param({"num_workers": 2, "persistent_workers": True}, id="2 workers that stay"),
]
ENDINGS: list[Any] = [
    pytest.param(EXACT, {}, id="whole batches"),
    pytest.param(PARTIAL, {}, id="a partial last batch"),
    pytest.param(PARTIAL, {"drop_last": True}, id="the partial last batch dropped"),
]

pytestmark = [
    # Python 3.12 warns where a process with threads forks, as torch's workers do.
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    # torchdata 0.11 and Lightning 2.6 call what torch 2.13 will take away.
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
]

quiet_lightning = [
    # That there could be more workers, and that a plain DataLoader cannot resume by itself: the sampler does it.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable"),
]


def numbered(n: int) -> WindowDataset:
    """A dataset of n windows whose first ids tell their numbers."""
    return WindowDataset(np.arange(10 * n + 1, dtype=np.uint16), 10, 10)


def numbers(batch: Any) -> list[int]:
    """The numbers of a batch's windows."""
    return [int(first) // 10 for first in batch[0][:, 0]]


def one_pass(loader: Any) -> Batches:
    """The batches of one pass, as window numbers."""
    return [numbers(batch) for batch in loader]


def epochs(n: int, count: int, *, drop_last: bool = False) -> list[Batches]:
    """What the first epochs must be, from the order itself."""
    orders = [list(WindowSampler(range(n), seed=SEED, epoch=epoch)) for epoch in range(count)]
    whole = range(0, n - n % BATCH if drop_last else n, BATCH)
    return [[order[first : first + BATCH] for first in whole] for order in orders]


def made(kind: type[DataLoader[Any]], n: int, seed: int = SEED, **loading: Any) -> DataLoader[Any]:
    """A loader with a sampler of its own."""
    dataset = numbered(n)
    sampler = WindowSampler(dataset, seed=seed)
    return kind(dataset, BATCH, sampler=sampler, collate_fn=collate_windows, **loading)


@pytest.fixture(scope="module")
def stateful() -> type[DataLoader[Any]]:
    """The loader of torchdata."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    loader: type[DataLoader[Any]] = StatefulDataLoader
    return loader


# --- torch and torchdata


@pytest.mark.slow
@pytest.mark.parametrize("loading", WORKERS)
@pytest.mark.parametrize("kind", ["torch", "torchdata"])
def test_passes_of_a_loader_are_epochs(kind: str, loading: Loading, stateful: type[DataLoader[Any]]) -> None:
    """Three passes are the epochs 0, 1 and 2, each window once in each, however often a loader asks for an iterator."""
    loader = made(DataLoader if kind == "torch" else stateful, PARTIAL, **loading)

    passes = [one_pass(loader) for _ in range(3)]

    assert passes == epochs(PARTIAL, 3)
    assert [sorted(itertools.chain(*each)) for each in passes] == [list(range(PARTIAL))] * 3


@pytest.mark.slow
@pytest.mark.parametrize("loading", WORKERS)
@pytest.mark.parametrize("kind", ["torch", "torchdata"])
def test_passes_without_batches_are_epochs(kind: str, loading: Loading, stateful: type[DataLoader[Any]]) -> None:
    """The same where a loader draws from the sampler itself, window by window."""
    dataset = numbered(6)
    loader_of = DataLoader if kind == "torch" else stateful
    loader = loader_of(dataset, None, sampler=WindowSampler(dataset, seed=SEED), **loading)

    passes = [[int(window[0][0]) // 10 for window in loader] for _ in range(3)]

    assert passes == [list(itertools.chain(*epoch)) for epoch in epochs(6, 3)]


def every_state(loader: Any, passes: int) -> Iterator[tuple[int, int, Any]]:
    """Run passes, and give the loader's state before, between and after all batches, with the epoch and the batch.

    At the end of a pass there are two: before the loader was asked for more, and after.
    """
    for epoch in range(passes):
        done = 0
        for done, _ in enumerate(loader, 1):
            yield epoch, done, copy.deepcopy(loader.state_dict())
        yield epoch, done, copy.deepcopy(loader.state_dict())


def flat(passes: list[Batches]) -> Batches:
    """Batch after batch."""
    return [batch for each in passes for batch in each]


@pytest.mark.slow
@pytest.mark.parametrize("loading", WORKERS)
@pytest.mark.parametrize(("n", "ending"), ENDINGS)
def test_a_stateful_loader_goes_on_after_any_batch(
    n: int, ending: Loading, loading: Loading, stateful: type[DataLoader[Any]]
) -> None:
    """A state taken anywhere in two epochs gives what was to come, over the next boundary too."""
    expected = epochs(n, 4, **ending)
    wanted = (7, len(expected[0]))
    states = [each for each in every_state(made(stateful, n, **loading, **ending), 2) if each[1] in wanted]
    assert len(states) == 2 * (len(wanted) + 1)

    for epoch, done, state in states:
        loader: Any = made(stateful, n, seed=9, **loading, **ending)
        loader.load_state_dict(state)
        coming = flat([one_pass(loader) for _ in range(2)])
        rest = flat([expected[epoch][done:], *expected[epoch + 1 :]])
        assert coming == rest[: len(coming)], (epoch, done)
        assert len(coming) >= len(expected[0]), (epoch, done)


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 1], ids=["which counts from 0 again", "which goes on counting"])
@pytest.mark.parametrize("loading", WORKERS)
@pytest.mark.parametrize(("n", "ending"), ENDINGS)
def test_a_stateful_loader_goes_on_in_a_loop_that_sets_epochs(
    n: int, ending: Loading, loading: Loading, first: int, stateful: type[DataLoader[Any]]
) -> None:
    """set_epoch before each pass, as training loops call it, neither restarts nor skips what was loaded."""
    expected = epochs(n, 6, **ending)
    last = len(expected[0])
    states = [
        each for each in every_state(made(stateful, n, **loading, **ending), 2) if each[:2] in ((1, 7), (1, last))
    ]
    assert len(states) == 3  # two at the end of the epoch, before and after the loop has come to it

    for _, done, state in states:
        loader: Any = made(stateful, n, seed=9, **loading, **ending)
        loader.load_state_dict(state)
        coming = []
        for epoch in range(first + done // last, first + 4):
            loader.sampler.set_epoch(epoch)
            coming += one_pass(loader)
        assert coming == flat([expected[1][done:], *expected[2:]])[: len(coming)]
        assert len(coming) > last


@pytest.mark.slow
@pytest.mark.parametrize("loading", WORKERS)
def test_a_stateful_loader_goes_on_from_a_pass_not_begun(loading: Loading, stateful: type[DataLoader[Any]]) -> None:
    """After a break the state of a new pass, before its first batch, is that of the next epoch, not of the old pass."""
    loader: Any = made(stateful, PARTIAL, **loading)
    for _ in range(3):
        next(iter(loader))
    iter(loader)

    resumed: Any = made(stateful, PARTIAL, **loading)
    resumed.load_state_dict(copy.deepcopy(loader.state_dict()))

    assert one_pass(resumed) == epochs(PARTIAL, 4)[3]


@pytest.mark.slow
@pytest.mark.parametrize("loading", WORKERS)
def test_a_stateful_loader_goes_on_from_an_older_snapshot(loading: Loading, stateful: type[DataLoader[Any]]) -> None:
    """A loader that looks at the sampler only now and then draws again what came since, and does not give it twice."""
    loader: Any = made(stateful, PARTIAL, snapshot_every_n_steps=3, **loading)
    state = next(copy.deepcopy(state) for _, done, state in every_state(loader, 1) if done == 8)

    resumed: Any = made(stateful, PARTIAL, snapshot_every_n_steps=3, **loading)
    resumed.load_state_dict(state)

    assert [one_pass(resumed), one_pass(resumed)] == [epochs(PARTIAL, 1)[0][8:], epochs(PARTIAL, 2)[1]]


@pytest.mark.slow
@pytest.mark.parametrize("loading", WORKERS)
def test_a_stateful_loader_goes_on_in_an_epoch_it_reads_ahead_whole(
    loading: Loading, stateful: type[DataLoader[Any]]
) -> None:
    """Epochs so short that workers read them to the end at once end where they end all the same."""
    expected = epochs(6, 5)
    for epoch, done, state in list(every_state(made(stateful, 6, **loading), 3)):
        loader: Any = made(stateful, 6, **loading)
        loader.load_state_dict(state)
        coming = flat([one_pass(loader) for _ in range(2)])
        assert coming == flat([expected[epoch][done:], *expected[epoch + 1 :]])[: len(coming)]


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 1], ids=["which counts from 0 again", "which goes on counting"])
@pytest.mark.parametrize("loading", WORKERS)
def test_a_torch_loader_goes_on_in_a_loop_that_sets_epochs(loading: Loading, first: int) -> None:
    """A state that tells what was consumed goes on; set_epoch neither restarts nor skips what was loaded."""
    expected = epochs(PARTIAL, 4)
    loader: Any = made(DataLoader, PARTIAL, **loading)
    one_pass(loader)
    for done, _ in enumerate(loader, 1):
        if done == 7:
            break
    state = loader.sampler.state_dict(consumed=7 * BATCH)

    resumed: Any = made(DataLoader, PARTIAL, seed=9, **loading)
    resumed.sampler.load_state_dict(state)
    coming = []
    for epoch in range(first, first + 3):
        resumed.sampler.set_epoch(epoch)
        coming.append(one_pass(resumed))

    assert len(resumed) == 11
    assert coming == [expected[1][7:], *expected[2:]]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_create_dataloader_shuffles_a_store_epoch_by_epoch(call: Call, tmp_path: Path, workers: int) -> None:
    """Under one seed of torch, the passes over a store are the epochs of a sampler with a seed drawn from it."""
    (tmp_path / "corpus.txt").write_text("a few words, again and again. " * 60)
    assert call("tokenize", tmp_path / "corpus.txt", "-o", f"{tmp_path / 'store'}/").code == 0
    torch.manual_seed(5)
    loader = create_dataloader(tmp_path / "store", max_length=8, stride=8, num_workers=workers)
    torch.manual_seed(5)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    dataset = WindowDataset(tmp_path / "store", 8, 8)

    for epoch in range(3):
        order = list(WindowSampler(dataset, seed=seed, epoch=epoch))
        shown = torch.cat([inputs for inputs, _ in loader])
        assert torch.equal(shown, torch.stack([dataset[window][0] for window in order])[: len(shown)])
        assert len(shown) == len(order) - len(order) % BATCH > 10


# --- Lightning


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


def a_model() -> Any:
    """A model that keeps, in ``seen``, the batches of each epoch."""
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

    return Model()


def saving(path: Path, after: tuple[str, int]) -> Any:
    """A callback that writes a checkpoint after a ("step", count) or at the end of an ("epoch", number), and kills."""
    from pytorch_lightning import Callback as LightningCallback

    class Save(LightningCallback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            self.save(trainer, ("step", trainer.global_step))

        def on_train_epoch_end(self, trainer: Any, _model: Any) -> None:
            self.save(trainer, ("epoch", trainer.current_epoch))

        def save(self, trainer: Any, now: tuple[str, int]) -> None:
            if now == after:
                trainer.save_checkpoint(path)
                raise KilledError

    return Save()


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """Train with a fresh Trainer, and return the batches of each of its epochs.

    ``save`` says when a checkpoint is written, after which the training is killed; ``resume`` goes on from it.
    """
    from pytorch_lightning import LightningDataModule, Trainer

    def train(data: Any, save: tuple[str, int] | None = None, *, resume: bool = False, **choices: Any) -> Seen:
        model, path = a_model(), tmp_path / "a.ckpt"
        quiet = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
        choices = {"max_epochs": 4, "accelerator": "cpu", "devices": 1, **dict.fromkeys(quiet, False), **choices}
        trainer = Trainer(**choices, callbacks=[saving(path, save)] if save else [])
        given = "datamodule" if isinstance(data, LightningDataModule) else "train_dataloaders"
        with pytest.raises(KilledError) if save else contextlib.nullcontext():
            trainer.fit(model, **{given: data}, ckpt_path=path if resume else None)
        seen: Seen = model.seen
        return seen

    return train


def gone_on(expected: list[Batches], epoch: int, done: int, until: int = 4) -> Seen:
    """What Lightning must see from so many batches of an epoch on."""
    rest = {epoch: expected[epoch][done:], **{later: expected[later] for later in range(epoch + 1, until)}}
    return {each: batches for each, batches in rest.items() if batches}


LIGHTNING = [pytest.mark.slow, *quiet_lightning]


def with_marks(marks: list[Any]) -> Callable[[Any], Any]:
    """Several marks at once."""

    def mark(test: Any) -> Any:
        for each in marks:
            test = each(test)
        return test

    return mark


@with_marks(LIGHTNING)
@pytest.mark.parametrize("loading", WORKERS)
@pytest.mark.parametrize("kind", ["module", "torch", "torchdata"])
def test_lightning_trains_on_epochs(
    kind: str, loading: Loading, fit: Fit, windows_module: type[Any], stateful: type[DataLoader[Any]]
) -> None:
    """Its epochs are the sampler's, though it sets the epoch after workers have begun to read."""
    if kind == "module":
        data = windows_module(numbered(PARTIAL), BATCH, seed=SEED, **loading)
    else:
        data = made(DataLoader if kind == "torch" else stateful, PARTIAL, **loading)

    assert fit(data) == dict(enumerate(epochs(PARTIAL, 4)))


@with_marks(LIGHTNING)
@pytest.mark.parametrize("loading", WORKERS)
@pytest.mark.parametrize(("n", "ending"), ENDINGS[1:])
def test_lightning_goes_on_with_the_module_of_readme(
    n: int, ending: Loading, loading: Loading, fit: Fit, windows_module: type[Any]
) -> None:
    """A checkpoint in an epoch, at its last batch and at its end, goes on exactly in a fresh Trainer; and once more."""
    expected = epochs(n, 4, **ending)
    last = len(expected[0])
    saves = {("step", 7): (0, 7), ("step", last): (1, 0), ("epoch", 0): (1, 0), ("step", last + 7): (1, 7)}

    def module() -> Any:
        return windows_module(numbered(n), BATCH, seed=SEED, **loading, **ending)

    for save, (epoch, done) in saves.items():
        fit(module(), save)
        assert fit(module(), resume=True) == gone_on(expected, epoch, done), save

    fit(module(), ("step", 7))
    fit(module(), ("step", 9), resume=True)
    assert fit(module(), resume=True) == gone_on(expected, 0, 9)


@with_marks(LIGHTNING)
@pytest.mark.parametrize("loading", WORKERS)
@pytest.mark.parametrize(("n", "ending"), ENDINGS[1:])
def test_lightning_goes_on_with_a_stateful_loader(
    n: int, ending: Loading, loading: Loading, fit: Fit, stateful: type[DataLoader[Any]]
) -> None:
    """Lightning keeps such a loader's state itself: a checkpoint in any epoch's middle goes on exactly."""
    expected = epochs(n, 4, **ending)
    last = len(expected[0])

    for epoch in range(2):
        fit(made(stateful, n, **loading, **ending), ("step", epoch * last + 7))
        resumed = made(stateful, n, **loading, **ending)
        assert fit(resumed, resume=True) == gone_on(expected, epoch, 7)
        assert len(resumed) == last


@with_marks(LIGHTNING)
@pytest.mark.parametrize("loading", WORKERS)
@pytest.mark.parametrize("start", [28, 38, 0])
def test_a_fresh_lightning_goes_on_with_a_loaded_sampler(loading: Loading, start: int, fit: Fit) -> None:
    """A Trainer that counts from 0 goes on at the loaded place, and then from epoch to epoch."""
    order = list(WindowSampler(range(PARTIAL), seed=SEED, epoch=1))[start:]
    loader: Any = made(DataLoader, PARTIAL, seed=9, **loading)
    loader.sampler.load_state_dict(WindowSampler(numbered(PARTIAL), seed=SEED, epoch=1, start=start).state_dict())

    seen = fit(loader)

    assert list(itertools.chain(*seen.pop(0))) == order
    assert seen == dict(enumerate(epochs(PARTIAL, 5)[2:], 1))


@with_marks(LIGHTNING)
@pytest.mark.parametrize("ours", [True, False], ids=["our sampler", "torchdata's sampler"])
@pytest.mark.parametrize("loading", WORKERS)
def test_lightning_loses_an_epoch_after_its_last_batch(
    ours: bool, loading: Loading, fit: Fit, stateful: type[DataLoader[Any]]
) -> None:
    """README's first warning, which holds for torchdata's sampler as well: with workers the next epoch is empty.

    The loader that is loaded at its end is at its end, and Lightning takes it for the next epoch's. Ours loses nothing
    without workers. Should this fail, Lightning has learned it: the warning may go.
    """

    def loader() -> DataLoader[Any]:
        if ours:
            return made(stateful, PARTIAL, **loading)
        return stateful(numbered(PARTIAL), BATCH, shuffle=True, collate_fn=collate_windows, **loading)

    fit(loader(), ("step", 11))
    seen = fit(loader(), resume=True)

    assert list(seen) == ([1, 2, 3] if ours and not loading else [2, 3])
    if ours:
        assert seen == {epoch: epochs(PARTIAL, 4)[epoch] for epoch in seen}


@with_marks(LIGHTNING)
@pytest.mark.parametrize("ours", [True, False], ids=["our sampler", "torch's sampler"])
@pytest.mark.parametrize("kind", ["torch", "torchdata"])
def test_lightning_goes_on_after_an_epoch_with_the_first_order(
    kind: str, ours: bool, fit: Fit, stateful: type[DataLoader[Any]]
) -> None:
    """README's second warning, which holds for torch's DistributedSampler as well: workers read before set_epoch.

    Should this fail, Lightning has learned it: the warning may go.
    """

    def loader() -> DataLoader[Any]:
        dataset = numbered(PARTIAL)
        sampler = WindowSampler(dataset) if ours else DistributedSampler(dataset, num_replicas=1, rank=0)
        loader_of = DataLoader if kind == "torch" else stateful
        return loader_of(dataset, BATCH, sampler=sampler, collate_fn=collate_windows, num_workers=2)

    whole = fit(loader())
    fit(loader(), ("epoch", 0))
    seen = fit(loader(), resume=True)

    assert whole[0] != whole[1]
    assert seen == {1: whole[0], 2: whole[2], 3: whole[3]}


@with_marks(LIGHTNING)
def test_lightning_leaves_an_epoch_where_steps_are_counted(fit: Fit) -> None:
    """README's third warning, with nothing of ours: after an epoch's end it runs one batch of the next.

    Should this fail, Lightning has learned it: the warning may go.
    """

    def loader() -> DataLoader[Any]:
        return DataLoader(numbered(PARTIAL), BATCH, collate_fn=collate_windows)

    fit(loader(), ("epoch", 0), max_steps=40)
    seen = fit(loader(), resume=True, max_steps=40)

    assert [len(batches) for batches in seen.values()][:2] == [1, 11]


# --- accelerate


@pytest.fixture
def prepared() -> Callable[..., tuple[Any, Any]]:
    """An Accelerator made anew, and the loader that it prepares."""
    from accelerate import Accelerator, DataLoaderConfiguration

    def prepare(loader: DataLoader[Any], *, stateful: bool = False) -> tuple[Any, Any]:
        choices = DataLoaderConfiguration(use_stateful_dataloader=stateful)
        accelerator = Accelerator(cpu=True, dataloader_config=choices)
        return accelerator, accelerator.prepare(loader)

    return prepare


@pytest.mark.slow
@pytest.mark.parametrize("loading", WORKERS)
@pytest.mark.parametrize("kind", ["torch", "torchdata"])
def test_accelerate_passes_are_epochs(
    kind: str, loading: Loading, prepared: Callable[..., tuple[Any, Any]], stateful: type[DataLoader[Any]]
) -> None:
    """It sets the epoch before each pass and takes the loader's state when it prepares it: both change nothing."""
    plain = kind == "torch"
    _, loader = prepared(made(DataLoader if plain else stateful, PARTIAL, **loading), stateful=not plain)

    assert [one_pass(loader) for _ in range(3)] == epochs(PARTIAL, 3)


@pytest.mark.slow
@pytest.mark.parametrize("loading", WORKERS)
@pytest.mark.parametrize(("n", "ending"), ENDINGS[1:])
@pytest.mark.parametrize("told", [False, True], ids=["which counts from 0 again", "which is told the epoch"])
def test_accelerate_goes_on_after_any_batch(
    told: bool, n: int, ending: Loading, loading: Loading, tmp_path: Path,
    prepared: Callable[..., tuple[Any, Any]], stateful: type[DataLoader[Any]],
) -> None:  # fmt: skip
    """save_state in an epoch, at its last batch and after it, and load_state in an Accelerator made anew."""
    expected = epochs(n, 5, **ending)
    last = len(expected[0])
    for epoch, done in ((0, 7), (1, 7), (1, last), (1, None)):
        accelerator, loader = prepared(made(stateful, n, **loading, **ending), stateful=True)
        for _ in range(epoch + (done is None)):
            one_pass(loader)
        for now, _ in enumerate(loader if done else [], 1):
            if now == done:
                break
        accelerator.save_state(tmp_path)

        again, resumed = prepared(made(stateful, n, seed=9, **loading, **ending), stateful=True)
        again.load_state(tmp_path)
        if told:
            resumed.set_epoch(epoch + (done in (None, last)))
        coming = flat([one_pass(resumed) for _ in range(2)])
        assert (
            coming == flat([expected[epoch][last if done is None else done :], *expected[epoch + 1 :]])[: len(coming)]
        )
        assert len(coming) > last


@pytest.mark.slow
@pytest.mark.parametrize("loading", WORKERS)
@pytest.mark.parametrize("epoch", [0, 1])
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


@pytest.mark.slow
@pytest.mark.parametrize("loading", WORKERS)
def test_a_fresh_accelerate_goes_on_with_a_loaded_sampler(
    loading: Loading, prepared: Callable[..., tuple[Any, Any]]
) -> None:
    """A plain loader, whose count starts from 0, goes on at the loaded place, and then from epoch to epoch."""
    loader: Any = made(DataLoader, PARTIAL, seed=9, **loading)
    loader.sampler.load_state_dict(WindowSampler(numbered(PARTIAL), seed=SEED, epoch=1, start=28).state_dict())

    _, loader = prepared(loader)

    expected = epochs(PARTIAL, 4)
    assert [one_pass(loader) for _ in range(3)] == [expected[1][7:], expected[2], expected[3]]


@pytest.mark.slow
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

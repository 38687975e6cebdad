"""Promises of the sampler under real loaders and trainers: torch, torchdata, Lightning and accelerate.

Three passes give the epochs 0, 1 and 2; stopped anywhere and made anew, everything goes on as if it had not stopped.
"""

import contextlib
import copy
import itertools
import os
import re
import socket
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.commands import ROOT
from support.loading import numbered, numbers
from torch.multiprocessing.spawn import start_processes
from torch.utils.data import DataLoader

from llmprep.errors import UsageError
from llmprep.pytorch.batches import collate_windows
from llmprep.pytorch.sampler import WindowSampler

SEED, BATCH = 3, 4
EXACT, PARTIAL = 44, 42  # windows: 11 batches, or 10 and a last one of two windows
Batches = list[list[int]]
Loading = dict[str, Any]
Seen = dict[int, Batches]  # the batches of each epoch, by the number that Lightning gives it
ALONE: Loading = {}
READER: Loading = {"num_workers": 1, "prefetch_factor": 4}
STAYING: Loading = {**READER, "persistent_workers": True}
DROPPED: Loading = {"drop_last": True}
LOADINGS = [ALONE, READER, STAYING]
CASES = [(EXACT, ALONE), (PARTIAL, DROPPED), (PARTIAL, {"num_workers": 2}), (PARTIAL, {**STAYING, **DROPPED})]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes"),
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


def plain(n: int = PARTIAL, kind: type[DataLoader[Any]] = DataLoader, **choices: Any) -> Any:
    """A loader of torch's, or of another kind, with a sampler of its own."""
    dataset = numbered(n)
    sampler = WindowSampler(dataset, seed=choices.pop("seed", SEED), **choices.pop("ranks", {}))
    return kind(dataset, sampler=sampler, **{"batch_size": BATCH, "collate_fn": collate_windows, **choices})


def stateful(n: int = PARTIAL, *, state: Any = None, **choices: Any) -> Any:
    """A loader of torchdata's, which goes on from a state, if there is one."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    loader = plain(n, StatefulDataLoader, **choices)
    if state is not None:
        loader.load_state_dict(state)
    return loader


def assert_goes_on(coming: Batches, expected: list[Batches], epoch: int, done: int) -> None:
    """At least a whole epoch has come, and just what was to come after so many batches of an epoch."""
    rest = [*expected[epoch][done:], *itertools.chain.from_iterable(expected[epoch + 1 :])]
    assert (coming, len(coming) >= len(expected[0])) == (rest[: len(coming)], True), (epoch, done)


@pytest.mark.parametrize("loading", LOADINGS, ids=str)
@pytest.mark.parametrize("make", [plain, stateful])
def test_passes_of_a_loader_are_epochs(make: Callable[..., Any], loading: Loading) -> None:
    """Three passes are the epochs 0, 1 and 2, however often a loader asks for an iterator; without batches too."""
    loader, single = make(**loading), make(6, batch_size=None, collate_fn=None, **loading)
    assert [one_pass(loader) for _ in range(3)] == epochs(PARTIAL, 3)
    for epoch in epochs(6, 3):
        assert [int(window[0][0]) // 10 for window in single] == list(itertools.chain(*epoch))


def stop(loader: Any, epoch: int, done: int) -> Any:
    """Run so many passes, and so many batches of the next; return the loader's state."""
    for _ in range(epoch):
        one_pass(loader)
    if done:
        list(itertools.islice(loader, done))
    return copy.deepcopy(loader.state_dict())


@pytest.mark.parametrize("counting", ["", "from 0", "on"])
@pytest.mark.parametrize("trainer", ["a loop", "accelerate"])
@pytest.mark.parametrize(("n", "loading"), CASES, ids=str)
def test_a_stateful_loader_goes_on_after_any_batch(n: int, loading: Loading, trainer: str, counting: str) -> None:
    """What was to come comes, over the next boundary too, whether a trainer counts from 0, on, or not.

    With workers, which take long to start, two of the places are tried where a trainer counts, and three elsewhere.
    """
    expected = epochs(n, 5, **loading)
    last = len(expected[0])
    places = [(1, 7), (1, last), (0, 7), (2, 0)]
    if "num_workers" in loading:
        places = places[:2] if counting else places[1:]
    for epoch, done in places:
        if trainer == "accelerate":
            accelerator, loader = prepared(stateful(n, **loading), stateful=True)
            stop(loader, epoch, done)
            accelerator.save_state("state")
            accelerator, loader = prepared(stateful(n, seed=9, **loading), stateful=True)
            accelerator.load_state("state")
            set_epoch = loader.set_epoch
        else:
            loader = stateful(n, state=stop(stateful(n, **loading), epoch, done), seed=9, **loading)
            set_epoch = loader.sampler.set_epoch
        first = done // last + (epoch if counting == "on" else 0)
        coming = []
        for number in range(first, first + 2):
            if counting:
                set_epoch(number)
            coming += one_pass(loader)
        assert_goes_on(coming, expected, epoch, done)


@pytest.mark.parametrize("loading", LOADINGS, ids=str)
def test_a_stateful_loader_goes_on_from_odd_places(loading: Loading) -> None:
    """From a pass not begun after a break, from an older snapshot, and in epochs that workers read ahead whole."""
    expected = epochs(PARTIAL, 4)
    loader = stateful(**loading)
    for _ in range(3):
        next(iter(loader))
    iter(loader)
    assert one_pass(stateful(state=copy.deepcopy(loader.state_dict()), **loading)) == expected[3]
    rare = {"snapshot_every_n_steps": 3, **loading}
    resumed = stateful(state=stop(stateful(**rare), 0, 8), **rare)
    assert [one_pass(resumed), one_pass(resumed)] == [expected[0][8:], expected[1]]
    for epoch, done in ((0, 2), (1, 0), (1, 1), (1, 2), (2, 0)):
        resumed = stateful(6, state=stop(stateful(6, **loading), epoch, done), **loading)
        assert_goes_on(one_pass(resumed) + one_pass(resumed), epochs(6, 5), epoch, done)


@pytest.mark.parametrize("loading", [ALONE, {"num_workers": 4}, STAYING], ids=str)
@pytest.mark.parametrize("make", [plain, stateful])
def test_a_pass_broken_off_is_not_gone_on_with(make: Callable[..., Any], loading: Loading) -> None:
    """Without a state the next pass is a whole epoch: the next, or the same where a trainer says so."""
    expected = epochs(PARTIAL, 3)
    loader = make(**loading)
    assert [list(map(numbers, itertools.islice(loader, 3))), one_pass(loader)] == [expected[0][:3], expected[1]]
    list(itertools.islice(loader, 2))
    loader.sampler.set_epoch(2)
    assert one_pass(loader) == expected[2]


@pytest.mark.filterwarnings("ignore:the last:UserWarning")
@pytest.mark.parametrize("loading", [ALONE, {"num_workers": 4}, STAYING], ids=str)
def test_a_stateful_loader_goes_on_with_other_ranks(loading: Loading) -> None:
    """Two ranks go on as one, and one as three: each window of an epoch comes once, but for those that are left out."""

    def go_on(world_size: int, state: Any, stop: int) -> tuple[Any, Batches]:
        """What so many ranks take, each step's windows as they stand in the order, and the first one's state."""
        ranks = [{"rank": rank, "world_size": world_size, "batch_size": BATCH} for rank in range(world_size)]
        loaders = [stateful(PARTIAL, ranks=numbers_of, state=state, **loading) for numbers_of in ranks]
        steps = zip(*(itertools.islice(loader, stop) for loader in loaders), strict=True)
        taken = [[window for row in zip(*map(numbers, step), strict=True) for window in row] for step in steps]
        return copy.deepcopy(loaders[0].state_dict()), taken

    whole = list(itertools.chain(*epochs(PARTIAL, 1)[0]))
    state, taken = go_on(2, None, 2)
    for world_size, stop in ((1, 1), (3, 9)):
        state, more = go_on(world_size, state, stop)
        taken += more
    assert (list(itertools.chain(*taken)), [*map(len, taken)]) == (whole[:38], [8, 8, 4, 12, 6])
    assert go_on(1, state, 99)[1] == epochs(PARTIAL, 2)[1]


def shown(what: str) -> str:
    """The block of the page for trainers that shows it."""
    readme = (ROOT / "llmprep" / "pytorch" / "README.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if what in block)


@pytest.fixture(scope="module")
def windows_module() -> Any:
    """The DataModule that the page for trainers shows."""
    names: dict[str, Any] = {}
    exec(shown("LightningDataModule"), names)  # noqa: S102 - our own page
    return names["Windows"]


def fit(data: Any, save: tuple[str, int] | None = None, *, resume: bool = False) -> Seen:
    """Train for three epochs with a fresh Trainer, from the checkpoint if so wished; return the batches of each.

    When ``save`` comes, a ("step", count) or the end of an ("epoch", number), a checkpoint is written and all ends.
    """
    from pytorch_lightning import LightningDataModule, LightningModule, Trainer

    class Model(LightningModule):  # type: ignore[misc] # its types are not read
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
            self.end("step", self.global_step)

        def on_train_epoch_end(self) -> None:
            self.end("epoch", self.current_epoch)

        def end(self, *now: Any) -> None:
            if now == save:
                self.trainer.save_checkpoint("a.ckpt")
                raise InterruptedError

    model = Model()
    loud = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
    choices: dict[str, Any] = {"max_epochs": 3, "accelerator": "cpu", "devices": 1, **dict.fromkeys(loud, False)}
    given = "datamodule" if isinstance(data, LightningDataModule) else "train_dataloaders"
    with pytest.raises(InterruptedError) if save else contextlib.nullcontext():
        Trainer(**choices).fit(model, **{given: data}, ckpt_path="a.ckpt" if resume else None)
    return model.seen


@pytest.mark.parametrize("kind", ["the module of the page", "a stateful loader"])
@pytest.mark.parametrize("loading", [DROPPED, READER, {**STAYING, **DROPPED}], ids=str)
def test_lightning_goes_on(loading: Loading, kind: str, windows_module: Any) -> None:
    """A checkpoint goes on exactly, and once more, though Lightning sets the epoch after workers have begun to read."""
    expected = dict(enumerate(epochs(PARTIAL, 3, **loading)))
    last = len(expected[0])
    saves = {("step", 7): (0, 7), ("step", last + 7): (1, 7)}
    if kind == "the module of the page":
        saves |= {("step", last): (1, 0), ("epoch", 0): (1, 0)}

    def data() -> Any:
        module = windows_module(numbered(PARTIAL), BATCH, seed=SEED, **loading)
        return module if kind == "the module of the page" else stateful(**loading)

    def coming(epoch: int, done: int) -> Seen:
        return {epoch: expected[epoch][done:], **{later: expected[later] for later in range(epoch + 1, 3)}}

    assert fit(data()) == expected
    for save, place in saves.items():
        fit(data(), save)
        assert fit(data(), resume=True) == coming(*place), save
    fit(data(), ("step", 7))
    fit(data(), ("step", 9), resume=True)
    assert fit(data(), resume=True) == coming(0, 9)


def test_lightning_shares_no_windows_of_a_rank_out() -> None:
    """Its own sampler refuses one rank's windows, and takes those of all ranks."""
    from lightning_fabric.utilities.distributed import DistributedSamplerWrapper
    from pytorch_lightning.overrides.distributed import UnrepeatedDistributedSamplerWrapper

    dataset = numbered(EXACT)
    for wrapper in (DistributedSamplerWrapper, UnrepeatedDistributedSamplerWrapper):
        shared = [list(wrapper(WindowSampler(dataset), num_replicas=2, rank=rank, shuffle=False)) for rank in (0, 1)]
        assert sorted(itertools.chain(*shared)) == [*range(EXACT)]
        with pytest.raises(UsageError, match=r"^world_size 2: Lightning .*; give its Trainer use_distributed_sampler="):
            list(wrapper(WindowSampler(dataset, world_size=2), num_replicas=2, rank=0))


def prepared(loader: Any, *, stateful: bool = False) -> tuple[Any, Any]:
    """An Accelerator made anew, and the loader that it prepares."""
    from accelerate import Accelerator, DataLoaderConfiguration

    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(use_stateful_dataloader=stateful))
    return accelerator, accelerator.prepare(loader)


@pytest.mark.parametrize("loading", [ALONE, READER], ids=str)
def test_accelerate_passes_are_epochs(loading: Loading) -> None:
    """That it sets the epoch changes nothing, of a loaded place neither; it skips batches, and shares them out."""
    expected = epochs(PARTIAL, 4)
    _, other = prepared(stateful(**loading), stateful=True)
    place = WindowSampler(numbered(PARTIAL), seed=SEED, epoch=1, start=28).state_dict()
    loaded = plain(seed=9, **loading)
    loaded.sampler.load_state_dict(place)
    _, resumed = prepared(loaded)
    accelerator, loader = prepared(plain(**loading))
    assert [one_pass(loader) for _ in range(3)] == [one_pass(other) for _ in range(3)] == expected[:3]
    assert [one_pass(resumed) for _ in range(3)] == [expected[1][7:], *expected[2:]]
    loader.set_epoch(1)
    assert one_pass(accelerator.skip_first_batches(loader, 7)) == expected[1][7:]
    loader.set_epoch(2)
    assert one_pass(loader) == expected[2]

    from accelerate.data_loader import prepare_data_loader

    sharing = {"num_processes": 2, "even_batches": False}
    shares = [prepare_data_loader(plain(**loading), process_index=process, **sharing) for process in range(2)]
    for epoch in expected:
        assert [one_pass(share) for share in shares] == [epoch[0::2], epoch[1::2]]


def go_on_in_two(process: int, port: int) -> None:
    """In one of two processes, run what the page shows for accelerate, into the second epoch, and again from there."""
    os.environ |= {"RANK": str(process), "LOCAL_RANK": str(process), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dataset, size = numbered(200), 32

    def begin() -> tuple[Any, Any]:
        model = torch.nn.Linear(1, 1)
        names = {"dataset": dataset, "model": model, "optimizer": torch.optim.SGD(model.parameters())}
        exec(shown("register_for_checkpointing"), names)  # noqa: S102 - our own page
        return names["accelerator"], names["loader"]

    places: Any = {"rank": process, "world_size": 2, "batch_size": size}
    orders = [list(WindowSampler(dataset, seed=1, epoch=epoch, **places)) for epoch in range(3)]
    expected = [[order[first : first + size] for first in range(0, 96, size)] for order in orders]
    accelerator, loader = begin()
    assert [one_pass(loader), list(map(numbers, itertools.islice(loader, 2)))] == [expected[0], expected[1][:2]]
    accelerator.save_state("state")
    accelerator.wait_for_everyone()
    accelerator, loader = begin()
    accelerator.load_state("state")
    assert [one_pass(loader), one_pass(loader)] == [expected[1][2:], expected[2]]
    for second in (begin()[1], plain(ranks=places)):
        with pytest.raises(UsageError, match=r"^world_size 2: accelerate shares the windows of this loader"):
            one_pass(accelerator.prepare(second))
    accelerator.end_training()


def test_accelerate_goes_on_in_two_processes() -> None:
    """As the page shows; and a loader of one rank's windows is refused where accelerate shares them out again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(go_on_in_two, (port,), nprocs=2, start_method="spawn")  # type: ignore[no-untyped-call]

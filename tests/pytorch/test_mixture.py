"""Promises of mixtures: windows of several sources in one sequence, for any ranks and workers, resumed by a number."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.commands import ROOT
from support.loading import sent
from support.stores import make_store, reseal, write_files
from torch.utils.data import DataLoader

from llmprep import TokenStore, WindowDataset, WindowMixture, WindowSampler, collate_windows
from llmprep.errors import InputError, LlmprepError, UsageError
from llmprep.pytorch.batches import collate_padding_free
from llmprep.pytorch.documents import DocumentBatch

SIZES = {"code": 600, "web": 1100}
WEIGHTS = {"code": 0.3, "web": 0.7}


def ids(name: str) -> Any:
    """Ids of a source: windows of 5 of them tell their source and number."""
    return np.arange(5 * SIZES[name] + 1) + 10_000 * sorted(SIZES).index(name)


def mixture(weights: Any = WEIGHTS, **choices: Any) -> WindowMixture:
    """A mixture of windows of 5."""
    return WindowMixture({name: (ids(name), weight) for name, weight in weights.items()}, 5, **choices)


def sequence(made: WindowMixture) -> list[tuple[str, int]]:
    """The windows of two passes."""
    return made.locate(range(2 * len(made)))


def seen(batches: Any) -> list[tuple[str, int]]:
    """The sources and numbers of the windows of batches."""
    firsts = [int(first) for batch in batches for first in batch[0][:, 0]]
    return [(sorted(SIZES)[first // 10_000], first % 10_000 // 5) for first in firsts]


def test_items_are_the_windows_of_their_sources() -> None:
    """Item k is the window that `locate` names, alone, in a slice, in a batch, from the end, and in the next pass."""
    made = mixture()
    total = len(made)
    batch = made.__getitems__(range(2 * total))
    for place, (name, number) in enumerate(sequence(made)):
        inputs, targets = made.sources[name][number]
        assert torch.equal(batch[place][0], inputs)
        assert torch.equal(batch[place][1], targets)
    assert [torch.equal(a, b) for a, b in zip(made[total - 3 :], batch[total - 3 : total], strict=True)] == [True, True]
    assert torch.equal(made[-1][0], batch[total - 1][0])
    assert (len(list(made)), len(made[3:3][0])) == (total, 0)
    for wrong in (-total - 1, 1 << 60):
        with pytest.raises(IndexError, match=f"^window {wrong} of {total}$"):
            made[wrong]


def test_it_says_what_it_is_and_reports_epochs() -> None:
    """Its repr, stages and epochs tell the shares as they are, and how often each source is gone through."""
    made = mixture(stages=[(1000, {"web": 1})], seed=3)
    assert repr(made) == "WindowMixture(code 0.3, web 0.7: 2,100 windows of 5, seed 3, 'repeat', 2 stages)"
    assert made.stages == [(0, {"code": 1229, "web": 2867}), (1000, {"web": 4096})]
    places = made.locate(range(1000))
    counts = {name: sum(each == name for each, _ in places) for name in SIZES}
    assert made.epochs(1000) == {name: counts[name] / SIZES[name] for name in SIZES}
    assert made.epochs()["web"] == (counts["web"] + 1100) / 1100
    assert (made.n_windows, made.max_length, made.exhausted, {"stages", "sampler"} <= set(dir(made))) == (
        2100, 5, "repeat", True)  # fmt: skip


def test_the_order_of_the_sources_is_nothing() -> None:
    """However the sources are written down, and in whichever process, the sequence is one."""
    made = mixture()
    for other in (mixture(dict(reversed(WEIGHTS.items()))), mixture({"web": 7, "code": 3}), sent(made)):
        assert sequence(other) == sequence(made)
        assert other.identity() == made.identity() == json.loads(json.dumps(made.identity()))


@pytest.mark.parametrize("exhausted", ["repeat", "stop", "drop"])
def test_ranks_share_one_sequence_out(exhausted: str) -> None:
    """Rank r of w takes places r, r + w, ... of each pass; even shares leave out what fills no batch, and say so."""
    made = mixture(exhausted=exhausted)
    expected, total = sequence(made), len(made)
    for world_size in (1, 3, 4):
        ranks = [made.sampler(rank=rank, world_size=world_size, even=False) for rank in range(world_size)]
        for first in (0, total):
            shares = [made.locate(list(sampler)) for sampler in ranks]
            assert shares == [expected[first : first + total][rank::world_size] for rank in range(world_size)]
    left = total % 28
    says = (
        f"^the last {left} of a pass of {total:,} windows are left out, so that 4 ranks get as many whole batches of 7"
    )
    with pytest.warns(UserWarning, match=says):
        even = [mixture(exhausted=exhausted, rank=rank, world_size=4).sampler(batch_size=7) for rank in range(4)]
    assert [(len(list(sampler)), len(sampler), sampler.left_out) for sampler in even] == [
        (total // 28 * 7, total // 28 * 7, left)
    ] * 4
    assert [next(iter(sampler)) for sampler in even] == [total + rank for rank in range(4)]


@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_it_goes_on_from_any_place(world_size: int) -> None:
    """Stopped anywhere, over passes, and resumed by as many or by other ranks, the sequence is that of one run."""
    made = mixture(stages=[(700, {"code": 1, "web": 1})])
    expected, total = sequence(made), len(made)
    for taken, more in itertools.product((0, 1, 333, total // world_size), (1, 2, 3)):
        ranks = [made.sampler(rank=rank, world_size=world_size, even=False) for rank in range(world_size)]
        for sampler in ranks:
            list(itertools.islice(sampler, taken))
        state = json.loads(json.dumps(ranks[0].state_dict()))
        place = ranks[0].place
        assert place == min(taken * world_size, total)
        resumed = [
            mixture(stages=[(700, {"code": 2, "web": 2})]).sampler(rank=rank, world_size=more, even=False)
            for rank in range(more)
        ]
        for sampler in resumed:
            sampler.load_state_dict(state)
        shares = [made.locate(list(sampler)) for sampler in resumed]
        end = total if place < total else 2 * total
        assert [share for share in shares if share] == [
            share for rank in range(more) if (share := expected[place:end][rank::more])
        ]
        assert [sampler.epoch for sampler in resumed] == [end // total] * more


def state_at(made: WindowMixture, place: int) -> Any:
    """The state of one rank that has taken so many windows."""
    sampler = made.sampler()
    steps = iter(sampler)
    for _ in range(place):
        if next(steps, None) is None:
            steps = iter(sampler)
            next(steps)
    return json.loads(json.dumps(sampler.state_dict()))


def test_what_comes_after_the_place_may_change() -> None:
    """Later stages, the length, and new sources may be others: no window is lost or repeated where they begin."""
    made = mixture(target_tokens=5000)
    state = state_at(made, 600)
    for choices in (
        {"stages": [(600, {"web": 1})]},
        {"stages": [(777, {"code": 1}), (900, {"web": 1})], "target_tokens": 9000},
        {"target_tokens": 3005, "exhausted": "drop"},
    ):
        other: Any = mixture(**choices)
        resumed = other.sampler()
        resumed.load_state_dict(state)
        first = next(iter(resumed))
        assert (first, other.locate(range(600))) == (600, made.locate(range(600)))
        windows = other.locate(range(other.n_windows))
        for name, size in SIZES.items():
            own = [number for each, number in windows if each == name]
            assert len(set(own[:size])) == len(own[:size])
    more = WindowMixture(
        {**{name: (ids(name), weight) for name, weight in WEIGHTS.items()}, "new": (np.arange(900), 0)},
        5, stages=[(650, {"new": 1})],
    )  # fmt: skip
    resumed = more.sampler()
    resumed.load_state_dict(state)
    names = [name for name, _ in more.locate(list(itertools.islice(resumed, 70)))]
    assert (set(names[:50]), set(names[50:])) == ({"code", "web"}, {"new"})
    at_end = made.sampler()
    at_end.load_state_dict(state_at(made, 1000))
    assert (at_end.epoch, at_end.place, next(iter(at_end))) == (1, 1000, 1000)
    longer = mixture(target_tokens=10_000).sampler()
    longer.load_state_dict(state_at(made, 1000))
    assert (longer.epoch, len(list(longer))) == (0, 1000)


def test_another_state_is_refused() -> None:
    """A state is refused where anything before its place differs, in a line that says what."""
    made = mixture(target_tokens=5000)
    state = state_at(made, 600)
    changed = {"code": ids("code") + 1, "web": ids("web")}
    wrong: list[tuple[WindowMixture, Any, str]] = [
        (mixture(seed=1), state, "seed 0: this sampler has 1; the state is of another data set"),
        (mixture({"code": 0.4, "web": 0.6}), state,
         "state: has from window 0 on code 1229, web 2867 of 4096; this mixture has from window 0 on code 1638"),
        (mixture(stages=[(599, {"web": 1})]), state, "state: has no such stage; this mixture has from window 599 on"),
        (made, state_at(mixture(stages=[(599, {"web": 1})]), 600), "state: has from window 599 on web 4096 of 4096;"),
        (WindowMixture({name: (changed[name], weight) for name, weight in WEIGHTS.items()}, 5), state,
         "state: source code: content_sha256 "),
        (mixture(target_tokens=2000), state,
         "state: is at window 600 of a mixture of 1,000 windows, and this one has 400; it must have as many, or more"),
        (mixture(target_tokens=9000), state_at(made, 1001), "state: is at window 1,001 of a mixture of 1,000 windows"),
        (made, {**state, "sources": {}}, "state: does not tell what source code is"),
        (made, {**state, "stages": 3}, "state: has no such stage"),
        (made, {**state, "stages": [1]}, "state: has no such stage"),
        (made, {**state, "place": 1.5}, "state of a mixture: place 1.5: must be a whole number"),
        (made, WindowSampler(made).state_dict(), "state: does not tell its sources; it is not the state of a mixture"),
        (made, {"seed": 1, "epoch": 0}, "state of a mixture: place None: must be a whole number"),
    ]  # fmt: skip
    for other, given, line in wrong:
        sampler = other.sampler()
        with pytest.raises(UsageError, match=f"^{re.escape(line)}"):
            sampler.load_state_dict(given)
        assert sampler.place == 0


def test_the_state_counts_what_was_consumed() -> None:
    """A loader with workers reads ahead; ``consumed`` says what was really used."""
    sampler = mixture().sampler(rank=1, world_size=2, even=False)
    list(itertools.islice(sampler, 50))
    assert (sampler.place, sampler.state_dict(consumed=35)["place"]) == (100, 70)
    with pytest.raises(UsageError, match=r"^start 9999: this rank takes"):
        sampler.state_dict(consumed=9999)
    sampler.set_epoch(2)
    assert next(iter(sampler)) == 2 * sampler.n_windows + 1
    assert repr(sent(sampler)) == f"MixtureSampler({sampler.n_windows:,} windows, place {sampler.place:,}, rank 1 of 2)"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:'set_vital' is deprecated:UserWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_real_loaders_see_the_sequence(workers: int) -> None:
    """With workers or without, torch's loader and torchdata's see it, and the latter goes on after any batch."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    made = mixture(exhausted="drop")
    expected, total = sequence(made), len(made)

    def loader(kind: Any) -> Any:
        return kind(made, batch_size=64, sampler=made.sampler(), collate_fn=collate_windows, num_workers=workers)

    plain = loader(DataLoader)
    assert [seen(plain), seen(plain)] == [expected[:total], expected[total:]]
    for passes, done in ((0, 5), (1, 3)):
        stopped, resumed = loader(StatefulDataLoader), loader(StatefulDataLoader)
        for _ in range(passes):
            seen(stopped)
        state = next((stopped.state_dict() for number, _ in enumerate(stopped, 1) if number == done), None)
        resumed.load_state_dict(json.loads(json.dumps(state)) if not workers else state)
        first = passes * total
        assert seen(resumed) == expected[first + 64 * done : first + total]


def test_sources_are_what_a_data_set_takes(tmp_path: Path) -> None:
    """A str, a Path, a store, a split of one, ids or a data set; choices for all; what is left is as they were made."""
    folder = make_store(tmp_path / "store", [range(300), range(300)], val_fraction=0.5)
    made = WindowMixture(
        {
            "path": (str(folder), 1),
            "Path": (folder, 1),
            "store": (TokenStore(folder, "train"), 1),
            "data": (WindowDataset(folder, 6, 3, split="val"), 1),
        },
        stride=3,
        split="train",
    )
    assert {name: (len(each), each.split) for name, each in made.sources.items()} == {
        "path": (98, "train"), "Path": (98, "train"), "store": (98, "train"), "data": (98, "val")}  # fmt: skip
    assert sequence(sent(made)) == sequence(made)
    split = WindowMixture({"a": (TokenStore(folder), 1), "b": (TokenStore(folder, "val"), 1)}, 6)
    assert [each.split for each in split.sources.values()] == [None, "val"]
    held = TokenStore(folder)
    make_store(folder, [range(1, 301), range(300)])
    with pytest.raises(InputError, match="has changed since it was opened"):
        WindowMixture({"a": (held, 1)}, 6)


def test_windows_of_files_are_mixed_too(files: Path) -> None:
    """A windows file, whose rows stand apart, is mixed with a store: each item is that of its source."""
    made = WindowMixture(
        {"file": (files / "apart.windows.pt", 1), "store": (files / "store", 2)}, 16, target_tokens=16 * 90
    )
    batch = made.__getitems__(range(90))
    for place, (name, number) in enumerate(made.locate(range(90))):
        assert all(map(torch.equal, batch[place], made.sources[name][number]))


def test_documents_are_told_as_by_each_source(tmp_path: Path) -> None:
    """With ``documents=True`` items are dicts, those of their sources, alone, in batches, and for a trainer."""
    for name, texts in (("a", ["one two", "three four five", "six"]), ("b", ["seven eight nine ten", "eleven"])):
        write_files(tmp_path, {f"{name}/{k}.txt": text * 9 for k, text in enumerate(texts)})
    made = WindowMixture(
        {"a": (tmp_path / "a", 1), "b": (tmp_path / "b", 1)}, 8, 1, documents=True, mask_boundaries=True
    )
    places = list(range(60))
    batch = made.__getitems__(places)
    assert isinstance(batch, DocumentBatch)
    singly = [made.sources[name][number] for name, number in made.locate(places)]
    assert repr(list(batch)) == repr(singly)
    assert repr(made[7]) == repr(singly[7])
    assert repr(made[:60]) == repr(collate_windows(singly)) == repr(collate_windows(batch))
    assert repr(collate_padding_free(batch)) == repr(collate_padding_free(singly))
    other = WindowDataset(tmp_path / "b", 8, 1)
    with pytest.raises(UsageError, match=r"^a and b: tell their documents in two ways \(Marking"):
        WindowMixture({"a": (tmp_path / "a", 1), "b": (other, 1)}, documents=True)


@pytest.mark.filterwarnings("ignore:the last:UserWarning", "ignore:This DataLoader will create:UserWarning")
def test_the_page_shows_what_works() -> None:
    """What the page for trainers shows of mixtures runs as it stands there, on stores of these names."""
    page = (ROOT / "llmprep" / "pytorch" / "README.md").read_text(encoding="utf-8")
    for name in ("web-store", "code-store"):
        make_store(Path(name), [range(50_000)] * 3, val_fraction=0.1)
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n([^`]*WindowMixture[^`]*)```", page)[0], names)  # noqa: S102 - our own page
    assert (len(names["loader"]), list(itertools.islice(names["sampler"], 2))) == (len(names["mixture"]) // 256, [0, 8])


def of_p50k(folder: Path) -> Path:
    """A store that says that its ids are of another vocabulary."""
    reseal(folder / "manifest.json", ["encoding"], "p50k_base")
    return folder


REFUSED: dict[str, Any] = {
    "sources: give a name, a source and a weight for each, such as {'web': ('web/', 0.7), ...}": lambda: mixture({}),
    "sources: 3 is no name; give a str": lambda: WindowMixture({3: (ids("web"), 1)}, 5),  # type: ignore[dict-item]
    "a: needs a source and its weight, and is a tuple of 3": lambda: WindowMixture({"a": (ids("web"), 1, 2)}, 5),
    "max_length: needed, as the source is not a windows file": lambda: WindowMixture({"a": (ids("web"), 1)}),
    "b: has windows of 6, where 5 is asked for or others have it; all windows of a mixture are of one length": lambda: (
        WindowMixture({"a": (ids("web"), 1), "b": (WindowDataset(ids("web"), 6), 1)}, 5)),
    "a: has stride 5, and 3 is asked for": lambda: WindowMixture({"a": (WindowDataset(ids("web"), 5), 1)}, stride=3),
    "split: all sources are data sets, which have made that choice; leave it out": lambda: WindowMixture(
        {"a": (WindowDataset(ids("web"), 5), 1)}, split="val"),
    "a and b: are of two vocabularies, gpt2 and p50k_base; a mixture has one": lambda: WindowMixture(
        {"a": (make_store(Path("s"), [range(90)]), 1), "b": (of_p50k(make_store(Path("t"), [range(90)])), 1)}, 5),
    "split val: the store is opened as its split train": lambda: WindowMixture(
        {"a": (TokenStore(make_store(Path("s"), [range(90)], val_fraction=0.5), "train"), 1)}, 5, split="val"),
    "seed 1.5: must be a whole number": lambda: mixture(seed=1.5),
    "rank 2: must be from 0 to world_size - 1 (1)": lambda: mixture(rank=2, world_size=2),
    "world_size 0: must be at least 1": lambda: mixture(world_size=0),
    "batch_size 0: must be at least 1": lambda: mixture().sampler(batch_size=0),
}  # fmt: skip


@pytest.mark.parametrize("line", REFUSED)
def test_sources_that_do_not_go_together_are_refused(line: str) -> None:
    """Each is refused in one line that names the sources."""
    with pytest.raises(LlmprepError, match=f"^{re.escape(line)}$"):
        REFUSED[line]()

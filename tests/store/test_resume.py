"""Promises of going on with a store: what is sound is kept, whatever else has changed, and nothing else."""

import gzip
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import stores
from support.reference import encode
from support.stores import build, contents, flip, receipts_of, reseal, write_files, written_at

from llmprep.choices import TextOptions
from llmprep.errors import FileFormatError, InputError, RefusedError
from llmprep.store.content import stamp_of
from llmprep.store.lock import locked
from llmprep.store.merge import merge_store


def refused(differences: str, folder: str | Path = "s", remedy: str = "--restart starts over") -> Any:
    """Expect that a folder is refused, as it was begun differently."""
    line = re.escape(f"{folder}: was built from other inputs or options: {differences}")
    return pytest.raises(RefusedError, match=f"^{line}.*; {re.escape(remedy)}$")


# what changes a shard or its receipt
DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "shard deleted": lambda shard, _: shard.unlink(),
    "shard cut short": lambda shard, _: os.truncate(shard, shard.stat().st_size - 1),
    "one bit of a shard": lambda shard, _: flip(shard, shard.stat().st_size // 2),
    "another shard's bytes": lambda shard, _: shutil.copy(shard.with_name("tokens-00000.pt"), shard),
    "receipt deleted": lambda _, receipt: receipt.unlink(),
    "one bit of a receipt": lambda _, receipt: flip(receipt, 100),
    "another shard's receipt": lambda _, receipt: shutil.copy(receipt.with_name("00001.json"), receipt),
    "receipt of another plan": lambda _, receipt: reseal(receipt, ["plan_sha256"], "0" * 64),
    "receipt of another recipe": lambda _, receipt: reseal(receipt, ["recipe"], [True, []]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_only_what_is_missing_or_damaged_is_built_again(damage: str, store: Path, built: Path, corpus: Path) -> None:
    """Building again writes a shard whose file or receipt is gone or not as it was, and no other; it says so."""
    before = written_at(store)
    DAMAGES[damage](store / "tokens-00002.pt", store / "receipts" / "00002.json")
    notes = build(corpus, store).notes
    after = written_at(store)
    assert notes == [f"store: {len(before) - 1} of {len(before)} shards are done already"]
    is_whole = "receipt" in damage  # a shard that is built again as it was keeps its file
    assert {name for name in after if after[name] != before.get(name)} == (set() if is_whole else {"tokens-00002.pt"})
    assert (contents(store), receipts_of(store)) == (contents(built), receipts_of(built))


@pytest.mark.parametrize("gone", ["nothing", "manifest.json", "plan.json"])
def test_a_store_of_sound_shards_is_left_as_it_is(gone: str, store: Path, built: Path, corpus: Path) -> None:
    """Of a finished store no shard is written again; a lost manifest or plan is. What a killed run has left goes."""
    before, plan = written_at(store), (store / "plan.json").read_bytes()
    write_files(store, {".llmprep-0123456789abcdef.tmp": "left", "receipts/.llmprep-fedcba9876543210.tmp": "left"})
    (store / gone).unlink(missing_ok=True)
    merge_store(store) if gone == "manifest.json" else build(corpus, store)
    assert (written_at(store), contents(store), (store / "plan.json").read_bytes()) == (before, contents(built), plan)
    assert not [*store.rglob("*.tmp")]


def test_merging_what_is_not_complete_names_what_is_missing(store: Path) -> None:
    """A merge lists the shards that are missing or damaged; of what is no store it says so, and changes nothing."""
    (store / "manifest.json").unlink()
    (store / "tokens-00001.pt").unlink()
    flip(store / "tokens-00003.pt", 700)
    Path("bare").mkdir()
    before = {*map(str, Path().rglob("*"))}
    for folder, line in {
        "store": f"{len(receipts_of(store))} shards are missing or damaged (1, 3); run the command",
        "bare": "bare: has no plan.json; so it is not a token store",
        "absent": "absent: no such file or directory",
        "store/tokens-00000.pt": "store/tokens-00000.pt: is a file; a token store is a folder",
    }.items():
        with pytest.raises(InputError if folder == "absent" else FileFormatError, match=re.escape(line)):
            merge_store(folder)
    assert {*map(str, Path().rglob("*"))} == before


KEEP: dict[str, Any] = {"options": TextOptions("keep")}
CHOICES: dict[str, dict[str, Any]] = {
    "separator was eot, is none": {"options": TextOptions(separator="none")},
    "encoding was gpt2, is r50k_base": {"encoding": "r50k_base"},
    "newlines was universal, is keep; shard_bytes was 9000, is 30000": {
        "options": TextOptions("keep"),
        "shard_bytes": 30_000,
    },
}
CHANGES: dict[str, Callable[[Path], object]] = {
    "g.txt is new": lambda c: (c / "g.txt").write_text("new"),
    "a_long.txt has changed": lambda c: (c / "a_long.txt").write_text("longer" * 9000),
    "c_marked.txt has changed": lambda c: stores.edit_keeping_stamp(c / "c_marked.txt"),
    "sub/f_uncut.txt is no longer listed; sub/z.txt is new": lambda c: (c / "sub/f_uncut.txt").rename(c / "sub/z.txt"),
}


@pytest.mark.parametrize("differences", [*CHOICES, *CHANGES])
def test_what_differs_is_refused_and_named(differences: str, store: Path, built: Path, mine: Path) -> None:
    """Of a finished store, with other options, or files added, removed, renamed or edited; a restart builds anew."""
    build(mine, store)
    CHANGES.get(differences, id)(mine)
    choices = CHOICES.get(differences, {})
    with refused(differences, store):
        build(mine, store, **choices)
    assert contents(store) == contents(built)
    build(mine, store, restart=True, **choices)
    build(mine, "fresh", **choices)
    assert contents(store) == contents("fresh")


def test_files_of_the_same_name_are_told_apart(here: Path) -> None:
    """Where several files have one name, a change of any is seen, and another order."""
    paths = write_files(Path(), {"one/x.txt": "text of one", "two/x.txt": "text of two"})
    build(paths, "s")
    with refused("the files come in another order"):
        build(paths[::-1], "s")
    for path in paths:
        stores.edit_keeping_stamp(Path(path))
        with refused(f"{path} has changed"):
            build(paths, "s")
        stores.edit_keeping_stamp(Path(path))


def test_a_change_at_either_end_or_in_the_middle_is_seen(tmp_path: Path) -> None:
    """The sample of a long file holds its first, middle and last 4 KiB, and nothing between them."""
    path = tmp_path / "long.txt"
    path.write_bytes(b"a" * 100_000)
    samples = [stamp_of(str(path), 100_000).sample]
    for place in (2 * 4096, 0, 50_000, 99_999):
        flip(path, place)
        samples.append(stamp_of(str(path), 100_000).sample)
    assert (samples[0] == samples[1], len(set(samples))) == (True, 4)


def test_a_split_is_not_moved_or_dropped_in_silence(store: Path, corpus: Path) -> None:
    """Once there is a split, building without it, or with another, is refused: val would get into train."""
    build(corpus, store, val_fraction=0.25)
    before = contents(store)
    for fraction in (None, 0.2):
        with refused(f"val_fraction was 0.25, is {fraction}", store):
            build(corpus, store, val_fraction=fraction)
    assert contents(store) == before
    build(corpus, "s", task=(1, 3))
    with refused("val_fraction was None, is 0.2", "s", "remove the folder to start over"):
        build(corpus, "s", task=(2, 3), val_fraction=0.2)


def lay_out(**files: str | bytes) -> None:
    """Write files into ``in``."""
    write_files(Path("in"), {f"{name}.txt": data for name, data in files.items()})


def test_a_file_of_another_time_is_the_same(store: Path, built: Path, mine: Path) -> None:
    """A corpus that was copied without its times is read again once, and no shard of it is built again."""
    for path in mine.rglob("*"):
        os.utime(path, ns=(10**18, 10**18))
    before = written_at(store)
    build(mine, store)
    assert (written_at(store), contents(store)) == (before, contents(built))
    noted = receipts_of(store)
    assert int(json.loads(noted["00000.json"])["stamps"]["times"][:16], 16) == 10**18
    build(mine, store, task=(1, 2))
    assert receipts_of(store) == noted


def test_a_change_that_no_sample_shows_is_found_by_reading(here: Path) -> None:
    """Of a file of another time whose sample is as it was, the parts that differ are built again, or it is refused."""
    text = b"word " * 20_000
    lay_out(a=text)
    build("in", "s", 20_000)
    before = written_at("s")
    # What stands at the end of the first span moves its cut: both shards differ, though the second's text does not.
    lay_out(a=text[:20_001] + b"-" * 3 + text[20_004:])
    os.utime("in/a.txt", ns=(10**18, 10**18))
    with refused("a.txt has changed"):
        build("in", "s", 20_000)
    assert written_at("s") == before
    Path("s/manifest.json").unlink()
    assert build("in", "s", 20_000).notes[0] == "s: a.txt has changed: shards made from it are built again"
    after = written_at("s")
    assert {name for name in after if after[name] != before[name]} == {"tokens-00000.pt", "tokens-00001.pt"}
    build("in", "fresh", 20_000)
    assert contents("s") == contents("fresh")


def test_whatever_changes_the_store_is_a_fresh_ones(here: Path) -> None:
    """Files change anywhere: going on writes what a fresh build writes, and of that only what it does not have."""
    draw = np.random.default_rng(7)

    def change(name: str) -> None:
        words = draw.choice(["one ", "two\r\n", "three--", "\u4e2d\u6587\u3002"], int(draw.integers(0, 60)))
        data = "".join(words).encode()
        lay_out(**{name: gzip.compress(data, compresslevel=0, mtime=0) if name == "c" else data})

    def files_by_bytes() -> dict[bytes, tuple[int, int]]:
        return {Path("s", name).read_bytes(): at for name, at in sorted(written_at("s").items())}

    lay_out(z="never empty")
    for number in range(6):
        for name in draw.choice([*"abcdef"], int(draw.integers(0, 3))) if number else "abcdef":
            change(name)
        before, fresh = files_by_bytes(), f"fresh{number}"
        build("in", fresh, 150)
        build("in", "s", 150)
        assert (contents("s"), receipts_of("s")) == (contents(fresh), receipts_of(fresh)), number
        assert all(before.get(data, at) == at for data, at in files_by_bytes().items()), number
        draw.choice(sorted(Path("s").glob("tokens-*.pt"))).unlink()
        Path("s/manifest.json").unlink()


def test_a_separator_goes_with_the_text_before_it(here: Path) -> None:
    """Where the first text is taken out of a file, the shard that begins the stream now is built without separator."""
    lay_out(a="one two three", b="four five six")
    build("in", "s", 13)
    Path("s/manifest.json").unlink()
    lay_out(a=b"\xef\xbb\xbf")
    build("in", "s", 13)
    assert stores.stream_of("s") == encode("four five six")


def test_a_renumbering_that_was_stopped_is_gone_on_with(here: Path) -> None:
    """Killed between any two steps, the shards that were moved and those that were not are all kept."""
    lay_out(a="a " * 30, b="b " * 10, **{name: name * 90 for name in "cdefg"})
    build("in", "s", 100)
    Path("s/manifest.json").unlink()
    lay_out(b="b " * 40)
    shutil.copytree("s", "going")
    build("in", "going", 100)
    for old, new in (("tokens-00005.pt", "tokens-00006.pt"), ("receipts/00005.json", "receipts/00006.json")):
        Path("s", old).unlink()  # as if it had been stopped after the last shard
        shutil.copy2(Path("going", new), Path("s", new))
    before = written_at("s")
    assert build("in", "s", 100).notes[-1] == "s: 5 of 7 shards are done already"
    assert written_at("s")["tokens-00006.pt"] == before["tokens-00006.pt"]
    assert contents("s") == contents("going")


def test_a_task_does_not_change_the_plan_under_others(here: Path) -> None:
    """A task that finds a changed file builds it anew if no other is at work; else it is told to wait."""
    lay_out(a="a " * 50, b="b " * 50, c="c " * 50)
    build("in", "s", 100, task=(1, 2))
    lay_out(a="b " * 49)
    with locked(Path("s"), shared=True) as hold:
        hold.share()
        with refused("a.txt has changed", "s", "other tasks are at work: run this one again when they are done"):
            build("in", "s", 100, task=(2, 2))
    with refused("newlines was universal, is keep", "s", "remove the folder to start over"):
        build("in", "s", 100, task=(2, 2), **KEEP)
    notes = build("in", "s", 100, task=(2, 2)).notes
    assert notes[0] == "s: a.txt has changed: shards made from it are built again"
    with pytest.raises(FileFormatError, match=r"1 of 3 shards are missing or damaged \(0\)"):
        merge_store("s")
    build("in", "s", 100, task=(1, 2))
    merge_store("s")
    build("in", "fresh", 100)
    assert contents("s") == contents("fresh")

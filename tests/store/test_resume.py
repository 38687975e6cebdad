"""Promises of going on with a store: what is sound is kept, whatever else has changed, and nothing else."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.stores import (
    build,
    contents,
    edit_keeping_size,
    flip,
    receipts_of,
    reseal,
    stated,
    temporaries,
    write_files,
    written_at,
)

from llmprep.choices import TextOptions
from llmprep.documents.finding import find_sources
from llmprep.errors import FileFormatError, InputError, RefusedError
from llmprep.store.content import sample_of
from llmprep.store.lock import locked
from llmprep.store.merge import merge_store
from llmprep.store.sealed import seal
from llmprep.store.verify import verify_store

Damage = Callable[[Path, Path], object]
"""Changes a shard or its receipt."""


def refusal(differences: str, folder: str = "store", remedy: str = "--restart starts over") -> str:
    """What is said of a folder that was begun differently."""
    return f"^{re.escape(f'{folder}: was begun differently: {differences}; {remedy}')}$"


# --- what is missing or damaged -------------------------------------------------------------------


def receipt_with(key: str, value: object) -> Damage:
    """Change one value of a receipt, and seal it again."""
    return lambda _, receipt: reseal(receipt, [key], value)


DAMAGES: dict[str, Damage] = {
    "shard deleted": lambda shard, _: shard.unlink(),
    "shard cut short": lambda shard, _: os.truncate(shard, shard.stat().st_size - 1),
    "shard emptied": lambda shard, _: os.truncate(shard, 0),
    "one bit of a shard": lambda shard, _: flip(shard, shard.stat().st_size // 2),
    "another shard's bytes": lambda shard, _: shutil.copy(shard.with_name("tokens-00000.pt"), shard),
    "receipt deleted": lambda _, receipt: receipt.unlink(),
    "receipt emptied": lambda _, receipt: os.truncate(receipt, 0),
    "receipt cut short": lambda _, receipt: os.truncate(receipt, 100),
    "receipt not UTF-8": lambda _, receipt: receipt.write_bytes(b"\xff"),
    "one bit of a receipt": lambda _, receipt: flip(receipt, 100),
    "receipt no object": lambda _, receipt: receipt.write_bytes(seal({"a": 1}).replace(b'{"a":1,', b"[")),
    "receipt of another form": lambda _, receipt: receipt.write_bytes(seal({"plan_sha256": 1, "bytes": "many"})),
    "another shard's receipt": lambda _, receipt: shutil.copy(receipt.with_name("00001.json"), receipt),
    "receipt of another plan": receipt_with("plan_sha256", "0" * 64),
    "receipt of another recipe": receipt_with("recipe", [True, []]),
    "receipt of no content": receipt_with("content", []),
    "receipt with other pieces": receipt_with("pieces", []),
}


@pytest.mark.parametrize("damage", list(DAMAGES.values()), ids=list(DAMAGES))
def test_only_what_is_missing_or_damaged_is_built_again(damage: Damage, store: Path, built: Path, corpus: Path) -> None:
    """Building again writes a shard whose file or receipt is gone or not as it was, and no other; it says so."""
    before = written_at(store)
    damage(store / "tokens-00002.pt", store / "receipts" / "00002.json")

    notes = build(corpus, store).notes

    after = written_at(store)
    assert notes == [f"store: {len(before) - 1} of {len(before)} shards are done already"]
    assert {name for name in after if after[name] != before.get(name)} == {"tokens-00002.pt"}
    assert (contents(store), receipts_of(store)) == (contents(built), receipts_of(built))


@pytest.mark.parametrize("gone", ["nothing", "manifest.json", "plan.json"])
def test_a_store_of_sound_shards_is_left_as_it_is(gone: str, store: Path, built: Path, corpus: Path) -> None:
    """Of a finished store no shard is written again; a lost manifest or plan is."""
    before, plan = written_at(store), (store / "plan.json").read_bytes()
    (store / gone).unlink(missing_ok=True)

    notes = build(corpus, store).notes

    assert notes == [f"store: {len(before)} of {len(before)} shards are done already"]
    assert (written_at(store), contents(store), (store / "plan.json").read_bytes()) == (before, contents(built), plan)


def test_merging_what_is_not_complete_names_what_is_missing(store: Path, here: Path) -> None:
    """A merge lists the shards that are missing or damaged; of what is no store it says so, and changes nothing."""
    n_shards = len(receipts_of(store))
    (store / "manifest.json").unlink()
    (store / "tokens-00001.pt").unlink()
    flip(store / "tokens-00003.pt", 700)
    Path("bare").mkdir()

    with pytest.raises(FileFormatError, match=rf"^store: 2 of {n_shards} shards are missing or damaged \(1, 3\); run"):
        merge_store(store)
    with pytest.raises(FileFormatError, match=r"^bare: has no plan\.json; it is no token store$"):
        merge_store("bare")
    with pytest.raises(InputError, match=r"^absent: no such file or directory$"):
        merge_store("absent")
    with pytest.raises(FileFormatError, match=r"^store/tokens-00000\.pt: is a file; a token store is a folder$"):
        merge_store("store/tokens-00000.pt")
    assert not (store / "manifest.json").exists()
    assert not list(Path("bare").iterdir())


@pytest.mark.parametrize("merging", [True, False])
def test_what_a_killed_run_has_left_is_removed(merging: bool, store: Path, built: Path, corpus: Path) -> None:
    """Temporary files in the folder or beside the receipts go with the next run or merge, which writes the manifest."""
    write_files(store, {".llmprep-0123456789abcdef.tmp": "left", "receipts/.llmprep-fedcba9876543210.tmp": "left"})
    (store / "manifest.json").unlink()

    merge_store(store) if merging else build(corpus, store)

    assert not temporaries(store)
    assert contents(store) == contents(built)


def test_a_run_killed_before_its_plan_was_written_can_be_repeated(built: Path, corpus: Path, here: Path) -> None:
    """A folder that holds only what a run leaves that was killed at its start is no foreign folder."""
    left = {"receipts/.llmprep-0.tmp": "", ".lock": "process 1 on nowhere\n", ".llmprep-0.tmp": "the plan's first h"}
    write_files(Path("s"), left)

    build(corpus, "s")

    assert contents("s") == contents(built)
    assert not temporaries("s")


# --- another corpus or other options --------------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "differences"),
    [
        ({"options": TextOptions(newlines="keep")}, "newlines was universal, is keep"),
        ({"options": TextOptions(separator="none")}, "separator was eot, is none"),
        ({"encoding": "r50k_base"}, "encoding was gpt2, is r50k_base"),
        ({"shard_bytes": 9001}, "shard_bytes was 9000, is 9001"),
        ({"options": TextOptions("keep"), "shard_bytes": 8}, "newlines was universal, is keep; shard_bytes was 9000"),
    ],
)
def test_other_options_are_refused_and_named(
    choices: dict[str, Any], differences: str, store: Path, built: Path, corpus: Path
) -> None:
    """A store that was begun with other options is refused with the list of them, and stays as it is."""
    with pytest.raises(RefusedError, match=f"^store: was begun differently: {differences}.*; --restart starts over$"):
        build(corpus, store, **choices)

    assert contents(store) == contents(built)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "added": (lambda c: (c / "g.txt").write_text("new"), "g.txt is new"),
    "removed": (lambda c: (c / "c_marked.txt").unlink(), "c_marked.txt is gone"),
    "grown": (lambda c: (c / "a_long.txt").write_text("longer" * 9000), "a_long.txt has changed"),
    "same size": (lambda c: edit_keeping_size(c / "a_long.txt"), "a_long.txt has changed"),
    "renamed": (
        lambda c: (c / "sub" / "f_uncut.txt").rename(c / "sub" / "z.txt"),
        "sub/f_uncut.txt is gone; sub/z.txt is new",
    ),
}


@pytest.mark.parametrize(("change", "differences"), list(CHANGES.values()), ids=list(CHANGES))
def test_a_changed_corpus_is_refused_and_named(
    change: Callable[[Path], object], differences: str, store: Path, built: Path, mine: Path
) -> None:
    """Files added, removed, renamed or edited since are named, and the finished store stays as it is."""
    build(mine, store)
    change(mine)

    with pytest.raises(RefusedError, match=refusal(differences)):
        build(mine, store)

    assert contents(store) == contents(built)


def test_a_restart_builds_what_a_new_folder_would_get(store: Path, mine: Path) -> None:
    """A restart forgets the store that was begun, all of its shards, and builds the other corpus's."""
    (mine / "a_long.txt").write_text("now one short text")
    before = written_at(store)

    build(mine, store, restart=True)

    build(mine, "fresh")
    assert contents(store) == contents("fresh")
    assert len(written_at(store)) < len(before)


@pytest.mark.parametrize("changed", [0, 1])
def test_files_of_the_same_name_are_told_apart(changed: int, here: Path) -> None:
    """Where one file is an input twice, or several have one name, a change of any is seen; so is another order."""
    paths = write_files(Path(), {"one/x.txt": "text of one", "two/x.txt": "text of two"})
    build(paths, "s")

    with pytest.raises(RefusedError, match=refusal("the files come in another order", "s")):
        build(paths[::-1], "s")
    edit_keeping_size(Path(paths[changed]))
    with pytest.raises(RefusedError, match=refusal(f"{paths[changed]} has changed", "s")):
        build(paths, "s")


@pytest.mark.parametrize("place", [0, 2 * 4096, 50_000, 99_999])
def test_a_change_at_either_end_or_in_the_middle_is_seen(place: int, tmp_path: Path) -> None:
    """The sample of a long file holds its first, middle and last 4 KiB, and nothing between them."""
    path = tmp_path / "long.txt"
    path.write_bytes(b"a" * 100_000)
    before = sample_of(find_sources([str(path)])[0])

    flip(path, place)

    assert (sample_of(find_sources([str(path)])[0]) != before) == (place != 2 * 4096)


# --- a corpus that was mended, or only copied -----------------------------------------------------


def packed(text: str) -> bytes:
    """A text as gzip has it, never shorter than its parts that stand for themselves."""
    return gzip.compress(text.encode(), compresslevel=0, mtime=0)


def lay_out(**files: str | bytes) -> None:
    """Write files into ``in``."""
    write_files(Path("in"), {f"{name}.txt": data for name, data in files.items()})


def test_a_file_of_another_time_is_the_same(store: Path, built: Path, mine: Path) -> None:
    """A corpus that was copied without its times is read again once, and no shard of it is built again."""
    for number, path in enumerate(sorted(mine.rglob("*"))):
        os.utime(path, ns=(10**18 + number, 10**18 + number))
    before = written_at(store)

    notes = build(mine, store).notes

    noted = receipts_of(store)
    assert notes == [f"store: {len(before)} of {len(before)} shards are done already"]
    assert (written_at(store), contents(store)) == (before, contents(built))
    assert noted != receipts_of(built)
    times = [source[1] for source in stated(store / "receipts" / "00000.json")["content"]]
    assert times == [(mine / "a_long.txt").stat().st_mtime_ns]
    build(mine, store, task=(1, 2))
    assert receipts_of(store) == noted


@pytest.mark.parametrize("finished", [True, False])
def test_a_change_that_no_sample_shows_is_found_by_reading(finished: bool, here: Path) -> None:
    """Of a file of another time whose ends and middle are as they were, the parts that differ are built again.

    A finished store is refused, as with any other change.
    """
    text = b"word " * 20_000
    lay_out(a=text)
    build("in", "s", 20_000)
    before = written_at("s")
    # What stands at the end of the first span moves its cut: both shards differ, though the second's text does not.
    lay_out(a=text[:20_001] + b"-" * 3 + text[20_004:])
    os.utime("in/a.txt", ns=(10**18, 10**18))

    if finished:
        with pytest.raises(RefusedError, match=refusal("a.txt has changed", "s")):
            build("in", "s", 20_000)
        assert written_at("s") == before
        return
    Path("s/manifest.json").unlink()
    notes = build("in", "s", 20_000).notes

    after = written_at("s")
    assert notes[0] == "s: a.txt has changed: shards made from it are built again"
    assert {name for name in after if after[name] != before[name]} == {"tokens-00000.pt", "tokens-00001.pt"}
    build("in", "fresh", 20_000)
    assert contents("s") == contents("fresh")


def files_by_bytes(folder: str) -> dict[bytes, set[tuple[int, int]]]:
    """Which files hold what, in a store's shards, and when they were written."""
    found: defaultdict[bytes, set[tuple[int, int]]] = defaultdict(set)
    for name, at in written_at(folder).items():
        found[Path(folder, name).read_bytes()].add(at)
    return found


def test_whatever_changes_the_store_is_a_fresh_ones(here: Path) -> None:
    """Files that grow, shrink, empty, or change anywhere: going on writes what a fresh build writes.

    Of that it writes what it does not have: each shard of the same bytes is kept, whatever its number is now.
    """
    draw = np.random.default_rng(7)

    def data(name: str) -> bytes:
        words = " ".join(draw.choice(["one", "two\r\n", "three--", "\u4e2d\u6587\u3002"], int(draw.integers(0, 60))))
        return packed(words) if name == "c" else words.encode()

    lay_out(z=b"never empty", **{name: data(name) for name in "abcdef"})
    for number in range(8):
        for name in draw.choice([*"abcdef"], int(draw.integers(0, 3))):
            lay_out(**{name: data(name)})
        before = files_by_bytes("s")
        build("in", f"fresh{number}", 100)
        build("in", "s", 100)
        after = files_by_bytes("s")
        assert contents("s") == contents(f"fresh{number}"), number
        assert receipts_of("s") == receipts_of(f"fresh{number}")
        kept = before.keys() & after
        assert [before[data] for data in kept] == [after[data] for data in kept], number
        assert list(verify_store(Path("s")))
        for lost in draw.choice(sorted(Path("s").glob("tokens-*.pt")), 1):
            lost.unlink()
        Path("s/manifest.json").unlink()


def test_a_renumbering_that_was_stopped_is_gone_on_with(here: Path) -> None:
    """Killed between any two steps, the shards that were moved and those that were not are all kept."""
    lay_out(a="a " * 30, b="b " * 10, **{name: name * 90 for name in "cdefg"})
    build("in", "s", 100)
    Path("s/manifest.json").unlink()
    lay_out(b="b " * 40)
    shutil.copytree("s", "going")
    build("in", "going", 100)
    moved = [("tokens-00005.pt", "tokens-00006.pt"), ("receipts/00005.json", "receipts/00006.json")]
    for old, new in moved:  # as if it had been stopped after the last shard
        Path("s", old).unlink()
        shutil.copy2(Path("going", new), Path("s", new))
    before = written_at("s")

    notes = build("in", "s", 100).notes

    assert notes[-1] == "s: 5 of 7 shards are done already"
    assert written_at("s")["tokens-00006.pt"] == before["tokens-00006.pt"]
    assert contents("s") == contents("going")


# --- tasks ----------------------------------------------------------------------------------------


def test_a_task_does_not_change_the_plan_under_others(here: Path) -> None:
    """A task that finds a changed file goes on if no other is at work; else it is told to wait for them."""
    lay_out(a="a " * 50, b="b " * 50)
    build("in", "s", 100, task=(1, 2))
    lay_out(b="b " * 49)

    remedy = "other tasks are at work: run this one again when they are done"
    with locked(Path("s"), shared=True) as hold:
        hold.share()
        with pytest.raises(RefusedError, match=refusal("b.txt has changed", "s", remedy)):
            build("in", "s", 100, task=(2, 2))
    build("in", "s", 100, task=(2, 2))

    merge_store("s")
    build("in", "fresh", 100)
    assert contents("s") == contents("fresh")


def test_a_task_is_not_sent_to_restart(here: Path) -> None:
    """Where a restart is refused, as with tasks, no message sends there."""
    lay_out(a="a " * 50)
    build("in", "s", 100)

    differences = "newlines was universal, is keep"
    with pytest.raises(RefusedError, match=refusal(differences, "s", "remove the folder to start over")):
        build("in", "s", 100, options=TextOptions("keep"), task=(1, 2))


@pytest.mark.parametrize("text", ["x " * 50, "x " * 30], ids=["same size", "another size"])
def test_tasks_that_read_different_copies_are_not_merged(text: str, here: Path) -> None:
    """Where each node has its own copy of the corpus and one differs, the shards made from that one are named."""
    lay_out(a="a " * 50, b="b " * 50, c="c " * 50)
    build("in", "s", 100, task=(1, 2))
    lay_out(a=text)
    notes = build("in", "s", 100, task=(2, 2)).notes

    assert notes[0] == "s: a.txt has changed: shards made from it are built again"
    with pytest.raises(FileFormatError, match=r"1 of 3 shards are missing or damaged \(0\)"):
        merge_store("s")


def test_a_split_is_not_moved_or_dropped_in_silence(store: Path, corpus: Path) -> None:
    """Once there is a split, building without it, or with another, is refused: val would get into train."""
    build(corpus, store, val_fraction=0.25)
    before = contents(store)

    for choices, now in (({}, "None"), ({"val_fraction": 0.2}, "0.2"), ({"task": (1, 2)}, "None")):
        with pytest.raises(RefusedError, match=f"^store: was begun differently: val_fraction was 0.25, is {now}; "):
            build(corpus, store, **choices)

    assert contents(store) == before
    build(corpus, store, val_fraction=0.25)
    manifest = build(corpus, store, restart=True).built.manifest
    assert manifest is not None
    assert manifest.splits == {}


def test_tasks_must_agree_on_the_split(corpus: Path, here: Path) -> None:
    """A task that was given another split than the others is refused, whichever comes first."""
    build(corpus, "s", task=(1, 3))

    with pytest.raises(RefusedError, match=r"^s: was begun differently: val_fraction was None, is 0\.2; "):
        build(corpus, "s", task=(2, 3), val_fraction=0.2)

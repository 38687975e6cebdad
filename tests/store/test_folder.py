"""Promises of a store's folder: what is not the store's own is neither followed, nor written, nor removed."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.stores import build, contents, json_lines, put, write_files

from llmprep.choices import Building, Reading
from llmprep.errors import FileFormatError, InputError, LlmprepError, OutputError, UsageError
from llmprep.store.build import build_store
from llmprep.store.folder import is_store
from llmprep.store.manifest import read_manifest
from llmprep.store.merge import merge_store
from llmprep.store.verify import verify_store

FILES = (
    "tokens-00001.pt",
    "tokens-99999.pt",
    "manifest.json",
    "plan.json",
    ".lock",
    ".llmprep-0123456789abcdef.tmp",
    "receipts/00001.json",
    "receipts/99999.json",
    "receipts/.llmprep-0123456789abcdef.tmp",
    "receipts",
)
KINDS = ("a link to a file", "a link to a folder", "a link to nothing", "a folder", "a pipe", "a file")


@pytest.fixture
def victim(here: Path) -> Path:
    """A folder beside the store, with things in it that are named as a store's are."""
    names = ("x.json", "00001.json", ".llmprep-a.tmp", "tokens-00000.pt")
    write_files(here / "victim", dict.fromkeys(names, b"precious"))
    return here / "victim"


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """What lies in a folder: of each thing its type and, of a regular file, its bytes. Nothing is followed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        found[str(path.relative_to(folder))] = mode, path.read_bytes() if stat.S_ISREG(mode) else b""
    return found


def refuse_all(corpus: Path, here: Path, path: str) -> None:
    """Everything that writes into the store names the path, and changes nothing anywhere."""
    before = everything(here)
    writers: list[Callable[[], Any]] = [
        lambda: build(corpus, "store"),
        lambda: build(corpus, "store", restart=True),
        lambda: build(corpus, "store", task=(1, 2)),
        lambda: merge_store("store"),
    ]
    for write in writers:
        with pytest.raises(OutputError, match=f"^store/{path}: is "):
            write()
        assert everything(here) == before


@pytest.mark.parametrize("kind", KINDS)
def test_only_files_of_the_stores_own_are_written_or_removed(
    kind: str, store: Path, victim: Path, corpus: Path, here: Path
) -> None:
    """What has a name of the store's and is no file, or for the receipts no folder, is refused before anything is done.

    Nothing that it leads to is written, removed or believed, and no pipe is waited for.
    """
    shutil.copytree(store, "whole")
    for name in FILES:
        if kind == ("a folder" if name == "receipts" else "a file"):
            continue
        put(kind, store / name, victim)
        refuse_all(corpus, here, name)
        if "99999" not in name and ".llmprep" not in name and name != ".lock":
            with pytest.raises(FileFormatError, match=f"{name}"):
                list(verify_store(store))
        shutil.rmtree(store)
        shutil.copytree("whole", store)


def test_the_folder_itself_may_be_a_link(store: Path, built: Path, corpus: Path) -> None:
    """Whoever names a link as the store's folder means the folder it leads to."""
    store.rename("elsewhere")
    store.symlink_to("elsewhere")
    (store / "tokens-00001.pt").unlink()
    build(corpus, store)
    assert store.is_symlink()
    assert contents("elsewhere") == contents(built)


@pytest.mark.parametrize("link", ["receipts", "receipts/00000.json", "plan.json"])
def test_verifying_follows_no_link(link: str, store: Path, victim: Path) -> None:
    """What is said of a store's history is not taken from where a link leads; the link is named."""
    put("a link to a folder" if link == "receipts" else "a link to a file", store / link, victim)
    kind = "a folder" if link == "receipts" else "a file"
    with pytest.raises(FileFormatError, match=f"^store/{link}: is a link, not {kind} of the store's; remove it$"):
        list(verify_store(store))


def test_a_store_is_known_by_its_plan_or_its_manifest(store: Path) -> None:
    """Also one that is not finished, or has lost its plan; texts beside a manifest of another program are none."""
    assert is_store(store)
    (store / "plan.json").rename("plan.json")
    assert is_store(store)
    (store / "manifest.json").unlink()
    assert not is_store(store)
    Path("plan.json").rename(store / "plan.json")
    assert is_store(store)
    for name in ("none", "store/plan.json", "a\0b", "x" * 300):
        assert not is_store(name)
    app = dict.fromkeys(("manifest.json", "plan.json", "receipts/a.txt", "z.txt"), '{"name": "an app"}')
    write_files(Path("texts"), app)
    assert build("texts", "s").built.manifest == read_manifest(Path("s"))
    assert read_manifest(Path("s")).n_documents == 4


REFUSED: dict[str, tuple[str, str, type[LlmprepError], str]] = {
    "a file for a folder": ("t.txt", "t.txt", UsageError, "t.txt: is a file; a token store is a folder"),
    "inside the input": ("in", "in/s/", UsageError, "in/s: lies inside the input in; name a folder elsewhere"),
    "the input itself": ("in", "in/", OutputError, "in/: has other things in it (a.txt, ...); name a new folder"),
    "a folder in use": ("t.txt", "in/", OutputError, "in/: has other things in it (a.txt, ...); name a new folder"),
    "a link to nothing": ("t.txt", "link/", OutputError, "link/: is a link to nothing; make the folder that it leads"),
    "a pattern that finds the store": (
        "in/**", "in/old", UsageError, "in/old/manifest.json: lies inside the store's folder in/old; name a folder els"
    ),
    "a store for a text": ("in/old", "s", UsageError, "in/old: is a token store; its tokens are made already"),
    "a pipe": ("pipe", "s", UsageError, "pipe: a token store is planned from files that tell their size; copy it into"),
    "a missing file": ("none.txt", "s", InputError, "none.txt: no such file or directory"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "folder", "error", "line"), list(REFUSED.values()), ids=list(REFUSED))
def test_what_makes_no_store_is_refused_before_any_work(
    path: str, folder: str, error: type[LlmprepError], line: str, here: Path
) -> None:
    """Each gets one line, and no folder is made."""
    write_files(here, {"t.txt": "some text", "in/a.txt": "more text", "r.jsonl": json_lines(["x"])})
    build("t.txt", "in/old")
    Path("link").symlink_to("nothing")
    os.mkfifo("pipe")
    before = everything(here)
    with pytest.raises(error) as raised:
        build_store(path, folder, Reading(), building=Building(restart=True))
    assert str(raised.value).startswith(line)
    assert everything(here) == before

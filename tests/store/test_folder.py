"""Promises of a store's folder: what is not the store's own is neither followed, nor written, nor removed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from support.refusals import tree
from support.stores import build, contents, temporaries, write_files

from llmprep.errors import FileFormatError, OutputError, UsageError
from llmprep.store.folder import is_store
from llmprep.store.manifest import read_manifest
from llmprep.store.merge import merge_store
from llmprep.store.verify import verify_store

FILES = (
    "tokens-00001.pt", "tokens-99999.pt", "manifest.json", "plan.json", ".lock", ".llmprep-0123456789abcdef.tmp",
    "receipts/00001.json", "receipts/99999.json", "receipts/.llmprep-0123456789abcdef.tmp", "receipts",
)  # fmt: skip
KINDS: dict[str, Callable[[Path], object]] = {
    "a link to a file": lambda path: path.symlink_to(Path("victim/x.json").absolute()),
    "a link to a folder": lambda path: path.symlink_to(Path("victim").absolute()),
    "a link to nothing": lambda path: path.symlink_to(Path("victim/none").absolute()),
    "a folder": Path.mkdir,
    "a file": lambda path: path.write_bytes(b"precious"),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_only_its_own_files_are_written(name: str, kind: str, store: Path, corpus: Path) -> None:
    """What has a name of the store's and is no file of its own is refused; nothing it leads to is touched."""
    if kind == ("a folder" if name == "receipts" else "a file"):
        return
    write_files(Path("victim"), dict.fromkeys(("x.json", "00001.json", ".llmprep-a.tmp", "tokens-00000.pt"), "mine"))
    with suppress(FileNotFoundError):
        (store / name).rename("away")
    KINDS[kind](store / name)
    before = tree(Path())
    for write in (
        lambda: build(corpus, "store"),
        lambda: build(corpus, "store", restart=True),
        lambda: build(corpus, "store", task=(1, 2)),
        lambda: merge_store("store"),
    ):
        with pytest.raises(OutputError, match=f"^store/{name}: is "):
            write()
        assert tree(Path()) == before
    if "99999" not in name and ".llmprep" not in name and name != ".lock":
        linked = kind.startswith("a link") and name.startswith(("plan", "receipts"))
        what = "a folder" if name == "receipts" else "a file"
        with pytest.raises(FileFormatError, match=name + f": is a link, not {what} of the store's; remove" * linked):
            list(verify_store(store))


def test_a_store_is_known_by_its_plan_or_its_manifest(store: Path) -> None:
    """Also one that is not finished, or has lost its plan; texts beside a manifest of another program are none."""
    (store / "plan.json").rename("plan.json")
    assert is_store(store)
    (store / "manifest.json").unlink()
    assert not is_store(store)
    Path("plan.json").rename(store / "plan.json")
    assert is_store(store)
    assert not any(map(is_store, ("none", "store/plan.json", "a\0b", "x" * 300)))
    write_files(Path("texts"), dict.fromkeys(("manifest.json", "plan.json", "receipts/a.txt"), '{"name": "an app"}'))
    build("texts", "s")
    assert read_manifest(Path("s")).n_documents == 3


def test_the_folder_may_be_a_link_or_hold_what_a_run_left(built: Path, corpus: Path, here: Path) -> None:
    """A link as the folder means the one it leads to, where a run may have been killed before it wrote its plan."""
    left = {"receipts/.llmprep-0.tmp": "", ".lock": "process 1 on nowhere\n", ".llmprep-0.tmp": "the plan's first h"}
    write_files(Path("real"), left)
    Path("link").symlink_to("real")
    build(corpus, "link")
    assert (contents("real"), temporaries("real"), Path("link").is_symlink()) == (contents(built), [], True)


REFUSED: dict[str, tuple[str, str, type[Exception], str]] = {
    "a file for a folder": ("t.txt", "t.txt", UsageError, "t.txt: is a file; a token store is a folder"),
    "inside the input": ("in", "in/s/", UsageError, "in/s: lies inside the input in; name a folder elsewhere"),
    "a folder in use": ("t.txt", "in/", OutputError, "in/: has other things in it (a.txt, ...); name a new folder"),
    "a link to nothing": ("t.txt", "link/", OutputError, "link/: is a link to nothing; make the folder that it leads"),
    "a pattern that finds the store": (
        "in/**", "in/old", UsageError, "in/old/manifest.json: lies inside the store's folder in/old; name a folder els"
    ),
    "a name for no file": ("t.txt", "s\0", OutputError, "s\0: no name holds a NUL character"),
    "a store for a text": ("in/old", "s", UsageError, "in/old: is a token store; its tokens are made already"),
    "a pipe": ("pipe", "s", UsageError, "pipe: a token store is planned from files that tell their size; copy it into"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "folder", "error", "line"), list(REFUSED.values()), ids=list(REFUSED))
def test_what_makes_no_store_is_refused(path: str, folder: str, error: type[Exception], line: str, here: Path) -> None:
    """Each gets one line, and no folder is made."""
    write_files(here, {"t.txt": "some text", "in/a.txt": "more text"})
    build("t.txt", "in/old")
    Path("link").symlink_to("nothing")
    os.mkfifo("pipe")
    before = tree(Path())
    with pytest.raises(error, match=f"^{re.escape(line)}"):
        build(path, folder, restart=True)
    assert tree(Path()) == before

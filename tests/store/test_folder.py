"""Promises of a store's folder: what is not the store's own is neither followed, nor written, nor removed."""

from __future__ import annotations

import os
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
)
KINDS = ("a link to a file", "a link to a folder", "a link to nothing", "a folder", "a pipe")


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
    """What stands under a name of the store's and is no regular file is refused before anything is touched."""
    for name in FILES:
        path = store / name
        kept = path.read_bytes() if path.exists() else None
        put(kind, path, victim)

        refuse_all(corpus, here, name)

        put("a file", path, victim)
        path.unlink() if kept is None else path.write_bytes(kept)


@pytest.mark.parametrize("kind", ["a link to a folder", "a link to nothing", "a file", "a pipe"])
def test_receipts_lie_in_a_folder_of_the_stores_own(
    kind: str, store: Path, victim: Path, corpus: Path, here: Path
) -> None:
    """The folder of the receipts is neither followed nor emptied if it is a link, and named if it is no folder."""
    put(kind, store / "receipts", victim)

    refuse_all(corpus, here, "receipts")


def test_a_link_to_receipts_in_a_new_store_is_not_followed(victim: Path, corpus: Path, here: Path) -> None:
    """In a folder that is no store yet a link may wait for one; nothing is removed or written where it leads."""
    Path("store").mkdir()
    Path("store/receipts").symlink_to(victim)
    before = everything(here)

    for choices in ({}, {"restart": True}, {"task": (1, 2)}):
        with pytest.raises(OutputError, match=r"^store/receipts: is a link, where the store has a folder; remove it"):
            build(corpus, "store", **choices)
        assert everything(here) == before


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


@pytest.mark.parametrize("beside", ["manifest.json", "receipts/a.txt", "plan.json"])
def test_a_corpus_with_names_like_a_stores_is_text(beside: str, here: Path) -> None:
    """A folder of texts with a manifest of another program, or with receipts, is no token store."""
    write_files(Path("texts"), {beside: '{"name": "an app"}', "z.txt": "some words"})

    manifest = build("texts", "s").built.manifest

    assert not is_store("texts")
    assert manifest is not None
    assert manifest.n_documents == 2


def test_a_store_is_known_by_its_plan_or_its_manifest(store: Path) -> None:
    """Also one that is not finished, or has lost its plan; what cannot be opened is none."""
    assert is_store(store)
    (store / "plan.json").rename("plan.json")
    assert is_store(store)
    (store / "manifest.json").unlink()
    assert not is_store(store)
    Path("plan.json").rename(store / "plan.json")
    assert is_store(store)
    for name in ("none", "store/plan.json", "a\0b", "x" * 300):
        assert not is_store(name)


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
    before = everything(here)

    with pytest.raises(error) as raised:
        build_store(path, folder, Reading(), building=Building(restart=True))

    assert str(raised.value).startswith(line)
    assert everything(here) == before


@pytest.mark.parametrize("name", ["tokens-00001.pt", "manifest.json", "receipts/00001.json", "plan.json"])
def test_a_pipe_in_the_stores_folder_hangs_no_reader(name: str, store: Path) -> None:
    """A named pipe in the place of a file is one line, not a wait for a writer."""
    (store / name).unlink()
    os.mkfifo(store / name)

    with pytest.raises(LlmprepError, match=f"{name}[: ]"):
        list(verify_store(store))

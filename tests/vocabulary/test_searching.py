"""Promises of the search: the nearest place serves; what lies there is read with care, and is never passed over."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support import reference

from llmprep.errors import VocabularyError
from llmprep.vocabulary.definitions import define
from llmprep.vocabulary.searching import find_rank_file

FILE = define("cl100k_base").rank_file
PLAIN = "cl100k_base.tiktoken"
KEY = reference.cache_name(reference.rank_address("cl100k_base"))


def place(folder: Path, name: str, data: bytes) -> Path:
    """Put a file into a folder; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder


def test_a_named_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cl100k: bytes) -> None:
    """A damaged cache does no harm where the folder serves; one without the file leaves the cache to be looked at."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(place(tmp_path / "cache", PLAIN, b"damaged")))
    assert find_rank_file(FILE, str(place(tmp_path / "folder", PLAIN, cl100k))) == cl100k
    with pytest.raises(VocabularyError, match=rf"cache/{PLAIN} \(wrong sha256: damaged or another file\)"):
        find_rank_file(FILE, None)
    assert (tmp_path / "cache" / PLAIN).read_bytes() == b"damaged"
    place(tmp_path / "cache", PLAIN, cl100k)
    assert find_rank_file(FILE, str(tmp_path)) == cl100k
    place(tmp_path / "folder", PLAIN, cl100k[:-1])
    with pytest.raises(VocabularyError, match=rf"folder/{PLAIN}: its sha256 is not {FILE.sha256}, the one of {PLAIN}"):
        find_rank_file(FILE, str(tmp_path / "folder"))


@pytest.mark.parametrize("value", ["empty", ""])
def test_tiktokens_variable_hides_the_other_caches(
    value: str, tmp_path: Path, cached: Path, monkeypatch: pytest.MonkeyPatch, cl100k: bytes
) -> None:
    """As in tiktoken, TIKTOKEN_CACHE_DIR is the only cache where it is set, and none is read where it is empty."""
    place(cached.parent, PLAIN, cl100k)
    monkeypatch.setenv("DATA_GYM_CACHE_DIR", str(place(tmp_path / "gym", PLAIN, cl100k)))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", value and str(tmp_path / value))
    with pytest.raises(VocabularyError, match=f"^{PLAIN}: not found; tried "):
        find_rank_file(FILE, None)


def test_without_any_place_the_error_says_where_and_how(tmp_path: Path, cached: Path) -> None:
    """The one line names the folder, the cache, the address, and the ways to supply the file."""
    for may_download in (True, False):
        with pytest.raises(VocabularyError) as raised:
            find_rank_file(FILE, str(tmp_path / "mine"), may_download=may_download)
        assert str(raised.value) == (
            f"{PLAIN}: not found; tried --vocab-dir {tmp_path / 'mine'} (no {PLAIN} in it); "
            f"tiktoken's cache {cached.parent} (no {PLAIN} in it); "
            f"{'openaipublic.blob.core.windows.net (no network in tests); ' * may_download}"
            "put the file into a folder and name that with --vocab-dir or LLMPREP_VOCAB_DIR, from Python with vocab_dir"
        )


def make_huge(path: Path) -> None:
    """Make a file larger than any vocabulary, which takes no space."""
    path.touch()
    os.truncate(path, 1 << 40)


Make = Callable[[Path], object]
UNUSABLE: dict[Make, str] = {
    os.mkfifo: "no regular file",
    lambda path: path.symlink_to("/dev/zero"): "no regular file",
    Path.mkdir: "is a directory",
    make_huge: "1099511627776 bytes, larger than any vocabulary",
    lambda path: path.symlink_to(path.name): "Too many levels of symbolic links",
}


@pytest.mark.parametrize(("make", "what"), UNUSABLE.items())
def test_what_is_no_file_makes_nobody_wait(
    make: Make, what: str, cl100k: bytes, tmp_path: Path, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a cache, or beside the right file, it is not used, and that is said; where the user points, it is an error."""
    opened: list[object] = []  # opening some devices does something, as rewinding a tape: they are looked at before
    cached.parent.mkdir()
    make(cached)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda path, *_: opened.append(path))
        with pytest.raises(VocabularyError, match=re.escape(f"{cached} ({what})")):
            find_rank_file(FILE, None)
    assert opened == []
    said: list[str] = []
    make(place(tmp_path / "mine", KEY, cl100k) / PLAIN)
    assert find_rank_file(FILE, str(tmp_path / "mine"), said.append) == cl100k
    assert said == [f"not used: {tmp_path / 'mine' / PLAIN} ({what})"]
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(place(tmp_path / "cache", PLAIN, cl100k)))
    (tmp_path / "mine" / KEY).unlink()
    line = f"not found; tried {tmp_path / 'mine' / PLAIN} ({what}); put the file"
    with pytest.raises(VocabularyError, match=re.escape(line)):
        find_rank_file(FILE, str(tmp_path / "mine"))

"""Vocabularies that must be downloaded: announced, checked, kept; or one line that says how to do without a network."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import Call, Ended, Run
from support.processes import ended_as
from support.reference import cache_name, rank_address, rank_file
from support.refusals import check_error, names
from support.web import Site, downloads_from, no_connections, no_network, silent_server

from llmprep.ptfile.reading import read_pt

NAME = "cl100k_base"
FILE = f"{NAME}.tiktoken"
HOST = "openaipublic.blob.core.windows.net"
NOTE = f"llmprep: note: downloading {FILE} from {HOST}"
HOW = "put the file into a folder and name that with --vocab-dir or LLMPREP_VOCAB_DIR..."


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty cache of a machine without a network, and a text."""
    (tmp_path / "a.txt").write_text("one two three")
    no_network(monkeypatch)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def tokenize(call: Call, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Tokenize the text with a vocabulary that is not in the package."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
    return lambda *more: call("tokenize", "a.txt", "--encoding", NAME, "-o", "o.pt", *more)


def test_gpt2_needs_no_network(call: Call, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPT-2 and its relatives work without network and caches, and look for none."""
    no_connections(monkeypatch)

    for name in ("gpt2", "p50k_base", "text-davinci-003"):
        assert call("tokenize", "a.txt", "--encoding", name).code == 0


def test_without_a_network_it_says_where_it_looked(tokenize: Callable[..., Ended], cache: Path) -> None:
    """One line names folder, cache and address, and how to supply the file; notes tell of the tries before."""
    kept = cache / cache_name(rank_address(NAME))
    kept.write_bytes(rank_file(NAME)[:100_000])

    ended = tokenize("--vocab-dir", "nowhere")

    tried = f"--vocab-dir nowhere (no {FILE} in it); {kept} (wrong sha256...{cache} (no {FILE} in it); {HOST} (...)"
    check_error(ended, 5, f"{FILE}: ...; tried {tried}; {HOW}", notes=2)
    assert ended.notes[0].startswith(f"llmprep: note: not used: {kept} (wrong sha256")
    assert ended.notes[1] == NOTE
    assert names(Path()) == {"a.txt", "cache"}


def test_a_wrong_file_in_the_given_folder_is_refused(tokenize: Callable[..., Ended], tmp_path: Path) -> None:
    """A file in --vocab-dir whose hash is not the pinned one is refused by name; nothing is downloaded instead."""
    (tmp_path / FILE).write_bytes(b"")

    check_error(tokenize("--vocab-dir", tmp_path), 5, f"{tmp_path / FILE}: its sha256 is not ...replace it...")


def test_a_wrong_answer_is_refused(
    tokenize: Callable[..., Ended], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is not the file is one line, and nothing of it is kept."""
    with downloads_from(Site(b"<html>Please log in</html>"), monkeypatch):
        check_error(tokenize(), 5, f"{FILE}: the download's sha256 is not ...; nothing was kept...", notes=1)

    assert (names(Path()), names(cache)) == ({"a.txt", "cache"}, set())


def test_a_download_is_kept(
    tokenize: Callable[..., Ended], call: Call, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vocabulary is downloaded once, and a note says so; the cache has it the next time. A preview can do without."""
    window = ("window", "o.pt", "--max-length", "2", "-o", "w.pt")
    with downloads_from(Site(rank_file(NAME)), monkeypatch) as site:
        first = tokenize()
    no_connections(monkeypatch)
    second, shown = tokenize(), call(*window)
    (cache / cache_name(rank_address(NAME))).unlink()
    without = call(*window)

    ids = [606, 1403, 2380]
    assert [each.code for each in (first, second, shown, without)] == [0] * 4
    assert (first.notes, second.notes, shown.notes) == ([NOTE], [], [])
    assert site.asked == [f"/encodings/{FILE}"]
    assert read_pt(Path("o.pt")).tensors["token_ids"].tolist() == ids
    assert without.notes[0].startswith(f"llmprep: note: text is not shown: {FILE}: ")
    assert f"[{ids[0]}] ----> {ids[1]}" in without.lines
    assert "one ---->  two" in shown.lines


@pytest.mark.slow
def test_a_silent_network_ends_within_30_seconds(llmprep: Run, tmp_path: Path) -> None:
    """A server that accepts connections and never answers ends with the one line when the time allowed is over."""
    (tmp_path / "a.txt").write_text("one two three")
    begun = time.monotonic()

    with silent_server() as port:
        env = {"https_proxy": f"http://127.0.0.1:{port}", "no_proxy": "", "TIKTOKEN_CACHE_DIR": str(tmp_path)}
        ended = ended_as(llmprep("tokenize", "a.txt", "--encoding", NAME, env=env))

    check_error(ended, 5, f"{FILE}: ...timed out...; {HOW}", notes=1)
    assert time.monotonic() - begun < 30

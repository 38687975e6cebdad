"""Vocabularies that must be downloaded: announced, checked, kept; or one line that says how to do without a network."""

import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import Call, Ended
from support.reference import cache_name, rank_address, rank_file
from support.refusals import check_error, names
from support.web import Site, downloads_from

from llmprep.ptfile.reading import read_pt

NAME = "cl100k_base"
FILE = f"{NAME}.tiktoken"
HOST = "openaipublic.blob.core.windows.net"
NOTE = f"llmprep: note: downloading {FILE} from {HOST}"
Tokenize = Callable[..., Ended]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tiktoken would keep the vocabulary, in the empty cache of a machine without a network."""
    (tmp_path / "a.txt").write_text("one two three")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")  # where nobody listens
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(urllib.request, "_opener", None)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "cache")
    (tmp_path / "cache").mkdir()
    return Path("cache") / cache_name(rank_address(NAME))


@pytest.fixture
def tokenize(call: Call, kept: Path) -> Tokenize:
    """Tokenize a text with a vocabulary that is not in the package."""
    return lambda *more: call("tokenize", "a.txt", "--encoding", NAME, "-o", "o.pt", *more)


def test_gpt2_needs_no_network(call: Call, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPT-2 and its relatives work without network and caches, and look for none."""
    monkeypatch.setattr(socket.socket, "connect", None)
    for name in ("gpt2", "p50k_base", "text-davinci-003"):
        assert call("tokenize", "a.txt", "--encoding", name).code == 0


def test_without_a_network_it_says_where_it_looked(tokenize: Tokenize, kept: Path) -> None:
    """One line names folder, cache and address, and how to supply the file; notes tell of the tries before."""
    kept.write_bytes(rank_file(NAME)[:100_000])
    ended = tokenize("--vocab-dir", "nowhere")
    tried = f"--vocab-dir nowhere (no {FILE} in it); {kept} (wrong sha256...cache (no {FILE} in it); {HOST} (...)"
    how = "put the file into a folder and name that with --vocab-dir or LLMPREP_VOCAB_DIR..."
    check_error(ended, 5, f"{FILE}: ...; tried {tried}; {how}", notes=2)
    assert ended.notes[0].startswith(f"llmprep: note: not used: {kept} (wrong sha256")
    assert ended.notes[1] == NOTE
    assert names(Path()) == {"a.txt", "cache"}


@pytest.mark.slow
def test_a_silent_network_ends_within_30_seconds(tokenize: Tokenize, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that accepts a connection and never answers is given up, in the one line."""
    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        check_error(tokenize(), 5, f"{FILE}: ...timed out...; put the file into a folder and ...", notes=1)
    assert time.monotonic() - begun < 30


def test_a_download_is_kept(tokenize: Tokenize, call: Call, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vocabulary is downloaded once, and a note says so; the cache has it the next time. A preview can do without."""
    window = ("window", "o.pt", "--max-length", "2", "-o", "w.pt")
    with downloads_from(Site(rank_file(NAME)), monkeypatch) as site:
        first = tokenize()
    monkeypatch.setattr(socket.socket, "connect", None)
    second, shown = tokenize(), call(*window)
    kept.unlink()
    without = call(*window)

    ids = [606, 1403, 2380]
    assert [each.code for each in (first, second, shown, without)] == [0] * 4
    assert (first.notes, second.notes, shown.notes) == ([NOTE], [], [])
    assert site.asked == [f"/encodings/{FILE}"]
    assert read_pt(Path("o.pt")).tensors["token_ids"].tolist() == ids
    assert without.notes[0].startswith(f"llmprep: note: text is not shown: {FILE}: ")
    assert f"[{ids[0]}] ----> {ids[1]}" in without.lines
    assert "one ---->  two" in shown.lines

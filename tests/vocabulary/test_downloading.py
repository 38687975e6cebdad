"""Promises of downloads: announced before, verified, kept where tiktoken looks, given up in time."""

from __future__ import annotations

import os
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiktoken.load
from support.web import Site, downloads_from, silent_server

from llmprep.errors import VocabularyError
from llmprep.vocabulary import downloading
from llmprep.vocabulary.definitions import define
from llmprep.vocabulary.searching import find_rank_file

FILE = define("cl100k_base").rank_file
HOST = "openaipublic.blob.core.windows.net"


@pytest.fixture
def site(cl100k: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site that serves cl100k_base."""
    with downloads_from(Site(cl100k), monkeypatch) as serving:
        yield serving


def test_a_download_is_announced_before_it_starts(site: Site) -> None:
    """The note names file and host, and comes before the first request; the file is the one of tiktoken's address."""
    said: list[tuple[str, int]] = []

    assert find_rank_file(FILE, None, lambda text: said.append((text, len(site.asked)))) == site.body
    assert said == [(f"downloading cl100k_base.tiktoken from {HOST}", 0)]
    assert site.asked == ["/encodings/cl100k_base.tiktoken"]


@pytest.mark.parametrize("variable", ["TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR", None])
def test_a_download_is_kept_where_tiktoken_looks(
    variable: str | None, site: Site, cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next load does not ask again; the file is in tiktoken's cache, alone, and others may read it."""
    folder = cached.parent
    if variable is not None:
        folder = tmp_path / "new" / "cache"
        monkeypatch.setenv(variable, str(folder))
    (tmp_path / "ordinary").touch()

    assert find_rank_file(FILE, None) == find_rank_file(FILE, None) == site.body
    assert len(site.asked) == 1
    (kept,) = folder.iterdir()
    assert kept.name == cached.name
    assert kept.stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    assert tiktoken.load.read_file_cached(FILE.address, FILE.sha256) == site.body


def test_nothing_is_kept_where_caching_is_off(site: Site, cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an empty TIKTOKEN_CACHE_DIR each load asks again, and no file is written."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")

    assert find_rank_file(FILE, None) == find_rank_file(FILE, None) == site.body
    assert len(site.asked) == 2
    assert not cached.parent.exists()


def test_a_damaged_cache_is_replaced(site: Site, cached: Path, tmp_path: Path) -> None:
    """A file with another hash in the cache is downloaded anew; what a link in its place leads to stays as it is."""
    (tmp_path / "victim").write_bytes(b"theirs")
    cached.parent.mkdir()
    cached.symlink_to(tmp_path / "victim")
    said: list[str] = []

    assert find_rank_file(FILE, None, said.append) == site.body
    assert said[0] == f"not used: {cached} (wrong sha256: damaged or another file)"
    assert (tmp_path / "victim").read_bytes() == b"theirs"
    assert not cached.is_symlink()
    assert cached.read_bytes() == site.body


@pytest.mark.parametrize("what", ["a link", "a file", "a rename"])
def test_a_cache_that_cannot_be_written_is_only_said(
    what: str, site: Site, cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is used all the same, with a note; no rubbish is left, and no link of anybody's is gone through."""
    victim = tmp_path / "victim"
    victim.mkdir()
    reason = {"a link": "is a link", "a file": "Not a directory", "a rename": "Operation not permitted"}[what]
    if what == "a link":  # the default cache lies where everybody may write: a link may lead anywhere
        cached.parent.symlink_to(victim)
    elif what == "a file":
        (tmp_path / "file").touch()
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    else:

        def fail(*_: object) -> None:
            raise PermissionError(1, reason)

        monkeypatch.setattr(os, "replace", fail)
        monkeypatch.setattr(Path, "replace", fail)
    said: list[str] = []

    assert find_rank_file(FILE, None, said.append) == site.body
    assert said[-1].endswith(f": not kept there ({reason}); the next run downloads again")
    assert list(victim.iterdir()) == []
    assert what != "a rename" or list(cached.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"body": b"<html>Welcome to our network</html>"},
            f"the download's sha256 is not {FILE.sha256}; nothing was k",
        ),
        ({"status": 404}, rf"not found; .*{HOST} \(Not Found\)"),
        ({"sent": 1 << 16}, f"not found; .*{HOST}|sha256 is not"),
        ({"part_seconds": 0.02}, r"not complete after \d+ s"),
    ],
    ids=["another file", "another status", "broken off", "dripping"],
)
def test_a_bad_answer_is_refused_and_not_kept(
    changes: dict[str, object], message: str, site: Site, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login page of a hotel, a 404, half a file and one that would take for ever are each one error."""
    monkeypatch.setattr(downloading, "DOWNLOAD_SECONDS", 0.3)
    for name, value in changes.items():
        setattr(site, name, value)
    begun = time.monotonic()

    with pytest.raises(VocabularyError, match=message):
        find_rank_file(FILE, None)

    assert time.monotonic() - begun < 5
    assert not cached.parent.exists()


def test_an_endless_answer_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body larger than any vocabulary is not read to its end."""
    monkeypatch.setattr(downloading, "MAX_FILE_BYTES", 100_000)

    with pytest.raises(VocabularyError, match="larger than any vocabulary"):
        find_rank_file(FILE, None)


def test_a_silent_network_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that accepts and says nothing is an error once the time to answer is over, within the 30 s promised."""
    assert max(downloading.CONNECT_SECONDS, downloading.DOWNLOAD_SECONDS) < 30
    real = urllib.request.URLopener if False else urllib.request.build_opener().open
    monkeypatch.setattr(downloading, "CONNECT_SECONDS", 0.2)
    with silent_server() as port:
        monkeypatch.setattr(
            urllib.request, "urlopen", lambda _, timeout: real(f"http://127.0.0.1:{port}/", None, timeout)
        )
        with pytest.raises(VocabularyError, match=rf"{HOST} \(timed out\)"):
            find_rank_file(FILE, None)


@pytest.mark.parametrize("answer", [b"", b"no web server\r\n\r\n"])
def test_an_answer_that_is_no_http_is_an_error(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that hangs up, or speaks something else, is one error."""
    real = urllib.request.build_opener().open
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        monkeypatch.setattr(urllib.request, "urlopen", lambda _, timeout: real(address, None, timeout))
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(VocabularyError, match=f"not found; .*{HOST}"):
            find_rank_file(FILE, None)
        thread.join()

"""Promises of downloads: announced before, verified, kept where tiktoken looks, given up in time."""

import errno
import os
import time
import urllib.request
from collections.abc import Iterator
from http.client import BadStatusLine, RemoteDisconnected
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import tiktoken.load
from support.web import Site, downloads_from

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


@pytest.mark.parametrize("variable", ["TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR", None])
def test_a_download_is_announced_and_kept(
    variable: str | None, site: Site, cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note comes before the first request; the next load, as tiktoken's, does not ask; others may read the file."""
    folder = tmp_path / "new" / "cache" if variable else cached.parent
    if variable:
        monkeypatch.setenv(variable, str(folder))
    (tmp_path / "ordinary").touch()
    said: list[tuple[str, int]] = []
    for _ in range(2):
        assert find_rank_file(FILE, None, lambda text: said.append((text, len(site.asked)))) == site.body
    assert said == [(f"downloading cl100k_base.tiktoken from {HOST}", 0)]
    assert site.asked == ["/encodings/cl100k_base.tiktoken"]
    (kept,) = folder.iterdir()
    assert (kept.name, kept.stat().st_mode) == (cached.name, (tmp_path / "ordinary").stat().st_mode)
    assert tiktoken.load.read_file_cached(FILE.address, FILE.sha256) == site.body
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")  # which turns caching off
    kept.unlink()
    assert find_rank_file(FILE, None) == find_rank_file(FILE, None) == site.body
    assert (len(site.asked), list(folder.iterdir())) == (3, [])


def test_a_damaged_cache_is_replaced(site: Site, cached: Path, tmp_path: Path) -> None:
    """A file with another hash in the cache is downloaded anew; what a link in its place leads to stays as it is."""
    (tmp_path / "victim").write_bytes(b"theirs")
    cached.parent.mkdir()
    cached.symlink_to(tmp_path / "victim")
    said: list[str] = []
    assert find_rank_file(FILE, None, said.append) == site.body
    assert said[0] == f"not used: {cached} (wrong sha256: damaged or another file)"
    assert ((tmp_path / "victim").read_bytes(), cached.read_bytes()) == (b"theirs", site.body)
    assert not cached.is_symlink()


@pytest.mark.parametrize("reason", ["is a link", "Not a directory", "Operation not permitted"])
def test_a_cache_that_cannot_be_written_is_only_said(
    reason: str, site: Site, cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is used all the same, with a note; no rubbish is left, and no link of anybody's is gone through."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "file").touch()
    if reason == "is a link":  # the default cache lies where everybody may write: a link may lead anywhere
        cached.parent.symlink_to(tmp_path / "victim")
    elif reason == "Not a directory":
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    else:
        monkeypatch.setattr(os, "replace", Mock(side_effect=PermissionError(errno.EPERM, reason)))
    said: list[str] = []
    assert find_rank_file(FILE, None, said.append) == site.body
    assert said[-1].endswith(f": not kept there ({reason}); the next run downloads again")
    assert not any((tmp_path / "victim").iterdir())
    assert not cached.parent.exists() or not any(cached.parent.iterdir())


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "another file": ({"body": b"<html>Welcome to our network"}, f"the download's sha256 is not {FILE.sha256}; nothing"),
    "another status": ({"status": 404}, rf"not found; .*{HOST} \(Not Found\)"),
    "broken off": ({"sent": 1 << 16}, f"the download's sha256 is not {FILE.sha256}; nothing"),
    "dripping": ({"part_seconds": 0.02}, r"not complete after \d+ s"),
    "endless": ({}, "larger than any vocabulary"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_answer_is_refused(what: str, site: Site, cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login page of a hotel, a 404, half a file, and one that has no end or comes too slowly are each one error."""
    changes, message = BAD[what]
    monkeypatch.setattr(downloading, "DOWNLOAD_SECONDS", 0.3)
    monkeypatch.setattr(downloading, "MAX_FILE_BYTES", 100_000 if what == "endless" else 1 << 30)
    for name, value in changes.items():
        setattr(site, name, value)
    begun = time.monotonic()
    with pytest.raises(VocabularyError, match=message):
        find_rank_file(FILE, None)
    assert time.monotonic() - begun < 5
    assert not cached.parent.exists()


@pytest.mark.parametrize("error", [RemoteDisconnected("hung up"), BadStatusLine("no web"), TimeoutError("timed out")])
def test_what_is_no_web_server_is_one_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that hangs up, speaks something else or nothing, is given up within the half minute that is promised."""
    assert max(downloading.CONNECT_SECONDS, downloading.DOWNLOAD_SECONDS) < 30
    urlopen = Mock(side_effect=error)
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    with pytest.raises(VocabularyError, match=rf"not found; .*{HOST} \(.+\)"):
        find_rank_file(FILE, None)
    assert urlopen.call_args.kwargs == {"timeout": downloading.CONNECT_SECONDS}

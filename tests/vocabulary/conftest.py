"""Fixtures of the vocabulary's tests: no cache of this machine is seen, and no network is reached."""

import tempfile
import urllib.request
from pathlib import Path

import pytest
from support import reference


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of temporary files, empty: tiktoken's cache lies there unless a variable says otherwise."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR", "LLMPREP_VOCAB_DIR"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return tmp_path / "tmp"


@pytest.fixture
def cached(temporary: Path) -> Path:
    """Where tiktoken's cache would hold cl100k_base; its folder is not there yet."""
    return temporary / "data-gym-cache" / reference.cache_name(reference.rank_address("cl100k_base"))


@pytest.fixture(scope="session")
def cl100k() -> bytes:
    """The bytes of cl100k_base's rank file."""
    return reference.rank_file("cl100k_base")

"""A corpus of every kind of text, and its store, built once; copies of it to work on, in the test's own folder."""

import shutil
from pathlib import Path

import pytest
from support.stores import build, make_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus; nobody changes it."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def built(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus's store; nobody changes it."""
    folder = tmp_path_factory.mktemp("built") / "store"
    build(corpus, folder)
    return folder


@pytest.fixture
def store(built: Path, here: Path) -> Path:
    """A copy of that store in the current folder, its files' times kept."""
    return Path(shutil.copytree(built, here / "store")).relative_to(here)


@pytest.fixture
def mine(corpus: Path, here: Path) -> Path:
    """A copy of the corpus in the current folder, its files' times kept."""
    return Path(shutil.copytree(corpus, here / "mine")).relative_to(here)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The test's own folder, as the current one."""
    return tmp_path

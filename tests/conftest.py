"""Fixtures of every test: running llmprep, sample texts, vocabularies; the course's story where it is near."""

import functools
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support.commands import ROOT, SAMPLES, Call, Ended, Run, clean_environment, run_llmprep
from support.reference import rank_file

from llmprep.cli.main import run

settings.register_profile("default", deadline=None, max_examples=60)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test run in a folder of its own, and leave no variable behind, as the libraries of trainers would."""
    monkeypatch.chdir(tmp_path)
    variables = dict(os.environ)
    yield
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)


@pytest.fixture
def llmprep(tmp_path: Path) -> Run:
    """Run llmprep as a process in the test's own folder, so that default output names land there."""
    return functools.partial(run_llmprep, cwd=tmp_path)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Iterator[Call]:
    """Run a command line inside this process, as a user with no settings."""
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def run_here(*arguments: str | Path) -> Ended:
        capsysbinary.readouterr()
        if opening := sys.modules.get("llmprep.vocabulary.opening"):
            opening._opened.clear()  # of which a command says what it has to say when it opens them itself
        code = run([str(argument) for argument in arguments])
        return Ended(code, *capsysbinary.readouterr())

    yield run_here
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def story() -> Path:
    """The sample short story."""
    return SAMPLES / "story.txt"


@pytest.fixture(scope="session")
def verdict() -> Path:
    """The course's short story, which lies beside the project where the project is made, and nowhere else."""
    path = ROOT.parent / "shared" / "data" / "the-verdict.txt"
    if not path.exists():
        pytest.skip("the course's text is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def vocab_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cl100k_base and o200k_base under their plain names."""
    folder = tmp_path_factory.mktemp("vocabularies")
    for name in ("cl100k_base", "o200k_base"):
        (folder / f"{name}.tiktoken").write_bytes(rank_file(name))
    return folder

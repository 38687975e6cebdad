"""Running a command line, as a process and inside this one, and looking at how it ended."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_texts"

Result = subprocess.CompletedProcess[bytes]
Run = Callable[..., Result]


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a user with no settings: no caches, no variables of ours, no colours."""
    dropped = (
        "LLMPREP",
        "TIKTOKEN",
        "DATA_GYM",
        "NO_COLOR",
        "FORCE_COLOR",
        "CLICOLOR",
        "COLUMNS",
        "LINES",
        "MAKE",
        "MFLAGS",
    )
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
    """Run ``python -m llmprep`` as a process, under a command if there is a ``prefix``; how it ended, as bytes."""
    command = [*prefix, sys.executable, "-m", "llmprep", *arguments]
    return subprocess.run(
        command, input=stdin, cwd=cwd, env=clean_environment(env), capture_output=True, timeout=timeout, check=False
    )


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

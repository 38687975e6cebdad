"""Files that several tests look at, made by command lines inside this process."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path

import pytest

from llmprep.cli.main import run
from support.commands import clean_environment


def make(folder: Path, *lines: str) -> None:
    """Run command lines in a folder, as a user with no settings; each must succeed, and prints nothing."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in os.environ.keys() - clean_environment().keys():
            patch.delenv(name)
        for line in lines:
            assert run([*shlex.split(line), "-q"]) == 0, line
    for number, handler in handlers.items():
        signal.signal(number, handler)

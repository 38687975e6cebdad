"""A pattern or tokenizer of somebody's -> whether the library that would run it stands it, tried in another process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from llmprep.errors import LlmprepError, printable, shorten

SECONDS = 10.0
"""How long all texts of a trial may take together."""
_TRIAL = Path(__file__).with_name("trial.py")


def probe(where: str, pattern: str, error: type[LlmprepError]) -> None:
    """Try a pattern with tiktoken: that it compiles, covers every text, matches nothing empty, and comes to an end.

    Raises ``error``, which begins with ``where``.
    """
    _try("pattern", where, pattern, error)


def probe_tokenizer(where: str, canonical: str, error: type[LlmprepError]) -> None:
    """Try a ``tokenizer.json`` with ``tokenizers``, which must be installed: that it loads, and comes to an end.

    Raises ``error``, which begins with ``where``.
    """
    _try("tokenizer", where, canonical, error)


def _try(kind: str, where: str, text: str, error: type[LlmprepError]) -> None:
    """Have a process of its own try something, which ends after `SECONDS` and whose traces nobody sees."""
    path = json.dumps([entry for entry in sys.path if Path(entry).is_absolute()])  # the current folder is left out
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-I", str(_TRIAL), path],
            input=json.dumps({"kind": kind, "text": text}).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=sys.prefix,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        raise error(
            f"{where}: takes more than {SECONDS:.0f} seconds for a few long texts; simplify the pattern"
        ) from expired
    except OSError as failed:
        raise error(f"{where}: cannot be tried, as {sys.executable or 'Python'} does not start: {failed}") from failed
    if done.returncode or not done.stdout:
        raise error(f"{where}: the library that would encode with it ended (code {done.returncode}) when it was tried")
    if reason := json.loads(done.stdout):
        raise error(f"{where}: {shorten(printable(reason), 200)}")

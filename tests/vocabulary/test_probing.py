"""Promises of trials: what a library cannot stand ends in one line, soon, and without a trace on standard error."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from llmprep.errors import FileFormatError
from llmprep.vocabulary import probing
from llmprep.vocabulary.probing import probe, probe_tokenizer


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (r"a*|(?s).", "matches nothing at some places"),
        (r"(a|aa)+(?<!x)!|(?s).", "Max limit for backtracking count exceeded"),
        (r"(?:(?=(a+))\1|a)*b|(?s).", "takes more than 1 seconds for a few long texts; simplify the pattern"),
        (r"[^\x00]+", r"does not match every text: '\\x00' is lost"),
    ],
)
def test_a_pattern_that_tiktoken_cannot_stand_is_refused(
    pattern: str, what: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A pattern that matches nothing, loses text, or takes exponential time is refused by the caller's error."""
    if what.startswith("takes"):
        monkeypatch.setattr(probing, "SECONDS", 1.0)
    with pytest.raises(FileFormatError, match=f"^here: .*{what}"):
        probe("here", pattern, FileFormatError)
    assert capfd.readouterr() == ("", "")


def test_a_trial_needs_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A trial works where the current folder is gone; modules that lie in one are never imported."""
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    (tmp_path / "tiktoken.py").write_text("raise SystemExit(9)")
    monkeypatch.syspath_prepend("")
    probe("here", r"\p{L}+|\P{L}", FileFormatError)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    probe("here", r"\p{L}+|\P{L}", FileFormatError)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(find_spec("tokenizers") is None, reason="takes tokenizers")
def test_a_tokenizer_is_tried_whole(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A tokenizer.json that the library cannot load, or on which it does not end, is refused."""
    monkeypatch.setattr(probing, "SECONDS", 3.0)
    split = {"type": "Split", "pattern": {"Regex": "a|b"}, "behavior": "Isolated", "invert": False}
    document: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": split, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"},
    }  # fmt: skip
    probe_tokenizer("t.json", json.dumps(document), FileFormatError)
    split["pattern"] = {"Regex": "("}
    with pytest.raises(FileFormatError, match=r"^t\.json: .*parenthesis"):
        probe_tokenizer("t.json", json.dumps(document), FileFormatError)
    split["pattern"] = {"Regex": "(a|aa)+(?!a)b"}
    with pytest.raises(FileFormatError, match=r"^t\.json: (takes more than 3 seconds|.*limit)"):
        probe_tokenizer("t.json", json.dumps(document), FileFormatError)
    assert capfd.readouterr() == ("", "")

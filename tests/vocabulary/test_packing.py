"""Promises of a vocabulary that travels: it comes back as it was, and a changed file is refused as any other is."""

import hashlib
import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from llmprep.choices import TokenizerFile
from llmprep.errors import FileFormatError, UsageError
from llmprep.vocabulary.fingerprint import fingerprint_of_ranks
from llmprep.vocabulary.hazards import is_hazardous
from llmprep.vocabulary.opening import open_tokenizer, open_with_fingerprint
from llmprep.vocabulary.packing import pack, unpack
from llmprep.vocabulary.stated import FORMAT

RANKS = "".join(f"{b64encode(bytes([value])).decode()} {value}\n" for value in range(256))
PLAIN: dict[str, Any] = {"pattern": r"\p{L}+|\P{L}+", "special_tokens": {"<eot>": 256}, "end_of_text": "<eot>"}


def made(**changes: Any) -> bytes:
    """Return a packed vocabulary with the fingerprint of its content, which whoever changes a file can state too."""
    stated = {"format": FORMAT, "name": "a", "kind": "rank file", "ranks": RANKS, **PLAIN, **changes}
    sha256 = hashlib.sha256(stated["ranks"].encode()).hexdigest()
    parts = stated["pattern"], stated["special_tokens"], stated["end_of_text"]
    return json.dumps({"fingerprint": fingerprint_of_ranks(sha256, *parts), **stated}).encode()


def test_what_was_packed_comes_back() -> None:
    """The same vocabulary, and the same bytes of it."""
    vocabulary = unpack("a", made())
    assert unpack("a", pack(vocabulary)) == vocabulary
    assert pack(unpack("a", pack(vocabulary))) == pack(vocabulary)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "\x1b[31m\nred"},
        {"name": "a" * 1000},
        {"kind": "<script>"},
        {"kind": 1},
        {"special_tokens": {"<eot>": 256.0}},
        {"special_tokens": {"<eot>": True}},
        {"special_tokens": {"<eot>": -1}},
        {"special_tokens": {"<eot>": 5}},
        {"special_tokens": {"<eot>": 256, "": 257}},
        {"special_tokens": {"<eot>": 256, "\ud800": 257}},
        {"special_tokens": {"<eot>": 256, "a" * 10_001: 257}},
        {"end_of_text": "another"},
        {"end_of_text": 5},
        {"end_of_text": ["<eot>"]},
        {"ranks": ""},
        {"ranks": RANKS[:900]},
        {"ranks": f"{RANKS}dGg= 255\n"},
        {"ranks": f"{RANKS}dGg= -1\n"},
        {"pattern": "\ud800"},
    ],
)
def test_what_no_vocabulary_states_is_refused(changes: dict[str, Any]) -> None:
    """A fingerprint that fits what stands there makes nothing of it right."""
    with pytest.raises(FileFormatError, match=r"^a: [ -~]{1,200}$"):
        unpack("a", made(**changes))


@pytest.mark.parametrize("data", [b"[]", b'{"format":' + b"[" * 100_000, b"\xff", b'{"format": 1}', b"{}"])
def test_other_json_is_refused(data: bytes) -> None:
    """In one line."""
    with pytest.raises(FileFormatError, match=r"^a: [ -~]{1,200}$"):
        unpack("a", data)


@pytest.mark.parametrize("pattern", ["((", "a*", "[a-z]+"])
def test_its_pattern_is_tried_before_it_is_used(pattern: str, tmp_path: Path) -> None:
    """One that is none, matches nothing, or loses text ends no process later."""
    path = tmp_path / "vocabulary.json"
    path.write_bytes(made(pattern=pattern))
    with pytest.raises(FileFormatError, match="its pattern"):
        open_tokenizer(TokenizerFile(str(path)))
    with pytest.raises(FileFormatError, match="its pattern"):
        open_with_fingerprint(str(path), json.loads(path.read_bytes())["fingerprint"])


@pytest.mark.parametrize(
    ("option", "reason"), [("pattern", "has its own"), ("special_tokens", "has its own"), ("eot", "has settled that")]
)
def test_it_says_all_of_itself(option: str, reason: str, tmp_path: Path) -> None:
    """What is said beside it is refused, and not left aside."""
    path = tmp_path / "vocabulary.json"
    path.write_bytes(made())
    with pytest.raises(
        UsageError, match=f"^--{option.replace('_', '-')}: {re.escape(str(path))} .*{reason}; leave it out$"
    ):
        open_tokenizer(TokenizerFile(str(path), **{option: str(path)}))


@pytest.mark.parametrize("kind", [[], {}, ["Split"], 1])
def test_a_step_whose_type_is_no_text_is_hazardous(kind: object) -> None:
    """It is tried, and refused by the library, wherever it stands."""
    steps = [{"type": kind}, {"type": "Sequence", "normalizers": [{"type": kind}]}]
    assert all(is_hazardous({"model": {"type": "BPE"}, "normalizer": step}) for step in steps)

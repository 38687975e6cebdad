"""What a process that can be stopped does for `probing`: tries a pattern, or a whole tokenizer, on texts that are hard.

Both libraries can end the process, or never end, on a pattern that takes exponential time, matches nothing, or is none.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LONG = 4000
"""How long runs are. Exponential time shows at some tens; the square of this is no long time."""
_TEXTS = (
    "Hello, world! I'm sure they've said it'll do; don't. THEY'RE 12345 and 3.1e-10, \u00bd \u2167 \u0661\u0662\u0663.",
    "\u010ce\u0161tina \u0130stanbul \u00dfo\u00df \u01c5 e\u0301 \u0395\u03bb\u03bb\u03ac\u03b4\u03b1",
    "\u0420\u0443\u0441\u0441\u043a\u0438\u0439 \u05e2\u05d1\u05e8\u05d9\u05ea \u0627\u0644\u0639\u0631\u0628",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u4e2d\u6587\uff0c\u5b57\u3002\u65e5",
    "\u672c\u8a9e\u30ab\u30ca \ud55c\uad6d\uc5b4 \u0ba4\u0bae\u0bbf\u0bb4\u0bcd",
    "a  b   c\td\n\ne \n f\r\ng\r\n\r\nh\ri\u0085j\u00a0k\u2028l\u3000m\v\f\x1c\x1d\x1e\x1f \n\n  \n   ",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f3fd\ufe0f\u20e3 \u200b\u200c\ufeff\ufffd\ue000",
    "\U000f0000\U0010ffff",
    "".join(map(chr, range(256))),
    "def f(x):\n    return x['k'] != \"\\n\" and a[1:2] << 3 | ~4 ^ `5` @ #6 $7 %8 &9 {0} _ ''' \"\"\"\n",
    *(sign * LONG for sign in ("a", "A", " ", "'", '"', "1", ".", "\n", "\r\n", "\u4e2d", "\u0301", "ab", "a1")),
    *("a" * LONG + end for end in ("!", " ", "\n", "1")),
    *(sign * LONG + end for sign in ("'s", " a", "1 ", " \n") for end in ("!", "x")),
)


N_LETTERS = 32
"""Of how many different characters of a pattern long runs are tried."""


def _texts_for(patterns: str) -> Iterator[str]:
    """Iterate over the texts of every trial, and long runs of the characters that some patterns hold."""
    yield from _TEXTS
    signs = dict.fromkeys(re.sub(r"\\[pP]\{\^?\w+\}|\\.|[\[\](){}?*+|^$.]", "", patterns))
    for sign in [*signs][:N_LETTERS]:
        yield from (sign * LONG, sign * LONG + "\u0001")


def _patterns_in(value: Any) -> Iterator[str]:
    """Iterate over the regular expressions in a normalizer or pre-tokenizer."""
    if isinstance(value, dict):
        yield from (str(inner) for key, inner in value.items() if key == "Regex")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _patterns_in(inner)


def try_pattern(pattern: str) -> str:
    """Return what is wrong with a pattern for tiktoken, in words; empty where nothing was found."""
    import tiktoken

    ranks = {bytes([value]): value for value in range(256)} | {b"": 256}  # an empty piece shows as 256
    try:
        encoding = tiktoken.Encoding("tried", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    except ValueError as error:
        return f"is no regular expression that tiktoken takes: {error}"
    for text in _texts_for(pattern):
        ids = encoding.encode(text, disallowed_special=())
        if 256 in ids:
            return "matches nothing at some places, as its parts may all be empty"
        found = bytes(ids)
        if found != (data := text.encode()):
            place = next((k for k, (a, b) in enumerate(zip(found, data, strict=False)) if a != b), len(found))
            lost = data[place:].decode(errors="ignore")[:1]
            return f"does not match every text: {lost!r} is lost, which tiktoken would drop in silence"
    return ""


def try_tokenizer(canonical: str) -> str:
    """Return what is wrong with a whole ``tokenizer.json`` for ``tokenizers``; empty where nothing was found.

    That it refuses a text, as one with a character that its model has no token for, is not wrong.
    """
    tokenizer = _load(canonical)
    document = json.loads(canonical)
    steps = [document.get("normalizer"), document.get("pre_tokenizer")]
    for text in _texts_for("".join(_patterns_in(steps))):
        with contextlib.suppress(Exception):
            tokenizer.encode(text, add_special_tokens=False)
    return ""


def _load(canonical: str) -> Any:
    from tokenizers import Tokenizer

    if hasattr(Tokenizer, "from_str"):
        return Tokenizer.from_str(canonical)
    with tempfile.TemporaryDirectory() as folder:  # the 1.0 line reads files only
        path = Path(folder) / "tokenizer.json"
        path.write_text(canonical, encoding="utf-8")
        return Tokenizer.from_file(str(path))


def main() -> None:
    """Do what standard input asks for, in JSON, and write what is wrong to standard output."""
    sys.path[:] = json.loads(sys.argv[1])
    job = json.load(sys.stdin)
    try:
        reason = {"pattern": try_pattern, "tokenizer": try_tokenizer}[job["kind"]](job["text"])
    except BaseException as error:  # noqa: BLE001 - a panic of these libraries is no Exception
        reason = f"cannot be used, as trying it ended with: {str(error) or type(error).__name__}"
    sys.stdout.buffer.write(json.dumps(reason).encode())


if __name__ == "__main__":
    main()

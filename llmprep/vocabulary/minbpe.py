r"""minbpe's ``.model``: a pattern, special tokens, and merges as pairs of ids.

minbpe merges the pairs that are listed; tiktoken merges any two parts whose join has a rank. Both give the same ids
where every token, without its own rank, is merged to the very pair that is listed for it: while these two stand beside
each other, what happened within their bytes is what happens to them alone, so that neither library has another way to
the token. A file for which that does not hold is refused.
"""

from __future__ import annotations

from llmprep.errors import FileFormatError, printable, shorten
from llmprep.vocabulary.ranks import Ranks
from llmprep.vocabulary.sound import check_sound
from llmprep.vocabulary.stated import Stated

FIRST_LINE = "minbpe v1"
WHOLE = "(?s).+"
"""The pattern of a file that has none, as BasicTokenizer's: a text is one piece."""
MAX_TOKEN_BYTES = 1024
"""The longest token: merges of few lines could describe one that fills the memory."""
_BYTES = [bytes([value]) for value in range(256)]


def read_minbpe(name: str, data: bytes) -> Stated:
    """Read a ``.model`` of minbpe. Raises `FileFormatError`, which names the line."""
    try:
        lines = data.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{name}: not valid UTF-8 at byte {error.start}") from error
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) < 3 or lines[0] != FIRST_LINE or not lines[2].isdecimal():
        raise FileFormatError(f"{name}: does not begin with {FIRST_LINE}, a pattern and the number of special tokens")
    n_special = int(lines[2]) if len(lines[2]) < 10 else len(lines)
    if n_special > len(lines) - 3:
        raise FileFormatError(f"{name}: ends before its {shorten(lines[2])} special tokens do")
    special_tokens: dict[str, int] = {}
    for number, line in enumerate(lines[3 : 3 + n_special], 4):
        token, _, rank = line.rpartition(" ")
        if not token or " " in token or not _is_number(rank) or token in special_tokens:
            raise _wrong_line(name, number, line, "no special token and its id")
        special_tokens[token] = int(rank)
    ranks = _merge_all(name, lines, 3 + n_special)
    check_sound(name, ranks, special_tokens)
    return Stated("minbpe", ranks, special_tokens, lines[1] or WHOLE)


def _merge_all(name: str, lines: list[str], begin: int) -> Ranks:
    """Return the ranks that merges from a line on lead to: the bytes, and a token for each pair."""
    tokens = list(_BYTES)
    ranks: Ranks = {token: rank for rank, token in enumerate(tokens)}
    for number, line in enumerate(lines[begin:], begin + 1):
        first, _, second = line.partition(" ")
        if not (_is_number(first) and _is_number(second) and max(int(first), int(second)) < len(tokens)):
            raise _wrong_line(name, number, line, "no pair of ids before it")
        pair = tokens[int(first)], tokens[int(second)]
        token = b"".join(pair)
        if len(token) > MAX_TOKEN_BYTES:
            raise _wrong_line(name, number, line, f"a merge to a token of more than {MAX_TOKEN_BYTES} bytes")
        if token in ranks:
            raise _wrong_line(name, number, line, f"a second merge to the token of id {ranks[token]}")
        if merge(token, ranks) != [*pair]:
            raise _wrong_line(name, number, line, "a merge that the merges before it do not lead to")
        ranks[token] = len(tokens)
        tokens.append(token)
    return ranks


def merge(token: bytes, ranks: Ranks) -> list[bytes]:
    """Return the parts that bytes are merged to: always the pair whose join has the lowest rank, the first of them."""
    parts = [token[place : place + 1] for place in range(len(token))]
    while True:
        found = [
            (rank, place)
            for place in range(len(parts) - 1)
            if (rank := ranks.get(parts[place] + parts[place + 1])) is not None
        ]
        if not found:
            return parts
        _, place = min(found)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) < 10


def _wrong_line(name: str, number: int, line: str, what: str) -> FileFormatError:
    return FileFormatError(f"{name}: line {number} is {what}: {shorten(printable(line))}")

"""Derive the code points for which Python and the ``tokenizers`` library normalise otherwise, as ranges.

``python tests/support/normal_forms.py`` prints those of this Python and the installed library, for
`llmprep.tokens.normalizing.DIFFERING`. Three things decide what a normal form is: what a character is taken apart into,
the class by which marks are put in order, and which pairs are joined. Each is compared for every code point.
"""

import sys
import unicodedata
from collections.abc import Callable, Iterator
from typing import get_args

from llmprep.tokens.normalizing import NormalForm

FORMS: tuple[NormalForm, ...] = get_args(NormalForm)
Differ = Callable[[str], bool]


def derive(differ: Differ) -> set[int]:
    """Return the code points, given what tells whether a text has other forms in the library."""
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    classes = {unicodedata.combining(mark): mark for mark in map(chr, range(0x250, 0x10000))} | {0: "a"}
    marks = [mark for number, mark in sorted(classes.items()) if number]
    found = {ord(one) for one in _narrow(characters, differ)}
    for before, after in ((marks[-1], ""), ("", marks[0])):  # a mark that only one of the two knows as such
        around = _narrow([f"a{before}{one}{after}" for one in characters if ord(one) not in found], differ)
        found |= {ord(text.strip("a" + before + after) or after) for text in around}
    for one in filter(unicodedata.combining, characters):
        if any(differ(f"a{mark}{one}a{one}{mark}") for mark in marks):
            found.add(ord(one))
    for one in characters:
        parts = unicodedata.normalize("NFD", one)
        if parts != one and differ(parts):
            found |= {ord(one), *(ord(part) for part in parts[-1:])}
    return found


def _narrow(texts: list[str], differ: Differ) -> Iterator[str]:
    """Yield the texts that differ: blocks of them first, as nearly all do not."""
    for start in range(0, len(texts), 512):
        block = texts[start : start + 512]
        if differ(" a".join(block)):
            yield from filter(differ, block)


def library_differs(text: str) -> bool:
    """Tell whether the library has another form of a text than this Python."""
    from tokenizers import normalizers

    return any(getattr(normalizers, form)().normalize_str(text) != unicodedata.normalize(form, text) for form in FORMS)


if __name__ == "__main__":
    sys.stdout.write(f"{unicodedata.unidata_version}: {[hex(code) for code in sorted(derive(library_differs))]}\n")

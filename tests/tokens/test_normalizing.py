"""Promises of normal forms: the library's own, or none at all."""

import random
import sys
import unicodedata

import pytest
from support.normal_forms import FORMS, derive, library_differs

from llmprep.tokens import normalizing
from llmprep.tokens.normalizing import COMPARED, DIFFERING, is_normal, normalise

library = pytest.importorskip("tokenizers")
RANGES = [
    (32, 0x17F),
    (0x300, 0x36F),
    (0x590, 0x8FF),
    (0x900, 0x1FFF),
    (0x3040, 0x3400),
    (0xAC00, 0xD7FF),
    (0xF900, sys.maxunicode),
]


def test_a_normal_form_is_the_librarys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """In texts dense in marks and letters that are joined, taken apart and put in order, and under a Python to come."""
    chosen = random.Random(3)  # noqa: S311
    taken = [
        *map(
            chr,
            filter(
                lambda code: unicodedata.decomposition(chr(code)) or unicodedata.combining(chr(code)),
                range(sys.maxunicode),
            ),
        )
    ]
    n_made = {False: 0, True: 0}
    for n in range(6000):
        if n == 3000:
            monkeypatch.setattr(normalizing, "COMPARED", ())
        drawn = [chosen.choice(taken) if n % 3 else chr(chosen.randint(*chosen.choice(RANGES))) for _ in range(n % 12)]
        text = "".join(character for character in drawn if not "\ud800" <= character < "\ue000")
        text = text.replace(text[:1], "=a ", 2) if n % 5 == 0 else text
        for form in FORMS:
            made, theirs = normalise(text, form), getattr(library.normalizers, form)().normalize_str(text)
            assert made is None or made == theirs, ascii(text)
            assert is_normal(text.encode(), form) == (made == text), ascii(text)
            n_made[n >= 3000] += made is not None
    assert n_made[False] > n_made[True] > 3000


def test_what_is_not_proven_equal_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A character on which they differ; under a Python to come, one of which Unicode 3.2 knows nothing."""
    assert [normalise(text, "NFKC") for text in ("\u32ff", "a\u1abf\u0315", "\uff1c\u212b", "plain")] == [
        None,
        None,
        "<\xc5",
        "plain",
    ]
    assert normalise("\U0001f600", "NFC") == "\U0001f600"
    monkeypatch.setattr(normalizing, "COMPARED", ())
    assert [normalise(text, "NFC") for text in ("\U0001f600", "e\u0301")] == [None, "\xe9"]


@pytest.mark.slow
def test_every_character_that_differs_is_known() -> None:
    """The table holds what a sweep finds with this Python and this library, in every form."""
    assert unicodedata.unidata_version in COMPARED
    assert derive(library_differs) <= {code for low, high in DIFFERING for code in range(low, high + 1)}

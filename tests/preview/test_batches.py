"""Promises of what is said of batches: each row's text fits its line, and the sentence on an epoch is arithmetic."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.reference import encode
from support.strategies import adversarial_text

from llmprep.preview.batches import epoch_line, row_lines
from llmprep.preview.fitting import columns_of
from llmprep.preview.plain import visible
from llmprep.tokens.decoding import Decoder
from llmprep.vocabulary.loading import load_vocabulary

SHOWN = Decoder.of(load_vocabulary("gpt2"))


@settings(max_examples=60)
@given(text=adversarial_text, rows=st.integers(1, 10), length=st.integers(1, 40), width=st.integers(50, 120))
def test_a_row_is_its_text_or_its_begin_and_its_end(text: str, rows: int, length: int, width: int) -> None:
    """A row whose text fits has all of it; of any other stand tokens of its begin and its end, and the next one."""
    ids = encode(f"{text} and some plain words that make a row of it " * 3)
    assume(len(ids) > length)
    lines = list(row_lines([ids[:length]] * rows, [ids[length]] * rows, SHOWN, width))
    whole, target = visible(SHOWN(ids[:length])), visible(SHOWN([ids[length]]))
    for number, line in enumerate(lines[: min(rows, 8)]):
        label, end = f"row {number}: ", f" ----> {target}"
        assert line.startswith(label)
        assert line.endswith(end)
        if columns_of(label + whole + end) <= width:
            assert line == label + whole + end
        else:
            cut = [
                (visible(SHOWN(ids[:k])), visible(SHOWN(ids[j:length])))
                for k in range(length)
                for j in range(k, length)
            ]
            assert line.removeprefix(label).removesuffix(end) in [f"{a} ... {b.lstrip(' ')}" for a, b in cut]
    assert (lines[-1] == f"... and {rows - 8} more row{'s' * (rows > 9)}") == (rows > 8)


@pytest.mark.parametrize("drop_last", [True, False])
@given(n=st.integers(1, 300_000), size=st.integers(1, 40))
def test_an_epoch_is_counted(n: int, size: int, drop_last: bool) -> None:
    """Batches, what is dropped or left for the last, and the epochs of 1,000 steps are those of the division."""
    whole, rest = divmod(n, size)
    n_batches = whole if drop_last else whole + (rest > 0)
    said = epoch_line(n, n_batches, size, size if drop_last or not rest else rest, rest if drop_last else 0)
    if not n_batches:
        assert said.endswith(f"less than a batch of {size}: with --drop-last there is none.")
        return
    assert f" {n_batches:,} batch" in said
    assert ("dropped" in said) == (drop_last and rest > 0)
    assert (f"the last of {rest};" in said) == (not drop_last and rest > 0 and n_batches > 1)
    stated = re.search(r"steps are ([\d,.]+) epochs", said)
    epochs = 1000 / n_batches
    rounding = 0.0051 if epochs < 1 else 0.051 if epochs < 10 else 0.51
    assert stated is None or abs(float(stated[1].replace(",", "")) - epochs) < rounding
    assert stated is not None or n_batches > 100_000

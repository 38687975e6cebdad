"""Hypothesis strategies: texts that are hard to cut, and shapes of windows."""

from hypothesis import strategies as st

PIECES = [
    "a", "Z", "the", " the", "word", "123", "7", " 42", "'s", "'ve", "'LL", "I'm", "don't", " ", "  ", "     ", "\t",
    "\n", "\n\n", " \n", "\n ", "\r", "\r\n", "\r\n\r\n", "\u0085", "\u00a0", "\u2028", "\u3000", "\u200b", ".",
    "...", "--", "/", "//", "\u3002\n", "(", ")", "_", "<|", "|>", "<|endoftext|>", "<|endoftext", "endoftext|>",
    "<|fim_prefix|>", "\u00e9", "e\u0301", "\u00df", "\u0130", "\u01c5", "\u4e2d", "\u6587", "\u65e5\u672c",
    "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0e44\u0e17\u0e22", "\u0627\u0644", "\u05d0", "\U0001f600",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0661", "\u00bd", "\u2167", "\x00", "\x1b[31m", "\ufeff",
    "\ufffd", "def f(x):\n    return x\n",
]  # fmt: skip

adversarial_text = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=60).map("".join)
"""Text dense in places where a careless cut would change ids."""

window_shapes = st.tuples(st.integers(0, 300), st.integers(1, 40), st.integers(1, 60))
"""(n tokens, max_length, stride)."""

documents = st.lists(st.lists(st.integers(0, 50), max_size=9), min_size=1, max_size=12)
"""The ids of the documents of a corpus, some without tokens."""


@st.composite
def packed_rows(draw: st.DrawFn) -> list[list[tuple[int, int]]]:
    """Rows of equal length, each token with its document; some are filled with end-of-text, which is of none (-1)."""
    width = draw(st.integers(2, 12))
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
        owners = [number for number, n in enumerate(lengths) for _ in range(n)][:width]
        ids = draw(st.lists(st.integers(0, 50), min_size=len(owners), max_size=len(owners)))
        rows.append([*zip(ids, owners, strict=True), *[(99, -1)] * (width - len(owners))])
    return rows

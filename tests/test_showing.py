"""Promises of what a notebook shows: tokens, pairs, windows and stores show themselves, and harm nobody."""

import re
import shutil
from html import unescape
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference
from support.commands import ROOT, SAMPLES
from support.stores import N_VOCAB, flip, make_store

from llmprep import Tokens, TokenStore, WindowDataset, build_store, create_dataloader
from llmprep.errors import DataError, FileFormatError, UsageError, VocabularyError
from llmprep.showing import draw_windows
from llmprep.store.schema import shard_name
from llmprep.vocabulary.references import Reference

EDGES = st.none() | st.integers(-30, 30)
HOSTILE = '</script><script>alert("x")</script> \u202e\x00\x1b[31m & <b>'


@pytest.fixture
def no_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder has any vocabulary but the package's own."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("LLMPREP_VOCAB_DIR", "")


def words(html: str) -> str:
    """What a reader sees of a fragment."""
    return unescape(re.sub(r"<[^>]*>", " ", html))


def numbers(html: str) -> list[int]:
    """The ids that a fragment shows, each under its token."""
    return [int(found) for found in re.findall(r">(\d+)</span></span>", html)]


@settings(max_examples=15)
@given(text=st.text(max_size=20), part=st.builds(slice, EDGES, EDGES, st.none() | st.sampled_from([-2, -1, 1, 3])))
def test_tokens_are_their_ids(text: str, part: slice) -> None:
    """Of a text or of ids: number, slices, iteration and text are those of the reference's ids."""
    text = text.encode("utf-8", "ignore").decode()
    ids = reference.encode(text)
    for tokens in (Tokens.of_text(text), Tokens(ids), Tokens(Tokens(np.array(ids, np.uint16)))):
        assert (list(tokens), tokens.n_tokens, len(tokens), tokens.text) == (ids, len(ids), len(ids), text)
        theirs = reference.tiktoken_encoding("gpt2").decode(ids[part])
        assert (list(tokens[part]), tokens[part].text) == (ids[part], theirs)
        assert all(tokens[k] == tokens[k - len(ids)] == ids[k] for k in range(len(ids)))
        assert (str(tokens.ids.dtype), tokens.ids.flags.writeable, tokens.encoding) == ("int64", False, "gpt2")
        assert np.asarray(tokens).flags.writeable
        assert torch.tensor(tokens).tolist() == ids
        assert repr(tokens).startswith(f"Tokens({len(ids)} token{'s' * (len(ids) != 1)}, gpt2: ")
    with pytest.raises(IndexError):
        tokens[len(ids)]


def test_tokens_say_what_they_are() -> None:
    """The repr begins their text, or where the vocabulary is missing their ids; only public names are completed."""
    said = {
        Tokens.of_text("I HAD always"): "4 tokens, gpt2: 'I HAD always'",
        Tokens([40], "davinci"): "1 token, r50k_base: 'I'",
        Tokens.of_text("a \u202e\n<b>"): r"7 tokens, gpt2: 'a \u202e\n<b>'",
        Tokens.of_text("word " * 40): f"41 tokens, gpt2: '{'word ' * 7}word...'",
        Tokens.of_text("a" + "\u9f98" * 20): "41 tokens, gpt2: 'a\u9f98\u9f98\u9f98\u9f98\u9f98\u9f98\u9f98...'",
    }
    for tokens, wanted in said.items():
        assert repr(tokens) == f"Tokens({wanted})"
    assert set(dir(tokens)) == {"encoding", "ids", "n_tokens", "of_text", "pairs", "refers", "text"}


def test_pairs_grow_from_tokens() -> None:
    """They are the loop's, in each window; too few tokens are refused with the number that it takes."""
    ids = reference.encode((SAMPLES / "story.txt").read_text(encoding="utf-8"))
    for size, count in ((4, 1), (1, 1), (3, 40)):
        pairs = Tokens(ids)[50:].pairs(size, count)
        starts = range(50, 50 + size * count, size)
        assert list(pairs) == [pair for start in starts for pair in reference.pair_rows(ids[start:], size)]
        shown = [token for context, target in list(pairs)[:16] for token in (*context, target)]
        assert numbers(pairs._repr_html_()) == shown
        assert ("first 16 pairs of 120" in words(pairs._repr_html_())) == (size == 3)
        assert (len(pairs), repr(pairs)[:5], repr(pairs)[-7:]) == (size * count, "Token", ", gpt2)")
    with pytest.raises(DataError, match=r"^8 tokens: 2 windows with contexts of up to 4 take 9; lower "):
        Tokens(ids)[:8].pairs(4, 2)


def test_what_is_no_tokens_is_refused() -> None:
    """A text or a path is told from ids; ids are whole numbers from 0 on; an encoding is known, and is the tokens'."""
    for wrong in ("a text", SAMPLES / "story.txt", b"a text", [1.5], [-1], 7):
        hint = r"Tokens\.of_text takes a text, open_tokens a file$" if isinstance(wrong, str | Path) else ""
        with pytest.raises(UsageError, match=rf"^ids: .*{hint}"):
            Tokens(wrong)  # type: ignore[arg-type]
    with pytest.raises(VocabularyError, match="did you mean gpt2"):
        Tokens([1], "gtp2")
    with pytest.raises(UsageError, match="cl100k_base: source was made with gpt2"):
        WindowDataset(Tokens(range(40)), 4, encoding="cl100k_base")
    loader: Any = create_dataloader(Tokens(range(40)), 1, 4, 4, shuffle=False)
    assert (loader.dataset.encoding, next(iter(loader))[1].tolist()) == ("gpt2", [[1, 2, 3, 4]])


@pytest.mark.usefixtures("no_vocabulary")
def test_showing_never_fails_nor_downloads(tmp_path: Path) -> None:
    """Ids stand without text where the vocabulary is missing or unknown; a shard that is gone is said in its place."""
    torch.save({"token_ids": torch.arange(9), "meta": {"encoding": "<b>\x1b[31m"}}, path := tmp_path / "<i>.pt")
    tokens = Tokens([40, 367, 9_999_999], "o200k_base")
    assert repr(tokens) == "Tokens(3 tokens, o200k_base: [40, 367, 9999999])"
    for shown, ids, why in (
        (tokens, [40, 367, 9_999_999], "the vocabulary of o200k_base is not on this computer"),
        (tokens.pairs(2), [40, 367, 40, 367, 9_999_999], "the vocabulary of o200k_base is not on this computer"),
        (WindowDataset(np.arange(5), 4), [0, 1, 2, 3, 1, 2, 3, 4], "the encoding is not known"),
        (WindowDataset(path, 8, check=False), [*range(8), *range(1, 9)], r"the vocabulary of <b>\x1b[31m is not on"),
    ):
        html = shown._repr_html_()
        assert (numbers(html), f"without text: {why}" in words(html)) == (ids, True)
        assert not re.search(r"<[bi]>|\x1b", html)
    store = TokenStore(make_store(tmp_path / "store", [range(9), range(9)]))
    (store.folder / shard_name(0)).unlink()
    assert "its tokens cannot be shown: " in words(store._repr_html_())


def test_only_what_is_shown_is_read(tmp_path: Path) -> None:
    """The first ids and windows of a store are shown, of how many is said, and no shard is checked for it."""
    store = TokenStore(make_store(tmp_path / "store", [range(100), range(100, N_VOCAB)]))
    dataset = WindowDataset(store.folder, 20, 45)
    shard = store.folder / shard_name(1)
    flip(shard, shard.read_bytes().index(np.arange(1000, 1004, dtype="<u2").tobytes()))
    assert numbers(store._repr_html_()) == list(range(32))
    assert words(store._repr_html_()).endswith("  the first 32 tokens of 50,257  ")
    starts = (0, 1, 45, 46, 90, 91)
    assert numbers(dataset._repr_html_()) == [start + k for start in starts for k in range(16)]
    assert "the first 3 windows of 1,117, of each the first 16 tokens of 20 " in words(dataset._repr_html_())
    with pytest.raises(FileFormatError):
        dataset[2]
    assert "first" not in words(draw_windows("said", lambda *_: [([1], [2])], (1, 1), Reference("gpt2")))


COMPLETION = """
from IPython.core.completer import provisionalcompleter
complete, names = get_ipython().Completer.completions, ("dataset", "store", "tokens")
with provisionalcompleter():
    found = [[completion.text for completion in complete(f"{name}.", len(name) + 1)] for name in names]
found == [dir(dataset), dir(store), dir(tokens)]
"""
NOTEBOOK = (
    ("import llmprep\nfrom llmprep import *\ndir(llmprep) == sorted([*llmprep.__all__, '__version__'])", "True"),
    ("tokens = Tokens.of_text('I HAD always thought')\ntokens", "Tokens(5 tokens, gpt2: 'I HAD always thought')"),
    ("tokens.pairs(3)", "TokenPairs(3 pairs, contexts of up to 3 tokens, 1 window, gpt2)"),
    ("(dataset := WindowDataset('story.txt', 4))", "WindowDataset('story.txt', 1,564 windows of 4, stride 4, gpt2)"),
    ("[tuple(part.shape) for part in dataset[-3:]]", "[(3, 4), (3, 4)]"),
    ("store = TokenStore('store')\nstore", "TokenStore('store', 6,259 tokens in 1 shard, gpt2)"),
    ("store[18:20]", "array([  262, 11920])"),
    ("stream = open_tokens('story.txt')\nstream", "TokenStream('story.txt', gpt2, blocks of ids, to be read once)"),
    ("sum(map(len, stream))", "6259"),
    (f"Tokens.of_text({HOSTILE!r})", None),
    ("Tokens([40, 367], 'o200k_base')", "Tokens(2 tokens, o200k_base: [40, 367])"),
    (COMPLETION, "True"),
)  # fmt: skip
"""Cells, and what each says in plain text."""


@pytest.mark.slow
@pytest.mark.usefixtures("no_vocabulary")
def test_a_notebook_shows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run cell by cell in a kernel, objects show as HTML what they are; nothing in a text becomes markup."""
    nbclient, v4 = import_module("nbclient"), import_module("nbformat.v4")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("IPYTHONDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    shutil.copy(SAMPLES / "story.txt", tmp_path)
    build_store(tmp_path / "story.txt", tmp_path / "store")
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source, _ in NOTEBOOK])
    nbclient.NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()

    shown: list[Any] = [cell.outputs[-1].data for cell in notebook.cells]
    for (_, plain), data in zip(NOTEBOOK, shown, strict=True):
        assert plain in (None, data["text/plain"])
    pages = [data.get("text/html", "") for data in shown]
    ids = reference.encode("I HAD always thought")
    rows, moved = reference.window_rows(reference.encode((SAMPLES / "story.txt").read_text(encoding="utf-8")), 4, 4)
    assert numbers(pages[1]) == ids
    assert numbers(pages[2]) == [token for end in (2, 3, 4) for token in ids[:end]]
    assert numbers(pages[3]) == [token for both in zip(rows[:3], moved, strict=False) for row in both for token in row]
    assert "always" in words(pages[2])
    assert "thought" not in words(pages[7])
    assert not re.search("<(?!/?(div|span|table|caption|tbody|tr|td|th|code)[ >])|[\x00\x1b\u202e]", pages[9])

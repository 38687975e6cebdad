"""Promises of inputs: what a name is is told in one place; a file or store keeps the choices it was made with."""

from html import escape
from pathlib import Path
from typing import Any

import pytest
import torch
from support import reference
from support.commands import Call
from support.streams import all_ids, ids_sha256, open_files, piped, saved

from llmprep.choices import Reading, TextOptions
from llmprep.errors import DataError, FileFormatError, InputError, UsageError
from llmprep.formats.vocabularies import check_file_ids
from llmprep.inputs import Texts, open_each, open_input, open_tokens, open_windows, stream_input
from llmprep.ptfile.reading import PtFile, read_pt
from llmprep.store.reading import TokenStore

WORDS = "one two three four five six"
IDS = reference.encode(WORDS)


@pytest.fixture
def made(call: Call, tmp_path: Path) -> Path:
    """A folder with a text, a tokens file, a windows file and a store of it."""
    (tmp_path / "a.txt").write_text(WORDS)
    assert call("tokenize", "a.txt", "-o", "tokens.pt").code == 0
    assert call("window", "a.txt", "--max-length", "2", "--stride", "1", "-o", "windows.pt").code == 0
    assert call("window", "a.txt", "--max-length", "2", "--stride", "3", "-o", "gaps.pt").code == 0
    assert call("tokenize", "a.txt", "-o", "store/", "--val-fraction", "0.5").code == 0
    return tmp_path


def test_what_a_name_is(made: Path) -> None:
    """A folder with a manifest is a store, one file that begins as a zip is a .pt file, all else is texts."""
    assert isinstance(open_input(["store"]), TokenStore)
    (made / "renamed.txt").write_bytes((made / "tokens.pt").read_bytes())
    assert isinstance(open_input(["renamed.txt"]), PtFile)
    for paths, count in ((["a.txt"], 1), (["a.txt", "tokens.pt"], 2), ([str(made / "store/../a.txt")], 1)):
        found = open_input(paths)
        assert isinstance(found, Texts)
        assert len(found.sources) == count
    for given in ("a.txt", Path("a.txt"), ["a.txt"], (Path("a.txt"),)):
        assert all_ids(open_tokens(given)) == IDS
    file: Any = open_input(["tokens.pt"])
    again: Any = open_input(["tokens.pt"], known=file.state)
    unchecked: Any = open_input(["tokens.pt"], check=False)
    assert (file.checked, again.checked, unchecked.checked) == (True, False, False)


def test_a_pipe_is_recognised_and_read_once(made: Path) -> None:
    """A .pt file that comes through a pipe is spooled or refused, a text is not lost, and nothing stays open."""
    files = open_files()
    for name, kind in (("tokens.pt", PtFile), ("windows.pt", PtFile), ("a.txt", Texts)):
        for number in range(2):
            with piped(made / f"{number} of {name}", (made / name).read_bytes()) as pipe:
                found = open_input([str(pipe)], pipes="unread" if number else "any")
                assert isinstance(found, kind if number == 0 else Texts)  # unopened, a pipe is taken for text
                assert all_ids(stream_input(found, Reading()) if number == 0 else open_tokens([str(pipe)])) == IDS
    with (
        piped(made / "pipe", (made / "tokens.pt").read_bytes()) as pipe,
        pytest.raises(UsageError, match=r"a \.pt file is mapped, which a pipe cannot be; save it first"),
    ):
        open_input([str(pipe)], pipes="texts")
    assert open_files() == files


@pytest.mark.parametrize("name", ["a.txt", "tokens.pt", "windows.pt", "store"])
def test_any_input_is_one_stream_and_has_windows(name: str, made: Path) -> None:
    """Texts, a tokens file, a windows file and a store give the same ids, origin, figures and windows."""
    stream = open_tokens([name])

    assert repr(stream) == f"TokenStream('{name}', gpt2, blocks of ids, to be read once)"
    assert stream._repr_html_() == f"<code>{escape(repr(stream))}</code>"
    assert all_ids(stream) == IDS
    origin, figures = stream.origin, stream.figures
    assert (origin.name, origin.encoding, origin.n_vocab) == (name, "gpt2", 50257)
    assert origin.options == TextOptions().content()
    assert origin.load_vocabulary().sha256 == origin.vocab_sha256
    assert (figures.n_tokens, sum(record["tokens"] for record in figures.sources)) == (len(IDS), len(IDS))
    assert figures.content_sha256 == ids_sha256(IDS)
    source = open_windows([name], 2, 1)
    assert source.rows.tolist() == reference.window_rows(IDS, 2, 1)[0]
    assert source.rows.strides[0] == source.rows.strides[1]  # views: nothing is copied
    assert source.figures.n_tokens == len(IDS)
    assert (source.origin.options["max_length"], source.origin.options["stride"]) == (2, 1)


@pytest.mark.parametrize("name", ["tokens.pt", "windows.pt", "store"])
def test_choices_come_too_late_for_ids(name: str, made: Path) -> None:
    """Another encoding, or any option for text, is a usage error, not silence; the same encoding is none."""
    assert all_ids(open_tokens([name], Reading("gpt-2"))) == IDS
    with pytest.raises(UsageError, match=f"^--encoding cl100k_base: {name} was made with gpt2"):
        open_tokens([name], Reading("cl100k_base"))
    for reading in (Reading(options=TextOptions()), Reading(text_field="text")):
        with pytest.raises(UsageError, match=f"^{name}: already holds tokens, so options for text do not apply"):
            open_tokens([name], reading)


def test_a_tokens_file_of_another_program(tmp_path: Path) -> None:
    """A dict of ``token_ids`` that torch saved needs no ``meta``: --encoding says whose its ids are."""
    for dtype in (torch.int64, torch.int32, torch.uint16):
        saved(tmp_path / "x.pt", token_ids=torch.tensor([5, 50256, 7]).to(dtype))
        stream = open_tokens([str(tmp_path / "x.pt")], Reading("gpt-2"))
        assert all_ids(stream) == [5, 50256, 7]
        assert (stream.origin.encoding, stream.figures.n_tokens) == ("gpt2", 3)


def test_each_input_is_a_stream_of_its_own(made: Path) -> None:
    """Inputs of any kind are opened one by one, but for a store, which stands alone; all are found first."""
    (made / "b.txt").write_text("The end.")

    found = [all_ids(stream) for stream in open_each(["b.txt", "a.txt", "windows.pt"], Reading())]

    assert found == [reference.encode("The end."), IDS, IDS]
    assert [all_ids(stream) for stream in open_each(["store"], Reading())] == [IDS]
    with pytest.raises(InputError, match="missing: no such file or directory"):
        next(open_each(["b.txt", "missing"], Reading()))
    with pytest.raises(UsageError, match="store: is a token store, which cannot be combined with other inputs"):
        next(open_each(["b.txt", "store"], Reading()))


def test_windows_have_the_shape_that_is_chosen_or_their_own(made: Path) -> None:
    """max_length is 256 and stride is max_length unless chosen; a windows file's own may have gaps, and stand."""
    watched: list[Any] = []
    assert open_windows(["a.txt"], 2, watch=watched.append).rows.tolist() == reference.window_rows(IDS, 2, 2)[0]
    assert [counts.n_bytes for counts in watched[0]] == [len(WORDS)]
    assert open_windows(["gaps.pt"]).rows.tolist() == reference.window_rows(IDS, 2, 3)[0]
    with pytest.raises(DataError, match=r"a\.txt: 6 tokens give no window of max_length 256"):
        open_windows(["a.txt"])
    for shape, message in (((3, None), "max_length 3: gaps.pt was made with"), ((2, 2), "stride 2: gaps.pt was made")):
        with pytest.raises(UsageError, match=message):
            open_windows(["gaps.pt"], *shape)


@pytest.mark.parametrize("key", ["token_ids", "input_ids"])
def test_a_files_ids_are_checked_by_the_vocabulary_it_names(key: str, made: Path) -> None:
    """The vocabulary is that of ``meta``, or else of --encoding; if neither names one, no id may be negative."""

    def file_of(value: int) -> PtFile:
        row = torch.tensor([1, value])
        return saved(made / "x.pt", **({key: row} if key == "token_ids" else {key: row[None], "target_ids": row[None]}))

    check_file_ids(read_pt(made / "tokens.pt"), "gpt2")
    with pytest.raises(UsageError, match="was made with gpt2"):
        check_file_ids(read_pt(made / "tokens.pt"), "cl100k_base")
    check_file_ids(file_of(50_256), "gpt2")
    check_file_ids(file_of(1 << 40))
    for value, encoding, message in ((50_257, "gpt2", ">= vocabulary 50257"), (-1, None, "is negative")):
        with pytest.raises(FileFormatError, match=message):
            check_file_ids(file_of(value), encoding)

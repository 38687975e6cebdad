"""Promises of embedding: the course's input embeddings, bit for bit, through the `embed` command."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support import reference
from torch import Tensor

from llmprep.cli.main import run
from llmprep.errors import UsageError
from llmprep.pytorch.embedding import CONTEXT_LENGTH, DIM, check_device, make_plan
from llmprep.pytorch.loaders import create_dataloader

FIRST_NUMBERS = [0.33737, -0.17778, -0.30353]
"""How the course's token table begins under seed 123."""


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Outputs land in the test's own folder; signals, which a run catches, act on the tests as before."""
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def few(story: Path, tmp_path: Path) -> Path:
    """The first paragraphs of the story: 36 windows and a tail of max_length 4."""
    ids = reference.encode(story.read_text(encoding="utf-8"))[: 36 * 4 + 3]
    path = tmp_path / "few.txt"
    path.write_text(reference.tiktoken_encoding("gpt2").decode(ids), encoding="utf-8")
    assert reference.encode(path.read_text(encoding="utf-8")) == ids
    return path


def embed(*arguments: str | Path) -> Tensor:
    """Run ``llmprep embed`` with max_length and stride 4, and read its file back."""
    assert run(["embed", *map(str, arguments), "--max-length", "4", "--stride", "4", "-q", "-o", "out.pt"]) == 0
    result: Tensor = torch.load("out.pt", weights_only=True)["input_embeddings"]
    return result


def expected(path: Path, **options: Any) -> Tensor:
    """All of the reference's batches, one behind the other."""
    return torch.cat(list(reference.embeddings(path.read_text(encoding="utf-8"), **options)))


def chapter(path: Path, **options: Any) -> Tensor:
    """All of the reference's batches, as ch02.ipynb makes them."""
    return torch.cat(list(reference.chapter_embeddings(path.read_text(encoding="utf-8"), **options)))


def fails(capsys: pytest.CaptureFixture[str], code: int, *arguments: str | Path) -> str:
    """Run ``llmprep embed``, which must end with this code, one line and no output; returns the line."""
    assert run(["embed", *map(str, arguments), "-o", "none.pt"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert not Path("none.pt").exists()
    (line,) = [line for line in printed.err.splitlines() if not line.startswith("llmprep: note: ")]
    assert line.startswith("llmprep: error: ")
    return line


# --- equal to the course --------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("source", ["story", "verdict"])
def test_embeddings_are_the_courses(source: str, shuffle: bool, request: pytest.FixtureRequest) -> None:
    """Under seed 123 all batches of a whole text equal the course's code's, bit for bit, shuffled or not."""
    path: Path = request.getfixturevalue(source)

    ours = embed(path, "--seed", "123", *(["--shuffle"] if shuffle else []))

    assert torch.equal(ours, expected(path, shuffle=shuffle))


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("source", ["story", "verdict"])
def test_the_chapters_own_order_is_given_too(
    source: str, shuffle: bool, drop_last: bool, request: pytest.FixtureRequest
) -> None:
    """--order ch02 gives, bit for bit, what ch02.ipynb gives when run from the top, with its positional table of 4."""
    path: Path = request.getfixturevalue(source)
    options = [*(["--drop-last"] if drop_last else []), *(["--shuffle"] if shuffle else [])]

    ours = embed(path, "--order", "ch02", "--context-length", "4", *options)

    assert torch.equal(ours, chapter(path, shuffle=shuffle, drop_last=drop_last))
    assert not torch.equal(ours, expected(path, shuffle=shuffle, drop_last=drop_last))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batches", [1, 2, 1000])
def test_batches_are_counted_alike_in_both_orders(batches: int, shuffle: bool, few: Path) -> None:
    """--batches N takes the batch that ch02.ipynb takes before its positional table is made, and N - 1 more."""
    options = ["--batches", str(batches), "--seed", "7", *(["--shuffle"] if shuffle else [])]

    ours = embed(few, "--order", "ch02", *options)

    assert torch.equal(ours, chapter(few, seed=7, shuffle=shuffle)[: 8 * batches])


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("notebook", [reference.embeddings, reference.chapter_embeddings])
def test_the_notebooks_cells_run_with_create_dataloader(
    notebook: Callable[..., Iterator[Tensor]], shuffle: bool, few: Path
) -> None:
    """With `create_dataloader` in place of their own loader, either notebook's lines give the same embeddings."""
    text = few.read_text(encoding="utf-8")

    ours = torch.cat(list(notebook(text, shuffle=shuffle, make_loader=create_dataloader)))

    assert torch.equal(ours, torch.cat(list(notebook(text, shuffle=shuffle))))


@pytest.mark.parametrize(("seed", "shuffle"), [(0, False), (7, True)])
def test_another_seed_gives_the_courses_other_numbers(seed: int, shuffle: bool, few: Path) -> None:
    """Any seed decides tables and order as it does in the course's code."""
    ours = embed(few, "--seed", str(seed), *(["--shuffle"] if shuffle else []))

    assert torch.equal(ours, expected(few, seed=seed, shuffle=shuffle))
    assert not torch.equal(ours, expected(few, shuffle=shuffle))


@pytest.mark.parametrize("context_length", [4, 256])
def test_a_shorter_context_is_the_courses(context_length: int, few: Path) -> None:
    """With as many positions as a window has tokens, and with more, the numbers are the course's."""
    ours = embed(few, "--context-length", str(context_length))

    assert torch.equal(ours, expected(few, context_length=context_length))


def test_the_token_table_begins_as_the_courses(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under the default seed the table begins 0.33737, -0.17778, -0.30353, and both previews say so."""
    torch.manual_seed(123)
    assert [round(value, 5) for value in torch.nn.Embedding(50257, 256).weight[0, :3].tolist()] == FIRST_NUMBERS
    arguments = ["embed", str(few), "--max-length", "4", "-o", "out.pt"]

    assert run(arguments) == 0
    assert "token table begins 0.33737, -0.17778, -0.30353\n" in capsys.readouterr().out
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["token_table_begins"] == FIRST_NUMBERS


# --- sources --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "shuffle"), [("int64", True), ("uint16", False)])
def test_files_of_ids_give_the_texts_embeddings(dtype: str, shuffle: bool, few: Path) -> None:
    """A tokens file, a windows file and a dense one give what the text itself gives."""
    assert run(["tokenize", str(few), "--dtype", dtype, "-q", "-o", "few.tokens.pt"]) == 0
    window = ["window", str(few), "--max-length", "4", "--dtype", dtype, "-q"]
    assert run([*window, "-o", "few.windows.pt"]) == 0
    assert run([*window, "--dense", "-o", "dense.windows.pt"]) == 0
    wanted = expected(few, shuffle=shuffle)

    for source in ("few.tokens.pt", "few.windows.pt", "dense.windows.pt"):
        assert torch.equal(embed(source, *(["--shuffle"] if shuffle else [])), wanted)


def test_a_windows_file_knows_its_sizes(few: Path) -> None:
    """A windows file needs neither --max-length nor --stride."""
    assert run(["window", str(few), "--max-length", "3", "--stride", "2", "-q", "-o", "few.windows.pt"]) == 0

    assert run(["embed", "few.windows.pt", "-q", "-o", "out.pt"]) == 0

    ours = torch.load("out.pt", weights_only=True)["input_embeddings"]
    assert torch.equal(ours, expected(few, max_length=3, stride=2))


# --- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("drop_last", "n_windows"), [(False, 36), (True, 32)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_last_batch_is_dropped_if_asked(drop_last: bool, n_windows: int, shuffle: bool, few: Path) -> None:
    """--drop-last leaves out the incomplete last batch, as the course's loader does; else it is embedded."""
    options = [*(["--drop-last"] if drop_last else []), *(["--shuffle"] if shuffle else [])]

    ours = embed(few, "--batch-size", "8", *options)

    assert ours.shape == (n_windows, 4, 256)
    assert torch.equal(ours, expected(few, shuffle=shuffle, drop_last=drop_last))


@pytest.mark.parametrize("batch_size", [1, 5, 36, 1000])
def test_the_batch_size_never_shows(batch_size: int, few: Path) -> None:
    """However many windows are embedded at once, the file is the same."""
    assert torch.equal(embed(few, "--batch-size", str(batch_size)), expected(few))


@pytest.mark.parametrize(
    ("batches", "n_windows", "shuffle"), [(1, 8, False), (2, 16, True), (4, 32, True), (5, 36, True), (1000, 36, False)]
)
def test_the_first_batches_are_taken_if_asked(batches: int, n_windows: int, shuffle: bool, few: Path) -> None:
    """--batches N embeds the loader's first N batches, or all where there are fewer."""
    ours = embed(few, "--batches", str(batches), *(["--shuffle"] if shuffle else []))

    assert torch.equal(ours, expected(few, shuffle=shuffle)[:n_windows])


# --- weights --------------------------------------------------------------------------------------


def test_saved_weights_are_the_courses_tables(few: Path) -> None:
    """--save-weights writes the two tables, which torch loads and which equal the course's."""
    embed(few, "--save-weights", "weights.pt")

    weights = torch.load("weights.pt", weights_only=True)

    torch.manual_seed(123)
    token, position = torch.nn.Embedding(50257, 256), torch.nn.Embedding(1024, 256)
    assert list(weights) == ["token_embedding.weight", "pos_embedding.weight"]
    assert torch.equal(weights["token_embedding.weight"], token.weight)
    assert torch.equal(weights["pos_embedding.weight"], position.weight)


def test_saved_weights_are_the_chapters_tables(few: Path) -> None:
    """With --order ch02 they are the tables that ch02.ipynb has at its end."""
    embed(few, "--order", "ch02", "--context-length", "4", "--save-weights", "weights.pt")

    weights = torch.load("weights.pt", weights_only=True)

    torch.manual_seed(123)
    torch.nn.Embedding(6, 3)
    token = torch.nn.Embedding(50257, 256)
    next(iter(reference.dataloader(few.read_text(encoding="utf-8"), 8, 4, 4, shuffle=False)))
    assert torch.equal(weights["token_embedding.weight"], token.weight)
    assert torch.equal(weights["pos_embedding.weight"], torch.nn.Embedding(4, 256).weight)


def test_weights_come_back_under_another_seed(few: Path) -> None:
    """Saved tables give the same embeddings again, whatever the seed."""
    first = embed(few, "--save-weights", "weights.pt")

    assert torch.equal(embed(few, "--weights", "weights.pt", "--seed", "7"), first)


def test_weights_do_not_change_the_order(few: Path) -> None:
    """Under one seed windows are shuffled alike with and without given tables."""
    first = embed(few, "--shuffle", "--save-weights", "weights.pt")

    assert torch.equal(embed(few, "--shuffle", "--weights", "weights.pt"), first)
    assert not torch.equal(embed(few, "--shuffle", "--weights", "weights.pt", "--seed", "7"), first)


def test_weights_are_shuffled_in_the_order_of_drawing(few: Path) -> None:
    """Given tables do not change how --order ch02 shuffles, which is not how the other order does."""
    first = embed(few, "--shuffle", "--order", "ch02", "--save-weights", "weights.pt")

    assert torch.equal(embed(few, "--shuffle", "--order", "ch02", "--weights", "weights.pt"), first)
    assert not torch.equal(embed(few, "--shuffle", "--weights", "weights.pt"), first)


@pytest.mark.parametrize("order", ["ch02", "dataloader"])
def test_an_order_of_drawing_nothing_is_refused(order: str, few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With given tables and windows in their own order nothing drawn is used: --order does not apply."""
    line = fails(capsys, 2, few, "--weights", "missing.pt", "--order", order)

    assert line.endswith(f"--order {order}: --weights has both tables and nothing is shuffled; leave it out")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_weights_of_torch_save_are_taken(dtype: torch.dtype, few: Path) -> None:
    """Tables that torch.save wrote, of other sizes and dtypes, are used as float32."""
    generator = torch.Generator().manual_seed(1)
    token = torch.randn(50257, 8, generator=generator).to(dtype)
    position = torch.randn(5, 8, generator=generator).to(dtype)
    torch.save({"token_embedding.weight": token, "pos_embedding.weight": position}, "theirs.pt")
    inputs = torch.tensor(reference.window_rows(reference.encode(few.read_text(encoding="utf-8")), 4, 4)[0])

    ours = embed(few, "--weights", "theirs.pt")

    assert torch.equal(ours, token.float()[inputs] + position.float()[:4])


@pytest.mark.parametrize(
    "keys",
    [
        ("tok_emb.weight", "pos_emb.weight"),
        ("token_embedding_layer.weight", "pos_embedding_layer.weight"),
        ("token_embedding.weight", "pos_embedding.weight"),
    ],
)
def test_weights_of_the_courses_model_are_taken(keys: tuple[str, str], few: Path) -> None:
    """Parameters under the course's own names, among others, give what the same tables give under llmprep's names."""
    ours = embed(few, "--save-weights", "weights.pt")
    tables = torch.load("weights.pt", weights_only=True)
    named = {key: torch.nn.Parameter(table) for key, table in zip(keys, tables.values(), strict=True)}
    torch.save({"out_head.weight": torch.zeros(3), **named}, "model.pt")

    assert torch.equal(embed(few, "--weights", "model.pt", "--seed", "7"), ours)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (
            {"embed.weight": torch.zeros(2, 4), "epoch": 3},
            "or tok_emb.weight and pos_emb.weight, or token_embedding_layer.weight and pos_embedding_layer.weight; th",
        ),
        (
            {f"{key}.weight": torch.zeros(2, 4) for key in ("tok_emb", "pos_emb", "token_embedding", "pos_embedding")},
            "holds token_embedding.weight and tok_emb.weight; leave one pair of tables",
        ),
        ({"embed.weight": torch.zeros(2, 4), "epoch": 3}, "; this file's keys: embed.weight, epoch"),
        ({}, "a weights file has token_embedding.weight (V, D) and pos_embedding.weight (C, D)"),
        ({"token_embedding.weight": torch.zeros(50257, 4)}, "a weights file has"),
        (
            {"token_embedding.weight": torch.zeros(50257, 4), "pos_embedding.weight": torch.zeros(8)},
            "pos_embedding.weight (8,): need (V, D) and (C, D)",
        ),
        (
            {"token_embedding.weight": torch.zeros(50257, 4), "pos_embedding.weight": torch.zeros(8, 5)},
            "token_embedding.weight (50257, 4) and pos_embedding.weight (8, 5): need (V, D) and (C, D), of one width",
        ),
        (
            {"token_embedding.weight": torch.zeros(50257, 0), "pos_embedding.weight": torch.zeros(8, 0)},
            "not empty",
        ),
        (
            {"token_embedding.weight": torch.zeros(50257, 4), "pos_embedding.weight": torch.zeros(0, 4)},
            "not empty",
        ),
        (
            {
                "token_embedding.weight": torch.zeros(50257, 4, dtype=torch.int64),
                "pos_embedding.weight": torch.zeros(8, 4),
            },
            "needs token_embedding.weight as float32, float16 or float64",
        ),
    ],
)
def test_weights_of_another_form_are_refused(
    tables: dict[str, Tensor], words: str, few: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file without the two tables, or with tables of wrong rank, width or dtype, is exit code 4."""
    torch.save(tables, "weights.pt")

    assert words in fails(capsys, 4, few, "--max-length", "4", "--weights", "weights.pt")


@pytest.mark.parametrize(("option", "wrong", "own"), [("--dim", 16, 8), ("--context-length", 9, 5)])
def test_sizes_that_are_not_the_weights_are_refused(
    option: str, wrong: int, own: int, few: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A size given beside --weights must be that of the tables."""
    torch.save({"token_embedding.weight": torch.zeros(50257, 8), "pos_embedding.weight": torch.zeros(5, 8)}, "w.pt")
    arguments: list[str | Path] = [few, "--max-length", "4", "--weights", "w.pt"]

    assert f"{option} {wrong}: w.pt has {own}" in fails(capsys, 2, *arguments, option, str(wrong))
    assert embed(*arguments, option, str(own)).shape == (36, 4, 8)


def test_ids_beyond_the_weights_are_refused(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An id that a small table has no row for is named with its place, before any lookup."""
    torch.save({"token_embedding.weight": torch.zeros(300, 8), "pos_embedding.weight": torch.zeros(5, 8)}, "w.pt")
    inputs, _ = reference.window_rows(reference.encode(few.read_text(encoding="utf-8")), 4, 4)
    row, column = next((r, c) for r, row in enumerate(inputs) for c, token in enumerate(row) if token >= 300)

    line = fails(capsys, 4, few, "--max-length", "4", "--weights", "w.pt")

    assert f"id {inputs[row][column]} at [{row}, {column}] >= vocabulary 300" in line


# --- dtypes and shapes ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes_round_as_torch_does(dtype: torch.dtype, few: Path) -> None:
    """Narrow floats are the float32 result rounded by torch, bit for bit."""
    ours = embed(few, "--dtype", str(dtype).removeprefix("torch."))

    assert ours.dtype == dtype
    assert torch.equal(ours, expected(few).to(dtype))


def test_shapes_are_told(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The result is (N, L, D), contiguous, and the preview tells the shapes of one batch and of both tables."""
    assert run(["embed", str(few), "--max-length", "4", "--dim", "16", "--json", "-o", "out.pt"]) == 0

    told = json.loads(capsys.readouterr().out)
    result = torch.load("out.pt", weights_only=True)["input_embeddings"]
    assert result.shape == (36, 4, 16)
    assert result.is_contiguous()
    assert told["shape"] == [36, 4, 16]
    assert told["first_batch"] == [8, 4, 16]
    assert (told["token_table"], told["position_table"]) == ([50257, 16], [1024, 16])


def test_the_file_says_what_it_was_made_with(few: Path) -> None:
    """Every option that decides the numbers stands in meta, and the hash of given weights."""
    embed(few, "--shuffle", "--seed", "7", "--save-weights", "w.pt")
    embed(few, "--weights", "w.pt", "--dtype", "float16", "--seed", "7")

    meta = torch.load("out.pt", weights_only=True)["meta"]

    assert (meta["kind"], meta["encoding"], meta["n_tokens"]) == ("embeddings", "gpt2", 36 * 4 + 3)
    chosen = {"seed": 7, "shuffle": False, "dtype": "float16", "dim": 256, "context_length": 1024, "max_length": 4}
    assert meta["options"].items() >= chosen.items()
    assert len(meta["options"]["weights_sha256"]) == 64


def test_the_file_says_in_which_order_it_was_drawn(few: Path) -> None:
    """Another order than the default stands in meta; the default, named or not, gives the same bytes as before."""
    embed(few, "--order", "ch02")
    options = torch.load("out.pt", weights_only=True)["meta"]["options"]
    embed(few)
    unnamed = Path("out.pt").read_bytes()
    embed(few, "--order", "dataloader")

    assert options["order"] == "ch02"
    assert Path("out.pt").read_bytes() == unnamed
    assert "order" not in torch.load("out.pt", weights_only=True)["meta"]["options"]


def test_defaults_are_the_courses_sizes() -> None:
    """256 numbers a token and 1,024 positions, unless told otherwise."""
    plan = make_plan((10, 4), 50257)

    assert (plan.dim, plan.context_length, plan.batch_size, plan.dtype) == (DIM, CONTEXT_LENGTH, 8, "float32")
    assert (DIM, CONTEXT_LENGTH) == (256, 1024)
    assert (plan.shape, plan.n_batches, plan.n_bytes) == ((10, 4, 256), 2, 10 * 4 * 256 * 4)


# --- errors ---------------------------------------------------------------------------------------


def test_windows_longer_than_the_context_are_refused(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """max_length beyond context_length names both numbers."""
    line = fails(capsys, 2, few, "--max-length", "8", "--context-length", "7")

    assert "max_length 8 is larger than --context-length 7" in line


def test_tables_beyond_the_memory_are_refused(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables that cannot fit are refused with the size they would need, before any is made."""
    line = fails(capsys, 2, few, "--max-length", "4", "--dim", "65536", "--context-length", str(2**31 - 1))

    assert f"need {(50257 + 2**31 - 1) * 65536 * 4 / 1e9:.1f} GB" in line


@pytest.mark.parametrize("wrong", ["0", "-1", "65537", "1e3"])
def test_a_dim_out_of_range_is_refused(wrong: str, few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--dim has a range, which the message names."""
    assert "--dim" in fails(capsys, 2, few, "--max-length", "4", "--dim", wrong)


def test_no_whole_batch_is_an_error(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--drop-last with fewer windows than a batch leaves nothing to embed."""
    line = fails(capsys, 3, few, "--max-length", "4", "--drop-last", "--batch-size", "37")

    assert "36 windows fill no batch of 37; leave out --drop-last or lower --batch-size" in line


def test_no_window_is_an_error(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A text too short for one window is exit code 3, with the largest max_length that works."""
    line = fails(capsys, 3, few, "--max-length", "147")

    assert "147 tokens give no window of max_length 147; the largest max_length that works is 146" in line


@pytest.mark.parametrize("name", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_here_is_refused(name: str, few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A device that torch does not have is one line, without torch's own pages."""
    assert f"--device {name}: not available here" in fails(capsys, 2, few, "--max-length", "4", "--device", name)
    with pytest.raises(UsageError, match=f"--device {name}"):
        check_device(name)

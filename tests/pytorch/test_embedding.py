"""Promises of embedding: the course's input embeddings, bit for bit, through the `embed` command."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support import reference
from support.commands import Call
from torch import Tensor

from llmprep.errors import UsageError
from llmprep.pytorch.embedding import CONTEXT_LENGTH, DIM, check_device, find_sizes
from llmprep.pytorch.loaders import create_dataloader

Embed = Callable[..., Tensor]


@pytest.fixture(scope="module")
def few(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first paragraphs of the story: 36 windows and a tail of max_length 4."""
    path = tmp_path_factory.mktemp("few") / "few.txt"
    path.write_text(reference.tiktoken_encoding("gpt2").decode(reference.encode(text)[: 36 * 4 + 3]), encoding="utf-8")
    return path


@pytest.fixture
def embed(call: Call, few: Path) -> Embed:
    """Run ``llmprep embed`` with max_length and stride 4, on the first paragraphs if on no other, and read its file."""

    def run(options: str = "", path: str | Path = few) -> Tensor:
        ended = call("embed", path, "-q", "-o", "out.pt", *f"--max-length 4 --stride 4 {options}".split())
        assert (ended.code, ended.stderr) == (0, b"")
        result: Tensor = torch.load("out.pt", weights_only=True)["input_embeddings"]
        assert result.is_contiguous()
        return result

    return run


@functools.cache
def course(path: Path, notebook: Callable[..., Iterator[Tensor]] = reference.embeddings, **options: Any) -> Tensor:
    """All of a notebook's batches, one after the other."""
    return torch.cat(list(notebook(path.read_text(encoding="utf-8"), **options)))


# --- equal to the course --------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "shuffle"), [("story", True), ("verdict", False)])
def test_embeddings_are_the_courses(source: str, shuffle: bool, embed: Embed, request: pytest.FixtureRequest) -> None:
    """Under seed 123 all batches of a whole text equal the code of either notebook's, bit for bit, shuffled or not."""
    path: Path = request.getfixturevalue(source)

    chosen = "--shuffle" * shuffle
    first, second = embed(chosen, path), embed(f"--order ch02 {chosen}", path)

    assert torch.equal(first, course(path, shuffle=shuffle))
    assert torch.equal(second, course(path, reference.chapter_embeddings, context_length=1024, shuffle=shuffle))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("order", "notebook"), [("dataloader", reference.embeddings), ("ch02", reference.chapter_embeddings)]
)
@pytest.mark.parametrize(
    ("options", "chosen", "n_windows"),
    [
        ("--drop-last", {"drop_last": True}, 32),
        ("--drop-last --shuffle", {"drop_last": True, "shuffle": True}, 32),
        ("--seed 7 --shuffle", {"seed": 7, "shuffle": True}, 36),
        ("--context-length 4", {"context_length": 4}, 36),
        ("--batch-size 5 --batches 2", {"batch_size": 5}, 10),
        ("--batches 1 --shuffle", {"shuffle": True}, 8),
        ("--batches 4 --seed 0", {"seed": 0}, 32),
        ("--batches 1000", {}, 36),
    ],
)
def test_options_are_the_courses(
    options: str, chosen: dict[str, Any], n_windows: int, order: str, notebook: Any, embed: Embed, few: Path
) -> None:
    """Seed, sizes and the last batch act as in either notebook; --batches takes so many of the loader's first."""
    ours = embed(f"{options} --order {order}")

    assert ours.shape == (n_windows, 4, 256)
    assert torch.equal(ours, course(few, notebook, **{"context_length": 1024, **chosen})[:n_windows])


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("notebook", [reference.embeddings, reference.chapter_embeddings])
def test_the_notebooks_cells_run_with_create_dataloader(
    notebook: Callable[..., Iterator[Tensor]], shuffle: bool, few: Path
) -> None:
    """With `create_dataloader` in place of their own loader, either notebook's lines give the same embeddings."""
    ours = course(few, notebook, shuffle=shuffle, make_loader=create_dataloader)

    assert torch.equal(ours, course(few, notebook, shuffle=shuffle))


def test_the_batch_size_never_shows(embed: Embed, few: Path) -> None:
    """However many windows are embedded at once, the file is the same."""
    for batch_size in (5, 1000):
        assert torch.equal(embed(f"--batch-size {batch_size}"), course(few))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("made", ["tokenize --dtype uint16", "window --max-length 4", "window --max-length 4 --dense"])
def test_files_of_ids_give_the_texts_embeddings(made: str, shuffle: bool, call: Call, embed: Embed, few: Path) -> None:
    """A tokens file, a windows file and a dense one give what the text itself gives."""
    assert call(*made.split(), few, "-q", "-o", "ids.pt").code == 0

    assert torch.equal(embed("--shuffle" * shuffle, "ids.pt"), course(few, shuffle=shuffle))


def test_a_windows_file_has_its_sizes(call: Call, few: Path) -> None:
    """A windows file needs neither --max-length nor --stride."""
    assert call("window", few, "--max-length", "3", "--stride", "2", "-q", "-o", "few.pt").code == 0

    assert call("embed", "few.pt", "-q", "-o", "out.pt").code == 0

    ours = torch.load("out.pt", weights_only=True)["input_embeddings"]
    assert torch.equal(ours, course(few, max_length=3, stride=2))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dtypes_round_as_torch_does(dtype: str, embed: Embed, few: Path) -> None:
    """Narrow floats are the float32 result rounded by torch, bit for bit."""
    ours, expected = embed(f"--dtype {dtype}"), course(few).to(getattr(torch, dtype))

    assert ours.dtype == expected.dtype
    assert torch.equal(ours, expected)


# --- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("order", "context_length"), [("dataloader", 1024), ("ch02", 4)])
def test_saved_weights_are_the_courses_tables(order: str, context_length: int, embed: Embed, few: Path) -> None:
    """--save-weights writes the tables that the notebook has at its end; under another seed they come back the same.

    Windows are shuffled alike with and without given tables, in the order of drawing.
    """
    options = f"--shuffle --order {order}"
    first = embed(f"{options} --context-length {context_length} --save-weights weights.pt")
    weights = torch.load("weights.pt", weights_only=True)

    torch.manual_seed(123)
    if order == "ch02":
        torch.nn.Embedding(6, 3)
    token = torch.nn.Embedding(50257, 256)
    if order == "ch02":
        next(iter(reference.dataloader(few.read_text(encoding="utf-8"), 8, 4, 4)))
    assert list(weights) == ["token_embedding.weight", "pos_embedding.weight"]
    assert torch.equal(weights["token_embedding.weight"], token.weight)
    assert torch.equal(weights["pos_embedding.weight"], torch.nn.Embedding(context_length, 256).weight)
    assert torch.equal(embed(f"{options} --weights weights.pt"), first)
    assert not torch.equal(embed(f"{options} --weights weights.pt --seed 7"), first)
    assert not torch.equal(embed("--shuffle --order dataloader --weights weights.pt"), first) or order == "dataloader"


@pytest.mark.parametrize(
    ("keys", "dtype"),
    [
        (("tok_emb.weight", "pos_emb.weight"), torch.float32),
        (("token_embedding_layer.weight", "pos_embedding_layer.weight"), torch.float16),
        (("token_embedding.weight", "pos_embedding.weight"), torch.float64),
    ],
)
def test_weights_of_others_are_taken(keys: tuple[str, str], dtype: torch.dtype, embed: Embed, few: Path) -> None:
    """Parameters under the course's own names, among others, of other sizes and dtypes, are used as float32."""
    generator = torch.Generator().manual_seed(1)
    token, position = (torch.randn(n, 8, generator=generator).to(dtype) for n in (50257, 5))
    named = zip(keys, map(torch.nn.Parameter, (token, position)), strict=True)
    torch.save({"out_head.weight": torch.zeros(3), **dict(named)}, "theirs.pt")
    inputs = torch.tensor(reference.window_rows(reference.encode(few.read_text(encoding="utf-8")), 4, 4)[0])

    for options in ("", " --dim 8 --context-length 5"):
        ours = embed(f"--weights theirs.pt{options}")
        assert torch.equal(ours, token.float()[inputs] + position.float()[:4])


def tables(token: Any = (50257, 4), position: Any = (8, 4), dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """A weights file's tables of these shapes."""
    shapes = {"token_embedding.weight": token, "pos_embedding.weight": position}
    return {key: torch.zeros(shape, dtype=dtype) for key, shape in shapes.items()}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"embed.weight": torch.zeros(2, 4), "epoch": 3},
         " (C, D), or tok_emb.weight and pos_emb.weight, or token_embedding_layer.weight and pos_embedding_layer.weig"),
        ({"embed.weight": torch.zeros(2, 4), "epoch": 3}, "; this file's keys: embed.weight, epoch"),
        ({key: torch.zeros(2, 4) for key in (*tables(), "tok_emb.weight", "pos_emb.weight")},
         "holds token_embedding.weight and tok_emb.weight; leave one pair of tables"),
        ({}, "a weights file has token_embedding.weight (V, D) and pos_embedding.weight (C, D)"),
        ({"token_embedding.weight": torch.zeros(50257, 4)}, "a weights file has"),
        (tables(position=8), "pos_embedding.weight (8,): need (V, D) and (C, D)"),
        (tables(position=(8, 5)), "(50257, 4) and pos_embedding.weight (8, 5): need (V, D) and (C, D), of one width"),
        (tables((50257, 0), (8, 0)), "not empty"),
        (tables(position=(0, 4)), "not empty"),
        (tables(dtype=torch.int64), "needs token_embedding.weight as float32, float16 or float64"),
    ],
)  # fmt: skip
def test_weights_of_another_form_are_refused(weights: dict[str, Any], message: str, call: Call, few: Path) -> None:
    """A file without the two tables, or with tables of wrong rank, width or dtype, is exit code 4."""
    torch.save(weights, "weights.pt")

    assert_refused(call, 4, few, "--max-length 4 --weights weights.pt", message)


def assert_refused(call: Call, code: int, path: Path, options: str, message: str) -> None:
    """``llmprep embed`` ends with this code, one line and no output."""
    ended = call("embed", path, "-o", "none.pt", *options.split())
    (line,) = [line for line in ended.notes if not line.startswith("llmprep: note: ")]

    assert (ended.code, ended.stdout, Path("none.pt").exists()) == (code, b"", False)
    assert line.startswith("llmprep: error: ")
    assert message in line


@pytest.mark.parametrize(
    ("code", "options", "message"),
    [
        (2, "--dim 16 --weights w.pt", "--dim 16: w.pt has 8"),
        (2, "--context-length 9 --weights w.pt", "--context-length 9: w.pt has 5"),
        (2, "--order ch02 --weights missing.pt", "--order ch02: --weights has both tables and nothing is shuffled"),
        (2, "--order dataloader --weights w.pt", "--order dataloader: --weights has both tables and nothing is shuf"),
        (2, f"--dim 65536 --context-length {2**31 - 1}", f"need {(50257 + 2**31 - 1) * 65536 * 4 / 1e9:.1f} GB"),
        (2, "--dim 0", "--dim"),
        (2, "--dim 65537", "--dim"),
        (2, "--dim 1e3", "--dim"),
        (3, "--drop-last --batch-size 37", "36 windows fill no batch of 37; leave out --drop-last or lower --batch"),
        (3, "--max-length 147", "147 tokens give no window of max_length 147; the largest max_length that works is 14"),
        (4, "--weights w.pt", "id 464 at [0, 0] >= vocabulary 300"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(code: int, options: str, message: str, call: Call, few: Path) -> None:
    """Sizes, tables and devices that cannot be used are one line, before any table is drawn or looked up in."""
    torch.save(tables((300, 8), (5, 8)), "w.pt")

    assert_refused(call, code, few, options if "--max-length" in options else f"--max-length 4 {options}", message)


# --- what is said ---------------------------------------------------------------------------------


def test_shapes_are_told(call: Call, few: Path) -> None:
    """The preview tells the shapes of one batch and of both tables, and how the token table begins."""
    arguments = ["embed", few, "--max-length", "4", "-o", "out.pt"]

    value = call(*arguments, "--json").value

    assert (value["shape"], value["first_batch"]) == ([36, 4, 256], [8, 4, 256])
    assert (value["token_table"], value["position_table"]) == ([50257, 256], [1024, 256])
    assert value["token_table_begins"] == [0.33737, -0.17778, -0.30353]
    assert "token table begins 0.33737, -0.17778, -0.30353" in call(*arguments).lines


def test_the_file_says_what_it_was_made_with(embed: Embed) -> None:
    """Every option that decides the numbers is in meta, and the hash of given weights; the default order is not."""
    embed("--shuffle --order ch02 --save-weights w.pt --dim 16")
    shuffled = torch.load("out.pt", weights_only=True)["meta"]["options"]
    embed("--weights w.pt --dtype float16 --seed 7")
    meta = torch.load("out.pt", weights_only=True)["meta"]
    embed()
    unnamed = Path("out.pt").read_bytes()
    embed("--order dataloader")

    assert shuffled.items() >= {"seed": 123, "shuffle": True, "order": "ch02", "weights_sha256": None}.items()
    assert (meta["kind"], meta["encoding"], meta["n_tokens"]) == ("embeddings", "gpt2", 36 * 4 + 3)
    chosen = {"seed": 7, "shuffle": False, "dtype": "float16", "dim": 16, "context_length": 1024, "max_length": 4}
    assert meta["options"].items() >= {**chosen, "batch_size": 8, "n_windows": 36}.items()
    assert len(meta["options"]["weights_sha256"]) == 64
    assert Path("out.pt").read_bytes() == unnamed
    assert "order" not in meta["options"]


def test_defaults_are_the_courses_sizes() -> None:
    """256 numbers a token and 1,024 positions, unless told otherwise; of a device, its name."""
    sizes = find_sizes((10, 4), 50257)

    assert (sizes.dim, sizes.context_length, sizes.batch_size, sizes.dtype) == (DIM, CONTEXT_LENGTH, 8, "float32")
    assert (DIM, CONTEXT_LENGTH) == (256, 1024)
    assert (sizes.shape, sizes.n_batches, sizes.n_bytes) == ((10, 4, 256), 2, 10 * 4 * 256 * 4)
    assert check_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="--device cuda:99: not available here"):
        check_device("cuda:99")

"""Promises of embedding: the course's input embeddings, bit for bit, through the `embed` command."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import reference
from support.commands import Call
from support.refusals import check_refused
from torch import Tensor

from llmprep.pytorch.loaders import create_dataloader

Embed = Callable[..., Tensor]
NOTEBOOKS: dict[str, Any] = {"dataloader": reference.embeddings, "ch02": reference.chapter_embeddings}


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
def course(path: Path, order: str = "dataloader", **options: Any) -> Tensor:
    """All of a notebook's batches, one after the other."""
    return torch.cat(list(NOTEBOOKS[order](path.read_text(encoding="utf-8"), **options)))


def test_embeddings_are_the_courses(embed: Embed, story: Path) -> None:
    """Under seed 123 all batches of a whole text, shuffled, equal the code of either notebook's, bit for bit."""
    ours = [embed(f"{order} --shuffle", story) for order in ("", "--order ch02")]
    for result, order in zip(ours, NOTEBOOKS, strict=True):
        assert torch.equal(result, course(story, order, context_length=1024, shuffle=True))
    assert not torch.equal(*ours)


@pytest.mark.parametrize("order", NOTEBOOKS)
@pytest.mark.parametrize(
    ("options", "chosen", "n_windows"),
    [
        ("--dtype float32 --drop-last --shuffle", {"drop_last": True, "shuffle": True}, 32),
        ("--dtype float16 --seed 7 --shuffle --batches 1", {"seed": 7, "shuffle": True}, 8),
        ("--dtype float32 --context-length 4 --batches 1000", {"context_length": 4}, 36),
        ("--dtype bfloat16 --batch-size 5 --batches 2 --seed 0", {"seed": 0}, 10),
    ],
)
def test_options_are_the_courses(
    options: str, chosen: dict[str, Any], n_windows: int, order: str, embed: Embed, few: Path
) -> None:
    """Seed, sizes and the last batch act as in either notebook; --batches takes so many; narrow floats are rounded."""
    expected = course(few, order, **{"context_length": 1024, **chosen})[:n_windows]
    expected = expected.to(getattr(torch, options.split()[1]))
    ours = embed(f"{options} --order {order}")
    assert (ours.shape, ours.dtype, torch.equal(ours, expected)) == ((n_windows, 4, 256), expected.dtype, True)


@pytest.mark.parametrize("order", NOTEBOOKS)
def test_the_notebooks_cells_run_with_create_dataloader(order: str, few: Path) -> None:
    """With `create_dataloader` in place of their own loader, either notebook's lines give the same embeddings."""
    ours = course(few, order, shuffle=True, make_loader=create_dataloader)
    assert torch.equal(ours, course(few, order, shuffle=True))


@pytest.mark.parametrize("order", NOTEBOOKS)
def test_saved_weights_give_the_same_again(order: str, embed: Embed, few: Path) -> None:
    """--save-weights writes the notebook's tables; with them all is as without, and ``meta`` says so."""
    shuffled = f"--shuffle --order {order}"
    expected = course(few, order, context_length=4, shuffle=True)
    assert torch.equal(embed(f"{shuffled} --context-length 4 --save-weights w.pt"), expected)
    assert list(torch.load("w.pt", weights_only=True)) == ["token_embedding.weight", "pos_embedding.weight"]
    assert torch.equal(embed(f"{shuffled} --weights w.pt"), expected)
    stated = torch.load("out.pt", weights_only=True)["meta"]["options"]
    assert len(stated["weights_sha256"]) == 64
    assert stated.get("order") == {"dataloader": None, "ch02": "ch02"}[order]


def test_weights_of_others_are_taken(embed: Embed, few: Path) -> None:
    """Parameters under the course's own names, among others, of other sizes and dtypes, are used as float32."""
    inputs = torch.tensor(reference.window_rows(reference.encode(few.read_text(encoding="utf-8")), 4, 4)[0])
    for token_name, position_name, dtype in (
        ("tok_emb.weight", "pos_emb.weight", torch.float32),
        ("token_embedding_layer.weight", "pos_embedding_layer.weight", torch.float16),
        ("token_embedding.weight", "pos_embedding.weight", torch.float64),
    ):
        token, position = (torch.nn.Parameter(torch.randn(n, 8).to(dtype)) for n in (50257, 5))
        torch.save({"out_head.weight": torch.zeros(3), token_name: token, position_name: position}, "theirs.pt")
        ours = embed("--weights theirs.pt --dim 8 --context-length 5")
        assert torch.equal(ours, token.float()[inputs] + position.float()[:4])


def tables(token: Any = (300, 8), position: Any = (5, 8), dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """A weights file's tables of these shapes."""
    return {
        f"{name}_embedding.weight": torch.zeros(n, dtype=dtype) for name, n in (("token", token), ("pos", position))
    }


@pytest.mark.parametrize(
    ("weights", "code", "options", "message"),
    [
        ({"b": 3, "a": 3}, 4, "", "a weights file has token_embedding.weight (V, D) and ...; this file's keys: b, a"),
        ({**tables(), "tok_emb.weight": torch.zeros(2, 4), "pos_emb.weight": torch.zeros(2, 4)}, 4, "",
         "holds token_embedding.weight and tok_emb.weight; leave one pair of tables"),
        (tables(position=8), 4, "", "pos_embedding.weight (8,): need (V, D) and (C, D)"),
        (tables(position=(5, 9)), 4, "", "(300, 8) and pos_embedding.weight (5, 9): need (V, D) and (C, D), of one w"),
        (tables(position=(0, 8)), 4, "", "not empty"),
        (tables(dtype=torch.int64), 4, "", "needs token_embedding.weight as float32, float16 or float64"),
        (tables(), 4, "", "id 464 at [0, 0] >= vocabulary 300"),
        (tables(), 2, "--dim 16", "--dim 16: w.pt has 8"),
        (tables(), 2, "--context-length 9", "--context-length 9: w.pt has 5"),
        (tables(), 3, "--drop-last --batch-size 37", "36 windows cannot fill a batch of 37; leave out --drop-last"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    weights: dict[str, Any], code: int, options: str, message: str, call: Call, few: Path
) -> None:
    """A file without the two tables, tables of a wrong form, or not of the text or options, before any is drawn."""
    torch.save(weights, "w.pt")
    arguments = f"--max-length 4 --weights w.pt {options}".split()
    check_refused(call, "embed", few, *arguments, code=code, line=f"...{message}...")
